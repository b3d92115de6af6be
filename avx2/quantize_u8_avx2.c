/* f32 to u8: the body is src/simd/quantize.h. */
#include "simd.h"
#include "../src/simd/quantize.h"

void hunze_quantize_u8_avx2(const hunze_quantize_run *run) { quantize_run(HUNZE_TYPE_U8, run); }
