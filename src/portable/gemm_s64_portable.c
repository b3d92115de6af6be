/* SPDX-License-Identifier: Apache-2.0 */
/* D[m,n] (+)= alpha * A[m,k] * B[k,n]    s64, wrapping, any CPU.  Tile 4x4; B in panels [k][4]. */
#include "simd.h"
#define HUNZE_INTEGER_BITS 64
#include "../simd/integer_type.h"
enum { MR = 4, NV = 2 };
#include "../simd/gemm_wrapping.h"

void hunze_gemm_s64_portable(const hunze_float_tile *tile) { gemm_wrapping_tile(tile); }

void hunze_pack_b_s64_portable(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel)
{
    pack_panel(k, n, b, b_row, b_col, panel);
}
