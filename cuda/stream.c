/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: made, waited for, ordered, given back. */
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

hunze_status hunze_stream_wait(hunze_context *context, hunze_device device, void *stream, void *before)
{
    hunze_scope scope;
    CUevent event = NULL;
    TRY(enter(context, device, before, &scope));
    hunze_status status =
        hunze_driver_check(hunze_cu->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "an event on cuda:%d", device.id);
    if (status == HUNZE_OK)
        status = hunze_driver_check(hunze_cu->cuEventRecord(event, scope.stream), "an event on cuda:%d", device.id);
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
