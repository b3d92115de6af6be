/* SPDX-License-Identifier: Apache-2.0 */
/* t[m,n] (+)= alpha * A[m,k] * B[k,n]    A and B in bf16, t in f32, AVX512-BF16: vdpbf16ps, whose order of a sum is its own (docs/NUMERICS.md).
 * Tile 14x32; B in panels [k/2][32][2], or in place. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#define HUNZE_NARROW_BF16
#include "../src/simd/float_type.h"
#include "../src/simd/narrow_type.h"
enum { MR = 14, NV = 2 };
#include "../src/simd/gemm_pairs.h"

void hunze_gemm_bf16_avx512bf16(const hunze_float_tile *tile) { gemm_pairs_tile(tile); }

void hunze_pack_b_bf16_avx512bf16(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    gemm_pairs_pack_b(k, n, b, b_row, b_col, panel);
}
