/* SPDX-License-Identifier: Apache-2.0 */
/* D[m,n] (+)= alpha * A[m,k] * B[k,n]    f64, AVX-512F.  Tile 14x16; B in panels [k][16]. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 64
#include "../src/simd/float_type.h"
enum { MR = 14, NV = 2 };
#include "../src/simd/gemm_float.h"
#include "../src/simd/gemm_strip.h"

void hunze_gemm_f64_avx512(const hunze_float_tile *tile) { gemm_float_tile(tile); }

void hunze_strip_f64_avx512(const hunze_float_strip *strip) { gemm_float_strip(strip); }

void hunze_pack_b_f64_avx512(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    gemm_float_pack_b(k, n, b, b_row, b_col, panel);
}
