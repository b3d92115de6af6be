/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: the cache is bounded and each context's own, a plan runs again and again without an allocation, refuses other calls, and explains
 * itself in JSON; a line of a trace says the call and fits whatever it is. */
#include "allocations.h"
#include "json.h"

static hunze_context *plain;
static example examples[EXAMPLES];
static answer answers[EXAMPLES];

static int make_examples(void **state)
{
    (void)state;
    plain = make_all("plans", SMALL, examples, answers);
    return 0;
}

static int drop_examples(void **state)
{
    (void)state;
    return drop_all(plain, examples, answers);
}

static bool has_plans(int kind) { return specs[kind].op != HUNZE_OP_PACK; }

/* A product with rows of its own number. */
static void multiply(hunze_context *context, int64_t m)
{
    enum { MOST = 2000 };
    static float a[MOST * 2], b[2], d[MOST];
    const hunze_device cpu = {HUNZE_DEVICE_CPU, 0};
    int64_t a_shape[] = {m, 2}, b_shape[] = {2, 1}, d_shape[] = {m, 1};
    const hunze_tensor ta = {a, cpu, 2, dtype_of(HUNZE_TYPE_F32), a_shape, NULL, 0},
                       tb = {b, cpu, 2, dtype_of(HUNZE_TYPE_F32), b_shape, NULL, 0},
                       td = {d, cpu, 2, dtype_of(HUNZE_TYPE_F32), d_shape, NULL, 0};
    assert_true(m <= MOST);
    assert_int_equal(hunze_gemm(context, &ta, &tb, NULL, &td, NULL, NULL), HUNZE_OK);
}

static void the_cache_is_bounded(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4, 5, 64, 256, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        allocations a = {0}, b = {0};
        hunze_context *context = counted_context(&a, (hunze_context_options){.plan_cache = sizes[i], .threads = 1}),
                      *other = counted_context(&b, (hunze_context_options){.plan_cache = sizes[i], .threads = 1});
        const int before = a.live, other_calls = b.calls;
        int32_t room = 4; /* sets of four, a power of two of them */
        while (room < (sizes[i] ? sizes[i] : 256))
            room *= 2;
        harness_case("plan_cache %d", sizes[i]);
        multiply(context, 1);
        const int calls = a.calls;
        multiply(context, 1);
        harness_check(a.calls == calls, "the same call again allocates");
        for (int64_t m = 1; m <= 2000; m++)
            multiply(context, m);
        /* Beyond the cache: scratch, and a replaced plan that a flight still names. */
        harness_check(a.live - before <= room + 3, "%d plans are kept, for %d there is room", a.live - before, room);
        harness_check(a.live - before >= (room < 2000 ? room * 9 / 10 : 1), "only %d plans are kept of %d",
                      a.live - before, room);
        harness_check(b.calls == other_calls, "another context's cache was used");
        multiply(other, 1);
        harness_check(b.calls > other_calls, "another context's plan was used");
        hunze_context_release(context);
        hunze_context_release(other);
        harness_check(a.live == 0 && b.live == 0, "%d and %d blocks were not given back", a.live, b.live);
    }
}

static void a_plan_runs_without_allocation(void **state)
{
    (void)state;
    allocations a = {0};
    hunze_context *context = counted_context(&a, (hunze_context_options){.threads = 1});
    for (int kind = 0; kind < EXAMPLES; kind++) {
        hunze_plan *plan = NULL;
        if (!has_plans(kind))
            continue;
        harness_case("%s", specs[kind].name);
        assert_int_equal(hunze_plan_create(context, &examples[kind].call, &plan), HUNZE_OK);
        assert_int_equal(hunze_plan_run(plan, &examples[kind].call, NULL), HUNZE_OK);
        const int calls = a.calls, library = library_allocations;
        for (int turn = 0; turn < 50; turn++) {
            poison_output(&examples[kind]);
            harness_check(hunze_plan_run(plan, &examples[kind].call, NULL) == HUNZE_OK, "%s", hunze_last_error());
            harness_check(outputs_are(&examples[kind], &answers[kind]), "other bits than the call");
        }
        harness_check(a.calls == calls && library_allocations == library, "%d and %d allocations", a.calls - calls,
                      library_allocations - library);
        hunze_plan_release(plan);
    }
    hunze_context_release(context);
    harness_check(a.live == 0, "%d blocks were not given back", a.live);
}

/* A plan is made once, whether a call or a plan comes first, and lives as long as its last reference. */
static void plans_are_shared_and_keep_their_context(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++) {
        allocations a = {0};
        hunze_context *context = counted_context(&a, (hunze_context_options){.threads = 1});
        hunze_plan *first = NULL, *second = NULL;
        if (has_plans(kind)) {
            harness_case("%s", specs[kind].name);
            assert_int_equal(run_example(context, &examples[kind], NULL), HUNZE_OK);
            const int calls = a.calls;
            assert_int_equal(hunze_plan_create(context, &examples[kind].call, &first), HUNZE_OK);
            assert_int_equal(hunze_plan_create(context, &examples[kind].call, &second), HUNZE_OK);
            harness_check(first == second && a.calls == calls, "the call's plan was made again");
        }
        hunze_context_release(context);
        hunze_plan_release(first);
        if (second) {
            poison_output(&examples[kind]);
            harness_check(hunze_plan_run(second, &examples[kind].call, NULL) == HUNZE_OK &&
                              outputs_are(&examples[kind], &answers[kind]),
                          "the plan does not run without its context's first reference");
            hunze_plan_release(second);
        }
        harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
    }
}

/* ------------------------------------------------------------------ calls that are not the plan's */

static void expect_mismatch(const hunze_plan *plan, example *e, hunze_status wanted, const char *what)
{
    poison_output(e);
    answer before = copy_outputs(e);
    const hunze_status status = hunze_plan_run(plan, &e->call, NULL);
    harness_check(status == wanted, "%s: %s (%s), not %s", what, hunze_status_name(status), hunze_last_error(),
                  hunze_status_name(wanted));
    harness_check(outputs_are(e, &before), "%s: an output changed", what);
    drop_answer(&before);
}

static void calls_of_another_plan(void **state)
{
    (void)state;
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int other = 0; other < EXAMPLES; other++) {
            hunze_plan *plan;
            if (!has_plans(kind) || !has_plans(other) || kind == other)
                continue;
            harness_case("%s brought to the plan of %s", specs[other].name, specs[kind].name);
            assert_int_equal(hunze_plan_create(plain, &examples[kind].call, &plan), HUNZE_OK);
            poison_output(&examples[other]);
            answer before = copy_outputs(&examples[other]);
            const hunze_status status = hunze_plan_run(plan, &examples[other].call, NULL);
            harness_check(status == HUNZE_ERR_OPTION || (specs[kind].op == specs[other].op &&
                                                         (status == HUNZE_ERR_SHAPE || status == HUNZE_ERR_DTYPE)),
                          "%s", hunze_status_name(status));
            harness_check(outputs_are(&examples[other], &before), "an output changed");
            drop_answer(&before);
            hunze_plan_release(plan);
        }
    for (int kind = 0; kind < EXAMPLES; kind++) {
        hunze_plan *plan;
        example e;
        if (!has_plans(kind))
            continue;
        assert_int_equal(hunze_plan_create(plain, &examples[kind].call, &plan), HUNZE_OK);
        make_example(&e, kind, SMALL, plain);
        harness_case("%s", specs[kind].name);
        e.shape[HUNZE_ROLE_A][0]++;
        expect_mismatch(plan, &e, HUNZE_ERR_SHAPE, "another shape");
        e.shape[HUNZE_ROLE_A][0]--;
        e.strides[HUNZE_ROLE_A][0] += 8;
        expect_mismatch(plan, &e, HUNZE_ERR_STRIDE, "another stride");
        e.tensor[HUNZE_ROLE_A].strides = NULL;
        expect_mismatch(plan, &e, HUNZE_ERR_STRIDE, "no strides");
        e.tensor[HUNZE_ROLE_A].strides = e.strides[HUNZE_ROLE_A];
        e.strides[HUNZE_ROLE_A][0] -= 8;
        e.tensor[HUNZE_ROLE_A].dtype = (hunze_dtype){HUNZE_BOOL, 8, 1};
        expect_mismatch(plan, &e, HUNZE_ERR_DTYPE, "another dtype");
        e.tensor[HUNZE_ROLE_A].dtype = dtype_of(specs[kind].a);
        e.options.any.flags = HUNZE_REPRODUCIBLE;
        expect_mismatch(plan, &e, HUNZE_ERR_OPTION, "another flag");
        drop_example(&e);
        hunze_plan_release(plan);
    }
}

/* ------------------------------------------------------------------ small products in turn
 * A call is compared with the plan that ran last.  Here it differs from that in one thing, and its result shows which plan it got. */

enum { SIDE = 3, WIDE = 5, TENSORS = HUNZE_ROLE_C + 1, HAS_C = TENSORS, TRANSPOSE_A, TRANSPOSE_B, CHOICES };
/* How a tensor lies: strides NULL; row-major; rows WIDE apart; the same with two leading axes of 1. */
enum { NO_STRIDES, STRIDES, GAPS, LEADING, LEADING_NO_STRIDES = LEADING, LEADING_STRIDES, LEADING_GAPS, FORMS };

static int64_t row_of(const int *choice, int role)
{
    return choice[role] == GAPS || choice[role] == LEADING_GAPS ? WIDE : SIDE;
}

static void check_small_product(const int *choice, float (*data)[SIDE * WIDE])
{
    const float *a = data[HUNZE_ROLE_A], *b = data[HUNZE_ROLE_B], *c = data[HUNZE_ROLE_C], *d = data[HUNZE_ROLE_D];
    const int64_t a_row = row_of(choice, HUNZE_ROLE_A), b_row = row_of(choice, HUNZE_ROLE_B);
    for (int64_t i = 0; i < SIDE; i++)
        for (int64_t j = 0; j < SIDE; j++) {
            float sum = choice[HAS_C] ? 2 * c[i * row_of(choice, HUNZE_ROLE_C) + j] : 0;
            for (int64_t p = 0; p < SIDE; p++)
                sum += a[choice[TRANSPOSE_A] ? p * a_row + i : i * a_row + p] *
                       b[choice[TRANSPOSE_B] ? j * b_row + p : p * b_row + j];
            const float got = d[i * row_of(choice, HUNZE_ROLE_D) + j];
            harness_check(got == sum, "d[%lld,%lld] is %g, not %g", (long long)i, (long long)j, (double)got,
                          (double)sum);
        }
}

static void small_calls_get_their_own_plans(void **state)
{
    (void)state;
    static float data[TENSORS][SIDE * WIDE], untouched[SIDE * WIDE];
    harness_rng rng = {0x2545F4914F6CDD1D};
    hunze_plan *plan = NULL;
    int choice[CHOICES] = {0};
    for (int role = HUNZE_ROLE_A; role <= HUNZE_ROLE_C; role++)
        for (int i = 0; i < SIDE * WIDE; i++)
            data[role][i] = (float)harness_between(&rng, -9, 9);
    memset(untouched, 0x55, sizeof untouched);
    for (int turn = 0; turn < 2000; turn++) {
        const int changed = (int)harness_between(&rng, 0, CHOICES - 1), before = choice[changed];
        choice[changed] = (int)harness_between(&rng, 0, changed < TENSORS ? FORMS - 1 : 1);
        const bool same = choice[changed] == before || (changed == HUNZE_ROLE_C && !choice[HAS_C]);
        int64_t shape[TENSORS][4] = {{0}}, strides[TENSORS][4] = {{0}};
        hunze_tensor tensor[TENSORS];
        for (int role = 0; role < TENSORS; role++) {
            const int form = choice[role], first = form >= LEADING ? 2 : 0;
            shape[role][0] = shape[role][1] = strides[role][0] = strides[role][1] = 1;
            shape[role][first] = shape[role][first + 1] = SIDE;
            strides[role][first] = row_of(choice, role);
            strides[role][first + 1] = 1;
            tensor[role] = (hunze_tensor){.data = data[role],
                                          .device = {HUNZE_DEVICE_CPU, 0},
                                          .ndim = first + 2,
                                          .dtype = dtype_of(HUNZE_TYPE_F32),
                                          .shape = shape[role]};
            if (form != NO_STRIDES && form != LEADING_NO_STRIDES)
                tensor[role].strides = strides[role];
        }
        const double beta = 2;
        const hunze_gemm_options options = {.struct_size = sizeof options,
                                            .beta = choice[HAS_C] ? &beta : NULL,
                                            .transpose_a = (uint32_t)choice[TRANSPOSE_A],
                                            .transpose_b = (uint32_t)choice[TRANSPOSE_B]};
        const hunze_tensor *c = choice[HAS_C] ? &tensor[HUNZE_ROLE_C] : NULL;
        const hunze_call call = {sizeof call,           HUNZE_OP_GEMM, &tensor[HUNZE_ROLE_A], &tensor[HUNZE_ROLE_B], c,
                                 &tensor[HUNZE_ROLE_D], &options};
        harness_case("turn %d, %d changes", turn, changed);
        /* D has as many leading axes as another operand. */
        const int most = choice[HUNZE_ROLE_A] >= LEADING || choice[HUNZE_ROLE_B] >= LEADING || (c && c->ndim > 2);
        if (most && choice[HUNZE_ROLE_D] < LEADING) {
            choice[changed] = before;
            continue;
        }
        if (plan) {
            memcpy(data[HUNZE_ROLE_D], untouched, sizeof untouched);
            const hunze_status status = hunze_plan_run(plan, &call, NULL);
            harness_check((status == HUNZE_OK) == same, "the plan before: %s, %s", hunze_status_name(status),
                          hunze_last_error());
            if (same)
                check_small_product(choice, data);
            else
                harness_check(memcmp(data[HUNZE_ROLE_D], untouched, sizeof untouched) == 0, "D changed");
            hunze_plan_release(plan);
        }
        const hunze_status status = hunze_gemm(plain, call.a, call.b, call.c, call.d, &options, NULL);
        harness_check(status == HUNZE_OK, "%s", hunze_last_error());
        check_small_product(choice, data);
        assert_int_equal(hunze_plan_create(plain, &call, &plan), HUNZE_OK);
    }
    hunze_plan_release(plan);
}

/* ------------------------------------------------------------------ what a plan tells */

static void plans_explain_themselves(void **state)
{
    (void)state;
    static const char *const members[] = {
        "op",           "kernel",     "isa",   "order",   "dtypes",          "why",     "shape",  "packed",
        "reproducible", "operations", "bytes", "threads", "workspace_bytes", "refused", "driver", "cycles"};
    for (int kind = 0; kind < EXAMPLES; kind++)
        for (int reproducible = 0; has_plans(kind) && reproducible < 2; reproducible++) {
            hunze_plan *plan;
            char *text = NULL;
            example e;
            make_example(&e, kind, LARGE, plain);
            e.options.any.flags = reproducible ? HUNZE_REPRODUCIBLE : 0;
            assert_int_equal(hunze_plan_create(plain, &e.call, &plan), HUNZE_OK);
            assert_int_equal(hunze_plan_explain(plan, &text), HUNZE_OK);
            harness_case("%s: %s", specs[kind].name, text);
            harness_check(json_is_valid(text), "no JSON");
            for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
                harness_check(json_member(text, members[i]), "%s is not there", members[i]);
            harness_check(json_says(text, "kernel", hunze_plan_kernel(plan)),
                          "another kernel than hunze_plan_kernel's");
            harness_check(strtoull(json_member(text, "workspace_bytes"), NULL, 10) == hunze_plan_workspace(plan, 0),
                          "another workspace than hunze_plan_workspace's");
            harness_check(strncmp(json_member(text, "reproducible"), reproducible ? "true" : "false", 4) == 0,
                          "reproducible");
            harness_check(strncmp(json_member(text, "packed"), specs[kind].with & PACKED ? "true" : "false", 4) == 0,
                          "packed");
            /* Each other row that serves the op stands among the refused ones, with a reason. */
            const char *at = json_member(text, "refused");
            int rows = 0;
            for (at = json_space(at + 1); *at == '{'; rows++) {
                harness_check(json_member(at, "kernel") && json_member(at, "isa") && json_member(at, "why"),
                              "a refused row says too little");
                at = json_space(json_value(at));
                at = json_space(at + (*at == ','));
            }
            harness_check(rows > 0, "no row is refused");
            hunze_string_free(text);
            hunze_plan_release(plan);
            drop_example(&e);
        }
    char *info = NULL;
    harness_case("info");
    assert_int_equal(hunze_context_info(plain, &info), HUNZE_OK);
    harness_check(json_is_valid(info) && json_member(info, "kernels") && json_member(info, "providers") &&
                      json_says(info, "version", HUNZE_VERSION),
                  "%s", info);
    hunze_string_free(info);
}

static char traced[4096];

static void keep_line(void *user, const hunze_trace_record *record)
{
    (void)user;
    snprintf(traced, sizeof traced, "%s", record->line);
}

/* Each example's line, but for the kernel: everything that another call needs to be the same. */
static void lines_say_the_call(void **state)
{
    (void)state;
    static const char *const lines[EXAMPLES] = {
        "gemm d=f32:5x9 a=f32:5x7 b=f32:7x9 c=f32:5x9 bias=f32:9 residual=f32:5x9 alpha=0.5 beta=-2 activation=1",
        "gemm d=f64:4x6 a=f64:4x3 b=f64:3x6 c=f64:4x6 bias=f64:6 residual=f64:4x6 alpha=0.5 beta=-2 activation=1",
        "gemm d=bf16:5x9 a=bf16:5x7 b=bf16:7x9 c=bf16:5x9 bias=bf16:9 residual=bf16:5x9 alpha=0.5 beta=-2 activation=1",
        "gemm d=f16:5x9 a=f16:5x7 b=packed-f16:7x9 bias=f16:9 residual=f16:5x9 alpha=0.5 activation=1",
        "gemm d=f32:5x9 a=f32:5x7 b=packed-f32:7x9 bias=f32:9 alpha=0.5 activation=1",
        "gemm d=s16:5x9 a=s16:5x7 b=s16:7x9 c=s16:5x9 bias=s16:9 residual=s16:5x9 beta=-2 activation=1",
        "gemm d=s32:5x9 a=u8:5x7 b=s8:7x9 bias=s32:9 a_quant.zero_point=u8:1 b_quant.zero_point=s8:9 b_quant.axis=1 "
        "activation=1",
        "gemm d=u8:5x9 a=s8:5x7 b=s8:7x9 bias=s32:9 a_quant.scale=f32:1 a_quant.zero_point=s8:1 b_quant.scale=f32:9 "
        "b_quant.zero_point=s8:9 d_quant.scale=f32:1 d_quant.zero_point=u8:1 b_quant.axis=1 activation=1",
        "gemm d=f32:5x9 a=f32:5x7 b=f32:3x7x9 c=f32:5x9 bias=f32:3x9 residual=f32:5x9 offsets=s32:4 alpha=0.5 beta=-2 "
        "rows=2,0,3 activation=1",
        "conv y=f32:2x6x5x6 x=f32:2x4x5x6 w=f32:6x2x3x3 bias=f32:6 residual=f32:2x6x5x6 groups=2 before=1,1 after=1,1 "
        "activation=1",
        "conv y=f32:2x6x5x6 x=f32:2x4x5x6 w=packed-f32:6x2x3x3 bias=f32:6 groups=2 before=1,1 after=1,1 activation=1",
        "conv y=f32:2x5x9 x=f32:2x4x9 w=f32:5x4x3 bias=f32:5 before=1 after=1 activation=1",
        "conv y=u8:1x6x5x6 x=u8:1x4x5x6 w=s8:6x4x3x3 bias=s32:6 x_quant.scale=f32:1 x_quant.zero_point=u8:1 "
        "w_quant.scale=f32:6 w_quant.zero_point=s8:6 y_quant.scale=f32:1 y_quant.zero_point=u8:1 w_quant.axis=0 "
        "before=1,1 after=1,1 activation=1",
        "conv y=f32:1x4x5x6 x=f32:1x4x5x6 w=f32:4x1x3x3 bias=f32:4 residual=f32:1x4x5x6 groups=4 before=1,1 after=1,1 "
        "activation=1",
        "conv_transpose y=f32:1x3x5x6 x=f32:1x4x5x6 w=f32:4x3x3x3 bias=f32:3 before=1,1 after=1,1 activation=1",
        "quantize codes=s8:5x9 x=f32:5x9 quant.scale=f32:9 quant.zero_point=s8:9 quant.axis=1",
        "quantize codes=u8:5x9 x=f32:5x9 quant.scale=f32:1 quant.zero_point=u8:1 dynamic=1",
        "dequantize x=f32:5x9 codes=u8:5x9 quant.scale=f32:9 quant.zero_point=u8:9 quant.axis=1",
        "activation y=f32:5x9 x=f32:5x9 activation=3",
    };
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .trace = keep_line};
    hunze_context *context = open_context(&options);
    for (int kind = 0; kind < EXAMPLES; kind++) {
        if (!has_plans(kind))
            continue;
        harness_case("%s", specs[kind].name);
        harness_check(run_example(context, &examples[kind], NULL) == HUNZE_OK, "%s", hunze_last_error());
        const size_t length = strlen(lines[kind]);
        harness_check(strncmp(traced, lines[kind], length) == 0 && strncmp(traced + length, " kernel=", 8) == 0 &&
                          strcspn(traced + length + 8, " \n") == strlen(traced + length + 8),
                      "%s\nbut expected\n%s kernel=…", traced, lines[kind]);
    }
    hunze_context_release(context);
}

/* The line of a trace has room for ordinary calls; of the longest it is a part. */
static void lines_are_cut(void **state)
{
    (void)state;
    enum { NDIM = 16, OPERANDS = 4 };
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .trace = keep_line};
    hunze_context *context = open_context(&options);
    int64_t shape[NDIM], strides[NDIM];
    float x[OPERANDS] = {2, 3, 5, 7};
    hunze_tensor tensor[OPERANDS];
    for (int i = 0; i < NDIM; i++) {
        shape[i] = 1;
        strides[i] = INT64_MIN + 1 + i;
    }
    for (int digits = 0; digits < 20; digits++) {
        for (int i = 0; i < OPERANDS; i++)
            tensor[i] = (hunze_tensor){&x[i], {HUNZE_DEVICE_CPU, 0}, NDIM, dtype_of(HUNZE_TYPE_F32), shape, strides, 0};
        harness_case("strides from %lld on", (long long)strides[0]);
        const hunze_gemm_options gemm = {.struct_size = sizeof gemm, .residual = &tensor[2]};
        const hunze_status status = hunze_gemm(context, &tensor[0], &tensor[1], NULL, &tensor[3], &gemm, NULL);
        harness_check(status == HUNZE_OK && x[3] == 11, "%s", hunze_last_error());
        const size_t length = strlen(traced);
        harness_check(strncmp(traced, "gemm d=f32:1x1x1", 16) == 0 && length < 1024, "%zu: %s", length, traced);
        harness_check(digits > 0 || length == 1023, "the longest line has %zu letters", length);
        char whole[4096];
        size_t end = (size_t)snprintf(whole, sizeof whole, "gemm");
        for (int i = 0; i < OPERANDS; i++) {
            static const char *const names[] = {"d", "a", "b", "residual"};
            end +=
                (size_t)snprintf(whole + end, sizeof whole - end, " %s=f32:1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1", names[i]);
            for (int axis = 0; axis < NDIM; axis++)
                end += (size_t)snprintf(whole + end, sizeof whole - end, "%c%lld", axis ? ',' : '@',
                                        (long long)strides[axis]);
        }
        snprintf(whole + end, sizeof whole - end, " kernel=");
        end += strlen(" kernel=");
        harness_check(strncmp(traced, whole, end < length ? end : length) == 0, "%s\nis not the start of\n%s", traced,
                      whole);
        harness_check(digits < 19 || strstr(traced, "kernel="), "a short line is cut: %s", traced);
        for (int i = 0; i < NDIM; i++)
            strides[i] /= 10;
    }
    hunze_context_release(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_cache_is_bounded),
                                       cmocka_unit_test(a_plan_runs_without_allocation),
                                       cmocka_unit_test(plans_are_shared_and_keep_their_context),
                                       cmocka_unit_test(calls_of_another_plan),
                                       cmocka_unit_test(small_calls_get_their_own_plans),
                                       cmocka_unit_test(plans_explain_themselves),
                                       cmocka_unit_test(lines_say_the_call),
                                       cmocka_unit_test(lines_are_cut)};
    return cmocka_run_group_tests_name("plans", tests, make_examples, drop_examples);
}
