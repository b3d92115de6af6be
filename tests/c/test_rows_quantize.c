/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of quantize, dequantize and the range of dynamic quantisation, bit by bit against scalars. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { X, Y, SCALE, ZERO }; /* slots */

static bool has_quantize(const hunze_row *row) { return row->op == HUNZE_OP_QUANTIZE; }
static bool has_dequantize(const hunze_row *row) { return row->op == HUNZE_OP_DEQUANTIZE; }
static bool has_minmax(const hunze_row *row) { return row->minmax != NULL; }

static const int64_t counts[] = {0,  1,  2,  3,  4,  5,  7,  8,   9,   15,  16,  17,  31,
                                 32, 33, 47, 61, 63, 64, 65, 127, 128, 131, 257, 1021};
enum { COUNTS = sizeof counts / sizeof counts[0] };

static void place_parameters(harness_rng *rng, hunze_quantize_run *run, hunze_type codes, bool powers, bool with_zero,
                             bool special)
{
    const int64_t count = run->parameter_stride ? run->n : 1;
    float *scale = harness_place(SCALE, (size_t)count * 4, 4, HARNESS_AT_END);
    for (int64_t i = 0; i < count; i++) {
        scale[i] =
            powers ? ldexpf(1, (int)harness_between(rng, -4, 2)) : (float)(0.003 + fabs(harness_uniform(rng)) / 7);
        if (special && harness_u64(rng) % 3 == 0)
            scale[i] = (const float[]){0, INFINITY, NAN, 0x1p-149f, 0x1p127f, -1}[harness_u64(rng) % 6];
    }
    run->scale = scale;
    harness_snapshot(SCALE);
    run->zero_point = NULL;
    if (with_zero) {
        const size_t bytes = harness_bytes(codes);
        char *zero = harness_place(ZERO, (size_t)count * bytes, bytes, HARNESS_AT_END);
        for (int64_t i = 0; i < count; i++)
            harness_set(
                codes, zero, i,
                (double)((codes == HUNZE_TYPE_U8 ? harness_between(rng, 0, 255) : harness_between(rng, -128, 127)) |
                         1));
        run->zero_point = zero;
        harness_snapshot(ZERO);
    }
}

static void call_and_compare(const hunze_row *row, hunze_quantize_run *run)
{
    const size_t bytes = harness_bytes(row->d);
    HARNESS_CALL(row->quantize, HARNESS_ARGUMENT(run));
    for (int64_t i = 0; i < run->n; i++) {
        char *got = (char *)run->y + (size_t)i * bytes, *want = harness_remembered(Y, got);
        const int64_t p = i * run->parameter_stride;
        harness_check(harness_same(row->d, got, want), "y[%lld] is %s, not %s (x %s, scale %.9g, zero point %g)",
                      (long long)i, harness_show(row->d, got), harness_show(row->d, want),
                      harness_show(row->a, (const char *)run->x + (size_t)i * harness_bytes(row->a)), run->scale[p],
                      run->zero_point ? harness_get(row->op == HUNZE_OP_QUANTIZE ? row->d : row->a, run->zero_point, p)
                                      : 0);
        if (run->canonical_nan && isnan(*(const float *)(const void *)got))
            harness_check(*(const uint32_t *)(const void *)got == 0x7FC00000,
                          "y[%lld] is NaN %s, not the canonical one", (long long)i, harness_show(row->d, got));
        memcpy(want, got, bytes);
    }
    harness_unchanged(Y, "beyond y");
    harness_unchanged(X, "x");
    harness_unchanged(SCALE, "scale");
    if (run->zero_point)
        harness_unchanged(ZERO, "zero point");
}

/* y = saturate(round_half_even(x / scale) + zero_point); NaN becomes the zero point */
static void check_quantize(const hunze_row *row)
{
    harness_rng rng = {41};
    const double low = row->d == HUNZE_TYPE_S8 ? -128 : 0, high = low + 255;
    for (int size = 0; size < COUNTS; size++)
        for (int turn = 0; turn < harness_budget(64, 8); turn++) {
            const bool ties = turn & 1, special = turn % 8 == 6;
            const harness_values values = (harness_values)(turn / 8 % HARNESS_VALUES);
            const harness_side side = turn & 2 ? HARNESS_AT_END : HARNESS_AT_START;
            hunze_quantize_run run = {.n = counts[size], .parameter_stride = turn >> 2 & 1};
            harness_case("n %lld parameter stride %lld%s%s %s, operands %s", (long long)run.n,
                         (long long)run.parameter_stride, ties ? " ties" : "", special ? " special scales" : "",
                         harness_values_name(values), side == HARNESS_AT_END ? "at the end" : "at the start");
            float *x = harness_place(X, (size_t)run.n * 4, 4, side);
            harness_fill(&rng, HUNZE_TYPE_F32, x, run.n, values);
            place_parameters(&rng, &run, row->d, ties, turn & 16 || special, special);
            for (int64_t i = 0; i < run.n; i++) {
                const float scale = run.scale[i * run.parameter_stride];
                if (ties) /* (integer or integer + 1/2) * a power of two, within and beyond the codes */
                    x[i] = (float)(harness_between(&rng, -700, 700) / 2.0) * scale;
                else if (values == HARNESS_UNIFORM)
                    x[i] = x[i] * scale * 300;
                else if (values == HARNESS_CONSTANT) /* as near to a tie as f32 comes: a product with 1/scale errs */
                    x[i] = (float)(((double)harness_between(&rng, -140, 140) + 0.5) * (double)scale);
            }
            run.x = x;
            run.y = harness_place(Y, (size_t)run.n, 1, side);
            harness_snapshot(X);
            harness_snapshot(Y);
            for (int64_t i = 0; i < run.n; i++) {
                const int64_t p = i * run.parameter_stride;
                const float q = x[i] / run.scale[p];
                const double zero = run.zero_point ? harness_get(row->d, run.zero_point, p) : 0;
                const double code = isnan(q) ? zero : rint((double)q) + zero;
                harness_set(row->d, harness_remembered(Y, (char *)run.y + i), 0,
                            code < low    ? low
                            : code > high ? high
                                          : code);
            }
            call_and_compare(row, &run);
        }
}

/* x = (code - zero_point) * scale, each step one rounding in f32: with 8 bits the difference is exact, s32 is rounded to f32 first. */
static void check_dequantize(const hunze_row *row)
{
    harness_rng rng = {42};
    const size_t bytes = harness_bytes(row->a);
    for (int size = 0; size < COUNTS; size++)
        for (int turn = 0; turn < harness_budget(32, 8); turn++) {
            const harness_side side = turn & 2 ? HARNESS_AT_END : HARNESS_AT_START;
            hunze_quantize_run run = {
                .n = counts[size], .parameter_stride = turn >> 2 & 1, .canonical_nan = size % 2 == 0};
            harness_case("n %lld parameter stride %lld%s, operands %s", (long long)run.n,
                         (long long)run.parameter_stride, turn & 8 ? " with zero point" : "",
                         side == HARNESS_AT_END ? "at the end" : "at the start");
            char *x = harness_place(X, (size_t)run.n * bytes, bytes, side);
            harness_fill_int(&rng, row->a, x, run.n, turn & 1);
            place_parameters(&rng, &run, row->a, turn & 16, turn & 8, turn % 8 == 7);
            run.x = x;
            run.y = harness_place(Y, (size_t)run.n * 4, 4, side);
            harness_snapshot(X);
            harness_snapshot(Y);
            for (int64_t i = 0; i < run.n; i++) {
                const int64_t p = i * run.parameter_stride;
                const float zero = run.zero_point ? (float)harness_get(row->a, run.zero_point, p) : 0;
                const float value = ((float)harness_get(row->a, x, i) - zero) * run.scale[p];
                memcpy(harness_remembered(Y, (float *)run.y + i), &value, 4);
            }
            call_and_compare(row, &run);
        }
}

static void check_minmax(const hunze_row *row)
{
    harness_rng rng = {43};
    for (int size = 0; size < COUNTS; size++)
        for (int turn = 0; turn < harness_budget(80, 10); turn++) {
            const harness_values values = (harness_values)(turn % HARNESS_VALUES);
            const harness_side side = turn & 1 ? HARNESS_AT_END : HARNESS_AT_START;
            const int64_t n = counts[size];
            float *x = harness_place(X, (size_t)n * 4, 4, side);
            harness_fill(&rng, HUNZE_TYPE_F32, x, n, values);
            if (turn >= 40 && n) { /* one value that decides, at each place in turn */
                const int64_t at = (turn - 40) * n / 40;
                x[at] = (const float[]){NAN, 5, -5, INFINITY, -INFINITY}[turn % 5];
            }
            float *range = harness_place(Y, 8, 4, HARNESS_AT_END);
            range[0] = range[1] = turn & 16 || !n ? 0 : x[0];
            if (isnan(range[0]))
                range[0] = range[1] = 0;
            bool has_nan = turn % 16 == 15, expect_nan = has_nan;
            float low = range[0], high = range[1];
            for (int64_t i = 0; i < n; i++) {
                expect_nan |= isnan(x[i]) != 0;
                low = x[i] < low ? x[i] : low;
                high = x[i] > high ? x[i] : high;
            }
            harness_case("n %lld from %.9g %s, x %s", (long long)n, range[0], harness_values_name(values),
                         side == HARNESS_AT_END ? "at the end" : "at the start");
            harness_snapshot(X);
            HARNESS_CALL(row->minmax, HARNESS_ARGUMENT(n), HARNESS_ARGUMENT(x), HARNESS_ARGUMENT(range),
                         HARNESS_ARGUMENT(&has_nan));
            harness_check(has_nan == expect_nan, "has_nan is %d, not %d", has_nan, expect_nan);
            if (!expect_nan)
                harness_check(range[0] == low && range[1] == high, "the range is [%.9g, %.9g], not [%.9g, %.9g]",
                              range[0], range[1], low, high);
            harness_check(expect_nan ||
                              ((range[0] != 0 || !signbit(range[0])) && (range[1] != 0 || !signbit(range[1]))),
                          "a range ends at -0");
            harness_unchanged(X, "x");
        }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"quantize", has_quantize, check_quantize},
                                         {"dequantize", has_dequantize, check_dequantize},
                                         {"minmax", has_minmax, check_minmax}};
    return harness_main(argc, argv, "rows: quantize, dequantize", parts, sizeof parts / sizeof parts[0]);
}
