/* SPDX-License-Identifier: Apache-2.0 */
/* Products of few rows, which wait for B: it is read where it lies, row by row in order, over strips of columns, or column by column (hunze_float_strip).  The sums of
 * one K block stay in scratch; gemm_unit.c makes D of them, tile by tile. */
#include "gemm_unit.h"

#include <string.h>

/* Between rows of sums: rows that start 4 KB apart would share one set of L1. */
enum { SUMS_PAD_BYTES = 64 };

static int64_t sums_row(const hunze_row *row, int64_t n)
{
    return hunze_ceil_div(n, row->nr) * row->nr + (int64_t)(SUMS_PAD_BYTES / hunze_type_bytes(row->d));
}

size_t hunze_gemm_skinny_sums_bytes(const hunze_row *row, int64_t m, int64_t n)
{
    return hunze_align64((size_t)(m * sums_row(row, n)) * hunze_type_bytes(row->d));
}

hunze_float_strip hunze_gemm_skinny_strip(const hunze_gemm_unit *unit, int64_t j, int64_t n, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const char *b =
        (const char *)job->b + (p0 * job->b_row + (unit->j0 + j) * job->b_col) * (int64_t)unit->blocking->element;
    return (hunze_float_strip){
        .m = unit->i1 - unit->i0,
        .n = n,
        .k = k,
        .b = b,
        .b_row = job->b_row,
        .b_col = job->b_col,
        .next = b,
        .sums = unit->b_scratch,
        .sums_row = sums_row(unit->jobs->row, n),
    };
}
