/* SPDX-License-Identifier: Apache-2.0 */
/* Zero points of integer GEMM.  With A's zero points x (one, or per row) and B's z (one, or per column)
 *     sum (a - x)(b - z) = sum a*b  -  x * column sum of b  -  z * row sum of a  +  k * x * z
 * where x and z are one number each, that is an offset per column and one per row.  All arithmetic wraps. */
#include "gemm_unit.h"

#include <string.h>

static int32_t times(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
static int32_t plus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
static int32_t minus(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

static int32_t read_byte(hunze_type type, const void *p, int64_t i)
{
    return type == HUNZE_TYPE_S8 ? ((const int8_t *)p)[i] : ((const uint8_t *)p)[i];
}

size_t hunze_gemm_integer_scratch_bytes(int64_t unit_m, int64_t unit_n)
{
    return 3 * hunze_align64((size_t)unit_m * 4) + 3 * hunze_align64((size_t)unit_n * 4);
}

static void *take(char **scratch, size_t bytes)
{
    void *taken = *scratch;
    *scratch += hunze_align64(bytes);
    return taken;
}

void hunze_gemm_integer_add_column_sums(hunze_gemm_integer *g, int64_t j, int64_t n, const int32_t *sums)
{
    for (int64_t i = 0; i < n; i++)
        g->column_sum[j + i] = plus(g->column_sum[j + i], sums[i]);
}

void hunze_gemm_integer_column_offsets(hunze_gemm_integer *g, const hunze_gemm_unit *unit, int64_t j, int64_t n)
{
    const hunze_gemm_job *job = &unit->job;
    if (!g->epilogue.column_offset)
        return;
    for (int64_t c = j; c < j + n; c++) {
        int32_t offset = job->int_epilogue.column_offset ? job->int_epilogue.column_offset[unit->j0 + c] : 0;
        if (job->int_bias && job->int_bias_row == 0)
            offset = plus(offset, job->int_bias[(unit->j0 + c) * job->int_bias_col]);
        if (!g->outer)
            offset = minus(offset, times(g->row_zero[0], g->column_sum[c]));
        g->column_offset[c] = offset;
    }
}

void hunze_gemm_integer_begin(hunze_gemm_integer *g, const hunze_gemm_unit *unit)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t i0 = unit->i0, j0 = unit->j0, m = unit->i1 - i0, n = unit->j1 - j0;
    const int64_t unit_m = unit->blocking->unit_m, unit_n = unit->blocking->unit_n;
    char *scratch = unit->integer_scratch;
    g->row_offset = take(&scratch, (size_t)unit_m * 4);
    g->row_sum = take(&scratch, (size_t)unit_m * 4);
    g->row_zero = take(&scratch, (size_t)unit_m * 4);
    g->column_offset = take(&scratch, (size_t)unit_n * 4);
    g->column_sum = take(&scratch, (size_t)unit_n * 4);
    g->column_zero = take(&scratch, (size_t)unit_n * 4);

    bool some_b_zero = false;
    const bool is_u8 = unit->jobs->unsigned_b; /* panels hold b - 128: so does the zero point of b */
    for (int64_t j = 0; j < n; j++) {
        g->column_zero[j] = job->b_zero_point ? read_byte(is_u8 ? HUNZE_TYPE_U8 : row->b, job->b_zero_point,
                                                          (j0 + j) * job->b_zero_point_stride)
                                              : 0;
        g->column_zero[j] -= is_u8 ? 128 : 0;
        some_b_zero |= g->column_zero[j] != 0;
    }
    bool some_a_zero = false, a_per_row = job->a_zero_point && job->a_zero_point_stride != 0;
    for (int64_t i = 0; i < m; i++) {
        g->row_zero[i] = job->a_zero_point ? read_byte(row->a, job->a_zero_point, (i0 + i) * job->a_zero_point_stride)
                                           : job->a_zero_point_scalar;
        some_a_zero |= g->row_zero[i] != 0;
    }
    g->row_sums = some_b_zero;
    g->outer = (a_per_row && some_a_zero) || (job->b_zero_point && job->b_zero_point_stride != 0 && some_b_zero);
    memset(g->row_sum, 0, (size_t)m * 4);

    g->epilogue = job->int_epilogue;
    g->epilogue.row_offset =
        job->int_epilogue.row_offset || (job->int_bias && job->int_bias_row != 0) || g->row_sums ? g->row_offset : NULL;
    g->epilogue.column_offset =
        job->int_epilogue.column_offset || (job->int_bias && job->int_bias_row == 0) || (some_a_zero && !g->outer)
            ? g->column_offset
            : NULL;
    g->column_sums = some_a_zero || row->a == HUNZE_TYPE_S8;
    memset(g->column_sum, 0, (size_t)unit_n * 4);
    hunze_int_epilogue *e = &g->epilogue;
    if (e->row_scale)
        e->row_scale += i0 * e->row_scale_stride;
    if (e->column_scale)
        e->column_scale += j0 * e->column_scale_stride;
    if (e->output_scale)
        e->output_scale += j0 * e->output_scale_stride;
    if (e->output_zero_point)
        e->output_zero_point = (const int8_t *)e->output_zero_point + j0 * e->output_scale_stride;
    if (e->bias)
        e->bias += i0 * e->bias_row + j0 * e->bias_col;
    if (e->residual)
        e->residual += i0 * e->residual_row + j0 * e->residual_col;
}

void hunze_gemm_integer_sum_rows(hunze_gemm_integer *g, bool is_signed, int64_t i, int64_t m, int64_t k, const void *a,
                                 int64_t a_row)
{
    for (int64_t r = 0; r < m; r++) {
        const uint8_t *row = (const uint8_t *)a + r * a_row;
        uint32_t sum = 0; /* of the bytes as unsigned; s8 is u8 of x ^ 0x80, less 128 */
        if (is_signed) {
            for (int64_t p = 0; p < k; p++)
                sum += row[p] ^ 0x80u;
            sum -= 128u * (uint32_t)k;
        } else {
            for (int64_t p = 0; p < k; p++)
                sum += row[p];
        }
        g->row_sum[i + r] = plus(g->row_sum[i + r], (int32_t)sum);
    }
}

void hunze_gemm_integer_offsets(hunze_gemm_integer *g, const hunze_gemm_unit *unit, int64_t i, int64_t m)
{
    const hunze_gemm_job *job = &unit->job;
    for (int64_t r = i; r < i + m; r++) {
        int32_t offset = job->int_epilogue.row_offset ? job->int_epilogue.row_offset[unit->i0 + r] : 0;
        if (job->int_bias && job->int_bias_row != 0)
            offset = plus(offset, job->int_bias[(unit->i0 + r) * job->int_bias_row]);
        if (!g->outer && g->row_sums)
            offset = minus(offset, times(g->column_zero[0],
                                         minus(g->row_sum[r], times((int32_t)unit->blocking->k, g->row_zero[r]))));
        g->row_offset[r] = offset;
    }
}

void hunze_gemm_integer_outer(const hunze_gemm_integer *g, int64_t k, int64_t i, int64_t j, int64_t m, int64_t n,
                              int32_t *t, int64_t t_row)
{
    for (int64_t r = 0; r < m; r++) {
        const int32_t zero = g->row_zero[i + r];
        const int32_t sum = g->row_sums ? minus(g->row_sum[i + r], times((int32_t)k, zero)) : 0;
        for (int64_t c = 0; c < n; c++)
            t[r * t_row + c] =
                minus(t[r * t_row + c], plus(times(zero, g->column_sum[j + c]), times(g->column_zero[j + c], sum)));
    }
}

hunze_int_epilogue hunze_gemm_integer_epilogue_at(const hunze_int_epilogue *whole, int64_t i, int64_t j)
{
    hunze_int_epilogue part = *whole;
    if (part.row_offset)
        part.row_offset += i;
    if (part.column_offset)
        part.column_offset += j;
    if (part.row_scale)
        part.row_scale += i * part.row_scale_stride;
    if (part.column_scale)
        part.column_scale += j * part.column_scale_stride;
    if (part.bias)
        part.bias += i * part.bias_row + j * part.bias_col;
    if (part.residual)
        part.residual += i * part.residual_row + j * part.residual_col;
    if (part.output_scale)
        part.output_scale += j * part.output_scale_stride;
    if (part.output_zero_point)
        part.output_zero_point = (const char *)part.output_zero_point + j * part.output_scale_stride;
    return part;
}
