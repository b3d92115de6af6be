/* SPDX-License-Identifier: Apache-2.0 */
/* Work on the stand-in for libcuda.so.1 is late, in the order of streams, events and graphs, so that a host's mistakes show. */
#include "standin_case.h"

/* ------------------------------------------------------------------ work is late */

static void work_is_late_and_in_order()
{
    open_device("");
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    void *pinned;
    OK(cuda.cuMemHostAlloc(&pinned, 2 * BYTES, 0));
    float *source = (float *)pinned, *result = source + COUNT;
    int late = 0;
    for (int turn = 0; turn < 20; turn++) {
        std::vector<float> pageable = values((float)turn);
        memset(result, 0, BYTES);
        if (turn % 2) {
            OK(cuda.cuMemcpyHtoDAsync(from, pageable.data(), BYTES, stream));
            pageable.assign(COUNT, 0.0f); /* was copied already */
        } else {
            memcpy(source, pageable.data(), BYTES);
            OK(cuda.cuMemcpyHtoDAsync(from, source, BYTES, stream));
        }
        OK(launch_reverse(stream, from, to, COUNT));
        OK(cuda.cuMemcpyDtoHAsync(result, to, BYTES, stream));
        late += !is_reversed(result, (float)turn);
        if (turn % 3 == 0)
            while (cuda.cuStreamQuery(stream) == CUDA_ERROR_NOT_READY)
                continue;
        else
            OK(cuda.cuStreamSynchronize(stream));
        assert_int_equal(cuda.pending(), 0);
        assert_true(is_reversed(result, (float)turn));
    }
    assert_in_range(late, 15, 20);
    OK(launch_reverse(stream, from, to, COUNT)); /* in the end it runs without being waited for */
    CUcontext current;
    for (int calls = 0; calls < 1000 && cuda.pending(); calls++)
        OK(cuda.cuStreamGetCtx(stream, &current));
    assert_int_equal(cuda.pending(), 0);
}

static void a_pinned_source_is_read_late()
{
    open_device("");
    const CUdeviceptr memory = device_memory(BYTES);
    void *pinned;
    OK(cuda.cuMemHostAlloc(&pinned, BYTES, 0));
    int changed = 0;
    for (int turn = 0; turn < 200; turn++) {
        float got[COUNT];
        memset(pinned, 1, BYTES);
        OK(cuda.cuMemcpyHtoDAsync(memory, pinned, BYTES, stream));
        memset(pinned, 2, BYTES);
        OK(cuda.cuMemcpyDtoHAsync(got, memory, BYTES, stream)); /* pageable: waits */
        changed += *(char *)got == 2;
    }
    assert_in_range(changed, 100, 199);
}

/* Two streams: the second reads what the first writes, behind an event, or without. */
static int wrong_results(bool waits)
{
    CUstream second;
    CUevent event;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    OK(cuda.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    int wrong = 0;
    for (int turn = 0; turn < 20; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, stream));
        OK(launch_reverse(stream, from, to, COUNT));
        OK(cuda.cuEventRecord(event, stream));
        if (waits)
            OK(cuda.cuStreamWaitEvent(second, event, 0));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, second));
        wrong += !is_reversed(got, (float)turn);
        OK(cuda.cuEventSynchronize(event));
        OK(cuda.cuEventQuery(event));
    }
    return wrong;
}

static void events_order_streams()
{
    open_device("");
    assert_int_equal(wrong_results(true), 0);
    assert_in_range(wrong_results(false), 5, 20);
}

static void events_tell_the_time_between()
{
    open_device("");
    CUevent first, second, untimed;
    float elapsed = -1;
    OK(cuda.cuEventCreate(&first, 0));
    OK(cuda.cuEventCreate(&second, 0));
    OK(cuda.cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    OK(cuda.cuEventRecord(first, stream));
    REFUSED(INVALID_HANDLE, cuda.cuEventElapsedTime(&elapsed, first, second));
    OK(cuda.cuEventRecord(untimed, stream));
    OK(cuda.cuEventSynchronize(untimed));
    REFUSED(INVALID_HANDLE, cuda.cuEventElapsedTime(&elapsed, first, untimed));
    OK(cuda.cuEventRecord(second, stream));
    OK(cuda.cuEventSynchronize(second));
    OK(cuda.cuEventElapsedTime(&elapsed, first, second));
    assert_true(elapsed > 0);
}

static void the_legacy_stream_orders_blocking_ones()
{
    open_device("");
    CUstream blocking;
    OK(cuda.cuStreamCreate(&blocking, 0));
    const CUdeviceptr from = device_memory(BYTES), to = device_memory(BYTES);
    for (int turn = 0; turn < 20; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, blocking));
        OK(launch_reverse(nullptr, from, to, COUNT));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, blocking));
        assert_true(is_reversed(got, (float)turn));
    }
}

/* Ends with a sentence: the kernel runs when its memory is gone. */
static void memory_freed_too_early()
{
    open_device("");
    CUmemoryPool pool = make_pool(0);
    CUstream second;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    for (int turn = 0; turn < 50; turn++) {
        CUdeviceptr memory;
        OK(cuda.cuMemAllocFromPoolAsync(&memory, BYTES, pool, stream));
        OK(cuda.cuStreamSynchronize(stream));
        OK(launch_reverse(stream, memory, memory, COUNT));
        OK(cuda.cuMemFreeAsync(memory, second));
        OK(cuda.cuStreamSynchronize(second));
        OK(cuda.cuStreamSynchronize(stream));
    }
    exit(1);
}

/* ------------------------------------------------------------------ capture */

static void capture_refuses_waiting_and_allocating()
{
    open_device("");
    CUmemoryPool pool = make_pool(0);
    CUevent event;
    CUgraph graph;
    CUdeviceptr memory = device_memory(BYTES), more;
    CUstreamCaptureStatus status;
    CUstream blocking;
    OK(cuda.cuEventCreate(&event, 0));
    OK(cuda.cuStreamCreate(&blocking, 0));
    const auto begin = [&] { OK(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL)); };
    const auto is_broken = [&] { REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuStreamEndCapture(stream, &graph)); };

    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
    REFUSED(ILLEGAL_STATE, cuda.cuStreamEndCapture(stream, &graph));
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuMemAlloc(&more, BYTES));
    OK(cuda.cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuMemsetD8Async(memory, 0, 1, stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuMemAllocFromPoolAsync(&more, BYTES, pool, stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamSynchronize(stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuStreamQuery(stream));
    is_broken();
    begin();
    REFUSED(STREAM_CAPTURE_UNSUPPORTED, cuda.cuEventQuery(event));
    is_broken();
    begin();
    OK(cuda.cuEventRecord(event, stream));
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
    OK(cuda.cuMemAlloc(&more, BYTES));
    OK(cuda.cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    REFUSED(CAPTURED_EVENT, cuda.cuEventSynchronize(event));
    OK(cuda.cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_RELAXED);
    is_broken();
    OK(cuda.cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    REFUSED(STREAM_CAPTURE_IMPLICIT, cuda.cuStreamIsCapturing(nullptr, &status));
    REFUSED(STREAM_CAPTURE_IMPLICIT, cuda.cuMemsetD8Async(memory, 0, 1, nullptr));
    REFUSED(STREAM_CAPTURE_INVALIDATED, cuda.cuStreamEndCapture(blocking, &graph));
    OK(cuda.cuMemsetD8Async(memory, 0, 1, nullptr));
}

static void a_graph_runs_again_with_other_data()
{
    open_device("");
    CUstream second;
    CUevent fork_event, join_event;
    CUgraph graph;
    CUgraphExec exec;
    OK(cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    OK(cuda.cuEventCreate(&fork_event, 0));
    OK(cuda.cuEventCreate(&join_event, 0));
    const CUdeviceptr from = device_memory(BYTES), middle = device_memory(BYTES), to = device_memory(BYTES);
    find_kernel("test_reverse"); /* loading is refused under capture */
    for (int joined = 0; joined < 2; joined++) {
        OK(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        OK(cuda.cuMemcpyDtoDAsync(middle, from, BYTES, stream));
        OK(cuda.cuEventRecord(fork_event, stream));
        OK(cuda.cuStreamWaitEvent(second, fork_event, 0));
        OK(launch_reverse(second, middle, to, COUNT));
        OK(cuda.cuEventRecord(join_event, second));
        if (joined)
            OK(cuda.cuStreamWaitEvent(stream, join_event, 0));
        REFUSED(STREAM_CAPTURE_UNMATCHED, cuda.cuStreamEndCapture(second, &graph));
        if (joined)
            OK(cuda.cuStreamEndCapture(stream, &graph));
        else
            REFUSED(STREAM_CAPTURE_UNJOINED, cuda.cuStreamEndCapture(stream, &graph));
    }
    assert_int_equal(cuda.pending(), 0);
    OK(cuda.cuGraphInstantiate(&exec, graph, 0));
    for (int turn = 0; turn < 5; turn++) {
        float got[COUNT];
        OK(cuda.cuMemcpyHtoDAsync(from, values((float)turn).data(), BYTES, stream));
        OK(cuda.cuGraphLaunch(exec, stream));
        OK(cuda.cuMemcpyDtoHAsync(got, to, BYTES, stream));
        assert_true(is_reversed(got, (float)turn));
    }
}

static const std::vector<standin_case> cases = {
#define TEST(name) {#name, name, 0, nullptr}
    TEST(work_is_late_and_in_order),
    TEST(a_pinned_source_is_read_late),
    TEST(events_order_streams),
    TEST(events_tell_the_time_between),
    TEST(the_legacy_stream_orders_blocking_ones),
    {"memory_freed_too_early", memory_freed_too_early, HUNZE_EMULATOR_STATUS, "load_global of 4 bytes"},
    TEST(capture_refuses_waiting_and_allocating),
    TEST(a_graph_runs_again_with_other_data),
#undef TEST
};

int main(int argc, char **argv) { return standin_main(argc, argv, cases); }
