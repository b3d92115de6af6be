/* SPDX-License-Identifier: Apache-2.0
 * DLPack in: versioned capsules ("dltensor_versioned", since 1.0) and legacy ones ("dltensor").  A capsule that has been
 * taken is renamed to "used_…" and its deleter called when the call ends. */
#include "dlpack.h"

#include <string.h>

enum { FLAG_READ_ONLY = 1, MAJOR = 1 };
enum { DEVICE_CPU = 1, DEVICE_CUDA_HOST = 3 }; /* pinned host memory is the CPU's too */

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

/* The module or namespace that makes arrays of the exporter's kind; NULL (no error) for an exporter that has none. */
static PyObject *find_space(State *state, PyObject *object)
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

static bool check_device(State *state, PyObject *object, const char *name)
{
    PyObject *method = PyObject_GetAttr(object, state->attributes[ATTRIBUTE___dlpack_device__]);
    PyObject *pair = method ? PyObject_CallNoArgs(method) : NULL;
    Py_XDECREF(method);
    if (!pair)
        return false;
    PyObject *kind = PySequence_GetItem(pair, 0);
    long device = kind ? PyLong_AsLong(kind) : -1;
    Py_XDECREF(kind);
    Py_DECREF(pair);
    if (PyErr_Occurred())
        return false;
    if (device != DEVICE_CPU && device != DEVICE_CUDA_HOST) {
        PyErr_Format(PyExc_ValueError,
                     "%s lives on a device (DLPack type %ld) that this build cannot use: copy it to the CPU first",
                     name, device);
        return false;
    }
    return true;
}

static PyObject *export(State *state, PyObject *object)
{
    PyObject *method = PyObject_GetAttr(object, state->attributes[ATTRIBUTE___dlpack__]);
    if (!method)
        return NULL;
    PyObject *keywords = PyDict_New(), *none = PyTuple_New(0), *capsule = NULL;
    if (keywords && none &&
        PyDict_SetItem(keywords, state->attributes[ATTRIBUTE_max_version], state->dlpack_version) == 0) {
        capsule = PyObject_Call(method, none, keywords);
        /* An exporter from before DLPack 1.0 does not know the keyword. */
        if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            capsule = PyObject_CallNoArgs(method);
        }
    }
    Py_XDECREF(keywords);
    Py_XDECREF(none);
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
        operand->read_only = managed->flags & FLAG_READ_ONLY;
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
    tensor->device = (hunze_device){HUNZE_DEVICE_CPU, 0};
    if (tensor->data && ((uintptr_t)tensor->data + tensor->byte_offset) % (tensor->dtype.bits / 8)) {
        PyErr_Format(PyExc_ValueError, "%s starts in the middle of an element: copy it first", name);
        return false;
    }
    return true;
}

bool dlpack_take(State *state, PyObject *object, const char *name, Operand *operand)
{
    PyObject *gradient = PyObject_GetAttr(object, state->attributes[ATTRIBUTE_requires_grad]);
    int wanted = gradient ? PyObject_IsTrue(gradient) : 0;
    Py_XDECREF(gradient);
    PyErr_Clear();
    if (wanted > 0) {
        PyErr_Format(PyExc_TypeError, "%s requires a gradient, and hunze computes none: use %s.detach()", name, name);
        return false;
    }
    if (!check_device(state, object, name))
        return false;
    PyObject *capsule = export(state, object);
    if (!capsule)
        return false;
    bool good = open_capsule(capsule, name, operand);
    Py_DECREF(capsule);
    if (good)
        good = describe(name, operand);
    if (good) {
        operand->space = find_space(state, object);
        operand->library = operand->space ? LIBRARY_OTHER : LIBRARY_ANY;
    } else
        operand_release(operand);
    return good;
}
