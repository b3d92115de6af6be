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
    const int64_t a_row = strip->a_row, b_row = strip->b_row, sums_row = strip->sums_row;
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
        a += a_row;
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

/* Lane j of v[i] becomes lane i of v[j]: pairs of rows, of the first two of each four lanes and of the last two, are transposed as f64. */
SIMD_INLINE void vf32_transpose(vf32 v[VF32_LANES])
{
    enum { PAIRS = VF32_LANES / 2 };
    vf64 low[PAIRS], high[PAIRS];
#pragma GCC unroll 8
    for (int i = 0; i < PAIRS; i++) {
        low[i] = vf32_zip_low(v[2 * i], v[2 * i + 1]);
        high[i] = vf32_zip_high(v[2 * i], v[2 * i + 1]);
    }
    vf64_transpose(low);
    vf64_transpose(high);
#pragma GCC unroll 8
    for (int i = 0; i < PAIRS; i++) {
        v[i / 2 * 4 + i % 2] = vf32_unzipped(low[i]);
        v[i / 2 * 4 + i % 2 + 2] = vf32_unzipped(high[i]);
    }
}

/* VF_LANES rows of B over as many columns, which lie as columns.  Not whole: n columns, where there are fewer, and k rows. */
SIMD_INLINE void strip_turned(const hunze_float_strip *strip, const scalar *a, const scalar *b, scalar *sums,
                              const bool whole, int64_t n, int64_t k)
{
    const int64_t a_row = strip->a_row, b_col = strip->b_col, sums_row = strip->sums_row;
    vf b_v[VF_LANES];
    scalar in_memory[VF_LANES][VF_LANES];
#pragma GCC unroll 16
    for (int j = 0; j < VF_LANES; j++)
        b_v[j] = whole ? vf_load(b + j * b_col) : vf_load_first(b + (j < n ? j : 0) * b_col, k);
    vf_transpose(b_v);
    if (!whole)
#pragma GCC unroll 16
        for (int p = 0; p < VF_LANES; p++)
            vf_store(in_memory[p], b_v[p]);
    for (int64_t i = strip->m; i > 0; i--) {
        vf sum = vf_load(sums);
        if (whole)
#pragma GCC unroll 16
            for (int p = 0; p < VF_LANES; p++)
                sum = vf_fma(vf_set1(a[p]), b_v[p], sum);
        else
            for (int64_t p = 0; p < k; p++)
                sum = vf_fma(vf_set1(a[p]), vf_load(in_memory[p]), sum);
        vf_store(sums, sum);
        a += a_row;
        sums += sums_row;
    }
}

/* B by columns: a line of each in turn, turned in registers; what comes next comes as it lies, one column after the other. */
SIMD_INLINE void strip_by_columns(const hunze_float_strip *strip)
{
    const int64_t n = strip->n, k = strip->k, b_col = strip->b_col;
    /* Columns a multiple of 4 KB apart share one set of L1, which cannot hold their lines from one vector that crosses them to the next. */
    const int64_t before_line =
        b_col % STRIP_LINE ? 0 : -((intptr_t)strip->b / (int64_t)sizeof(scalar)) & (STRIP_LINE - 1);
    const scalar *next = strip->next, *end = next + k;
    for (int64_t j = 0; j < n; j += VF_LANES)
        for (int64_t line = 0, line_end; line < k; line = line_end) {
            line_end = line < before_line ? before_line : line + STRIP_LINE;
            line_end = line_end < k ? line_end : k;
#pragma GCC unroll 16
            for (int column = 0; column < VF_LANES; column++, next += STRIP_LINE) {
                if (next >= end) {
                    next = end + b_col - k;
                    end += b_col;
                }
                __builtin_prefetch(next, 0, 2);
            }
            for (int64_t p = line; p < line_end; p += VF_LANES) {
                const scalar *a = (const scalar *)strip->a + p, *b = (const scalar *)strip->b + j * b_col + p;
                scalar *sums = (scalar *)strip->sums + j;
                const int64_t rows = line_end - p < VF_LANES ? line_end - p : VF_LANES;
                if (n - j >= VF_LANES && rows == VF_LANES)
                    strip_turned(strip, a, b, sums, true, VF_LANES, VF_LANES);
                else
                    strip_turned(strip, a, b, sums, false, n - j, rows);
            }
        }
}

SIMD_INLINE void gemm_float_strip(const hunze_float_strip *strip)
{
    const int64_t m = strip->m, n = strip->n, b_row = strip->b_row, whole = strip->k - strip->k % HUNZE_STRIP_ROWS;
    const scalar *a = strip->a, *b = strip->b;
    const vf zero = vf_set1(0);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += VF_LANES)
            vf_store((scalar *)strip->sums + i * strip->sums_row + j, zero);
    if (strip->b_col != 1) {
        strip_by_columns(strip);
        return;
    }
    const bool nearest = m <= STRIP_NEAREST_M && n <= STRIP_NEAREST_N;
    for (int64_t p = 0; p < whole; p += HUNZE_STRIP_ROWS, a += strip->a_step, b += HUNZE_STRIP_ROWS * b_row)
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
