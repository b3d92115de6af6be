/* SPDX-License-Identifier: Apache-2.0
 * DLPack out: capsules, and for results in bfloat16 an object that other libraries' from_dlpack takes where NumPy's own export has no such
 * type. */
#include "dlpack.h"

#include <stdlib.h>

typedef struct ExportObject {
    PyObject ob_base;
    PyObject *array; /* row-major, 16 bits per element */
} ExportObject;

/* What a capsule gives away; it ends by the taker's call of the deleter, or with a capsule that nobody took. */
typedef struct Given {
    PyObject *owner;
    union {
        Managed legacy;
        ManagedVersioned versioned;
    } managed;
    int64_t extents[]; /* shape, then strides */
} Given;

static const char legacy_name[] = "dltensor", versioned_name[] = "dltensor_versioned";

static void give_back(Given *given)
{
    if (!Py_IsInitialized()) /* a library that ends after the interpreter: there is nobody to give it back to */
        return;
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF(given->owner);
    PyGILState_Release(gil);
    free(given);
}

static void delete_legacy(Managed *managed) { give_back(managed->manager); }
static void delete_versioned(ManagedVersioned *managed) { give_back(managed->manager); }

static void end_capsule(PyObject *capsule)
{
    for (int versioned = 0; versioned < 2; versioned++) {
        const char *name = versioned ? versioned_name : legacy_name;
        if (!PyCapsule_IsValid(capsule, name))
            continue;
        void *managed = PyCapsule_GetPointer(capsule, name);
        give_back(versioned ? ((ManagedVersioned *)managed)->manager : ((Managed *)managed)->manager);
    }
}

PyObject *dlpack_capsule(const hunze_tensor *from, PyObject *owner, bool versioned, uint64_t flags)
{
    const int axes = from->ndim;
    Given *given = malloc(sizeof *given + 2 * (size_t)axes * sizeof(int64_t));
    if (!given)
        return PyErr_NoMemory();
    int64_t stride = 1;
    for (int i = axes; i-- > 0; stride *= from->shape[i]) {
        given->extents[i] = from->shape[i];
        given->extents[axes + i] = from->strides ? from->strides[i] : stride;
    }
    given->owner = Py_NewRef(owner);
    hunze_tensor tensor = *from;
    tensor.shape = given->extents;
    tensor.strides = given->extents + axes;
    if (versioned)
        given->managed.versioned = (ManagedVersioned){1, 0, given, delete_versioned, flags, tensor};
    else
        given->managed.legacy = (Managed){tensor, given, delete_legacy};
    PyObject *capsule = PyCapsule_New(&given->managed, versioned ? versioned_name : legacy_name, end_capsule);
    if (!capsule)
        give_back(given);
    return capsule;
}

static PyObject *make_capsule(PyObject *object, bool versioned)
{
    PyArrayObject *array = (PyArrayObject *)object;
    const hunze_tensor tensor = {.data = PyArray_DATA(array),
                                 .device = {HUNZE_DEVICE_CPU, 0},
                                 .ndim = PyArray_NDIM(array),
                                 .dtype = DTYPE_BF16,
                                 .shape = (int64_t *)PyArray_DIMS(array)};
    return dlpack_capsule(&tensor, object, versioned, 0);
}

/* __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None): memory of the CPU, which nobody else has. */
static PyObject *export_dlpack(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"stream", "max_version", "dl_device", "copy", NULL};
    PyObject *stream = NULL, *version = NULL, *device = NULL, *copy = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$OOOO:__dlpack__", names, &stream, &version, &device,
                                     &copy))
        return NULL;
    long major = 0;
    if (version && version != Py_None) {
        PyObject *first = PySequence_GetItem(version, 0);
        major = first ? PyLong_AsLong(first) : -1;
        Py_XDECREF(first);
        if (PyErr_Occurred())
            return NULL;
    }
    return make_capsule(((ExportObject *)object)->array, major >= 1);
}

static PyObject *export_device(PyObject *object, PyObject *unused)
{
    (void)object, (void)unused;
    return Py_BuildValue("(ii)", HUNZE_DEVICE_CPU, 0);
}

static void export_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    Py_XDECREF(((ExportObject *)object)->array);
    release(object);
    Py_DECREF(type);
}

PyObject *dlpack_export(State *state, PyObject *array)
{
    allocfunc make = (allocfunc)PyType_GetSlot(state->export_type, Py_tp_alloc);
    ExportObject *self = (ExportObject *)make(state->export_type, 0);
    if (self)
        self->array = Py_NewRef(array);
    return (PyObject *)self;
}

static PyMethodDef export_methods[] = {
    {"__dlpack__", (PyCFunction)(void (*)(void))export_dlpack, METH_VARARGS | METH_KEYWORDS, NULL},
    {"__dlpack_device__", export_device, METH_NOARGS, NULL},
    {0}};
static PyType_Slot export_slots[] = {{Py_tp_dealloc, export_dealloc}, {Py_tp_methods, export_methods}, {0, NULL}};
PyType_Spec export_spec = {"hunze._hunze._Export", sizeof(ExportObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           export_slots};
