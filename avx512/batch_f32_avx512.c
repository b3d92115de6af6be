/* SPDX-License-Identifier: Apache-2.0 */
/* Small products of f32 in place, AVX-512.  Tiles 12x1 and 14x2 vectors. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#include "../src/simd/float_type.h"
#define MR1 12
#define MR2 14
#define MR3 0
#include "../src/simd/gemm_batch.h"

void hunze_batch_f32_avx512(const hunze_float_batch *batch) { gemm_float_batch(batch); }
