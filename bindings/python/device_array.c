/* SPDX-License-Identifier: Apache-2.0
 * Arrays on devices: the type that hunze.DeviceArray is made of, and copies between them and the CPU. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

PyObject *device_array_new(State *state, DeviceMemory *memory, void *data, hunze_dtype dtype, int axes,
                           const int64_t *shape, const int64_t *strides)
{
    PyTypeObject *type = (PyTypeObject *)state->device_type;
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    DeviceArrayObject *self = (DeviceArrayObject *)make(type, 0);
    if (!self)
        return NULL;
    self->extents = PyMem_Malloc((axes ? 2 * (size_t)axes : 1) * sizeof *self->extents);
    if (!self->extents) {
        Py_DECREF((PyObject *)self);
        return PyErr_NoMemory();
    }
    self->memory = (DeviceMemory *)Py_NewRef((PyObject *)memory);
    self->data = data;
    self->dtype = dtype;
    self->axes = axes;
    int64_t stride = 1;
    for (int i = axes; i-- > 0; stride *= shape[i] > 1 ? shape[i] : 1) {
        self->extents[i] = shape[i];
        self->extents[axes + i] = strides ? strides[i] : stride;
    }
    return (PyObject *)self;
}

static bool count_bytes(hunze_dtype dtype, int axes, const int64_t *shape, size_t *bytes)
{
    bool fits = true, empty = false;
    *bytes = dtype.bits / 8;
    for (int i = 0; i < axes; i++) {
        empty = empty || shape[i] == 0;
        fits = fits && !__builtin_mul_overflow(*bytes, (size_t)shape[i], bytes) && *bytes <= INT64_MAX;
    }
    if (empty)
        *bytes = 0;
    if (!fits && !empty)
        PyErr_SetString(PyExc_MemoryError, "an array with so many elements has no memory anywhere");
    return fits || empty;
}

/* strides NULL: row-major. */
static PyObject *make_array(State *state, hunze_device device, const Stream *stream, hunze_dtype dtype, int axes,
                            const int64_t *shape, const int64_t *strides)
{
    size_t bytes;
    if (!count_bytes(dtype, axes, shape, &bytes))
        return NULL;
    DeviceMemory *memory = memory_new(state, device, bytes, stream);
    if (!memory)
        return NULL;
    PyObject *array = device_array_new(state, memory, memory->pointer, dtype, axes, shape, strides);
    Py_DECREF((PyObject *)memory);
    return array;
}

PyObject *device_array_empty(State *state, hunze_device device, const Stream *stream, hunze_dtype dtype, int axes,
                             const int64_t *shape)
{
    return make_array(state, device, stream, dtype, axes, shape, NULL);
}

void device_array_operand(PyObject *object, Operand *operand)
{
    const DeviceArrayObject *self = (DeviceArrayObject *)object;
    const size_t bytes = (size_t)self->axes * sizeof *self->extents;
    if (bytes) {
        memcpy(operand->shape, self->extents, bytes);
        memcpy(operand->strides, self->extents + self->axes, bytes);
    }
    operand->tensor = (hunze_tensor){.data = self->data,
                                     .device = self->memory->device,
                                     .ndim = self->axes,
                                     .dtype = self->dtype,
                                     .shape = operand->shape,
                                     .strides = operand->strides};
    operand->memory = self->memory;
    operand->read_only = self->memory->read_only;
    operand->library = LIBRARY_DEVICE;
}

PyObject *device_array_of(State *state, Operand *operand)
{
    if (operand->owner)
        return Py_NewRef(operand->owner);
    const hunze_tensor *tensor = &operand->tensor;
    return device_array_new(state, operand->memory, (char *)tensor->data + tensor->byte_offset, tensor->dtype,
                            tensor->ndim, tensor->shape, tensor->strides);
}

bool device_copy(State *state, const Operand *from, const Operand *to, const Stream *stream)
{
    hunze_context *context = default_context(state);
    if (!context)
        return false;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream->handle};
    PyThreadState *thread = PyEval_SaveThread();
    hunze_status status = hunze_copy(context, &from->tensor, &to->tensor, &run);
    PyEval_RestoreThread(thread);
    memory_work_given();
    return status ? raise_status(status, "hunze") != NULL : true;
}

/* ------------------------------------------------------------------ to devices and back */

/* Strides of an array without gaps whose axes lie in memory in the same order. */
static void dense_strides(const hunze_tensor *like, int64_t *strides)
{
    int order[MAX_AXES];
    for (int i = 0; i < like->ndim; i++) {
        int at = i;
        for (; at > 0 && llabs(like->strides[order[at - 1]]) < llabs(like->strides[i]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    int64_t stride = 1;
    for (int i = like->ndim; i-- > 0;) {
        strides[order[i]] = stride;
        stride *= like->shape[order[i]] > 1 ? like->shape[order[i]] : 1;
    }
}

static PyObject *upload(Place *place, Operand *from)
{
    int64_t strides[MAX_AXES];
    Operand to;
    dense_strides(&from->tensor, strides);
    PyObject *array = make_array(place->state, place->device, &place->stream, from->tensor.dtype, from->tensor.ndim,
                                 from->tensor.shape, strides);
    if (!array)
        return NULL;
    device_array_operand(array, &to);
    if (!device_copy(place->state, from, &to, &place->stream))
        Py_CLEAR(array);
    return array;
}

/* The operand is on the place's device. */
static PyObject *download(Place *place, Operand *from)
{
    Place cpu = {.state = place->state, .device = {HUNZE_DEVICE_CPU, 0}};
    Operand to;
    PyObject *array = NULL;
    if (!memory_use(from->memory, &place->stream, false) ||
        !operand_new(&cpu, from->tensor.dtype, from->tensor.ndim, from->tensor.shape, &to))
        return NULL;
    if (dtype_is(to.tensor.dtype, DTYPE_BF16) && PyArray_TYPE((PyArrayObject *)to.owner) == NPY_UINT16)
        refuse_bfloat16();
    else if (device_copy(place->state, from, &to, &place->stream))
        array = Py_NewRef(to.owner);
    operand_release(&to);
    memory_poll();
    return array;
}

PyObject *device_array_copy(Place *place, Operand *from)
{
    Operand to;
    PyObject *array = memory_use(from->memory, &place->stream, false)
                          ? device_array_empty(place->state, place->device, &place->stream, from->tensor.dtype,
                                               from->tensor.ndim, from->tensor.shape)
                          : NULL;
    if (!array)
        return NULL;
    device_array_operand(array, &to);
    if (!device_copy(place->state, from, &to, &place->stream))
        Py_CLEAR(array);
    return array;
}

/* To another device, over the CPU. */
static PyObject *carry_over(Place *place, Operand *from, hunze_device device)
{
    PyObject *host = download(place, from);
    if (!host)
        return NULL;
    Active none = {0};
    Place there;
    Operand operand;
    PyObject *array = NULL;
    place_begin(place->state, &none, NULL, &there);
    if (operand_take(&there, host, "x", &operand)) {
        if (place_enter(&there, device, NULL, NULL, "x"))
            array = upload(&there, &operand);
        operand_release(&operand);
    }
    place_end(&there);
    Py_DECREF(host);
    return array;
}

static PyObject *bring_to(Place *place, Operand *operand, hunze_device device)
{
    const bool to_cpu = device.type == HUNZE_DEVICE_CPU;
    if (operand->memory) {
        if (to_cpu)
            return download(place, operand);
        return device.id == place->device.id ? device_array_of(place->state, operand)
                                             : carry_over(place, operand, device);
    }
    if (to_cpu)
        return operand->owner || operand_cast(operand, operand->tensor.dtype) ? Py_NewRef(operand->owner) : NULL;
    if (!place_enter(place, device, NULL, NULL, "x"))
        return NULL;
    PyObject *array = upload(place, operand);
    /* The copy from pinned memory is still under way. */
    if (array && operand->tensor.device.type == HUNZE_DEVICE_CUDA_HOST && !place_settle(place, false, &operand, 1))
        Py_CLEAR(array);
    return array;
}

/* _to_device(x, device, stream): a DeviceArray, or an ndarray for "cpu"; device None: where it lives. */
PyObject *binding_to_device(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    State *state = state_of(module);
    hunze_device device;
    Active active;
    Place place;
    Operand operand;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "_to_device() takes 3 arguments");
        return NULL;
    }
    const bool stays = v[1] == Py_None;
    if ((!stays && !device_parse(v[1], &device)) || !active_settings(state, &active))
        return NULL;
    place_begin(state, &active, v[2] == Py_None ? NULL : v[2], &place);
    PyObject *result = NULL;
    if (operand_take(&place, v[0], "x", &operand)) {
        result = bring_to(&place, &operand, stays ? place.device : device);
        operand_release(&operand);
    }
    place_end(&place);
    return result;
}

/* _device_empty(shape, dtype, device, stream) */
PyObject *binding_device_empty(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    State *state = state_of(module);
    hunze_device device;
    hunze_dtype dtype;
    Active active;
    Place place;
    int64_t shape[MAX_AXES];
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "_device_empty() takes 4 arguments");
        return NULL;
    }
    const int axes = (int)PyTuple_Size(v[0]);
    for (int i = 0; i < axes && i < MAX_AXES; i++)
        shape[i] = PyLong_AsLongLong(PyTuple_GetItem(v[0], i));
    if (axes > MAX_AXES || PyErr_Occurred() || !dtype_parse(v[1], "dtype", &dtype) || !device_parse(v[2], &device) ||
        !active_settings(state, &active))
        return NULL;
    place_begin(state, &active, v[3] == Py_None ? NULL : v[3], &place);
    PyObject *array = place_enter(&place, device, NULL, NULL, "x")
                          ? device_array_empty(state, place.device, &place.stream, dtype, axes, shape)
                          : NULL;
    place_end(&place);
    return array;
}

/* ------------------------------------------------------------------ the type */

static DeviceArrayObject *self_of(PyObject *object) { return (DeviceArrayObject *)object; }

static State *state_of_array(PyObject *object) { return self_of(object)->memory->state; }

static void array_dealloc(PyObject *object)
{
    DeviceArrayObject *self = self_of(object);
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF((PyObject *)self->memory);
    PyMem_Free(self->extents);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *numbers(const int64_t *values, int count, int64_t factor)
{
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple && i < count; i++) {
        PyObject *number = PyLong_FromLongLong(values[i] * factor);
        if (!number || PyTuple_SetItem(tuple, i, number))
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *array_shape(PyObject *object, void *closure)
{
    (void)closure;
    return numbers(self_of(object)->extents, self_of(object)->axes, 1);
}

static PyObject *array_strides(PyObject *object, void *closure)
{
    const DeviceArrayObject *self = self_of(object);
    (void)closure;
    return numbers(self->extents + self->axes, self->axes, self->dtype.bits / 8);
}

static PyObject *array_dtype(PyObject *object, void *closure)
{
    const int number = dtype_number(self_of(object)->dtype);
    (void)closure;
    return number < 0 ? refuse_bfloat16() : (PyObject *)PyArray_DescrFromType(number);
}

static PyObject *array_dtype_name(PyObject *object, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(dtype_name(self_of(object)->dtype));
}

static PyObject *array_itemsize(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromLong(self_of(object)->dtype.bits / 8);
}

static PyObject *array_device(PyObject *object, void *closure)
{
    (void)closure;
    return PyUnicode_FromFormat("cuda:%d", (int)self_of(object)->memory->device.id);
}

/* The array as an operand of a copy on the stream that is given, else on the block's, else on the legacy default stream. */
static bool begin_copy(PyObject *object, PyObject *stream, Place *place, Operand *operand)
{
    Active active;
    State *state = state_of_array(object);
    if (!active_settings(state, &active))
        return false;
    place_begin(state, &active, stream == Py_None ? NULL : stream, place);
    if (operand_take(place, object, "x", operand))
        return true;
    place_end(place);
    return false;
}

static PyObject *copied(PyObject *object, PyObject *arguments, PyObject *keywords, const char *format,
                        PyObject *(*copy)(Place *, Operand *))
{
    static char *names[] = {"stream", NULL};
    PyObject *stream = Py_None;
    Place place;
    Operand operand;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, format, names, &stream) ||
        !begin_copy(object, stream, &place, &operand))
        return NULL;
    PyObject *result = copy(&place, &operand);
    operand_release(&operand);
    place_end(&place);
    return result;
}

static PyObject *array_numpy(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return copied(object, arguments, keywords, "|O:numpy", download);
}

static PyObject *array_copy(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    return copied(object, arguments, keywords, "|O:copy", device_array_copy);
}

/* _view(shape, strides, offset): strides and offset in bytes, inside this array's memory. */
static PyObject *array_view(PyObject *object, PyObject *arguments)
{
    const DeviceArrayObject *self = self_of(object);
    PyObject *shape, *strides;
    long long offset;
    int64_t extents[2][MAX_AXES];
    if (!PyArg_ParseTuple(arguments, "O!O!L:_view", &PyTuple_Type, &shape, &PyTuple_Type, &strides, &offset))
        return NULL;
    int axes = (int)PyTuple_Size(shape);
    if (axes > MAX_AXES || PyTuple_Size(strides) != axes) {
        PyErr_Format(PyExc_ValueError, "an array has at most %d axes", MAX_AXES);
        return NULL;
    }
    for (int i = 0; i < axes; i++) {
        extents[0][i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
        extents[1][i] = PyLong_AsLongLong(PyTuple_GetItem(strides, i)) / (self->dtype.bits / 8);
    }
    if (PyErr_Occurred())
        return NULL;
    return device_array_new(self->memory->state, self->memory, self->data + offset, self->dtype, axes, extents[0],
                            extents[1]);
}

static PyMethodDef array_methods[] = {
    {"numpy", (PyCFunction)(void (*)(void))array_numpy, METH_VARARGS | METH_KEYWORDS,
     "numpy($self, /, stream=None)\n--\n\nA NumPy array with these elements, copied from the device; waits for them."},
    {"copy", (PyCFunction)(void (*)(void))array_copy, METH_VARARGS | METH_KEYWORDS,
     "copy($self, /, stream=None)\n--\n\nA row-major copy on the same device."},
    {"_view", array_view, METH_VARARGS, NULL},
    {"__dlpack__", (PyCFunction)(void (*)(void))device_array_dlpack, METH_VARARGS | METH_KEYWORDS,
     "__dlpack__($self, /, *, stream=None, max_version=None, dl_device=None, copy=None)\n--\n\nA DLPack capsule; the "
     "consumer's stream, if it says one, waits for these elements."},
    {"__dlpack_device__", device_array_dlpack_device, METH_NOARGS,
     "__dlpack_device__($self)\n--\n\n(DLPack's type of device, its number)."},
    {0}};
static PyGetSetDef array_attributes[] = {{"shape", array_shape, NULL, "Extents.", NULL},
                                         {"strides", array_strides, NULL, "Distances in bytes.", NULL},
                                         {"dtype", array_dtype, NULL, "NumPy's dtype of the elements.", NULL},
                                         {"itemsize", array_itemsize, NULL, "Bytes of an element.", NULL},
                                         {"device", array_device, NULL, "Where it lives, such as 'cuda:0'.", NULL},
                                         {"_dtype_name", array_dtype_name, NULL, NULL, NULL},
                                         {"__cuda_array_interface__", device_array_interface, NULL, "Version 3.", NULL},
                                         {0}};
static PyObject *array_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    (void)type, (void)arguments, (void)keywords;
    PyErr_SetString(PyExc_TypeError, "a DeviceArray is made by hz.to_device(x, 'cuda:0')");
    return NULL;
}

static PyType_Slot array_slots[] = {{Py_tp_new, array_new},
                                    {Py_tp_dealloc, array_dealloc},
                                    {Py_tp_methods, array_methods},
                                    {Py_tp_getset, array_attributes},
                                    {0, NULL}};
PyType_Spec device_array_spec = {"hunze._hunze._DeviceArray", sizeof(DeviceArrayObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_BASETYPE, array_slots};
