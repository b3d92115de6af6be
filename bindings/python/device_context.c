/* SPDX-License-Identifier: Apache-2.0
 * What the process has of devices: which there are, the memory that is kept, who allocates it. */
#include "device.h"

/* _devices() -> JSON */
PyObject *binding_devices(PyObject *module, PyObject *nothing)
{
    char *text = NULL;
    (void)nothing;
    hunze_context *context = default_context(state_of(module));
    if (!context)
        return NULL;
    hunze_status status = hunze_devices(context, &text);
    if (status)
        return raise_status(status, "devices");
    PyObject *result = PyUnicode_FromString(text);
    hunze_string_free(text);
    return result;
}

PyObject *binding_empty_cache(PyObject *module, PyObject *nothing)
{
    (void)nothing;
    hunze_context *context = default_context(state_of(module));
    if (!context)
        return NULL;
    memory_poll();
    hunze_status status = hunze_memory_trim(context);
    return status ? raise_status(status, "empty_cache") : Py_NewRef(Py_None);
}

/* ------------------------------------------------------------------ the user's allocator */

/* A context keeps the functions that it was made with, so they are never freed. */
typedef struct DeviceHooks {
    PyObject *alloc, *free;
} DeviceHooks;

/* An exception stays set: the call that needed the memory raises it. */
static void *call_alloc(void *user, int32_t device, size_t bytes, void *stream)
{
    const DeviceHooks *hooks = user;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *pointer =
        PyObject_CallFunction(hooks->alloc, "inK", (int)device, (Py_ssize_t)bytes, stream_number(stream));
    unsigned long long address = pointer ? PyLong_AsUnsignedLongLong(pointer) : 0;
    if (PyErr_Occurred())
        address = 0;
    Py_XDECREF(pointer);
    PyGILState_Release(gil);
    return (void *)(uintptr_t)address;
}

static void call_free(void *user, int32_t device, void *pointer, size_t bytes, void *stream)
{
    const DeviceHooks *hooks = user;
    PyObject *type, *value, *trace;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyErr_Fetch(&type, &value, &trace);
    PyObject *result = PyObject_CallFunction(hooks->free, "iKnK", (int)device, (unsigned long long)(uintptr_t)pointer,
                                             (Py_ssize_t)bytes, stream_number(stream));
    if (!result)
        PyErr_WriteUnraisable(hooks->free);
    Py_XDECREF(result);
    PyErr_Restore(type, value, trace);
    PyGILState_Release(gil);
}

const hunze_device_allocator *device_allocator(State *state, hunze_device_allocator *allocator)
{
    if (!state || !state->device_hooks)
        return NULL;
    *allocator = (hunze_device_allocator){
        .struct_size = sizeof *allocator, .alloc = call_alloc, .free = call_free, .user = state->device_hooks};
    return allocator;
}

/* _set_device_allocator(alloc, free), or (None, None): for a default context that takes the place of the one before, whose memory goes back
 * through it. */
PyObject *binding_set_device_allocator(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    State *state = state_of(module);
    DeviceHooks *hooks = NULL;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "_set_device_allocator() takes 2 arguments");
        return NULL;
    }
    if (v[0] != Py_None) {
        hooks = PyMem_Malloc(sizeof *hooks);
        if (!hooks)
            return PyErr_NoMemory();
        *hooks = (DeviceHooks){Py_NewRef(v[0]), Py_NewRef(v[1])};
    }
    state->device_hooks = hooks;
    __atomic_store_n(&state->context, NULL,
                     __ATOMIC_RELEASE); /* calls and arrays use it still, so it is not released */
    Py_RETURN_NONE;
}
