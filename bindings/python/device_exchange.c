/* SPDX-License-Identifier: Apache-2.0
 * DeviceArrays to and from other libraries: DLPack out, __cuda_array_interface__ in both directions.  (DLPack in: dlpack.c.) */
#include "device.h"

#include "dlpack.h"

/* ------------------------------------------------------------------ DLPack out */

/* The array API: None is the legacy default stream, -1 asks for no order.  The consumer may write, too. */
static bool wait_for_elements(DeviceArrayObject *self, PyObject *number)
{
    Stream stream = {STREAM_LEGACY, NULL};
    if (number != Py_None) {
        if (!PyLong_Check(number)) {
            PyErr_Format(PyExc_TypeError, "stream=%R; the consumer gives a number", number);
            return false;
        }
        int overflow;
        if (PyLong_AsLongLongAndOverflow(number, &overflow) == -1)
            return !PyErr_Occurred();
        if (!stream_parse(self->memory->state, number, &stream))
            return false;
    }
    return memory_use(self->memory, &stream, !self->memory->read_only);
}

/* *type 0: not said. */
static bool parse_pair(PyObject *pair, long *type, long *id)
{
    *type = *id = 0;
    if (pair == Py_None)
        return true;
    PyObject *first = PySequence_GetItem(pair, 0), *second = first ? PySequence_GetItem(pair, 1) : NULL;
    if (second) {
        *type = PyLong_AsLong(first);
        *id = PyLong_AsLong(second);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    return !PyErr_Occurred();
}

static PyObject *export_on_cpu(PyObject *object, PyObject *copy, bool versioned)
{
    if (copy == Py_False) {
        PyErr_SetString(PyExc_BufferError, "copy=False, and the array lives on a device");
        return NULL;
    }
    PyObject *host = PyObject_CallMethod(object, "numpy", NULL), *capsule = NULL;
    if (host) {
        PyArrayObject *array = (PyArrayObject *)host;
        const hunze_tensor tensor = {.data = PyArray_DATA(array),
                                     .device = {HUNZE_DEVICE_CPU, 0},
                                     .ndim = PyArray_NDIM(array),
                                     .dtype = ((DeviceArrayObject *)object)->dtype,
                                     .shape = (int64_t *)PyArray_DIMS(array)};
        capsule = dlpack_capsule(&tensor, host, versioned, DLPACK_COPIED);
    }
    Py_XDECREF(host);
    return capsule;
}

PyObject *device_array_dlpack(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"stream", "max_version", "dl_device", "copy", NULL};
    PyObject *stream = Py_None, *version = Py_None, *place = Py_None, *copy = Py_None;
    long major, minor, type, id;
    DeviceArrayObject *self = (DeviceArrayObject *)object;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$OOOO:__dlpack__", names, &stream, &version, &place,
                                     &copy) ||
        !parse_pair(version, &major, &minor) || !parse_pair(place, &type, &id))
        return NULL;
    if (type == HUNZE_DEVICE_CPU)
        return export_on_cpu(object, copy, major >= 1);
    if (type && (type != self->memory->device.type || id != self->memory->device.id)) {
        PyErr_Format(PyExc_BufferError, "dl_device=%R, and the array lives on cuda:%d: use hz.to_device", place,
                     (int)self->memory->device.id);
        return NULL;
    }
    if (self->memory->read_only && major < 1 && copy != Py_True) {
        PyErr_SetString(PyExc_BufferError,
                        "the array is read-only, which DLPack says from version 1.0 on: give max_version");
        return NULL;
    }
    PyObject *given = copy == Py_True ? PyObject_CallMethod(object, "copy", NULL) : Py_NewRef(object);
    PyObject *capsule = NULL;
    if (given && wait_for_elements((DeviceArrayObject *)given, stream)) {
        Operand operand;
        device_array_operand(given, &operand);
        capsule = dlpack_capsule(&operand.tensor, given, major >= 1,
                                 (operand.read_only ? DLPACK_READ_ONLY : 0) | (copy == Py_True ? DLPACK_COPIED : 0));
    }
    Py_XDECREF(given);
    return capsule;
}

PyObject *device_array_dlpack_device(PyObject *object, PyObject *unused)
{
    const DeviceArrayObject *self = (DeviceArrayObject *)object;
    (void)unused;
    return Py_BuildValue("(ii)", (int)self->memory->device.type, (int)self->memory->device.id);
}

/* ------------------------------------------------------------------ __cuda_array_interface__ out */

PyObject *device_array_interface(PyObject *object, void *closure)
{
    const DeviceArrayObject *self = (DeviceArrayObject *)object;
    (void)closure;
    if (dtype_is(self->dtype, DTYPE_BF16)) {
        PyErr_SetString(PyExc_AttributeError, "__cuda_array_interface__ has no bfloat16: use DLPack");
        return NULL;
    }
    PyObject *dtype = (PyObject *)PyArray_DescrFromType(dtype_number(self->dtype));
    PyObject *typestr = dtype ? PyObject_GetAttrString(dtype, "str") : NULL;
    PyObject *shape = PyObject_GetAttrString(object, "shape"), *strides = PyObject_GetAttrString(object, "strides");
    PyObject *result = NULL;
    if (typestr && shape && strides)
        result = Py_BuildValue("{s:O,s:O,s:O,s:(KO),s:i,s:K}", "shape", shape, "strides", strides, "typestr", typestr,
                               "data", (unsigned long long)(uintptr_t)self->data,
                               self->memory->read_only ? Py_True : Py_False, "version", 3, "stream",
                               stream_number(self->memory->streams[0].handle));
    Py_XDECREF(dtype);
    Py_XDECREF(typestr);
    Py_XDECREF(shape);
    Py_XDECREF(strides);
    return result;
}

/* ------------------------------------------------------------------ __cuda_array_interface__ in */

/* interface[key], borrowed; NULL where it is not there or None. */
static PyObject *member(PyObject *interface, const char *key)
{
    PyObject *value = PyDict_GetItemString(interface, key);
    return value == Py_None ? NULL : value;
}

static bool take_extents(PyObject *interface, const char *name, Operand *operand)
{
    hunze_tensor *tensor = &operand->tensor;
    PyObject *shape = member(interface, "shape"), *strides = member(interface, "strides");
    const int64_t bytes = tensor->dtype.bits / 8;
    Py_ssize_t axes = shape && PyTuple_Check(shape) ? PyTuple_Size(shape) : -1;
    if (axes < 0 || axes > MAX_AXES || (strides && (!PyTuple_Check(strides) || PyTuple_Size(strides) != axes))) {
        PyErr_Format(PyExc_TypeError, "%s.__cuda_array_interface__ has no shape that hunze reads", name);
        return false;
    }
    int64_t stride = 1;
    for (int i = (int)axes; i-- > 0;) {
        operand->shape[i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
        long long distance = strides ? PyLong_AsLongLong(PyTuple_GetItem(strides, i)) : stride * bytes;
        if (PyErr_Occurred())
            return false;
        if (distance % bytes && operand->shape[i] > 1) {
            PyErr_Format(PyExc_ValueError, "%s has elements at distances that are no multiple of their size: copy it",
                         name);
            return false;
        }
        operand->strides[i] = distance / bytes;
        stride *= operand->shape[i];
    }
    tensor->ndim = (int)axes;
    tensor->shape = operand->shape;
    tensor->strides = operand->strides;
    return true;
}

static bool take_dtype(PyObject *interface, const char *name, Operand *operand)
{
    PyObject *typestr = member(interface, "typestr");
    PyArray_Descr *descr = NULL;
    if (!typestr || !PyArray_DescrConverter(typestr, &descr)) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "%s.__cuda_array_interface__ has no typestr", name);
        return false;
    }
    bool good = PyArray_ISNBO(descr->byteorder) && dtype_of_descr(descr, &operand->tensor.dtype);
    if (!good)
        PyErr_Format(PyExc_TypeError, "%s has the dtype %S, which hunze does not take: convert it to float32", name,
                     (PyObject *)descr);
    Py_DECREF(descr);
    return good;
}

static bool take_pointer(PyObject *interface, const char *name, Operand *operand)
{
    PyObject *data = member(interface, "data");
    unsigned long long pointer = 0;
    int read_only = 0;
    if (!data || !PyTuple_Check(data) || !PyArg_ParseTuple(data, "Kp:data", &pointer, &read_only)) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "%s.__cuda_array_interface__ has no data", name);
        return false;
    }
    operand->tensor.data = (void *)(uintptr_t)pointer;
    operand->tensor.byte_offset = 0;
    operand->read_only = read_only;
    return true;
}

/* The interface does not say which device it is: the driver knows. */
static bool find_device(Place *place, const hunze_tensor *tensor, hunze_device *device)
{
    hunze_context *context = default_context(place->state);
    *device = (hunze_device){HUNZE_DEVICE_CUDA, place->device.id};
    if (!context || !tensor->data)
        return context;
    hunze_status status = hunze_pointer_device(context, tensor->data, device);
    if (status)
        return raise_status(status, "hunze") != NULL;
    if (device->type == HUNZE_DEVICE_CPU) /* the call says what is wrong */
        *device = (hunze_device){HUNZE_DEVICE_CUDA, place->device.id};
    return true;
}

static bool take_memory(Place *place, PyObject *object, PyObject *interface, const char *name, Operand *operand)
{
    PyObject *number = member(interface, "stream");
    Stream theirs;
    hunze_device device;
    if ((number && !stream_parse(place->state, number, &theirs)) || !find_device(place, &operand->tensor, &device))
        return false;
    theirs.owner = NULL;
    if (!place_enter(place, device, object, number ? &theirs : NULL, name))
        return false;
    /* The call's stream waits for theirs, as it does for any that used the memory. */
    DeviceMemory *memory = memory_import(place->state, device, number ? &theirs : &place->stream);
    if (!memory)
        return false;
    memory->exporter = Py_NewRef(object);
    memory->read_only = operand->read_only;
    memory->says_stream = number;
    memory->theirs = number ? theirs : (Stream){0};
    operand->memory = memory;
    operand->tensor.device = device;
    return true;
}

bool interface_take(Place *place, PyObject *object, const char *name, Operand *operand)
{
    PyObject *interface = PyObject_GetAttr(object, place->state->attributes[ATTRIBUTE___cuda_array_interface__]);
    bool good = interface && PyDict_Check(interface);
    if (interface && !good)
        PyErr_Format(PyExc_TypeError, "%s.__cuda_array_interface__ is no dict", name);
    if (good && member(interface, "mask")) {
        PyErr_Format(PyExc_TypeError, "%s is a masked array, and hunze has no masks", name);
        good = false;
    }
    good = good && take_dtype(interface, name, operand) && take_extents(interface, name, operand) &&
           take_pointer(interface, name, operand) && take_memory(place, object, interface, name, operand);
    Py_XDECREF(interface);
    if (!good)
        return false;
    operand->space = library_space(place->state, object);
    operand->library = operand->space ? LIBRARY_OTHER : LIBRARY_ANY;
    return true;
}
