/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on a device: every mistake has its status and its sentence and leaves the output alone; every call of the driver fails once;
 * capture and replay; traces and meters. */
#include "cuda_test.h"
#include "device_row.h"
#include "json.h"
#include "plan.h"

#include <sys/wait.h>
#include <unistd.h>

enum { N = 100, BYTES = N * (int)sizeof(float) };
static float values[N], old[N];

static void make_values(void)
{
    for (int i = 0; i < N; i++) {
        values[i] = (float)(i % 7) - 3;
        old[i] = 1000 + (float)i;
    }
}

static void expect_floats(hunze_context *context, hunze_device device, void *stream, void *pointer, bool computed)
{
    float result[N];
    from_gpu(context, device, stream, pointer, result, N);
    for (int i = 0; i < N; i++) {
        const float wanted = !computed ? old[i] : values[i] < 0 ? 0 : values[i];
        check(result[i] == wanted, "element %d is %g, not %g", i, (double)result[i], (double)wanted);
    }
}

static hunze_plan *make_plan(hunze_context *context, const void *x, const void *y)
{
    array a, b;
    static const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    static const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_ACTIVATION,
                             .a = floats(&a, cuda0, (void *)x, N),
                             .d = floats(&b, cuda0, (void *)y, N),
                             .options = &options};
    hunze_plan *plan = NULL;
    OK(hunze_plan_create(context, &call, &plan));
    return plan;
}

static hunze_status run_plan(const hunze_plan *plan, void *x, void *y, const hunze_run *run)
{
    array a, b;
    static const hunze_activation activation = {.struct_size = sizeof activation, .kind = HUNZE_ACT_RELU};
    static const hunze_activation_options options = {.struct_size = sizeof options, .activation = &activation};
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_ACTIVATION,
                             .a = floats(&a, cuda0, x, N),
                             .d = floats(&b, cuda0, y, N),
                             .options = &options};
    return hunze_plan_run(plan, &call, run);
}

/* ------------------------------------------------------------------ operands */

static void operands(void)
{
    hunze_context *context = new_context(NULL);
    float host[N], on_host[N];
    make_values();
    memcpy(host, values, BYTES);
    memcpy(on_host, old, BYTES);
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    void *other = to_gpu(context, cuda1, NULL, values, N);
    REFUSED(ALIGN, relu(context, cuda0, (char *)x + 2, y, N - 1, NULL), "x is not aligned");
    REFUSED(ALIGN, relu(context, cuda0, x, (char *)y + 1, N - 1, NULL), "y is not aligned");
    REFUSED(NULL, relu(context, cuda0, NULL, y, N, NULL), "x");
    REFUSED(NULL, relu(context, cuda0, x, NULL, N, NULL), "y");
    REFUSED(ALIAS, relu(context, cuda0, (char *)y + 4, y, N - 1, NULL), "y overlaps x");
    REFUSED(DEVICE, relu(context, cuda0, host, y, N, NULL), "x is said to live on cuda:0", "the CPU's memory",
            "hunze_copy");
    REFUSED(DEVICE, relu(context, cuda0, x, on_host, N, NULL), "y is said to live on cuda:0");
    REFUSED(DEVICE, relu(context, cuda0, other, y, N, NULL), "x lives on cuda:1, and not on cuda:0");
    array a, b;
    REFUSED(DEVICE, hunze_activate(context, floats(&a, cpu, host, N), floats(&b, cuda0, y, N), NULL, NULL),
            "x lives on the CPU", "y on cuda:0", "copy");
    REFUSED(DEVICE, hunze_activate(context, floats(&a, cuda0, x, N), floats(&b, cpu, on_host, N), NULL, NULL),
            "y lives on the CPU", "x on cuda:0");
    REFUSED(DEVICE, hunze_activate(context, floats(&a, cuda1, other, N), floats(&b, cuda0, y, N), NULL, NULL),
            "y lives on cuda:0", "x on cuda:1");
    expect_floats(context, cuda0, NULL, y, false);
    check(memcmp(on_host, old, BYTES) == 0, "a refused call wrote");
    OK(relu(context, cuda0, x, y, N, NULL));
    expect_floats(context, cuda0, NULL, y, true);
    OK(relu(context, cuda0, x, x, N, NULL)); /* in place */
    expect_floats(context, cuda0, NULL, x, true);
    standin_check(standin_depth() == 0, "a context stays");
    hunze_context_release(context);
}

/* A plan counts on the alignment of the pointers that it was made with, the whole of it where it saw none. */
static void alignment(void)
{
    hunze_context *context = new_context(NULL);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    char *large = to_gpu(context, cuda0, NULL, values, N);
    OK(hunze_memory_free(context, cuda0, large, BYTES, NULL));
    OK(hunze_memory_alloc(context, cuda0, BYTES + 64, NULL, (void **)&large));
    array from, to;
    OK(hunze_copy(context, floats(&from, cpu, values, N), floats(&to, cuda0, large + 4, N), NULL));
    hunze_plan *blind = make_plan(context, NULL, NULL), *seen = make_plan(context, x, y),
               *odd = make_plan(context, large + 4, y), *half = make_plan(context, large + 8, y);
    check(blind->key_words == seen->key_words && memcmp(blind->key, seen->key, 8 * seen->key_words) == 0,
          "pointers at their best make another plan");
    check(odd != seen && odd->alignment[HUNZE_ROLE_A] == 4 && odd->alignment[HUNZE_ROLE_D] == 16, "alignment %d",
          odd->alignment[HUNZE_ROLE_A]);
    check(half->alignment[HUNZE_ROLE_A] == 8, "alignment %d", half->alignment[HUNZE_ROLE_A]);
    REFUSED(ALIGN, run_plan(seen, large + 4, y, NULL), "x is aligned to 4 bytes", "made for 16");
    REFUSED(ALIGN, run_plan(seen, x, large + 8, NULL), "y is aligned to 8 bytes", "made for 16");
    REFUSED(ALIGN, run_plan(half, large + 4, y, NULL), "x is aligned to 4 bytes", "made for 8");
    expect_floats(context, cuda0, NULL, y, false);
    OK(run_plan(odd, large + 4, y, NULL));
    expect_floats(context, cuda0, NULL, y, true);
    OK(run_plan(odd, x, y, NULL));                   /* better is right, too */
    OK(relu(context, cuda0, large + 4, y, N, NULL)); /* without a plan, the pointers say it */
    expect_floats(context, cuda0, NULL, y, true);
    const hunze_call call = {.struct_size = sizeof call,
                             .op = HUNZE_OP_ACTIVATION,
                             .a = floats(&from, cuda1, x, N),
                             .d = floats(&to, cuda1, y, N)};
    REFUSED(DEVICE, hunze_plan_run(seen, &call, NULL), "y lives on another device than when the plan was made");
    hunze_plan_release(blind);
    hunze_plan_release(seen);
    hunze_plan_release(odd);
    hunze_plan_release(half);
    hunze_context_release(context);
}

/* The same of ops whose kernels read as many bytes at once as operands are aligned to, with each operand once the worse one. */
enum { SIDE = 8, ELEMENTS = SIDE * SIDE, SIDE_BYTES = ELEMENTS * 4 };
typedef struct op_case {
    hunze_op op;
    hunze_type type; /* of the inputs */
    int worse;       /* bytes that the worse operands are aligned to */
    const char *found, *names[3];
} op_case;
static const op_case op_cases[] = {
    {HUNZE_OP_GEMM, HUNZE_TYPE_F32, 4, "aligned to 4 bytes", {"a is", "b is", "d is"}},
    {HUNZE_OP_GEMM, HUNZE_TYPE_BF16, 2, "aligned to 2 bytes", {"a is", "b is", "d is"}},
    {HUNZE_OP_CONV, HUNZE_TYPE_F32, 8, "aligned to 8 bytes", {"x is", "w is", "y is"}},
    {HUNZE_OP_QUANTIZE, HUNZE_TYPE_F32, 4, "aligned to 4 bytes", {"x is", "quant.scale is", "codes is"}},
};

typedef struct op_call {
    array operands[3];
    hunze_quant quant;
    hunze_quantize_options quantize;
    hunze_call call;
} op_call;

/* The second operand is the scale of quantize. */
static const hunze_call *make_call(op_call *c, const op_case *of, hunze_device device, void *const memory[3])
{
    static const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1}, bf16 = {HUNZE_BFLOAT, 16, 1}, u8 = {HUNZE_UINT, 8, 1};
    const int64_t extents[4] = {SIDE, SIDE, 1, 1};
    const bool quantizes = of->op == HUNZE_OP_QUANTIZE;
    const int ndim = of->op == HUNZE_OP_CONV ? 4 : 2;
    const hunze_dtype type = of->type == HUNZE_TYPE_BF16 ? bf16 : f32;
    *c = (op_call){.call = {.struct_size = sizeof c->call, .op = of->op}};
    c->call.a = view(&c->operands[0], device, type, memory[0], ndim, extents, NULL);
    const hunze_tensor *second = view(&c->operands[1], device, type, memory[1], quantizes ? 0 : ndim, extents, NULL);
    c->call.d = view(&c->operands[2], device, quantizes ? u8 : type, memory[2], ndim, extents, NULL);
    if (!quantizes) {
        c->call.b = second;
        return &c->call;
    }
    c->quant = (hunze_quant){.struct_size = sizeof c->quant, .scale = second};
    c->quantize = (hunze_quantize_options){.struct_size = sizeof c->quantize, .quant = &c->quant};
    c->call.options = &c->quantize;
    return &c->call;
}

static hunze_status call_once(hunze_context *context, const hunze_call *c)
{
    switch (c->op) {
    case HUNZE_OP_GEMM: return hunze_gemm(context, c->a, c->b, NULL, c->d, NULL, NULL);
    case HUNZE_OP_CONV: return hunze_conv(context, c->a, c->b, c->d, NULL, NULL);
    default: return hunze_quantize(context, c->a, c->d, c->options, NULL);
    }
}

static void copy_raw(hunze_context *context, hunze_device from, void *source, hunze_device to, void *target)
{
    array a, b;
    const hunze_dtype u8 = {HUNZE_UINT, 8, 1};
    const int64_t bytes = SIDE_BYTES;
    OK(hunze_copy(context, view(&a, from, u8, source, 1, &bytes, NULL), view(&b, to, u8, target, 1, &bytes, NULL),
                  NULL));
}

static void alignment_of_ops(void)
{
    hunze_context *context = new_context(NULL);
    for (size_t i = 0; i < sizeof op_cases / sizeof op_cases[0]; i++) {
        const op_case *of = &op_cases[i];
        char host[3][SIDE_BYTES], got[SIDE_BYTES];
        void *on_host[3], *best[3], *worse[3];
        op_call c;
        for (int o = 0; o < 3; o++) {
            for (int e = 0; e < ELEMENTS; e++) { /* small integers, whose sums every order has the same */
                const float value = o == 1 && of->op == HUNZE_OP_QUANTIZE ? 0.5F : (float)((e * 5 + o) % 7 - 2);
                uint32_t bits;
                memcpy(&bits, &value, 4);
                if (of->type == HUNZE_TYPE_BF16)
                    memcpy(host[o] + 2 * e, (const char *)&bits + 2, 2);
                else
                    memcpy(host[o] + 4 * e, &bits, 4);
            }
            on_host[o] = host[o];
            OK(hunze_memory_alloc(context, cuda0, SIDE_BYTES + 16, NULL, &best[o]));
            worse[o] = (char *)best[o] + of->worse;
            copy_raw(context, cpu, host[o], cuda0, worse[o]);
        }
        hunze_plan *plan = NULL, *other = NULL;
        OK(hunze_plan_create(context, make_call(&c, of, cuda0, best), &plan));
        for (int o = 0; o < 3; o++) {
            void *one[3] = {best[0], best[1], best[2]};
            one[o] = worse[o];
            REFUSED(ALIGN, hunze_plan_run(plan, make_call(&c, of, cuda0, one), NULL), of->names[o], of->found,
                    "made for 16");
        }
        copy_raw(context, cuda0, worse[2], cpu, got);
        check(memcmp(got, host[2], SIDE_BYTES) == 0, "a refused call wrote");

        OK(call_once(context, make_call(&c, of, cpu, on_host)));
        OK(call_once(context, make_call(&c, of, cuda0, worse)));
        copy_raw(context, cuda0, worse[2], cpu, got);
        check(memcmp(got, host[2], SIDE_BYTES) == 0, "op %d of type %d: another result", of->op, of->type);
        OK(hunze_plan_create(context, make_call(&c, of, cuda0, worse), &other));
        OK(hunze_plan_run(other, &c.call, NULL));
        hunze_plan_release(plan);
        hunze_plan_release(other);
    }
    const char *const kernels[] = {device_product(HUNZE_TYPE_BF16, HUNZE_ISA_CUDA_SM90A),
                                   device_product(HUNZE_TYPE_BF16, HUNZE_ISA_CUDA_SM80)};
    for (int late = 0; late < 2 && on_standin(); late++) { /* the pointers choose the kernel, too */
        const hunze_dtype bf16 = {HUNZE_BFLOAT, 16, 1};
        const int64_t extents[2] = {1024, 1024};
        array a, b, d;
        hunze_plan *plan = NULL;
        const hunze_call call = {.struct_size = sizeof call,
                                 .op = HUNZE_OP_GEMM,
                                 .a = view(&a, cuda0, bf16, (void *)(uintptr_t)(0x1000 + 8 * late), 2, extents, NULL),
                                 .b = view(&b, cuda0, bf16, NULL, 2, extents, NULL),
                                 .d = view(&d, cuda0, bf16, NULL, 2, extents, NULL)};
        OK(hunze_plan_create(context, &call, &plan));
        check(strcmp(hunze_plan_kernel(plan), kernels[late]) == 0, "%s", hunze_plan_kernel(plan));
        hunze_plan_release(plan);
    }
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ streams */

static void streams(void)
{
    hunze_context *context = new_context(NULL);
    void *stream = NULL, *far = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    OK(hunze_stream_create(context, cuda0, &stream));
    OK(hunze_stream_create(context, cuda1, &far));
    REFUSED(DEVICE, relu(context, cuda0, x, y, N, far), "the stream is of cuda:1", "the work is on cuda:0");
    OK(hunze_stream_destroy(context, cuda0, stream));
    REFUSED(DEVICE, relu(context, cuda0, x, y, N, stream), "destroyed");
    standin_check(standin_depth() == 0, "a context stays");

    /* Memory of one context and a stream of another, on the same device. */
    CUcontext own = NULL, popped;
    CUstream theirs = NULL;
    CUdeviceptr mine = 0;
    DRIVER_OK(DRIVER(cuCtxCreate, 12050)(&own, NULL, 0, 0));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&theirs, 0));
    DRIVER_OK(DRIVER(cuMemAlloc, 3020)(&mine, BYTES));
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&popped));
    REFUSED(DEVICE, relu(context, cuda0, x, (void *)mine, N, NULL), "y was allocated in another CUDA context");
    REFUSED(DEVICE, relu(context, cuda0, (void *)mine, y, N, NULL), "x was allocated in another CUDA context");
    OK(relu(context, cuda0, x, (void *)mine, N, theirs)); /* memory of pools is in all contexts */
    expect_floats(context, cuda0, theirs, (void *)mine, true);
    DRIVER_OK(DRIVER(cuCtxDestroy, 4000)(own));
    REFUSED(DEVICE, relu(context, cuda0, x, y, N, theirs), "the stream is none of this process");
    expect_floats(context, cuda0, NULL, y, false);
    standin_check(standin_depth() == 0, "a context stays");
    hunze_context_release(context);
}

/* A stream of a green context has some of the multiprocessors: grids are made for those, and memory is the primary context's. */
static void green_context(void)
{
    enum { MANY = 200000 };
    hunze_context *context = new_context(NULL);
    CUdevResource all, one;
    CUdevResourceDesc description = NULL;
    CUgreenCtx green = NULL;
    CUstream stream = NULL;
    unsigned groups = 1;
    hunze_emulator_counters counters = {0};
    float *x = malloc(MANY * sizeof *x), *y = malloc(MANY * sizeof *y);
    for (int i = 0; i < MANY; i++)
        x[i] = (float)(i % 7) - 3;
    DRIVER_OK(DRIVER(cuInit, 2000)(0));
    DRIVER_OK(DRIVER(cuDeviceGetDevResource, 12040)(0, &all, CU_DEV_RESOURCE_TYPE_SM));
    DRIVER_OK(DRIVER(cuDevSmResourceSplitByCount, 12040)(&one, &groups, &all, NULL, 0, 8));
    DRIVER_OK(DRIVER(cuDevResourceGenerateDesc, 12040)(&description, &one, 1));
    DRIVER_OK(DRIVER(cuGreenCtxCreate, 12040)(&green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    DRIVER_OK(DRIVER(cuGreenCtxStreamCreate, 12050)(&stream, green, CU_STREAM_NON_BLOCKING, 0));
    void *from = to_gpu(context, cuda0, stream, x, MANY), *to = to_gpu(context, cuda0, stream, x, MANY);
    OK(relu(context, cuda0, from, to, MANY, stream));
    from_gpu(context, cuda0, stream, to, y, MANY);
    for (int i = 0; i < MANY; i++)
        check(y[i] == (x[i] < 0 ? 0 : x[i]), "element %d is %g", i, (double)y[i]);
    ((__typeof__(&hunze_emulator_get_counters))standin_symbol("hunze_emulator_get_counters"))(
        "hunze_activation_f32_cuda", &counters);
    check(counters.blocks == (uint64_t)one.sm.smCount * 8, "%llu blocks for %u multiprocessors of %u",
          (unsigned long long)counters.blocks, one.sm.smCount, all.sm.smCount);
    standin_check(standin_depth() == 0, "a context stays");
    free(x);
    free(y);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ workspace */

static void workspace(void)
{
    hunze_context *context = new_context(NULL);
    char host[2048];
    char *block = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    hunze_plan *plan = make_plan(context, x, y);
    plan->workspace_bytes = 1024; /* as if its row asked for so much */
    check(hunze_plan_workspace(plan, 0) == 1024, "%zu bytes", hunze_plan_workspace(plan, 0));
    OK(hunze_memory_alloc(context, cuda0, 2048, NULL, (void **)&block));
    hunze_run run = {.struct_size = sizeof run, .workspace = block, .workspace_bytes = 1023};
    REFUSED(WORKSPACE, run_plan(plan, x, y, &run), "1023 bytes", "needs 1024");
    run.workspace_bytes = 1024;
    run.workspace = block + 64;
    REFUSED(ALIGN, run_plan(plan, x, y, &run), "hunze_run.workspace", "256");
    run.workspace = (void *)(((uintptr_t)host + 255) / 256 * 256);
    REFUSED(DEVICE, run_plan(plan, x, y, &run), "hunze_run.workspace is said to live on cuda:0");
    expect_floats(context, cuda0, NULL, y, false);
    run.workspace = block + 256;
    const uint64_t before = standin_count("cuMemAllocFromPoolAsync");
    OK(run_plan(plan, x, y, &run));
    standin_check(standin_count("cuMemAllocFromPoolAsync") == before,
                  "memory is allocated beside the caller's workspace");
    expect_floats(context, cuda0, NULL, y, true);
    OK(run_plan(plan, x, y, NULL));
    standin_check(standin_count("cuMemAllocFromPoolAsync") == before + 1 && standin_count("cuMemFreeAsync") == 1,
                  "the workspace is not given back");

    plan->workspace_bytes = (size_t)1 << 40;
    REFUSED(NOMEM, run_plan(plan, x, y, NULL), "1099511627776 bytes", "are free");
    standin_check(standin_depth() == 0, "a context stays");
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* The driver is asked about no pointer, of operands or workspace; what can be told without it is told. */
static void trusted_pointers(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_TRUST_POINTERS};
    hunze_context *trusting = new_context(&options), *asking = new_context(NULL);
    make_values();
    void *x = to_gpu(asking, cuda0, NULL, values, N), *y = to_gpu(asking, cuda0, NULL, old, N),
         *block = to_gpu(asking, cuda0, NULL, old, N);
    const hunze_run run = {.struct_size = sizeof run, .workspace = block, .workspace_bytes = 256};
    hunze_plan *plan = make_plan(trusting, x, y);
    plan->workspace_bytes = 256;
    REFUSED(NULL, relu(trusting, cuda0, NULL, y, N, NULL), "x");
    REFUSED(ALIGN, relu(trusting, cuda0, (char *)x + 2, y, N - 1, NULL), "x is not aligned");
    REFUSED(ALIAS, relu(trusting, cuda0, (char *)y + 4, y, N - 1, NULL), "y overlaps x");
    expect_floats(asking, cuda0, NULL, y, false);
    standin_failures("cuPointerGetAttributes:*:CUDA_ERROR_INVALID_VALUE");
    REFUSED(DRIVER, relu(asking, cuda0, x, y, N, NULL), "the pointer of y");
    const uint64_t asked = standin_count("cuPointerGetAttributes");
    OK(run_plan(plan, x, y, &run));
    OK(relu(trusting, cuda0, x, x, N, NULL));
    standin_check(standin_count("cuPointerGetAttributes") == asked, "the driver is asked about pointers");
    standin_failures("");
    expect_floats(asking, cuda0, NULL, y, true);
    expect_floats(asking, cuda0, NULL, x, true);
    hunze_plan_release(plan);
    hunze_context_release(trusting);
    hunze_context_release(asking);
}

/* Under HUNZE_WIPE nothing is left in a workspace, the caller's or the library's. */
static void wiped_workspace(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_WIPE};
    hunze_context *context = new_context(&options);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    void *block = to_gpu(context, cuda0, NULL, old, N);
    float result[N];
    hunze_plan *plan = make_plan(context, x, y);
    plan->workspace_bytes = 256;
    const hunze_run run = {.struct_size = sizeof run, .workspace = block, .workspace_bytes = BYTES};
    OK(run_plan(plan, x, y, &run));
    from_gpu(context, cuda0, NULL, block, result, N);
    check(result[0] == 0 && result[63] == 0 && result[64] == old[64], "%g, %g, %g are left", (double)result[0],
          (double)result[63], (double)result[64]);
    const uint64_t before = standin_count("cuMemsetD8Async");
    OK(run_plan(plan, x, y, NULL));
    standin_check(standin_count("cuMemsetD8Async") == before + 1, "the library's workspace is not wiped");
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ capture */

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

/* Where no stream is named, none is asked about: the per-thread one is none of a green context. */
static void no_stream_is_asked(void)
{
    hunze_context *context = new_context(NULL);
    void *stream = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    hunze_plan *plan = make_plan(context, x, y);
    standin_failures("cuStreamIsCapturing:*:CUDA_ERROR_INVALID_HANDLE");
    OK(hunze_plan_prepare(plan));
    OK(hunze_stream_create(context, cuda0, &stream));
    REFUSED(DEVICE, relu(context, cuda0, x, y, N, stream), "CUDA_ERROR_INVALID_HANDLE");
    standin_failures("");
    OK(hunze_stream_destroy(context, cuda0, stream));
    standin_check(standin_depth() == 0, "a context stays");
    hunze_plan_release(plan);
    hunze_context_release(context);
}

/* A context that its owner destroyed took with it what Hunze kept there. */
static void context_destroyed(void)
{
    hunze_context *context = new_context(NULL);
    hunze_meter *meter = NULL;
    CUcontext own = NULL, popped;
    CUstream stream = NULL;
    void *block = NULL;
    char *text = NULL;
    standin_only("promise about contexts that are destroyed");
    make_values();
    OK(hunze_memory_alloc(context, cuda0, 64, NULL, &block));
    DRIVER_OK(DRIVER(cuCtxCreate, 12050)(&own, NULL, 0, 0));
    DRIVER_OK(DRIVER(cuStreamCreate, 2000)(&stream, 0));
    DRIVER_OK(DRIVER(cuCtxPopCurrent, 4000)(&popped));
    void *x = to_gpu(context, cuda0, stream, values, N), *y = to_gpu(context, cuda0, stream, old, N);
    OK(hunze_meter_start(context, &meter));
    OK(relu(context, cuda0, x, y, N, stream));
    OK(hunze_memory_free(context, cuda0, x, BYTES, stream));
    OK(hunze_memory_alloc(context, pinned, BYTES, stream, &block));
    OK(hunze_memory_free(context, pinned, block, BYTES, stream));
    DRIVER_OK(DRIVER(cuCtxDestroy, 4000)(own));
    OK(hunze_meter_stop(meter, &text));
    check(atoi(json_member(text, "calls")) == 1, "%s", text);
    hunze_string_free(text);
    OK(hunze_memory_trim(context));
    x = to_gpu(context, cuda0, NULL, values, N);
    y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, x, y, N, NULL));
    expect_floats(context, cuda0, NULL, y, true);
    hunze_context_release(context);
}

/* Where a device reaches all memory of the process, an operand may lie anywhere. */
static void memory_of_the_process(void)
{
    hunze_context *context = new_context(NULL);
    static float host[N];
    make_values();
    memcpy(host, values, BYTES);
    void *y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, host, y, N, NULL));
    expect_floats(context, cuda0, NULL, y, true);
    OK(relu(context, cuda0, host, host, N, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    check(host[0] == 0 && host[6] == 3, "%g, %g", (double)host[0], (double)host[6]);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ faults */

static void fault_of_earlier_work(void)
{
    hunze_context *context = new_context(NULL);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N), *pointer = x;
    float host[N], on_host[N];
    memcpy(host, values, BYTES);
    OK(relu(context, cuda0, x, y, N, NULL));
    OK(hunze_stream_synchronize(context, cuda0, NULL));
    standin_failures("cuLaunchKernelEx:1:CUDA_ERROR_ILLEGAL_ADDRESS");
    OK(relu(context, cuda0, x, y, N, NULL)); /* given to the stream; it goes wrong there */
    REFUSED(FAULT, hunze_stream_synchronize(context, cuda0, NULL), "earlier work", "CUDA_ERROR_ILLEGAL_ADDRESS",
            "restart");
    REFUSED(FAULT, relu(context, cuda0, x, y, N, NULL), "earlier work", "CUDA_ERROR_ILLEGAL_ADDRESS");
    REFUSED(FAULT, hunze_memory_alloc(context, cuda0, 64, NULL, &pointer), "earlier work");
    check(pointer == NULL && standin_depth() == 0, "something stays");
    OK(relu(context, cpu, host, on_host, N, NULL));
    check(on_host[6] == 3, "the CPU computes %g", (double)on_host[6]);
    hunze_context_release(context);
}

/* What is said of devices and services that others hold. */
static void device_of_another_process(void)
{
    hunze_context *context = new_context(NULL);
    void *pointer = NULL;
    standin_failures("cuDevicePrimaryCtxRetain:1:CUDA_ERROR_DEVICE_UNAVAILABLE");
    REFUSED(DRIVER, hunze_memory_alloc(context, cuda0, 64, NULL, &pointer), "the context of cuda:0", "exclusive",
            "CUDA_ERROR_DEVICE_UNAVAILABLE");
    OK(hunze_memory_alloc(context, cuda0, 64, NULL, &pointer));
    hunze_context_release(context);
}

static void end_of_the_server(void)
{
    hunze_context *context = new_context(NULL);
    void *pointer = NULL;
    OK(hunze_memory_alloc(context, cuda0, 64, NULL, &pointer));
    standin_failures("cuStreamSynchronize:1:CUDA_ERROR_MPS_CLIENT_TERMINATED");
    REFUSED(FAULT, hunze_stream_synchronize(context, cuda0, NULL), "CUDA_ERROR_MPS_CLIENT_TERMINATED", "restart");
    hunze_context_release(context);
}

/* What a launch reports by itself. */
static void launch_refused(void)
{
    static const struct {
        const char *failure, *word;
        hunze_status status;
    } refusals[] = {
        {"cuLaunchKernelEx:1:CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel for this device", HUNZE_ERR_UNSUPPORTED},
        {"cuLaunchKernelEx:1:CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "R580", HUNZE_ERR_DRIVER},
        {"cuLaunchKernelEx:1:CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_OUT_OF_MEMORY", HUNZE_ERR_NOMEM},
        {"cuLaunchKernelEx:1:CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "libnvidia-ptxjitcompiler", HUNZE_ERR_DRIVER},
        {"cuLaunchKernelEx:1:CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources", HUNZE_ERR_DRIVER},
        {"cuPointerGetAttributes:1:CUDA_ERROR_INVALID_VALUE", "the pointer of", HUNZE_ERR_DRIVER},
    };
    hunze_context *context = new_context(NULL);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        standin_failures(refusals[i].failure);
        const hunze_status status = relu(context, cuda0, x, y, N, NULL);
        check(status == refusals[i].status && strstr(hunze_last_error(), refusals[i].word), "%s: %s (%s)",
              refusals[i].failure, hunze_status_name(status), hunze_last_error());
        expect_floats(context, cuda0, NULL, y, false);
    }
    OK(relu(context, cuda0, x, y, N, NULL));
    expect_floats(context, cuda0, NULL, y, true);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ traces and meters */

static struct {
    int records;
    hunze_trace_record last;
    char line[1024];
} traced;

static void trace(void *user, const hunze_trace_record *record)
{
    (void)user;
    traced.records++;
    traced.last = *record;
    snprintf(traced.line, sizeof traced.line, "%s", record->line);
}

static void traces(void)
{
    const hunze_context_options options = {.struct_size = sizeof options, .trace = trace};
    hunze_context *context = new_context(&options);
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, x, y, N, NULL));
    check(traced.records == 1 && traced.last.nanoseconds > 0 && traced.last.operations == N &&
              traced.last.bytes == 2 * BYTES && strstr(traced.line, "activation y=f32:100 x=f32:100"),
          "%d records, %llu ns: %s", traced.records, (unsigned long long)traced.last.nanoseconds, traced.line);
    standin_check(standin_count("cuEventCreate") == 2 && standin_count("cuEventDestroy") == 2, "events stay");
    hunze_context_release(context);
}

/* Seconds come late: the call does not wait, the meter's end does. */
static void meters(void)
{
    hunze_context *context = new_context(NULL);
    hunze_meter *meter = NULL;
    char *text = NULL;
    make_values();
    void *x = to_gpu(context, cuda0, NULL, values, N), *y = to_gpu(context, cuda0, NULL, old, N);
    OK(relu(context, cuda0, x, y, N, NULL));
    standin_check(standin_count("cuEventCreate") == 0, "a call that nobody asked about is timed");
    OK(hunze_meter_start(context, &meter));
    const uint64_t waits = standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize"); /* of copies */
    for (int i = 0; i < 5; i++)
        OK(relu(context, cuda0, x, y, N, NULL));
    standin_check(standin_count("cuEventSynchronize") + standin_count("cuStreamSynchronize") == waits,
                  "a metered call waits: %llu events, %llu streams of %llu",
                  (unsigned long long)standin_count("cuEventSynchronize"),
                  (unsigned long long)standin_count("cuStreamSynchronize"), (unsigned long long)waits);
    OK(hunze_meter_stop(meter, &text));
    check(json_is_valid(text) && atoi(json_member(text, "calls")) == 5 &&
              atoi(json_member(text, "operations")) == 5 * N && atof(json_member(text, "seconds_in_calls")) > 0,
          "%s", text);
    hunze_string_free(text);
    standin_check(standin_count("cuEventCreate") == 10 && standin_count("cuEventDestroy") == 10, "events stay");
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ each call of the driver fails once */

static hunze_status try_all(hunze_context *context)
{
    float result[N];
    void *stream = NULL, *x = NULL, *y = NULL, *block = NULL, *event = NULL;
    hunze_meter *meter = NULL;
    char *text = NULL;
    array a, b;
    const int64_t rows[2] = {10, 10}, transposed[2] = {1, 10};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    hunze_status status = hunze_stream_create(context, cuda0, &stream);
    if (status)
        return status;
    const hunze_run run = {.struct_size = sizeof run, .stream = stream};
    hunze_plan *plan = NULL;
    status = hunze_memory_alloc(context, cuda0, BYTES, stream, &x);
    if (status == HUNZE_OK)
        status = hunze_memory_alloc(context, cuda0, BYTES, stream, &y);
    if (status == HUNZE_OK)
        status = hunze_memory_alloc(context, pinned, BYTES, stream, &block);
    if (status == HUNZE_OK)
        status = hunze_copy(context, view(&a, cpu, f32, values, 2, rows, transposed),
                            view(&b, cuda0, f32, x, 2, rows, NULL), &run);
    if (status == HUNZE_OK) {
        plan = make_plan(context, x, y);
        plan->workspace_bytes = 512;
        status = hunze_plan_prepare(plan);
    }
    if (status == HUNZE_OK)
        status = hunze_meter_start(context, &meter);
    if (status == HUNZE_OK)
        status = run_plan(plan, x, y, &run);
    if (status == HUNZE_OK)
        status = hunze_stream_wait(context, cuda0, NULL, stream);
    if (status == HUNZE_OK)
        status = hunze_event_record(context, cuda0, stream, &event);
    for (int32_t over = 0; status == HUNZE_OK && !over;)
        status = hunze_event_query(context, cuda0, event, &over);
    if (status == HUNZE_OK)
        status = hunze_copy(context, view(&a, cuda0, f32, y, 2, rows, NULL),
                            view(&b, cpu, f32, result, 2, rows, transposed), &run);
    if (status == HUNZE_OK)
        for (int i = 0; i < N; i++)
            check(result[i] == (values[i] < 0 ? 0 : values[i]), "element %d is %g", i, (double)result[i]);
    hunze_plan_release(plan);
    const hunze_status freed[] = {event ? hunze_event_destroy(context, cuda0, event) : HUNZE_OK,
                                  hunze_memory_free(context, cuda0, x, BYTES, stream),
                                  hunze_memory_free(context, cuda0, y, BYTES, stream),
                                  hunze_memory_free(context, pinned, block, BYTES, stream),
                                  hunze_stream_synchronize(context, cuda0, stream),
                                  hunze_stream_destroy(context, cuda0, stream)};
    if (meter && hunze_meter_stop(meter, &text) == HUNZE_OK)
        hunze_string_free(text);
    for (size_t i = 0; i < sizeof freed / sizeof freed[0]; i++)
        status = status ? status : freed[i];
    return status;
}

/* Nothing is held that was not before: each kind of thing was given back as often as it was taken, but for the call that failed. */
static void expect_balance(const char *failed)
{
    static const char *const pairs[][2] = {
        {"cuEventCreate", "cuEventDestroy"},     {"cuMemHostAlloc", "cuMemFreeHost"},
        {"cuMemPoolCreate", "cuMemPoolDestroy"}, {"cuStreamCreate", "cuStreamDestroy"},
        {"cuCtxPushCurrent", "cuCtxPopCurrent"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const bool failing = strcmp(failed, pairs[i][0]) == 0;
        const uint64_t taken = standin_count(pairs[i][0]), given = standin_count(pairs[i][1]);
        check(taken == given + failing || (strcmp(failed, pairs[i][1]) == 0 && taken <= given),
              "%s %llu times, %s %llu", pairs[i][0], (unsigned long long)taken, pairs[i][1], (unsigned long long)given);
    }
    standin_check(standin_depth() == 0, "a context stays current");
    CUcontext primary = NULL;
    DRIVER_OK(DRIVER(cuDevicePrimaryCtxRetain, 7000)(&primary, 0));
    DRIVER_OK(DRIVER(cuCtxPushCurrent, 4000)(primary));
    size_t free = 0, total = 0;
    DRIVER_OK(DRIVER(cuMemGetInfo, 3020)(&free, &total));
    check(free == total, "%zu bytes of the device are held", total - free);
}

static void fail_once(const char *function, int call)
{
    char failures[96];
    snprintf(failures, sizeof failures, "%s:%d:CUDA_ERROR_NOT_PERMITTED", function, call);
    setenv("HUNZE_FAKE_CUDA_FAIL", failures, 1);
    hunze_context *context = new_context(NULL);
    const hunze_status status = try_all(context);
    check(status == HUNZE_OK || hunze_last_error()[0], "%s without a sentence", hunze_status_name(status));
    check(status == HUNZE_OK || status == HUNZE_ERR_DRIVER || status == HUNZE_ERR_DEVICE || status == HUNZE_ERR_NOMEM,
          "%s: %s", hunze_status_name(status), hunze_last_error());
    char *text = NULL;
    OK(hunze_devices(context, &text));
    const bool open = strncmp(json_member(text, "driver"), "null", 4) != 0;
    hunze_string_free(text);
    const bool failed = standin_count(function) >= (uint64_t)call;
    if (open && failed) /* once more, and nothing is in the way */
        OK(try_all(context));
    hunze_context_release(context);
    if (open)
        expect_balance(failed ? function : "");
}

static const char *const functions[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetProcAddress",
    "cuCtxGetCurrent",
    "cuCtxGetDevice",
    "cuCtxPushCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceTotalMem",
    "cuDevicePrimaryCtxRetain",
    "cuEventCreate",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncLoad",
    "cuKernelGetFunction",
    "cuKernelSetAttribute",
    "cuLaunchKernelEx",
    "cuLibraryGetKernel",
    "cuLibraryLoadData",
    "cuMemAlloc",
    "cuMemAllocFromPoolAsync",
    "cuMemFreeAsync",
    "cuMemHostAlloc",
    "cuMemPoolCreate",
    "cuMemPoolSetAttribute",
    "cuMemcpyAsync",
    "cuPointerGetAttributes",
    "cuStreamCreate",
    "cuStreamGetCtx",
    "cuStreamIsCapturing",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuThreadExchangeStreamCaptureMode",
};

static void each_call_fails_once(void)
{
    int tried = 0;
    standin_only("failures on demand");
    make_values();
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++)
        for (int call = 1; call <= 6; call++) {
            if (call > 1 && strcmp(functions[f], "cuDevicePrimaryCtxRetain") == 0)
                break; /* the others are the test's own */
            fflush(NULL);
            const pid_t child = fork();
            if (child == 0) {
                fail_once(functions[f], call);
                /* 2: there was no such call, so no later one either */
                _exit(standin_count(functions[f]) < (uint64_t)call ? 2 : 0);
            }
            int status = 0;
            check(waitpid(child, &status, 0) == child, "waitpid");
            check(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2), "call %d of %s fails",
                  call, functions[f]);
            tried += WEXITSTATUS(status) == 0;
            if (WEXITSTATUS(status) == 2)
                break;
        }
    check(tried > 60, "only %d calls were there", tried);
}

static const cuda_case cases[] = {
    {"operands", operands, "devices=2", NULL},
    {"alignment", alignment, "devices=2", NULL},
    {"alignment_of_ops", alignment_of_ops, NULL, NULL},
    {"streams", streams, "devices=2", NULL},
    {"green_context", green_context, "sms=12", NULL},
    {"workspace", workspace, NULL, NULL},
    {"trusted_pointers", trusted_pointers, NULL, NULL},
    {"wiped_workspace", wiped_workspace, NULL, NULL},
    {"capture", capture, NULL, NULL},
    {"capture_elsewhere", capture_elsewhere, NULL, NULL},
    {"capture_elsewhere_without_pools", capture_elsewhere, "pools=0", NULL},
    {"capture_elsewhere_on_another_device", capture_elsewhere_on_another_device, "devices=2", NULL},
    {"no_stream_is_asked", no_stream_is_asked, NULL, NULL},
    {"context_destroyed", context_destroyed, NULL, NULL},
    {"context_destroyed_without_pools", context_destroyed, "pools=0", NULL},
    {"memory_of_the_process", memory_of_the_process, "pageable=1", NULL},
    {"fault_of_earlier_work", fault_of_earlier_work, NULL, NULL},
    {"end_of_the_server", end_of_the_server, NULL, NULL},
    {"device_of_another_process", device_of_another_process, NULL, NULL},
    {"launch_refused", launch_refused, NULL, NULL},
    {"traces", traces, NULL, NULL},
    {"meters", meters, NULL, NULL},
    {"each_call_fails_once", each_call_fails_once, NULL, NULL},
    {"each_call_fails_once_without_pools", each_call_fails_once, "pools=0", NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
