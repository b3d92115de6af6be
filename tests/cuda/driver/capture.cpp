/* SPDX-License-Identifier: Apache-2.0 */
/* Streams whose work becomes a graph, and graphs: the work in the order in which it was given. */
#include "state.h"

static thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

/* CUDA's manual, cuThreadExchangeStreamCaptureMode. */
CUresult refuse_under_capture()
{
    bool refused = false;
    for (const capture_ref &c : standin().captures) {
        const bool own = c->thread == std::this_thread::get_id();
        if (c->mode == CU_STREAM_CAPTURE_MODE_RELAXED || thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED)
            continue;
        if (own || (c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL && thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL)) {
            c->invalid = true;
            refused = true;
        }
    }
    return refused ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    CALL(0);
    if (!mode || (unsigned)*mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    std::swap(*mode, thread_mode);
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode)
{
    CALL(CALL_CONTEXT);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    if ((unsigned)mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    if (stream == stream->context->legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->captured)
        return CUDA_ERROR_ILLEGAL_STATE;
    stream->captured.reset(new capture{stream, mode, std::this_thread::get_id(), false, {}, {}});
    stream->captured->streams[stream] = {};
    standin().captures.insert(stream->captured);
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    CALL(CALL_CONTEXT);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    if (!stream->captured)
        return CUDA_ERROR_ILLEGAL_STATE;
    const capture_ref c = stream->captured;
    if (c->origin != stream)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (c->thread != std::this_thread::get_id() && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    CUresult result = c->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
    for (auto &entry : c->streams) {
        if (!result && c->streams[stream][entry.first] < entry.second[entry.first])
            result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        entry.first->captured = nullptr;
    }
    standin().captures.erase(c);
    *graph = nullptr;
    if (!result) {
        *graph = new CUgraph_st{stream->context, std::move(c->work)};
        standin().graphs.insert(*graph);
    }
    return result;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status)
{
    CALL(CALL_CONTEXT);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    if (stream == stream->context->legacy)
        for (const capture_ref &c : standin().captures)
            if (c->origin->context == stream->context && c->origin->blocking)
                return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    *status = !stream->captured           ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->captured->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                          : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, unsigned long long)
{
    CALL(CALL_CONTEXT);
    if (!standin().graphs.count(graph))
        return CUDA_ERROR_INVALID_VALUE;
    *exec = new CUgraphExec_st{graph->context, graph->work};
    standin().graph_execs.insert(*exec);
    return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle)
{
    CALL(CALL_CONTEXT | CALL_ENQUEUES);
    CUstream_st *stream;
    if (const CUresult missing = find_stream(handle, &stream))
        return missing;
    if (!standin().graph_execs.count(exec))
        return CUDA_ERROR_INVALID_VALUE;
    return enqueue(stream, [work = exec->work, context = stream->context] {
        for (const auto &one : work)
            if (!context->fault)
                one();
    });
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    CALL(0);
    if (!standin().graph_execs.erase(exec))
        return CUDA_ERROR_INVALID_VALUE;
    delete exec;
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph)
{
    CALL(0);
    if (!standin().graphs.erase(graph))
        return CUDA_ERROR_INVALID_VALUE;
    delete graph;
    return CUDA_SUCCESS;
}
