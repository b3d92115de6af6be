/* SPDX-License-Identifier: Apache-2.0 */
/* Small products of f64 in place, AVX2 and FMA.  Tiles 12x1, 6x2 and 4x3 vectors. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 64
#include "../src/simd/float_type.h"
#define MR1 12
#define MR2 6
#define MR3 4
#define MR4 0
#include "../src/simd/gemm_batch.h"

void hunze_batch_f64_avx2(const hunze_float_batch *batch) { gemm_float_batch(batch); }
