/* u8 times s8, exact, AVX-512 VNNI (vpdpbusd): tile 14x32. */
#include "simd.h"
#include <string.h>

enum { MR = 14, NV = 2, A_SIGNED = 0 };
#define DOT4 simd_dot4
#include "../src/simd/gemm_int_dot4.h"

void hunze_gemm_u8s8_avx512vnni(const hunze_int_tile *tile) { gemm_int_tile(tile); }
