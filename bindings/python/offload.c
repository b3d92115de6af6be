/* SPDX-License-Identifier: Apache-2.0
 * device="cuda" for operands in the CPU's memory: they are copied over, the call runs there, its result is copied back.
 *
 * A call is tensors, whatever its op.  A large one is cut along an axis of its result: the tensors that have this axis go over in slices, the
 * others once.  Lanes take turns, each a stream with memory of its own on the device and pinned, so that one slice is computed while others are
 * on their way in both directions.  Slices run the kernel that the whole call would, so the bits are the same.
 *
 * What can be refused is refused, and all memory is there, before the first slice comes back: until then `out` is untouched.  A fault of the
 * device or Ctrl-C after that leaves slices of it written. */
#include "offload_call.h"

#include "device.h"

#include <string.h>

/* ------------------------------------------------------------------ device= */

/* What the text says; OFFLOAD_NONE if that is nothing. */
static int target_of(PyObject *device)
{
    Py_ssize_t length = 0;
    const char *text = PyUnicode_Check(device) ? PyUnicode_AsUTF8AndSize(device, &length) : NULL;
    if (!text)
        return OFFLOAD_NONE;
    if (strcmp(text, "cpu") == 0)
        return OFFLOAD_CPU;
    if (strcmp(text, "auto") == 0)
        return OFFLOAD_AUTO;
    if (strcmp(text, "cuda") == 0)
        return OFFLOAD_CUDA;
    int number = 0;
    const char *digits = strncmp(text, "cuda:", 5) == 0 ? text + 5 : "";
    for (int i = 0; i < 3 && digits[i] >= '0' && digits[i] <= '9'; i++)
        number = 10 * number + (digits[i] - '0');
    const bool whole = length >= 6 && length <= 8 && strspn(digits, "0123456789") == (size_t)length - 5;
    return whole ? OFFLOAD_CUDA + number : OFFLOAD_NONE;
}

bool offload_parse(PyObject *device, int *target)
{
    *target = OFFLOAD_NONE;
    if (!device || device == Py_None || (*target = target_of(device)) != OFFLOAD_NONE)
        return true;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "device=%R; there are 'cpu', 'cuda', 'cuda:1' (and so on), and 'auto'", device);
    return false;
}

bool offload_parse_place(PyObject *device, int *target)
{
    *target = target_of(device);
    if (*target != OFFLOAD_NONE && *target != OFFLOAD_AUTO)
        return true;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "device=%R; an array lives on 'cpu', 'cuda' or 'cuda:1' (and so on)", device);
    return false;
}

bool call_offload(Call *call, PyObject *device)
{
    if (device && device != Py_None && !offload_parse(device, &call->active.offload))
        return false;
    call->place.brings = call->active.offload >= OFFLOAD_CUDA;
    return true;
}

/* That of the operands on the device or one that was given; else CUDA's default stream of this thread. */
static bool find_stream(Offload *o)
{
    const Place *place = &o->call->place;
    Stream given = place->stream;
    if (place->device.type == HUNZE_DEVICE_CPU && place->given && !stream_parse(place->state, place->given, &given))
        return false;
    o->stream = place->device.type == HUNZE_DEVICE_CPU && !place->given ? STREAM_PER_THREAD : given.handle;
    return true;
}

/* ------------------------------------------------------------------ what may overlap */

static PyObject *as_bytes(const hunze_tensor *tensor)
{
    static const int numbers[] = {NPY_UINT8, NPY_UINT16, NPY_UINT32, NPY_UINT64};
    npy_intp strides[NDIM];
    View view;
    offload_look_at(tensor, -1, 0, 0, &view);
    for (int i = 0; i < tensor->ndim; i++)
        strides[i] = view.strides[i] * (tensor->dtype.bits / 8);
    return PyArray_New(&PyArray_Type, tensor->ndim, (npy_intp *)view.shape,
                       numbers[__builtin_ctz(tensor->dtype.bits / 8u)], strides,
                       (char *)tensor->data + tensor->byte_offset, 0, 0, NULL);
}

static void reach(const hunze_tensor *tensor, const char **low, const char **high)
{
    View view;
    offload_look_at(tensor, -1, 0, 0, &view);
    *low = *high = (const char *)tensor->data + tensor->byte_offset;
    for (int i = 0; i < tensor->ndim; i++) {
        const int64_t far = (view.shape[i] - 1) * view.strides[i] * (tensor->dtype.bits / 8);
        if (view.shape[i] == 0) {
            *high = *low;
            return;
        }
        *(far < 0 ? low : high) += far;
    }
    *high += tensor->dtype.bits / 8;
}

/* The library sees copies, so what it would refuse of the caller's memory is looked for here. */
static bool check_overlap(const Offload *o)
{
    const hunze_tensor *d = o->slots[SLOT_D].tensor;
    const char *low, *high;
    if (!d->data)
        return true;
    reach(d, &low, &high);
    for (int i = 0; i < SLOTS; i++) {
        const hunze_tensor *tensor = o->slots[i].tensor;
        const char *from, *to;
        if (i == SLOT_D || !tensor || !tensor->data || o->slots[i].here)
            continue;
        reach(tensor, &from, &to);
        if (from >= high || low >= to)
            continue;
        if ((i == SLOT_C || (i == SLOT_A && o->call->call.op == HUNZE_OP_ACTIVATION)) && from == low && to == high)
            continue;
        PyObject *a = as_bytes(d), *b = a ? as_bytes(tensor) : NULL;
        PyObject *numpy = b ? PyImport_ImportModule("numpy") : NULL;
        PyObject *shared = numpy ? PyObject_CallMethod(numpy, "shares_memory", "OO", a, b) : NULL;
        const int meets = shared ? PyObject_IsTrue(shared) : -1;
        Py_XDECREF(a);
        Py_XDECREF(b);
        Py_XDECREF(numpy);
        Py_XDECREF(shared);
        if (meets > 0)
            PyErr_Format(PyExc_ValueError, "%s: out overlaps an operand: give it memory of its own (HUNZE_ERR_ALIAS)",
                         o->call->function);
        if (meets)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ plans */

static hunze_status make_plan(Offload *o, int64_t rows, const char *kernel, hunze_plan **plan)
{
    offload_replicate(o->call, &o->whole);
    if (kernel)
        offload_force_kernel(&o->whole, kernel);
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (!slot->tensor || slot->here)
            continue;
        offload_stage(slot, 0, rows, o->device, NULL, &o->whole.views[i]);
        *o->whole.slot[i] = &o->whole.views[i].tensor;
    }
    return plan ? hunze_plan_create(o->call->active.context, &o->whole.call, plan) : HUNZE_OK;
}

static hunze_status make_plans(Offload *o, const hunze_plan *given)
{
    hunze_status status = HUNZE_OK;
    o->plan = given;
    if (!given) {
        status = make_plan(o, 0, NULL, &o->own);
        o->plan = o->own;
    }
    if (status)
        return status;
    offload_find_slices(o);
    if (o->slices == 1)
        return HUNZE_OK;
    const char *kernel = hunze_plan_kernel(o->plan);
    const int64_t last = o->extent - (o->slices - 1) * o->rows;
    status = make_plan(o, o->rows, kernel, &o->slice_plans[0]);
    if (status == HUNZE_OK && last != o->rows)
        status = make_plan(o, last, kernel, &o->slice_plans[1]);
    if (status == HUNZE_ERR_UNSUPPORTED) { /* a kernel that does not take slices keeps its bits on the whole */
        offload_keep_whole(o);
        return HUNZE_OK;
    }
    return status;
}

Offload *offload_make(Call *call, int target, const hunze_plan *given, hunze_status *status)
{
    Offload *o = PyMem_Calloc(1, sizeof *o);
    *status = HUNZE_OK;
    if (!o) {
        PyErr_NoMemory();
        return NULL;
    }
    o->call = call;
    o->device = (hunze_device){HUNZE_DEVICE_CUDA, target - OFFLOAD_CUDA};
    if (!find_stream(o)) {
        offload_free(o);
        return NULL;
    }
    offload_replicate(call, &o->whole);
    const bool dynamic = call->call.op == HUNZE_OP_QUANTIZE && call->options.quantize.dynamic;
    for (int i = 0; i < SLOTS; i++) {
        Slot *slot = &o->slots[i];
        slot->tensor = o->whole.slot[i] ? *o->whole.slot[i] : NULL;
        slot->axis = -1;
        slot->output = i == SLOT_D || (dynamic && i >= SLOT_QUANT);
        slot->here = slot->tensor && offload_on_device(slot->tensor);
        o->meets |= slot->here;
    }
    if (check_overlap(o))
        *status = make_plans(o, given);
    if (*status == HUNZE_OK && !PyErr_Occurred())
        return o;
    offload_free(o);
    return NULL;
}

PyObject *offload_plan(Offload *o)
{
    hunze_plan *plan = o->own;
    PyObject *moves = Py_BuildValue("(idddL)", (int)o->device.id, o->once, o->over, o->back, (long long)o->slices);
    if (!moves)
        return NULL;
    o->own = NULL;
    PyObject *wrapped = plan_wrap(o->call->state, plan, o->call->kernel_text);
    if (wrapped)
        plan_set_moves(wrapped, moves);
    else
        Py_DECREF(moves);
    return wrapped;
}

/* ------------------------------------------------------------------ where to */

/* "auto": whether the device is sooner, by the package's ceilings.  What the device cannot compute stays. */
static bool choose(Call *call, int target, int *chosen)
{
    hunze_plan *plan = NULL;
    char *here = NULL, *there = NULL;
    hunze_status status;
    Offload *o = offload_make(call, target, NULL, &status);
    if (!o)
        return !PyErr_Occurred();
    if (hunze_plan_create(call->active.context, &call->call, &plan) == HUNZE_OK &&
        hunze_plan_explain(plan, &here) == HUNZE_OK && hunze_plan_explain(o->plan, &there) == HUNZE_OK) {
        const int threads = call->active.threads ? call->active.threads : hunze_context_threads(call->active.context);
        PyObject *sooner = PyObject_CallFunction(call->state->choose, "ssidddL", here, there, threads, o->once, o->over,
                                                 o->back, (long long)o->slices);
        if (sooner && PyObject_IsTrue(sooner) > 0)
            *chosen = target;
        Py_XDECREF(sooner);
    }
    hunze_string_free(here);
    hunze_string_free(there);
    hunze_plan_release(plan);
    offload_free(o);
    return !PyErr_Occurred();
}

bool offload_target(Call *call, int *target)
{
    const int wanted = call->active.offload;
    Replica r;
    bool here = false, all = true;
    if (call->planned) {
        *target = plan_moves_to(call->planned);
        return true;
    }
    *target = OFFLOAD_NONE;
    offload_replicate(call, &r);
    for (int i = 0; i < SLOTS; i++) {
        if (!r.slot[i])
            continue;
        const hunze_tensor *tensor = *r.slot[i];
        if (tensor->ndim > NDIM)
            return true; /* the library says so */
        here |= offload_on_device(tensor);
        all &= offload_on_device(tensor) && tensor->device.id == wanted - OFFLOAD_CUDA;
    }
    if (wanted == OFFLOAD_CPU && here) {
        PyErr_Format(PyExc_ValueError, "%s: device='cpu', and an operand lives on a device: use .numpy()",
                     call->function);
        return false;
    }
    if (wanted >= OFFLOAD_CUDA && !all) {
        *target = wanted;
        if (!call->bind)
            return true;
        PyErr_SetString(PyExc_TypeError, "a bound call computes where its operands live");
        return false;
    }
    if (wanted != OFFLOAD_AUTO || here || call->bind || !call->state->choose ||
        (call->call.b && call->call.b->dtype.code == HUNZE_OPAQUE_HANDLE))
        return true;
    PyObject *device = PyObject_CallNoArgs(call->state->choose);
    if (!device)
        return false;
    const long number = device == Py_None ? -1 : PyLong_AsLong(device);
    Py_DECREF(device);
    return number < 0 ? !PyErr_Occurred() : choose(call, OFFLOAD_CUDA + (int)number, target);
}

/* _offload(choose, slice_bytes): the package's judge of "auto", and how many bytes make a slice. */
PyObject *binding_offload_register(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    State *state = state_of(module);
    int64_t bytes;
    if (count != 2 || !PyCallable_Check(v[0]) || !parse_int(v[1], "slice_bytes", 1, INT64_MAX, &bytes)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "_offload() takes a function and a number of bytes");
        return NULL;
    }
    Py_XDECREF(state->choose);
    state->choose = Py_NewRef(v[0]);
    state->slice_bytes = bytes;
    Py_RETURN_NONE;
}
