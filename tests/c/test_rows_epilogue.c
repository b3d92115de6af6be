/* SPDX-License-Identifier: Apache-2.0 */
/* Epilogues of floating point, and of integers that wrap: bias, residual and activation against scalars, one rounding per step.  Activations with a polynomial are
 * compared with the portable row on one element, and that row with the C library in test_activation_bits. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { T, BIAS, RESIDUAL }; /* slots */

static bool has_epilogue(const hunze_row *row) { return row->float_epilogue != NULL; }

static bool is_simple(hunze_activation_kind kind)
{
    return kind == HUNZE_ACT_NONE || kind == HUNZE_ACT_RELU || kind == HUNZE_ACT_RELU6 ||
           kind == HUNZE_ACT_HARDSIGMOID || kind == HUNZE_ACT_HARDSWISH || kind == HUNZE_ACT_LEAKY_RELU ||
           kind == HUNZE_ACT_CLIP;
}

static double at_least(double x, double low) { return x < low ? low : x; }
static double at_most(double x, double high) { return x > high ? high : x; }

/* kinds without a polynomial, in the type's arithmetic */
#define SIMPLE_ACTIVATION(name, real, fused)                                                                           \
    static real name(const hunze_float_epilogue *e, real x)                                                            \
    {                                                                                                                  \
        const bool defaults = e->alpha == 0 && e->beta == 0;                                                           \
        const real alpha = defaults ? (real)1 / 6 : (real)e->alpha, beta = defaults ? (real)0.5 : (real)e->beta;       \
        switch (e->activation) {                                                                                       \
        case HUNZE_ACT_RELU: return (real)at_least(x, 0);                                                              \
        case HUNZE_ACT_RELU6: return (real)at_most(at_least(x, 0), 6);                                                 \
        case HUNZE_ACT_HARDSIGMOID: return (real)at_most(at_least(fused(alpha, x, beta), 0), 1);                       \
        case HUNZE_ACT_HARDSWISH: return x * (real)at_most(at_least(fused(x, (real)1 / 6, (real)0.5), 0), 1);          \
        case HUNZE_ACT_LEAKY_RELU: return x < 0 ? (real)e->alpha * x : x;                                              \
        case HUNZE_ACT_CLIP: return (real)at_most(at_least(x, e->alpha), e->beta);                                     \
        default: return x;                                                                                             \
        }                                                                                                              \
    }
SIMPLE_ACTIVATION(simple_f32, float, fmaf)
SIMPLE_ACTIVATION(simple_f64, double, fma)

static hunze_float_epilogue_fn *portable_epilogue(hunze_type type)
{
    for (const hunze_row *row = hunze_rows; row->name; row++)
        if (row->op == HUNZE_OP_ACTIVATION && row->isa == HUNZE_ISA_PORTABLE && row->a == type)
            return row->float_epilogue;
    harness_fail("no portable activation row");
}

/* One element: t, and bias and residual or NULL. */
static void reference(const hunze_float_epilogue *e, hunze_type type, void *t, const void *bias, const void *residual)
{
    if (!harness_is_float(type)) {
        uint64_t sum = (uint64_t)harness_get_whole(type, t, 0);
        sum += bias ? (uint64_t)harness_get_whole(type, bias, 0) : 0;
        sum += residual ? (uint64_t)harness_get_whole(type, residual, 0) : 0;
        harness_set_whole(type, t, 0, (int64_t)sum);
        const double v = harness_get(type, t, 0), clipped = simple_f64(e, v);
        if (clipped != v) /* a bound, or the whole number inside it */
            harness_set_whole(type, t, 0, (int64_t)clipped);
    } else if (type == HUNZE_TYPE_F32) {
        float v = *(float *)t;
        v = bias ? v + *(const float *)bias : v;
        v = residual ? v + *(const float *)residual : v;
        *(float *)t = is_simple(e->activation) ? simple_f32(e, v) : v;
    } else {
        double v = *(double *)t;
        v = bias ? v + *(const double *)bias : v;
        v = residual ? v + *(const double *)residual : v;
        *(double *)t = is_simple(e->activation) ? simple_f64(e, v) : v;
    }
    if (!is_simple(e->activation)) {
        hunze_float_epilogue only = {.activation = e->activation, .alpha = e->alpha, .beta = e->beta};
        portable_epilogue(type)(&only, 1, 1, t, 1);
    }
}

typedef struct operand {
    int64_t row, col;
    void *data;
} operand;

/* Places an (m, n) operand with one of six stride patterns and fills what is addressed. */
static operand place_operand(int slot, harness_rng *rng, hunze_type type, int64_t m, int64_t n, int pattern,
                             harness_values values, harness_side side)
{
    const size_t bytes = harness_bytes(type);
    const int64_t gap = harness_between(rng, 0, 3);
    const int64_t rows[] = {0, 1, 0, n + gap, 1, 0}, cols[] = {1, 0, 0, 1, m + gap, 2};
    operand o = {rows[pattern], cols[pattern], NULL};
    const int64_t count = m && n ? (m - 1) * o.row + (n - 1) * o.col + 1 : 0;
    o.data = harness_place(slot, (size_t)count * bytes, bytes, side);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            harness_fill(rng, type, (char *)o.data + (size_t)(i * o.row + j * o.col) * bytes, 1, values);
    harness_snapshot(slot);
    return o;
}

static void check_case(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, hunze_activation_kind kind,
                       harness_values values)
{
    const hunze_type type = row->d;
    const size_t bytes = harness_bytes(type);
    const uint32_t choice = (uint32_t)harness_u64(rng);
    const harness_side side = choice & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    const int bias_pattern = (int)(choice >> 8) % 6, residual_pattern = (int)(choice >> 16) % 6;
    hunze_float_epilogue e = {.activation = kind, .canonical_nan = choice & 8};
    if (kind == HUNZE_ACT_CLIP || kind == HUNZE_ACT_LEAKY_RELU || (kind == HUNZE_ACT_HARDSIGMOID && choice & 16)) {
        const float wide = harness_is_float(type) ? 1
                           : choice & 64          ? 80001
                                                  : 0x1p61f; /* of whole numbers, fewer or more than 16 bits hold */
        e.alpha = wide * (kind == HUNZE_ACT_CLIP ? -0.25f : 0.3f);
        e.beta = wide * (kind == HUNZE_ACT_CLIP ? 0.75f : 0.4f);
    }
    harness_case("m %lld n %lld activation %d bias %d residual %d%s %s, operands %s", (long long)m, (long long)n, kind,
                 choice & 2 ? bias_pattern : -1, choice & 4 ? residual_pattern : -1,
                 e.canonical_nan ? " canonical NaN" : "", harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start");
    const int64_t t_row = n + harness_between(rng, 0, 5);
    char *t = harness_place(T, (size_t)(m && n ? (m - 1) * t_row + n : 0) * bytes, bytes, side);
    operand bias = {0, 0, NULL}, residual = {0, 0, NULL};
    if (choice & 2)
        bias = place_operand(BIAS, rng, type, m, n, bias_pattern, values, side);
    if (choice & 4)
        residual = place_operand(RESIDUAL, rng, type, m, n, residual_pattern, values, side);
    e.bias = bias.data;
    e.bias_row = bias.row;
    e.bias_col = bias.col;
    e.residual = residual.data;
    e.residual_row = residual.row;
    e.residual_col = residual.col;
    for (int64_t i = 0; i < m; i++) {
        harness_fill(rng, type, t + (size_t)(i * t_row) * bytes, n, values);
        for (int64_t j = 0; harness_is_float(type) && values == HARNESS_UNIFORM && choice & 32 && j < n;
             j++) /* both sides of every range */
            harness_set(type, t, i * t_row + j, 9 * harness_get(type, t, i * t_row + j));
    }
    harness_snapshot(T);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            reference(&e, type, harness_remembered(T, t + (size_t)(i * t_row + j) * bytes),
                      bias.data ? (char *)bias.data + (size_t)(i * bias.row + j * bias.col) * bytes : NULL,
                      residual.data ? (char *)residual.data + (size_t)(i * residual.row + j * residual.col) * bytes
                                    : NULL);
    HARNESS_CALL(row->float_epilogue, HARNESS_ARGUMENT(&e), HARNESS_ARGUMENT(m), HARNESS_ARGUMENT(n),
                 HARNESS_ARGUMENT(t), HARNESS_ARGUMENT(t_row));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            char *got = t + (size_t)(i * t_row + j) * bytes, *want = harness_remembered(T, got);
            harness_check(harness_same(type, got, want), "t[%lld,%lld] is %s, not %s", (long long)i, (long long)j,
                          harness_show(type, got), harness_show(type, want));
            if (e.canonical_nan && isnan(harness_get(type, got, 0))) {
                static const uint32_t nan_f32 = 0x7fc00000;
                static const uint64_t nan_f64 = 0x7ff8000000000000;
                harness_check(
                    !memcmp(got, type == HUNZE_TYPE_F32 ? (const void *)&nan_f32 : (const void *)&nan_f64, bytes),
                    "t[%lld,%lld] is NaN %s, not the canonical one", (long long)i, (long long)j,
                    harness_show(type, got));
            }
            memcpy(want, got, bytes);
        }
    harness_unchanged(T, "t outside the rows");
    if (bias.data)
        harness_unchanged(BIAS, "bias");
    if (residual.data)
        harness_unchanged(RESIDUAL, "residual");
}

static bool has_kind(const hunze_row *row, int kind)
{
    return harness_is_float(row->d) || kind == HUNZE_ACT_NONE || kind == HUNZE_ACT_RELU || kind == HUNZE_ACT_CLIP;
}

static void check_epilogue(const hunze_row *row)
{
    static const int64_t ms[] = {0, 1, 2, 7},
                         ns[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 48, 61, 64, 65};
    harness_rng rng = {21};
    for (size_t n = 0; n < sizeof ns / sizeof ns[0]; n++)
        for (size_t m = 0; m < sizeof ms / sizeof ms[0]; m++)
            for (int kind = HUNZE_ACT_NONE; kind <= HUNZE_ACT_CLIP; kind++) {
                if (!has_kind(row, kind))
                    continue;
                if (harness_small() && (n + m + (size_t)kind) % 5)
                    continue;
                for (int turn = 0; turn < harness_budget(3, 1); turn++)
                    check_case(row, &rng, ms[m], ns[n], (hunze_activation_kind)kind, HARNESS_UNIFORM);
            }
    for (int values = 0; values < HARNESS_VALUES; values++)
        for (int kind = HUNZE_ACT_NONE; kind <= HUNZE_ACT_CLIP; kind++)
            for (int turn = 0; has_kind(row, kind) && turn < harness_budget(8, 1); turn++)
                check_case(row, &rng, 3, 37, (hunze_activation_kind)kind, (harness_values)values);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"float epilogue", has_epilogue, check_epilogue}};
    return harness_main(argc, argv, "rows: epilogues of floating point and what wraps", parts, 1);
}
