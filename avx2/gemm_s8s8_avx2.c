/* s8 times s8, exact, AVX2 without VNNI: tile 6x16 by vpmaddwd. */
#include "simd.h"
#include <string.h>

enum { MR = 6, NV = 2, A_SIGNED = 1 };
#include "../src/simd/gemm_int_dot2.h"

void hunze_gemm_s8s8_avx2(const hunze_int_tile *tile) { gemm_int_tile(tile); }
