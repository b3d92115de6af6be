/* Bias, residual and activation of f32, in place, on AVX2. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#include "../src/simd/float_type.h"

#include "../src/simd/activation.h"
#include "../src/simd/float_epilogue.h"

void hunze_activation_f32_avx2(const hunze_float_epilogue *epilogue, int64_t m, int64_t n, void *t, int64_t t_row)
{
    float_epilogue(epilogue, m, n, t, t_row);
}
