/* Sums of few rows over a strip of columns (contract: hunze_float_strip in kernels.h).
 *
 * The including file has bound simd.h and float_type.h.  What such a product waits for is B.  A core reads memory at its full rate only where its second cache
 * asks for what comes next, which it does for lines that follow each other; but a row at a time would load and store all sums for each row of B.  So HUNZE_STRIP_ROWS
 * rows are multiplied side by side, a line of each in turn, out of the second cache, and meanwhile the next rows come there, one after the other.
 * On Zen 4 this reads B at 0.85 to 0.95 of the rate of reading alone; asking for lines of eight rows in turn it was 0.45 to 0.7. */
#ifndef HUNZE_SIMD_GEMM_STRIP_H
#define HUNZE_SIMD_GEMM_STRIP_H

#include "../kernels.h"

enum {
    STRIP_LINE = 64 / sizeof(scalar),
    STRIP_VECTORS = STRIP_LINE / VF_LANES,
    STRIP_LIVE = HUNZE_STRIP_ROWS / STRIP_VECTORS, /* rows of B in registers */
    STRIP_SHORT_N = 8192 / sizeof(scalar),         /* so short rows: those after the next come */
    /* Two sums and two times half the rows fit the first cache beside each other: reads g20's B at 0.95 of the rate in place of 0.86. */
    STRIP_NEAREST_M = 2,
    STRIP_NEAREST_N = 2048 / sizeof(scalar)
};

/* `rows` rows of B over `vectors` vectors of columns; of the last only n - (vectors - 1)*lanes elements where not full. */
SIMD_INLINE void strip_columns(const hunze_float_strip *strip, const scalar *a, const scalar *b, scalar *sums,
                               const int rows, const int vectors, const bool full, int64_t n)
{
    const int64_t b_row = strip->b_row, sums_row = strip->sums_row;
    vf b_v[STRIP_LIVE][STRIP_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            b_v[r][v] = full ? vf_load(b + r * b_row + v * VF_LANES) : vf_load_first(b + r * b_row + v * VF_LANES, n);
    for (int64_t i = strip->m; i > 0; i--) {
        vf sum[STRIP_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[v] = vf_load(sums + v * VF_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const vf a_v = vf_set1(a[r]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[v] = vf_fma(a_v, b_v[r][v], sum[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            vf_store(sums + v * VF_LANES, sum[v]);
        a += HUNZE_STRIP_ROWS;
        sums += sums_row;
    }
}

/* `rows` rows of B over all columns; meanwhile those that follow `rows * chunks` rows on come nearer: to the first cache or the second. */
SIMD_INLINE void strip_rows(const hunze_float_strip *strip, const scalar *a, const scalar *b, const int rows,
                            const int64_t chunks, const bool first_cache)
{
    const int live = rows < STRIP_LIVE ? rows : STRIP_LIVE;
    const int64_t n = strip->n, b_row = strip->b_row;
    const scalar *next = b + chunks * rows * b_row, *end = next + n;
    scalar *sums = strip->sums;
    int64_t j = 0;
    for (; j + STRIP_LINE <= n; j += STRIP_LINE) {
#pragma GCC unroll 8
        for (int line = 0; line < rows; line++, next += STRIP_LINE) {
            if (next >= end) {
                next = end + b_row - n;
                end += b_row;
            }
            if (first_cache)
                __builtin_prefetch(next, 0, 3);
            else
                __builtin_prefetch(next, 0, 2);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r += live)
            strip_columns(strip, a + r, b + r * b_row + j, sums + j, live, STRIP_VECTORS, true, STRIP_LINE);
    }
    for (; j < n; j += VF_LANES)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r += live)
            strip_columns(strip, a + r, b + r * b_row + j, sums + j, live, 1, false,
                          n - j < VF_LANES ? n - j : VF_LANES);
}

SIMD_INLINE void gemm_float_strip(const hunze_float_strip *strip)
{
    const int64_t m = strip->m, n = strip->n, b_row = strip->b_row, whole = strip->k - strip->k % HUNZE_STRIP_ROWS;
    const scalar *a = strip->a, *b = strip->b;
    const vf zero = vf_set1(0);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += VF_LANES)
            vf_store((scalar *)strip->sums + i * strip->sums_row + j, zero);
    const bool nearest = m <= STRIP_NEAREST_M && n <= STRIP_NEAREST_N;
    for (int64_t p = 0; p < whole; p += HUNZE_STRIP_ROWS, a += HUNZE_STRIP_ROWS * m, b += HUNZE_STRIP_ROWS * b_row)
        if (nearest) {
            strip_rows(strip, a, b, HUNZE_STRIP_ROWS / 2, 1, true);
            strip_rows(strip, a + HUNZE_STRIP_ROWS / 2, b + HUNZE_STRIP_ROWS / 2 * b_row, HUNZE_STRIP_ROWS / 2, 1,
                       true);
        } else {
            strip_rows(strip, a, b, HUNZE_STRIP_ROWS, n > STRIP_SHORT_N ? 1 : 2, false);
        }
    for (int64_t p = whole; p < strip->k; p++, a++, b += b_row)
        strip_rows(strip, a, b, 1, 1, false);
}

#endif
