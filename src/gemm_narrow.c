/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 and f16 around their tiles, which read A, C and their sums in f32: C is widened, a finished tile of sums gets bias, residual
 * and activation as one of f32 does, and is rounded once, to D. */
#include "gemm.h"

#include <assert.h>

enum { TILE = 14 * 32 }; /* elements, at most */

/* m rows of n, from an operand of the row's own type or of f32. */
static void read_rows(const hunze_row *row, bool narrow, int64_t m, int64_t n, const void *from, int64_t from_row,
                      int64_t from_col, float *to, int64_t to_row)
{
    if (narrow) {
        row->widen(m, n, from, from_row, from_col, to, to_row);
        return;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            to[i * to_row + j] = ((const float *)from)[i * from_row + j * from_col];
}

static const void *element(const void *base, bool narrow, int64_t offset)
{
    return (const char *)base + offset * (narrow ? 2 : 4);
}

void hunze_gemm_narrow_begin(const hunze_row *row, const hunze_gemm_job *job, int64_t i, int64_t j, int64_t m,
                             int64_t n, float *t, int64_t t_row)
{
    read_rows(row, job->narrow_d, m, n, element(job->c, job->narrow_d, i * job->c_row + j * job->c_col), job->c_row,
              job->c_col, t, t_row);
}

/* The addend at (i, j) as the epilogue takes it: where it is, or widened into stage. */
static const void *addend(const hunze_row *row, bool narrow, const void *base, int64_t offset, int64_t m, int64_t n,
                          int64_t *row_step, int64_t *col_step, float *stage)
{
    const void *at = element(base, narrow, offset);
    if (!narrow)
        return at;
    row->widen(*row_step ? m : 1, *col_step ? n : 1, at, *row_step, *col_step, stage, row->nr);
    *row_step = *row_step ? row->nr : 0;
    *col_step = *col_step ? 1 : 0;
    return stage;
}

static void store(const hunze_row *row, const hunze_gemm_job *job, int64_t i, int64_t j, int64_t m, int64_t n,
                  const float *t, int64_t t_row)
{
    uint16_t *d = (uint16_t *)job->d + i * job->d_row + j * job->d_col, rounded[TILE];
    if (job->d_col == 1 || n == 1) {
        row->narrow(m, n, t, t_row, d, job->d_row);
        return;
    }
    row->narrow(m, n, t, t_row, rounded, n);
    for (int64_t column = 0; column < n; column++)
        for (int64_t r = 0; r < m; r++)
            d[r * job->d_row + column * job->d_col] = rounded[r * n + column];
}

void hunze_gemm_narrow_end(const hunze_row *row, const hunze_gemm_job *job, int64_t i, int64_t j, int64_t m, int64_t n,
                           float *t, int64_t t_row)
{
    assert(row->mr * row->nr <= TILE);
    _Alignas(64) float bias[TILE], residual[TILE];
    hunze_float_epilogue e = job->float_epilogue;
    if (hunze_float_epilogue_is_needed(&e)) {
        if (e.bias)
            e.bias = addend(row, job->narrow_bias, e.bias, i * e.bias_row + j * e.bias_col, m, n, &e.bias_row,
                            &e.bias_col, bias);
        if (e.residual)
            e.residual = addend(row, job->narrow_residual, e.residual, i * e.residual_row + j * e.residual_col, m, n,
                                &e.residual_row, &e.residual_col, residual);
        row->float_epilogue(&e, m, n, t, t_row);
    }
    if (job->narrow_d)
        store(row, job, i, j, m, n, t, t_row);
}
