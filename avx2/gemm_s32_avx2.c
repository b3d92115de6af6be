/* SPDX-License-Identifier: Apache-2.0 */
/* D[m,n] (+)= alpha * A[m,k] * B[k,n]    s32, wrapping, AVX2.  Tile 6x16; B in panels [k][16]. */
#include "simd.h"
#define HUNZE_INTEGER_BITS 32
#include "../src/simd/integer_type.h"
enum { MR = 6, NV = 2 };
#include "../src/simd/gemm_wrapping.h"

void hunze_gemm_s32_avx2(const hunze_float_tile *tile) { gemm_wrapping_tile(tile); }

void hunze_pack_b_s32_avx2(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    pack_panel(k, n, b, b_row, b_col, panel);
}
