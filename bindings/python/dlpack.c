/* SPDX-License-Identifier: Apache-2.0
 * DLPack in: versioned capsules ("dltensor_versioned", since 1.0) and legacy ones ("dltensor").  A capsule that has been
 * taken is renamed to "used_…" and its deleter called when the call ends. */
#include "dlpack.h"

#include "device.h"

#include <string.h>

enum { MAJOR = 1 };

void dlpack_release(Operand *operand)
{
    /* A deleter may run Python code, which must not see the error that a failing call has set. */
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (operand->versioned) {
        ManagedVersioned *managed = operand->managed;
        if (managed->deleter)
            managed->deleter(managed);
    } else {
        Managed *managed = operand->managed;
        if (managed->deleter)
            managed->deleter(managed);
    }
    operand->managed = NULL;
    PyErr_Restore(type, value, trace);
}

PyObject *library_space(State *state, PyObject *object)
{
    PyObject *space = NULL;
    PyObject *method = PyObject_GetAttr(object, state->attributes[ATTRIBUTE___array_namespace__]);
    if (method)
        space = PyObject_CallNoArgs(method);
    Py_XDECREF(method);
    PyErr_Clear();
    if (!space) {
        PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__module__");
        PyObject *parts = module && PyUnicode_Check(module) ? PyObject_CallMethod(module, "partition", "s", ".") : NULL;
        PyObject *top = parts ? PyTuple_GetItem(parts, 0) : NULL;
        PyObject *modules = PyImport_GetModuleDict();
        space = top ? Py_XNewRef(PyDict_GetItemWithError(modules, top)) : NULL;
        Py_XDECREF(parts);
        Py_XDECREF(module);
        PyErr_Clear();
    }
    if (space && !PyObject_HasAttr(space, state->attributes[ATTRIBUTE_from_dlpack]))
        Py_CLEAR(space);
    return space;
}

static bool find_device(State *state, PyObject *object, const char *name, hunze_device *device)
{
    PyObject *method = PyObject_GetAttr(object, state->attributes[ATTRIBUTE___dlpack_device__]);
    PyObject *pair = method ? PyObject_CallNoArgs(method) : NULL;
    Py_XDECREF(method);
    if (!pair)
        return false;
    PyObject *kind = PySequence_GetItem(pair, 0), *id = kind ? PySequence_GetItem(pair, 1) : NULL;
    if (id) {
        device->type = (int32_t)PyLong_AsLong(kind);
        device->id = (int32_t)PyLong_AsLong(id);
    }
    Py_XDECREF(kind);
    Py_XDECREF(id);
    Py_DECREF(pair);
    if (PyErr_Occurred())
        return false;
    switch (device->type) {
    case HUNZE_DEVICE_CPU:
    case HUNZE_DEVICE_CUDA:
    case HUNZE_DEVICE_CUDA_HOST: /* the CPU's too */
    case HUNZE_DEVICE_CUDA_MANAGED: return true;
    default:
        PyErr_Format(PyExc_ValueError,
                     "%s lives on a device (DLPack type %d) that hunze does not use: copy it to the CPU first", name,
                     (int)device->type);
        return false;
    }
}

/* On a device the exporter makes our stream wait for what it has given to its own. */
static PyObject *export_with(Place *place, PyObject *method, bool on_device, bool versioned)
{
    State *state = place->state;
    PyObject *keywords = PyDict_New(), *none = PyTuple_New(0), *capsule = NULL, *number = NULL;
    bool good = keywords && none;
    if (good && on_device) {
        number = PyLong_FromUnsignedLongLong(stream_number(place->stream.handle));
        good = number && PyDict_SetItem(keywords, state->attributes[ATTRIBUTE_stream], number) == 0;
    }
    if (good && versioned)
        good = PyDict_SetItem(keywords, state->attributes[ATTRIBUTE_max_version], state->dlpack_version) == 0;
    if (good)
        capsule = PyObject_Call(method, none, keywords);
    Py_XDECREF(number);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    return capsule;
}

static PyObject *export(Place *place, PyObject *object, bool on_device)
{
    PyObject *method = PyObject_GetAttr(object, place->state->attributes[ATTRIBUTE___dlpack__]);
    if (!method)
        return NULL;
    PyObject *capsule = export_with(place, method, on_device, true);
    /* An exporter from before DLPack 1.0 does not know the keyword. */
    if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = export_with(place, method, on_device, false);
    }
    Py_DECREF(method);
    return capsule;
}

/* Moves the capsule's structure into the operand; the capsule is spent. */
static bool open_capsule(PyObject *capsule, const char *name, Operand *operand)
{
    const hunze_tensor *tensor;
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        ManagedVersioned *managed = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        if (managed->major != MAJOR) {
            PyErr_Format(PyExc_BufferError, "%s exports DLPack %u.%u; hunze reads %d.x", name, managed->major,
                         managed->minor, MAJOR);
            return false;
        }
        if (PyCapsule_SetName(capsule, "used_dltensor_versioned"))
            return false;
        operand->managed = managed;
        operand->versioned = true;
        operand->read_only = managed->flags & DLPACK_READ_ONLY;
        tensor = &managed->tensor;
    } else if (PyCapsule_IsValid(capsule, "dltensor")) {
        Managed *managed = PyCapsule_GetPointer(capsule, "dltensor");
        if (PyCapsule_SetName(capsule, "used_dltensor"))
            return false;
        operand->managed = managed;
        operand->versioned = false;
        tensor = &managed->tensor;
    } else {
        PyErr_Format(PyExc_TypeError, "%s.__dlpack__() returned no unused DLPack capsule", name);
        return false;
    }
    operand->tensor = *tensor;
    return true;
}

static bool describe(const char *name, Operand *operand)
{
    hunze_tensor *tensor = &operand->tensor;
    if (tensor->ndim < 0 || tensor->ndim > MAX_AXES) {
        PyErr_Format(PyExc_ValueError, "%s has %d axes; at most %d are possible", name, (int)tensor->ndim, MAX_AXES);
        return false;
    }
    if (tensor->dtype.lanes != 1 || !dtype_is_known(tensor->dtype)) {
        PyErr_Format(PyExc_TypeError,
                     "%s is %s (DLPack code %d, %d bits, %d lanes), which hunze does not take: convert it to float32",
                     name, dtype_name(tensor->dtype), tensor->dtype.code, tensor->dtype.bits, tensor->dtype.lanes);
        return false;
    }
    int64_t stride = 1;
    for (int i = tensor->ndim; i-- > 0;) {
        operand->shape[i] = tensor->shape[i];
        operand->strides[i] = tensor->strides ? tensor->strides[i] : stride;
        stride *= tensor->shape[i];
    }
    tensor->shape = operand->shape;
    tensor->strides = operand->strides;
    if (tensor->data && ((uintptr_t)tensor->data + tensor->byte_offset) % (tensor->dtype.bits / 8)) {
        PyErr_Format(PyExc_ValueError, "%s starts in the middle of an element: copy it first", name);
        return false;
    }
    return true;
}

/* The structure keeps the memory until the device is done with it. */
static bool hand_over(Place *place, Operand *operand)
{
    DeviceMemory *memory = memory_import(place->state, operand->tensor.device, &place->stream);
    if (!memory)
        return false;
    memory->managed = operand->managed;
    memory->versioned = operand->versioned;
    memory->read_only = operand->read_only;
    operand->managed = NULL;
    operand->memory = memory;
    return true;
}

bool dlpack_take(Place *place, PyObject *object, const char *name, Operand *operand)
{
    State *state = place->state;
    hunze_device device;
    PyObject *gradient = PyObject_GetAttr(object, state->attributes[ATTRIBUTE_requires_grad]);
    int wanted = gradient ? PyObject_IsTrue(gradient) : 0;
    Py_XDECREF(gradient);
    PyErr_Clear();
    if (wanted > 0) {
        PyErr_Format(PyExc_TypeError, "%s requires a gradient, and hunze computes none: use %s.detach()", name, name);
        return false;
    }
    if (!find_device(state, object, name, &device))
        return false;
    const bool on_device = device.type == HUNZE_DEVICE_CUDA || device.type == HUNZE_DEVICE_CUDA_MANAGED;
    if (on_device && !place_enter(place, device, object, NULL, name))
        return false;
    PyObject *capsule = export(place, object, on_device);
    if (!capsule)
        return false;
    bool good = open_capsule(capsule, name, operand);
    Py_DECREF(capsule);
    if (good)
        good = describe(name, operand);
    operand->tensor.device = device;
    if (good && on_device)
        good = hand_over(place, operand);
    if (good) {
        operand->space = library_space(state, object);
        operand->library = operand->space ? LIBRARY_OTHER : LIBRARY_ANY;
    } else
        operand_release(operand);
    return good;
}
