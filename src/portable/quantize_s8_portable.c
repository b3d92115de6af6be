/* f32 to s8: the body is src/simd/quantize.h. */
#include "simd.h"
#include "../simd/quantize.h"

void hunze_quantize_s8_portable(const hunze_quantize_run *run) { quantize_run(HUNZE_TYPE_S8, run); }
