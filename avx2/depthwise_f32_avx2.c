/* t[x, c] = sum over taps of x[x, tap, c] * w[tap, c]    f32, AVX2: 8 outputs of 8 channels at a time, one fma each. */
#include "simd.h"
#include "../src/simd/depthwise_f32.h"

void hunze_depthwise_f32_avx2(const hunze_depthwise_row *args) { depthwise_row(args); }
void hunze_depthwise_plane_f32_avx2(const hunze_depthwise_plane *plane) { depthwise_plane(plane); }
