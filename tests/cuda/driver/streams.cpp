/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and events: queues of operations that run as late as they may. */
#include "state.h"

#include <time.h>

/* ------------------------------------------------------------------ operations */

CUstream_st *make_stream(CUctx_st *context, bool blocking)
{
    auto *stream = new CUstream_st{context, blocking, {}, nullptr, nullptr, nullptr};
    standin().queues.insert(stream);
    return stream;
}

/* Runs the stream's first operation, and before it what it has to wait for in other streams. */
static void step(CUstream_st *stream)
{
    const operation_ref op = stream->queue.front();
    for (const operation_ref &before : op->after)
        complete(before);
    stream->queue.pop_front();
    if (!stream->context->fault)
        op->run();
    op->done = true;
    op->after.clear();
    op->run = nullptr;
}

void complete(const operation_ref &op)
{
    while (op && !op->done)
        step(op->stream);
}

void complete_all(CUctx_st *context)
{
    for (CUstream_st *stream : standin().queues)
        if (stream->context == context)
            complete(stream->last);
}

void run_some()
{
    std::vector<CUstream_st *> busy;
    for (CUstream_st *stream : standin().queues)
        if (!stream->queue.empty())
            busy.push_back(stream);
    if (!busy.empty())
        step(busy[standin_random() % busy.size()]);
}

uint64_t hunze_standin_pending(void)
{
    const std::lock_guard<std::recursive_mutex> hold(standin().lock);
    uint64_t pending = 0;
    for (const CUstream_st *stream : standin().queues)
        pending += stream->queue.size();
    return pending;
}

CUresult enqueue(CUstream_st *stream, std::function<void()> work)
{
    standin_state &s = standin();
    CUctx_st *context = stream->context;
    if (stream->captured) {
        capture *c = stream->captured.get();
        if (c->invalid)
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        c->work.push_back(std::move(work));
        c->streams[stream][stream] = c->work.size();
        return CUDA_SUCCESS;
    }
    if (stream == context->legacy)
        for (const capture_ref &c : s.captures)
            if (c->origin->context == context && c->origin->blocking) {
                c->invalid = true;
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
            }
    if (s.deferred_fault) {
        const CUresult fault = s.deferred_fault;
        work = [context, fault] { context->fault = fault; };
    }
    const operation_ref op(new operation{std::move(work), {}, stream, false});
    if (stream == context->legacy) {
        for (CUstream_st *other : s.queues)
            if (other->context == context && other != stream && other->blocking && other->last && !other->last->done)
                op->after.push_back(other->last);
    } else if (stream->blocking && context->legacy->last && !context->legacy->last->done)
        op->after.push_back(context->legacy->last);
    stream->queue.push_back(op);
    stream->last = op;
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------ streams */

CUresult find_stream(CUstream handle, CUstream_st **stream)
{
    CUctx_st *context = current_context();
    if (!handle || handle == CU_STREAM_LEGACY)
        *stream = context->legacy;
    else if (handle == CU_STREAM_PER_THREAD) {
        CUstream_st *&mine = context->per_thread[std::this_thread::get_id()];
        if (!mine)
            mine = make_stream(context, true);
        *stream = mine;
    } else if (standin().streams.count(handle) && handle->context == context)
        *stream = handle;
    else
        return CUDA_ERROR_INVALID_HANDLE;
    return CUDA_SUCCESS;
}

#define FIND_STREAM(handle)                                                                                            \
    CUstream_st *stream;                                                                                               \
    if (const CUresult missing = find_stream(handle, &stream))                                                         \
    return missing

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (!stream || flags > CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    *stream = make_stream(current_context(), flags != CU_STREAM_NON_BLOCKING);
    standin().streams.insert(*stream);
    return CUDA_SUCCESS;
}

/* Its work goes on. */
CUresult cuStreamDestroy(CUstream stream)
{
    CALL(0);
    if (!standin().streams.count(stream))
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream->captured)
        stream->captured->invalid = true;
    standin().streams.erase(stream);
    return CUDA_SUCCESS;
}

/* The context of a stream that is no handle of the driver's is the current one. */
static CUresult context_of(CUstream handle, CUctx_st **context)
{
    if (standin().streams.count(handle))
        *context = handle->context;
    else if (!handle || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD)
        *context = current_context();
    else
        return CUDA_ERROR_INVALID_HANDLE;
    return *context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *context)
{
    CALL(0);
    return context_of(stream, context);
}

CUresult cuStreamGetCtx_v2(CUstream stream, CUcontext *context, CUgreenCtx *green)
{
    CALL(0);
    if (green)
        *green = standin().streams.count(stream) ? stream->green : nullptr;
    return context_of(stream, context);
}

static CUresult refuse_captured(CUstream_st *stream)
{
    if (!stream->captured)
        return CUDA_SUCCESS;
    stream->captured->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult cuStreamSynchronize(CUstream handle)
{
    CALL(CALL_CONTEXT);
    FIND_STREAM(handle);
    if (const CUresult refused = refuse_captured(stream))
        return refused;
    if (const CUresult refused = refuse_under_capture())
        return refused;
    if (stream == stream->context->legacy)
        if (const CUresult refused = enqueue(stream, [] {})) /* waits for the blocking streams */
            return refused;
    complete(stream->last);
    return stream->context->fault;
}

CUresult cuStreamQuery(CUstream handle)
{
    CALL(CALL_CONTEXT);
    FIND_STREAM(handle);
    if (const CUresult refused = refuse_captured(stream))
        return refused;
    if (!stream->queue.empty() && standin_random() % 2)
        step(stream);
    if (stream->context->fault)
        return stream->context->fault;
    return stream->queue.empty() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned int flags)
{
    CALL(CALL_CONTEXT);
    FIND_STREAM(handle);
    if (!standin().events.count(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (event->captured) {
        const capture_ref c = event->captured;
        if (!standin().captures.count(c))
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        if (stream->captured && stream->captured != c)
            return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        if (stream == stream->context->legacy) {
            c->invalid = true;
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
        stream->captured = c;
        captured_before &before = c->streams[stream];
        for (const auto &entry : event->before)
            before[entry.first] = std::max(before[entry.first], entry.second);
        return CUDA_SUCCESS;
    }
    if (stream->captured) {
        stream->captured->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (!event->last || event->last->done)
        return CUDA_SUCCESS;
    const CUresult result = enqueue(stream, [] {});
    if (!result)
        stream->last->after.push_back(event->last);
    return result;
}

/* ------------------------------------------------------------------ events */

CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
    CALL(CALL_CONTEXT);
    if (!event || flags > 7)
        return CUDA_ERROR_INVALID_VALUE;
    *event = new CUevent_st{current_context(), !(flags & CU_EVENT_DISABLE_TIMING), nullptr, nullptr, nullptr, {}};
    standin().events.insert(*event);
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event)
{
    CALL(0);
    if (standin().destroyed_events.count(event))
        standin_fail("an event is destroyed that is gone with its context");
    if (!standin().events.erase(event))
        return CUDA_ERROR_INVALID_HANDLE;
    delete event;
    return CUDA_SUCCESS;
}

static double milliseconds()
{
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    FIND_STREAM(handle);
    if (!standin().events.count(event) || event->context != stream->context)
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream->captured) {
        if (stream->captured->invalid)
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        event->captured = stream->captured;
        event->before = stream->captured->streams[stream];
        return CUDA_SUCCESS;
    }
    const std::shared_ptr<double> when(new double(0));
    const CUresult result = enqueue(stream, [when] { *when = milliseconds(); });
    if (!result) {
        event->milliseconds = when;
        event->captured = nullptr;
        event->last = stream->last;
    }
    return result;
}

static CUresult refuse_captured(CUevent event)
{
    if (!event->captured)
        return CUDA_SUCCESS;
    event->captured->invalid = true;
    return CUDA_ERROR_CAPTURED_EVENT;
}

CUresult cuEventQuery(CUevent event)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (!standin().events.count(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (const CUresult refused = refuse_captured(event))
        return refused;
    const operation_ref last = event->last;
    if (last && !last->done && standin_random() % 2)
        step(last->stream);
    if (event->context->fault)
        return event->context->fault;
    return !last || last->done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    if (!standin().events.count(event))
        return CUDA_ERROR_INVALID_HANDLE;
    if (const CUresult refused = refuse_captured(event))
        return refused;
    complete(event->last);
    return event->context->fault;
}

CUresult cuEventElapsedTime(float *elapsed, CUevent begin, CUevent end)
{
    CALL(CALL_CONTEXT | CALL_UNSAFE);
    for (CUevent event : {begin, end})
        if (!standin().events.count(event) || !event->timed || !event->last)
            return CUDA_ERROR_INVALID_HANDLE;
    for (CUevent event : {begin, end})
        if (!event->last->done)
            return event->context->fault ? event->context->fault : CUDA_ERROR_NOT_READY;
    *elapsed = (float)(*end->milliseconds - *begin->milliseconds);
    return CUDA_SUCCESS;
}
