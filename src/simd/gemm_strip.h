/* Sums of few rows over a strip of columns (contract: hunze_float_strip in kernels.h).
 *
 * The including file has bound simd.h and float_type.h.  What such a product waits for is B, so B is read as memory likes it: HUNZE_STRIP_ROWS rows
 * side by side, a line of each in turn, asked for AHEAD bytes before.  The sums of a strip stay in the nearest caches between those rows; some rows of B
 * and the sums of one row of A are in registers at a time. */
#ifndef HUNZE_SIMD_GEMM_STRIP_H
#define HUNZE_SIMD_GEMM_STRIP_H

#include "../kernels.h"

enum {
    STRIP_AHEAD = 1664 / sizeof(scalar), /* on Zen 5 768 reads at 0.85 of its rate, 1024 at 0.9 */
    STRIP_LINE = 64 / sizeof(scalar),
    STRIP_LIVE = sizeof(vf) == 64 ? 8 : 4, /* rows of B in registers */
    STRIP_VECTORS = sizeof(vf) == 16 ? 1 : 2,
    /* Up to NARROW_M rows of A memory is the limit: then one line of each row of B at a time, and the fewer rows of B between sums, the fewer rows of A
     * there are (1.1 times the rate of all that registers hold, on Zen 5). */
    STRIP_NARROW_M = 8,
    STRIP_NARROW_LIVE = 4,
    STRIP_FEWEST_M = 2,
    STRIP_FEWEST_LIVE = sizeof(vf) == 64 ? 2 : 4,
    STRIP_NARROW_VECTORS = sizeof(vf) == 32 ? 2 : 1
};

/* `rows` rows of B, at most STRIP_LIVE, over `vectors` vectors of columns; of the last only n - (vectors - 1)*lanes elements where not full. */
SIMD_INLINE void strip_columns(const hunze_float_strip *strip, const scalar *a, const scalar *b, scalar *sums,
                               const int rows, const int vectors, const bool full, int64_t n)
{
    const int64_t b_row = strip->b_row, sums_row = strip->sums_row;
    vf b_v[STRIP_LIVE][STRIP_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            b_v[r][v] = full ? vf_load(b + r * b_row + v * VF_LANES) : vf_load_first(b + r * b_row + v * VF_LANES, n);
    for (int64_t i = strip->m; i > 0; i--) {
        vf sum[STRIP_VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[v] = vf_load(sums + v * VF_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const vf a_v = vf_set1(a[r]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[v] = vf_fma(a_v, b_v[r][v], sum[v]);
        }
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            vf_store(sums + v * VF_LANES, sum[v]);
        a += HUNZE_STRIP_ROWS;
        sums += sums_row;
    }
}

/* `rows` rows of B over all columns. */
SIMD_INLINE void strip_rows(const hunze_float_strip *strip, const scalar *a, const scalar *b, const int rows,
                            const int vectors, const int live)
{
    const int64_t n = strip->n, b_row = strip->b_row, width = vectors * VF_LANES;
    /* What is AHEAD elements on in reading order, among the rows that follow. */
    const scalar *later = b + STRIP_AHEAD / n * HUNZE_STRIP_ROWS * b_row;
    int64_t ahead = STRIP_AHEAD % n, j = 0;
    for (; j + width <= n; j += width, ahead += width) {
        if (ahead >= n) {
            ahead -= n;
            later += HUNZE_STRIP_ROWS * b_row;
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            for (int64_t line = 0; line < width; line += STRIP_LINE)
                __builtin_prefetch(later + r * b_row + ahead + line, 0, 3);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r += live)
            strip_columns(strip, a + r, b + r * b_row + j, (scalar *)strip->sums + j, rows < live ? rows : live,
                          vectors, true, width);
    }
    for (; j < n; j += VF_LANES)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r += live)
            strip_columns(strip, a + r, b + r * b_row + j, (scalar *)strip->sums + j, rows < live ? rows : live, 1,
                          false, n - j < VF_LANES ? n - j : VF_LANES);
}

SIMD_INLINE void gemm_float_strip(const hunze_float_strip *strip)
{
    const int64_t k = strip->k, whole = k - k % HUNZE_STRIP_ROWS;
    const scalar *a = strip->a, *b = strip->b;
    const vf zero = vf_set1(0);
    for (int64_t i = 0; i < strip->m; i++)
        for (int64_t j = 0; j < strip->n; j += VF_LANES)
            vf_store((scalar *)strip->sums + i * strip->sums_row + j, zero);
    if (strip->m <= STRIP_FEWEST_M)
        for (int64_t p = 0; p < whole; p += HUNZE_STRIP_ROWS)
            strip_rows(strip, a + p * strip->m, b + p * strip->b_row, HUNZE_STRIP_ROWS, STRIP_NARROW_VECTORS,
                       STRIP_FEWEST_LIVE);
    else if (strip->m <= STRIP_NARROW_M)
        for (int64_t p = 0; p < whole; p += HUNZE_STRIP_ROWS)
            strip_rows(strip, a + p * strip->m, b + p * strip->b_row, HUNZE_STRIP_ROWS, STRIP_NARROW_VECTORS,
                       STRIP_NARROW_LIVE);
    else
        for (int64_t p = 0; p < whole; p += HUNZE_STRIP_ROWS)
            strip_rows(strip, a + p * strip->m, b + p * strip->b_row, HUNZE_STRIP_ROWS, STRIP_VECTORS, STRIP_LIVE);
    a += whole * strip->m;
    b += whole * strip->b_row;
    if (k & 4)
        strip_rows(strip, a, b, 4, STRIP_NARROW_VECTORS, STRIP_NARROW_LIVE);
    if (k & 2)
        strip_rows(strip, a + (k & 4), b + (k & 4) * strip->b_row, 2, STRIP_NARROW_VECTORS, STRIP_NARROW_LIVE);
    if (k & 1)
        strip_rows(strip, a + (k & 6), b + (k & 6) * strip->b_row, 1, STRIP_NARROW_VECTORS, STRIP_NARROW_LIVE);
}

#endif
