/* SPDX-License-Identifier: Apache-2.0 */
/* The GEMM driver against scalar chains, bit by bit: every row of floating point and of integers that wrap, over shapes around tiles and K blocks, strides of every
 * kind, batches, epilogues, alpha and beta; with 1, 2, 3 and 7 threads, a serial and a reversed parallel_for, B packed or not. */
#include "gemm.h"
#include "harness.h"
#include "plan.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH_AXES = 2, DIMS = MAX_BATCH_AXES + 2 };

typedef union number {
    double real;
    uint64_t whole; /* of an integer, modulo 2^64 */
} number;

typedef struct operand {
    hunze_tensor tensor;
    hunze_type type;
    int64_t shape[DIMS], strides[DIMS];
    char *memory;
    size_t bytes;
    number *all_values, *values; /* of the memory; from the first element on, in both directions */
} operand;

typedef struct gemm_case {
    const hunze_row *row;
    int64_t m, n, k, batch[MAX_BATCH_AXES];
    int batch_axes;
    operand a, b, c, d, bias, residual;
    bool has_c, transpose_a, transpose_b;
    double alpha, beta;
    hunze_gemm_options options;
    hunze_activation activation;
} gemm_case;

static hunze_context *context;

/* Strides: the axes in a random order, with gaps; inputs also backwards or 0.  rows: the last axis is contiguous. */
static void make_strided(operand *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape, bool output,
                         bool rows, harness_values values)
{
    int order[DIMS];
    bool plain = harness_between(rng, 0, 2) != 0;
    x->type = type;
    for (int i = 0; i < ndim; i++)
        order[i] = ndim - 1 - i;
    if (!plain)
        for (int i = ndim - 1; i > rows; i--) {
            int j = (int)harness_between(rng, rows, i), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
    int64_t span = 1, first = 0;
    for (int i = 0; i < ndim; i++) {
        int axis = order[i];
        int64_t extent = shape[axis] > 0 ? shape[axis] : 1;
        x->shape[axis] = shape[axis];
        const bool contiguous = rows && i == 0;
        if ((i > 0 || !plain) && !contiguous)
            span += harness_between(rng, 0, 3) == 0 ? harness_between(rng, 1, 5) : 0;
        x->strides[axis] = span;
        if (!output && !contiguous && harness_between(rng, 0, 11) == 0)
            x->strides[axis] = 0;
        else
            span *= extent;
        if (!contiguous && harness_between(rng, 0, 9) == 0) {
            x->strides[axis] = -x->strides[axis];
            first += -x->strides[axis] * (extent - 1);
        }
    }
    const size_t size = hunze_type_bytes(type);
    int64_t count = 1 + first;
    for (int axis = 0; axis < ndim; axis++)
        if (x->strides[axis] > 0 && shape[axis] > 0)
            count += x->strides[axis] * (shape[axis] - 1);
    x->bytes = (size_t)count * size;
    x->memory = malloc(x->bytes);
    harness_fill(rng, type, x->memory, count, values);
    x->tensor = (hunze_tensor){
        x->memory + (size_t)first * size, {HUNZE_DEVICE_CPU, 0}, ndim, harness_dtype(type), x->shape, x->strides, 0};
    x->all_values = malloc((size_t)count * sizeof *x->all_values);
    for (int64_t i = 0; i < count; i++)
        if (harness_is_float(type))
            x->all_values[i].real = harness_get(type, x->memory, i);
        else
            x->all_values[i].whole = (uint64_t)harness_get_whole(type, x->memory, i);
    x->values = x->all_values + first;
}

static void make(operand *x, harness_rng *rng, hunze_type type, int ndim, const int64_t *shape, bool output,
                 harness_values values)
{
    make_strided(x, rng, type, ndim, shape, output, false, values);
}

static void destroy(operand *x)
{
    free(x->memory);
    free(x->all_values);
    x->memory = NULL;
    x->all_values = NULL;
}

/* ------------------------------------------------------------------ the reference */

/* Leading axes broadcast; index has DIMS entries, batch axes right-aligned before row and column. */
static int64_t offset_of(const operand *x, const int64_t *index)
{
    int64_t offset = 0;
    for (int axis = 0; axis < x->tensor.ndim; axis++)
        if (x->shape[axis] != 1)
            offset += index[DIMS - x->tensor.ndim + axis] * x->strides[axis];
    return offset;
}
#define NUMBER(x, ...) ((x).values[offset_of(&(x), (const int64_t[]){__VA_ARGS__})])
#define ELEMENT(x, ...) NUMBER(x, __VA_ARGS__).real
#define WHOLE(x, ...) NUMBER(x, __VA_ARGS__).whole

static double left(const gemm_case *g, int64_t z0, int64_t z1, int64_t i, int64_t p)
{
    return g->transpose_a ? ELEMENT(g->a, z0, z1, p, i) : ELEMENT(g->a, z0, z1, i, p);
}

static double right(const gemm_case *g, int64_t z0, int64_t z1, int64_t p, int64_t j)
{
    return g->transpose_b ? ELEMENT(g->b, z0, z1, j, p) : ELEMENT(g->b, z0, z1, p, j);
}

/* A block of rows that read pairs: the second product of a pair first; the last has zeros beside it. */
static float sum_of_pairs(const gemm_case *g, int64_t z0, int64_t z1, int64_t i, int64_t j, int64_t p, int64_t end)
{
    float s = 0;
    for (; p < end; p += 2) {
        s = p + 1 == end ? harness_step_bf16(0, 0, s)
                         : harness_step_bf16((float)left(g, z0, z1, i, p + 1), (float)right(g, z0, z1, p + 1, j), s);
        s = harness_step_bf16((float)left(g, z0, z1, i, p), (float)right(g, z0, z1, p, j), s);
    }
    return s;
}

#define REFERENCE(name, real, fma_, kc)                                                                                \
    static real name##_activate(const hunze_activation *act, real x)                                                   \
    {                                                                                                                  \
        switch (act->kind) {                                                                                           \
        case HUNZE_ACT_RELU: return x < 0 ? 0 : x;                                                                     \
        case HUNZE_ACT_LEAKY_RELU: return x < 0 ? (real)act->alpha * x : x;                                            \
        case HUNZE_ACT_CLIP:                                                                                           \
            x = x < (real)act->alpha ? (real)act->alpha : x;                                                           \
            return (real)act->beta < x ? (real)act->beta : x;                                                          \
        default: return x;                                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    static void name(gemm_case *g)                                                                                     \
    {                                                                                                                  \
        const real alpha = g->k == 0 ? 0 : (real)g->alpha, beta = (real)g->beta;                                       \
        const int64_t k = g->alpha == 0 ? 0 : g->k;                                                                    \
        for (int64_t z0 = 0; z0 < g->batch[0]; z0++)                                                                   \
            for (int64_t z1 = 0; z1 < g->batch[1]; z1++)                                                               \
                for (int64_t i = 0; i < g->m; i++)                                                                     \
                    for (int64_t j = 0; j < g->n; j++) {                                                               \
                        real t = g->has_c && beta != 0 ? beta * (real)ELEMENT(g->c, z0, z1, i, j) : (real) - 0.0;      \
                        for (int64_t p = 0, end = -1; end < k;) {                                                      \
                            real s = 0;                                                                                \
                            end = k - p < kc + kc / 2 ? k : p + kc; /* a last block under kc/2 joins the one before */ \
                            if (hunze_row_reads_pairs(g->row))                                                         \
                                s = sum_of_pairs(g, z0, z1, i, j, p, end);                                             \
                            else                                                                                       \
                                for (int64_t q = p; q < end; q++)                                                      \
                                    s = fma_((real)left(g, z0, z1, i, q), (real)right(g, z0, z1, q, j), s);            \
                            p = end;                                                                                   \
                            t = fma_(alpha, s, t);                                                                     \
                        }                                                                                              \
                        if (g->options.bias)                                                                           \
                            t += (real)ELEMENT(g->bias, z0, z1, i, j);                                                 \
                        if (g->options.residual)                                                                       \
                            t += (real)ELEMENT(g->residual, z0, z1, i, j);                                             \
                        harness_set(g->d.type, g->d.tensor.data, offset_of(&g->d, (const int64_t[]){z0, z1, i, j}),    \
                                    name##_activate(&g->activation, t));                                               \
                    }                                                                                                  \
    }
REFERENCE(reference_f32, float, fmaf, HUNZE_KC_F32)
REFERENCE(reference_f64, double, fma, HUNZE_KC_F64)

/* One element of what wraps. */
static int64_t wrapped(const gemm_case *g, int64_t z0, int64_t z1, int64_t i, int64_t j)
{
    const uint64_t alpha = (uint64_t)(int64_t)g->alpha, beta = (uint64_t)(int64_t)g->beta;
    uint64_t sum = 0, t = g->has_c ? beta * WHOLE(g->c, z0, z1, i, j) : 0;
    for (int64_t p = 0; p < g->k; p++)
        sum += (g->transpose_a ? WHOLE(g->a, z0, z1, p, i) : WHOLE(g->a, z0, z1, i, p)) *
               (g->transpose_b ? WHOLE(g->b, z0, z1, j, p) : WHOLE(g->b, z0, z1, p, j));
    t += alpha * sum;
    t += g->options.bias ? WHOLE(g->bias, z0, z1, i, j) : 0;
    t += g->options.residual ? WHOLE(g->residual, z0, z1, i, j) : 0;
    int64_t x;
    harness_set_whole(g->d.type, &x, 0, (int64_t)t);
    x = harness_get_whole(g->d.type, &x, 0);
    const int64_t low = g->activation.kind == HUNZE_ACT_RELU ? 0 : (int64_t)g->activation.alpha,
                  high = g->activation.kind == HUNZE_ACT_RELU ? INT64_MAX : (int64_t)g->activation.beta;
    return g->activation.kind == HUNZE_ACT_NONE ? x : x < low ? low : x > high ? high : x;
}

static void reference_wrapping(gemm_case *g)
{
    for (int64_t z0 = 0; z0 < g->batch[0]; z0++)
        for (int64_t z1 = 0; z1 < g->batch[1]; z1++)
            for (int64_t i = 0; i < g->m; i++)
                for (int64_t j = 0; j < g->n; j++)
                    harness_set_whole(g->d.type, g->d.tensor.data, offset_of(&g->d, (const int64_t[]){z0, z1, i, j}),
                                      wrapped(g, z0, z1, i, j));
}

/* ------------------------------------------------------------------ running the driver */

static hunze_status drive(gemm_case *g, const hunze_tensor *packed, int32_t threads, const hunze_run *run)
{
    struct hunze_plan plan = {.context = context, .op = HUNZE_OP_GEMM, .row = g->row, .d_type = g->d.type};
    bool own_b = false;
    for (int axis = 0; axis < g->b.tensor.ndim - 2; axis++)
        own_b |= g->b.shape[axis] != 1;
    plan.gemm_shape = (hunze_gemm_shape){.m = g->m,
                                         .n = g->n,
                                         .k = g->k,
                                         .batch = g->batch[0] * g->batch[1],
                                         .packed_b = packed,
                                         .shared_b = !own_b,
                                         .transposed_d = g->n > 1 && g->d.strides[g->d.tensor.ndim - 1] != 1};
    const hunze_call call = {
        sizeof call,  HUNZE_OP_GEMM, &g->a.tensor, packed ? packed : &g->b.tensor, g->has_c ? &g->c.tensor : NULL,
        &g->d.tensor, &g->options};
    hunze_exec exec = {.context = context, .threads = threads, .run = run, .caller = (uintptr_t)pthread_self()};
    exec.workspace_bytes = hunze_gemm_workspace(&plan, threads);
    exec.workspace = aligned_alloc(64, (exec.workspace_bytes + 127) & ~(size_t)63);
    memset(exec.workspace, 0xFF, exec.workspace_bytes); /* NaN, if it were read before it is written */
    char *end = (char *)exec.workspace + exec.workspace_bytes;
    memset(end, 0x5A, 64 - exec.workspace_bytes % 64);
    hunze_status status = hunze_run_gemm(&plan, &call, &exec);
    harness_check(*end == 0x5A, "the driver wrote beyond its workspace of %zu bytes", exec.workspace_bytes);
    free(exec.workspace);
    return status;
}

/* The driver of small products in place; false: it does not take the case. */
static bool drive_direct(gemm_case *g, int32_t threads, const hunze_run *run, hunze_status *status)
{
    struct hunze_plan plan = {.context = context, .op = HUNZE_OP_GEMM, .row = g->row, .d_type = g->d.type};
    const hunze_call call = {sizeof call,  HUNZE_OP_GEMM, &g->a.tensor, &g->b.tensor, g->has_c ? &g->c.tensor : NULL,
                             &g->d.tensor, &g->options};
    const int roles[] = {HUNZE_ROLE_A, HUNZE_ROLE_B, HUNZE_ROLE_C, HUNZE_ROLE_D, HUNZE_ROLE_BIAS, HUNZE_ROLE_RESIDUAL};
    const hunze_tensor *const operands[] = {call.a, call.b, call.c, call.d, g->options.bias, g->options.residual};
    hunze_request request = {.call = &call};
    for (int i = 0; i < 6; i++) {
        request.operand[roles[i]] = operands[i];
        plan.roles |= operands[i] ? 1u << roles[i] : 0;
        plan.operands.filled |= operands[i] && hunze_count(operands[i]) ? 1u << roles[i] : 0;
    }
    plan.gemm_shape = (hunze_gemm_shape){.m = g->m, .n = g->n, .k = g->k, .batch = g->batch[0] * g->batch[1]};
    plan.operations = UINT64_MAX; /* worth any number of threads */
    if (g->m * g->n == 0 || !hunze_gemm_is_direct(&request, &plan))
        return false;
    hunze_exec exec = {.context = context, .threads = threads, .run = run, .caller = (uintptr_t)pthread_self()};
    *status = hunze_run_gemm_direct(&plan, &call, &exec);
    return true;
}

static void compare(const gemm_case *g, const char *expected, const char *how)
{
    const size_t size = hunze_type_bytes(g->d.type);
    for (size_t at = 0; at < g->d.bytes; at += size)
        harness_check(harness_same(g->d.type, expected + at, g->d.memory + at),
                      "%s: element %zu of D's memory is %s, should be %s", how, at / size,
                      harness_show(g->d.type, g->d.memory + at), harness_show(g->d.type, expected + at));
}

/* Whether the case was one of small products in place, too. */
static bool check_case(gemm_case *g)
{
    bool direct = false;
    static const int32_t thread_counts[] = {1, 2, 3, 7};
    char *before = malloc(g->d.bytes), *expected = malloc(g->d.bytes), how[64];
    memcpy(before, g->d.memory, g->d.bytes);
    (hunze_row_wraps(g->row) ? reference_wrapping : g->row->d == HUNZE_TYPE_F32 ? reference_f32 : reference_f64)(g);
    memcpy(expected, g->d.memory, g->d.bytes);

    hunze_tensor packed = {.ndim = 1};
    if (g->b.tensor.ndim == 2) {
        const int64_t row = g->b.strides[g->transpose_b ? 1 : 0], column = g->b.strides[g->transpose_b ? 0 : 1];
        packed.data = aligned_alloc(64, 64 + (hunze_packed_panels_bytes(g->row, g->n, g->k) + 63) / 64 * 64);
        for (int64_t panel = 0; panel * g->row->nr < g->n; panel++)
            hunze_pack_panels(g->row, g->n, g->k, &(hunze_gemm_b){g->b.tensor.data, row, column, false}, panel,
                              panel + 1, (char *)packed.data + 64);
    }
    for (size_t t = 0; t < sizeof thread_counts / sizeof *thread_counts; t++)
        for (int variant = 0; variant < 4; variant++) {
            if (variant == 3 && !packed.data)
                continue;
            const hunze_run run = {.struct_size = sizeof run,
                                   .parallel_for = variant == 1 ? harness_serially : harness_reversed};
            memcpy(g->d.memory, before, g->d.bytes);
            snprintf(how, sizeof how, "%d threads, %s", thread_counts[t],
                     (const char *[]){"pool", "serial parallel_for", "reversed parallel_for", "packed"}[variant]);
            hunze_status status =
                drive(g, variant == 3 ? &packed : NULL, thread_counts[t], variant == 1 || variant == 2 ? &run : NULL);
            harness_check(status == HUNZE_OK, "%s: %s", how, hunze_last_error());
            compare(g, expected, how);
            memcpy(g->d.memory, before, g->d.bytes);
            if (variant == 3 || !drive_direct(g, thread_counts[t], variant ? &run : NULL, &status))
                continue;
            direct = true;
            strcat(how, ", in place");
            harness_check(status == HUNZE_OK, "%s: %s", how, hunze_last_error());
            compare(g, expected, how);
        }
    free(packed.data);
    free(before);
    free(expected);
    return direct;
}

/* ------------------------------------------------------------------ cases */

static int64_t pick(harness_rng *rng, const int64_t *values, int count)
{
    return values[harness_between(rng, 0, count - 1)];
}

/* The type of an operand beside A and B: bf16 and f16 stand with f32 too. */
static hunze_type other_type(const hunze_row *row, harness_rng *rng)
{
    return row->widen && harness_between(rng, 0, 1) ? HUNZE_TYPE_F32 : row->a;
}

static void make_operand_shape(const gemm_case *g, harness_rng *rng, int64_t rows, int64_t columns, int64_t *shape,
                               int *ndim, bool broadcasts)
{
    int axes = broadcasts ? (int)harness_between(rng, 0, g->batch_axes) : g->batch_axes;
    for (int i = 0; i < axes; i++) {
        int64_t extent = g->batch[MAX_BATCH_AXES - axes + i];
        shape[i] = broadcasts && harness_between(rng, 0, 3) == 0 ? 1 : extent;
    }
    shape[axes] = rows;
    shape[axes + 1] = columns;
    *ndim = axes + 2;
}

/* in_place: rows of B (or its columns), C and D are contiguous, nothing stands behind the sum, and batches are larger.  Returns what check_case does. */
static bool any_case(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, int64_t k, bool in_place)
{
    gemm_case g = {.row = row, .m = m, .n = n, .k = k, .batch = {1, 1}, .alpha = 1};
    const hunze_type type = row->a;
    const harness_values values = (harness_values)harness_between(rng, 0, HARNESS_VALUES - 1);
    int64_t shape[DIMS];
    int ndim;
    if ((double)m * (double)n * (double)k < 1e5) {
        g.batch_axes = (int)harness_between(rng, 0, MAX_BATCH_AXES);
        for (int i = 0; i < g.batch_axes; i++)
            g.batch[MAX_BATCH_AXES - 1 - i] = harness_between(rng, 1, in_place ? 9 : 3);
    }
    g.transpose_a = harness_between(rng, 0, 1);
    g.transpose_b = harness_between(rng, 0, 1);
    make_operand_shape(&g, rng, g.transpose_a ? k : m, g.transpose_a ? m : k, shape, &ndim, true);
    make(&g.a, rng, type, ndim, shape, false, values);
    make_operand_shape(&g, rng, g.transpose_b ? n : k, g.transpose_b ? k : n, shape, &ndim, true);
    make_strided(&g.b, rng, type, ndim, shape, false, in_place, values);
    make_operand_shape(&g, rng, m, n, shape, &ndim, false);
    make_strided(&g.d, rng, other_type(row, rng), ndim, shape, true, in_place, HARNESS_SPECIAL);
    static const double factors[] = {1, 1, 0, -0.75, 2};
    const double whole = hunze_row_wraps(row) ? 4 : 1;
    g.alpha = whole * factors[harness_between(rng, 0, 4)];
    if (harness_between(rng, 0, 2) == 0) {
        g.has_c = true;
        g.beta = whole * factors[harness_between(rng, 0, 4)];
        make_operand_shape(&g, rng, m, n, shape, &ndim, false);
        make_strided(&g.c, rng, g.d.type, ndim, shape, false, in_place, g.beta == 0 ? HARNESS_SPECIAL : values);
    }
    g.options = (hunze_gemm_options){.struct_size = sizeof g.options,
                                     .alpha = &g.alpha,
                                     .beta = &g.beta,
                                     .transpose_a = g.transpose_a,
                                     .transpose_b = g.transpose_b};
    switch (in_place ? 4 : harness_between(rng, 0, 4)) {
    case 0:
        make(&g.bias, rng, other_type(row, rng), 1, (int64_t[]){n}, false, values);
        g.options.bias = &g.bias.tensor;
        break;
    case 1:
        make(&g.bias, rng, other_type(row, rng), 2, (int64_t[]){m, 1}, false, values);
        g.options.bias = &g.bias.tensor;
        break;
    default: break;
    }
    if (!in_place && harness_between(rng, 0, 3) == 0) {
        make_operand_shape(&g, rng, harness_between(rng, 0, 1) ? m : 1, n, shape, &ndim, true);
        make(&g.residual, rng, other_type(row, rng), ndim, shape, false, values);
        g.options.residual = &g.residual.tensor;
    }
    static const uint32_t kinds[] = {HUNZE_ACT_NONE, HUNZE_ACT_RELU, HUNZE_ACT_LEAKY_RELU, HUNZE_ACT_CLIP};
    g.activation =
        (hunze_activation){sizeof g.activation, kinds[in_place ? 0 : harness_between(rng, 0, 3)], -0.5F, 0.5F};
    if (hunze_row_wraps(row)) { /* bounds that not every sum of 16 bits is beyond */
        g.activation.kind = g.activation.kind == HUNZE_ACT_LEAKY_RELU ? HUNZE_ACT_NONE : g.activation.kind;
        g.activation.alpha = -300.5F;
        g.activation.beta = 20000.5F;
    }
    g.options.activation = &g.activation;
    harness_case("m %ld n %ld k %ld batch %ldx%ld, types %d to %d, %s, alpha %g beta %g%s%s", (long)m, (long)n, (long)k,
                 (long)g.batch[0], (long)g.batch[1], type, g.d.type, harness_values_name(values), g.alpha, g.beta,
                 g.transpose_a ? " At" : "", g.transpose_b ? " Bt" : "");
    const bool direct = check_case(&g);
    operand *all[] = {&g.a, &g.b, &g.c, &g.d, &g.bias, &g.residual};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        destroy(all[i]);
    return direct;
}

static void random_case(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, int64_t k)
{
    any_case(row, rng, m, n, k, false);
}

static bool has_float_tile(const hunze_row *row) { return row->float_tile; }

static void check_shapes(const hunze_row *row)
{
    harness_rng rng = {0x9E3779B97F4A7C15};
    const int64_t mr = row->mr, nr = row->nr, kc = hunze_gemm_kc(row);
    const int64_t ms[] = {0, 1, 2, 5, mr - 1, mr, mr + 1, 2 * mr + 3, 3 * mr, 3 * mr + 1, 61};
    const int64_t ns[] = {0, 1, 3, nr / 2, nr / 2 + 1, nr - 1, nr, nr + 1, 2 * nr, 3 * nr - 1, 67};
    const int64_t ks[] = {
        0, 1, 2, 7, 31, 64, kc - 1, kc, kc + 1, kc + kc / 2 - 1, kc + kc / 2, 2 * kc + kc / 2 - 1, 2 * kc + kc / 2};
    const bool slow = row->isa == HUNZE_ISA_PORTABLE;
    for (int i = 0; i < harness_budget(slow || hunze_row_wraps(row) ? 60 : 240, 4); i++) {
        int64_t k = i % 4 == 0 ? pick(&rng, ks, 13) : pick(&rng, ks, 6);
        random_case(row, &rng, pick(&rng, ms, 11), pick(&rng, ns, 11), k);
    }
}

/* Large enough for several units, lanes and passes. */
static void check_large(const hunze_row *row)
{
    harness_rng rng = {0xD1B54A32D192ED03};
    const bool slow = row->isa == HUNZE_ISA_PORTABLE && row->d == HUNZE_TYPE_F64;
    static const int64_t shapes[][3] = {{211, 150, 130}, {9, 1031, 257}, {1, 2053, 520}, {701, 5, 610},
                                        {97, 128, 800},  {530, 67, 64},  {530, 3, 64},   {6, 2053, 41}};
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++)
        random_case(row, &rng, shapes[i][0], shapes[i][1] / (slow ? 4 : 1), shapes[i][2] / (slow ? 2 : 1));
}

/* Few rows of A, over one strip of columns and several, one K block and several. */
static void check_few_rows(const hunze_row *row)
{
    harness_rng rng = {0x8CB92BA72F3D8DD7};
    const int64_t nr = row->nr, kc = hunze_gemm_kc(row);
    const int64_t ns[] = {nr + 1, 3 * nr - 1, 257, 511, 1040}, ks[] = {257, kc - 1, kc + 3, kc + kc / 2, 2 * kc + 9};
    const bool slow = row->isa == HUNZE_ISA_PORTABLE;
    for (int64_t m = 1; m <= 17; m++)
        for (int i = 0; i < harness_budget(slow || hunze_row_wraps(row) ? 1 : 2, 1); i++)
            random_case(row, &rng, m, pick(&rng, ns, slow ? 2 : 5), pick(&rng, ks, slow ? 2 : 5));
    if (!slow && !harness_small()) {
        for (int64_t m = 1; m <= 16; m += 5)
            random_case(row, &rng, m, 4096 + 2 * nr + m, 72);
        for (int i = 0; i < 4; i++) /* more of A than is copied at a time */
            random_case(row, &rng, 16 - i, 2 * nr + 5 + i, 10 * kc + 9);
    }
}

/* Small matrices, one and batches of them: contiguous, strided, broadcast, backwards, along axes that do and do not go on in equal steps. */
static void check_batches(const hunze_row *row)
{
    harness_rng rng = {0xB5297A4D2F1C6E83};
    const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 23, 25, 33}, ks[] = {0, 1, 2, 5, 9, 16, 23};
    const bool slow = row->isa == HUNZE_ISA_PORTABLE;
    int taken = 0;
    const int count = harness_budget(slow ? 30 : 60, 4);
    for (int i = 0; i < count; i++)
        taken += any_case(row, &rng, pick(&rng, sizes, 16), pick(&rng, sizes, 16), pick(&rng, ks, 7), true);
    harness_check(!row->float_batch || taken == count, "%d of %d cases are computed in place", taken, count);
    /* Larger ones, unless rows lie far apart. */
    const int64_t large[][3] = {{17, 200, 90}, {66, 66, 66}, {100, 33, 101}, {70, 130, 40}};
    const int more = harness_budget(slow ? 4 : 8, 4);
    taken = 0;
    for (int i = 0; i < more; i++)
        taken += any_case(row, &rng, large[i % 4][0], large[i % 4][1], large[i % 4][2], true);
    harness_check(!row->float_batch || taken > 0, "no larger case is computed in place");
}

/* D is C, with beta. */
static void check_in_place(const hunze_row *row)
{
    harness_rng rng = {7};
    for (int i = 0; i < 6; i++) {
        const int64_t m = 40 + i, n = 33 + i, k = i % 2 ? 600 : 20;
        gemm_case g = {.row = row,
                       .m = m,
                       .n = n,
                       .k = k,
                       .batch = {1, 1},
                       .alpha = hunze_row_wraps(row) ? 5 : 0.5,
                       .beta = -2,
                       .has_c = true};
        make(&g.a, &rng, row->a, 2, (int64_t[]){m, k}, false, HARNESS_UNIFORM);
        make(&g.b, &rng, row->a, 2, (int64_t[]){k, n}, false, HARNESS_UNIFORM);
        make(&g.d, &rng, other_type(row, &rng), 2, (int64_t[]){m, n}, true, HARNESS_UNIFORM);
        g.c = g.d;
        g.c.tensor.shape = g.c.shape;
        g.c.tensor.strides = g.c.strides;
        g.options = (hunze_gemm_options){
            .struct_size = sizeof g.options, .alpha = &g.alpha, .beta = &g.beta, .activation = &g.activation};
        g.activation.struct_size = sizeof g.activation;
        harness_case("in place, m %ld n %ld k %ld", (long)m, (long)n, (long)k);
        check_case(&g);
        destroy(&g.a);
        destroy(&g.b);
        destroy(&g.d);
    }
}

static int stop_at_once(void *user)
{
    ++*(int *)user;
    return 1;
}

static void check_cancel(const hunze_row *row)
{
    harness_rng rng = {11};
    int polls = 0;
    gemm_case g = {.row = row, .m = 300, .n = 70, .k = 40, .batch = {1, 1}, .alpha = 1};
    make(&g.a, &rng, row->a, 2, (int64_t[]){300, 40}, false, HARNESS_UNIFORM);
    make(&g.b, &rng, row->a, 2, (int64_t[]){40, 70}, false, HARNESS_UNIFORM);
    make(&g.d, &rng, row->a, 2, (int64_t[]){300, 70}, true, HARNESS_UNIFORM);
    g.options.struct_size = sizeof g.options;
    const hunze_run run = {.struct_size = sizeof run, .cancel = stop_at_once, .cancel_user = &polls};
    harness_case("cancel");
    hunze_status status = drive(&g, NULL, 1, &run);
    harness_check(polls > 0 && status == HUNZE_ERR_CANCELLED, "polled %d times, %s", polls, hunze_status_name(status));
    destroy(&g.a);
    destroy(&g.b);
    destroy(&g.d);
    g.m = 8;
    g.n = 7;
    g.batch[1] = 30;
    make_strided(&g.a, &rng, row->a, 3, (int64_t[]){30, 8, 40}, false, true, HARNESS_UNIFORM);
    make_strided(&g.b, &rng, row->a, 2, (int64_t[]){40, 7}, false, true, HARNESS_UNIFORM);
    make_strided(&g.d, &rng, row->a, 3, (int64_t[]){30, 8, 7}, true, true, HARNESS_UNIFORM);
    harness_case("cancel, batch in place");
    polls = 0;
    if (drive_direct(&g, 1, &run, &status))
        harness_check(polls > 0 && status == HUNZE_ERR_CANCELLED, "polled %d times, %s", polls,
                      hunze_status_name(status));
    else
        harness_check(!row->float_batch, "not computed in place");
    destroy(&g.a);
    destroy(&g.b);
    destroy(&g.d);
}

int main(int argc, char **argv)
{
    const hunze_context_options options = {.struct_size = sizeof options, .flags = HUNZE_IGNORE_ENVIRONMENT};
    if (hunze_context_create(&options, &context) != HUNZE_OK)
        return 1;
    static const harness_part parts[] = {
        {"shapes", has_float_tile, check_shapes},     {"large", has_float_tile, check_large},
        {"few rows", has_float_tile, check_few_rows}, {"batches in place", has_float_tile, check_batches},
        {"in place", has_float_tile, check_in_place}, {"cancel", has_float_tile, check_cancel}};
    int failed = harness_main(argc, argv, "gemm driver", parts, sizeof parts / sizeof *parts);
    hunze_context_release(context);
    return failed;
}
