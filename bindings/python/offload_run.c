/* SPDX-License-Identifier: Apache-2.0
 * Runs of a call on a device: as a whole, or slice by slice. */
#include "offload_call.h"

#include <math.h>

static size_t align(size_t bytes) { return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); }

static hunze_status copy(const Offload *o, const hunze_tensor *from, const hunze_tensor *to, void *stream)
{
    const bool moves = offload_on_device(from) || offload_on_device(to);
    const hunze_run run = {
        .struct_size = sizeof run, .threads = o->call->active.threads, .stream = moves ? stream : NULL};
    return hunze_copy(o->call->active.context, from, to, &run);
}

/* Between the caller's slice and packed memory at `data`, which is pinned or the device's. */
static hunze_status exchange(const Offload *o, const Slot *slot, int64_t first, int64_t rows, hunze_device where,
                             void *data, void *stream)
{
    View host, dense;
    offload_look_at(slot->tensor, slot->axis, first, rows, &host);
    offload_pack(&host, where, data, &dense);
    return slot->output ? copy(o, &dense.tensor, &host.tensor, stream) : copy(o, &host.tensor, &dense.tensor, stream);
}

/* Lets Ctrl-C end the call. */
static hunze_status poll(Offload *o)
{
    PyEval_RestoreThread(o->thread);
    const int stop = PyErr_CheckSignals();
    o->thread = PyEval_SaveThread();
    return stop ? HUNZE_ERR_CANCELLED : HUNZE_OK;
}

/* Places in the memory that all slices share, and what it takes of it. */
static void share_memory(Offload *o)
{
    for (int i = 0; i < SLOTS; i++) {
        Slot *slot = &o->slots[i];
        View view;
        if (!slot->tensor || slot->here || slot->axis >= 0)
            continue;
        slot->offset = o->shared_bytes;
        o->shared_bytes += align(offload_stage(slot, 0, 0, o->device, NULL, &view));
    }
}

static hunze_status take_shared(Offload *o, void *stream)
{
    share_memory(o);
    TRY(hunze_memory_alloc(o->call->active.context, o->device, o->shared_bytes, stream, &o->shared));
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (slot->tensor && !slot->here && slot->axis < 0 && !slot->output)
            TRY(exchange(o, slot, 0, 0, o->device, (char *)o->shared + slot->offset, stream));
    }
    return HUNZE_OK;
}

static void point_to_shared(const Offload *o, Replica *r)
{
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (!slot->tensor || slot->here || slot->axis >= 0)
            continue;
        offload_stage(slot, 0, 0, o->device, (char *)o->shared + slot->offset, &r->views[i]);
        *r->slot[i] = &r->views[i].tensor;
    }
}

/* Pinned memory beside the device. */
static hunze_device pinned(const Offload *o) { return (hunze_device){HUNZE_DEVICE_CUDA_HOST, o->device.id}; }

/* The device writes NaN where the CPU would have refused x.  `scale` is packed. */
static hunze_status check_scale(Offload *o, const float *scale)
{
    const Slot *slot = &o->slots[SLOT_D_SCALE];
    View host, packed;
    if (!slot->tensor || !slot->output)
        return HUNZE_OK;
    offload_look_at(slot->tensor, -1, 0, 0, &host);
    const size_t count = offload_pack(&host, o->device, NULL, &packed) / sizeof *scale;
    for (size_t i = 0; i < count; i++)
        if (isnan(scale[i])) {
            o->message = "x holds a NaN or an infinity: a dynamic scale needs finite values";
            return HUNZE_ERR_UNSUPPORTED;
        }
    return HUNZE_OK;
}

/* The result goes through pinned memory, so that an error, also of its copy, leaves the caller's untouched. */
static hunze_status bring_back(Offload *o)
{
    hunze_context *context = o->call->active.context;
    size_t place[SLOTS] = {0};
    View host, from, to;
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (!slot->tensor || slot->here || !slot->output)
            continue;
        place[i] = o->pinned_bytes;
        o->pinned_bytes += align(offload_stage(slot, 0, 0, o->device, NULL, &to));
    }
    TRY(hunze_memory_alloc(context, pinned(o), o->pinned_bytes, o->stream, &o->pinned));
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (!slot->tensor || slot->here || !slot->output)
            continue;
        offload_look_at(slot->tensor, -1, 0, 0, &host);
        offload_pack(&host, o->device, (char *)o->shared + slot->offset, &from);
        offload_pack(&host, pinned(o), (char *)o->pinned + place[i], &to);
        TRY(copy(o, &from.tensor, &to.tensor, o->stream));
    }
    TRY(hunze_stream_synchronize(context, o->device, o->stream));
    TRY(check_scale(o, (const float *)((const char *)o->pinned + place[SLOT_D_SCALE])));
    TRY(poll(o));
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (slot->tensor && !slot->here && slot->output)
            TRY(exchange(o, slot, 0, 0, pinned(o), (char *)o->pinned + place[i], NULL));
    }
    return HUNZE_OK;
}

static hunze_status run_whole(Offload *o)
{
    const hunze_run run = {.struct_size = sizeof run, .stream = o->stream};
    offload_replicate(o->call, &o->whole);
    TRY(take_shared(o, o->stream));
    point_to_shared(o, &o->whole);
    TRY(hunze_plan_run(o->plan, &o->whole.call, &run));
    return bring_back(o);
}

/* ------------------------------------------------------------------ slices */

static hunze_status open_lanes(Offload *o)
{
    hunze_context *context = o->call->active.context;
    for (int i = 0; i < SLOTS; i++) {
        Slot *slot = &o->slots[i];
        View view;
        if (!slot->tensor || slot->axis < 0)
            continue;
        slot->offset = o->lane_bytes;
        o->lane_bytes += align(offload_stage(slot, 0, o->rows, o->device, NULL, &view));
    }
    o->pinned_bytes = o->lane_bytes;
    for (int i = 0; i < 2; i++) {
        const size_t workspace = o->slice_plans[i] ? hunze_plan_workspace(o->slice_plans[i], 0) : 0;
        o->lane_workspace = workspace > o->lane_workspace ? workspace : o->lane_workspace;
    }
    o->lane_bytes += o->lane_workspace;
    for (; o->lane_count < LANES && o->lane_count < o->slices; o->lane_count++) {
        Lane *lane = &o->lanes[o->lane_count];
        TRY(hunze_stream_create(context, o->device, &lane->stream));
    }
    if (o->meets) /* operands that live on the device may still be written there */
        TRY(hunze_stream_wait(context, o->device, o->lanes[0].stream, o->stream));
    TRY(take_shared(o, o->lanes[0].stream));
    for (int i = 0; i < o->lane_count; i++) {
        Lane *lane = &o->lanes[i];
        if (i > 0)
            TRY(hunze_stream_wait(context, o->device, lane->stream, o->lanes[0].stream));
        TRY(hunze_memory_alloc(context, o->device, o->lane_bytes, lane->stream, &lane->device));
        TRY(hunze_memory_alloc(context, pinned(o), o->pinned_bytes, lane->stream, &lane->pinned));
    }
    return HUNZE_OK;
}

/* Gives a slice to its lane's stream: over, through the kernel, and back to pinned memory. */
static hunze_status start_slice(Offload *o, Lane *lane, int64_t index)
{
    const int64_t first = index * o->rows;
    const int64_t rows = o->extent - first < o->rows ? o->extent - first : o->rows;
    const hunze_plan *plan = o->slice_plans[rows == o->rows ? 0 : 1];
    Replica *r = &lane->replica;
    hunze_run run = {.struct_size = sizeof run, .stream = lane->stream};
    if (o->lane_workspace) {
        run.workspace = (char *)lane->device + o->lane_bytes - o->lane_workspace;
        run.workspace_bytes = o->lane_workspace;
    }
    offload_replicate(o->call, r);
    offload_force_kernel(r, hunze_plan_kernel(o->plan));
    point_to_shared(o, r);
    for (int i = 0; i < SLOTS; i++) {
        const Slot *slot = &o->slots[i];
        if (!slot->tensor || slot->axis < 0)
            continue;
        offload_stage(slot, first, rows, o->device, (char *)lane->device + slot->offset, &r->views[i]);
        *r->slot[i] = &r->views[i].tensor;
        if (!slot->output) {
            View host, from, to;
            offload_look_at(slot->tensor, slot->axis, first, rows, &host);
            offload_pack(&host, pinned(o), (char *)lane->pinned + slot->offset, &from);
            offload_pack(&host, o->device, (char *)lane->device + slot->offset, &to);
            TRY(copy(o, &host.tensor, &from.tensor, NULL));
            TRY(copy(o, &from.tensor, &to.tensor, lane->stream));
        }
    }
    TRY(hunze_plan_run(plan, &r->call, &run));
    const Slot *d = &o->slots[SLOT_D];
    View host, from, to;
    offload_look_at(d->tensor, d->axis, first, rows, &host);
    offload_pack(&host, o->device, (char *)lane->device + d->offset, &from);
    offload_pack(&host, pinned(o), (char *)lane->pinned + d->offset, &to);
    TRY(copy(o, &from.tensor, &to.tensor, lane->stream));
    lane->first = first;
    lane->rows = rows;
    return HUNZE_OK;
}

static hunze_status end_slice(const Offload *o, Lane *lane)
{
    const Slot *d = &o->slots[SLOT_D];
    TRY(hunze_stream_synchronize(o->call->active.context, o->device, lane->stream));
    TRY(exchange(o, d, lane->first, lane->rows, pinned(o), (char *)lane->pinned + d->offset, NULL));
    lane->rows = 0;
    return HUNZE_OK;
}

static hunze_status run_slices(Offload *o)
{
    TRY(open_lanes(o));
    for (int64_t i = 0; i < o->slices; i++) {
        Lane *lane = &o->lanes[i % o->lane_count];
        TRY(poll(o));
        if (lane->rows)
            TRY(end_slice(o, lane));
        TRY(start_slice(o, lane, i));
    }
    for (int64_t i = o->slices - o->lane_count; i < o->slices; i++)
        TRY(end_slice(o, &o->lanes[i % o->lane_count]));
    return HUNZE_OK;
}

hunze_status offload_run(Offload *o)
{
    hunze_status status;
    if (o->slices > 1 && !(o->lanes = PyMem_Calloc(LANES, sizeof *o->lanes))) {
        o->message = "no memory for lanes of slices";
        return HUNZE_ERR_NOMEM;
    }
    o->thread = PyEval_SaveThread();
    status = o->slices > 1 ? run_slices(o) : run_whole(o);
    PyEval_RestoreThread(o->thread);
    if (o->message && status && !PyErr_Occurred())
        PyErr_Format(status == HUNZE_ERR_NOMEM ? PyExc_MemoryError : PyExc_NotImplementedError, "%s: %s (%s)",
                     o->call->function, o->message, hunze_status_name(status));
    return status;
}

/* Device and pinned memory goes back behind the work of its stream: nothing waits, also after an error. */
void offload_free(Offload *o)
{
    hunze_context *context = o->call->active.context;
    for (int i = 0; i < o->lane_count; i++) {
        Lane *lane = &o->lanes[i];
        if (i > 0 && o->shared) /* what all share goes back behind the last of them */
            hunze_stream_wait(context, o->device, o->lanes[0].stream, lane->stream);
        if (o->meets && lane->stream)
            hunze_stream_wait(context, o->device, o->stream, lane->stream);
        if (lane->device)
            hunze_memory_free(context, o->device, lane->device, o->lane_bytes, lane->stream);
        if (lane->pinned)
            hunze_memory_free(context, pinned(o), lane->pinned, o->pinned_bytes, lane->stream);
    }
    if (o->pinned)
        hunze_memory_free(context, pinned(o), o->pinned, o->pinned_bytes, o->stream);
    if (o->shared)
        hunze_memory_free(context, o->device, o->shared, o->shared_bytes,
                          o->lane_count ? o->lanes[0].stream : o->stream);
    for (int i = 0; i < o->lane_count; i++)
        hunze_stream_destroy(context, o->device, o->lanes[i].stream);
    hunze_plan_release(o->own);
    hunze_plan_release(o->slice_plans[0]);
    hunze_plan_release(o->slice_plans[1]);
    PyMem_Free(o->lanes);
    PyMem_Free(o);
}
