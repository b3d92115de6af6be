/* s8 times s8, exact, AVX-VNNI (VEX vpdpbusd): tile 6x16. */
#include "simd.h"
#include <string.h>

enum { MR = 6, NV = 2, A_SIGNED = 1 };
#define DOT4 simd_dot4
#include "../src/simd/gemm_int_dot4.h"

void hunze_gemm_s8s8_avxvnni(const hunze_int_tile *tile) { gemm_int_tile(tile); }
