/* The vector vocabulary for any CPU, by the compiler's vector extensions.
 *
 * The same names exist in avx2/simd.h and avx512/simd.h; kernel bodies (src/simd/) are written over them.  vf32, vf64, vi32, vi64: vectors
 * of VF32_LANES, VF64_LANES, VI32_LANES (= VF32_LANES), VI64_LANES (= VF64_LANES) elements.  Pointers need no alignment.
 *   _load_first(p, n), _store_first(p, v, n): only the first n lanes touch memory (0 <= n; n >= lanes: all), others load as 0
 *   _mask_between(low, high): of lanes [low, high), 0 <= low <= high <= lanes, for _load_masked(p, mask): others are not read and 0
 *   _even(a, b): elements 0, 2, 4, … of a, then those of b
 *   vf64_transpose(v): as many vectors as they have lanes; lane j of v[i] becomes lane i of v[j]
 *   vf32_zip_low(a, b), _zip_high(a, b): of each four elements of a and of b the first two, or the last two, in turn; each two as one element of vf64.
 *   vf32_unzipped(v): those bits as vf32
 *   SIMD_KEEP(v): v stays in its register instead of being loaded again for each use
 *   vi16, vi64_sum: for integer_type.h alone
 *   _fma(a, b, c) = a*b + c, rounded once            _select_lt(a, b, x, y) = a < b ? x : y, y where unordered
 * Each operation is IEEE 754, rounded to nearest even: a body gives the same bits whichever vocabulary it runs on. */
#ifndef HUNZE_SIMD_H
#define HUNZE_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_CONSTANT static const /* before a table */
#define SIMD_PRAGMA(text) _Pragma(#text)
#define SIMD_UNROLL(times) SIMD_PRAGMA(GCC unroll times) /* before a loop */

enum { VF32_LANES = 4, VF64_LANES = 2, VI16_LANES = 8, VI32_LANES = 4, VI64_LANES = 2 };
typedef float vf32 __attribute__((vector_size(16)));
typedef double vf64 __attribute__((vector_size(16)));
typedef int32_t vi32 __attribute__((vector_size(16)));
typedef uint32_t vu32 __attribute__((vector_size(16)));
typedef int64_t vi64 __attribute__((vector_size(16)));
typedef uint64_t vu64 __attribute__((vector_size(16)));

/* Memory, arithmetic and selection of one vector type; mask is the integer vector of its comparisons. */
#define SIMD_PORTABLE_TYPE(vector, element, lanes, mask)                                                               \
    SIMD_INLINE vector vector##_set1(element x) { return x - (vector){0}; }                                            \
    SIMD_INLINE vector vector##_load(const element *p)                                                                 \
    {                                                                                                                  \
        vector v;                                                                                                      \
        memcpy(&v, p, sizeof v);                                                                                       \
        return v;                                                                                                      \
    }                                                                                                                  \
    SIMD_INLINE void vector##_store(element *p, vector v) { memcpy(p, &v, sizeof v); }                                 \
    SIMD_INLINE vector vector##_load_first(const element *p, int64_t n)                                                \
    {                                                                                                                  \
        vector v = {0};                                                                                                \
        for (int i = 0; i < lanes; i++)                                                                                \
            if (i < n)                                                                                                 \
                v[i] = p[i];                                                                                           \
        return v;                                                                                                      \
    }                                                                                                                  \
    SIMD_INLINE void vector##_store_first(element *p, vector v, int64_t n)                                             \
    {                                                                                                                  \
        for (int i = 0; i < lanes; i++)                                                                                \
            if (i < n)                                                                                                 \
                p[i] = v[i];                                                                                           \
    }                                                                                                                  \
    SIMD_INLINE vector vector##_select_lt(vector a, vector b, vector x, vector y)                                      \
    {                                                                                                                  \
        mask m = (mask)(a < b);                                                                                        \
        return (vector)((m & (mask)x) | (~m & (mask)y));                                                               \
    }

#define SIMD_PORTABLE_FLOAT(vector, mask)                                                                              \
    SIMD_INLINE vector vector##_add(vector a, vector b) { return a + b; }                                              \
    SIMD_INLINE vector vector##_sub(vector a, vector b) { return a - b; }                                              \
    SIMD_INLINE vector vector##_mul(vector a, vector b) { return a * b; }                                              \
    SIMD_INLINE vector vector##_div(vector a, vector b) { return a / b; }                                              \
    SIMD_INLINE vector vector##_select_nan(vector a, vector x, vector y)                                               \
    {                                                                                                                  \
        mask m = (mask)(a != a);                                                                                       \
        return (vector)((m & (mask)x) | (~m & (mask)y));                                                               \
    }                                                                                                                  \
    SIMD_INLINE mask vector##_bits(vector v) { return (mask)v; }                                                       \
    SIMD_INLINE vector vector##_from_bits(mask v) { return (vector)v; }

/* Integers wrap. */
#define SIMD_PORTABLE_INT(vector, wide_unsigned)                                                                       \
    SIMD_INLINE vector vector##_add(vector a, vector b) { return (vector)((wide_unsigned)a + (wide_unsigned)b); }      \
    SIMD_INLINE vector vector##_sub(vector a, vector b) { return (vector)((wide_unsigned)a - (wide_unsigned)b); }      \
    SIMD_INLINE vector vector##_and(vector a, vector b) { return a & b; }                                              \
    SIMD_INLINE vector vector##_or(vector a, vector b) { return a | b; }                                               \
    SIMD_INLINE vector vector##_xor(vector a, vector b) { return a ^ b; }                                              \
    SIMD_INLINE vector vector##_shift_left(vector a, int count) { return (vector)((wide_unsigned)a << count); }

SIMD_PORTABLE_TYPE(vf32, float, VF32_LANES, vi32)
SIMD_PORTABLE_TYPE(vf64, double, VF64_LANES, vi64)
SIMD_PORTABLE_TYPE(vi32, int32_t, VI32_LANES, vi32)
SIMD_PORTABLE_FLOAT(vf32, vi32)
SIMD_PORTABLE_FLOAT(vf64, vi64)
SIMD_PORTABLE_INT(vi32, vu32)
SIMD_PORTABLE_INT(vi64, vu64)

typedef struct vf32_mask {
    int64_t low, high;
} vf32_mask;
SIMD_INLINE vf32_mask vf32_mask_between(int64_t low, int64_t high) { return (vf32_mask){low, high}; }
SIMD_INLINE vf32 vf32_load_masked(const float *p, vf32_mask mask)
{
    vf32 v = {0};
    for (int i = 0; i < VF32_LANES; i++)
        if (i >= mask.low && i < mask.high)
            v[i] = p[i];
    return v;
}
SIMD_INLINE vf32 vf32_even(vf32 a, vf32 b) { return (vf32){a[0], a[2], b[0], b[2]}; }
SIMD_INLINE void vf64_transpose(vf64 v[VF64_LANES])
{
    const vf64 first = {v[0][0], v[1][0]};
    v[1] = (vf64){v[0][1], v[1][1]};
    v[0] = first;
}
SIMD_INLINE vf64 vf32_zip_low(vf32 a, vf32 b) { return (vf64)(vf32){a[0], b[0], a[1], b[1]}; }
SIMD_INLINE vf64 vf32_zip_high(vf32 a, vf32 b) { return (vf64)(vf32){a[2], b[2], a[3], b[3]}; }
SIMD_INLINE vf32 vf32_unzipped(vf64 v) { return (vf32)v; }
#define SIMD_KEEP(v) ((void)(v)) /* what a compiler does with four lanes is well enough */

SIMD_INLINE vi64 vi64_set1(int64_t x) { return x - (vi64){0}; }
SIMD_INLINE vi32 vi32_mul(vi32 a, vi32 b) { return (vi32)((vu32)a * (vu32)b); }
/* Arithmetic: the sign is kept. */
SIMD_INLINE vi32 vi32_shift_right(vi32 a, int count) { return a >> count; }

#ifdef __FP_FAST_FMAF
SIMD_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    vf32 v;
    for (int i = 0; i < VF32_LANES; i++)
        v[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return v;
}
#else
/* Without FMA hardware: the product is exact in double; its sum with c is rounded to odd (TwoSum gives the lost part), so
 * that rounding once more, to float, is right (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008). */
static __attribute__((noinline, unused)) vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    typedef float half_f __attribute__((vector_size(8)));
    vf32 v;
    for (int h = 0; h < 2; h++) {
        half_f a_half = {a[2 * h], a[2 * h + 1]}, b_half = {b[2 * h], b[2 * h + 1]}, c_half = {c[2 * h], c[2 * h + 1]};
        vf64 p = __builtin_convertvector(a_half, vf64) * __builtin_convertvector(b_half, vf64);
        vf64 q = __builtin_convertvector(c_half, vf64);
        vf64 s = p + q;
        vf64 q_virtual = s - p;
        vf64 lost = (p - (s - q_virtual)) + (q - q_virtual);
        vi64 bits = (vi64)s;
        vi64 inexact = (vi64)(lost < 0.0) | (vi64)(lost > 0.0); /* false where s is Inf or NaN */
        vi64 away = ((vi64)((vi64)lost ^ bits) >= 0) & 1; /* lost has the sign of s: the truth is larger in magnitude */
        vi64 step = (away << 1) - 1;
        bits += inexact & ((bits & 1) - 1) & step;
        half_f rounded = __builtin_convertvector((vf64)bits, half_f);
        v[2 * h] = rounded[0];
        v[2 * h + 1] = rounded[1];
    }
    return v;
}
#endif
/* Without FMA hardware the C library's fma: right, and some 65 times slower than an instruction. */
SIMD_INLINE vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return (vf64){fma(a[0], b[0], c[0]), fma(a[1], b[1], c[1])}; }

SIMD_INLINE vf32 vf32_from_vi32(vi32 v) { return __builtin_convertvector(v, vf32); }
/* v holds integers within the range of s32. */
SIMD_INLINE vi32 vi32_from_vf32(vf32 v) { return __builtin_convertvector(v, vi32); }
/* To the nearest integer, ties to even. */
SIMD_INLINE vf32 vf32_round(vf32 v)
{
    vf32 r;
    for (int i = 0; i < VF32_LANES; i++)
        r[i] = __builtin_rintf(v[i]);
    return r;
}

/* Bytes: widened to s32, or narrowed from s32 that is within their range. */
#define SIMD_PORTABLE_BYTES(name, element)                                                                             \
    SIMD_INLINE vi32 vi32_load_##name##_first(const element *p, int64_t n)                                             \
    {                                                                                                                  \
        vi32 v = {0};                                                                                                  \
        for (int i = 0; i < VI32_LANES; i++)                                                                           \
            if (i < n)                                                                                                 \
                v[i] = p[i];                                                                                           \
        return v;                                                                                                      \
    }                                                                                                                  \
    SIMD_INLINE void vi32_store_##name##_first(element *p, vi32 v, int64_t n)                                          \
    {                                                                                                                  \
        for (int i = 0; i < VI32_LANES; i++)                                                                           \
            if (i < n)                                                                                                 \
                p[i] = (element)v[i];                                                                                  \
    }
SIMD_PORTABLE_BYTES(s8, int8_t)
SIMD_PORTABLE_BYTES(u8, uint8_t)

/* 16-bit floats, by their bits: _load_bf16 and _load_f16 widen VF32_LANES of them exactly (a NaN may become quiet); _store_bf16 and _store_f16
 * round to nearest, ties to even, beyond the range to Inf, and keep NaN as a quiet one. */
typedef uint16_t vu16 __attribute__((vector_size(8)));
SIMD_INLINE vu16 vu16_load_first(const uint16_t *p, int64_t n)
{
    vu16 v = {0};
    for (int i = 0; i < VF32_LANES; i++)
        if (i < n)
            v[i] = p[i];
    return v;
}
SIMD_INLINE vf32 vf32_from_bf16(vu16 v) { return (vf32)(__builtin_convertvector(v, vu32) << 16); }
/* By their distance in exponents of 112, which a product with 2^112 makes up for, denormals too. */
SIMD_INLINE vf32 vf32_from_f16(vu16 v)
{
    const vu32 word = __builtin_convertvector(v, vu32), magnitude = (word & 0x7FFF) << 13;
    const vu32 finite = (vu32)((vf32)magnitude * 0x1p112f);
    const vu32 beyond = (vu32)(magnitude >= 0x7C00u << 13) & 0x7F800000;
    return (vf32)(finite | beyond | (word & 0x8000) << 16);
}
SIMD_INLINE vu16 vf32_to_bf16(vf32 x)
{
    const vu32 bits = (vu32)x, nan = (vu32)(x != x);
    const vu32 rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return __builtin_convertvector((nan & quiet) | (~nan & rounded), vu16);
}
SIMD_INLINE vu16 vf32_to_f16(vf32 x)
{
    const vu32 bits = (vu32)x, magnitude = bits & 0x7FFFFFFF, nan = (vu32)(x != x);
    const vu32 small = (vu32)(magnitude < 0x38800000u), large = (vu32)(magnitude >= 0x47800000u);
    const vu32 normal = (magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13; /* up to Inf by its carry */
    /* Below 2^-14 the result counts in 2^-24, as the digits of a sum with 1/2 do. */
    const vu32 half = (vu32)((vf32)magnitude + 0.5f) - 0x3F000000, quiet = 0x7E00 | (magnitude >> 13 & 0x3FF);
    const vu32 finite = (small & half) | (~small & ~large & normal) | (large & 0x7C00);
    return __builtin_convertvector((nan & quiet) | (~nan & finite) | (bits >> 16 & 0x8000), vu16);
}
#define SIMD_PORTABLE_NARROW(type)                                                                                     \
    SIMD_INLINE vf32 vf32_load_##type##_first(const uint16_t *p, int64_t n)                                            \
    {                                                                                                                  \
        return vf32_from_##type(vu16_load_first(p, n));                                                                \
    }                                                                                                                  \
    SIMD_INLINE vf32 vf32_load_##type(const uint16_t *p) { return vf32_load_##type##_first(p, VF32_LANES); }           \
    SIMD_INLINE void vf32_store_##type##_first(uint16_t *p, vf32 v, int64_t n)                                         \
    {                                                                                                                  \
        const vu16 words = vf32_to_##type(v);                                                                          \
        for (int i = 0; i < VF32_LANES; i++)                                                                           \
            if (i < n)                                                                                                 \
                p[i] = words[i];                                                                                       \
    }                                                                                                                  \
    SIMD_INLINE void vf32_store_##type(uint16_t *p, vf32 v) { vf32_store_##type##_first(p, v, VF32_LANES); }
SIMD_PORTABLE_NARROW(bf16)
SIMD_PORTABLE_NARROW(f16)

/* Products of integers that wrap (integer_type.h). */
typedef int16_t vi16 __attribute__((vector_size(16)));
typedef uint16_t vu16_whole __attribute__((vector_size(16)));
SIMD_PORTABLE_TYPE(vi16, int16_t, VI16_LANES, vi16)
SIMD_PORTABLE_INT(vi16, vu16_whole)
SIMD_INLINE vi16 vi16_mul(vi16 a, vi16 b) { return (vi16)((vu16_whole)a * (vu16_whole)b); }
SIMD_INLINE vi64 vi64_load(const int64_t *p)
{
    vi64 v;
    memcpy(&v, p, sizeof v);
    return v;
}
SIMD_INLINE void vi64_store(int64_t *p, vi64 v) { memcpy(p, &v, sizeof v); }
/* A sum of products per lane. */
typedef vi64 vi64_sum;
SIMD_INLINE vi64_sum vi64_sum_of(vi64 v) { return v; }
SIMD_INLINE vi64_sum vi64_sum_add_product(vi64_sum s, vi64 a, vi64 b) { return (vi64)((vu64)s + (vu64)a * (vu64)b); }
SIMD_INLINE vi64 vi64_sum_value(vi64_sum s) { return s; }

#endif
