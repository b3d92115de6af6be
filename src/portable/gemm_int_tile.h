/* t[m,n] (+)= A[m,k] * B[k,n]    u8 or s8 times s8, exact in s32, for any CPU
 * Tile 4x8 over k one by one: a product of two bytes fits 16 bits (255 * -128 = -32640), so it is formed there and widened.
 *   a: row-major bytes, a_row apart      b: panel [k][8] (layout KN8)      The including file says A_SIGNED. */
#ifndef HUNZE_PORTABLE_GEMM_INT_TILE_H
#define HUNZE_PORTABLE_GEMM_INT_TILE_H

#include "../kernels.h"

#include <string.h>

enum { MR = 4, NR = 8 };
typedef int8_t s8x8 __attribute__((vector_size(8)));
typedef int16_t s16x8 __attribute__((vector_size(16)));
typedef int32_t s32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32))); /* sums wrap */

static inline __attribute__((always_inline)) void gemm_int_tile(const hunze_int_tile *tile)
{
    const uint8_t *row[MR];
    for (int i = 0; i < MR; i++) /* rows beyond m repeat the last and are not stored */
        row[i] = (const uint8_t *)tile->a + (i < tile->m ? i : tile->m - 1) * tile->a_row;
    const int8_t *b = tile->b;
    u32x8 acc_u32x8[MR] = {0};
    for (int64_t p = 0; p < tile->k; p++, b += NR) {
        s8x8 b_s8x8;
        memcpy(&b_s8x8, b, sizeof b_s8x8);
        s16x8 b_s16x8 = __builtin_convertvector(b_s8x8, s16x8);
        for (int i = 0; i < MR; i++) {
            int16_t a = A_SIGNED ? (int16_t)(int8_t)row[i][p] : (int16_t)row[i][p];
            acc_u32x8[i] += (u32x8) __builtin_convertvector(b_s16x8 * a, s32x8);
        }
    }
    for (int i = 0; i < tile->m; i++) {
        int32_t *t = tile->t + i * tile->t_row;
        for (int j = 0; j < tile->n; j++) {
            uint32_t s = acc_u32x8[i][j];
            t[j] = (int32_t)(tile->flags & HUNZE_TILE_FIRST ? s : s + (uint32_t)t[j]);
        }
    }
}

#endif
