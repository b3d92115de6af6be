/* u8 to f32: the body is src/simd/quantize.h. */
#include "simd.h"
#include "../simd/quantize.h"

void hunze_dequantize_u8_portable(const hunze_quantize_run *run) { dequantize_run(HUNZE_TYPE_U8, run); }
