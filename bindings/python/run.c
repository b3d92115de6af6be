/* SPDX-License-Identifier: Apache-2.0
 * One call: settings, run by plan or at once, the GIL, Ctrl-C, and what each op shares. */
#include "device.h"
#include "offload.h"

#include <string.h>
#include <time.h>

PyObject *raise_status(hunze_status status, const char *function)
{
    PyObject *type;
    switch (status) {
    case HUNZE_ERR_DTYPE: type = PyExc_TypeError; break;
    case HUNZE_ERR_UNSUPPORTED: type = PyExc_NotImplementedError; break;
    case HUNZE_ERR_NOMEM: type = PyExc_MemoryError; break;
    case HUNZE_ERR_OVERFLOW: type = PyExc_OverflowError; break;
    case HUNZE_ERR_SYSTEM: type = PyExc_OSError; break;
    case HUNZE_ERR_SLOW:
    case HUNZE_ERR_DRIVER:
    case HUNZE_ERR_CAPTURE:
    case HUNZE_ERR_FAULT: type = PyExc_RuntimeError; break;
    default: type = PyExc_ValueError;
    }
    if (!PyErr_Occurred())
        PyErr_Format(type, "%s: %s (%s)", function, hunze_last_error(), hunze_status_name(status));
    return NULL;
}

bool call_begin(State *state, Call *call, const char *function, hunze_op op, PyObject *threads, PyObject *reproducible,
                PyObject *kernel, PyObject *stream)
{
    call->state = state;
    call->function = function;
    call->names = NULL;
    call->call = (hunze_call){.struct_size = sizeof call->call, .op = op};
    call->work = 0;
    call->planned = call->kernel_text = NULL;
    call->plan_only = call->bind = false;
    call->groups = NULL;
    call->live_count = 0;
    call->live = call->few;
    memset(&call->run, 0, sizeof call->run);
    memset(&call->options, 0, sizeof call->options);
    if (!active_settings(state, &call->active))
        return false;
    place_begin(state, &call->active, stream, &call->place);
    if (threads) {
        int64_t value;
        if (!parse_int(threads, "threads", 1, 4096, &value))
            return false;
        call->active.threads = (int32_t)value;
    }
    if (reproducible) {
        bool value;
        if (!parse_flag(reproducible, "reproducible", &value))
            return false;
        call->active.flags =
            value ? call->active.flags | HUNZE_REPRODUCIBLE : call->active.flags & ~(uint32_t)HUNZE_REPRODUCIBLE;
    }
    if (kernel) {
        if (Py_TYPE(kernel) == state->plan_type) {
            call->planned = kernel;
            call->kernel_text = Py_XNewRef(plan_forced(kernel));
        } else {
            if (Py_TYPE(kernel) == state->request_type) {
                call->bind = request_binds(kernel);
                call->plan_only = !call->bind;
                kernel = request_kernel(state, kernel);
            }
            if (kernel && kernel != Py_None) {
                call->kernel_text = PyUnicode_AsUTF8String(kernel);
                if (!call->kernel_text)
                    return false;
            }
        }
    }
    return true;
}

void call_keep(Call *call, Operand *operand) { call->live[call->live_count++] = operand; }

void call_end(Call *call)
{
    const bool on_device = call->place.device.type != HUNZE_DEVICE_CPU;
    if (on_device)
        memory_batch(true);
    while (call->live_count)
        operand_release(call->live[--call->live_count]);
    if (on_device)
        memory_batch(false);
    Py_CLEAR(call->kernel_text);
    place_end(&call->place);
}

/* The library polls this from the calling thread, which holds no GIL; signals are looked at 20 times a second. */
typedef struct Interrupt {
    PyThreadState *thread;
    int64_t next_ns;
} Interrupt;
enum { WORK_CANCEL = 20000000, POLL_NS = 50000000 };

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int poll_signals(void *user)
{
    Interrupt *interrupt = user;
    int64_t now = now_ns();
    if (now < interrupt->next_ns)
        return 0;
    interrupt->next_ns = now + POLL_NS;
    PyEval_RestoreThread(interrupt->thread);
    int stop = PyErr_CheckSignals();
    interrupt->thread = PyEval_SaveThread();
    return stop;
}

static hunze_status dispatch(Call *call, const hunze_plan *plan, const hunze_run *run)
{
    const hunze_call *c = &call->call;
    if (plan)
        return hunze_plan_run(plan, c, run);
    hunze_context *context = call->active.context;
    if (call->groups)
        return hunze_gemm_grouped(context, call->groups, sizeof *call->groups, call->group_count, c->options, run);
    switch (c->op) {
    case HUNZE_OP_GEMM: return hunze_gemm(context, c->a, c->b, c->c, c->d, c->options, run);
    case HUNZE_OP_CONV: return hunze_conv(context, c->a, c->b, c->d, c->options, run);
    case HUNZE_OP_CONV_TRANSPOSE: return hunze_conv_transpose(context, c->a, c->b, c->d, c->options, run);
    case HUNZE_OP_QUANTIZE: return hunze_quantize(context, c->a, c->d, c->options, run);
    case HUNZE_OP_DEQUANTIZE: return hunze_dequantize(context, c->a, c->d, c->options, run);
    default: return hunze_activate(context, c->a, c->d, c->options, run);
    }
}

static hunze_status run_without_gil(Call *call, const hunze_plan *plan, const hunze_run *run)
{
    Interrupt interrupt = {.next_ns = 0};
    hunze_run watched = {.struct_size = sizeof watched};
    if (call->work >= WORK_CANCEL) {
        if (run)
            watched = *run;
        watched.cancel = poll_signals;
        watched.cancel_user = &interrupt;
        interrupt.next_ns = now_ns() + POLL_NS;
        run = &watched;
    }
    interrupt.thread = PyEval_SaveThread();
    hunze_status status = dispatch(call, plan, run);
    PyEval_RestoreThread(interrupt.thread);
    return status;
}

/* The library's message, and which of its operands is which of the function's; false. */
static bool raise_call_status(Call *call, hunze_status status)
{
    if (!call->names || PyErr_Occurred() ||
        (status != HUNZE_ERR_ALIAS && status != HUNZE_ERR_STRIDE && status != HUNZE_ERR_SHAPE &&
         status != HUNZE_ERR_DTYPE && status != HUNZE_ERR_OPTION && status != HUNZE_ERR_ALIGN &&
         status != HUNZE_ERR_DEVICE))
        return raise_status(status, call->function) != NULL;
    PyErr_Format(status == HUNZE_ERR_DTYPE ? PyExc_TypeError : PyExc_ValueError, "%s: %s (%s; %s)", call->function,
                 hunze_last_error(), call->names, hunze_status_name(status));
    return false;
}

/* On a device for operands in the CPU's memory; those that live there already are in order. */
static bool run_offloaded(Call *call, int target, PyObject **plan)
{
    hunze_status status;
    bool good = true;
    if (!place_settle(&call->place, true, call->live, call->live_count))
        return false;
    Offload *offload = offload_make(call, target, call->planned ? plan_of(call->planned) : NULL, &status);
    if (!offload)
        return status ? raise_call_status(call, status) : false;
    if (call->plan_only)
        good = (*plan = offload_plan(offload)) != NULL;
    else if ((status = offload_run(offload)))
        good = raise_call_status(call, status);
    offload_free(offload);
    return good;
}

bool call_settle(Call *call)
{
    if (__builtin_expect(call->place.device.type != HUNZE_DEVICE_CPU, 0))
        return place_settle(&call->place, false, call->live, call->live_count);
    if (call->place.given && call->place.given != call->active.stream) {
        PyErr_Format(PyExc_ValueError,
                     "stream=%R is given, and the operands of %s live on the CPU, which has no streams: leave it out",
                     call->place.given, call->function);
        return false;
    }
    return true;
}

bool call_run(Call *call, PyObject **plan)
{
    int target = OFFLOAD_NONE;
    *plan = NULL;
    const char *kernel = call->kernel_text ? PyBytes_AsString(call->kernel_text) : NULL;
    switch (call->call.op) {
    case HUNZE_OP_GEMM:
        call->options.gemm.struct_size = sizeof call->options.gemm;
        call->options.gemm.flags = call->active.flags;
        call->options.gemm.kernel = kernel;
        break;
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE:
        call->options.conv.struct_size = sizeof call->options.conv;
        call->options.conv.flags = call->active.flags;
        call->options.conv.kernel = kernel;
        break;
    case HUNZE_OP_ACTIVATION:
        call->options.activation.struct_size = sizeof call->options.activation;
        call->options.activation.flags = call->active.flags;
        call->options.activation.kernel = kernel;
        break;
    default:
        call->options.quantize.struct_size = sizeof call->options.quantize;
        call->options.quantize.flags = call->active.flags;
        call->options.quantize.kernel = kernel;
    }
    call->call.options = &call->options;
    if ((call->active.offload || call->planned) && !offload_target(call, &target))
        return false;
    if (target)
        return run_offloaded(call, target, plan);
    if (!call_settle(call))
        return false;
    if (call->plan_only || call->bind) {
        hunze_plan *made;
        hunze_status status = hunze_plan_create(call->active.context, &call->call, &made);
        if (status)
            return raise_call_status(call, status);
        *plan = call->bind ? bound_make(call, made) : plan_wrap(call->state, made, call->kernel_text);
        return *plan;
    }
    return call_execute(call, call->planned ? plan_of(call->planned) : NULL);
}

/* The driver may let a call wait, so it gets no GIL. */
static bool execute_on_device(Call *call, const hunze_plan *plan)
{
    call->run.struct_size = sizeof call->run;
    call->run.threads = call->active.threads;
    call->run.stream = call->place.stream.handle;
    PyThreadState *thread = PyEval_SaveThread();
    hunze_status status = dispatch(call, plan, &call->run);
    PyEval_RestoreThread(thread);
    memory_work_given();
    return status ? raise_call_status(call, status) : place_finish(&call->place, call->live, call->live_count);
}

bool call_execute(Call *call, const hunze_plan *plan)
{
    const hunze_run *run = NULL;
    if (call->active.threads) {
        call->run.struct_size = sizeof call->run;
        call->run.threads = call->active.threads;
        run = &call->run;
    }
    if (__builtin_expect(call->place.device.type != HUNZE_DEVICE_CPU, 0))
        return execute_on_device(call, plan);
    hunze_status status = call->work < WORK_GIL ? dispatch(call, plan, run) : run_without_gil(call, plan, run);
    return status ? raise_call_status(call, status) : true;
}

/* ------------------------------------------------------------------ parts that ops share */

static bool take_parameter(Call *call, PyObject *object, const char *name, bool scale, Operand *operand)
{
    if (!operand_take(&call->place, object, name, operand))
        return false;
    call_keep(call, operand);
    /* A QArray of the result keeps it as an array of its own. */
    if (operand->memory && (!scale || dtype_is(operand->tensor.dtype, DTYPE_F32)))
        return operand->owner || (operand->owner = device_array_of(call->state, operand));
    if ((scale && !dtype_is(operand->tensor.dtype, DTYPE_F32)) || !operand->owner)
        return operand_cast(operand, scale ? DTYPE_F32 : operand->tensor.dtype);
    return true;
}

bool call_take_quantized(Call *call, PyObject *object, const char *name, Operand *codes, int axes, Quant *quant)
{
    State *state = call->state;
    PyObject *parts[4] = {NULL};
    static const Attribute wanted[4] = {ATTRIBUTE_codes, ATTRIBUTE_scale, ATTRIBUTE_zero_point, ATTRIBUTE_axis};
    bool good = true;
    for (int i = 0; i < 4 && good; i++)
        good = (parts[i] = PyObject_GetAttr(object, state->attributes[wanted[i]])) != NULL;
    if (good && (good = operand_take(&call->place, parts[0], name, codes)))
        call_keep(call, codes);
    quant->present = true;
    quant->quant = (hunze_quant){.struct_size = sizeof quant->quant};
    if (good && parts[1] != Py_None && (good = take_parameter(call, parts[1], "scale", true, &quant->scale)))
        quant->quant.scale = &quant->scale.tensor;
    if (good && parts[2] != Py_None && (good = take_parameter(call, parts[2], "zero_point", false, &quant->zero_point)))
        quant->quant.zero_point = &quant->zero_point.tensor;
    if (good && parts[3] != Py_None) {
        int64_t axis;
        if (axes < 0)
            axes = codes->tensor.ndim;
        if ((good = parse_int(parts[3], "axis", -axes, axes - 1, &axis))) {
            quant->quant.granularity = HUNZE_PER_AXIS;
            quant->quant.axis = (int32_t)(axis < 0 ? axis + axes : axis);
        }
    }
    for (int i = 0; i < 4; i++)
        Py_XDECREF(parts[i]);
    return good;
}

bool call_take_output_quant(Call *call, PyObject *scale, PyObject *zero_point, PyObject *dtype, int axis, Quant *quant,
                            hunze_dtype *codes)
{
    *codes = DTYPE_S8;
    quant->present = true;
    quant->quant = (hunze_quant){.struct_size = sizeof quant->quant};
    if (!take_parameter(call, scale, "out_scale", true, &quant->scale))
        return false;
    quant->quant.scale = &quant->scale.tensor;
    if (quant->scale.tensor.ndim) {
        quant->quant.granularity = HUNZE_PER_AXIS;
        quant->quant.axis = axis;
    }
    if (zero_point) {
        if (!take_parameter(call, zero_point, "out_zero_point", false, &quant->zero_point))
            return false;
        quant->quant.zero_point = &quant->zero_point.tensor;
        if (dtype_is(quant->zero_point.tensor.dtype, DTYPE_U8))
            *codes = DTYPE_U8;
    }
    if (dtype && !dtype_parse(dtype, "out_dtype", codes))
        return false;
    if (!dtype_is(*codes, DTYPE_S8) && !dtype_is(*codes, DTYPE_U8)) {
        PyErr_Format(PyExc_TypeError, "out_dtype=%s; a requantised result is 'int8' or 'uint8'", dtype_name(*codes));
        return false;
    }
    if (zero_point && !dtype_is(quant->zero_point.tensor.dtype, *codes)) {
        /* A plain Python integer has no dtype of its own; an array must have the codes'. */
        if (PyLong_Check(zero_point)) {
            int64_t value;
            bool is_signed = codes->code == HUNZE_INT;
            if (!parse_int(zero_point, "out_zero_point", is_signed ? -128 : 0, is_signed ? 127 : 255, &value))
                return false;
            return operand_cast(&quant->zero_point, *codes);
        }
        PyErr_Format(PyExc_TypeError, "out_zero_point is %s; the result is %s",
                     dtype_name(quant->zero_point.tensor.dtype), dtype_name(*codes));
        return false;
    }
    return true;
}

PyObject *call_result(Call *call, PyObject *out, Operand *result, const Operand *like, const Quant *quant, int axis)
{
    PyObject *array = out ? Py_NewRef(out) : operand_result(call->state, result, like);
    if (!array || !quant->present)
        return array;
    PyObject *along = quant->quant.granularity ? PyLong_FromLong(axis) : Py_NewRef(Py_None);
    PyObject *zero_point = quant->quant.zero_point ? quant->zero_point.owner : Py_None;
    PyObject *wrapped = along ? PyObject_CallFunctionObjArgs(call->state->quantized_type, array, quant->scale.owner,
                                                             zero_point, along, NULL)
                              : NULL;
    Py_XDECREF(along);
    Py_DECREF(array);
    return wrapped;
}

static bool is_narrow(hunze_dtype dtype) { return dtype_is(dtype, DTYPE_F16) || dtype_is(dtype, DTYPE_BF16); }

static bool is_number(hunze_dtype dtype) { return dtype.code == HUNZE_INT || dtype.code == HUNZE_UINT; }

/* What NumPy makes of two integer types; false where that is float64. */
static bool promote_integers(hunze_dtype a, hunze_dtype b, hunze_dtype *promoted)
{
    const hunze_dtype wide = a.bits > b.bits || (a.bits == b.bits && a.code == HUNZE_INT) ? a : b;
    const hunze_dtype other = dtype_is(wide, a) ? b : a;
    *promoted = wide;
    if (!is_number(a) || !is_number(b))
        return false;
    if (a.code == b.code || (wide.code == HUNZE_INT && wide.bits > other.bits))
        return true;
    promoted->code = HUNZE_INT; /* as many bits as hold both */
    promoted->bits = (uint8_t)(2 * wide.bits);
    return wide.bits < 64;
}

/* Whether every value of one integer type is one of the other. */
static bool holds_integers(hunze_dtype wide, hunze_dtype narrow)
{
    hunze_dtype promoted;
    return promote_integers(wide, narrow, &promoted) && dtype_is(promoted, wide);
}

bool call_take_addend(Call *call, PyObject *object, const char *name, hunze_dtype operands, hunze_dtype dtype,
                      Operand *operand)
{
    /* Beside operands of 16 bits they are of these or float32, whatever the result is. */
    const hunze_dtype other = is_narrow(operands) ? operands : dtype;
    dtype = is_narrow(operands) ? DTYPE_F32 : dtype;
    if (!operand_take(&call->place, object, name, operand))
        return false;
    call_keep(call, operand);
    hunze_dtype have = operand->tensor.dtype;
    if (dtype_is(have, dtype) || dtype_is(have, other))
        return true;
    bool list = PyList_Check(object) || PyTuple_Check(object);
    bool widens = (dtype_is(have, DTYPE_F32) && dtype_is(dtype, DTYPE_F64)) ||
                  (is_narrow(have) && (dtype_is(dtype, DTYPE_F32) || dtype_is(dtype, DTYPE_F64))) ||
                  holds_integers(dtype, have) || (have.code == HUNZE_BOOL && is_number(dtype));
    if (widens || (list && (dtype.code == HUNZE_FLOAT || dtype_is_integer(have))))
        return operand_cast(operand, dtype);
    PyErr_Format(PyExc_TypeError, "%s is %s; %s needs %s here: use %s.astype('%s')", name, dtype_name(have),
                 call->function, dtype_name(dtype), name, dtype_name(dtype));
    return false;
}

static bool is_float(hunze_dtype dtype)
{
    return dtype_is(dtype, DTYPE_F32) || dtype_is(dtype, DTYPE_F64) || is_narrow(dtype);
}

static bool is_byte(hunze_dtype dtype) { return dtype_is(dtype, DTYPE_S8) || dtype_is(dtype, DTYPE_U8); }

static bool takes_narrow(const Call *call)
{
    return call->call.op == HUNZE_OP_GEMM || call->place.device.type != HUNZE_DEVICE_CPU || call->place.brings;
}

/* Products that take integers of every width, u8 on the right too. */
static bool is_product_on_cpu(const Call *call)
{
    return call->call.op == HUNZE_OP_GEMM && call->place.device.type == HUNZE_DEVICE_CPU && !call->place.brings;
}

/* Convolutions take 16-bit floats on devices only. */
static bool takes_float(const Call *call, hunze_dtype dtype)
{
    return is_float(dtype) && (!is_narrow(dtype) || takes_narrow(call));
}

static bool refuse_product(Call *call, const char *a_name, hunze_dtype a, const char *b_name, hunze_dtype b)
{
    hunze_dtype promoted;
    if ((takes_float(call, a) && dtype_is_integer(b)) ||
        (is_product_on_cpu(call) && is_number(a) && is_number(b) && !promote_integers(a, b, &promoted)))
        PyErr_Format(PyExc_TypeError, "%s is %s beside %s, which is %s: use %s.astype('%s')", b_name, dtype_name(b),
                     a_name, dtype_name(a), b_name, dtype_name(a));
    else if (takes_float(call, b) && dtype_is_integer(a))
        PyErr_Format(PyExc_TypeError, "%s is %s beside %s, which is %s: use %s.astype('%s')", a_name, dtype_name(a),
                     b_name, dtype_name(b), a_name, dtype_name(b));
    else {
        bool first = !takes_float(call, a) && !is_byte(a);
        const char *name = first ? a_name : b_name;
        hunze_dtype dtype = first ? a : b;
        const char *to = dtype.bits <= 16 && dtype.code != 5 ? "float32" : "float64";
        PyErr_Format(PyExc_TypeError, "%s is %s; %s takes %sfloat32, float64%s: use %s.astype('%s')", name,
                     dtype_name(dtype), call->function, takes_narrow(call) ? "bfloat16, float16, " : "",
                     is_product_on_cpu(call) ? " and integers" : ", int8 and uint8", name, to);
    }
    return false;
}

/* Weights are signed in convolutions and on devices: unsigned ones are moved down by 128 together with their zero point. */
static bool make_signed(Call *call, Operand *b, Quant *quant)
{
    if (!operand_to_signed(b))
        return false;
    if (!quant->present) {
        quant->present = true;
        quant->quant = (hunze_quant){.struct_size = sizeof quant->quant};
    }
    if (quant->quant.zero_point)
        return operand_to_signed(&quant->zero_point);
    /* One per scale: both of a hunze_quant's tensors have one shape. */
    const hunze_tensor *scale = quant->quant.scale;
    Place cpu = {.state = call->state, .device = {HUNZE_DEVICE_CPU, 0}}; /* where b is, as it was changed */
    if (!operand_new(&cpu, DTYPE_S8, scale ? scale->ndim : 0, scale ? scale->shape : NULL, &quant->zero_point))
        return false;
    quant->zero_point.name = "zero_point";
    quant->zero_point.output = false;
    call_keep(call, &quant->zero_point);
    memset(quant->zero_point.tensor.data, 0x80, PyArray_SIZE((PyArrayObject *)quant->zero_point.owner));
    quant->quant.zero_point = &quant->zero_point.tensor;
    return true;
}

static bool result_dtype(Call *call, PyObject *dtype, hunze_dtype natural, bool wraps, hunze_dtype *d)
{
    *d = natural;
    if (dtype && !dtype_parse(dtype, "dtype", d))
        return false;
    if (dtype_is(*d, natural) || (takes_float(call, *d) && is_float(natural)) || (wraps && holds_integers(*d, natural)))
        return true;
    PyErr_Format(PyExc_TypeError, "dtype=%s; %s of these operands gives %s", dtype_name(*d), call->function,
                 dtype_name(natural));
    return false;
}

/* Both operands to one type; packed weights have theirs. */
static bool cast_both(Operand *a, const char *a_name, Operand *b, const char *b_name, bool b_packed, hunze_dtype b_type,
                      hunze_dtype to)
{
    if (b_packed && !dtype_is(b_type, to)) {
        PyErr_Format(PyExc_TypeError, "%s is packed as %s beside %s: use %s.astype('%s')", b_name, dtype_name(b_type),
                     dtype_name(to), a_name, dtype_name(b_type));
        return false;
    }
    return (dtype_is(a->tensor.dtype, to) || operand_cast(a, to)) && (dtype_is(b_type, to) || operand_cast(b, to));
}

bool call_product_dtypes(Call *call, Operand *a, Quant *a_quant, const char *a_name, Operand *b, Quant *b_quant,
                         const char *b_name, bool b_packed, hunze_dtype b_type, PyObject *dtype, hunze_dtype *d)
{
    hunze_dtype a_type = a->tensor.dtype, natural;
    if (takes_float(call, a_type) && takes_float(call, b_type)) {
        if (is_narrow(a_type) && is_narrow(b_type) &&
            !dtype_is(a_type, b_type)) { /* neither holds the other's values */
            PyErr_Format(PyExc_TypeError, "%s is %s beside %s, which is %s: use %s.astype('float32')", b_name,
                         dtype_name(b_type), a_name, dtype_name(a_type), b_name);
            return false;
        }
        if (!result_dtype(call, dtype, a_type.bits > b_type.bits ? a_type : b_type, false, d))
            return false;
        if (is_narrow(a_type) && dtype_is(a_type, b_type) && dtype_is(*d, DTYPE_F32))
            return true; /* sums are f32: only the rounding at the end is left out */
        return cast_both(a, a_name, b, b_name, b_packed, b_type, *d);
    }
    if (is_product_on_cpu(call) && !(is_byte(a_type) && is_byte(b_type)) && !a_quant->present && !b_quant->present &&
        promote_integers(a_type, b_type, &natural))
        return result_dtype(call, dtype, natural, true, d) && cast_both(a, a_name, b, b_name, b_packed, b_type, *d);
    bool a_real = a_quant->present && a_quant->quant.scale, b_real = b_quant->present && b_quant->quant.scale;
    if (!is_byte(a_type) || !is_byte(b_type)) {
        if ((a_real && is_float(b_type)) || (b_real && is_float(a_type))) {
            PyErr_Format(PyExc_TypeError, "%s is a QArray beside %s of %s: use hz.quantize(%s) or %s.dequantize()",
                         a_real ? a_name : b_name, a_real ? b_name : a_name, dtype_name(a_real ? b_type : a_type),
                         a_real ? b_name : a_name, a_real ? a_name : b_name);
            return false;
        }
        return refuse_product(call, a_name, a_type, b_name, b_type);
    }
    if (a_real != b_real) {
        PyErr_Format(PyExc_TypeError, "%s has a scale and %s has none: make both QArrays, or use .codes of the first",
                     a_real ? a_name : b_name, a_real ? b_name : a_name);
        return false;
    }
    if (!result_dtype(call, dtype, a_real ? DTYPE_F32 : DTYPE_S32, false, d))
        return false;
    if (a_real && !dtype_is(*d, DTYPE_F32)) {
        PyErr_Format(PyExc_TypeError, "dtype=%s; a product of QArrays is float32", dtype_name(*d));
        return false;
    }
    return b_packed || !dtype_is(b_type, DTYPE_U8) || is_product_on_cpu(call) || make_signed(call, b, b_quant);
}
