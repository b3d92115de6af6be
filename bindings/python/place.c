/* SPDX-License-Identifier: Apache-2.0
 * Where a call computes: the CPU, or the device of its first operand there, with all operands and on one stream. */
#include "device.h"

#include <string.h>

void place_begin(State *state, const Active *active, PyObject *given, Place *place)
{
    place->state = state;
    place->device = (hunze_device){HUNZE_DEVICE_CPU, 0};
    place->name = NULL;
    place->given = given ? given : active->stream;
    place->stream = (Stream){STREAM_LEGACY, NULL};
    place->chose = NULL;
    place->taken = 0;
    place->brings = place->first = false;
}

void place_end(Place *place) { Py_CLEAR(place->stream.owner); }

/* sys.modules[package].first.second(*arguments), if that package is imported; NULL without an error. */
static PyObject *call_of_package(const char *package, const char *first, const char *second, PyObject *argument)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), package);
    PyObject *part = module ? PyObject_GetAttrString(module, first) : NULL;
    PyObject *function = part ? PyObject_GetAttrString(part, second) : NULL;
    PyObject *result = function ? PyObject_CallFunctionObjArgs(function, argument, NULL) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(part);
    PyErr_Clear();
    return result;
}

static bool is_of_package(PyObject *module, const char *package)
{
    Py_ssize_t length = 0;
    const char *text = module && PyUnicode_Check(module) ? PyUnicode_AsUTF8AndSize(module, &length) : NULL;
    size_t size = strlen(package);
    return text && strncmp(text, package, size) == 0 && (text[size] == 0 || text[size] == '.');
}

/* Where PyTorch and CuPy work now: what they gave to that stream comes before our work, and what they give to it after ours behind it. */
static PyObject *current_stream(PyObject *object, int32_t device)
{
    PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__module__"), *stream = NULL;
    if (is_of_package(module, "torch")) {
        PyObject *id = PyLong_FromLong(device);
        stream = id ? call_of_package("torch", "cuda", "current_stream", id) : NULL;
        Py_XDECREF(id);
    } else if (is_of_package(module, "cupy"))
        stream = call_of_package("cupy", "cuda", "get_current_stream", NULL);
    Py_XDECREF(module);
    PyErr_Clear();
    return stream;
}

bool stream_of_library(State *state, PyObject *object, int32_t device, Stream *stream)
{
    PyObject *current = current_stream(object, device);
    bool good = current && stream_parse(state, current, stream);
    if (good)
        Py_XINCREF(stream->owner);
    Py_XDECREF(current);
    PyErr_Clear();
    return good;
}

static bool choose_stream(Place *place, PyObject *object, const Stream *theirs)
{
    if (place->given) {
        if (!stream_parse(place->state, place->given, &place->stream))
            return false;
        Py_XINCREF(place->stream.owner);
    } else if (theirs)
        place->stream = (Stream){theirs->handle, Py_XNewRef(theirs->owner)};
    else if (object && stream_of_library(place->state, object, place->device.id, &place->stream))
        place->chose = Py_TYPE(object);
    return true;
}

bool place_enter(Place *place, hunze_device device, PyObject *object, const Stream *theirs, const char *name)
{
    if (place->device.type == HUNZE_DEVICE_CPU) {
        place->device = (hunze_device){HUNZE_DEVICE_CUDA, device.id};
        place->name = name;
        place->first = place->taken == 1;
        memory_poll();
        return choose_stream(place, object, theirs);
    }
    if (place->device.id == device.id)
        return true;
    PyErr_Format(PyExc_ValueError, "%s lives on cuda:%d and %s on cuda:%d: use hz.to_device(%s, 'cuda:%d')", name,
                 (int)device.id, place->name, (int)place->device.id, name, (int)place->device.id);
    return false;
}

/* Pinned memory is read and written by the device: it has to stay as long as any other. */
static bool hold_pinned(const Place *place, Operand *operand)
{
    DeviceMemory *memory = memory_import(place->state, place->device, &place->stream);
    if (!memory)
        return false;
    memory->managed = operand->managed;
    memory->versioned = operand->versioned;
    operand->managed = NULL;
    operand->memory = memory;
    return true;
}

/* A number or a list has no place of its own. */
static bool bring(const Place *place, Operand *operand)
{
    PyObject *array = device_array_empty(place->state, place->device, &place->stream, operand->tensor.dtype,
                                         operand->tensor.ndim, operand->tensor.shape);
    if (!array)
        return false;
    Operand on_device = *operand;
    device_array_operand(array, &on_device);
    if (!device_copy(place->state, operand, &on_device, &place->stream)) {
        Py_DECREF(array);
        return false;
    }
    Py_XDECREF(operand->owner);
    operand->owner = array;
    device_array_operand(array, operand);
    Py_INCREF((PyObject *)operand->memory);
    return true;
}

static bool settle(Place *place, Operand *operand)
{
    if (operand->memory)
        return memory_use(operand->memory, &place->stream, operand->output);
    if (operand->tensor.device.type == HUNZE_DEVICE_CUDA_HOST && operand->managed)
        return hold_pinned(place, operand);
    if (operand->library == LIBRARY_ANY && operand->owner && !operand->output)
        return bring(place, operand);
    PyErr_Format(PyExc_ValueError, "%s lives on the CPU and %s on cuda:%d: use hz.to_device(%s, 'cuda:%d')",
                 operand->name, place->name, (int)place->device.id, operand->name, (int)place->device.id);
    return false;
}

bool place_settle(Place *place, bool brings, Operand *const *operands, int count)
{
    for (int i = 0; i < count; i++)
        if (!(brings && !operands[i]->memory) && !settle(place, operands[i]))
            return false;
    return true;
}

bool place_finish(const Place *place, Operand *const *operands, int count)
{
    for (int i = 0; i < count; i++)
        if (operands[i]->output && operands[i]->memory && !memory_return(operands[i]->memory, &place->stream))
            return false;
    return true;
}
