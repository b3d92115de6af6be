/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between the CPU and a device, and on one.
 *
 * What is contiguous goes as it lies; much of it in the CPU's pageable memory by slices in pinned memory, which several threads fill while
 * another is on its way.  Where the device's side is contiguous, and the CPU's is not, slices are gathered or scattered.  On one device a
 * kernel takes what is more than one copy of rows, and it gathers or scatters the device's side of other copies.  All else is copies of
 * rows, one for each index of the axes above them. */
#include "copy_strided.h"
#include "runtime.h"

#include <stdlib.h>

enum {
    SLICE_BYTES = 4 << 20,
    SLICES = 2,
    STAGED_BYTES = 4 * SLICE_BYTES,
    LANE_BYTES = 512 << 10,
    LONGEST_PITCH = INT32_MAX,
    ROW_BYTES = 64,
    ROW_COPIES = 64
};

typedef struct side {
    char *data;
    CUmemorytype type;
    bool cpu;    /* read or written by the CPU */
    bool pinned; /* said to be */
} side;

typedef struct copying {
    hunze_context *context;
    const hunze_scope *scope;
    side to, from;
    hunze_runs runs; /* operand 0 is `to`, or the side that is on the device */
    int to_operand, from_operand;
    size_t bytes; /* of an element */
} copying;

static side side_of(const hunze_tensor *tensor)
{
    const int32_t type = tensor->device.type;
    return (side){
        .data = hunze_data(tensor),
        .type = type == HUNZE_DEVICE_CUDA           ? CU_MEMORYTYPE_DEVICE
                : type == HUNZE_DEVICE_CUDA_MANAGED ? CU_MEMORYTYPE_UNIFIED
                                                    : CU_MEMORYTYPE_HOST,
        .cpu = type == HUNZE_DEVICE_CPU || type == HUNZE_DEVICE_CUDA_HOST,
        .pinned = type == HUNZE_DEVICE_CUDA_HOST,
    };
}

static hunze_status copy_bytes(const copying *c, char *to, const char *from, size_t bytes)
{
    return hunze_driver_check(hunze_cu->cuMemcpyAsync((CUdeviceptr)to, (CUdeviceptr)from, bytes, c->scope->stream),
                              "a copy of %zu bytes on cuda:%d", bytes, c->scope->gpu->device.id);
}

/* ------------------------------------------------------------------ rows */

/* The two innermost axes that one copy of rows takes, and the axes above them. */
typedef struct rows {
    int32_t axes;
    size_t width;
    int64_t height, to_pitch, from_pitch;
} rows;

static bool is_pitch(int64_t pitch, size_t width) { return pitch >= (int64_t)width && pitch <= LONGEST_PITCH; }

static rows find_rows(const copying *c)
{
    const hunze_runs *r = &c->runs;
    const int64_t bytes = (int64_t)c->bytes;
    rows found = {.axes = r->axes, .width = c->bytes, .height = r->length};
    if (r->length == 1 || (r->step[0] == 1 && r->step[1] == 1)) {
        found.width = (size_t)r->length * c->bytes;
        found.height = 1;
        found.to_pitch = found.from_pitch = (int64_t)found.width;
        if (r->axes > 0) {
            const int64_t *stride = r->stride[r->axes - 1];
            const int64_t to = stride[c->to_operand] * bytes, from = stride[c->from_operand] * bytes;
            if (is_pitch(to, found.width) && is_pitch(from, found.width))
                found = (rows){r->axes - 1, found.width, r->extent[r->axes - 1], to, from};
        }
        return found;
    }
    found.to_pitch = r->step[c->to_operand] * bytes;
    found.from_pitch = r->step[c->from_operand] * bytes;
    return found;
}

static bool on_device(const copying *c) { return !c->from.cpu && !c->to.cpu; }

static hunze_status copy_by_kernel(const copying *c)
{
    hunze_cuda_device device = c->scope->gpu->device;
    device.multiprocessors = c->scope->multiprocessors;
    const hunze_cuda_run run = {.device = &device, .stream = c->scope->stream};
    return hunze_copy_strided_on_device(&run, &c->runs, c->to.data, c->from.data, c->bytes);
}

/* Rows that the driver copies at full speed. */
static bool is_wide(const rows *r)
{
    return r->width >= ROW_BYTES && is_pitch(r->to_pitch, r->width) && is_pitch(r->from_pitch, r->width);
}

static hunze_status copy_each_row(const copying *c, const rows *r, char *to, const char *from)
{
    for (int64_t i = 0; i < r->height; i++)
        TRY(copy_bytes(c, to + i * r->to_pitch, from + i * r->from_pitch, r->width));
    return HUNZE_OK;
}

static hunze_status copy_one_rows(const copying *c, const rows *r, char *to, const char *from)
{
    if (r->height == 1)
        return copy_bytes(c, to, from, r->width);
    if (!is_pitch(r->to_pitch, r->width) || !is_pitch(r->from_pitch, r->width)) /* backwards, or the same again */
        return copy_each_row(c, r, to, from);
    const CUDA_MEMCPY2D copy = {
        .srcMemoryType = c->from.type,
        .srcHost = from,
        .srcDevice = (CUdeviceptr)from,
        .srcPitch = (size_t)r->from_pitch,
        .dstMemoryType = c->to.type,
        .dstHost = to,
        .dstDevice = (CUdeviceptr)to,
        .dstPitch = (size_t)r->to_pitch,
        .WidthInBytes = r->width,
        .Height = (size_t)r->height,
    };
    const CUresult result = hunze_cu->cuMemcpy2DAsync(&copy, c->scope->stream);
    if (result == CUDA_ERROR_INVALID_VALUE && on_device(c)) /* as it may for pitches that it did not choose */
        return copy_by_kernel(c);
    return hunze_driver_check(result, "a copy of %lld rows on cuda:%d", (long long)r->height, c->scope->gpu->device.id);
}

static int64_t copies_of(const copying *c, const rows *r)
{
    int64_t copies = 1;
    for (int32_t axis = 0; axis < r->axes; axis++)
        copies *= c->runs.extent[axis];
    return copies;
}

static hunze_status copy_rows(const copying *c, const rows *r)
{
    const int64_t copies = copies_of(c, r);
    for (int64_t i = 0; i < copies; i++) {
        char *to = c->to.data;
        const char *from = c->from.data;
        int64_t left = i;
        for (int32_t axis = r->axes - 1; axis >= 0; axis--) {
            const int64_t at = left % c->runs.extent[axis];
            left /= c->runs.extent[axis];
            to += at * c->runs.stride[axis][c->to_operand] * (int64_t)c->bytes;
            from += at * c->runs.stride[axis][c->from_operand] * (int64_t)c->bytes;
        }
        TRY(copy_one_rows(c, r, to, from));
    }
    return HUNZE_OK;
}

/* ------------------------------------------------------------------ slices in pinned memory */

typedef struct slice {
    char *pinned;
    CUevent event; /* behind its copy */
    int64_t first, chunks, elements;
} slice;

typedef struct moving {
    const copying *copying;
    const slice *slice;
} moving;

/* Elements before a chunk, in the order of the device's side. */
static int64_t elements_before(const hunze_runs *runs, int64_t chunk)
{
    return chunk / runs->chunks_per_run * runs->length + chunk % runs->chunks_per_run * HUNZE_RUNS_CHUNK;
}

/* A lane's part of a slice, between pinned memory and the CPU's side. */
static void move_lane(void *user, int32_t lane, int32_t lanes)
{
    const moving *m = user;
    const copying *c = m->copying;
    const slice *s = m->slice;
    const int64_t bytes = (int64_t)c->bytes, end = s->first + s->chunks * (lane + 1) / lanes;
    int64_t offset[HUNZE_RUNS_OPERANDS];
    for (int64_t i = s->first + s->chunks * lane / lanes; i < end; i++) {
        const int64_t n = hunze_runs_chunk(&c->runs, i, offset);
        char *pinned = s->pinned + (elements_before(&c->runs, i) - elements_before(&c->runs, s->first)) * bytes;
        if (c->from.cpu)
            hunze_copy_elements(n, c->bytes, c->from.data + offset[c->from_operand] * bytes,
                                c->runs.step[c->from_operand], pinned, 1);
        else
            hunze_copy_elements(n, c->bytes, pinned, 1, c->to.data + offset[c->to_operand] * bytes,
                                c->runs.step[c->to_operand]);
    }
}

static hunze_status move_slice(const copying *c, const slice *s)
{
    const moving m = {c, s};
    hunze_exec exec = {.context = c->context, .threads = hunze_context_threads(c->context)};
    const int64_t lanes = 1 + s->elements * (int64_t)c->bytes / LANE_BYTES;
    hunze_parallel(&exec, (int32_t)hunze_least(lanes, exec.threads), move_lane, (void *)&m);
    return exec.lost ? hunze_fail(HUNZE_ERR_SYSTEM, "the process was forked in the middle of a copy") : HUNZE_OK;
}

static hunze_status wait_for(const slice *s)
{
    return hunze_driver_check(hunze_cu->cuEventSynchronize(s->event), "a slice of a copy");
}

/* One slice, and the end of the slice before it where the CPU writes. */
static hunze_status copy_slice(const copying *c, slice *s, const slice *before, char *on_device)
{
    const size_t bytes = (size_t)s->elements * c->bytes;
    if (c->from.cpu)
        TRY(move_slice(c, s));
    TRY(c->from.cpu ? copy_bytes(c, on_device, s->pinned, bytes) : copy_bytes(c, s->pinned, on_device, bytes));
    TRY(hunze_driver_check(hunze_cu->cuEventRecord(s->event, c->scope->stream), "a slice of a copy"));
    if (!c->from.cpu && before) {
        TRY(wait_for(before));
        return move_slice(c, before);
    }
    return HUNZE_OK;
}

static hunze_status copy_slices(const copying *c, slice slices[SLICES])
{
    const slice *last = NULL;
    const char *device = c->from.cpu ? c->to.data : c->from.data;
    int64_t done = 0;
    for (int64_t chunk = 0, turn = 0; chunk < c->runs.chunks; turn++) {
        slice *s = &slices[turn % SLICES];
        if (c->from.cpu && turn >= SLICES)
            TRY(wait_for(s));
        s->first = chunk;
        s->elements = 0;
        const int64_t most = (int64_t)(SLICE_BYTES / c->bytes);
        for (int64_t offset[HUNZE_RUNS_OPERANDS]; chunk < c->runs.chunks; chunk++) {
            const int64_t n = hunze_runs_chunk(&c->runs, chunk, offset);
            if (s->elements + n > most)
                break;
            s->elements += n;
        }
        s->chunks = chunk - s->first;
        TRY(copy_slice(c, s, last, (char *)device + done * (int64_t)c->bytes));
        done += s->elements;
        last = s;
    }
    if (last && !c->from.cpu) {
        TRY(wait_for(last));
        return move_slice(c, last);
    }
    return HUNZE_OK;
}

static hunze_status copy_in_slices(const copying *c)
{
    slice slices[SLICES] = {{0}};
    const int64_t elements = c->runs.chunks * (c->runs.length < HUNZE_RUNS_CHUNK ? c->runs.length : HUNZE_RUNS_CHUNK);
    const size_t bytes =
        elements < (int64_t)(SLICE_BYTES / c->bytes) ? (size_t)elements * c->bytes : (size_t)SLICE_BYTES;
    void *pinned = NULL;
    hunze_status status = hunze_pinned_alloc(c->context, c->scope, SLICES * bytes, &pinned);
    for (int i = 0; i < SLICES && status == HUNZE_OK; i++) {
        slices[i].pinned = (char *)pinned + (size_t)i * bytes;
        status =
            hunze_driver_check(hunze_cu->cuEventCreate(&slices[i].event, CU_EVENT_DISABLE_TIMING), "a slice of a copy");
    }
    if (status == HUNZE_OK)
        status = copy_slices(c, slices);
    if (pinned) {
        if (c->context->flags & HUNZE_WIPE) {
            (void)hunze_scope_wait(c->scope);
            hunze_wipe(pinned, SLICES * bytes);
        }
        const hunze_status freed = hunze_pinned_free(c->context, c->scope, pinned, SLICES * bytes);
        status = status ? status : freed;
    }
    for (int i = 0; i < SLICES; i++)
        if (slices[i].event)
            (void)hunze_cu->cuEventDestroy(slices[i].event);
    return status;
}

/* ------------------------------------------------------------------ the copy */

/* Whether the elements lie side by side in the order of the runs. */
static bool is_dense(const hunze_tensor *tensor)
{
    int64_t strides[HUNZE_MAX_NDIM];
    hunze_runs runs;
    hunze_runs_strides(tensor, strides);
    hunze_runs_make(&runs, tensor->ndim, tensor->shape, 1, (const int64_t *const[]){strides});
    return runs.axes == 0 && (runs.length == 1 || runs.step[0] == 1);
}

/* Memory that the driver does not know. */
static bool is_pageable(const side *cpu)
{
    unsigned type = 0;
    CUpointer_attribute attribute = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    void *value = &type;
    return !cpu->pinned &&
           hunze_cu->cuPointerGetAttributes(1, &attribute, &value, (CUdeviceptr)cpu->data) == CUDA_SUCCESS && type == 0;
}

/* Whether the CPU's memory has to be left alone until the stream came so far: the driver reads pageable memory before it returns, unless the
 * device itself reaches that. */
static bool must_wait(const copying *c, bool simple)
{
    const side *cpu = c->from.cpu ? &c->from : c->to.cpu ? &c->to : NULL;
    return cpu && !cpu->pinned && (c->to.cpu || !simple || c->scope->gpu->reaches_host || !is_pageable(cpu));
}

/* Much pageable memory: one core of the driver's would copy it more slowly than several of ours. */
static bool is_staged(const copying *c)
{
    const side *cpu = c->from.cpu ? &c->from : &c->to;
    return !c->scope->captured && !c->scope->gpu->reaches_host && c->bytes * HUNZE_RUNS_CHUNK <= SLICE_BYTES &&
           (uint64_t)c->runs.length * c->bytes >= STAGED_BYTES && hunze_context_threads(c->context) > 1 &&
           is_pageable(cpu);
}

static hunze_status copy_in_scope(copying *c, const hunze_tensor *from, const hunze_tensor *to);

/* Strides of contiguous memory whose axes lie in the order of the tensor's. */
static void dense_strides(const hunze_tensor *tensor, int64_t strides[HUNZE_MAX_NDIM])
{
    int32_t order[HUNZE_MAX_NDIM];
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        int32_t at = axis;
        for (; at > 0 && llabs(hunze_stride(tensor, order[at - 1])) < llabs(hunze_stride(tensor, axis)); at--)
            order[at] = order[at - 1];
        order[at] = axis;
    }
    int64_t stride = 1;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        strides[order[i]] = stride;
        stride *= tensor->shape[order[i]];
    }
}

/* By way of contiguous memory on the device, `pointer`, so that the bus sees few large copies. */
static hunze_status copy_by_way_of(const copying *c, void *pointer, const hunze_tensor *from, const hunze_tensor *to)
{
    int64_t strides[HUNZE_MAX_NDIM];
    dense_strides(c->from.cpu ? from : to, strides);
    hunze_tensor between = *from;
    between.data = pointer;
    between.device = (hunze_device){HUNZE_DEVICE_CUDA, c->scope->gpu->device.id};
    between.strides = strides;
    between.byte_offset = 0;
    copying first = *c, second = *c;
    first.to = second.from = side_of(&between);
    TRY(copy_in_scope(&first, from, &between));
    return copy_in_scope(&second, &between, to);
}

static hunze_status copy_scattered(const copying *c, void *pointer, size_t bytes, const hunze_tensor *from,
                                   const hunze_tensor *to)
{
    hunze_status status = copy_by_way_of(c, pointer, from, to);
    if (c->context->flags & HUNZE_WIPE) {
        const hunze_cuda_run run = {.device = &c->scope->gpu->device, .stream = c->scope->stream};
        const hunze_status wiped = hunze_cuda_clear(&run, pointer, 0, bytes);
        status = status ? status : wiped;
    }
    const hunze_status freed = hunze_gpu_free(c->context, c->scope, pointer, bytes);
    return status ? status : freed;
}

static hunze_status copy_in_scope(copying *c, const hunze_tensor *from, const hunze_tensor *to)
{
    int64_t from_strides[HUNZE_MAX_NDIM], to_strides[HUNZE_MAX_NDIM];
    const bool by_from = c->to.cpu; /* the device's side says in which order */
    if (c->scope->captured && ((c->from.cpu && !c->from.pinned) || (c->to.cpu && !c->to.pinned)))
        return hunze_fail(HUNZE_ERR_CAPTURE,
                          "the stream is being captured, and %s is memory of the CPU that is not pinned",
                          c->from.cpu ? "from" : "to");
    if (!c->from.cpu)
        TRY(hunze_pointer_check(c->scope, "from", c->from.data));
    if (!c->to.cpu)
        TRY(hunze_pointer_check(c->scope, "to", c->to.data));
    hunze_runs_strides(from, from_strides);
    hunze_runs_strides(to, to_strides);
    c->to_operand = by_from ? 1 : 0;
    c->from_operand = by_from ? 0 : 1;
    hunze_runs_make(&c->runs, to->ndim, to->shape, 2,
                    by_from ? (const int64_t *const[]){from_strides, to_strides}
                            : (const int64_t *const[]){to_strides, from_strides});
    const rows r = find_rows(c);
    const bool one = copies_of(c, &r) == 1, simple = one && r.height == 1;
    const bool short_or_many = r.width < ROW_BYTES || copies_of(c, &r) > ROW_COPIES;
    if (on_device(c))
        return simple || (one && is_wide(&r)) ? copy_rows(c, &r) : copy_by_kernel(c);
    if (!simple && short_or_many && c->bytes * HUNZE_RUNS_CHUNK <= SLICE_BYTES && is_dense(c->from.cpu ? to : from)) {
        if (c->scope->captured)
            return hunze_fail(HUNZE_ERR_CAPTURE,
                              "the stream is being captured, and the CPU would have to gather the elements of %s",
                              c->from.cpu ? "from" : "to");
        if (c->from.pinned) /* what is still on its way there comes first */
            TRY(hunze_driver_check(hunze_scope_wait(c->scope), "work before the copy"));
        return copy_in_slices(c);
    }
    if (simple && is_staged(c))
        return copy_in_slices(c);
    const size_t bytes = (size_t)hunze_count(to) * c->bytes;
    void *between = NULL;
    if (!simple && short_or_many && !c->scope->captured && !is_dense(c->from.cpu ? to : from) &&
        hunze_gpu_alloc(c->context, c->scope, bytes, &between) == HUNZE_OK)
        return copy_scattered(c, between, bytes, from, to);
    TRY(copy_rows(c, &r));
    return must_wait(c, simple) ? hunze_driver_check(hunze_scope_wait(c->scope), "the copy") : HUNZE_OK;
}

hunze_status hunze_device_copy(hunze_context *context, const hunze_tensor *from, const hunze_tensor *to,
                               hunze_device device, void *stream)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    copying c = {
        .context = context,
        .scope = &scope,
        .to = side_of(to),
        .from = side_of(from),
        .bytes = to->dtype.bits / 8u * to->dtype.lanes,
    };
    TRY(hunze_gpu_find(device.id, &gpu));
    TRY(hunze_scope_enter(&scope, gpu, stream));
    const hunze_relaxed mode = hunze_relax(); /* the driver waits for copies from and to memory that is not pinned */
    const hunze_status status = copy_in_scope(&c, from, to);
    hunze_unrelax(mode);
    hunze_scope_leave(&scope);
    return status;
}
