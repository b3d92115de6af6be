/* SPDX-License-Identifier: Apache-2.0 */
/* The vector vocabulary of src/portable/simd.h with one lane per thread: bodies over it (src/simd/activation.h and others) are the same text
 * on devices, and each operation is the same IEEE operation, so they give the same bits. */
#ifndef HUNZE_VOCABULARY_CUH
#define HUNZE_VOCABULARY_CUH

#include "ptx.cuh"

#include <string.h>

#define SIMD_INLINE HUNZE_INLINE
#define SIMD_CONSTANT HUNZE_CONSTANT
#define SIMD_UNROLL(times) _Pragma("unroll")

enum { VF32_LANES = 1, VF64_LANES = 1, VI32_LANES = 1, VI64_LANES = 1 };
typedef float vf32;
typedef double vf64;
typedef int32_t vi32;
typedef int64_t vi64;

#define VOCABULARY_FLOAT(vector, bits)                                                                                 \
    SIMD_INLINE vector vector##_set1(vector x) { return x; }                                                           \
    SIMD_INLINE vector vector##_add(vector a, vector b) { return add_rn(a, b); }                                       \
    SIMD_INLINE vector vector##_sub(vector a, vector b) { return sub_rn(a, b); }                                       \
    SIMD_INLINE vector vector##_mul(vector a, vector b) { return mul_rn(a, b); }                                       \
    SIMD_INLINE vector vector##_div(vector a, vector b) { return div_rn(a, b); }                                       \
    SIMD_INLINE vector vector##_fma(vector a, vector b, vector c) { return fma_rn(a, b, c); }                          \
    SIMD_INLINE vector vector##_select_lt(vector a, vector b, vector x, vector y) { return a < b ? x : y; }            \
    SIMD_INLINE vector vector##_select_nan(vector a, vector x, vector y) { return a != a ? x : y; }                    \
    SIMD_INLINE bits vector##_bits(vector v)                                                                           \
    {                                                                                                                  \
        bits b;                                                                                                        \
        memcpy(&b, &v, sizeof b);                                                                                      \
        return b;                                                                                                      \
    }                                                                                                                  \
    SIMD_INLINE vector vector##_from_bits(bits b)                                                                      \
    {                                                                                                                  \
        vector v;                                                                                                      \
        memcpy(&v, &b, sizeof v);                                                                                      \
        return v;                                                                                                      \
    }
VOCABULARY_FLOAT(vf32, vi32)
VOCABULARY_FLOAT(vf64, vi64)

/* Integers wrap. */
#define VOCABULARY_INT(vector, wide)                                                                                   \
    SIMD_INLINE vector vector##_set1(vector x) { return x; }                                                           \
    SIMD_INLINE vector vector##_add(vector a, vector b) { return (vector)((wide)a + (wide)b); }                        \
    SIMD_INLINE vector vector##_sub(vector a, vector b) { return (vector)((wide)a - (wide)b); }                        \
    SIMD_INLINE vector vector##_and(vector a, vector b) { return a & b; }                                              \
    SIMD_INLINE vector vector##_or(vector a, vector b) { return a | b; }                                               \
    SIMD_INLINE vector vector##_xor(vector a, vector b) { return a ^ b; }                                              \
    SIMD_INLINE vector vector##_select_lt(vector a, vector b, vector x, vector y) { return a < b ? x : y; }            \
    SIMD_INLINE vector vector##_shift_left(vector a, int count) { return (vector)((wide)a << count); }
VOCABULARY_INT(vi32, uint32_t)
VOCABULARY_INT(vi64, uint64_t)
SIMD_INLINE vi32 vi32_mul(vi32 a, vi32 b) { return (vi32)((uint32_t)a * (uint32_t)b); }

SIMD_INLINE vf32 vf32_from_vi32(vi32 v) { return (vf32)v; }
/* v holds an integer within the range of s32. */
SIMD_INLINE vi32 vi32_from_vf32(vf32 v) { return (vi32)v; }
SIMD_INLINE vf32 vf32_round(vf32 v) { return round_even(v); }

#undef VOCABULARY_FLOAT
#undef VOCABULARY_INT

#endif
