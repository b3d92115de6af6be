/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: made, waited for, ordered, given back; events, which say how far they came. */
#include "runtime.h"

static hunze_status find_gpu(hunze_context *context, hunze_device device, hunze_gpu **gpu)
{
    if (!context)
        return hunze_fail(HUNZE_ERR_NULL, "context is NULL");
    if (device.type != HUNZE_DEVICE_CUDA)
        return hunze_fail(HUNZE_ERR_DEVICE, "a stream of device type %d is asked for; streams are of %d (CUDA)",
                          device.type, HUNZE_DEVICE_CUDA);
    return hunze_gpu_find(device.id, gpu);
}

/* The scope of a stream that the caller names. */
static hunze_status enter(hunze_context *context, hunze_device device, void *stream, hunze_scope *scope)
{
    hunze_gpu *gpu = NULL;
    TRY(find_gpu(context, device, &gpu));
    return hunze_scope_enter(scope, gpu, stream);
}

/* It waits for the legacy default stream and that one for it, so that work given to either stays in order. */
hunze_status hunze_stream_create(hunze_context *context, hunze_device device, void **stream)
{
    hunze_gpu *gpu = NULL;
    hunze_scope scope;
    CUstream made = NULL;
    if (!stream)
        return hunze_fail(HUNZE_ERR_NULL, "stream is NULL");
    *stream = NULL;
    TRY(find_gpu(context, device, &gpu));
    TRY(hunze_scope_enter_device(&scope, gpu));
    const hunze_relaxed mode = hunze_relax();
    const hunze_status status =
        hunze_driver_check(hunze_cu->cuStreamCreate(&made, CU_STREAM_DEFAULT), "a stream on cuda:%d", device.id);
    hunze_unrelax(mode);
    hunze_scope_leave(&scope);
    *stream = made;
    return status;
}

hunze_status hunze_stream_destroy(hunze_context *context, hunze_device device, void *stream)
{
    hunze_scope scope;
    if (!stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD)
        return hunze_fail(HUNZE_ERR_OPTION, "the stream is a default one, which cannot be destroyed");
    TRY(hunze_driver_open());
    if (hunze_driver_is_over())
        return HUNZE_OK;
    TRY(enter(context, device, stream, &scope));
    const hunze_status status = hunze_driver_check(hunze_cu->cuStreamDestroy(stream), "a stream on cuda:%d", device.id);
    hunze_scope_leave(&scope);
    return status;
}

hunze_status hunze_stream_synchronize(hunze_context *context, hunze_device device, void *stream)
{
    hunze_scope scope;
    TRY(enter(context, device, stream, &scope));
    const hunze_status status =
        scope.captured
            ? hunze_fail(HUNZE_ERR_CAPTURE, "the stream is being captured: its work runs when the graph is launched")
            : hunze_driver_check(hunze_scope_wait(&scope), "work on cuda:%d", device.id);
    hunze_scope_leave(&scope);
    return status;
}

/* An event behind what the scope's stream was given; NULL where that fails. */
static hunze_status record(const hunze_scope *scope, CUevent *event)
{
    const int32_t id = scope->gpu->device.id;
    CUevent made = NULL;
    TRY(hunze_driver_check(hunze_cu->cuEventCreate(&made, CU_EVENT_DISABLE_TIMING), "an event on cuda:%d", id));
    const hunze_status status =
        hunze_driver_check(hunze_cu->cuEventRecord(made, scope->stream), "an event on cuda:%d", id);
    if (status)
        (void)hunze_cu->cuEventDestroy(made);
    *event = status ? NULL : made;
    return status;
}

/* Whether the stream is being captured. */
static hunze_status is_captured(hunze_context *context, hunze_device device, void *stream, bool *captured)
{
    hunze_scope scope;
    TRY(enter(context, device, stream, &scope));
    *captured = scope.captured;
    hunze_scope_leave(&scope);
    return HUNZE_OK;
}

hunze_status hunze_stream_wait(hunze_context *context, hunze_device device, void *stream, void *before)
{
    hunze_scope scope;
    CUevent event = NULL;
    bool captured, before_captured = false;
    TRY(is_captured(context, device, stream, &captured));
    const hunze_status asked = captured ? is_captured(context, device, before, &before_captured) : HUNZE_OK;
    if (asked && asked != HUNZE_ERR_CAPTURE)
        return asked;
    if (captured && !before_captured) /* the driver would end the capture */
        return hunze_fail(HUNZE_ERR_CAPTURE,
                          "the stream is being captured and cannot wait for one that is not: let the other's work "
                          "be over before the capture begins");
    TRY(enter(context, device, before, &scope));
    hunze_status status = record(&scope, &event);
    hunze_scope_leave(&scope);
    if (status == HUNZE_OK) {
        status = enter(context, device, stream, &scope);
        if (status == HUNZE_OK) {
            status = hunze_driver_check(hunze_cu->cuStreamWaitEvent(scope.stream, event, 0), "a stream on cuda:%d",
                                        device.id);
            hunze_scope_leave(&scope);
        }
    }
    if (event)
        (void)hunze_cu->cuEventDestroy(event);
    return status;
}

/* ------------------------------------------------------------------ events */

hunze_status hunze_event_record(hunze_context *context, hunze_device device, void *stream, void **event)
{
    hunze_scope scope;
    CUevent made = NULL;
    if (!event)
        return hunze_fail(HUNZE_ERR_NULL, "event is NULL");
    *event = NULL;
    TRY(enter(context, device, stream, &scope));
    const hunze_status status =
        scope.captured ? hunze_fail(HUNZE_ERR_CAPTURE, "the stream is being captured: what it is given does not run")
                       : record(&scope, &made);
    hunze_scope_leave(&scope);
    *event = made;
    return status;
}

hunze_status hunze_event_query(hunze_context *context, hunze_device device, void *event, int32_t *over)
{
    hunze_scope scope;
    if (!event || !over)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", event ? "over" : "event");
    *over = 0;
    TRY(enter(context, device, CU_STREAM_PER_THREAD, &scope));
    const hunze_relaxed mode = hunze_relax();
    const CUresult result = hunze_cu->cuEventQuery(event);
    hunze_unrelax(mode);
    hunze_scope_leave(&scope);
    *over = result == CUDA_SUCCESS;
    return result == CUDA_ERROR_NOT_READY ? HUNZE_OK : hunze_driver_check(result, "work on cuda:%d", device.id);
}

hunze_status hunze_event_destroy(hunze_context *context, hunze_device device, void *event)
{
    if (!context || !event)
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", context ? "event" : "context");
    TRY(hunze_driver_open());
    return hunze_driver_is_over()
               ? HUNZE_OK
               : hunze_driver_check(hunze_cu->cuEventDestroy(event), "an event on cuda:%d", device.id);
}
