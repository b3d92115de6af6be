/* t[m,n] (+)= A[m,k] * B[k,n]    u8 or s8 times s8, exact by two products of s16 per lane and step (vpmaddwd)
 * The including file says MR, NV and A_SIGNED.  Tile MR x NV vectors: accumulators, NV of B, one broadcast of A, one product.
 *   a: row-major bytes, widened to s16 on the stack CHUNK columns at a time     b: panel [ceil(k/2)][NV*lanes][2], widened when read */
#ifndef HUNZE_GEMM_INT_DOT2_H
#define HUNZE_GEMM_INT_DOT2_H

#include "by_rows.h"
#include "gemm_int_store.h"

enum { CHUNK = 256 };

SIMD_INLINE void dot2_rows(const hunze_int_tile *tile, const int rows)
{
    _Alignas(64) int16_t words[MR][CHUNK];
    _Alignas(64) int32_t out[MR * NV * VI32_LANES];
    int_sums sums[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            sums[i][v] = (int_sums)vi32_set1(0);
    const int8_t *b = tile->b;
    for (int64_t p0 = 0; p0 < tile->k; p0 += CHUNK) {
        int64_t count = tile->k - p0 < CHUNK ? tile->k - p0 : CHUNK;
        for (int i = 0; i < rows; i++)
            simd_widen_first(words[i], (const uint8_t *)tile->a + i * tile->a_row + p0, count, A_SIGNED);
        const int16_t *a = words[0];
        for (int64_t p = 0; p < count; p += 2, a += 2, b += NV * sizeof(vi32) / 2) {
            vi32 columns[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                columns[v] = simd_load_s8_as_s16(b + v * sizeof(vi32) / 2);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                int32_t pair;
                memcpy(&pair, a + i * CHUNK, sizeof pair);
                vi32 a_pair = vi32_set1(pair);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    sums[i][v] = (int_sums)vi32_add((vi32)sums[i][v], simd_dot2(a_pair, columns[v]));
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            vi32_store(out + (i * NV + v) * VI32_LANES, (vi32)sums[i][v]);
    gemm_int_store(tile, out);
}

SIMD_INLINE void gemm_int_tile(const hunze_int_tile *tile) { BY_ROWS(MR, tile->m, dot2_rows, tile) }

#endif
