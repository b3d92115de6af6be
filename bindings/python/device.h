/* SPDX-License-Identifier: Apache-2.0
 * Devices in the CPython module: streams, memory and who uses it, arrays. */
#ifndef HUNZE_BINDING_DEVICE_H
#define HUNZE_BINDING_DEVICE_H

#include "binding.h"

#include <pthread.h>

/* ------------------------------------------------------------------ streams (device_stream.c) */

/* hunze._hunze._Stream, which hunze.stream is made of. */
typedef struct StreamObject {
    PyObject ob_base;
    Stream stream; /* owner: whose stream it is; NULL for a number or an own one */
    hunze_device device;
    hunze_context *own; /* made by us, in this context */
} StreamObject;

#define STREAM_LEGACY ((void *)0)
#define STREAM_PER_THREAD ((void *)2)
/* In DLPack's numbering: 1 for the legacy default stream, which is NULL in the library. */
unsigned long long stream_number(const void *handle);
/* A number as DLPack gives it, or an object with __cuda_stream__, cuda_stream or ptr; `stream->owner` is
 * borrowed, and NULL after a failure. */
bool stream_parse(State *state, PyObject *object, Stream *stream);
/* Where the object's library works now, with a reference; false where it has no current stream. */
bool stream_of_library(State *state, PyObject *object, int32_t device, Stream *stream);
/* "cpu", "cuda" or "cuda:1", as device= has it. */
bool device_parse(PyObject *object, hunze_device *device);

/* ------------------------------------------------------------------ memory (device_memory.c) */

enum { MEMORY_STREAMS = 8 };

/* Memory on a device that arrays share: ours, or another library's.  It goes back once what was given to `streams` has run. */
typedef struct DeviceMemory {
    PyObject ob_base;
    pthread_mutex_t lock;
    State *state;
    hunze_context *context;
    hunze_device device;
    void *pointer; /* ours */
    size_t bytes;
    void *managed; /* another library's, by DLPack … */
    bool versioned;
    PyObject *exporter; /* … or by __cuda_array_interface__ */
    bool read_only;
    Stream theirs; /* where that library works on it, if it says so */
    bool says_stream;
    int stream_count;
    Stream streams[MEMORY_STREAMS]; /* with references; the first gave it its contents, all may still use it */
} DeviceMemory;

/* New memory for work that is given to the stream. */
DeviceMemory *memory_new(State *state, hunze_device device, size_t bytes, const Stream *stream);
/* Another library's, which the stream may use already; takes the structure of DLPack over. */
DeviceMemory *memory_import(State *state, hunze_device device, const Stream *stream);
/* Work that is given to the stream from now on may use the memory, or change it. */
bool memory_use(DeviceMemory *memory, const Stream *stream, bool writes);
/* After work that changed another library's memory: its own stream waits for ours. */
bool memory_return(DeviceMemory *memory, const Stream *stream);
/* Gives back what nothing uses any more. */
void memory_poll(void);
/* Between these, memory that is given up shares an event; work that is given to a stream meanwhile ends that. */
void memory_batch(bool open);
void memory_work_given(void);

/* ------------------------------------------------------------------ arrays (device_array.c) */

typedef struct DeviceArrayObject {
    PyObject ob_base;
    DeviceMemory *memory;
    char *data; /* of the first element */
    hunze_dtype dtype;
    int axes;
    int64_t *extents; /* shape, then strides in elements */
} DeviceArrayObject;

/* A view: takes its own reference to the memory.  strides NULL: row-major. */
PyObject *device_array_new(State *state, DeviceMemory *memory, void *data, hunze_dtype dtype, int axes,
                           const int64_t *shape, const int64_t *strides);
/* A fresh row-major one. */
PyObject *device_array_empty(State *state, hunze_device device, const Stream *stream, hunze_dtype dtype, int axes,
                             const int64_t *shape);
static inline bool is_device_array(State *state, PyObject *object)
{
    return PyObject_TypeCheck(object, state->array_type);
}
/* Describes a DeviceArray. */
void device_array_operand(PyObject *object, Operand *operand);
/* An array on a device, of any library, as a DeviceArray over the same memory; new reference. */
PyObject *device_array_of(State *state, Operand *operand);
/* A row-major copy on the place's device, where the operand lives. */
PyObject *device_array_copy(Place *place, Operand *operand);
/* `from` into `to`, on the stream. */
bool device_copy(State *state, const Operand *from, const Operand *to, const Stream *stream);

/* ------------------------------------------------------------------ exchange (device_exchange.c) */

PyObject *device_array_dlpack(PyObject *self, PyObject *arguments, PyObject *keywords);
PyObject *device_array_dlpack_device(PyObject *self, PyObject *unused);
PyObject *device_array_interface(PyObject *self, void *closure);
/* obj.__cuda_array_interface__. */
bool interface_take(Place *place, PyObject *object, const char *name, Operand *operand);

#endif
