/* t[m,n] (+)= A[m,k] * B[k,n]    u8 or s8 times s8, four products of a lane per step (vpdpbusd or vpmaddubsw + vpmaddwd)
 * The including file says MR, NV, A_SIGNED and which DOT4(c, a, b).  Tile MR x NV vectors: accumulators, NV of B, one broadcast of A.
 *   a: row-major bytes in place, read as 4-byte broadcasts     b: panel [ceil(k/4)][NV*lanes][4]
 * The instruction wants unsigned A: s8 is read as a + 128 (XOR 0x80), and 128 * column sum is taken off at the start. */
#ifndef HUNZE_GEMM_INT_DOT4_H
#define HUNZE_GEMM_INT_DOT4_H

#include "by_rows.h"
#include "gemm_int_store.h"

SIMD_INLINE vi32 dot4_a(const uint8_t *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    vi32 a = vi32_set1(word);
    return A_SIGNED ? vi32_xor(a, vi32_set1((int32_t)0x80808080)) : a;
}

/* The last 1 to 3 bytes of a row; what stands for the others meets zeros of B. */
SIMD_INLINE vi32 dot4_a_tail(const uint8_t *p, int64_t bytes)
{
    uint32_t word = p[0];
    if (bytes > 1)
        word |= (uint32_t)p[1] << 8;
    if (bytes > 2)
        word |= (uint32_t)p[2] << 16;
    vi32 a = vi32_set1((int32_t)word);
    return A_SIGNED ? vi32_xor(a, vi32_set1((int32_t)0x80808080)) : a;
}

SIMD_INLINE void dot4_rows(const hunze_int_tile *tile, const int rows)
{
    const uint8_t *row[MR];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        row[i] = (const uint8_t *)tile->a + i * tile->a_row;
    _Alignas(64) int32_t out[MR * NV * VI32_LANES];
    int_sums sums[MR][NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
        vi32 start = vi32_set1(0);
        if (A_SIGNED)
            start = vi32_sub(start, vi32_shift_left(vi32_load(tile->column_sums + v * VI32_LANES), 7));
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            sums[i][v] = (int_sums)start;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        gemm_int_prefetch(tile, i, NV);
    const int8_t *b = tile->b;
    const int64_t whole = tile->k / 4 * 4, left = tile->k - whole;
    for (int64_t p = 0; p < whole; p += 4, b += NV * sizeof(vi32)) {
        vi32 columns[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            columns[v] = vi32_load((const int32_t *)(b + v * sizeof(vi32)));
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vi32 a = dot4_a(row[i] + p);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                sums[i][v] = (int_sums)DOT4((vi32)sums[i][v], a, columns[v]);
        }
    }
    if (left) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vi32 a = dot4_a_tail(row[i] + whole, left);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                sums[i][v] = (int_sums)DOT4((vi32)sums[i][v], a, vi32_load((const int32_t *)(b + v * sizeof(vi32))));
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            vi32_store(out + (i * NV + v) * VI32_LANES, (vi32)sums[i][v]);
    gemm_int_store(tile, out);
}

SIMD_INLINE void gemm_int_tile(const hunze_int_tile *tile) { BY_ROWS(MR, tile->m, dot4_rows, tile) }

#endif
