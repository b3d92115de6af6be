/* SPDX-License-Identifier: Apache-2.0 */
/* Grouped products against a product for each group, bit by bit: every row of the table, random groups with and without rows, strides, epilogues
 * and threads; what offsets may not be; and what a run allocates, counts and refuses. */
#include "allocations.h"
#include "gemm.h"
#include "json.h"
#include "refused.h"

enum { MAX_GROUPS = 64, SPARE = 5 };

/* A matrix, or several, in memory with gaps; columns together or rows. */
typedef struct matrix {
    hunze_tensor tensor;
    hunze_type type;
    int64_t shape[3], strides[3];
    char *memory;
    size_t bytes;
} matrix;

typedef struct grouped_case {
    hunze_type d_type;
    int64_t m, n, k, groups;
    int32_t offsets[MAX_GROUPS + 1];
    matrix a, b, c, d, bias, residual;
    bool has_c;
    double alpha, beta;
    hunze_activation activation;
    hunze_quant a_quant, b_quant, d_quant;
    float scales[3];
    hunze_tensor scale[3];
    uint8_t *a_zero, b_zero[1], d_zero[1];
    hunze_tensor zero[3];
    int64_t one, rows;
    hunze_gemm_options options;
    hunze_tensor offset_tensor;
    int64_t offset_count;
} grouped_case;

static void make_matrix(matrix *x, harness_rng *rng, hunze_type type, int ndim, int64_t outer, int64_t rows,
                        int64_t columns)
{
    const bool by_columns = harness_one_in(rng, 3);
    const int64_t gap = harness_one_in(rng, 3) ? harness_between(rng, 1, SPARE) : 0;
    const int64_t shape[] = {outer, rows, columns};
    memcpy(x->shape, shape + 3 - ndim, (size_t)ndim * sizeof *shape);
    x->type = type;
    x->strides[ndim - 1] = by_columns ? rows + gap : 1;
    if (ndim > 1)
        x->strides[ndim - 2] = by_columns ? 1 : columns + gap;
    int64_t count = by_columns ? (rows + gap) * columns : (columns + gap) * rows;
    if (ndim == 1)
        count = x->strides[0] * columns;
    if (ndim == 3) {
        x->strides[0] = count + gap;
        count = x->strides[0] * outer;
    }
    count += SPARE;
    x->bytes = (size_t)count * harness_bytes(type);
    x->memory = malloc(x->bytes);
    if (harness_is_float(type))
        harness_fill(rng, type, x->memory, count, harness_one_in(rng, 4) ? HARNESS_SPECIAL : HARNESS_UNIFORM);
    else
        harness_fill_int(rng, type, x->memory, count, false);
    x->tensor = (hunze_tensor){x->memory, {HUNZE_DEVICE_CPU, 0}, ndim, dtype_of(type), x->shape, x->strides, 0};
}

/* What remains of m rows goes to the last group; few groups have most of them. */
static void make_offsets(grouped_case *g, harness_rng *rng)
{
    int64_t left = g->m;
    for (int64_t i = 0; i < g->groups; i++) {
        g->offsets[i] = (int32_t)(g->m - left);
        const int64_t rows = harness_one_in(rng, 3)   ? 0
                             : harness_one_in(rng, 3) ? harness_between(rng, 0, left)
                                                      : harness_between(rng, 0, hunze_least(left, 20));
        left -= rows;
    }
    g->offsets[g->groups] = (int32_t)g->m;
    g->offset_count = g->groups + 1;
    g->offset_tensor =
        (hunze_tensor){g->offsets, {HUNZE_DEVICE_CPU, 0}, 1, dtype_of(HUNZE_TYPE_S32), &g->offset_count, NULL, 0};
}

static const hunze_quant *make_quant(grouped_case *g, harness_rng *rng, int which, hunze_quant *quant, bool scale,
                                     hunze_type codes, void *zero, int64_t *count)
{
    *quant =
        (hunze_quant){.struct_size = sizeof *quant, .granularity = *count == 1 ? HUNZE_PER_TENSOR : HUNZE_PER_AXIS};
    if (scale) {
        g->scales[which] = 0.01f * (float)harness_between(rng, 1, 9);
        g->scale[which] =
            (hunze_tensor){&g->scales[which], {HUNZE_DEVICE_CPU, 0}, 1, dtype_of(HUNZE_TYPE_F32), &g->one, NULL, 0};
        quant->scale = &g->scale[which];
    }
    for (int64_t i = 0; i < *count; i++)
        ((uint8_t *)zero)[i] = (uint8_t)harness_between(rng, 0, 9);
    g->zero[which] = (hunze_tensor){zero, {HUNZE_DEVICE_CPU, 0}, 1, dtype_of(codes), count, NULL, 0};
    quant->zero_point = &g->zero[which];
    return quant;
}

static void make_case(grouped_case *g, harness_rng *rng, const hunze_row *row, int64_t m, int64_t n, int64_t k,
                      int64_t groups)
{
    memset(g, 0, sizeof *g);
    g->m = m;
    g->n = n;
    g->k = k;
    g->groups = groups;
    g->one = 1;
    g->rows = m;
    make_offsets(g, rng);
    hunze_gemm_options *o = &g->options;
    *o = (hunze_gemm_options){.struct_size = sizeof *o, .kernel = row->name, .offsets = &g->offset_tensor};
    o->transpose_a = harness_one_in(rng, 3);
    o->transpose_b = harness_one_in(rng, 3);
    const bool integers = row->int_tile, scaled = integers && harness_one_in(rng, 2);
    g->d_type = row->widen && harness_one_in(rng, 2) ? row->a : row->d;
    if (scaled)
        g->d_type = harness_one_in(rng, 2) ? HUNZE_TYPE_F32 : HUNZE_TYPE_U8;
    make_matrix(&g->a, rng, row->a, 2, 1, o->transpose_a ? k : m, o->transpose_a ? m : k);
    make_matrix(&g->b, rng, row->b, 3, groups, o->transpose_b ? n : k, o->transpose_b ? k : n);
    make_matrix(&g->d, rng, g->d_type, 2, 1, m, n);
    if (harness_one_in(rng, 2)) {
        const hunze_type type = integers && (!scaled || harness_one_in(rng, 2)) ? HUNZE_TYPE_S32
                                : integers                                      ? HUNZE_TYPE_F32
                                                                                : g->d_type;
        if (harness_one_in(rng, 2))
            make_matrix(&g->bias, rng, type, 1, 1, 1, n);
        else
            make_matrix(&g->bias, rng, type, 2, 1, groups, n);
        o->bias = &g->bias.tensor;
    }
    if ((!integers || scaled) && harness_one_in(rng, 2)) {
        const int form = (int)harness_between(rng, 0, 3);
        make_matrix(&g->residual, rng, scaled ? HUNZE_TYPE_F32 : g->d_type, form == 3 ? 1 : 2, 1, form == 1 ? 1 : m,
                    form == 2 ? 1 : n);
        o->residual = &g->residual.tensor;
    }
    if (harness_one_in(rng, 2)) {
        g->activation = (hunze_activation){.struct_size = sizeof g->activation, .kind = HUNZE_ACT_RELU};
        o->activation = &g->activation;
    }
    if (!integers) {
        const double alphas[] = {1, hunze_row_wraps(row) ? 3 : 0.5, 0}, betas[] = {0, 1, -2};
        g->alpha = alphas[harness_between(rng, 0, 2)];
        g->beta = betas[harness_between(rng, 0, 2)];
        o->alpha = &g->alpha;
        o->beta = &g->beta;
        g->has_c = g->beta != 0;
        if (g->has_c)
            make_matrix(&g->c, rng, g->d_type, 2, 1, m, n);
        return;
    }
    g->a_zero = malloc((size_t)m);
    int64_t *zeros = !scaled && harness_one_in(rng, 2) ? &g->rows : &g->one;
    if (scaled || harness_one_in(rng, 2)) {
        o->a_quant = make_quant(g, rng, 0, &g->a_quant, scaled, row->a, g->a_zero, zeros);
        g->a_quant.axis = o->transpose_a ? 1 : 0;
        o->b_quant = make_quant(g, rng, 1, &g->b_quant, scaled, row->b, g->b_zero, &g->one);
        if (scaled && g->d_type != HUNZE_TYPE_F32)
            o->d_quant = make_quant(g, rng, 2, &g->d_quant, true, g->d_type, g->d_zero, &g->one);
    }
}

static void drop_case(grouped_case *g)
{
    matrix *const all[] = {&g->a, &g->b, &g->c, &g->d, &g->bias, &g->residual};
    for (int i = 0; i < 6; i++)
        free(all[i]->memory);
    free(g->a_zero);
}

/* ------------------------------------------------------------------ a product for each group */

static hunze_tensor part(const matrix *x, int axis, int64_t from, int64_t count, int64_t *shape)
{
    hunze_tensor tensor = x->tensor;
    memcpy(shape, x->shape, sizeof x->shape);
    shape[axis] = count;
    tensor.shape = shape;
    tensor.byte_offset = (uint64_t)(from * x->strides[axis]) * harness_bytes(x->type);
    return tensor;
}

/* One group as a product. */
typedef struct group_part {
    hunze_tensor a, b, c, d, bias, residual, zero;
    int64_t shapes[4][3], rows;
    hunze_quant a_quant;
} group_part;

static void describe_group(const grouped_case *g, int64_t group, group_part *p)
{
    const int64_t from = g->offsets[group], rows = g->offsets[group + 1] - from;
    const hunze_gemm_options *o = &g->options;
    p->rows = rows;
    p->a_quant = g->a_quant;
    p->a = part(&g->a, o->transpose_a ? 1 : 0, from, rows, p->shapes[0]);
    p->d = part(&g->d, 0, from, rows, p->shapes[1]);
    p->c = part(&g->c, 0, from, rows, p->shapes[2]);
    p->b = g->b.tensor;
    p->b.ndim = 2;
    p->b.shape++;
    p->b.strides++;
    p->b.byte_offset = (uint64_t)(group * g->b.strides[0]) * harness_bytes(g->b.type);
    p->bias = g->bias.tensor;
    if (o->bias && p->bias.ndim == 2) {
        p->bias.byte_offset = (uint64_t)(group * g->bias.strides[0]) * harness_bytes(g->bias.type);
        p->bias.ndim = 1;
        p->bias.shape++;
        p->bias.strides++;
    }
    p->residual = g->residual.tensor;
    if (o->residual && p->residual.ndim == 2 && p->residual.shape[0] == g->m)
        p->residual = part(&g->residual, 0, from, rows, p->shapes[3]);
    p->zero = g->zero[0];
    if (o->a_quant && p->a_quant.granularity == HUNZE_PER_AXIS) {
        p->zero.byte_offset = (uint64_t)from;
        p->zero.shape = &p->rows;
        p->a_quant.zero_point = &p->zero;
    }
}

static hunze_status run_groups(hunze_context *context, const grouped_case *g)
{
    for (int64_t group = 0; group < g->groups; group++) {
        group_part p;
        describe_group(g, group, &p);
        hunze_gemm_options o = g->options;
        o.offsets = NULL;
        o.a_quant = o.a_quant ? &p.a_quant : NULL;
        o.bias = o.bias ? &p.bias : NULL;
        o.residual = o.residual ? &p.residual : NULL;
        const hunze_status status =
            p.rows == 0 ? HUNZE_OK : hunze_gemm(context, &p.a, &p.b, g->has_c ? &p.c : NULL, &p.d, &o, NULL);
        if (status)
            return status;
    }
    return HUNZE_OK;
}

/* As a list of products; not with zero points per row, which options have for all. */
static hunze_status run_list(hunze_context *context, const grouped_case *g, const hunze_run *run)
{
    static group_part parts[MAX_GROUPS];
    hunze_gemm_group groups[MAX_GROUPS];
    hunze_gemm_options o = g->options;
    o.offsets = NULL;
    o.bias = o.residual = NULL;
    for (int64_t group = 0; group < g->groups; group++) {
        group_part *p = &parts[group];
        describe_group(g, group, p);
        groups[group] = (hunze_gemm_group){&p->a,
                                           &p->b,
                                           g->has_c ? &p->c : NULL,
                                           &p->d,
                                           g->options.bias ? &p->bias : NULL,
                                           g->options.residual ? &p->residual : NULL};
    }
    return hunze_gemm_grouped(context, groups, sizeof groups[0], g->groups, &o, run);
}

/* ------------------------------------------------------------------ runs */

static hunze_status run_grouped(hunze_context *context, const grouped_case *g, const hunze_run *run)
{
    return hunze_gemm(context, &g->a.tensor, &g->b.tensor, g->has_c ? &g->c.tensor : NULL, &g->d.tensor, &g->options,
                      run);
}

static void check_threads(hunze_context *context, grouped_case *g, const int32_t *thread_counts, size_t counts)
{
    const size_t size = harness_bytes(g->d_type);
    char *before = malloc(g->d.bytes), *expected = malloc(g->d.bytes);
    memcpy(before, g->d.memory, g->d.bytes);
    hunze_status status = run_groups(context, g);
    harness_check(status == HUNZE_OK, "a product for each group: %s", hunze_last_error());
    memcpy(expected, g->d.memory, g->d.bytes);
    for (size_t t = 0; t < counts; t++) {
        const hunze_run run = {.struct_size = sizeof run,
                               .threads = thread_counts[t],
                               .parallel_for = t == 0   ? NULL
                                               : t == 2 ? harness_serially
                                               : t == 3 ? harness_reversed
                                                        : NULL};
        const bool per_row = g->options.a_quant && g->a_quant.granularity == HUNZE_PER_AXIS;
        for (int list = 0; list < (per_row ? 1 : 2); list++) {
            memcpy(g->d.memory, before, g->d.bytes);
            status = (list ? run_list : run_grouped)(context, g, &run);
            harness_check(status == HUNZE_OK, "%d threads: %s", run.threads, hunze_last_error());
            for (size_t at = 0; at < g->d.bytes; at += size)
                harness_check(harness_same(g->d_type, expected + at, g->d.memory + at),
                              "%s, %d threads: element %zu of D's memory is %s, should be %s",
                              list ? "list" : "offsets", run.threads, at / size,
                              harness_show(g->d_type, g->d.memory + at), harness_show(g->d_type, expected + at));
        }
    }
    free(before);
    free(expected);
}

static void check_case(hunze_context *context, grouped_case *g)
{
    static const int32_t thread_counts[] = {1, 2, 3, 5};
    check_threads(context, g, thread_counts, 4);
}

/* Rows of groups on both sides of what divides their kinds: 1, few rows, a unit's rows, those that go alone. */
static const int64_t total_rows[] = {1, 7, 40, 150, 700}, columns[] = {1, 9, 64, 200}, depths[] = {0, 1, 33, 300, 800};

static void same_bits_as_a_product_for_each_group(void **state)
{
    (void)state;
    hunze_context *context = open_context(NULL);
    harness_begin("grouped");
    for (int i = 0; i < hunze_row_count; i++) {
        const hunze_row *row = &hunze_rows[i];
        if (row->op != HUNZE_OP_GEMM || row->launch || row->safe_weights || !(harness_bundles() & 1u << row->isa))
            continue;
        harness_rng rng = {(uint64_t)i + 1};
        const double most = row->isa == HUNZE_ISA_PORTABLE ? 4e6 : 4e7;
        for (int round = 0; round < harness_budget(24, 6); round++) {
            grouped_case g;
            const int64_t m = total_rows[harness_between(&rng, 0, 4)], n = columns[harness_between(&rng, 0, 3)],
                          k = depths[harness_between(&rng, 0, 4)];
            const int64_t groups =
                harness_one_in(&rng, 4) ? 1 : harness_between(&rng, 2, harness_one_in(&rng, 3) ? 64 : 9);
            if ((double)m * (double)n * (double)k > most)
                continue;
            make_case(&g, &rng, row, m, n, k, groups);
            harness_case("%s, round %d: m %lld, n %lld, k %lld, %lld groups", row->name, round, (long long)m,
                         (long long)n, (long long)k, (long long)groups);
            check_case(context, &g);
            drop_case(&g);
        }
    }
    hunze_context_release(context);
}

/* A group that by itself needs more workspace than those that stand for it: it runs as one of these. */
static void groups_that_others_stand_for(void **state)
{
    (void)state;
    enum { TRIES = 300000 };
    hunze_context *context = open_context(NULL);
    harness_begin("grouped");
    const hunze_row *row = hunze_rows;
    while (row->op != HUNZE_OP_GEMM || row->a != HUNZE_TYPE_F32 || row->isa != HUNZE_ISA_PORTABLE)
        row++;
    harness_rng rng = {9};
    int64_t rows = 0, n = 0, k = 0;
    int32_t threads = 0;
    bool found = false;
    for (int i = 0; !found && i < TRIES; i++) {
        rows = harness_between(&rng, 2 * row->mc, 500);
        n = harness_between(&rng, 100, 1200);
        k = harness_between(&rng, 20, 500);
        threads = (int32_t)harness_between(&rng, 2, 64);
        const double operations = 2.0 * (double)rows * (double)n * (double)k;
        if (operations < hunze_gemm_phase_operations || operations > 2e8)
            continue;
        const hunze_plan plan = {
            .row = row,
            .d_type = row->d,
            .gemm_shape = {.m = 2 * rows, .n = n, .k = k, .batch = 1, .transposed_d = true, .groups = 2}};
        const hunze_gemm_jobs jobs = {
            .row = row, .count = 1, .m = rows, .n = n, .k = k, .alpha = 1, .transposed_d = true};
        found = hunze_gemm_jobs_workspace(&jobs, threads) > hunze_gemm_offsets_workspace(&plan, threads);
    }
    harness_check(found, "there is workspace for all groups: this test sees nothing");
    grouped_case g;
    make_case(&g, &rng, row, 2 * rows, n, k, 2);
    g.offsets[1] = (int32_t)rows;
    do {
        free(g.d.memory);
        make_matrix(&g.d, &rng, row->d, 2, 1, 2 * rows, n);
    } while (g.d.strides[0] != 1); /* D by columns */
    harness_case("two groups of %lld rows, n %lld, k %lld, %d threads", (long long)rows, (long long)n, (long long)k,
                 threads);
    check_threads(context, &g, &threads, 1);
    drop_case(&g);
    hunze_context_release(context);
}

/* Groups that go alone, beside others that do not. */
static void groups_of_many_rows(void **state)
{
    (void)state;
    hunze_context *context = open_context(NULL);
    harness_begin("grouped");
    hunze_row row = {.name = NULL, .a = HUNZE_TYPE_F32, .b = HUNZE_TYPE_F32, .d = HUNZE_TYPE_F32};
    harness_rng rng = {77};
    grouped_case g;
    make_case(&g, &rng, &row, 1000, 260, 300, 5);
    const int32_t offsets[] = {0, 480, 480, 500, 501, 1000};
    memcpy(g.offsets, offsets, sizeof offsets);
    harness_case("groups of 480, 0, 20, 1 and 499 rows");
    check_case(context, &g);
    drop_case(&g);
    hunze_context_release(context);
}

/* ------------------------------------------------------------------ what offsets may not be */

static void set_offsets(example *e, int32_t a, int32_t b, int32_t c, int32_t d)
{
    const int32_t values[] = {a, b, c, d};
    memcpy(e->tensor[HUNZE_ROLE_OFFSETS].data, values, sizeof values);
}

/* Of three groups of five rows. */
static const struct {
    int32_t offsets[4];
    const char *message;
} wrong_values[] = {
    {{1, 2, 2, 5}, "offsets[0] is 1; the first group starts with row 0"},
    {{-1, 2, 2, 5}, "offsets[0] is -1; the first group starts with row 0"},
    {{0, 2, 1, 5}, "offsets[2] is 1 after 2; they ascend"},
    {{0, -3, 1, 5}, "offsets[1] is -3 after 0; they ascend"},
    {{0, 6, 5, 5}, "offsets[1] is 6; a has 5 rows"},
    {{0, 2, 2, 6}, "offsets[3] is 6; a has 5 rows"},
    {{0, 2, 2, 4}, "offsets[3], the last, is 4; a has 5 rows"},
    {{0, 0, 0, 0}, "offsets[3], the last, is 0; a has 5 rows"},
    {{0, 2147483647, -2147483647, 5}, "offsets[1] is 2147483647; a has 5 rows"},
};

static void values_of_offsets(void **state)
{
    (void)state;
    const int kind = example_named("gemm grouped");
    for (size_t i = 0; i < sizeof wrong_values / sizeof wrong_values[0]; i++) {
        example e;
        make_example(&e, kind, SMALL, context);
        const int32_t *v = wrong_values[i].offsets;
        harness_case("offsets %d, %d, %d, %d", v[0], v[1], v[2], v[3]);
        set_offsets(&e, v[0], v[1], v[2], v[3]);
        poison_output(&e);
        answer before = copy_outputs(&e);
        const hunze_status status = run_example(context, &e, NULL);
        harness_check(status == HUNZE_ERR_OPTION && strcmp(hunze_last_error(), wrong_values[i].message) == 0, "%s: %s",
                      hunze_status_name(status), hunze_last_error());
        harness_check(outputs_are(&e, &before), "an output changed");
        drop_answer(&before);
        hunze_plan *plan; /* which knows no values */
        assert_int_equal(hunze_plan_create(context, &e.call, &plan), HUNZE_OK);
        assert_int_equal(hunze_plan_run(plan, &e.call, NULL), HUNZE_ERR_OPTION);
        set_offsets(&e, 0, 2, 2, 5);
        assert_int_equal(hunze_plan_run(plan, &e.call, NULL), HUNZE_OK);
        harness_check(outputs_are(&e, &answers[kind]), "other bits by the plan");
        hunze_plan_release(plan);
        drop_example(&e);
    }
}

static void offsets_in_64_bits(example *e) { e->tensor[HUNZE_ROLE_OFFSETS].dtype.bits = 64; }
static void offsets_too_few(example *e) { e->shape[HUNZE_ROLE_OFFSETS][0]--; }
static void offsets_too_many(example *e) { e->shape[HUNZE_ROLE_OFFSETS][0]++; }
static void offsets_apart(example *e) { e->strides[HUNZE_ROLE_OFFSETS][0] = 2; }
static void one_matrix(example *e)
{
    e->tensor[HUNZE_ROLE_B].ndim = 2;
    e->tensor[HUNZE_ROLE_B].shape++;
    e->tensor[HUNZE_ROLE_B].strides++;
}
static void a_batch(example *e)
{
    for (int i = 0; i < 2; i++) {
        const int role = i ? HUNZE_ROLE_D : HUNZE_ROLE_C;
        memmove(&e->shape[role][1], e->shape[role], 2 * sizeof(int64_t));
        e->shape[role][0] = 1;
        e->tensor[role].strides = NULL;
        e->tensor[role].ndim = 3;
    }
}
static void bias_per_row(example *e)
{
    e->shape[HUNZE_ROLE_BIAS][0] = 5;
    e->shape[HUNZE_ROLE_BIAS][1] = 1;
}
static void packed_weights(example *e)
{
    static example packed;
    make_example(&packed, example_named("gemm packed"), SMALL, context);
    free(e->memory[HUNZE_ROLE_B]);
    e->memory[HUNZE_ROLE_B] = packed.memory[HUNZE_ROLE_B];
    packed.memory[HUNZE_ROLE_B] = NULL;
    e->tensor[HUNZE_ROLE_B] = packed.tensor[HUNZE_ROLE_B];
    e->tensor[HUNZE_ROLE_B].shape = e->shape[HUNZE_ROLE_B];
    e->tensor[HUNZE_ROLE_B].strides = NULL;
    e->shape[HUNZE_ROLE_B][0] = packed.shape[HUNZE_ROLE_B][0];
    drop_example(&packed);
}

static const struct {
    const char *name;
    void (*change)(example *e);
    hunze_status status;
    const char *named;
} wrong_operands[] = {
    {"offsets of 64 bits", offsets_in_64_bits, HUNZE_ERR_DTYPE, "offsets"},
    {"an offset missing", offsets_too_few, HUNZE_ERR_SHAPE, "offsets"},
    {"an offset too many", offsets_too_many, HUNZE_ERR_SHAPE, "offsets"},
    {"offsets apart", offsets_apart, HUNZE_ERR_STRIDE, "offsets"},
    {"one matrix", one_matrix, HUNZE_ERR_SHAPE, "b"},
    {"a batch", a_batch, HUNZE_ERR_SHAPE, "d"},
    {"a bias per row", bias_per_row, HUNZE_ERR_SHAPE, "bias"},
    {"packed weights", packed_weights, HUNZE_ERR_UNSUPPORTED, "b"},
};

static void operands_that_do_not_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_operands / sizeof wrong_operands[0]; i++) {
        example e;
        make_example(&e, example_named("gemm grouped"), SMALL, context);
        harness_case("%s", wrong_operands[i].name);
        wrong_operands[i].change(&e);
        expect_refused(&e, NULL, wrong_operands[i].status, wrong_operands[i].named);
        expect_no_plan(&e, wrong_operands[i].status, wrong_operands[i].named);
        drop_example(&e);
    }
}

/* One scale per column of b would need one per group, too. */
static void scales_per_column(void **state)
{
    (void)state;
    harness_rng rng = {5};
    const hunze_row row = {
        .a = HUNZE_TYPE_U8, .b = HUNZE_TYPE_S8, .d = HUNZE_TYPE_S32, .int_tile = (hunze_int_tile_fn *)1};
    grouped_case g;
    do {
        make_case(&g, &rng, &row, 5, 9, 7, 3);
        if (g.options.b_quant && g.options.b_quant->scale)
            break;
        drop_case(&g);
    } while (true);
    harness_case("b_quant per axis");
    g.b_quant.granularity = HUNZE_PER_AXIS;
    g.b_quant.axis = 2;
    g.options.kernel = NULL;
    expect_status(run_grouped(context, &g, NULL), HUNZE_ERR_UNSUPPORTED, "b_quant.scale");
    drop_case(&g);
}

/* A program that was compiled before options had offsets. */
static void options_that_end_before_offsets(void **state)
{
    (void)state;
    const int kind = example_named("gemm f32");
    example e;
    make_example(&e, kind, SMALL, context);
    harness_case("an earlier struct_size");
    e.options.any.struct_size = offsetof(hunze_gemm_options, offsets);
    e.options.gemm.offsets = (const hunze_tensor *)1; /* memory of that program's own */
    assert_int_equal(run_example(context, &e, NULL), HUNZE_OK);
    harness_check(outputs_are(&e, &answers[kind]), "other bits");
    drop_example(&e);
}

/* ------------------------------------------------------------------ without rows, without groups */

static void nothing_to_do(void **state)
{
    (void)state;
    float a[7] = {0}, b[63], d[9];
    int32_t offsets[4] = {0};
    int64_t a_shape[] = {0, 7}, b_shape[] = {3, 7, 3}, d_shape[] = {0, 3}, offsets_shape[] = {4};
    const hunze_dtype f32 = dtype_of(HUNZE_TYPE_F32);
    const hunze_tensor a_tensor = {a, {HUNZE_DEVICE_CPU, 0}, 2, f32, a_shape, NULL, 0},
                       b_tensor = {b, {HUNZE_DEVICE_CPU, 0}, 3, f32, b_shape, NULL, 0},
                       d_tensor = {d, {HUNZE_DEVICE_CPU, 0}, 2, f32, d_shape, NULL, 0},
                       offset_tensor = {
                           offsets, {HUNZE_DEVICE_CPU, 0}, 1, dtype_of(HUNZE_TYPE_S32), offsets_shape, NULL, 0};
    const hunze_gemm_options options = {.struct_size = sizeof options, .offsets = &offset_tensor};
    harness_case("no rows");
    assert_int_equal(hunze_gemm(context, &a_tensor, &b_tensor, NULL, &d_tensor, &options, NULL), HUNZE_OK);
    harness_case("no groups");
    b_shape[0] = 0;
    offsets_shape[0] = 1;
    assert_int_equal(hunze_gemm(context, &a_tensor, &b_tensor, NULL, &d_tensor, &options, NULL), HUNZE_OK);
    harness_case("no groups for a row");
    a_shape[0] = d_shape[0] = 1;
    expect_status(hunze_gemm(context, &a_tensor, &b_tensor, NULL, &d_tensor, &options, NULL), HUNZE_ERR_OPTION,
                  "offsets");
}

/* ------------------------------------------------------------------ what is counted, and what a plan tells */

static uint64_t traced_bytes;

static void remember(void *user, const hunze_trace_record *record)
{
    (void)user;
    traced_bytes = record->bytes;
}

/* B and bias of a group without rows are not read, and not counted. */
static void bytes_that_are_read(void **state)
{
    (void)state;
    example e;
    const hunze_context_options options = {
        .struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT, .trace = remember};
    hunze_context *traced = open_context(&options);
    make_example(&e, example_named("gemm grouped"), SMALL, traced);
    const uint64_t common = 4 * (5 * 7 + 3 * (5 * 9) + 4), group = 4 * (7 * 9 + 9);
    for (int groups = 1; groups <= 3; groups++) {
        set_offsets(&e, 0, groups == 1 ? 0 : 2, groups == 3 ? 3 : groups == 2 ? 2 : 0, 5);
        harness_case("%d groups with rows", groups);
        assert_int_equal(run_example(traced, &e, NULL), HUNZE_OK);
        harness_check(traced_bytes == common + (uint64_t)groups * group, "%llu bytes",
                      (unsigned long long)traced_bytes);
    }
    drop_example(&e);
    hunze_context_release(traced);
}

static void explanation(void **state)
{
    (void)state;
    example e;
    hunze_plan *plan;
    char *text;
    make_example(&e, example_named("gemm grouped"), SMALL, context);
    assert_int_equal(hunze_plan_create(context, &e.call, &plan), HUNZE_OK);
    assert_int_equal(hunze_plan_explain(plan, &text), HUNZE_OK);
    harness_case("explain");
    harness_check(json_is_valid(text) &&
                      strstr(text, "\"shape\": {\"m\": 5, \"n\": 9, \"k\": 7, \"batch\": 1, \"groups\": 3}"),
                  "%s", text);
    hunze_string_free(text);
    hunze_plan_release(plan);
    drop_example(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_a_product_for_each_group),
        cmocka_unit_test(groups_that_others_stand_for),
        cmocka_unit_test(groups_of_many_rows),
        cmocka_unit_test(values_of_offsets),
        cmocka_unit_test(operands_that_do_not_fit),
        cmocka_unit_test(scales_per_column),
        cmocka_unit_test(options_that_end_before_offsets),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(bytes_that_are_read),
        cmocka_unit_test(explanation),
    };
    return cmocka_run_group_tests_name("grouped products", tests, make_good, drop_good);
}
