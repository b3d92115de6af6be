/* SPDX-License-Identifier: Apache-2.0 */
/* What a warp computes together. */
#include "emulator.h"

/* mma.m16n8k32 of bytes (PTX ISA, "Matrix Fragments for mma.m16n8k32"): lane = 4 * group + member.
 *   a[i]: row group + 8 * (i & 1), columns 4 * member … + 3, and 16 more for i >= 2
 *   b[i]: rows 4 * member … + 3, and 16 more for i == 1; column group
 *   d[i]: row group + 8 * (i >> 1), column 2 * member + (i & 1) */
template <typename A> static void mma_m16n8k32(void *const lanes[32])
{
    int32_t a[16][32], b[32][8];
    for (int lane = 0; lane < 32; lane++) {
        const auto *mine = static_cast<const emulator_mma *>(lanes[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int byte = 0; byte < 4; byte++) {
            for (int i = 0; i < 4; i++)
                a[group + 8 * (i & 1)][4 * member + 16 * (i >> 1) + byte] = (A)(mine->a[i] >> 8 * byte);
            for (int i = 0; i < 2; i++)
                b[4 * member + 16 * i + byte][group] = (int8_t)(mine->b[i] >> 8 * byte);
        }
    }
    uint32_t d[16][8] = {};
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 32; k++)
            for (int column = 0; column < 8; column++)
                d[row][column] += (uint32_t)(a[row][k] * b[k][column]);
    for (int lane = 0; lane < 32; lane++) {
        const auto *mine = static_cast<const emulator_mma *>(lanes[lane]);
        for (int i = 0; i < 4; i++)
            mine->d[i] = (int32_t)((uint32_t)mine->d[i] + d[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)]);
    }
    emulator.counters.mma++;
}

void emulator_mma_u8s8(void *const lanes[32]) { mma_m16n8k32<uint8_t>(lanes); }
void emulator_mma_s8s8(void *const lanes[32]) { mma_m16n8k32<int8_t>(lanes); }

/* mma.m16n8k16 of two elements to a word: as above with half as many.  Products are exact; an element's sum is one chain of fma from d on, k
 * ascending, each rounded to nearest.  Devices sum in an order of their own and truncate: only bounds hold for both. */
template <float (*widen)(uint16_t)> static void mma_m16n8k16(void *const lanes[32])
{
    float a[16][16], b[16][8], d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const auto *mine = static_cast<const emulator_mma_float *>(lanes[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++)
                a[group + 8 * (i & 1)][2 * member + 8 * (i >> 1) + half] = widen((uint16_t)(mine->a[i] >> 16 * half));
            for (int i = 0; i < 2; i++)
                b[2 * member + 8 * i + half][group] = widen((uint16_t)(mine->b[i] >> 16 * half));
        }
        for (int i = 0; i < 4; i++)
            d[group + 8 * (i >> 1)][2 * member + (i & 1)] = mine->d[i];
    }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++)
            for (int column = 0; column < 8; column++)
                d[row][column] = __builtin_fmaf(a[row][k], b[k][column], d[row][column]);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            static_cast<const emulator_mma_float *>(lanes[lane])->d[i] =
                d[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)];
    emulator.counters.mma++;
}

static float widened_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}
static float widened_f16(uint16_t bits) { return widen_f16(bits); }
void emulator_mma_bf16(void *const lanes[32]) { mma_m16n8k16<widened_bf16>(lanes); }
void emulator_mma_f16(void *const lanes[32]) { mma_m16n8k16<widened_f16>(lanes); }

/* Lane 8 * i + j has the address of row j of matrix i. */
static void load_matrices(void *const lanes[32], bool transposed)
{
    uint16_t at[4][8][8];
    for (int lane = 0; lane < 32; lane++)
        memcpy(at[lane / 8][lane % 8], static_cast<const emulator_matrix_row *>(lanes[lane])->row, 16);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4, column = lane % 4 * 2;
            const uint32_t low = transposed ? at[i][column][row] : at[i][row][column],
                           high = transposed ? at[i][column + 1][row] : at[i][row][column + 1];
            static_cast<const emulator_matrix_row *>(lanes[lane])->d[i] = low | high << 16;
        }
}
void emulator_ldmatrix(void *const lanes[32]) { load_matrices(lanes, false); }
void emulator_ldmatrix_transposed(void *const lanes[32]) { load_matrices(lanes, true); }
