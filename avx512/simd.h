/* The vector vocabulary for AVX-512 (F, BW, DQ, VL); src/portable/simd.h says what each name means. */
#ifndef HUNZE_SIMD_H
#define HUNZE_SIMD_H

#include <immintrin.h>
#include <stdint.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_CONSTANT static const /* before a table */
#define SIMD_PRAGMA(text) _Pragma(#text)
#define SIMD_UNROLL(times) SIMD_PRAGMA(GCC unroll times) /* before a loop */

enum { VF32_LANES = 16, VF64_LANES = 8, VI16_LANES = 32, VI32_LANES = 16, VI64_LANES = 8 };
typedef __m512 vf32;
typedef __m512d vf64;
typedef __m512i vi16;
typedef __m512i vi32;
typedef __m512i vi64;

SIMD_INLINE __mmask16 simd_mask16(int64_t n) { return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xFFFF); }
SIMD_INLINE __mmask8 simd_mask8(int64_t n) { return (__mmask8)(n < 8 ? (1u << n) - 1 : 0xFF); }

#ifdef __AVX512F__
#define SIMD_KEEP(v) __asm__("" : "+v"(v))
#else /* intrinsics in plain C: vectors are in memory */
#define SIMD_KEEP(v) ((void)(v))
#endif

SIMD_INLINE vf32 vf32_set1(float x) { return _mm512_set1_ps(x); }
SIMD_INLINE vf32 vf32_load(const float *p) { return _mm512_loadu_ps(p); }
SIMD_INLINE void vf32_store(float *p, vf32 v) { _mm512_storeu_ps(p, v); }
SIMD_INLINE vf32 vf32_load_first(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(simd_mask16(n), p); }
SIMD_INLINE void vf32_store_first(float *p, vf32 v, int64_t n) { _mm512_mask_storeu_ps(p, simd_mask16(n), v); }
typedef __mmask16 vf32_mask;
SIMD_INLINE vf32_mask vf32_mask_between(int64_t low, int64_t high)
{
    return (vf32_mask)(simd_mask16(high) & ~simd_mask16(low));
}
SIMD_INLINE vf32 vf32_load_masked(const float *p, vf32_mask mask) { return _mm512_maskz_loadu_ps(mask, p); }
SIMD_INLINE vf32 vf32_even(vf32 a, vf32 b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, even, b);
}
SIMD_INLINE vf32 vf32_add(vf32 a, vf32 b) { return _mm512_add_ps(a, b); }
SIMD_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return _mm512_sub_ps(a, b); }
SIMD_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return _mm512_mul_ps(a, b); }
SIMD_INLINE vf32 vf32_div(vf32 a, vf32 b) { return _mm512_div_ps(a, b); }
SIMD_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_INLINE vf32 vf32_select_lt(vf32 a, vf32 b, vf32 x, vf32 y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
SIMD_INLINE vf32 vf32_select_nan(vf32 a, vf32 x, vf32 y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), y, x);
}
SIMD_INLINE vf32 vf32_round(vf32 v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SIMD_INLINE vi32 vf32_bits(vf32 v) { return _mm512_castps_si512(v); }
SIMD_INLINE vf32 vf32_from_bits(vi32 v) { return _mm512_castsi512_ps(v); }
SIMD_INLINE vf32 vf32_from_vi32(vi32 v) { return _mm512_cvtepi32_ps(v); }

/* The lower half of a vector alone, which Zen 4 does in half the time: the other lanes of the result are anything.  n is at most half the lanes.
 * SIMD_KEEP, because gcc 12 else stores by vextractf64x4, which faults for elements that its mask leaves out. */
#define SIMD_HALVES
SIMD_INLINE vf32 vf32_half_set1(float x) { return _mm512_castps256_ps512(_mm256_set1_ps(x)); }
SIMD_INLINE vf32 vf32_half_load_first(const float *p, int64_t n)
{
    return _mm512_castps256_ps512(_mm256_maskz_loadu_ps(simd_mask8(n), p));
}
SIMD_INLINE void vf32_half_store_first(float *p, vf32 v, int64_t n)
{
    __m256 half = _mm512_castps512_ps256(v);
    SIMD_KEEP(half);
    _mm256_mask_storeu_ps(p, simd_mask8(n), half);
}
SIMD_INLINE vf32 vf32_half_fma(vf32 a, vf32 b, vf32 c)
{
    __m256 x = _mm512_castps512_ps256(a), y = _mm512_castps512_ps256(b), sum = _mm512_castps512_ps256(c);
#ifdef __AVX512F__
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y)); /* gcc 12 would copy the sum */
#else
    sum = _mm256_fmadd_ps(x, y, sum);
#endif
    return _mm512_castps256_ps512(sum);
}
SIMD_INLINE vf64 vf64_half_set1(double x) { return _mm512_castpd256_pd512(_mm256_set1_pd(x)); }
SIMD_INLINE vf64 vf64_half_load_first(const double *p, int64_t n)
{
    return _mm512_castpd256_pd512(_mm256_maskz_loadu_pd(simd_mask8(n), p));
}
SIMD_INLINE void vf64_half_store_first(double *p, vf64 v, int64_t n)
{
    __m256d half = _mm512_castpd512_pd256(v);
    SIMD_KEEP(half);
    _mm256_mask_storeu_pd(p, simd_mask8(n), half);
}
SIMD_INLINE vf64 vf64_half_fma(vf64 a, vf64 b, vf64 c)
{
    __m256d x = _mm512_castpd512_pd256(a), y = _mm512_castpd512_pd256(b), sum = _mm512_castpd512_pd256(c);
#ifdef __AVX512F__
    __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
#else
    sum = _mm256_fmadd_pd(x, y, sum);
#endif
    return _mm512_castpd256_pd512(sum);
}

SIMD_INLINE vf64 vf64_set1(double x) { return _mm512_set1_pd(x); }
SIMD_INLINE vf64 vf64_load(const double *p) { return _mm512_loadu_pd(p); }
SIMD_INLINE void vf64_store(double *p, vf64 v) { _mm512_storeu_pd(p, v); }
SIMD_INLINE vf64 vf64_load_first(const double *p, int64_t n) { return _mm512_maskz_loadu_pd(simd_mask8(n), p); }
SIMD_INLINE void vf64_store_first(double *p, vf64 v, int64_t n) { _mm512_mask_storeu_pd(p, simd_mask8(n), v); }
SIMD_INLINE vf64 vf64_add(vf64 a, vf64 b) { return _mm512_add_pd(a, b); }
SIMD_INLINE vf64 vf64_sub(vf64 a, vf64 b) { return _mm512_sub_pd(a, b); }
SIMD_INLINE vf64 vf64_mul(vf64 a, vf64 b) { return _mm512_mul_pd(a, b); }
SIMD_INLINE vf64 vf64_div(vf64 a, vf64 b) { return _mm512_div_pd(a, b); }
SIMD_INLINE vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm512_fmadd_pd(a, b, c); }
SIMD_INLINE vf64 vf64_select_lt(vf64 a, vf64 b, vf64 x, vf64 y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
}
SIMD_INLINE vf64 vf64_select_nan(vf64 a, vf64 x, vf64 y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), y, x);
}
SIMD_INLINE vi64 vf64_bits(vf64 v) { return _mm512_castpd_si512(v); }
SIMD_INLINE vf64 vf64_from_bits(vi64 v) { return _mm512_castsi512_pd(v); }

/* Pairs of rows, of even lanes and of odd ones; then, of four such, each 128 bits. */
SIMD_INLINE void vf64_transpose(vf64 v[VF64_LANES])
{
    vf64 pair[8];
    SIMD_UNROLL(4)
    for (int i = 0; i < 4; i++) {
        pair[i] = _mm512_unpacklo_pd(v[2 * i], v[2 * i + 1]);
        pair[i + 4] = _mm512_unpackhi_pd(v[2 * i], v[2 * i + 1]);
    }
    SIMD_UNROLL(2)
    for (int odd = 0; odd < 2; odd++) {
        const vf64 *p = pair + 4 * odd;
        const vf64 low = _mm512_shuffle_f64x2(p[0], p[1], 0x88), low_next = _mm512_shuffle_f64x2(p[2], p[3], 0x88);
        const vf64 high = _mm512_shuffle_f64x2(p[0], p[1], 0xDD), high_next = _mm512_shuffle_f64x2(p[2], p[3], 0xDD);
        v[odd] = _mm512_shuffle_f64x2(low, low_next, 0x88);
        v[odd + 2] = _mm512_shuffle_f64x2(high, high_next, 0x88);
        v[odd + 4] = _mm512_shuffle_f64x2(low, low_next, 0xDD);
        v[odd + 6] = _mm512_shuffle_f64x2(high, high_next, 0xDD);
    }
}
SIMD_INLINE vf64 vf32_zip_low(vf32 a, vf32 b) { return _mm512_castps_pd(_mm512_unpacklo_ps(a, b)); }
SIMD_INLINE vf64 vf32_zip_high(vf32 a, vf32 b) { return _mm512_castps_pd(_mm512_unpackhi_ps(a, b)); }
SIMD_INLINE vf32 vf32_unzipped(vf64 v) { return _mm512_castpd_ps(v); }

SIMD_INLINE vi32 vi32_set1(int32_t x) { return _mm512_set1_epi32(x); }
SIMD_INLINE vi32 vi32_load(const int32_t *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE void vi32_store(int32_t *p, vi32 v) { _mm512_storeu_si512(p, v); }
SIMD_INLINE vi32 vi32_load_first(const int32_t *p, int64_t n) { return _mm512_maskz_loadu_epi32(simd_mask16(n), p); }
SIMD_INLINE void vi32_store_first(int32_t *p, vi32 v, int64_t n) { _mm512_mask_storeu_epi32(p, simd_mask16(n), v); }
SIMD_INLINE vi32 vi32_add(vi32 a, vi32 b) { return _mm512_add_epi32(a, b); }
SIMD_INLINE vi32 vi32_sub(vi32 a, vi32 b) { return _mm512_sub_epi32(a, b); }
SIMD_INLINE vi32 vi32_mul(vi32 a, vi32 b) { return _mm512_mullo_epi32(a, b); }
SIMD_INLINE vi32 vi32_and(vi32 a, vi32 b) { return _mm512_and_si512(a, b); }
SIMD_INLINE vi32 vi32_or(vi32 a, vi32 b) { return _mm512_or_si512(a, b); }
SIMD_INLINE vi32 vi32_xor(vi32 a, vi32 b) { return _mm512_xor_si512(a, b); }
SIMD_INLINE vi32 vi32_shift_left(vi32 a, int count) { return _mm512_slli_epi32(a, (unsigned)count); }
SIMD_INLINE vi32 vi32_shift_right(vi32 a, int count) { return _mm512_srai_epi32(a, (unsigned)count); }
SIMD_INLINE vi32 vi32_select_lt(vi32 a, vi32 b, vi32 x, vi32 y)
{
    return _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(a, b), y, x);
}
SIMD_INLINE vi32 vi32_from_vf32(vf32 v) { return _mm512_cvtps_epi32(v); }

SIMD_INLINE vi64 vi64_set1(int64_t x) { return _mm512_set1_epi64(x); }
SIMD_INLINE vi64 vi64_add(vi64 a, vi64 b) { return _mm512_add_epi64(a, b); }
SIMD_INLINE vi64 vi64_sub(vi64 a, vi64 b) { return _mm512_sub_epi64(a, b); }
SIMD_INLINE vi64 vi64_and(vi64 a, vi64 b) { return _mm512_and_si512(a, b); }
SIMD_INLINE vi64 vi64_or(vi64 a, vi64 b) { return _mm512_or_si512(a, b); }
SIMD_INLINE vi64 vi64_xor(vi64 a, vi64 b) { return _mm512_xor_si512(a, b); }
SIMD_INLINE vi64 vi64_shift_left(vi64 a, int count) { return _mm512_slli_epi64(a, (unsigned)count); }

SIMD_INLINE vi32 vi32_load_s8_first(const int8_t *p, int64_t n)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(simd_mask16(n), p));
}
SIMD_INLINE vi32 vi32_load_u8_first(const uint8_t *p, int64_t n)
{
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(simd_mask16(n), p));
}
SIMD_INLINE void vi32_store_s8_first(int8_t *p, vi32 v, int64_t n)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, simd_mask16(n), v);
}
SIMD_INLINE void vi32_store_u8_first(uint8_t *p, vi32 v, int64_t n)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, simd_mask16(n), v);
}

/* 16-bit floats; src/portable/simd.h says what each name means. */
SIMD_INLINE vf32 simd_from_bf16(__m256i words)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}
SIMD_INLINE __m256i simd_to_bf16(vf32 v)
{
    const __m512i bits = _mm512_castps_si512(v), high = _mm512_srli_epi32(bits, 16);
    const __m512i up = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7FFF));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, quiet));
}
SIMD_INLINE vf32 simd_from_f16(__m256i words) { return _mm512_cvtph_ps(words); }
SIMD_INLINE __m256i simd_to_f16(vf32 v) { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#define SIMD_NARROW(type)                                                                                              \
    SIMD_INLINE vf32 vf32_load_##type(const uint16_t *p)                                                               \
    {                                                                                                                  \
        return simd_from_##type(_mm256_loadu_si256((const __m256i *)p));                                               \
    }                                                                                                                  \
    SIMD_INLINE vf32 vf32_load_##type##_first(const uint16_t *p, int64_t n)                                            \
    {                                                                                                                  \
        return simd_from_##type(_mm256_maskz_loadu_epi16(simd_mask16(n), p));                                          \
    }                                                                                                                  \
    SIMD_INLINE void vf32_store_##type(uint16_t *p, vf32 v) { _mm256_storeu_si256((__m256i *)p, simd_to_##type(v)); }  \
    SIMD_INLINE void vf32_store_##type##_first(uint16_t *p, vf32 v, int64_t n)                                         \
    {                                                                                                                  \
        _mm256_mask_storeu_epi16(p, simd_mask16(n), simd_to_##type(v));                                                \
    }
SIMD_NARROW(bf16)
SIMD_NARROW(f16)

/* Integer GEMM; avx2/simd.h says what each name means. */
enum { SIMD_WIDEN_BYTES = 32 };
SIMD_INLINE void simd_widen_first(int16_t *words, const uint8_t *p, int64_t n, int is_signed)
{
    for (; n > 0; n -= SIMD_WIDEN_BYTES, p += SIMD_WIDEN_BYTES, words += SIMD_WIDEN_BYTES) {
        __mmask32 mask = (__mmask32)(n < SIMD_WIDEN_BYTES ? (1u << n) - 1 : 0xFFFFFFFFu);
        __m256i bytes = _mm256_maskz_loadu_epi8(mask, p);
        _mm512_storeu_si512(words, is_signed ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes));
    }
}
SIMD_INLINE vi32 simd_load_s8_as_s16(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
SIMD_INLINE vi32 simd_dot2(vi32 a, vi32 b) { return _mm512_madd_epi16(a, b); }
#ifdef __AVX512BF16__
/* Pairs of bf16: n of 32 words, the others 0; a word of a and one of b in turn, of their lower and of their upper halves; per lane c + the two products,
 * the upper words' first. */
SIMD_INLINE vi32 simd_load_words_first(const uint16_t *p, int64_t n)
{
    return _mm512_maskz_loadu_epi16((__mmask32)(n < 32 ? (1u << n) - 1 : 0xFFFFFFFFu), p);
}
SIMD_INLINE void simd_interleave_words(vi32 a, vi32 b, vi32 *lower, vi32 *upper)
{
    static const int16_t picks[64] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                      8,  40, 9,  41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47,
                                      16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
                                      24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
    const int16_t *pick = picks;
    __asm__ volatile(""
                     : "+r"(pick)); /* read where it is used: beside a tile's sums no register is left to keep it in */
    *lower = _mm512_permutex2var_epi16(a, _mm512_loadu_si512(pick), b);
    *upper = _mm512_permutex2var_epi16(a, _mm512_loadu_si512(pick + 32), b);
}
SIMD_INLINE vf32 simd_dot_bf16(vf32 c, vi32 a, vi32 b) { return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b); }
#endif
#ifdef __AVX512VNNI__
SIMD_INLINE vi32 simd_dot4(vi32 c, vi32 a, vi32 b) { return _mm512_dpbusd_epi32(c, a, b); }
#endif

/* Products of integers that wrap (integer_type.h). */
SIMD_INLINE vi16 vi16_set1(int16_t x) { return _mm512_set1_epi16(x); }
SIMD_INLINE vi16 vi16_load(const int16_t *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE void vi16_store(int16_t *p, vi16 v) { _mm512_storeu_si512(p, v); }
SIMD_INLINE vi16 vi16_add(vi16 a, vi16 b) { return _mm512_add_epi16(a, b); }
SIMD_INLINE vi16 vi16_mul(vi16 a, vi16 b) { return _mm512_mullo_epi16(a, b); }
SIMD_INLINE vi64 vi64_load(const int64_t *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE void vi64_store(int64_t *p, vi64 v) { _mm512_storeu_si512(p, v); }
typedef vi64 vi64_sum;
SIMD_INLINE vi64_sum vi64_sum_of(vi64 v) { return v; }
SIMD_INLINE vi64_sum vi64_sum_add_product(vi64_sum s, vi64 a, vi64 b)
{
    return _mm512_add_epi64(s, _mm512_mullo_epi64(a, b));
}
SIMD_INLINE vi64 vi64_sum_value(vi64_sum s) { return s; }

#endif
