/* u8 times s8, exact, AVX2, weights with |w0| + |w1| <= 128 in each pair of k: tile 6x16 by vpmaddubsw. */
#include "simd.h"
#include <string.h>

enum { MR = 6, NV = 2, A_SIGNED = 0 };
#define DOT4 simd_dot4_saturating
#include "../src/simd/gemm_int_dot4.h"

void hunze_gemm_u8s8_avx2_safe(const hunze_int_tile *tile) { gemm_int_tile(tile); }
