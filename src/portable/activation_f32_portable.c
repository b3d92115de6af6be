/* Bias, residual and activation of f32, in place, on any CPU. */
#include "simd.h"
#define HUNZE_FLOAT_BITS 32
#include "../simd/float_type.h"

#include "../simd/activation.h"
#include "../simd/float_epilogue.h"

void hunze_activation_f32_portable(const hunze_float_epilogue *epilogue, int64_t m, int64_t n, void *t, int64_t t_row)
{
    float_epilogue(epilogue, m, n, t, t_row);
}
