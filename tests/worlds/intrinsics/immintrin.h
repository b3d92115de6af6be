/* SPDX-License-Identifier: Apache-2.0 */
/* The intrinsics that avx2/ and avx512/ use, in plain C: the world "own intrinsics" compiles every row with this header in the
 * compiler's place, for the base instruction set.  So the kernels' C runs on any CPU and under sanitizers, which do not look into
 * the compiler's masked loads and stores.  Never part of the library.
 *
 * A lane that a mask leaves out touches no memory.  Names are written whole; macros only repeat what 256 and 512 bits share. */
#ifndef HUNZE_TESTS_IMMINTRIN_H
#define HUNZE_TESTS_IMMINTRIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define OWN static __attribute__((noinline, unused))

#define OWN_VECTOR(element, bytes) element __attribute__((vector_size(bytes), may_alias))
typedef OWN_VECTOR(long long, 16) __m128i;
typedef OWN_VECTOR(float, 32) __m256;
typedef OWN_VECTOR(double, 32) __m256d;
typedef OWN_VECTOR(long long, 32) __m256i;
typedef OWN_VECTOR(float, 64) __m512;
typedef OWN_VECTOR(double, 64) __m512d;
typedef OWN_VECTOR(long long, 64) __m512i;
typedef OWN_VECTOR(short, 64) __m512bh;
typedef uint8_t __mmask8;
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;

/* Lanes: the same bytes by another type. */
typedef int8_t own_s8x16 __attribute__((vector_size(16)));
typedef uint8_t own_u8x16 __attribute__((vector_size(16)));
typedef int16_t own_s16x8 __attribute__((vector_size(16)));
typedef uint16_t own_u16x8 __attribute__((vector_size(16)));
typedef int32_t own_s32x4 __attribute__((vector_size(16)));
typedef int8_t own_s8x32 __attribute__((vector_size(32)));
typedef uint8_t own_u8x32 __attribute__((vector_size(32)));
typedef int16_t own_s16x16 __attribute__((vector_size(32)));
typedef uint16_t own_u16x16 __attribute__((vector_size(32)));
typedef int32_t own_s32x8 __attribute__((vector_size(32)));
typedef uint32_t own_u32x8 __attribute__((vector_size(32)));
typedef int64_t own_s64x4 __attribute__((vector_size(32)));
typedef uint64_t own_u64x4 __attribute__((vector_size(32)));
typedef int8_t own_s8x64 __attribute__((vector_size(64)));
typedef uint8_t own_u8x64 __attribute__((vector_size(64)));
typedef int16_t own_s16x32 __attribute__((vector_size(64)));
typedef uint16_t own_u16x32 __attribute__((vector_size(64)));
typedef int32_t own_s32x16 __attribute__((vector_size(64)));
typedef uint32_t own_u32x16 __attribute__((vector_size(64)));
typedef uint64_t own_u64x8 __attribute__((vector_size(64)));

enum { _CMP_LT_OQ = 17, _CMP_UNORD_Q = 3, _MM_FROUND_TO_NEAREST_INT = 0, _MM_FROUND_NO_EXC = 8 };

/* ------------------------------------------------------------------ 256 and 512 bits alike */

#define OWN_UNARY(name, result, argument, expression)                                                                  \
    OWN result name(argument a) { return expression; }
#define OWN_BINARY(name, vector, expression)                                                                           \
    OWN vector name(vector a, vector b) { return expression; }
#define OWN_MEMORY(vector, pointer, load, store)                                                                       \
    OWN vector load(const pointer *p)                                                                                  \
    {                                                                                                                  \
        vector v;                                                                                                      \
        memcpy(&v, p, sizeof v);                                                                                       \
        return v;                                                                                                      \
    }                                                                                                                  \
    OWN void store(pointer *p, vector v) { memcpy(p, &v, sizeof v); }
/* One lane after the other: r[i] = expression. */
#define OWN_LANES(name, result, lanes, argument, expression)                                                           \
    OWN result name(argument a_)                                                                                       \
    {                                                                                                                  \
        lanes r;                                                                                                       \
        for (int i = 0; i < (int)(sizeof r / sizeof r[0]); i++)                                                        \
            r[i] = expression;                                                                                         \
        return (result)r;                                                                                              \
    }

#define OWN_FLOATS(vector, scalar, set1, load, store, add, sub, mul, div, fmadd, fma_of_lane)                          \
    OWN_MEMORY(vector, scalar, load, store)                                                                            \
    OWN_UNARY(set1, vector, scalar, a - (vector){0})                                                                   \
    OWN_BINARY(add, vector, a + b)                                                                                     \
    OWN_BINARY(sub, vector, a - b)                                                                                     \
    OWN_BINARY(mul, vector, a *b)                                                                                      \
    OWN_BINARY(div, vector, a / b)                                                                                     \
    OWN vector fmadd(vector a, vector b, vector c)                                                                     \
    {                                                                                                                  \
        for (int i = 0; i < (int)(sizeof c / sizeof c[0]); i++)                                                        \
            c[i] = fma_of_lane(a[i], b[i], c[i]);                                                                      \
        return c;                                                                                                      \
    }
OWN_FLOATS(__m256, float, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps,
           _mm256_mul_ps, _mm256_div_ps, _mm256_fmadd_ps, fmaf)
OWN_FLOATS(__m256d, double, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd,
           _mm256_mul_pd, _mm256_div_pd, _mm256_fmadd_pd, fma)
OWN_FLOATS(__m512, float, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps,
           _mm512_mul_ps, _mm512_div_ps, _mm512_fmadd_ps, fmaf)
OWN_FLOATS(__m512d, double, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd,
           _mm512_mul_pd, _mm512_div_pd, _mm512_fmadd_pd, fma)

/* Sums wrap; a shift by the width or more gives 0 or the sign. */
#define OWN_INTEGERS(vector, signed32, unsigned32, unsigned64, add32, sub32, mullo32, slli32, srli32, srai32, add64,   \
                     sub64, slli64, and_all, or_all, xor_all)                                                          \
    OWN_BINARY(add32, vector, (vector)((unsigned32)a + (unsigned32)b))                                                 \
    OWN_BINARY(sub32, vector, (vector)((unsigned32)a - (unsigned32)b))                                                 \
    OWN_BINARY(mullo32, vector, (vector)((unsigned32)a * (unsigned32)b))                                               \
    OWN_BINARY(add64, vector, (vector)((unsigned64)a + (unsigned64)b))                                                 \
    OWN_BINARY(sub64, vector, (vector)((unsigned64)a - (unsigned64)b))                                                 \
    OWN_BINARY(and_all, vector, a &b)                                                                                  \
    OWN_BINARY(or_all, vector, a | b)                                                                                  \
    OWN_BINARY(xor_all, vector, a ^ b)                                                                                 \
    OWN vector slli32(vector a, unsigned n) { return n > 31 ? (vector){0} : (vector)((unsigned32)a << n); }            \
    OWN vector slli64(vector a, unsigned n) { return n > 63 ? (vector){0} : (vector)((unsigned64)a << n); }            \
    OWN vector srli32(vector a, unsigned n) { return n > 31 ? (vector){0} : (vector)((unsigned32)a >> n); }            \
    OWN vector srai32(vector a, unsigned n) { return (vector)((signed32)a >> (n > 31 ? 31 : n)); }
OWN_INTEGERS(__m256i, own_s32x8, own_u32x8, own_u64x4, _mm256_add_epi32, _mm256_sub_epi32, _mm256_mullo_epi32,
             _mm256_slli_epi32, _mm256_srli_epi32, _mm256_srai_epi32, _mm256_add_epi64, _mm256_sub_epi64,
             _mm256_slli_epi64, _mm256_and_si256, _mm256_or_si256, _mm256_xor_si256)
OWN_INTEGERS(__m512i, own_s32x16, own_u32x16, own_u64x8, _mm512_add_epi32, _mm512_sub_epi32, _mm512_mullo_epi32,
             _mm512_slli_epi32, _mm512_srli_epi32, _mm512_srai_epi32, _mm512_add_epi64, _mm512_sub_epi64,
             _mm512_slli_epi64, _mm512_and_si512, _mm512_or_si512, _mm512_xor_si512)

OWN_BINARY(_mm256_add_epi16, __m256i, (__m256i)((own_u16x16)a + (own_u16x16)b))
OWN_BINARY(_mm512_add_epi16, __m512i, (__m512i)((own_u16x32)a + (own_u16x32)b))
OWN_BINARY(_mm256_mullo_epi16, __m256i, (__m256i)((own_u16x16)a *(own_u16x16)b))
OWN_BINARY(_mm512_mullo_epi16, __m512i, (__m512i)((own_u16x32)a *(own_u16x32)b))
OWN_BINARY(_mm512_mullo_epi64, __m512i, (__m512i)((own_u64x8)a *(own_u64x8)b))
/* Of the lower halves of 64 bits. */
OWN_BINARY(_mm256_mul_epu32, __m256i, (__m256i)(((own_u64x4)a & UINT32_MAX) * ((own_u64x4)b & UINT32_MAX)))
OWN __m256i _mm256_srli_epi64(__m256i a, unsigned n) { return n > 63 ? (__m256i){0} : (__m256i)((own_u64x4)a >> n); }

OWN_UNARY(_mm256_castps_si256, __m256i, __m256, (__m256i)a)
OWN_UNARY(_mm256_castpd_si256, __m256i, __m256d, (__m256i)a)
OWN_UNARY(_mm256_castsi256_ps, __m256, __m256i, (__m256)a)
OWN_UNARY(_mm256_castsi256_pd, __m256d, __m256i, (__m256d)a)
OWN_UNARY(_mm512_castps_pd, __m512d, __m512, (__m512d)a)
OWN_UNARY(_mm512_castpd_ps, __m512, __m512d, (__m512)a)
OWN_UNARY(_mm512_castps_si512, __m512i, __m512, (__m512i)a)
OWN_UNARY(_mm512_castpd_si512, __m512i, __m512d, (__m512i)a)
OWN_UNARY(_mm512_castsi512_ps, __m512, __m512i, (__m512)a)
OWN_UNARY(_mm512_castsi512_pd, __m512d, __m512i, (__m512d)a)

/* The lower half; a vector's upper half is NaN where hardware may have anything. */
#define OWN_HALVES(whole, half, low, widened)                                                                          \
    OWN half low(whole a)                                                                                              \
    {                                                                                                                  \
        half r;                                                                                                        \
        memcpy(&r, &a, sizeof r);                                                                                      \
        return r;                                                                                                      \
    }                                                                                                                  \
    OWN whole widened(half a)                                                                                          \
    {                                                                                                                  \
        whole r;                                                                                                       \
        memset(&r, 0xFF, sizeof r);                                                                                    \
        memcpy(&r, &a, sizeof a);                                                                                      \
        return r;                                                                                                      \
    }
OWN_HALVES(__m512, __m256, _mm512_castps512_ps256, _mm512_castps256_ps512)
OWN_HALVES(__m512d, __m256d, _mm512_castpd512_pd256, _mm512_castpd256_pd512)

OWN_UNARY(_mm256_set1_epi8, __m256i, int8_t, (__m256i)(a - (own_s8x32){0}))
OWN_UNARY(_mm256_set1_epi16, __m256i, int16_t, (__m256i)(a - (own_s16x16){0}))
OWN_UNARY(_mm256_set1_epi32, __m256i, int32_t, (__m256i)(a - (own_s32x8){0}))
OWN_UNARY(_mm256_set1_epi64x, __m256i, long long, a - (__m256i){0})
OWN_UNARY(_mm512_set1_epi16, __m512i, int16_t, (__m512i)(a - (own_s16x32){0}))
OWN_UNARY(_mm512_set1_epi32, __m512i, int32_t, (__m512i)(a - (own_s32x16){0}))
OWN_UNARY(_mm512_set1_epi64, __m512i, long long, a - (__m512i){0})
/* Lane i of each four is lane order >> 2*i & 3. */
OWN __m256i _mm256_shuffle_epi32(__m256i a, int order)
{
    own_s32x8 r;
    for (int i = 0; i < 8; i++)
        r[i] = ((own_s32x8)a)[i / 4 * 4 + (order >> i % 4 * 2 & 3)];
    return (__m256i)r;
}
OWN __m256i _mm256_setzero_si256(void) { return (__m256i){0}; }

/* Conversions: to the nearest even; what does not fit s32 becomes its minimum, as in hardware. */
OWN int32_t own_s32_of_float(float x) { return x >= -0x1p31f && x < 0x1p31f ? (int32_t)rintf(x) : INT32_MIN; }
OWN_UNARY(_mm256_cvtepi32_ps, __m256, __m256i, __builtin_convertvector((own_s32x8)a, __m256))
OWN_UNARY(_mm512_cvtepi32_ps, __m512, __m512i, __builtin_convertvector((own_s32x16)a, __m512))
OWN_LANES(_mm256_cvtps_epi32, __m256i, own_s32x8, __m256, own_s32_of_float(a_[i]))
OWN_LANES(_mm512_cvtps_epi32, __m512i, own_s32x16, __m512, own_s32_of_float(a_[i]))
OWN_LANES(own_round_256, __m256, __m256, __m256, rintf(a_[i]))
OWN_LANES(own_round_512, __m512, __m512, __m512, rintf(a_[i]))
#define _mm256_round_ps(a, how) ((void)sizeof(char[(how) == 8 ? 1 : -1]), own_round_256(a))
#define _mm512_roundscale_ps(a, how) ((void)sizeof(char[(how) == 8 ? 1 : -1]), own_round_512(a))

OWN_LANES(_mm256_cvtepi16_epi32, __m256i, own_s32x8, __m128i, ((own_s16x8)a_)[i])
OWN_LANES(_mm256_cvtepi8_epi16, __m256i, own_s16x16, __m128i, ((own_s8x16)a_)[i])
OWN_LANES(_mm256_cvtepu8_epi16, __m256i, own_s16x16, __m128i, ((own_u8x16)a_)[i])
OWN_LANES(_mm256_cvtepi8_epi32, __m256i, own_s32x8, __m128i, ((own_s8x16)a_)[i])
OWN_LANES(_mm256_cvtepu8_epi32, __m256i, own_s32x8, __m128i, ((own_u8x16)a_)[i])
OWN_LANES(_mm512_cvtepu16_epi32, __m512i, own_s32x16, __m256i, ((own_u16x16)a_)[i])
OWN_LANES(_mm512_cvtepi32_epi16, __m256i, own_s16x16, __m512i, (int16_t)((own_s32x16)a_)[i])
OWN_LANES(_mm512_cvtepi8_epi16, __m512i, own_s16x32, __m256i, ((own_s8x32)a_)[i])
OWN_LANES(_mm512_cvtepu8_epi16, __m512i, own_s16x32, __m256i, ((own_u8x32)a_)[i])
OWN_LANES(_mm512_cvtepi8_epi32, __m512i, own_s32x16, __m128i, ((own_s8x16)a_)[i])
OWN_LANES(_mm512_cvtepu8_epi32, __m512i, own_s32x16, __m128i, ((own_u8x16)a_)[i])

/* f16 by its definition: 5 bits of exponent, 10 behind the point. */
OWN float own_float_of_f16(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float magnitude = exponent == 31
                                ? (fraction ? NAN : INFINITY)
                                : ldexpf((float)((exponent ? 1024 : 0) + fraction), (exponent ? exponent : 1) - 25);
    return copysignf(magnitude, bits & 0x8000 ? -1.0f : 1.0f);
}
OWN uint16_t own_f16_of_float(float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    int exponent;
    if (isnan(x))
        return sign | 0x7E00;
    if (fabsf(x) >= 65536)
        return sign | 0x7C00;
    frexpf(x, &exponent);
    const int place = x == 0 || exponent - 1 < -14 ? -14 : exponent - 1;
    return sign | (uint16_t)(ldexpf(1, 10) * (float)(place + 14) + rintf(ldexpf(fabsf(x), 10 - place)));
}
#define OWN_TO_F16(name, result, lanes, argument)                                                                      \
    OWN result name(argument a, int how)                                                                               \
    {                                                                                                                  \
        lanes r;                                                                                                       \
        (void)how; /* to the nearest, as MXCSR says too */                                                             \
        for (int i = 0; i < (int)(sizeof r / sizeof r[0]); i++)                                                        \
            r[i] = own_f16_of_float(a[i]);                                                                             \
        return (result)r;                                                                                              \
    }
OWN_LANES(_mm256_cvtph_ps, __m256, __m256, __m128i, own_float_of_f16(((own_u16x8)a_)[i]))
OWN_LANES(_mm512_cvtph_ps, __m512, __m512, __m256i, own_float_of_f16(((own_u16x16)a_)[i]))
OWN_TO_F16(_mm256_cvtps_ph, __m128i, own_u16x8, __m256)
OWN_TO_F16(_mm512_cvtps_ph, __m256i, own_u16x16, __m512)

/* Sums of products of neighbours: s16 pairs to s32; u8 and s8 pairs to s16, saturating; u8 and s8 fours added to s32. */
OWN int32_t own_wrapping_sum(int32_t x, int32_t y) { return (int32_t)((uint32_t)x + (uint32_t)y); }
OWN int16_t own_saturated_s16(int x) { return (int16_t)(x < INT16_MIN ? INT16_MIN : x > INT16_MAX ? INT16_MAX : x); }
#define OWN_DOTS(vector, u8, s8, s16, s32, madd, maddubs, dpbusd)                                                      \
    OWN vector madd(vector a, vector b)                                                                                \
    {                                                                                                                  \
        s16 x = (s16)a, y = (s16)b;                                                                                    \
        s32 r;                                                                                                         \
        for (int i = 0; i < (int)sizeof r / 4; i++)                                                                    \
            r[i] = own_wrapping_sum(x[2 * i] * y[2 * i], x[2 * i + 1] * y[2 * i + 1]);                                 \
        return (vector)r;                                                                                              \
    }                                                                                                                  \
    OWN vector maddubs(vector a, vector b)                                                                             \
    {                                                                                                                  \
        u8 x = (u8)a;                                                                                                  \
        s8 y = (s8)b;                                                                                                  \
        s16 r;                                                                                                         \
        for (int i = 0; i < (int)sizeof r / 2; i++)                                                                    \
            r[i] = own_saturated_s16(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]);                               \
        return (vector)r;                                                                                              \
    }                                                                                                                  \
    OWN vector dpbusd(vector c, vector a, vector b)                                                                    \
    {                                                                                                                  \
        u8 x = (u8)a;                                                                                                  \
        s8 y = (s8)b;                                                                                                  \
        s32 r = (s32)c;                                                                                                \
        for (int i = 0; i < (int)sizeof x; i++)                                                                        \
            r[i / 4] = own_wrapping_sum(r[i / 4], x[i] * y[i]);                                                        \
        return (vector)r;                                                                                              \
    }
OWN_DOTS(__m256i, own_u8x32, own_s8x32, own_s16x16, own_s32x8, _mm256_madd_epi16, _mm256_maddubs_epi16,
         _mm256_dpbusd_avx_epi32)
OWN_DOTS(__m512i, own_u8x64, own_s8x64, own_s16x32, own_s32x16, _mm512_madd_epi16, _mm512_maddubs_epi16,
         _mm512_dpbusd_epi32)

/* Pairs of bf16 added to f32, the upper product first, each by one rounding; denormals count as zeros, also as results. */
OWN float own_flush(float x) { return fabsf(x) < 0x1p-126F ? copysignf(0, x) : x; }
OWN float own_add_product(uint32_t upper_x, uint32_t upper_y, float s)
{
    float x, y;
    memcpy(&x, &upper_x, sizeof x);
    memcpy(&y, &upper_y, sizeof y);
    x = own_flush(x);
    y = own_flush(y);
    s = own_flush(s);
    /* What is tiny after rounding to 24 bits is flushed: where f32's own rounding has hidden it, 80 powers further up there is room. */
    const float sum = fmaf(x, y, s);
    if (fabsf(sum) == 0x1p-126F && fabsf(fmaf(x, y * 0x1p80F, s * 0x1p80F)) < 0x1p-46F)
        return copysignf(0, sum);
    return own_flush(sum);
}
OWN __m512 _mm512_dpbf16_ps(__m512 c, __m512bh a_, __m512bh b_)
{
    const own_u32x16 a = (own_u32x16)a_, b = (own_u32x16)b_;
    for (int i = 0; i < 16; i++)
        c[i] = own_add_product(a[i] << 16, b[i] << 16, own_add_product(a[i] & 0xFFFF0000u, b[i] & 0xFFFF0000u, c[i]));
    return c;
}

/* ------------------------------------------------------------------ AVX2: masks are vectors, the sign bit counts */

OWN_MEMORY(__m256i, void, _mm256_loadu_si256, _mm256_storeu_si256) /* void: no alignment is promised */

#define OWN_MASKED_AVX2(vector, mask_type, lanes, masks, scalar, load, store)                                          \
    OWN vector load(const scalar *p, mask_type mask)                                                                   \
    {                                                                                                                  \
        lanes r = {0};                                                                                                 \
        for (int i = 0; i < (int)(sizeof(vector) / sizeof *p); i++)                                                    \
            if (((masks)mask)[i] < 0)                                                                                  \
                __builtin_memcpy((scalar *)&r + i, (const char *)p + i * (int)sizeof *p, sizeof *p);                   \
        return (vector)r;                                                                                              \
    }                                                                                                                  \
    OWN void store(scalar *p, mask_type mask, vector v)                                                                \
    {                                                                                                                  \
        for (int i = 0; i < (int)(sizeof(vector) / sizeof *p); i++)                                                    \
            if (((masks)mask)[i] < 0)                                                                                  \
                __builtin_memcpy((char *)p + i * (int)sizeof *p, (const scalar *)&v + i, sizeof *p);                   \
    }
OWN_MASKED_AVX2(__m256, __m256i, __m256, own_s32x8, float, _mm256_maskload_ps, _mm256_maskstore_ps)
OWN_MASKED_AVX2(__m256d, __m256i, __m256d, own_s64x4, double, _mm256_maskload_pd, _mm256_maskstore_pd)
OWN_MASKED_AVX2(__m256i, __m256i, own_s32x8, own_s32x8, int32_t, _mm256_maskload_epi32, _mm256_maskstore_epi32)
OWN_MASKED_AVX2(__m128i, __m128i, own_s32x4, own_s32x4, int32_t, _mm_maskload_epi32, _mm_maskstore_epi32)

OWN __m256 _mm256_cmp_ps(__m256 a, __m256 b, int how)
{
    return (__m256)(how == _CMP_LT_OQ ? a < b : (a != a) | (b != b));
}
OWN __m256d _mm256_cmp_pd(__m256d a, __m256d b, int how)
{
    return (__m256d)(how == _CMP_LT_OQ ? a < b : (a != a) | (b != b));
}
OWN_BINARY(_mm256_cmpgt_epi32, __m256i, (__m256i)((own_s32x8)a > (own_s32x8)b))
OWN __m256i _mm256_blendv_epi8(__m256i a, __m256i b, __m256i mask)
{
    own_s8x32 take = (own_s8x32)mask < 0;
    return (__m256i)(((own_s8x32)b & take) | ((own_s8x32)a & ~take));
}
OWN __m256 _mm256_blendv_ps(__m256 a, __m256 b, __m256 mask)
{
    own_s32x8 take = (own_s32x8)mask < 0;
    return (__m256)(((own_s32x8)b & take) | ((own_s32x8)a & ~take));
}
OWN __m256d _mm256_blendv_pd(__m256d a, __m256d b, __m256d mask)
{
    own_s64x4 take = (own_s64x4)mask < 0;
    return (__m256d)(((own_s64x4)b & take) | ((own_s64x4)a & ~take));
}

/* Within each half of 16 bytes; an index with the top bit gives 0. */
OWN __m256i _mm256_shuffle_epi8(__m256i a, __m256i pick)
{
    own_s8x32 from = (own_s8x32)a, index = (own_s8x32)pick, r;
    for (int i = 0; i < 32; i++)
        r[i] = index[i] < 0 ? 0 : from[i / 16 * 16 + (index[i] & 15)];
    return (__m256i)r;
}
#define _mm256_setr_epi8(...) ((__m256i)(own_s8x32){__VA_ARGS__})
OWN_BINARY(_mm256_andnot_si256, __m256i, ~a &b)
OWN_UNARY(_mm256_castps_pd, __m256d, __m256, (__m256d)a)
OWN_UNARY(_mm256_castpd_ps, __m256, __m256d, (__m256)a)
#define _MM_SHUFFLE(d, c, b, a) ((d) << 6 | (c) << 4 | (b) << 2 | (a))
/* Within each half of 16 bytes: two lanes of a, then two of b. */
OWN __m256 _mm256_shuffle_ps(__m256 a, __m256 b, int pick)
{
    __m256 r;
    for (int i = 0; i < 8; i++)
        r[i] = (i % 4 < 2 ? a : b)[i / 4 * 4 + (pick >> i % 4 * 2 & 3)];
    return r;
}
OWN __m256d _mm256_permute4x64_pd(__m256d a, int pick)
{
    __m256d r;
    for (int i = 0; i < 4; i++)
        r[i] = a[pick >> i * 2 & 3];
    return r;
}
OWN __m256i _mm256_permute4x64_epi64(__m256i a, int pick) { return (__m256i)_mm256_permute4x64_pd((__m256d)a, pick); }
#define _mm256_setr_epi32(...) ((__m256i)(own_s32x8){__VA_ARGS__})
OWN __m256i _mm256_permutevar8x32_epi32(__m256i a, __m256i pick)
{
    own_s32x8 r;
    for (int i = 0; i < 8; i++)
        r[i] = ((own_s32x8)a)[((own_s32x8)pick)[i] & 7];
    return (__m256i)r;
}
OWN __m256i _mm256_inserti128_si256(__m256i a, __m128i b, int half)
{
    a[2 * half] = b[0];
    a[2 * half + 1] = b[1];
    return a;
}
OWN_UNARY(_mm256_castsi128_si256, __m256i, __m128i, ((__m256i){a[0], a[1], 0, 0}))
OWN_UNARY(_mm256_castsi256_si128, __m128i, __m256i, ((__m128i){a[0], a[1]}))
OWN_UNARY(_mm256_broadcastsi128_si256, __m256i, __m128i, ((__m256i){a[0], a[1], a[0], a[1]}))
OWN __m128i _mm_unpackhi_epi64(__m128i a, __m128i b) { return (__m128i){a[1], b[1]}; }
OWN __m128i _mm256_extracti128_si256(__m256i a, int half) { return (__m128i){a[2 * half], a[2 * half + 1]}; }

/* ------------------------------------------------------------------ 128 bits */

OWN_MEMORY(__m128i, void, _mm_loadu_si128, _mm_storeu_si128)
OWN __m128i _mm_loadl_epi64(const void *p)
{
    __m128i v = {0};
    memcpy(&v, p, 8);
    return v;
}
OWN void _mm_storel_epi64(void *p, __m128i v) { memcpy(p, &v, 8); }
OWN __m128i _mm_set_epi64x(long long high, long long low) { return (__m128i){low, high}; }
OWN __m128i _mm_setzero_si128(void) { return (__m128i){0}; }
OWN_UNARY(_mm_set1_epi16, __m128i, int16_t, (__m128i)(a - (own_s16x8){0}))
OWN __m128i _mm_blendv_epi8(__m128i a, __m128i b, __m128i mask)
{
    own_s8x16 take = (own_s8x16)mask < 0;
    return (__m128i)(((own_s8x16)b & take) | ((own_s8x16)a & ~take));
}
/* s32 to u16, saturating: a's, then b's. */
OWN __m128i _mm_packus_epi32(__m128i a, __m128i b)
{
    own_u16x8 r;
    for (int i = 0; i < 8; i++) {
        const int32_t x = ((own_s32x4)(i < 4 ? a : b))[i % 4];
        r[i] = (uint16_t)(x < 0 ? 0 : x > 0xFFFF ? 0xFFFF : x);
    }
    return (__m128i)r;
}
OWN_UNARY(_mm_cvtsi64_si128, __m128i, long long, ((__m128i){a, 0}))
OWN_UNARY(_mm_cvtsi128_si64, long long, __m128i, a[0])
/* Of each 128 bits, the first, or last, half of a's lanes, each followed by b's. */
#define OWN_UNPACK(name, vector, lanes, first)                                                                         \
    OWN vector name(vector a, vector b)                                                                                \
    {                                                                                                                  \
        lanes r;                                                                                                       \
        const int count = 16 / sizeof r[0], all = sizeof r / sizeof r[0];                                              \
        for (int i = 0; i < all; i++)                                                                                  \
            r[i] = (i % 2 ? (lanes)b : (lanes)a)[i / count * count + (first ? 0 : count / 2) + i % count / 2];         \
        return (vector)r;                                                                                              \
    }
OWN_UNPACK(_mm_unpacklo_epi32, __m128i, own_s32x4, 1)
OWN_UNPACK(_mm256_unpacklo_epi8, __m256i, own_s8x32, 1)
OWN_UNPACK(_mm256_unpackhi_epi8, __m256i, own_s8x32, 0)
OWN_UNPACK(_mm256_unpacklo_epi16, __m256i, own_s16x16, 1)
OWN_UNPACK(_mm256_unpackhi_epi16, __m256i, own_s16x16, 0)
OWN_UNPACK(_mm256_unpacklo_epi32, __m256i, own_s32x8, 1)
OWN_UNPACK(_mm256_unpackhi_epi32, __m256i, own_s32x8, 0)
OWN_UNPACK(_mm256_unpacklo_epi64, __m256i, __m256i, 1)
OWN_UNPACK(_mm256_unpackhi_epi64, __m256i, __m256i, 0)

/* Likewise of each 128 bits. */
#define OWN_UNPACK_FLOATS(name, vector, in_16_bytes, first)                                                            \
    OWN vector name(vector a, vector b)                                                                                \
    {                                                                                                                  \
        vector r;                                                                                                      \
        for (int i = 0; i < (int)(sizeof r / sizeof r[0]); i++)                                                        \
            r[i] =                                                                                                     \
                (i % 2 ? b : a)[i / in_16_bytes * in_16_bytes + (first ? 0 : in_16_bytes / 2) + i % in_16_bytes / 2];  \
        return r;                                                                                                      \
    }
OWN_UNPACK_FLOATS(_mm256_unpacklo_ps, __m256, 4, 1)
OWN_UNPACK_FLOATS(_mm256_unpackhi_ps, __m256, 4, 0)
OWN_UNPACK_FLOATS(_mm256_unpacklo_pd, __m256d, 2, 1)
OWN_UNPACK_FLOATS(_mm256_unpackhi_pd, __m256d, 2, 0)
OWN_UNPACK_FLOATS(_mm512_unpacklo_ps, __m512, 4, 1)
OWN_UNPACK_FLOATS(_mm512_unpackhi_ps, __m512, 4, 0)
OWN_UNPACK_FLOATS(_mm512_unpacklo_pd, __m512d, 2, 1)
OWN_UNPACK_FLOATS(_mm512_unpackhi_pd, __m512d, 2, 0)
/* 128 bits each: of a and b, those that four bits of `pick` say; of a, a, b, b, those that two bits say. */
OWN __m256d _mm256_permute2f128_pd(__m256d a, __m256d b, int pick)
{
    __m256d r;
    for (int i = 0; i < 4; i++) {
        const int from = pick >> i / 2 * 4 & 3;
        r[i] = (from < 2 ? a : b)[from % 2 * 2 + i % 2];
    }
    return r;
}
OWN __m512d _mm512_shuffle_f64x2(__m512d a, __m512d b, int pick)
{
    __m512d r;
    for (int i = 0; i < 8; i++)
        r[i] = (i < 4 ? a : b)[(pick >> i / 2 * 2 & 3) * 2 + i % 2];
    return r;
}

/* ------------------------------------------------------------------ AVX-512: masks are integers, a bit for each lane */

OWN_MEMORY(__m512i, void, _mm512_loadu_si512, _mm512_storeu_si512)

#define OWN_MASKED_LOAD(vector, lanes, scalar, mask_type, load)                                                        \
    OWN vector load(mask_type mask, const void *p)                                                                     \
    {                                                                                                                  \
        lanes r = {0};                                                                                                 \
        for (int i = 0; i < (int)(sizeof r / sizeof r[0]); i++)                                                        \
            if (mask >> i & 1)                                                                                         \
                r[i] = ((const scalar *)p)[i];                                                                         \
        return (vector)r;                                                                                              \
    }
#define OWN_MASKED_STORE(vector, lanes, scalar, mask_type, store)                                                      \
    OWN void store(void *p, mask_type mask, vector v)                                                                  \
    {                                                                                                                  \
        for (int i = 0; i < (int)(sizeof(lanes) / sizeof((lanes){0})[0]); i++)                                         \
            if (mask >> i & 1)                                                                                         \
                ((scalar *)p)[i] = (scalar)((lanes)v)[i];                                                              \
    }
OWN_MASKED_LOAD(__m512, __m512, float, __mmask16, _mm512_maskz_loadu_ps)
OWN_MASKED_LOAD(__m512d, __m512d, double, __mmask8, _mm512_maskz_loadu_pd)
OWN_MASKED_LOAD(__m512i, own_s32x16, int32_t, __mmask16, _mm512_maskz_loadu_epi32)
OWN_MASKED_LOAD(__m256i, own_s8x32, int8_t, __mmask32, _mm256_maskz_loadu_epi8)
OWN_MASKED_LOAD(__m256i, own_s16x16, int16_t, __mmask16, _mm256_maskz_loadu_epi16)
OWN_MASKED_LOAD(__m512i, own_s16x32, int16_t, __mmask32, _mm512_maskz_loadu_epi16)
OWN_MASKED_LOAD(__m128i, own_s8x16, int8_t, __mmask16, _mm_maskz_loadu_epi8)
OWN_MASKED_LOAD(__m256, __m256, float, __mmask8, _mm256_maskz_loadu_ps)
OWN_MASKED_LOAD(__m256d, __m256d, double, __mmask8, _mm256_maskz_loadu_pd)
OWN_MASKED_STORE(__m256, __m256, float, __mmask8, _mm256_mask_storeu_ps)
OWN_MASKED_STORE(__m256d, __m256d, double, __mmask8, _mm256_mask_storeu_pd)
OWN_MASKED_STORE(__m512, __m512, float, __mmask16, _mm512_mask_storeu_ps)
OWN_MASKED_STORE(__m512d, __m512d, double, __mmask8, _mm512_mask_storeu_pd)
OWN_MASKED_STORE(__m512i, own_s32x16, int32_t, __mmask16, _mm512_mask_storeu_epi32)
OWN_MASKED_STORE(__m512i, own_s32x16, int8_t, __mmask16, _mm512_mask_cvtepi32_storeu_epi8)
OWN_MASKED_STORE(__m256i, own_s16x16, int16_t, __mmask16, _mm256_mask_storeu_epi16)

/* A bit for each lane where the expression over a[i] and b[i] holds; b's lane where the bit is set, else a's. */
#define OWN_COMPARE(name, vector, lanes, mask_type, parameters, expression)                                            \
    OWN mask_type name(vector a_, vector b_ parameters)                                                                \
    {                                                                                                                  \
        lanes a = (lanes)a_, b = (lanes)b_;                                                                            \
        unsigned mask = 0;                                                                                             \
        for (int i = 0; i < (int)(sizeof a / sizeof a[0]); i++)                                                        \
            mask |= (unsigned)(expression) << i;                                                                       \
        return (mask_type)mask;                                                                                        \
    }
#define OWN_HOW , int how
OWN_COMPARE(_mm512_cmp_ps_mask, __m512, __m512, __mmask16, OWN_HOW,
            how == _CMP_LT_OQ ? a[i] < b[i] : __builtin_isunordered(a[i], b[i]))
OWN_COMPARE(_mm512_cmp_pd_mask, __m512d, __m512d, __mmask8, OWN_HOW,
            how == _CMP_LT_OQ ? a[i] < b[i] : __builtin_isunordered(a[i], b[i]))
OWN_COMPARE(_mm512_cmplt_epi32_mask, __m512i, own_s32x16, __mmask16, , a[i] < b[i])
#define OWN_BLEND(name, vector, lanes, mask_type)                                                                      \
    OWN vector name(mask_type mask, vector a, vector b)                                                                \
    {                                                                                                                  \
        lanes r = (lanes)a;                                                                                            \
        for (int i = 0; i < (int)(sizeof r / sizeof r[0]); i++)                                                        \
            if (mask >> i & 1)                                                                                         \
                r[i] = ((lanes)b)[i];                                                                                  \
        return (vector)r;                                                                                              \
    }
OWN_BLEND(_mm512_mask_blend_ps, __m512, __m512, __mmask16)
OWN_BLEND(_mm512_mask_blend_pd, __m512d, __m512d, __mmask8)
OWN_BLEND(_mm512_mask_blend_epi32, __m512i, own_s32x16, __mmask16)

#define _mm512_setr_epi32(...) ((__m512i)(own_s32x16){__VA_ARGS__})
/* Words of a, and from 32 on of b; likewise lanes. */
OWN __m512i _mm512_permutex2var_epi16(__m512i a, __m512i pick, __m512i b)
{
    own_s16x32 r;
    for (int i = 0; i < 32; i++) {
        const int from = ((own_s16x32)pick)[i] & 63;
        r[i] = ((own_s16x32)(from < 32 ? a : b))[from & 31];
    }
    return (__m512i)r;
}
OWN __m512 _mm512_permutex2var_ps(__m512 a, __m512i pick, __m512 b)
{
    __m512 r;
    for (int i = 0; i < 16; i++) {
        const int from = ((own_s32x16)pick)[i] & 31;
        r[i] = from < 16 ? a[from] : b[from - 16];
    }
    return r;
}

#endif
