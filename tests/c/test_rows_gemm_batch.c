/* SPDX-License-Identifier: Apache-2.0 */
/* The small products in place of floating-point GEMM rows: one matrix and several, bit by bit against a scalar loop in the order of the contract. */
#include "harness.h"
#include "internal.h"

#include <math.h>
#include <string.h>

enum { A, B, C, D }; /* slots */

static bool has_batch(const hunze_row *row) { return row->float_batch != NULL; }

/* A matrix operand: where element (i, j) of matrix z is, in elements. */
typedef struct view {
    int64_t first, row, col, next;
} view;

static int64_t at(const view *v, int64_t z, int64_t i, int64_t j)
{
    return v->first + z * v->next + i * v->row + j * v->col;
}

/* Matrices of rows by columns with gaps, one after the other or backwards, or all the same (an input); their elements filled, all else poison. */
static char *place(int slot, harness_rng *rng, hunze_type type, view *v, int64_t count, int64_t rows, int64_t columns,
                   bool by_columns, bool output, harness_side side, harness_values values)
{
    const size_t bytes = harness_bytes(type);
    const int64_t lines = by_columns ? columns : rows, line = by_columns ? rows : columns;
    const int64_t step = by_columns && harness_one_in(rng, 3) ? 2 : 1;
    const int64_t stride = hunze_most(line, 1) * step + harness_between(rng, 0, 5);
    const int64_t span = lines && line ? (lines - 1) * stride + (line - 1) * step + 1 : 0;
    v->row = by_columns ? step : stride;
    v->col = by_columns ? stride : step;
    v->next = !output && harness_one_in(rng, 4) ? 0 : span + harness_between(rng, 0, 5);
    v->first = 0;
    const int64_t all = span ? (count - 1) * v->next + span : 0;
    if (harness_one_in(rng, 4)) {
        v->first = (count - 1) * v->next;
        v->next = -v->next;
    }
    char *data = harness_place(slot, (size_t)all * bytes, bytes, side);
    for (int64_t z = 0; z < count; z++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                harness_fill(rng, type, data + at(v, z, i, j) * (int64_t)bytes, 1, values);
    return data;
}

/* The contract in scalars.  fmaf and fma of the C library are correctly rounded. */
#define REFERENCE(name, real, fma_)                                                                                    \
    static real name(const real *a, const view *av, const real *b, const view *bv, int64_t k, int64_t z, int64_t i,    \
                     int64_t j, real alpha, real beta, const real *c)                                                  \
    {                                                                                                                  \
        real s = 0;                                                                                                    \
        for (int64_t p = 0; p < k; p++)                                                                                \
            s = fma_(a[at(av, z, i, p)], b[at(bv, z, p, j)], s);                                                       \
        return c ? fma_(alpha, s, beta * *c) : alpha * s;                                                              \
    }
REFERENCE(reference_f32, float, fmaf)
REFERENCE(reference_f64, double, fma)

static void check_batch(const hunze_row *row, harness_rng *rng, int64_t m, int64_t n, int64_t k, int64_t count,
                        harness_values values)
{
    static const double factors[] = {1, 1, 1, -0.75, 0};
    const hunze_type type = row->d;
    const size_t bytes = harness_bytes(type);
    const harness_side side = harness_u64(rng) & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    const double alpha = factors[harness_between(rng, 0, 4)], beta = factors[harness_between(rng, 0, 3)];
    const float alpha_f32 = (float)alpha, beta_f32 = (float)beta;
    const bool a_by_columns = harness_u64(rng) & 1, has_c = harness_one_in(rng, 3), in_place = harness_u64(rng) & 1;
    harness_case("m %lld n %lld k %lld, %lld matrices, %s, operands %s%s%s, alpha %g", (long long)m, (long long)n,
                 (long long)k, (long long)count, harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start", a_by_columns ? ", A by columns" : "",
                 !has_c     ? ""
                 : in_place ? ", C is D"
                            : ", C",
                 alpha);
    view av, bv, cv = {0}, dv;
    char *a = place(A, rng, type, &av, count, m, k, a_by_columns, false, side, values);
    char *b = place(B, rng, type, &bv, count, k, n, false, false, side, values);
    char *d = place(D, rng, type, &dv, count, m, n, false, true, side, has_c && in_place ? values : HARNESS_SPECIAL);
    char *c = NULL;
    if (has_c && in_place) {
        c = d;
        cv = dv;
    } else if (has_c) {
        c = place(C, rng, type, &cv, count, m, n, false, false, side, values);
    }
    hunze_float_batch batch = {.m = m,
                               .n = n,
                               .k = k,
                               .count = count,
                               .a = a + av.first * (int64_t)bytes,
                               .a_row = av.row,
                               .a_col = av.col,
                               .a_next = av.next * (int64_t)bytes,
                               .b = b + bv.first * (int64_t)bytes,
                               .b_row = bv.row,
                               .b_next = bv.next * (int64_t)bytes,
                               .c = c ? c + cv.first * (int64_t)bytes : NULL,
                               .c_row = cv.row,
                               .c_next = cv.next * (int64_t)bytes,
                               .d = d + dv.first * (int64_t)bytes,
                               .d_row = dv.row,
                               .d_next = dv.next * (int64_t)bytes,
                               .alpha = type == HUNZE_TYPE_F32 ? (const void *)&alpha_f32 : &alpha,
                               .beta = type == HUNZE_TYPE_F32 ? (const void *)&beta_f32 : &beta};
    static double expected[1 << 16];
    for (int64_t z = 0; z < count; z++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                const int64_t index = (z * m + i) * n + j, c_at = at(&cv, z, i, j);
                if (type == HUNZE_TYPE_F32)
                    expected[index] =
                        (double)reference_f32((float *)(void *)a, &av, (float *)(void *)b, &bv, k, z, i, j, alpha_f32,
                                              beta_f32, c ? (float *)(void *)c + c_at : NULL);
                else
                    expected[index] = reference_f64((double *)(void *)a, &av, (double *)(void *)b, &bv, k, z, i, j,
                                                    alpha, beta, c ? (double *)(void *)c + c_at : NULL);
            }
    for (int slot = A; slot <= D; slot++)
        harness_snapshot(slot);
    HARNESS_CALL(row->float_batch, HARNESS_ARGUMENT(&batch));
    for (int64_t z = 0; z < count; z++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                char *got = d + at(&dv, z, i, j) * (int64_t)bytes, want[sizeof(double)];
                harness_set(type, want, 0, expected[(z * m + i) * n + j]);
                harness_check(harness_same(type, got, want), "matrix %lld: d [%lld,%lld] is %s, the contract gives %s",
                              (long long)z, (long long)i, (long long)j, harness_show(type, got),
                              harness_show(type, want));
                memcpy(harness_remembered(D, got), got, bytes);
            }
    harness_unchanged(D, "beyond d");
    harness_unchanged(A, "a");
    harness_unchanged(B, "b");
    if (has_c && !in_place)
        harness_unchanged(C, "c");
}

/* Every number of rows that a tile can have and what is cut into several, with every number of columns up to four vectors. */
static void check_extents(const hunze_row *row)
{
    harness_rng rng = {61};
    const int64_t most = row->isa == HUNZE_ISA_PORTABLE ? row->nr + 3 : 2 * row->nr + 3;
    static const int64_t ks[] = {0, 1, 2, 3, 5, 8, 9, 17};
    const int64_t row_step = harness_budget(1, 4), column_step = harness_budget(1, 7);
    for (int64_t m = 1; m <= 30; m += row_step)
        for (int64_t n = 1; n <= most; n += column_step)
            check_batch(row, &rng, m, n, ks[harness_between(&rng, 0, 7)], harness_between(&rng, 1, 3), HARNESS_UNIFORM);
    check_batch(row, &rng, 64, 64, 64, 1, HARNESS_UNIFORM);
}

/* The adversarial values: an order or a rounding that differs shows here first. */
static void check_values(const hunze_row *row)
{
    harness_rng rng = {62};
    for (int values = 0; values < HARNESS_VALUES; values++)
        for (int turn = 0; turn < harness_budget(12, 2); turn++)
            check_batch(row, &rng, harness_between(&rng, 1, 16), harness_between(&rng, 1, 3 * row->nr / 2),
                        harness_between(&rng, 1, 40), harness_between(&rng, 1, 4), (harness_values)values);
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"batch extents", has_batch, check_extents},
                                         {"batch values", has_batch, check_values}};
    return harness_main(argc, argv, "rows: GEMM, small products in place", parts, sizeof parts / sizeof parts[0]);
}
