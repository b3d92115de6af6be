/* s32 to f32: the body is src/simd/quantize.h. */
#include "simd.h"
#include "../src/simd/quantize.h"

void hunze_dequantize_s32_avx512(const hunze_quantize_run *run) { dequantize_run(HUNZE_TYPE_S32, run); }
