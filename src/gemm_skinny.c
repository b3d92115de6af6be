/* SPDX-License-Identifier: Apache-2.0 */
/* Products of few rows, which wait for B: it is read where it lies, row by row in order, over strips of columns (hunze_float_strip).  The sums of
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

size_t hunze_gemm_skinny_a_bytes(const hunze_row *row, int64_t m, int64_t k)
{
    return hunze_align64((size_t)(hunze_ceil_div(k, HUNZE_STRIP_ROWS) * HUNZE_STRIP_ROWS * m) *
                         hunze_type_bytes(row->a));
}

/* Columns [p0, p0 + k) of the unit's rows of A, as strips read them. */
static void copy_a(const hunze_gemm_unit *unit, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const int64_t m = unit->i1 - unit->i0;
#define COPY(type)                                                                                                     \
    do {                                                                                                               \
        const type *from = (const type *)job->a + unit->i0 * job->a_row + p0 * job->a_col;                             \
        type *to = (type *)(void *)unit->a_scratch;                                                                    \
        for (int64_t p = 0; p < k; p += HUNZE_STRIP_ROWS)                                                              \
            for (int64_t i = 0; i < m; i++, to += HUNZE_STRIP_ROWS)                                                    \
                for (int64_t r = 0; r < hunze_least(HUNZE_STRIP_ROWS, k - p); r++)                                     \
                    to[r] = from[i * job->a_row + (p + r) * job->a_col];                                               \
    } while (0)
    if (unit->blocking->element == sizeof(uint32_t))
        COPY(uint32_t);
    else
        COPY(uint64_t);
#undef COPY
}

hunze_float_strip hunze_gemm_skinny_sums(const hunze_gemm_unit *unit, int64_t p0, int64_t k)
{
    const hunze_gemm_job *job = &unit->job;
    const hunze_row *row = unit->jobs->row;
    const int64_t n = unit->j1 - unit->j0;
    copy_a(unit, p0, k);
    const hunze_float_strip strip = {
        .m = unit->i1 - unit->i0,
        .n = n,
        .k = k,
        .a = unit->a_scratch,
        .b = (const char *)job->b + (p0 * job->b_row + unit->j0) * (int64_t)unit->blocking->element,
        .b_row = job->b_row,
        .sums = unit->b_scratch,
        .sums_row = sums_row(row, n),
    };
    row->float_strip(&strip);
    return strip;
}
