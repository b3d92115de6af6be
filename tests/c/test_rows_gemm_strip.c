/* SPDX-License-Identifier: Apache-2.0 */
/* The strips of floating-point GEMM rows: sums of few rows of A, bit by bit against a scalar loop in the order of the contract. */
#include "harness.h"
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { A, B, SUMS }; /* slots */

static bool has_strip(const hunze_row *row) { return row->float_strip != NULL; }

/* Of element (i, p) of A. */
static int64_t a_at(const hunze_float_strip *strip, int64_t i, int64_t p)
{
    return p / HUNZE_STRIP_ROWS * strip->a_step + i * strip->a_row + p % HUNZE_STRIP_ROWS;
}

/* The contract in scalars.  fmaf and fma of the C library are correctly rounded. */
static double reference(const hunze_float_strip *strip, hunze_type type, int64_t i, int64_t j)
{
    const int64_t b = j * strip->b_col;
    if (type == HUNZE_TYPE_F32) {
        float s = 0;
        for (int64_t p = 0; p < strip->k; p++)
            s = fmaf(((const float *)strip->a)[a_at(strip, i, p)], ((const float *)strip->b)[p * strip->b_row + b], s);
        return s;
    }
    double s = 0;
    for (int64_t p = 0; p < strip->k; p++)
        s = fma(((const double *)strip->a)[a_at(strip, i, p)], ((const double *)strip->b)[p * strip->b_row + b], s);
    return s;
}

/* Rows or columns of B contiguous, the next one line after line or not. */
static void check_strip(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, int64_t k, bool by_columns,
                        harness_values values)
{
    const hunze_type type = row->d;
    const size_t bytes = harness_bytes(type);
    const harness_side side = harness_u64(rng) & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    const int64_t columns = hunze_ceil_div(n, row->nr) * row->nr;
    const int64_t runs = by_columns ? n : k, run = by_columns ? k : n, line = 64 / (int64_t)bytes;
    const int64_t apart = harness_between(rng, 0, 1) ? run + harness_between(rng, 0, 7) + (run == 0)
                                                     : hunze_ceil_div(run + 1, line) * line;
    hunze_float_strip strip = {.m = m, .n = n, .k = k};
    const bool steps = !by_columns && harness_between(rng, 0, 3);
    strip.a_row = steps ? HUNZE_STRIP_ROWS : k + harness_between(rng, 0, 7);
    strip.a_step = steps ? HUNZE_STRIP_ROWS * m : HUNZE_STRIP_ROWS;
    strip.b_row = by_columns ? 1 : apart;
    strip.b_col = by_columns ? apart : 1;
    strip.sums_row = columns + harness_between(rng, 0, 9);
    harness_case("m %lld n %lld k %lld, %s of b %lld apart, %s, operands %s", (long long)m, (long long)n, (long long)k,
                 by_columns ? "columns" : "rows", (long long)apart, harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start");
    char *a =
        harness_place(A, (size_t)(k ? a_at(&strip, m - 1, k - 1) + 1 : 0) * bytes, bytes, side); /* poison beyond k */
    char *a_row = malloc((size_t)k * bytes + 1);
    for (int64_t i = 0; i < m; i++) {
        harness_fill(rng, type, a_row, k, values);
        for (int64_t p = 0; p < k; p++)
            memcpy(a + (size_t)a_at(&strip, i, p) * bytes, a_row + (size_t)p * bytes, bytes);
    }
    free(a_row);
    char *b = harness_place(B, (size_t)(runs && run ? (runs - 1) * apart + run : 0) * bytes, bytes, side);
    for (int64_t i = 0; i < runs; i++)
        harness_fill(rng, type, b + (size_t)(i * apart) * bytes, run,
                     values == HARNESS_CANCEL ? HARNESS_CONSTANT : values);
    char *sums = harness_place(SUMS, (size_t)((m - 1) * strip.sums_row + columns) * bytes, 64, HARNESS_AT_END);
    strip.a = a;
    strip.b = strip.next = b;
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
    const int64_t block = row->d == HUNZE_TYPE_F64 ? HUNZE_KC_F64 + 7 : HUNZE_KC_F32 + 7;
    for (int by_columns = 0; by_columns < 2; by_columns++) {
        for (int64_t m = 1; m <= 16; m++)
            for (int n = 0; n < NS; n++)
                for (int turn = 0; turn < harness_budget(3, 1); turn++)
                    check_strip(row, &rng, m, ns[n], ks[harness_between(&rng, 0, KS - 1)], by_columns, HARNESS_UNIFORM);
        for (int k = 0; k < KS; k++)
            for (int turn = 0; turn < harness_budget(6, 1); turn++)
                check_strip(row, &rng, harness_between(&rng, 1, 16), ns[harness_between(&rng, 0, NS - 1)], ks[k],
                            by_columns, HARNESS_UNIFORM);
        check_strip(row, &rng, 3, 2 * nr + 3, block, by_columns, HARNESS_UNIFORM);
    }
}

/* The adversarial values: an order or a rounding that differs shows here first. */
static void check_values(const hunze_row *row)
{
    harness_rng rng = {52};
    for (int values = 0; values < HARNESS_VALUES; values++)
        for (int turn = 0; turn < harness_budget(12, 2); turn++)
            check_strip(row, &rng, harness_between(&rng, 1, 16), harness_between(&rng, 1, 3 * row->nr),
                        harness_between(&rng, 1, 40), turn % 2, (harness_values)values);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"strip extents", has_strip, check_extents},
                                         {"strip values", has_strip, check_values}};
    return harness_main(argc, argv, "rows: GEMM, few rows", parts, sizeof parts / sizeof parts[0]);
}
