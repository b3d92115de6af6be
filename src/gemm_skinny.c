/* SPDX-License-Identifier: Apache-2.0 */
/* Products of few rows, which wait for B: it is read where it lies, row by row in order, over strips of columns, or column by column (hunze_float_strip).  The sums of
 * one K block stay in scratch; gemm_unit.c makes D of them, tile by tile. */
#include "gemm_unit.h"

#include <string.h>

enum {
    SUMS_PAD_BYTES = 64, /* between rows of sums: rows that start 4 KB apart would share one set of L1 */
    /* Sums start half of this from B: a load waits for a store whose address is the same but for a multiple of 4 KB (m = 8: a fifth of the time). */
    ALIAS_BYTES = 4096
};

static int64_t sums_row(const hunze_row *row, int64_t n)
{
    return hunze_ceil_div(n, row->nr) * row->nr + (int64_t)(SUMS_PAD_BYTES / hunze_type_bytes(row->d));
}

size_t hunze_gemm_skinny_sums_bytes(const hunze_row *row, int64_t m, int64_t n)
{
    return hunze_align64((size_t)(m * sums_row(row, n)) * hunze_type_bytes(row->d)) + ALIAS_BYTES;
}

hunze_float_strip hunze_gemm_skinny_strip(const hunze_gemm_unit *unit, int64_t j, int64_t n, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const char *b =
        (const char *)job->b + (p0 * job->b_row + (unit->j0 + j) * job->b_col) * (int64_t)unit->blocking->element;
    const uintptr_t away = (uintptr_t)b + ALIAS_BYTES / 2 - (uintptr_t)unit->b_scratch;
    return (hunze_float_strip){
        .m = unit->i1 - unit->i0,
        .n = n,
        .k = k,
        .b = b,
        .b_row = job->b_row,
        .b_col = job->b_col,
        .next = b,
        .sums = (char *)unit->b_scratch + (away & (ALIAS_BYTES - 64)),
        .sums_row = sums_row(unit->jobs->row, n),
    };
}
