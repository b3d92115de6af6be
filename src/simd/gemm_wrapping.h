/* One GEMM tile of s16, s32 or s64, whose sums wrap as C's unsigned arithmetic does (contract: hunze_float_tile in kernels.h), and the packing
 * of its B.  The low bits of a product are the same for unsigned elements.
 *
 * The including file has bound simd.h and integer_type.h and says the tile: MR rows by NV vectors.  MR * NV sums, NV vectors of B and one broadcast
 * of A stay in registers.  Fewer rows are computed as 4, 2 and 1 of them, so that the code stays small.  Rows of A are addressed from one pointer
 * for each five, which leaves the general registers enough. */
#ifndef HUNZE_SIMD_GEMM_WRAPPING_H
#define HUNZE_SIMD_GEMM_WRAPPING_H

#include "../kernels.h"

#include <string.h>

enum { NR = NV * VI_LANES };
typedef scalar b_scalar;
static const scalar gemm_wrapping_zeros[NR] = {0};

/* t from the sums [m][NR]. */
SIMD_INLINE void gemm_wrapping_store(const hunze_float_tile *tile, const scalar *sums)
{
    const bool first = tile->flags & HUNZE_TILE_FIRST, read_c = tile->flags & HUNZE_TILE_READ_C;
    const int64_t n = tile->n;
    const scalar alpha = *(const scalar *)tile->alpha, factor = first && read_c ? *(const scalar *)tile->beta : 1;
    const vi alpha_v = vi_set1(alpha), factor_v = vi_set1(factor);
    for (int64_t i = 0; i < tile->m; i++, sums += NR) {
        scalar *t = (scalar *)tile->t + i * tile->t_row;
        const scalar *addend = !first ? t : read_c ? (const scalar *)tile->c + i * tile->c_row : gemm_wrapping_zeros;
        int64_t j = 0;
        for (; j + VI_LANES <= n; j += VI_LANES) {
            const sum s = sum_add_product(sum_of(vi_set1(0)), factor_v, vi_load(addend + j));
            vi_store(t + j, sum_value(sum_add_product(s, alpha_v, vi_load(sums + j))));
        }
        for (; j < n; j++)
            t[j] = (scalar)((modular)alpha * (modular)sums[j] + (modular)factor * (modular)addend[j]);
    }
}

/* The sums of rows [i0, i0 + m). */
SIMD_INLINE void gemm_wrapping_rows(const hunze_float_tile *tile, int64_t i0, const int m, scalar *out)
{
    enum { AHEAD = 16, LINE = 64 / sizeof(scalar) }; /* rows of B, as in gemm_float.h */
    const int64_t row_bytes = tile->a_row * (int64_t)sizeof(scalar), step_bytes = tile->a_col * (int64_t)sizeof(scalar);
    const int64_t b_step = tile->b_row;
    const scalar *b = tile->b;
    const char *group[(MR + 4) / 5];
#pragma GCC unroll 4
    for (int g = 0; g < (m + 4) / 5; g++)
        group[g] = (const char *)tile->a + (i0 + 5 * g) * row_bytes;
    sum sums[MR][NV];
    const scalar *start = tile->start ? (const scalar *)tile->start + i0 * tile->start_row : gemm_wrapping_zeros;
    const int64_t start_row = tile->start ? tile->start_row : 0;
#pragma GCC unroll 16
    for (int i = 0; i < m; i++, start += start_row)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            sums[i][v] = sum_of(vi_load(start + v * VI_LANES));
    for (int64_t p = tile->k; p > 0; p--, b += b_step) {
        vi b_v[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            b_v[v] = vi_load(b + v * VI_LANES);
        for (int j = 0; j < NR; j += LINE)
            __builtin_prefetch(b + AHEAD * b_step + j, 0, 3);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            const vi a_v = vi_set1(*(const scalar *)(group[i / 5] + i % 5 * row_bytes));
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++)
                sums[i][v] = sum_add_product(sums[i][v], a_v, b_v[v]);
        }
#pragma GCC unroll 4
        for (int g = 0; g < (m + 4) / 5; g++)
            group[g] += step_bytes;
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            vi_store(out + (i0 + i) * NR + v * VI_LANES, sum_value(sums[i][v]));
}

SIMD_INLINE void gemm_wrapping_tile(const hunze_float_tile *tile)
{
    _Alignas(64) scalar sums[MR * NR];
    int64_t i = 0;
    if (tile->m == MR) {
        gemm_wrapping_rows(tile, 0, MR, sums);
    } else {
        for (; i + 4 <= tile->m; i += 4)
            gemm_wrapping_rows(tile, i, 4, sums);
        if (tile->m & 2)
            gemm_wrapping_rows(tile, i, 2, sums);
        if (tile->m & 1)
            gemm_wrapping_rows(tile, tile->m - 1, 1, sums);
    }
    gemm_wrapping_store(tile, sums);
}

SIMD_INLINE void gemm_wrapping_pack_row(int64_t n, const scalar *b, scalar *panel)
{
    if (n == NR) {
        memcpy(panel, b, NR * sizeof *b);
        return;
    }
    memset(panel, 0, NR * sizeof *b);
    memcpy(panel, b, (size_t)n * sizeof *b);
}
#define pack_panel_row gemm_wrapping_pack_row
#include "pack_panel.h"

#endif
