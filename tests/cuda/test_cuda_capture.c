/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on a stream that is captured, and replay with other data; and what Hunze does elsewhere while somebody captures. */
#include "relu_case.h"

static CUgraphExec end_capture(CUstream stream)
{
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;
    DRIVER_OK(DRIVER(cuStreamEndCapture, 10000)(stream, &graph));
    DRIVER_OK(DRIVER(cuGraphInstantiateWithFlags, 11040)(&exec, graph, 0));
    return exec;
}

/* Captured once, run with other data. */
static void capture(void)
{
    hunze_context *context = new_context(NULL);
    CUcontext primary = NULL;
    void *stream = NULL, *block = NULL, *pointer = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, old, N), *y = to_gpu(context, cuda0, NULL, old, N);
    hunze_plan *plan = make_plan(context, x, y);
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_memory_alloc(context, cuda0, 1024, NULL, &block));
    OK(hunze_plan_prepare(plan));
    const uint64_t loads = standin_count("cuLibraryLoadData");
    standin_check(loads == 1, "prepare loaded %llu libraries", (unsigned long long)loads);
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));

    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    const hunze_run with_block = {
        .struct_size = sizeof run, .stream = stream, .workspace = block, .workspace_bytes = 1024};
    array a, b;
    REFUSED(CAPTURE, hunze_memory_alloc(context, cuda0, 64, stream, &pointer), "being captured");
    REFUSED(CAPTURE, hunze_memory_alloc(context, pinned, 64, stream, &pointer), "being captured");
    REFUSED(CAPTURE, hunze_memory_free(context, cuda0, block, 1024, stream), "being captured");
    REFUSED(CAPTURE, hunze_stream_synchronize(context, cuda0, stream), "being captured");
    REFUSED(CAPTURE, hunze_stream_wait(context, cuda0, stream, NULL), "being captured", "wait for one that is not");
    REFUSED(CAPTURE, hunze_event_record(context, cuda0, stream, &pointer), "being captured");
    REFUSED(CAPTURE, hunze_copy(context, floats(&a, cpu, values, N), floats(&b, cuda0, x, N), &run),
            "from is memory of");
    REFUSED(CAPTURE, hunze_copy(context, floats(&a, cuda0, x, N), floats(&b, cpu, values, N), &run), "to is memory of");
    plan->workspace_bytes = 1024;
    REFUSED(CAPTURE, run_plan(plan, x, y, &run), "being captured", "1024 bytes", "hunze_run.workspace");
    OK(run_plan(plan, x, y, &with_block)); /* none of the refusals spoilt the capture */
    plan->workspace_bytes = 0;
    OK(run_plan(plan, x, y, &run));
    REFUSED(CAPTURE, relu(context, cuda0, x, y, N, NULL), "cuda:0"); /* the default stream would have to wait for it */
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&primary));
    standin_check(standin_depth() == 0, "a context stays");

    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    CUgraph graph = NULL;
    (void)DRIVER(cuStreamEndCapture, 10000)(stream, &graph); /* the call on the default stream may have ended it */
    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(run_plan(plan, x, y, &run));
    CUgraphExec exec = end_capture(stream);
    expect_floats(context, cuda0, stream, y, false);
    OK(hunze_copy(context, floats(&a, cpu, values, N), floats(&b, cuda0, x, N), &run));
    DRIVER_OK(DRIVER(cuGraphLaunch, 10000)(exec, stream));
    expect_floats(context, cuda0, stream, y, true);
    for (int i = 0; i < N; i++)
        values[i] = (float)i * (i % 2 ? 1 : -1);
    OK(hunze_copy(context, floats(&a, cpu, values, N), floats(&b, cuda0, x, N), &run));
    DRIVER_OK(DRIVER(cuGraphLaunch, 10000)(exec, stream));
    expect_floats(context, cuda0, stream, y, true);
    standin_check(standin_count("cuLibraryLoadData") == loads, "a library was loaded under capture");
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* What is allocated, copied, packed and waited for on one stream does not end the capture of another. */
static void capture_elsewhere(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_WIPE};
    const int64_t rows[2] = {10, 10}, transposed[2] = {1, 10};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    float result[N];
    hunze_context *context = new_context(&options);
    CUcontext primary = NULL;
    CUstream captured = NULL, other = NULL;
    int32_t over;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N), *pointer = NULL;
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&captured, CU_STREAM_NON_BLOCKING));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&other, CU_STREAM_NON_BLOCKING));
    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(hunze_memory_alloc(context, cuda0, 5000, other, &pointer));
    OK(hunze_memory_free(context, cuda0, pointer, 5000, other));
    OK(hunze_memory_alloc(context, pinned, 5000, other, &pointer));
    OK(hunze_memory_free(context, pinned, pointer, 5000, other));
    OK(relu(context, cuda0, x, y, N, other)); /* loads its kernel now */
    const hunze_run run = {.struct_size = sizeof run, .stream = other};
    array a, b;
    OK(hunze_copy(context, floats(&a, cuda0, y, N), floats(&b, cpu, result, N), &run));
    check(result[6] == 3, "%g came back", (double)result[6]);
    OK(hunze_copy(context, view(&a, cpu, f32, values, 2, rows, transposed), view(&b, cuda0, f32, x, 2, rows, NULL),
                  &run));
    OK(hunze_copy(context, view(&a, cuda0, f32, x, 2, rows, NULL), view(&b, cpu, f32, result, 2, rows, transposed),
                  &run));
    for (int i = 0; i < N; i++)
        check(result[i] == values[i], "element %d came back as %g", i, (double)result[i]);
    OK(hunze_copy(context, floats(&a, cpu, values, N), floats(&b, cuda0, x, N), &run));
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1}, words = {HUNZE_OPAQUE_HANDLE, 64, 1};
    size_t bytes = 0;
    OK(hunze_pack_size(context, view(&a, cuda0, bf16, x, 2, rows, NULL), NULL, &bytes));
    OK(hunze_memory_alloc(context, cuda0, bytes, other, &pointer));
    const int64_t count = (int64_t)bytes / 8;
    OK(hunze_pack(context, &a.tensor, view(&b, cuda0, words, pointer, 1, &count, NULL), NULL, &run));
    OK(hunze_memory_free(context, cuda0, pointer, bytes, other));
    OK(hunze_stream_synchronize(context, cuda0, other));
    OK(hunze_stream_create(context, cuda0, &pointer));
    OK(hunze_memory_trim(context));
    OK(hunze_event_record(context, cuda0, other, &pointer));
    OK(hunze_event_query(context, cuda0, pointer, &over));
    OK(hunze_event_destroy(context, cuda0, pointer));
    REFUSED(CAPTURE, hunze_stream_wait(context, cuda0, captured, other), "wait for one that is not");
    OK(relu(context, cuda0, x, y, N, captured));
    (void)end_capture(captured);
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    DRIVER_OK(DRIVER(cuThreadExchangeStreamCaptureMode, 10010)(&mode));
    check(mode == CU_STREAM_CAPTURE_MODE_GLOBAL, "the thread's mode stays %d", mode);
    expect_floats(context, cuda0, other, y, true);
    hunze_context_release(context);
}

/* Nor does the first work on another device, or the end of a context. */
static void capture_elsewhere_on_another_device(void)
{
    hunze_context *context = new_context(NULL), *brief = new_context(NULL);
    CUcontext primary = NULL;
    CUstream captured = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N), *pointer = NULL;
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    OK(hunze_memory_alloc(brief, cuda0, 64, NULL, &pointer));
    OK(hunze_memory_free(brief, cuda0, pointer, 64, NULL));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&captured, CU_STREAM_NON_BLOCKING));
    DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(captured, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(hunze_memory_alloc(context, cuda1, 64, NULL, &pointer));
    OK(hunze_memory_free(context, cuda1, pointer, 64, NULL));
    hunze_context_release(brief);
    OK(relu(context, cuda0, x, y, N, captured));
    (void)end_capture(captured);
    hunze_context_release(context);
}

/* A call without a plan reads the header of packed weights, on its stream: behind the packing, and never while that is captured, unless it
 * has a copy. */
static void packed_weights(void)
{
    enum { COUNT = 4 };
    const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1}, f32 = {HUNZE_FLOAT, 32, 1}, words = {HUNZE_OPAQUE_HANDLE, 64, 1};
    const int64_t square[2] = {COUNT, COUNT};
    uint16_t ones[COUNT * COUNT];
    float result[COUNT * COUNT];
    hunze_context *context = new_context(NULL);
    CUcontext primary = NULL;
    CUstream streams[2] = {NULL, NULL};
    size_t bytes = 0;
    for (int i = 0; i < COUNT * COUNT; i++)
        ones[i] = 0x3F80;
    void *x = NULL, *y = NULL, *z = NULL, *packed = NULL;
    float header[16]; /* 64 bytes */
    array from, a, b, d, e;
    OK(hunze_memory_alloc(context, cuda0, sizeof ones, NULL, &x));
    OK(hunze_memory_alloc(context, cuda0, sizeof result, NULL, &y));
    view(&a, cuda0, bf16, x, 2, square, NULL);
    OK(hunze_memory_alloc(context, cuda0, sizeof result, NULL, &z));
    view(&d, cuda0, f32, y, 2, square, NULL);
    view(&e, cuda0, f32, z, 2, square, NULL);
    OK(hunze_copy(context, view(&from, cpu, bf16, ones, 2, square, NULL), &a.tensor, NULL));
    OK(hunze_pack_size(context, &a.tensor, NULL, &bytes));
    OK(hunze_memory_alloc(context, cuda0, bytes, NULL, &packed));
    const int64_t count = (int64_t)bytes / 8;
    view(&b, cuda0, words, packed, 1, &count, NULL);
    const hunze_gemm_options options = {.struct_size = sizeof options};
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_GEMM,
                             .a = &a.tensor,
                             .b = &b.tensor,
                             .d = &d.tensor,
                             .options = &options};
    hunze_plan *plan = NULL;
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&streams[0], CU_STREAM_NON_BLOCKING));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&streams[1], CU_STREAM_DEFAULT));
    for (int i = 0; i < 2; i++) {
        const hunze_run run = {.struct_size = sizeof run, .stream = streams[i]};
        OK(hunze_pack(context, &a.tensor, &b.tensor, NULL, &run));
        OK(hunze_gemm(context, &a.tensor, &b.tensor, NULL, &d.tensor, &options, &run));
        OK(hunze_stream_synchronize(context, cuda0, streams[i]));
        if (!plan) {
            OK(hunze_plan_create(context, &call, &plan));
            OK(hunze_plan_prepare(plan));
            from_gpu(context, cuda0, streams[i], packed, header, 16);
        }
        DRIVER_OK(DRIVER(cuMemsetD8Async, 3020)((CUdeviceptr)z, 0, sizeof result, streams[i]));
        DRIVER_OK(DRIVER(cuMemsetD8Async, 3020)((CUdeviceptr)y, 0, sizeof result, streams[i]));
        DRIVER_OK(DRIVER(cuStreamBeginCapture, 10010)(streams[i], CU_STREAM_CAPTURE_MODE_GLOBAL));
        REFUSED(CAPTURE, hunze_gemm(context, &a.tensor, &b.tensor, NULL, &d.tensor, &options, &run), "packed b",
                "make a plan before the capture begins");
        OK(hunze_plan_run(plan, &call, &run)); /* the refusal did not spoil the capture */
        const hunze_run with_header = {.struct_size = sizeof run, .stream = streams[i], .packed_header = header};
        OK(hunze_gemm(context, &a.tensor, &b.tensor, NULL, &e.tensor, &options, &with_header));
        DRIVER_OK(DRIVER(cuGraphLaunch, 10000)(end_capture(streams[i]), streams[i]));
        OK(hunze_copy(context, &d.tensor, view(&from, cpu, f32, result, 2, square, NULL), &run));
        for (int at = 0; at < COUNT * COUNT; at++)
            check(result[at] == COUNT, "element %d is %g", at, (double)result[at]);
        OK(hunze_copy(context, &e.tensor, &from.tensor, &run));
        for (int at = 0; at < COUNT * COUNT; at++)
            check(result[at] == COUNT, "with the header's copy, element %d is %g", at, (double)result[at]);
    }
    hunze_plan_release(plan);
    hunze_context_release(context);
}

static const cuda_case cases[] = {
    {"capture", capture, NULL, NULL},
    {"packed_weights", packed_weights, NULL, NULL},
    {"capture_elsewhere", capture_elsewhere, NULL, NULL},
    {"capture_elsewhere_without_pools", capture_elsewhere, "pools=0", NULL},
    {"capture_elsewhere_on_another_device", capture_elsewhere_on_another_device, "devices=2", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
