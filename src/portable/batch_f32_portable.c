/* SPDX-License-Identifier: Apache-2.0 */
/* Small products of f32 in place, portable. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#include "../simd/float_type.h"
#define MR1 4
#define MR2 4
#define MR3 0
#define MR4 0
#include "../simd/gemm_batch.h"

void hunze_batch_f32_portable(const hunze_float_batch *batch) { gemm_float_batch(batch); }
