/* SPDX-License-Identifier: Apache-2.0 */
/* The strips of floating-point GEMM rows: sums of few rows of A, bit by bit against a scalar loop in the order of the contract. */
#include "harness.h"
#include "internal.h"

#include <math.h>
#include <string.h>

enum { A, B, SUMS }; /* slots */

static bool has_strip(const hunze_row *row) { return row->float_strip != NULL; }

static int64_t a_at(const hunze_float_strip *strip, int64_t i, int64_t p)
{
    return (p / HUNZE_STRIP_ROWS * strip->m + i) * HUNZE_STRIP_ROWS + p % HUNZE_STRIP_ROWS;
}

/* The contract in scalars.  fmaf and fma of the C library are correctly rounded. */
static double reference(const hunze_float_strip *strip, hunze_type type, int64_t i, int64_t j)
{
    if (type == HUNZE_TYPE_F32) {
        float s = 0;
        for (int64_t p = 0; p < strip->k; p++)
            s = fmaf(((const float *)strip->a)[a_at(strip, i, p)], ((const float *)strip->b)[p * strip->b_row + j], s);
        return s;
    }
    double s = 0;
    for (int64_t p = 0; p < strip->k; p++)
        s = fma(((const double *)strip->a)[a_at(strip, i, p)], ((const double *)strip->b)[p * strip->b_row + j], s);
    return s;
}

static void check_strip(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, int64_t k, harness_values values)
{
    const hunze_type type = row->d;
    const size_t bytes = harness_bytes(type);
    const harness_side side = harness_u64(rng) & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    const int64_t groups = hunze_ceil_div(k, HUNZE_STRIP_ROWS), columns = hunze_ceil_div(n, row->nr) * row->nr;
    hunze_float_strip strip = {.m = m, .n = n, .k = k};
    strip.b_row = n + harness_between(rng, 0, 7);
    strip.sums_row = columns + harness_between(rng, 0, 9);
    harness_case("m %lld n %lld k %lld, rows of b %lld apart, %s, operands %s", (long long)m, (long long)n,
                 (long long)k, (long long)strip.b_row, harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start");
    char *a = harness_place(A, (size_t)(groups * m * HUNZE_STRIP_ROWS) * bytes, bytes, side); /* poison beyond k */
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < m; i++)
            harness_fill(rng, type, a + (size_t)a_at(&strip, i, p) * bytes, 1, values);
    char *b = harness_place(B, (size_t)(k ? (k - 1) * strip.b_row + n : 0) * bytes, bytes, side);
    for (int64_t p = 0; p < k; p++)
        harness_fill(rng, type, b + (size_t)(p * strip.b_row) * bytes, n,
                     values == HARNESS_CANCEL ? HARNESS_CONSTANT : values);
    char *sums = harness_place(SUMS, (size_t)((m - 1) * strip.sums_row + columns) * bytes, 64, HARNESS_AT_END);
    strip.a = a;
    strip.b = b;
    strip.sums = sums;
    for (int slot = A; slot <= SUMS; slot++)
        harness_snapshot(slot);
    HARNESS_CALL(row->float_strip, HARNESS_ARGUMENT(&strip));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < columns; j++) {
            char *got = sums + (size_t)(i * strip.sums_row + j) * bytes;
            if (j < n) {
                char want[sizeof(double)];
                harness_set(type, want, 0, reference(&strip, type, i, j));
                harness_check(harness_same(type, got, want), "sum [%lld,%lld] is %s, the contract gives %s",
                              (long long)i, (long long)j, harness_show(type, got), harness_show(type, want));
            }
            memcpy(harness_remembered(SUMS, got), got, bytes);
        }
    harness_unchanged(SUMS, "beyond the sums");
    harness_unchanged(A, "a");
    harness_unchanged(B, "b");
}

/* Every m, n around the vectors and beyond what is asked for ahead, k around the rows read side by side and the K block. */
static void check_extents(const hunze_row *row)
{
    harness_rng rng = {51};
    const int64_t nr = row->nr, ns[] = {1, 3, nr / 2, nr - 1, nr, nr + 1, 2 * nr + 5, 3 * nr, 67, 419};
    static const int64_t ks[] = {0, 1, 2, 3, 5, 7, 8, 9, 12, 15, 16, 23, 64};
    enum { NS = sizeof ns / sizeof ns[0], KS = sizeof ks / sizeof ks[0] };
    for (int64_t m = 1; m <= 16; m++)
        for (int n = 0; n < NS; n++)
            for (int turn = 0; turn < harness_budget(3, 1); turn++)
                check_strip(row, &rng, m, ns[n], ks[harness_between(&rng, 0, KS - 1)], HARNESS_UNIFORM);
    for (int k = 0; k < KS; k++)
        for (int turn = 0; turn < harness_budget(6, 1); turn++)
            check_strip(row, &rng, harness_between(&rng, 1, 16), ns[harness_between(&rng, 0, NS - 1)], ks[k],
                        HARNESS_UNIFORM);
    check_strip(row, &rng, 3, 2 * nr + 3, row->d == HUNZE_TYPE_F64 ? HUNZE_KC_F64 + 7 : HUNZE_KC_F32 + 7,
                HARNESS_UNIFORM);
}

/* The adversarial values: an order or a rounding that differs shows here first. */
static void check_values(const hunze_row *row)
{
    harness_rng rng = {52};
    for (int values = 0; values < HARNESS_VALUES; values++)
        for (int turn = 0; turn < harness_budget(12, 2); turn++)
            check_strip(row, &rng, harness_between(&rng, 1, 16), harness_between(&rng, 1, 3 * row->nr),
                        harness_between(&rng, 1, 40), (harness_values)values);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"strip extents", has_strip, check_extents},
                                         {"strip values", has_strip, check_values}};
    return harness_main(argc, argv, "rows: GEMM, few rows", parts, sizeof parts / sizeof parts[0]);
}
