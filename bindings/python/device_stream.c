/* SPDX-License-Identifier: Apache-2.0
 * Streams and devices as arguments, and the type that hunze.stream is made of. */
#include "device.h"

#include "offload.h"

bool device_parse(PyObject *object, hunze_device *device)
{
    int target;
    if (!offload_parse_place(object, &target))
        return false;
    *device = target == OFFLOAD_CPU ? (hunze_device){HUNZE_DEVICE_CPU, 0}
                                    : (hunze_device){HUNZE_DEVICE_CUDA, target - OFFLOAD_CUDA};
    return true;
}

unsigned long long stream_number(const void *handle)
{
    return handle == STREAM_LEGACY ? 1 : (unsigned long long)(uintptr_t)handle;
}

/* A handle as a library writes it: its default stream may be 0. */
static bool take_handle(PyObject *number, Stream *stream)
{
    unsigned long long value = number ? PyLong_AsUnsignedLongLong(number) : 0;
    if (PyErr_Occurred())
        return false;
    stream->handle = value == 1 ? STREAM_LEGACY : (void *)(uintptr_t)value;
    return true;
}

/* __cuda_stream__ is a method in the protocol; some have a property. */
static bool take_protocol(PyObject *protocol, Stream *stream)
{
    PyObject *pair = PyCallable_Check(protocol) ? PyObject_CallNoArgs(protocol) : Py_NewRef(protocol);
    PyObject *number = pair ? PySequence_GetItem(pair, 1) : NULL;
    bool good = number && take_handle(number, stream);
    Py_XDECREF(number);
    Py_XDECREF(pair);
    return good;
}

static bool parse_number(PyObject *object, Stream *stream)
{
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value == 0 || (value < 0 && !overflow) || PyBool_Check(object)) {
        PyErr_Format(PyExc_ValueError,
                     "stream=%R; it is 1 (the legacy default stream), 2 (the thread's default stream) or a CUstream",
                     object);
        return false;
    }
    stream->owner = NULL;
    return take_handle(object, stream);
}

bool stream_parse(State *state, PyObject *object, Stream *stream)
{
    if (PyObject_TypeCheck(object, state->stream_type)) {
        const StreamObject *given = (StreamObject *)object;
        *stream = (Stream){given->stream.handle, object};
        return true;
    }
    if (PyLong_Check(object))
        return parse_number(object, stream);
    static const Attribute names[] = {ATTRIBUTE___cuda_stream__, ATTRIBUTE_cuda_stream, ATTRIBUTE_ptr};
    stream->owner = NULL; /* also after a failure, as whoever called may give it up */
    for (int i = 0; i < 3; i++) {
        PyObject *found = PyObject_GetAttr(object, state->attributes[names[i]]);
        if (!found) {
            PyErr_Clear();
            continue;
        }
        bool good = i == 0 ? take_protocol(found, stream) : take_handle(found, stream);
        Py_DECREF(found);
        stream->owner = good ? object : NULL;
        return good;
    }
    PyErr_Format(PyExc_TypeError,
                 "stream is a %S; it is a number (1: the legacy default stream, 2: the thread's, else a CUstream), or "
                 "an object with __cuda_stream__, cuda_stream or ptr",
                 (PyObject *)Py_TYPE(object));
    return false;
}

/* ------------------------------------------------------------------ the type */

/* _Stream(stream, device): stream None makes one. */
static PyObject *stream_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *given, *device;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "OO:stream", &given, &device))
        return NULL;
    State *state = type_state(type);
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    StreamObject *self = state ? (StreamObject *)make(type, 0) : NULL;
    if (!self)
        return NULL;
    bool good = device_parse(device, &self->device);
    if (good && self->device.type != HUNZE_DEVICE_CUDA) {
        PyErr_SetString(PyExc_ValueError, "device='cpu' has no streams; there are those of 'cuda'");
        good = false;
    }
    if (good && given != Py_None) {
        good = stream_parse(state, given, &self->stream);
        Py_XINCREF(self->stream.owner);
    } else if (good) {
        hunze_context *context = default_context(state);
        hunze_status status =
            context ? hunze_stream_create(context, self->device, &self->stream.handle) : HUNZE_ERR_NULL;
        good = status == HUNZE_OK;
        if (good)
            self->own = context;
        else
            raise_status(status, "stream");
    }
    if (!good)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int stream_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((StreamObject *)object)->stream.owner);
    return 0;
}

static int stream_clear(PyObject *object)
{
    Py_CLEAR(((StreamObject *)object)->stream.owner);
    return 0;
}

static void stream_dealloc(PyObject *object)
{
    StreamObject *self = (StreamObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->own)
        (void)hunze_stream_destroy(self->own, self->device, self->stream.handle);
    stream_clear(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *stream_synchronize(PyObject *object, PyObject *nothing)
{
    const StreamObject *self = (StreamObject *)object;
    (void)nothing;
    State *state = type_state(Py_TYPE(object));
    hunze_context *context = state ? default_context(state) : NULL;
    if (!context)
        return NULL;
    PyThreadState *thread = PyEval_SaveThread();
    hunze_status status = hunze_stream_synchronize(context, self->device, self->stream.handle);
    PyEval_RestoreThread(thread);
    if (status)
        return raise_status(status, "synchronize");
    memory_poll();
    Py_RETURN_NONE;
}

static PyObject *stream_handle(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(stream_number(((StreamObject *)object)->stream.handle));
}

static PyObject *stream_device(PyObject *object, void *closure)
{
    (void)closure;
    return PyUnicode_FromFormat("cuda:%d", (int)((StreamObject *)object)->device.id);
}

static PyObject *stream_protocol(PyObject *object, PyObject *nothing)
{
    (void)nothing;
    return Py_BuildValue("(iK)", 0, stream_number(((StreamObject *)object)->stream.handle));
}

static PyMethodDef stream_methods[] = {
    {"synchronize", stream_synchronize, METH_NOARGS,
     "synchronize($self)\n--\n\nWaits for all work given to the stream; raises RuntimeError for the device's faults."},
    {"__cuda_stream__", stream_protocol, METH_NOARGS,
     "__cuda_stream__($self)\n--\n\n(0, the CUstream as a number): how other libraries take it."},
    {0}};
static PyGetSetDef stream_attributes[] = {
    {"handle", stream_handle, NULL, "The CUstream as a number; 1 and 2 are the default streams.", NULL},
    {"device", stream_device, NULL, "Name of its device, such as 'cuda:0'.", NULL},
    {0}};
static PyType_Slot stream_slots[] = {{Py_tp_new, stream_new},
                                     {Py_tp_dealloc, stream_dealloc},
                                     {Py_tp_traverse, stream_traverse},
                                     {Py_tp_clear, stream_clear},
                                     {Py_tp_methods, stream_methods},
                                     {Py_tp_getset, stream_attributes},
                                     {0, NULL}};
PyType_Spec stream_spec = {"hunze._hunze._Stream", sizeof(StreamObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                           stream_slots};
