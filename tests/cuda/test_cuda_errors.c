/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on a device: every mistake, and every fault of the driver's, has its status and its sentence and leaves the output alone. */
#include "device_row.h"
#include "json.h"
#include "relu_case.h"

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

/* ------------------------------------------------------------------ contexts and memory of others */

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

static const cuda_case cases[] = {
    {"operands", operands, "devices=2", NULL},
    {"alignment", alignment, "devices=2", NULL},
    {"alignment_of_ops", alignment_of_ops, NULL, NULL},
    {"streams", streams, "devices=2", NULL},
    {"green_context", green_context, "sms=12", NULL},
    {"workspace", workspace, NULL, NULL},
    {"trusted_pointers", trusted_pointers, NULL, NULL},
    {"wiped_workspace", wiped_workspace, NULL, NULL},
    {"no_stream_is_asked", no_stream_is_asked, NULL, NULL},
    {"context_destroyed", context_destroyed, NULL, NULL},
    {"context_destroyed_without_pools", context_destroyed, "pools=0", NULL},
    {"memory_of_the_process", memory_of_the_process, "pageable=1", NULL},
    {"fault_of_earlier_work", fault_of_earlier_work, NULL, NULL},
    {"end_of_the_server", end_of_the_server, NULL, NULL},
    {"device_of_another_process", device_of_another_process, NULL, NULL},
    {"launch_refused", launch_refused, NULL, NULL},
};

int main(int argc, char **argv) { return cuda_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]); }
