/* u8 times s8, exact, AVX-512 without VNNI: tile 12x32 by vpmaddwd. */
#include "simd.h"
#include <string.h>

enum { MR = 12, NV = 2, A_SIGNED = 0 };
#include "../src/simd/gemm_int_dot2.h"

void hunze_gemm_u8s8_avx512(const hunze_int_tile *tile) { gemm_int_tile(tile); }
