/* SPDX-License-Identifier: Apache-2.0 */
/* Products by other libraries: what is allowed and opened, what their rows take and refuse, which one wins, and whose threads compute.  The
 * libraries are provider_library.c in three forms; values are small whole numbers, so that every order of a sum has the same bits. */
#include "allocations.h"
#include "context.h"
#include "json.h"

#include <dlfcn.h>

#define PLAIN HUNZE_TEST_LIBRARIES "/provider_plain.so"
#define LACKING HUNZE_TEST_LIBRARIES "/provider_lacking.so"
#define WIDE HUNZE_TEST_LIBRARIES "/provider_wide.so"
#define BOTH "openblas=" PLAIN ",onednn=" PLAIN

static const char *const version_openblas = "A BLAS 1.2 for tests", *const version_onednn = "oneDNN 3.4.5";

static hunze_context *with(const char *providers, const char *measured)
{
    const hunze_context_options options = {
        .struct_size = sizeof options, .threads = 3, .providers = providers, .measured = measured};
    return open_context(&options);
}

/* The row of a provider for these types. */
static const hunze_row *row_of(hunze_provider provider, hunze_type a)
{
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->provider == provider && row->a == a)
            return row;
    harness_fail("no such row");
}

static bool is_mapped(const char *file)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        found |= strstr(line, file) != NULL;
    fclose(maps);
    return found;
}

/* A variable of a library. */
static int *of(const char *file, const char *name)
{
    void *library = dlopen(file, RTLD_NOW);
    assert_non_null(library);
    int *variable = dlsym(library, name);
    assert_non_null(variable);
    return variable;
}

/* ------------------------------------------------------------------ one product, in every way that its operands may lie */

enum { BY_ROWS, BY_COLUMNS };
typedef struct matrix {
    hunze_tensor tensor;
    int64_t shape[3], strides[3];
    char *memory;
    size_t bytes;
} matrix;

/* (batch, rows, columns) with gaps between rows or columns, all of it small whole numbers. */
static void make_matrix(matrix *x, harness_rng *rng, hunze_type type, int64_t batch, int64_t rows, int64_t columns,
                        int lie, int64_t gap)
{
    const int64_t step = (lie == BY_ROWS ? columns : rows) + gap, count = (lie == BY_ROWS ? rows : columns) * step;
    *x = (matrix){.shape = {batch, rows, columns},
                  .strides = {count, lie == BY_ROWS ? step : 1, lie == BY_ROWS ? 1 : step},
                  .bytes = (size_t)(batch * count) * harness_bytes(type)};
    x->memory = malloc(x->bytes + 1);
    for (int64_t i = 0; i < batch * count; i++)
        harness_set(type, x->memory, i, (double)harness_between(rng, type == HUNZE_TYPE_U8 ? 0 : -4, 4));
    x->tensor = (hunze_tensor){x->memory, {HUNZE_DEVICE_CPU, 0}, 3, dtype_of(type), x->shape, x->strides, 0};
}

typedef struct product {
    matrix a, b, c, d, residual;
    hunze_tensor bias;
    int64_t bias_shape[2];
    double alpha, beta;
    hunze_activation activation;
    hunze_gemm_options options;
    hunze_call call;
} product;

static void make_product(product *p, harness_rng *rng, const hunze_row *row, int64_t batch, int64_t m, int64_t n,
                         int64_t k)
{
    const bool plain = row->d == HUNZE_TYPE_S32, transpose_a = harness_one_in(rng, 2),
               transpose_b = harness_one_in(rng, 2);
    const int64_t gap = harness_between(rng, 0, 3);
    *p = (product){
        .options = {.struct_size = sizeof p->options, .transpose_a = transpose_a, .transpose_b = transpose_b}};
    make_matrix(&p->a, rng, row->a, batch, transpose_a ? k : m, transpose_a ? m : k, (int)harness_between(rng, 0, 1),
                gap);
    make_matrix(&p->b, rng, row->b, harness_one_in(rng, 2) ? 1 : batch, transpose_b ? n : k, transpose_b ? k : n,
                (int)harness_between(rng, 0, 1), gap);
    make_matrix(&p->d, rng, row->d, batch, m, n, plain ? BY_ROWS : (int)harness_between(rng, 0, 1), gap);
    make_matrix(&p->c, rng, row->d, batch, m, n, (int)harness_between(rng, 0, 1), gap);
    make_matrix(&p->residual, rng, row->d, batch, m, n, (int)harness_between(rng, 0, 1), gap);
    p->call = (hunze_call){sizeof p->call, HUNZE_OP_GEMM, &p->a.tensor, &p->b.tensor, NULL, &p->d.tensor, &p->options};
    if (plain)
        return;
    static const double alphas[] = {1, -2, 0.5, 0}, betas[] = {0, 1, -0.5};
    p->alpha = alphas[harness_between(rng, 0, 3)];
    p->beta = betas[harness_between(rng, 0, 2)];
    p->options.alpha = &p->alpha;
    p->options.beta = &p->beta;
    if (p->beta != 0)
        p->call.c = harness_one_in(rng, 2) ? &p->c.tensor : &p->d.tensor;
    if (p->call.c == &p->c.tensor && harness_one_in(rng, 3))
        p->c.strides[1] = p->c.strides[2] = 0;
    const bool per_row = harness_one_in(rng, 2);
    p->bias_shape[0] = per_row ? m : 1;
    p->bias_shape[1] = per_row ? 1 : n;
    p->bias = (hunze_tensor){p->residual.memory, {HUNZE_DEVICE_CPU, 0}, 2, dtype_of(row->d), p->bias_shape, NULL, 0};
    if (harness_one_in(rng, 2))
        p->options.bias = &p->bias;
    if (harness_one_in(rng, 2))
        p->options.residual = &p->residual.tensor;
    p->activation = (hunze_activation){.struct_size = sizeof p->activation, .kind = HUNZE_ACT_RELU};
    if (harness_one_in(rng, 2))
        p->options.activation = &p->activation;
}

static void drop_product(product *p)
{
    matrix *const all[] = {&p->a, &p->b, &p->c, &p->d, &p->residual};
    for (int i = 0; i < 5; i++)
        free(all[i]->memory);
}

/* The product by the provider's row and by the library's own, over the same D: each byte of it is compared, gaps too. */
static void check_product(hunze_context *context, product *p, const hunze_row *row, const hunze_run *run)
{
    char *const before = malloc(p->d.bytes + 1), *const got = malloc(p->d.bytes + 1);
    memcpy(before, p->d.memory, p->d.bytes);
    p->options.kernel = row->name;
    const hunze_status status =
        hunze_gemm(context, &p->a.tensor, &p->b.tensor, p->call.c, &p->d.tensor, &p->options, run);
    harness_check(status == HUNZE_OK, "%s: %s", hunze_status_name(status), hunze_last_error());
    memcpy(got, p->d.memory, p->d.bytes);
    memcpy(p->d.memory, before, p->d.bytes);
    p->options.kernel = NULL;
    harness_check(hunze_gemm(context, &p->a.tensor, &p->b.tensor, p->call.c, &p->d.tensor, &p->options, NULL) ==
                      HUNZE_OK,
                  "%s", hunze_last_error());
    const int64_t elements = (int64_t)(p->d.bytes / harness_bytes(row->d));
    for (int64_t i = 0; i < elements; i++)
        harness_check(harness_get(row->d, got, i) == harness_get(row->d, p->d.memory, i), "element %lld: %g, not %g",
                      (long long)i, harness_get(row->d, got, i), harness_get(row->d, p->d.memory, i));
    free(before);
    free(got);
}

static bool can_run(const hunze_row *row)
{
    return row->d != HUNZE_TYPE_S32 || harness_bundles() & (1u << HUNZE_ISA_AVXVNNI | 1u << HUNZE_ISA_AVX512VNNI);
}

static void products(void **state)
{
    (void)state;
    static const int64_t extents[] = {1, 2, 5, 17, 64, 130};
    static const char *const files[] = {BOTH, "openblas=" WIDE};
    harness_rng rng = {77};
    harness_begin("products");
    for (int file = 0; file < 2; file++) {
        hunze_context *context = with(files[file], NULL);
        for (const hunze_row *row = hunze_rows; row->name; row++) {
            if (!row->provided || !can_run(row) || (file == 1 && row->provider != HUNZE_PROVIDER_OPENBLAS))
                continue;
            for (int turn = 0; turn < 300; turn++) {
                const int64_t m = extents[harness_between(&rng, 0, 5)], n = extents[harness_between(&rng, 0, 5)],
                              k = harness_one_in(&rng, 8) ? 0 : extents[harness_between(&rng, 0, 5)],
                              batch = harness_between(&rng, 1, 3);
                product p;
                const hunze_run run = {.struct_size = sizeof run, .threads = turn % 3 + 1};
                make_product(&p, &rng, row, batch, m, n, k);
                harness_case("%s of %s: %lld times %lld x %lld x %lld, %d threads", row->name, files[file],
                             (long long)batch, (long long)m, (long long)n, (long long)k, run.threads);
                check_product(context, &p, row, &run);
                drop_product(&p);
            }
        }
        hunze_context_release(context);
    }
    harness_check(*of(PLAIN, "provider_wrong") == 0 && *of(WIDE, "provider_wrong") == 0,
                  "BLAS would have refused arguments");
    harness_check(*of(PLAIN, "provider_calls") > 0 && *of(WIDE, "provider_calls") > 0, "nobody called the libraries");
}

/* ------------------------------------------------------------------ whose threads */

static int stop_at_once(void *user)
{
    (void)user;
    return 1;
}

static void threads(void **state)
{
    (void)state;
    harness_rng rng = {5};
    hunze_context *context = with(BOTH ",openblas=" PLAIN, NULL);
    harness_begin("threads");
    for (const hunze_row *row = hunze_rows; row->name; row++) {
        if (!row->provided || !can_run(row))
            continue;
        for (int way = 0; way < 4; way++) {
            product p;
            hunze_run run = {.struct_size = sizeof run, .threads = way % 2 ? 1 : 3};
            int *const most_inside = of(PLAIN, "provider_most_inside"),
                       *const most = of(PLAIN, "provider_most_threads"), *const calls = of(PLAIN, "provider_calls");
            make_product(&p, &rng, row, 1, 260, 190, 150);
            p.alpha = 1;
            *most_inside = *most = *calls = 0;
            harness_case("%s, way %d", row->name, way);
            if (way == 2)
                run.parallel_for = harness_reversed;
            if (way == 3) {
                run.cancel = stop_at_once;
                p.options.kernel = row->name;
                const hunze_status status =
                    hunze_gemm(context, &p.a.tensor, &p.b.tensor, p.call.c, &p.d.tensor, &p.options, &run);
                harness_check(status == HUNZE_ERR_CANCELLED, "%s", hunze_status_name(status));
            } else {
                check_product(context, &p, row, &run);
                harness_check(*calls == (way == 1 ? 1 : 3), "%d calls", *calls);
                harness_check(*most == 1, "its own number of threads was %d", *most);
                harness_check(*most_inside <= (way == 0 ? 3 : 1), "%d calls at once", *most_inside);
            }
            drop_product(&p);
        }
    }
    hunze_context_release(context);
    int (*const process)(void) = (int (*)(void))(uintptr_t)of(PLAIN, "openblas_get_num_threads");
    int (*const thread)(void) = (int (*)(void))(uintptr_t)of(PLAIN, "omp_get_max_threads");
    harness_case("afterwards");
    harness_check(process() == 7 && thread() == 5, "the numbers of threads stay at %d and %d", process(), thread());
}

/* OpenBLAS on OpenMP: the number is the calling thread's. */
static void openmp(void **state)
{
    (void)state;
    harness_rng rng = {6};
    const hunze_row *row = row_of(HUNZE_PROVIDER_OPENBLAS, HUNZE_TYPE_F32);
    product p;
    harness_begin("OpenMP");
    harness_case("%s", WIDE);
    *of(WIDE, "provider_openmp") = 1;
    hunze_context *context = with("openblas=" WIDE, NULL);
    make_product(&p, &rng, row, 1, 260, 190, 150);
    p.alpha = 1;
    check_product(context, &p, row, NULL);
    harness_check(*of(WIDE, "provider_most_threads") == 1, "its own number of threads was %d",
                  *of(WIDE, "provider_most_threads"));
    int (*const thread)(void) = (int (*)(void))(uintptr_t)of(WIDE, "omp_get_max_threads");
    harness_check(thread() == 5, "this thread's number stays at %d", thread());
    drop_product(&p);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ what is refused, and why */

static void expect_refused(hunze_context *context, const hunze_call *call, const char **kernel, const hunze_row *row,
                           const char *why)
{
    hunze_plan *plan = NULL;
    *kernel = row->name;
    const hunze_status status = hunze_plan_create(context, call, &plan);
    harness_check(status == HUNZE_ERR_UNSUPPORTED && strstr(hunze_last_error(), row->name) &&
                      strstr(hunze_last_error(), why),
                  "%s: %s, not \"%s\"", hunze_status_name(status), hunze_last_error(), why);
    *kernel = NULL;
    harness_check(hunze_plan_create(context, call, &plan) == HUNZE_OK && !strstr(hunze_plan_kernel(plan), row->name),
                  "%s", hunze_last_error());
    hunze_plan_release(plan);
}

static void libraries_that_cannot_be_used(void **state)
{
    (void)state;
    static const struct {
        const char *providers, *why;
        hunze_provider provider;
        int major, runtime;
    } cases[] = {
        {"", "the context does not allow openblas", HUNZE_PROVIDER_OPENBLAS, 3, 2},
        {"onednn", "the context does not allow openblas", HUNZE_PROVIDER_OPENBLAS, 3, 2},
        {"openblas=" PLAIN, "the context does not allow onednn", HUNZE_PROVIDER_ONEDNN, 3, 2},
        {"auto,openblas=/nowhere/libnone.so", "openblas cannot be opened: /nowhere/libnone.so", HUNZE_PROVIDER_OPENBLAS,
         3, 2},
        {"onednn=/proc/self/maps", "onednn cannot be opened: /proc/self/maps", HUNZE_PROVIDER_ONEDNN, 3, 2},
        {"openblas=" LACKING, "openblas has no function cblas_dgemm", HUNZE_PROVIDER_OPENBLAS, 3, 2},
        {"onednn=" LACKING, "onednn has no function dnnl_gemm_u8s8s32", HUNZE_PROVIDER_ONEDNN, 3, 2},
        {"onednn=libm.so.6", "onednn has no function dnnl_version", HUNZE_PROVIDER_ONEDNN, 3, 2},
        {"onednn=" PLAIN, "oneDNN 2.4.5, and version 3 is needed", HUNZE_PROVIDER_ONEDNN, 2, 2},
        {"onednn=" PLAIN, "TBB", HUNZE_PROVIDER_ONEDNN, 3, 4},
    };
    harness_begin("libraries that cannot be used");
    harness_rng rng = {8};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        product p;
        const hunze_row *row = row_of(cases[i].provider, HUNZE_TYPE_F32);
        hunze_context *context = with(cases[i].providers, NULL);
        harness_case("%s", cases[i].providers);
        *of(PLAIN, "provider_major") = cases[i].major;
        *of(PLAIN, "provider_runtime") = cases[i].runtime;
        make_product(&p, &rng, row, 1, 20, 30, 40);
        for (int turn = 0; turn < 2; turn++)
            expect_refused(context, &p.call, &p.options.kernel, row, cases[i].why);
        char *text;
        assert_int_equal(hunze_context_info(context, &text), HUNZE_OK);
        harness_check(json_is_valid(text) && json_member(text, "providers"), "%s", text);
        harness_check(!is_mapped("provider_lacking"), "a library that is of no use stays open");
        hunze_string_free(text);
        drop_product(&p);
        hunze_context_release(context);
    }
    *of(PLAIN, "provider_major") = 3;
    *of(PLAIN, "provider_runtime") = 2;
}

static void calls_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t flag;
        const char *why;
    } flags[] = {{HUNZE_REPRODUCIBLE, "its bits are its own"},
                 {HUNZE_BATCH_INVARIANT, "its bits are its own"},
                 {HUNZE_WIPE, "cannot be zeroed"}};
    harness_begin("calls that are refused");
    harness_rng rng = {9};
    hunze_context *context = with(BOTH, NULL);
    for (const hunze_row *row = hunze_rows; row->name; row++) {
        product p;
        if (!row->provided || !can_run(row))
            continue;
        make_product(&p, &rng, row, 2, 20, 30, 40);
        for (int i = 0; i < 3; i++) {
            harness_case("%s, flag %u", row->name, flags[i].flag);
            p.options.flags = flags[i].flag;
            expect_refused(context, &p.call, &p.options.kernel, row, flags[i].why);
        }
        p.options.flags = 0;
        matrix *const inputs[] = {&p.a, &p.b};
        for (int i = 0; i < 2; i++)
            for (int way = 0; way < 3; way++) {
                matrix kept = *inputs[i];
                harness_case("%s, strides of %s, way %d", row->name, i ? "b" : "a", way);
                inputs[i]->strides[1] *= way == 0 ? 2 : way == 1 ? 0 : -1;
                inputs[i]->strides[2] *= way == 0 ? 2 : 1;
                inputs[i]->tensor.strides = inputs[i]->strides;
                if (way == 1 &&
                    kept.strides[1] == 1) /* 0 there and a step between columns is one column for all rows */
                    inputs[i]->strides[2] = 1;
                expect_refused(context, &p.call, &p.options.kernel, row, "contiguous");
                *inputs[i] = kept;
            }
        if (row->d == HUNZE_TYPE_S32) {
            hunze_tensor bias = {NULL, {HUNZE_DEVICE_CPU, 0}, 1, dtype_of(HUNZE_TYPE_S32), &p.d.shape[2], NULL, 0};
            hunze_activation relu = {.struct_size = sizeof relu, .kind = HUNZE_ACT_RELU};
            harness_case("%s with bias", row->name);
            p.options.bias = &bias;
            expect_refused(context, &p.call, &p.options.kernel, row, "s32 alone");
            p.options.bias = NULL;
            p.options.activation = &relu;
            expect_refused(context, &p.call, &p.options.kernel, row, "s32 alone");
            p.options.activation = NULL;
            p.d.strides[1] = 1;
            p.d.strides[2] = 20;
            p.d.strides[0] = 600;
            expect_refused(context, &p.call, &p.options.kernel, row, "d by rows");
        }
        drop_product(&p);
    }
    const hunze_row *integer = row_of(HUNZE_PROVIDER_ONEDNN, HUNZE_TYPE_U8);
    product p;
    harness_case("%s without VNNI", integer->name);
    make_product(&p, &rng, integer, 1, 20, 30, 40);
    context->bundles &= ~(1u << HUNZE_ISA_AVXVNNI | 1u << HUNZE_ISA_AVX512VNNI);
    expect_refused(context, &p.call, &p.options.kernel, integer, "without VNNI");
    drop_product(&p);
    hunze_context_release(context);

    context = with(BOTH, NULL);
    for (int kind = 0; kind < EXAMPLES; kind++) {
        const bool conv = specs[kind].op == HUNZE_OP_CONV || specs[kind].op == HUNZE_OP_CONV_TRANSPOSE;
        if (specs[kind].a != HUNZE_TYPE_F32 || specs[kind].b != HUNZE_TYPE_F32 || !(conv || specs[kind].with & PACKED))
            continue;
        example e;
        make_example(&e, kind, SMALL, context);
        harness_case("%s", specs[kind].name);
        expect_refused(context, &e.call, conv ? &e.options.conv.kernel : &e.options.gemm.kernel,
                       row_of(HUNZE_PROVIDER_OPENBLAS, HUNZE_TYPE_F32), conv ? "not convolutions" : "packed");
        drop_example(&e);
    }
    hunze_context_release(context);
}

/* A library that fails: its status, with the kernel's name. */
static void libraries_that_fail(void **state)
{
    (void)state;
    static const hunze_status wanted[] = {HUNZE_OK, HUNZE_ERR_NOMEM, HUNZE_ERR_SYSTEM};
    const hunze_row *row = row_of(HUNZE_PROVIDER_ONEDNN, HUNZE_TYPE_F32);
    harness_rng rng = {10};
    product p;
    hunze_context *context = with(BOTH, NULL);
    make_product(&p, &rng, row, 1, 20, 30, 40);
    p.alpha = 1;
    p.options.kernel = row->name;
    harness_begin("libraries that fail");
    for (int result = 0; result < 3; result++) {
        *of(PLAIN, "provider_result") = result;
        harness_case("result %d", result);
        const hunze_status status =
            hunze_gemm(context, &p.a.tensor, &p.b.tensor, p.call.c, &p.d.tensor, &p.options, NULL);
        harness_check(status == wanted[result] && (result == 0 || strstr(hunze_last_error(), row->name)), "%s: %s",
                      hunze_status_name(status), hunze_last_error());
    }
    *of(PLAIN, "provider_result") = 0;
    drop_product(&p);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ which wins */

/* The kernel that plans get, and what explain says of it. */
static void expect_choice(const char *measured, int64_t extent, hunze_provider wanted, const char *words)
{
    harness_rng rng = {11};
    hunze_context *context = with(BOTH, measured);
    const hunze_row *row = row_of(HUNZE_PROVIDER_OPENBLAS, HUNZE_TYPE_F32);
    product p;
    hunze_plan *plan;
    char *text;
    make_product(&p, &rng, row, 1, extent, extent, extent);
    harness_case("%lld, measured: %s", (long long)extent, measured ? measured : "nothing");
    assert_int_equal(hunze_plan_create(context, &p.call, &plan), HUNZE_OK);
    const char *chosen = hunze_plan_kernel(plan);
    harness_check(wanted ? strcmp(chosen, row_of(wanted, HUNZE_TYPE_F32)->name) == 0
                         : strcmp(chosen, row->name) &&
                               strcmp(chosen, row_of(HUNZE_PROVIDER_ONEDNN, HUNZE_TYPE_F32)->name),
                  "%s was chosen", chosen);
    assert_int_equal(hunze_plan_explain(plan, &text), HUNZE_OK);
    harness_check(json_is_valid(text) && strstr(text, words), "\"%s\" is not in %s", words, text);
    hunze_string_free(text);
    hunze_plan_release(plan);
    drop_product(&p);
    hunze_context_release(context);
}

static void what_was_measured_decides(void **state)
{
    (void)state;
    char text[512];
    const char *blas = row_of(HUNZE_PROVIDER_OPENBLAS, HUNZE_TYPE_F32)->name,
               *dnnl = row_of(HUNZE_PROVIDER_ONEDNN, HUNZE_TYPE_F32)->name;
    harness_begin("what was measured decides");
    expect_choice(NULL, 100, HUNZE_PROVIDER_NONE, "for medium products nothing was measured of it");
    snprintf(text, sizeof text, "%s medium 999 %s", blas, version_openblas);
    expect_choice(text, 100, HUNZE_PROVIDER_OPENBLAS, "\"why\": \"measured at 0.999 of the seconds");
    expect_choice(text, 40, HUNZE_PROVIDER_NONE, "for small products nothing was measured of it");
    expect_choice(text, 600, HUNZE_PROVIDER_NONE, "for large products nothing was measured of it");
    snprintf(text, sizeof text, "%s medium 1000 %s\n", blas, version_openblas);
    expect_choice(text, 100, HUNZE_PROVIDER_NONE, "measured at 1.000 of the seconds");
    snprintf(text, sizeof text, "%s medium 500 another version\n", blas);
    expect_choice(text, 100, HUNZE_PROVIDER_NONE, "for medium products nothing was measured of it");
    snprintf(text, sizeof text, "a_kernel of_later 1 x\n\n%s medium 900 %s\n%s medium 800 %s", blas, version_openblas,
             dnnl, version_onednn);
    expect_choice(text, 100, HUNZE_PROVIDER_ONEDNN, "measured at 0.900 of the seconds");
    expect_choice(text, 100, HUNZE_PROVIDER_ONEDNN, "was measured to be faster");
    snprintf(text, sizeof text, "%s skinny 900 %s", blas, version_openblas);
    expect_choice(text, 100, HUNZE_PROVIDER_NONE, "for medium products");
}

/* The bits of a call do not change because a provider is allowed, and nothing is opened before it could win. */
static void what_is_not_asked_for_is_not_opened(void **state)
{
    (void)state;
    static const char *const ways[] = {NULL, "", BOTH};
    harness_rng rng = {12};
    harness_begin("what is not asked for is not opened");
    const hunze_row *row = row_of(HUNZE_PROVIDER_OPENBLAS, HUNZE_TYPE_F32);
    product p;
    make_product(&p, &rng, row, 1, 90, 80, 70);
    for (int64_t i = 0; i < (int64_t)(p.a.bytes / sizeof(float)); i++)
        ((float *)(void *)p.a.memory)[i] = (float)harness_uniform(&rng);
    p.beta = 0;
    char *first = malloc(p.d.bytes);
    for (int way = 0; way < 3; way++) {
        hunze_context *context = with(ways[way], NULL);
        hunze_plan *plan;
        char *text;
        harness_case("providers: %s", ways[way] ? ways[way] : "NULL");
        harness_check(hunze_gemm(context, &p.a.tensor, &p.b.tensor, NULL, &p.d.tensor, &p.options, NULL) == HUNZE_OK,
                      "%s", hunze_last_error());
        assert_int_equal(hunze_plan_create(context, &p.call, &plan), HUNZE_OK);
        assert_int_equal(hunze_plan_explain(plan, &text), HUNZE_OK);
        harness_check(!is_mapped("provider_"), "a library was opened");
        if (way == 0)
            memcpy(first, p.d.memory, p.d.bytes);
        harness_check(memcmp(first, p.d.memory, p.d.bytes) == 0, "other bits");
        hunze_string_free(text);
        hunze_plan_release(plan);
        hunze_context_release(context);
    }
    hunze_context *context = with(BOTH, NULL);
    harness_case("by name");
    p.options.kernel = row->name;
    harness_check(hunze_gemm(context, &p.a.tensor, &p.b.tensor, NULL, &p.d.tensor, &p.options, NULL) == HUNZE_OK, "%s",
                  hunze_last_error());
    harness_check(is_mapped("provider_plain"), "how was that computed?");
    hunze_context_release(context);
    free(first);
    drop_product(&p);
}

/* ------------------------------------------------------------------ options and the environment */

static void options(void **state)
{
    (void)state;
    static const struct {
        const char *providers, *measured, *environment, *named; /* named: by the error; NULL: none */
        const char *blas, *dnnl;                                /* files allowed */
        uint32_t flags;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NULL, NULL, 0},
        {NULL, NULL, "auto", NULL, "libopenblas.so.0", "libdnnl.so.3", 0},
        {NULL, NULL, "auto", NULL, NULL, NULL, HUNZE_IGNORE_ENVIRONMENT},
        {"", NULL, "auto", NULL, NULL, NULL, 0},
        {"onednn", NULL, "openblas", NULL, NULL, "libdnnl.so.3", HUNZE_IGNORE_ENVIRONMENT},
        {"openblas=/a b/x.so", NULL, NULL, NULL, "/a b/x.so", NULL, 0},
        {"openblas=x,auto", NULL, NULL, NULL, "x", "libdnnl.so.3", 0},
        {"auto,openblas=x=y", NULL, NULL, NULL, "x=y", "libdnnl.so.3", 0},
        {",onednn,", NULL, NULL, NULL, NULL, "libdnnl.so.3", 0},
        {"mkl", NULL, NULL, "providers has \"mkl\"", NULL, NULL, 0},
        {"openblas,OneDNN", NULL, NULL, "providers has \"OneDNN\"", NULL, NULL, 0},
        {"openblas=", NULL, NULL, "openblas=", NULL, NULL, 0},
        {"auto=x", NULL, NULL, "auto=x", NULL, NULL, 0},
        {NULL, NULL, "none", "HUNZE_PROVIDERS has \"none\"", NULL, NULL, 0},
        {"", "x small 5 v\n\ny large 7 v w", NULL, NULL, NULL, NULL, 0},
        {"", "", NULL, NULL, NULL, NULL, 0},
        {"", "x small 5 v\nx small 5", NULL, "\"x small 5\"", NULL, NULL, 0},
        {"", "x small 0 v", NULL, "x small 0 v", NULL, NULL, 0},
        {"", "x small -5 v", NULL, "x small -5 v", NULL, NULL, 0},
        {"", "x small v 5", NULL, "x small v 5", NULL, NULL, 0},
        {"", "x\nsmall 5 v", NULL, "\"x\"", NULL, NULL, 0},
    };
    harness_begin("options");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const hunze_context_options given = {.struct_size = sizeof given,
                                             .flags = cases[i].flags,
                                             .providers = cases[i].providers,
                                             .measured = cases[i].measured};
        hunze_context *context = NULL;
        harness_case("%zu", i);
        if (cases[i].environment)
            setenv("HUNZE_PROVIDERS", cases[i].environment, 1);
        const hunze_status status = hunze_context_create(&given, &context);
        unsetenv("HUNZE_PROVIDERS");
        if (cases[i].named) {
            harness_check(status == HUNZE_ERR_OPTION && strstr(hunze_last_error(), cases[i].named) && !context,
                          "%s: %s", hunze_status_name(status), hunze_last_error());
            continue;
        }
        harness_check(status == HUNZE_OK, "%s", hunze_last_error());
        const char *wanted[] = {NULL, cases[i].blas, cases[i].dnnl};
        for (int provider = 1; provider < HUNZE_PROVIDER_COUNT; provider++) {
            const char *file = context->providers[provider].file;
            harness_check(file ? wanted[provider] && strcmp(file, wanted[provider]) == 0 : !wanted[provider], "%d: %s",
                          provider, file ? file : "(none)");
        }
        hunze_context_release(context);
    }
    for (int fail_at = 0; fail_at < 4; fail_at++) {
        allocations a = {.fail_at = fail_at};
        harness_case("allocation %d fails", fail_at);
        hunze_context_release(
            counted_context(&a, (hunze_context_options){.providers = BOTH, .measured = "x small 5 v"}));
        harness_check(a.live == 0 && a.wrong == 0, "%d blocks were not given back", a.live);
    }
}

int main(void)
{
    unsetenv("HUNZE_PROVIDERS");
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_not_asked_for_is_not_opened), /* first */
                                       cmocka_unit_test(libraries_that_cannot_be_used),
                                       cmocka_unit_test(openmp),
                                       cmocka_unit_test(products),
                                       cmocka_unit_test(threads),
                                       cmocka_unit_test(calls_that_are_refused),
                                       cmocka_unit_test(libraries_that_fail),
                                       cmocka_unit_test(what_was_measured_decides),
                                       cmocka_unit_test(options)};
    return cmocka_run_group_tests_name("providers", tests, NULL, NULL);
}
