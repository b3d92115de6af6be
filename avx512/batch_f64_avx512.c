/* SPDX-License-Identifier: Apache-2.0 */
/* Small products of f64 in place, AVX-512.  Tiles 12x1, 14x2, 8x3 and 6x4 vectors. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 64
#include "../src/simd/float_type.h"
#define MR1 12
#define MR2 14
#define MR3 8
#define MR4 6
#include "../src/simd/gemm_batch.h"

void hunze_batch_f64_avx512(const hunze_float_batch *batch) { gemm_float_batch(batch); }
