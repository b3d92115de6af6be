/* SPDX-License-Identifier: Apache-2.0 */
/* Seconds of calls on a device, for traces and meters: between two events of the stream, read when the call is over. */
#include "memory.h"

void hunze_timed_drop(hunze_timed *timed)
{
    if (timed->start)
        (void)hunze_cu->cuEventDestroy(timed->start);
    if (timed->end)
        (void)hunze_cu->cuEventDestroy(timed->end);
    *timed = (hunze_timed){0};
}

hunze_status hunze_timed_start(const hunze_scope *scope, hunze_timed *timed)
{
    *timed = (hunze_timed){0};
    CUresult result = hunze_cu->cuEventCreate(&timed->start, CU_EVENT_DEFAULT);
    if (result == CUDA_SUCCESS)
        result = hunze_cu->cuEventCreate(&timed->end, CU_EVENT_DEFAULT);
    if (result == CUDA_SUCCESS)
        result = hunze_cu->cuEventRecord(timed->start, scope->stream);
    if (result != CUDA_SUCCESS)
        hunze_timed_drop(timed);
    return hunze_driver_check(result, "an event on cuda:%d", scope->gpu->device.id);
}

hunze_status hunze_timed_end(const hunze_scope *scope, hunze_timed *timed)
{
    return hunze_driver_check(hunze_cu->cuEventRecord(timed->end, scope->stream), "an event on cuda:%d",
                              scope->gpu->device.id);
}

hunze_status hunze_timed_read(hunze_timed *timed, uint64_t *nanoseconds)
{
    float milliseconds = 0;
    const hunze_relaxed mode = hunze_relax();
    CUresult result = hunze_cu->cuEventElapsedTime(&milliseconds, timed->start, timed->end);
    if (result == CUDA_ERROR_NOT_READY) {
        result = hunze_cu->cuEventSynchronize(timed->end);
        if (result == CUDA_SUCCESS)
            result = hunze_cu->cuEventElapsedTime(&milliseconds, timed->start, timed->end);
    }
    hunze_unrelax(mode);
    hunze_timed_drop(timed);
    *nanoseconds = (uint64_t)((double)milliseconds * 1e6);
    return hunze_driver_check(result, "the end of the call");
}

/* Takes the first call off the list if it is over, or after waiting for it. */
static hunze_timing *take_timing(hunze_device_memory *memory, bool wait)
{
    const hunze_relaxed mode = hunze_relax();
    pthread_mutex_lock(&memory->lock);
    hunze_timing *first = memory->first_timing;
    if (first && !wait && hunze_cu->cuEventQuery(first->timed.end) == CUDA_ERROR_NOT_READY)
        first = NULL;
    if (first) {
        memory->first_timing = first->next;
        if (!first->next)
            memory->last_timing = NULL;
    }
    pthread_mutex_unlock(&memory->lock);
    hunze_unrelax(mode);
    return first;
}

static void settle(hunze_context *context, hunze_device_memory *memory, bool wait)
{
    for (hunze_timing *timing; (timing = take_timing(memory, wait)) != NULL;) {
        CUcontext popped;
        uint64_t nanoseconds = 0;
        if (hunze_cu->cuCtxPushCurrent(timing->context) == CUDA_SUCCESS) {
            if (hunze_timed_read(&timing->timed, &nanoseconds) == HUNZE_OK)
                hunze_meter_add_time(context, nanoseconds);
            (void)hunze_cu->cuCtxPopCurrent(&popped);
        } /* else somebody destroyed the context, and with it the events */
        hunze_deallocate(context, timing, sizeof *timing);
    }
}

void hunze_timed_keep(hunze_context *context, const hunze_scope *scope, hunze_timed *timed)
{
    hunze_device_memory *memory = hunze_device_memory_of(context);
    hunze_timing *timing = memory ? hunze_allocate(context, sizeof *timing, _Alignof(hunze_timing)) : NULL;
    if (!timing) { /* its seconds are missing: the call itself goes on */
        hunze_timed_drop(timed);
        return;
    }
    *timing = (hunze_timing){.context = scope->context, .timed = *timed};
    pthread_mutex_lock(&memory->lock);
    if (memory->last_timing)
        memory->last_timing->next = timing;
    else
        memory->first_timing = timing;
    memory->last_timing = timing;
    pthread_mutex_unlock(&memory->lock);
    *timed = (hunze_timed){0};
    settle(context, memory, false);
}

void hunze_device_settle(hunze_context *context)
{
    hunze_device_memory *memory = atomic_load(&context->device_memory);
    if (memory && hunze_driver_open() == HUNZE_OK)
        settle(context, memory, true);
}
