/* SPDX-License-Identifier: Apache-2.0 */
/* D[m,n] (+)= alpha * A[m,k] * B[k,n]    f64, any CPU.  Tile 4x4; B in panels [k][4]. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 64
#include "../simd/float_type.h"
enum { MR = 4, NV = 2 };
#include "../simd/gemm_float.h"
#include "../simd/gemm_strip.h"

void hunze_gemm_f64_portable(const hunze_float_tile *tile) { gemm_float_tile(tile); }

void hunze_strip_f64_portable(const hunze_float_strip *strip) { gemm_float_strip(strip); }

void hunze_pack_b_f64_portable(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    gemm_float_pack_b(k, n, b, b_row, b_col, panel);
}
