/* Smallest and largest of a run of f32: the body is src/simd/quantize.h. */
#include "simd.h"
#include "../src/simd/quantize.h"

void hunze_minmax_f32_avx512(int64_t n, const float *x, float range[2], bool *has_nan)
{
    minmax_run(n, x, range, has_nan);
}
