/* The NaN that HUNZE_REPRODUCIBLE stores in an f32. */
#ifndef HUNZE_SIMD_CANONICAL_NAN_H
#define HUNZE_SIMD_CANONICAL_NAN_H

SIMD_INLINE vf32 vf32_canonical_nan(vf32 x) { return vf32_select_nan(x, vf32_from_bits(vi32_set1(0x7FC00000)), x); }

#endif
