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
