/* From f32 to codes of 8 bits, as QuantizeLinear has it.  A NaN has no code: it becomes the zero point, the code of 0. */
#ifndef HUNZE_SIMD_ROUND_TO_CODES_H
#define HUNZE_SIMD_ROUND_TO_CODES_H

#include <stdint.h>

/* saturate(round_half_even(q) + zero_point) for codes in [low, high]. */
SIMD_INLINE vi32 round_to_codes(vf32 q, vi32 zero_point, int32_t low, int32_t high)
{
    vf32 zero = vf32_from_vi32(zero_point);
    vf32 lowest = vf32_sub(vf32_set1((float)low), zero), highest = vf32_sub(vf32_set1((float)high), zero);
    vf32 r = vf32_select_nan(q, vf32_set1(0.0f), vf32_round(q));
    r = vf32_select_lt(r, lowest, lowest, r);
    r = vf32_select_lt(highest, r, highest, r);
    return vi32_add(vi32_from_vf32(r), zero_point);
}

#endif
