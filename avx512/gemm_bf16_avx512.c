/* SPDX-License-Identifier: Apache-2.0 */
/* t[m,n] (+)= alpha * A[m,k] * B[k,n]    B in bf16, the others in f32, AVX-512F.  Tile 14x32; B in panels [k][32], widened as they are read. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#define HUNZE_NARROW_BF16
#include "../src/simd/float_type.h"
#include "../src/simd/narrow_type.h"
enum { MR = 14, NV = 2 };
#include "../src/simd/gemm_float.h"
#include "../src/simd/narrow.h"

void hunze_gemm_bf16_avx512(const hunze_float_tile *tile) { gemm_float_tile(tile); }

void hunze_pack_b_bf16_avx512(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    gemm_float_pack_b(k, n, b, b_row, b_col, panel);
}

void hunze_widen_bf16_avx512(int64_t m, int64_t n, const void *from, int64_t from_row, int64_t from_col, float *to,
                             int64_t to_row)
{
    widen_rows(m, n, from, from_row, from_col, to, to_row);
}

void hunze_narrow_bf16_avx512(int64_t m, int64_t n, const float *from, int64_t from_row, void *to, int64_t to_row)
{
    narrow_rows(m, n, from, from_row, to, to_row);
}
