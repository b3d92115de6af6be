/* t[x, c] = sum over taps of x[x, tap, c] * w[tap, c]    s8 by s8, exact in s32, AVX-512: 8 outputs of 16 channels at a time. */
#include "simd.h"
#define DEPTHWISE_X int8_t
#define LOAD_X vi32_load_s8_first
#include "../src/simd/depthwise_int.h"

void hunze_depthwise_s8s8_avx512(const hunze_depthwise_row *args) { depthwise_row(args); }
void hunze_depthwise_plane_s8s8_avx512(const hunze_depthwise_plane *plane) { depthwise_plane(plane); }
