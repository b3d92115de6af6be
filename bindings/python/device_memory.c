/* SPDX-License-Identifier: Apache-2.0
 * Memory of devices: which streams use it, and when it goes back.
 *
 * Work on a device is late, so memory may still be read when its last array is gone.  Ours is given back on the stream that filled it, once that
 * waits for the other streams that used it.  Another library's is kept until an event behind all that is over, which later calls look at. */
#include "device.h"

#include "dlpack.h"

#include <stdlib.h>

/* With a reference.  Threads have a stream each behind one number, so it does not say whose work it was; the legacy stream waits for all. */
static Stream tracked(const Stream *stream)
{
    return stream->handle == STREAM_PER_THREAD ? (Stream){STREAM_LEGACY, NULL}
                                               : (Stream){stream->handle, Py_XNewRef(stream->owner)};
}

static DeviceMemory *memory_make(State *state, hunze_device device, const Stream *stream)
{
    hunze_context *context = default_context(state);
    allocfunc make = (allocfunc)PyType_GetSlot(state->memory_type, Py_tp_alloc);
    DeviceMemory *memory = context ? (DeviceMemory *)make(state->memory_type, 0) : NULL;
    if (!memory)
        return NULL;
    pthread_mutex_init(&memory->lock, NULL);
    memory->state = state;
    memory->context = context;
    memory->device = device;
    memory->stream_count = 1;
    memory->streams[0] = tracked(stream);
    return memory;
}

DeviceMemory *memory_new(State *state, hunze_device device, size_t bytes, const Stream *stream)
{
    DeviceMemory *memory = memory_make(state, device, stream);
    if (!memory)
        return NULL;
    hunze_status status = hunze_memory_alloc(memory->context, device, bytes, stream->handle, &memory->pointer);
    memory->bytes = bytes;
    if (status) {
        Py_DECREF((PyObject *)memory);
        raise_status(status, "hunze");
        return NULL;
    }
    return memory;
}

DeviceMemory *memory_import(State *state, hunze_device device, const Stream *stream)
{
    return memory_make(state, device, stream);
}

/* ------------------------------------------------------------------ streams that use it */

static int find_stream(const DeviceMemory *memory, const void *handle)
{
    for (int i = 0; i < memory->stream_count; i++)
        if (memory->streams[i].handle == handle)
            return i;
    return -1;
}

/* A stream that is being captured cannot wait; whoever captures has seen to it that all was over.  One that was destroyed is not waited for. */
static hunze_status wait_for(const DeviceMemory *memory, void *stream, void *before)
{
    if (stream == before)
        return HUNZE_OK;
    hunze_device device = {HUNZE_DEVICE_CUDA, memory->device.id};
    hunze_status status = hunze_stream_wait(memory->context, device, stream, before);
    return status == HUNZE_ERR_CAPTURE || status == HUNZE_ERR_DEVICE ? HUNZE_OK : status;
}

/* Only streams[first] is left, and waits for the others; where that fails, the CPU does. */
static hunze_status join(DeviceMemory *memory, int first)
{
    const hunze_device device = {HUNZE_DEVICE_CUDA, memory->device.id};
    hunze_status status = HUNZE_OK;
    Stream kept = memory->streams[first];
    for (int i = 0; i < memory->stream_count; i++) {
        if (i == first)
            continue;
        if (wait_for(memory, kept.handle, memory->streams[i].handle))
            status = hunze_stream_synchronize(memory->context, device, memory->streams[i].handle);
        Py_CLEAR(memory->streams[i].owner);
    }
    memory->streams[0] = kept;
    memory->stream_count = 1;
    return status;
}

static hunze_status use(DeviceMemory *memory, const Stream *stream, bool writes)
{
    const bool per_thread = stream->handle == STREAM_PER_THREAD;
    int found = find_stream(memory, per_thread ? STREAM_LEGACY : stream->handle);
    hunze_status status = HUNZE_OK;
    if (found < 0 && memory->stream_count == MEMORY_STREAMS)
        status = join(memory, 0);
    if (found < 0 && !status) {
        found = memory->stream_count++;
        memory->streams[found] = tracked(stream);
        status = wait_for(memory, stream->handle, memory->streams[0].handle);
        if (status) { /* a later call on it waits anew */
            memory->stream_count--;
            Py_CLEAR(memory->streams[found].owner);
        }
    }
    if (writes && memory->stream_count > 1 && !status)
        status = join(memory, found);
    return status || !per_thread ? status : wait_for(memory, stream->handle, STREAM_LEGACY);
}

bool memory_use(DeviceMemory *memory, const Stream *stream, bool writes)
{
    if (!memory->pointer && !memory->managed && !memory->exporter) /* no elements */
        return true;
    pthread_mutex_lock(&memory->lock);
    hunze_status status = use(memory, stream, writes);
    pthread_mutex_unlock(&memory->lock);
    return status ? raise_status(status, "hunze") != NULL : true;
}

bool memory_return(DeviceMemory *memory, const Stream *stream)
{
    if (!memory->says_stream)
        return true;
    hunze_status status = wait_for(memory, memory->theirs.handle, stream->handle);
    return status ? raise_status(status, "hunze") != NULL : true;
}

/* ------------------------------------------------------------------ memory that goes back later */

/* An event behind the work of a stream, which the operands of a call share. */
typedef struct Point {
    void *event;
    int users;
    bool over;
} Point;

typedef struct Held {
    struct Held *next;
    hunze_context *context;
    hunze_device device;
    void *stream;
    Point *point;  /* of another library's memory */
    void *pointer; /* ours, which was given up while its stream was captured */
    size_t bytes;
    void *managed;
    bool versioned;
    PyObject *exporter;
} Held;

static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static Held *held_first, **held_last = &held_first; /* in the order in which they were given up */

static void leave_point(hunze_context *context, hunze_device device, Point *point)
{
    if (!point || __atomic_sub_fetch(&point->users, 1, __ATOMIC_ACQ_REL))
        return;
    (void)hunze_event_destroy(context, device, point->event);
    free(point);
}

/* That of the operands which this thread's call gives up: nothing is given to the stream meanwhile.  It uses the point too, which another
 * thread's poll would else end between two operands. */
static _Thread_local struct {
    bool open;
    hunze_context *context;
    hunze_device device;
    void *stream;
    Point *point;
} batch;

void memory_batch(bool open)
{
    batch.open = open;
    memory_work_given();
}

void memory_work_given(void)
{
    Point *point = batch.point;
    batch.point = NULL;
    leave_point(batch.context, batch.device, point);
}

static hunze_status find_point(const DeviceMemory *memory, hunze_device device, void *stream, Point **point)
{
    if (batch.point && batch.stream == stream && batch.device.id == device.id) {
        *point = batch.point;
        __atomic_add_fetch(&batch.point->users, 1, __ATOMIC_RELAXED);
        return HUNZE_OK;
    }
    *point = malloc(sizeof **point);
    if (!*point)
        return HUNZE_ERR_NOMEM;
    **point = (Point){.users = 1};
    hunze_status status = hunze_event_record(memory->context, device, stream, &(*point)->event);
    if (status) {
        free(*point);
        return status;
    }
    if (batch.open) {
        memory_work_given();
        (*point)->users++;
        batch.context = memory->context;
        batch.device = device;
        batch.stream = stream;
        batch.point = *point;
    }
    return HUNZE_OK;
}

static void give_back(void *managed, bool versioned, PyObject *exporter)
{
    Operand operand = {.managed = managed, .versioned = versioned};
    if (managed)
        dlpack_release(&operand);
    Py_XDECREF(exporter);
}

static void hold(Held held)
{
    Held *kept = malloc(sizeof *kept);
    if (!kept)
        return; /* it stays for good, which is better than too short */
    *kept = held;
    kept->next = NULL;
    pthread_mutex_lock(&held_lock);
    *held_last = kept;
    held_last = &kept->next;
    pthread_mutex_unlock(&held_lock);
}

/* Whether it is over.  A device that is of no more use runs nothing any more. */
static bool is_over(Held *held)
{
    Point *point = held->point;
    if (point) {
        int32_t over = point->over;
        if (!over && hunze_event_query(held->context, held->device, point->event, &over))
            over = true;
        return point->over = over;
    }
    return hunze_memory_free(held->context, held->device, held->pointer, held->bytes, held->stream) !=
           HUNZE_ERR_CAPTURE;
}

/* What is over and what is not, in order.  Where one is not, those behind it on the same stream are not either. */
static void sort_out(Held *held, Held **over, Held **not_over)
{
    void *late[MEMORY_STREAMS];
    int late_count = 0;
    for (Held *next; held; held = next) {
        next = held->next;
        bool behind = late_count == MEMORY_STREAMS;
        for (int i = 0; i < late_count; i++)
            behind = behind || late[i] == held->stream;
        Held ***to = behind || !is_over(held) ? &not_over : &over;
        if (to == &not_over && !behind)
            late[late_count++] = held->stream;
        held->next = NULL;
        **to = held;
        *to = &held->next;
    }
}

/* Nothing is locked while other code runs. */
static Held *take_all(void)
{
    pthread_mutex_lock(&held_lock);
    Held *all = held_first;
    held_first = NULL;
    held_last = &held_first;
    pthread_mutex_unlock(&held_lock);
    return all;
}

static void put_before(Held *first)
{
    Held **last = &first;
    while (*last)
        last = &(*last)->next;
    if (last == &first)
        return;
    pthread_mutex_lock(&held_lock);
    *last = held_first;
    if (!held_first)
        held_last = last;
    held_first = first;
    pthread_mutex_unlock(&held_lock);
}

void memory_poll(void)
{
    if (!__atomic_load_n(&held_first, __ATOMIC_RELAXED))
        return;
    Held *over = NULL, *not_over = NULL;
    sort_out(take_all(), &over, &not_over);
    put_before(not_over);
    for (Held *next; over; over = next) {
        next = over->next;
        leave_point(over->context, over->device, over->point);
        give_back(over->managed, over->versioned, over->exporter);
        free(over);
    }
}

/* ------------------------------------------------------------------ the end of its last array */

static void free_own(DeviceMemory *memory)
{
    void *stream = memory->streams[0].handle;
    hunze_status status = hunze_memory_free(memory->context, memory->device, memory->pointer, memory->bytes, stream);
    if (status == HUNZE_ERR_DEVICE &&
        stream != STREAM_LEGACY) { /* the stream was destroyed, so its work is over or nobody's */
        stream = STREAM_LEGACY;
        status = hunze_memory_free(memory->context, memory->device, memory->pointer, memory->bytes, stream);
    }
    if (status == HUNZE_ERR_CAPTURE)
        hold((Held){.context = memory->context,
                    .device = memory->device,
                    .stream = stream,
                    .pointer = memory->pointer,
                    .bytes = memory->bytes});
}

static void free_imported(DeviceMemory *memory)
{
    hunze_device device = {HUNZE_DEVICE_CUDA, memory->device.id};
    void *stream = memory->streams[0].handle;
    Point *point;
    hunze_status status = find_point(memory, device, stream, &point);
    if (status) { /* captured: who captures keeps its arrays */
        if (status != HUNZE_ERR_CAPTURE)
            (void)hunze_stream_synchronize(memory->context, device, stream);
        give_back(memory->managed, memory->versioned, memory->exporter);
        return;
    }
    hold((Held){.context = memory->context,
                .device = device,
                .stream = stream,
                .point = point,
                .managed = memory->managed,
                .versioned = memory->versioned,
                .exporter = memory->exporter});
}

static void memory_dealloc(PyObject *object)
{
    DeviceMemory *memory = (DeviceMemory *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace); /* another library's code may run */
    if (memory->pointer || memory->managed || memory->exporter) {
        (void)join(memory, 0);
        if (memory->pointer)
            free_own(memory);
        else
            free_imported(memory);
    }
    for (int i = 0; i < memory->stream_count; i++)
        Py_XDECREF(memory->streams[i].owner);
    Py_XDECREF(memory->theirs.owner);
    pthread_mutex_destroy(&memory->lock);
    PyErr_Restore(kind, value, trace);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyType_Slot memory_slots[] = {{Py_tp_dealloc, memory_dealloc}, {0, NULL}};
PyType_Spec memory_spec = {"hunze._hunze._DeviceMemory", sizeof(DeviceMemory), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           memory_slots};
