/* The vector vocabulary for AVX2 and FMA; src/portable/simd.h says what each name means. */
#ifndef HUNZE_SIMD_H
#define HUNZE_SIMD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))
#define SIMD_CONSTANT static const /* before a table */
#define SIMD_PRAGMA(text) _Pragma(#text)
#define SIMD_UNROLL(times) SIMD_PRAGMA(GCC unroll times) /* before a loop */

enum { VF32_LANES = 8, VF64_LANES = 4, VI16_LANES = 16, VI32_LANES = 8, VI64_LANES = 4 };
typedef __m256 vf32;
typedef __m256d vf64;
typedef __m256i vi16;
typedef __m256i vi32;
typedef __m256i vi64;

/* Loaded at 8 - n (32-bit lanes) or 4 - n (64-bit lanes): n ones, then zeros. */
static const int32_t simd_first32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
static const int64_t simd_first64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
SIMD_INLINE __m256i simd_mask32(int64_t n)
{
    return _mm256_loadu_si256((const __m256i *)(simd_first32 + 8 - (n < 8 ? n : 8)));
}
SIMD_INLINE __m256i simd_mask64(int64_t n)
{
    return _mm256_loadu_si256((const __m256i *)(simd_first64 + 4 - (n < 4 ? n : 4)));
}

/* The first bytes of a vector, a multiple of 4; all where there are more.  AMD's processors take some 20 cycles for a masked store, which this is not;
 * it wants n in a register. */
#define SIMD_PARTS
SIMD_INLINE void simd_store_parts(void *p, __m256i v, int64_t bytes)
{
    if (bytes >= 32) {
        _mm256_storeu_si256((__m256i *)p, v);
        return;
    }
    char *to = (char *)p;
    __m128i part = _mm256_castsi256_si128(v);
    if (bytes & 16) {
        _mm_storeu_si128((__m128i *)to, part);
        part = _mm256_extracti128_si256(v, 1);
        to += 16;
    }
    if (bytes & 8) {
        _mm_storel_epi64((__m128i *)to, part);
        part = _mm_unpackhi_epi64(part, part);
        to += 8;
    }
    if (bytes & 4) {
        const int32_t last = (int32_t)_mm_cvtsi128_si64(part);
        memcpy(to, &last, sizeof last);
    }
}

#ifdef __AVX2__
#define SIMD_KEEP(v) __asm__("" : "+x"(v))
#else /* intrinsics in plain C: vectors are in memory */
#define SIMD_KEEP(v) ((void)(v))
#endif

SIMD_INLINE vf32 vf32_set1(float x) { return _mm256_set1_ps(x); }
SIMD_INLINE vf32 vf32_load(const float *p) { return _mm256_loadu_ps(p); }
SIMD_INLINE void vf32_store(float *p, vf32 v) { _mm256_storeu_ps(p, v); }
SIMD_INLINE vf32 vf32_load_first(const float *p, int64_t n) { return _mm256_maskload_ps(p, simd_mask32(n)); }
SIMD_INLINE void vf32_store_first(float *p, vf32 v, int64_t n) { _mm256_maskstore_ps(p, simd_mask32(n), v); }
SIMD_INLINE void vf32_store_parts(float *p, vf32 v, int64_t n) { simd_store_parts(p, _mm256_castps_si256(v), 4 * n); }
typedef __m256i vf32_mask;
SIMD_INLINE vf32_mask vf32_mask_between(int64_t low, int64_t high)
{
    return _mm256_andnot_si256(simd_mask32(low), simd_mask32(high));
}
SIMD_INLINE vf32 vf32_load_masked(const float *p, vf32_mask mask) { return _mm256_maskload_ps(p, mask); }
SIMD_INLINE vf32 vf32_even(vf32 a, vf32 b)
{
    const __m256d halves = _mm256_castps_pd(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(halves, _MM_SHUFFLE(3, 1, 2, 0)));
}
SIMD_INLINE vf32 vf32_add(vf32 a, vf32 b) { return _mm256_add_ps(a, b); }
SIMD_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return _mm256_sub_ps(a, b); }
SIMD_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return _mm256_mul_ps(a, b); }
SIMD_INLINE vf32 vf32_div(vf32 a, vf32 b) { return _mm256_div_ps(a, b); }
SIMD_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
SIMD_INLINE vf32 vf32_select_lt(vf32 a, vf32 b, vf32 x, vf32 y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
SIMD_INLINE vf32 vf32_select_nan(vf32 a, vf32 x, vf32 y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
SIMD_INLINE vf32 vf32_round(vf32 v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SIMD_INLINE vi32 vf32_bits(vf32 v) { return _mm256_castps_si256(v); }
SIMD_INLINE vf32 vf32_from_bits(vi32 v) { return _mm256_castsi256_ps(v); }
SIMD_INLINE vf32 vf32_from_vi32(vi32 v) { return _mm256_cvtepi32_ps(v); }

SIMD_INLINE vf64 vf64_set1(double x) { return _mm256_set1_pd(x); }
SIMD_INLINE vf64 vf64_load(const double *p) { return _mm256_loadu_pd(p); }
SIMD_INLINE void vf64_store(double *p, vf64 v) { _mm256_storeu_pd(p, v); }
SIMD_INLINE vf64 vf64_load_first(const double *p, int64_t n) { return _mm256_maskload_pd(p, simd_mask64(n)); }
SIMD_INLINE void vf64_store_first(double *p, vf64 v, int64_t n) { _mm256_maskstore_pd(p, simd_mask64(n), v); }
SIMD_INLINE void vf64_store_parts(double *p, vf64 v, int64_t n) { simd_store_parts(p, _mm256_castpd_si256(v), 8 * n); }
SIMD_INLINE vf64 vf64_add(vf64 a, vf64 b) { return _mm256_add_pd(a, b); }
SIMD_INLINE vf64 vf64_sub(vf64 a, vf64 b) { return _mm256_sub_pd(a, b); }
SIMD_INLINE vf64 vf64_mul(vf64 a, vf64 b) { return _mm256_mul_pd(a, b); }
SIMD_INLINE vf64 vf64_div(vf64 a, vf64 b) { return _mm256_div_pd(a, b); }
SIMD_INLINE vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm256_fmadd_pd(a, b, c); }
SIMD_INLINE vf64 vf64_select_lt(vf64 a, vf64 b, vf64 x, vf64 y)
{
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_LT_OQ));
}
SIMD_INLINE vf64 vf64_select_nan(vf64 a, vf64 x, vf64 y)
{
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, a, _CMP_UNORD_Q));
}
SIMD_INLINE vi64 vf64_bits(vf64 v) { return _mm256_castpd_si256(v); }
SIMD_INLINE vf64 vf64_from_bits(vi64 v) { return _mm256_castsi256_pd(v); }

SIMD_INLINE void vf64_transpose(vf64 v[VF64_LANES])
{
    const vf64 even = _mm256_unpacklo_pd(v[0], v[1]), odd = _mm256_unpackhi_pd(v[0], v[1]);
    const vf64 next_even = _mm256_unpacklo_pd(v[2], v[3]), next_odd = _mm256_unpackhi_pd(v[2], v[3]);
    v[0] = _mm256_permute2f128_pd(even, next_even, 0x20);
    v[1] = _mm256_permute2f128_pd(odd, next_odd, 0x20);
    v[2] = _mm256_permute2f128_pd(even, next_even, 0x31);
    v[3] = _mm256_permute2f128_pd(odd, next_odd, 0x31);
}
SIMD_INLINE vf64 vf32_zip_low(vf32 a, vf32 b) { return _mm256_castps_pd(_mm256_unpacklo_ps(a, b)); }
SIMD_INLINE vf64 vf32_zip_high(vf32 a, vf32 b) { return _mm256_castps_pd(_mm256_unpackhi_ps(a, b)); }
SIMD_INLINE vf32 vf32_unzipped(vf64 v) { return _mm256_castpd_ps(v); }

SIMD_INLINE vi32 vi32_set1(int32_t x) { return _mm256_set1_epi32(x); }
SIMD_INLINE vi32 vi32_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
SIMD_INLINE void vi32_store(int32_t *p, vi32 v) { _mm256_storeu_si256((__m256i *)p, v); }
SIMD_INLINE vi32 vi32_load_first(const int32_t *p, int64_t n) { return _mm256_maskload_epi32(p, simd_mask32(n)); }
SIMD_INLINE void vi32_store_first(int32_t *p, vi32 v, int64_t n) { _mm256_maskstore_epi32(p, simd_mask32(n), v); }
SIMD_INLINE vi32 vi32_add(vi32 a, vi32 b) { return _mm256_add_epi32(a, b); }
SIMD_INLINE vi32 vi32_sub(vi32 a, vi32 b) { return _mm256_sub_epi32(a, b); }
SIMD_INLINE vi32 vi32_mul(vi32 a, vi32 b) { return _mm256_mullo_epi32(a, b); }
SIMD_INLINE vi32 vi32_and(vi32 a, vi32 b) { return _mm256_and_si256(a, b); }
SIMD_INLINE vi32 vi32_or(vi32 a, vi32 b) { return _mm256_or_si256(a, b); }
SIMD_INLINE vi32 vi32_xor(vi32 a, vi32 b) { return _mm256_xor_si256(a, b); }
SIMD_INLINE vi32 vi32_shift_left(vi32 a, int count) { return _mm256_slli_epi32(a, count); }
SIMD_INLINE vi32 vi32_shift_right(vi32 a, int count) { return _mm256_srai_epi32(a, count); }
SIMD_INLINE vi32 vi32_select_lt(vi32 a, vi32 b, vi32 x, vi32 y)
{
    return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi32(b, a));
}
SIMD_INLINE vi32 vi32_from_vf32(vf32 v) { return _mm256_cvtps_epi32(v); }

SIMD_INLINE vi64 vi64_set1(int64_t x) { return _mm256_set1_epi64x(x); }
SIMD_INLINE vi64 vi64_add(vi64 a, vi64 b) { return _mm256_add_epi64(a, b); }
SIMD_INLINE vi64 vi64_sub(vi64 a, vi64 b) { return _mm256_sub_epi64(a, b); }
SIMD_INLINE vi64 vi64_and(vi64 a, vi64 b) { return _mm256_and_si256(a, b); }
SIMD_INLINE vi64 vi64_or(vi64 a, vi64 b) { return _mm256_or_si256(a, b); }
SIMD_INLINE vi64 vi64_xor(vi64 a, vi64 b) { return _mm256_xor_si256(a, b); }
SIMD_INLINE vi64 vi64_shift_left(vi64 a, int count) { return _mm256_slli_epi64(a, count); }

SIMD_INLINE __m128i simd_load_bytes_first(const void *p, int64_t n)
{
    if (n >= 8)
        return _mm_loadl_epi64((const __m128i *)p);
    uint64_t bytes = 0;
    memcpy(&bytes, p, (size_t)n);
    return _mm_cvtsi64_si128((int64_t)bytes);
}
SIMD_INLINE void simd_store_bytes_first(void *p, __m128i bytes, int64_t n)
{
    if (n >= 8) {
        _mm_storel_epi64((__m128i *)p, bytes);
    } else {
        int64_t low = _mm_cvtsi128_si64(bytes);
        memcpy(p, &low, (size_t)n);
    }
}
/* The low byte of each lane. */
SIMD_INLINE __m128i simd_low_bytes(vi32 v)
{
    const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                          -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i low = _mm256_shuffle_epi8(v, pick);
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
SIMD_INLINE vi32 vi32_load_s8_first(const int8_t *p, int64_t n)
{
    return _mm256_cvtepi8_epi32(simd_load_bytes_first(p, n));
}
SIMD_INLINE vi32 vi32_load_u8_first(const uint8_t *p, int64_t n)
{
    return _mm256_cvtepu8_epi32(simd_load_bytes_first(p, n));
}
SIMD_INLINE void vi32_store_s8_first(int8_t *p, vi32 v, int64_t n) { simd_store_bytes_first(p, simd_low_bytes(v), n); }
SIMD_INLINE void vi32_store_u8_first(uint8_t *p, vi32 v, int64_t n) { simd_store_bytes_first(p, simd_low_bytes(v), n); }

/* 8 words, of which the first n are read or written and the others are 0 or kept: whole pairs by their mask, then the one that is left. */
static const int16_t simd_word8[17] = {[8] = -1};
SIMD_INLINE __m128i simd_mask_pairs(int64_t n) { return _mm_loadu_si128((const __m128i *)(simd_first32 + 8 - n / 2)); }
SIMD_INLINE __m128i simd_load_words_first(const uint16_t *p, int64_t n)
{
    if (n >= 8)
        return _mm_loadu_si128((const __m128i *)p);
    if (n <= 0)
        return _mm_setzero_si128();
    const __m128i pairs = _mm_maskload_epi32((const int *)p, simd_mask_pairs(n));
    const __m128i last = _mm_loadu_si128((const __m128i *)(simd_word8 + (n & 1 ? 9 - n : 9)));
    return _mm_blendv_epi8(pairs, _mm_set1_epi16((short)p[n - 1]), last);
}
SIMD_INLINE void simd_store_words_first(uint16_t *p, __m128i words, int64_t n)
{
    if (n >= 8) {
        _mm_storeu_si128((__m128i *)p, words);
        return;
    }
    uint16_t all[8];
    _mm_storeu_si128((__m128i *)all, words);
    _mm_maskstore_epi32((int *)p, simd_mask_pairs(n), words);
    if (n & 1)
        p[n - 1] = all[n - 1];
}
/* From memory one shuffle per vector, which Intel's processors do beside two fma a cycle; widening and shifting would take a turn of theirs. */
SIMD_INLINE vf32 simd_from_bf16(__m128i words)
{
    const __m256i upper = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1, -1, 8, 9, -1, -1,
                                           10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    return _mm256_castsi256_ps(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(words), upper));
}
SIMD_INLINE __m128i simd_to_bf16(vf32 v)
{
    const __m256i bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
    const __m256i up = _mm256_add_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7FFF));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i words = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
SIMD_INLINE vf32 simd_from_f16(__m128i words) { return _mm256_cvtph_ps(words); }
SIMD_INLINE __m128i simd_to_f16(vf32 v) { return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#define SIMD_NARROW(type)                                                                                              \
    SIMD_INLINE vf32 vf32_load_##type(const uint16_t *p)                                                               \
    {                                                                                                                  \
        return simd_from_##type(_mm_loadu_si128((const __m128i *)p));                                                  \
    }                                                                                                                  \
    SIMD_INLINE vf32 vf32_load_##type##_first(const uint16_t *p, int64_t n)                                            \
    {                                                                                                                  \
        return simd_from_##type(simd_load_words_first(p, n));                                                          \
    }                                                                                                                  \
    SIMD_INLINE void vf32_store_##type(uint16_t *p, vf32 v) { _mm_storeu_si128((__m128i *)p, simd_to_##type(v)); }     \
    SIMD_INLINE void vf32_store_##type##_first(uint16_t *p, vf32 v, int64_t n)                                         \
    {                                                                                                                  \
        simd_store_words_first(p, simd_to_##type(v), n);                                                               \
    }
SIMD_NARROW(bf16)
SIMD_NARROW(f16)

/* 16 bytes, of which the first n are read and the others are 0. */
SIMD_INLINE __m128i simd_load_16_bytes_first(const void *p, int64_t n)
{
    if (n >= 16)
        return _mm_loadu_si128((const __m128i *)p);
    uint64_t half[2] = {0, 0};
    for (int64_t i = 0; i < n; i++)
        half[i / 8] |= (uint64_t)((const uint8_t *)p)[i] << i % 8 * 8;
    return _mm_set_epi64x((int64_t)half[1], (int64_t)half[0]);
}

/* Integer GEMM.  Bytes to s16, SIMD_WIDEN_BYTES at a time: n bytes of p are read and the rest of the last vector is zero. */
enum { SIMD_WIDEN_BYTES = 16 };
SIMD_INLINE void simd_widen_first(int16_t *words, const uint8_t *p, int64_t n, int is_signed)
{
    for (; n > 0; n -= SIMD_WIDEN_BYTES, p += SIMD_WIDEN_BYTES, words += SIMD_WIDEN_BYTES) {
        __m128i bytes = simd_load_16_bytes_first(p, n);
        _mm256_storeu_si256((__m256i *)words, is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes));
    }
}
/* 2*VI32_LANES bytes as s16. */
SIMD_INLINE vi32 simd_load_s8_as_s16(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
}
/* Per lane: the two products of s16, added. */
SIMD_INLINE vi32 simd_dot2(vi32 a, vi32 b) { return _mm256_madd_epi16(a, b); }
/* Per lane: c + the four products of u8 (a) and s8 (b).  _saturating: right while each pair's sum fits s16. */
SIMD_INLINE vi32 simd_dot4_saturating(vi32 c, vi32 a, vi32 b)
{
    return _mm256_add_epi32(c, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}
#ifdef __AVXVNNI__
SIMD_INLINE vi32 simd_dot4(vi32 c, vi32 a, vi32 b) { return _mm256_dpbusd_avx_epi32(c, a, b); }
#endif

/* Products of integers that wrap (integer_type.h). */
SIMD_INLINE vi16 vi16_set1(int16_t x) { return _mm256_set1_epi16(x); }
SIMD_INLINE vi16 vi16_load(const int16_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
SIMD_INLINE void vi16_store(int16_t *p, vi16 v) { _mm256_storeu_si256((__m256i *)p, v); }
SIMD_INLINE vi16 vi16_add(vi16 a, vi16 b) { return _mm256_add_epi16(a, b); }
SIMD_INLINE vi16 vi16_mul(vi16 a, vi16 b) { return _mm256_mullo_epi16(a, b); }
SIMD_INLINE vi64 vi64_load(const int64_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
SIMD_INLINE void vi64_store(int64_t *p, vi64 v) { _mm256_storeu_si256((__m256i *)p, v); }
/* AVX2 has no product of 64 bits.  low sums the products of the lower halves; cross, by 32 bits, those of a lower half and an upper one: two of
 * them per lane, which belong 32 bits higher and meet only at the end. */
typedef struct vi64_sum {
    __m256i low, cross;
} vi64_sum;
SIMD_INLINE vi64_sum vi64_sum_of(vi64 v) { return (vi64_sum){v, _mm256_setzero_si256()}; }
SIMD_INLINE vi64_sum vi64_sum_add_product(vi64_sum s, vi64 a, vi64 b)
{
    s.low = _mm256_add_epi64(s.low, _mm256_mul_epu32(a, b));
    s.cross = _mm256_add_epi32(s.cross, _mm256_mullo_epi32(_mm256_shuffle_epi32(a, 0xB1), b));
    return s;
}
SIMD_INLINE vi64 vi64_sum_value(vi64_sum s)
{
    const __m256i both = _mm256_add_epi32(s.cross, _mm256_srli_epi64(s.cross, 32));
    return _mm256_add_epi64(s.low, _mm256_slli_epi64(both, 32));
}

#endif
