/* SPDX-License-Identifier: Apache-2.0 */
/* One GEMM tile of bf16 with f32 sums, two products per lane and step (contract: hunze_float_tile in kernels.h), and the packing of its B.
 *
 * The including file has bound simd.h, float_type.h and narrow_type.h and says the tile, MR rows by NV vectors, which is one vector of B's elements.  MR * NV accumulators,
 * NV vectors of B and one broadcast of A stay in registers.
 *   a: rows in place, a_col is 1, read as broadcasts of two elements
 *   b: panel [ceil(k/2)][NR][2], or rows in place, two of which are interleaved as they are read */
#ifndef HUNZE_SIMD_GEMM_PAIRS_H
#define HUNZE_SIMD_GEMM_PAIRS_H

#include "gemm_float.h"

/* NV vectors of pairs, from a row of B and the next; the last may have none, then they are zeros. */
SIMD_INLINE void gemm_pairs_interleave(const narrow *row, const narrow *next, int64_t n, const bool last,
                                       vi32 pairs[NV])
{
    const vi32 even = simd_load_words_first(row, n), odd = last ? vi32_set1(0) : simd_load_words_first(next, n);
    simd_interleave_words(even, odd, &pairs[0], &pairs[1]);
}

/* Elements p and p + 1 of row i of A, or the last and a zero. */
SIMD_INLINE vi32 gemm_pairs_a(const char *const group[], int64_t row_bytes, int i, bool last)
{
    const char *at = group[i / 5] + i % 5 * row_bytes;
    uint32_t pair = 0;
    memcpy(&pair, at, last ? 2 : 4);
    return vi32_set1((int32_t)pair);
}

SIMD_INLINE void gemm_pairs_step(vf acc[MR][NV], const char *const group[], int64_t row_bytes, const vi32 b[NV],
                                 const int m, const int vectors, const bool last)
{
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        const vi32 a = gemm_pairs_a(group, row_bytes, i, last);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            acc[i][v] = simd_dot_bf16(acc[i][v], a, b[v]);
    }
}

SIMD_INLINE void gemm_pairs_body(const hunze_float_tile *tile, const int m, const int vectors, const bool panel)
{
    enum { AHEAD = 16 /* pairs of rows of B */ };
    const narrow *b = tile->b, *next = b + tile->b_row;
    const int64_t n = tile->n, row_bytes = tile->a_row * (int64_t)sizeof(narrow), b_row = tile->b_row;
    const char *group[(MR + 4) / 5];
#pragma GCC unroll 8
    for (int g = 0; g < (m + 4) / 5; g++)
        group[g] = (const char *)tile->a + 5 * g * row_bytes;
    gemm_float_fetch_t(tile, m, vectors);
    const char *ahead = tile->ahead ? tile->ahead : (const char *)b;
    const int64_t ahead_bytes = tile->ahead_bytes;
    vf acc[MR][NV];
    vi32 pairs[NV];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            acc[i][v] =
                tile->start ? vf_load((const scalar *)tile->start + i * tile->start_row + v * VF_LANES) : vf_set1(0);
    for (int64_t step = tile->k / 2; step > 0; step--) {
        if (panel) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) {
                __builtin_prefetch(b + 2 * (AHEAD * NR + v * VF_LANES), 0, 3);
                __builtin_prefetch(ahead + v * 64, 0, 2);
                pairs[v] = vi32_load((const int32_t *)(const void *)(b + 2 * v * VF_LANES));
            }
            b += 2 * NR;
            ahead += ahead_bytes;
        } else {
            gemm_pairs_interleave(b, next, n, false, pairs);
            __builtin_prefetch(b + 2 * AHEAD * b_row, 0, 3);
            __builtin_prefetch(next + 2 * AHEAD * b_row, 0, 3);
            b += 2 * b_row;
            next += 2 * b_row;
        }
        gemm_pairs_step(acc, group, row_bytes, pairs, m, vectors, false);
#pragma GCC unroll 8
        for (int g = 0; g < (m + 4) / 5; g++)
            group[g] += 2 * sizeof(narrow);
    }
    if (tile->k % 2) {
        if (!panel)
            gemm_pairs_interleave(b, next, n, true, pairs);
#pragma GCC unroll 8
        for (int v = 0; panel && v < vectors; v++)
            pairs[v] = vi32_load((const int32_t *)(const void *)(b + 2 * v * VF_LANES));
        gemm_pairs_step(acc, group, row_bytes, pairs, m, vectors, true);
    }
    gemm_float_store(tile, n, acc, m, vectors, false);
}

SIMD_INLINE void gemm_pairs_rows(const hunze_float_tile *tile, const int m)
{
    const bool panel = tile->flags & HUNZE_TILE_B_FULL;
    if (tile->n > VF_LANES)
        panel ? gemm_pairs_body(tile, m, NV, true) : gemm_pairs_body(tile, m, NV, false);
    else
        panel ? gemm_pairs_body(tile, m, 1, true) : gemm_pairs_body(tile, m, 1, false);
}

SIMD_INLINE void gemm_pairs_tile(const hunze_float_tile *tile){BY_ROWS(MR, tile -> m, gemm_pairs_rows, tile)}

/* Panel [ceil(k/2)][NR][2], columns from n on and a last row's partner zero. */
SIMD_INLINE void gemm_pairs_pack_b(int64_t k, int64_t n, const narrow *b, int64_t b_row, int64_t b_col, narrow *panel)
{
    const int64_t whole = k / 2;
    int32_t *to = (int32_t *)(void *)panel;
    if (b_col == 1 || n == 1) {
        for (int64_t p = 0; p < k; p += 2, b += 2 * b_row, to += NR) {
            vi32 pairs[NV];
            if (p + 1 < k)
                gemm_pairs_interleave(b, b + b_row, n, false, pairs);
            else
                gemm_pairs_interleave(b, b, n, true, pairs);
            vi32_store(to, pairs[0]);
            vi32_store(to + VI32_LANES, pairs[1]);
        }
        return;
    }
    /* A run of k at a time: whole lines of a column are read, and what is written of the panel stays in L1.  Where k is contiguous, pairs lie together as they are. */
    enum { RUN = 256 };
    for (int64_t p0 = 0; p0 < whole + k % 2; p0 += RUN / 2, to += RUN / 2 * NR) {
        const int64_t pairs = whole - p0 < RUN / 2 ? whole - p0 : RUN / 2;
        const bool rest = whole - p0 < RUN / 2 && k % 2;
        const narrow *from = b + 2 * p0 * b_row;
        if (b_row == 1)
            transpose(4, true, n, pairs, from, b_col * 2, to, NR * 4);
        else
            for (int64_t j = 0; j < n; j++)
                for (int64_t p = 0; p < pairs; p++)
                    to[p * NR + j] = (int32_t)(from[2 * p * b_row + j * b_col] |
                                               (uint32_t)from[(2 * p + 1) * b_row + j * b_col] << 16);
        for (int64_t j = 0; rest && j < n; j++)
            to[pairs * NR + j] = from[2 * pairs * b_row + j * b_col];
        for (int64_t p = 0; p < pairs + rest; p++)
            for (int64_t j = n; j < NR; j++)
                to[p * NR + j] = 0;
    }
}

#endif
