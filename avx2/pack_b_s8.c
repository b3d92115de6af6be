/* Packs s8 weights into panels [ceil(k/kr)][nr][kr], zero-filled, and sums each column over k; all x86 layouts, AVX2.
 *
 *   one step, kr = 4:   | w(p..p+3, 0) | w(p..p+3, 1) | ... | w(p..p+3, nr-1) |       fast for rows (b_col 1) and columns (b_row 1) */
#include "simd.h"
#include "../src/kernels.h"

/* Row-major: interleaves kr rows of nr bytes. */
SIMD_INLINE void interleave(const int8_t *const row[4], int8_t *out, const int nr, const int kr)
{
    for (int j = 0; j < nr; j += 16) {
        __m128i r0 = _mm_loadu_si128((const __m128i *)(row[0] + j)),
                r1 = _mm_loadu_si128((const __m128i *)(row[1] + j));
        __m128i low = _mm_unpacklo_epi8(r0, r1), high = _mm_unpackhi_epi8(r0, r1);
        __m128i *to = (__m128i *)(out + j * kr);
        if (kr == 2) {
            _mm_storeu_si128(to, low);
            _mm_storeu_si128(to + 1, high);
            continue;
        }
        __m128i r2 = _mm_loadu_si128((const __m128i *)(row[2] + j)),
                r3 = _mm_loadu_si128((const __m128i *)(row[3] + j));
        __m128i low2 = _mm_unpacklo_epi8(r2, r3), high2 = _mm_unpackhi_epi8(r2, r3);
        _mm_storeu_si128(to, _mm_unpacklo_epi16(low, low2));
        _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(low, low2));
        _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(high, high2));
        _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(high, high2));
    }
}

/* A pass of its own: reading a step back while its narrow stores are in flight stalls. */
SIMD_INLINE void sum_columns(int64_t steps, const int8_t *panel, int32_t *column_sums, const int nr, const int kr)
{
    const vi32 ones = _mm256_set1_epi16(1);
    vi32 sums[4]; /* nr <= 32 */
    for (int v = 0; v < nr / VI32_LANES; v++)
        sums[v] = vi32_set1(0);
    for (; steps > 0; steps--, panel += nr * kr) {
#pragma GCC unroll 4
        for (int v = 0; v < nr / VI32_LANES; v++) {
            const int8_t *codes = panel + v * VI32_LANES * kr;
            vi32 pairs = kr == 2
                             ? simd_load_s8_as_s16(codes)
                             : _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_loadu_si256((const __m256i *)codes));
            sums[v] = vi32_add(sums[v], simd_dot2(pairs, ones));
        }
    }
    for (int v = 0; v < nr / VI32_LANES; v++)
        vi32_store(column_sums + v * VI32_LANES, sums[v]);
}

SIMD_INLINE void pack(int64_t k, int64_t n, const int8_t *b, int64_t b_row, int64_t b_col, int8_t *panel,
                      int32_t *column_sums, const int nr, const int kr)
{
    enum { AHEAD = 16 }; /* rows prefetched: they lie too far apart for the hardware */
    int8_t edge[4][32];  /* rows of fewer than nr columns, and zeros beyond k */
    int8_t *out = panel;
    for (int64_t p = 0; p < k; p += kr, out += nr * kr) {
        const int64_t depth = k - p < kr ? k - p : kr;
        const int8_t *from = b + p * b_row;
        if (b_col == 1) {
            const int8_t *row[4];
            for (int q = 0; q < kr; q++) {
                row[q] = from + q * b_row;
                if (n == nr && q < depth) {
                    __builtin_prefetch(row[q] + AHEAD * b_row);
                    continue;
                }
                for (int j = 0; j < nr; j += 16)
                    _mm_storeu_si128((__m128i *)(edge[q] + j),
                                     simd_load_16_bytes_first(row[q] + j, q < depth ? n - j : 0));
                row[q] = edge[q];
            }
            interleave(row, out, nr, kr);
            continue;
        }
        if (n < nr || depth < kr)
            for (int j = 0; j < nr * kr; j += (int)sizeof(vi32))
                _mm256_storeu_si256((__m256i *)(out + j), _mm256_setzero_si256());
        if (b_row == 1 && depth == kr) {
            for (int64_t j = 0; j < n; j++)
                memcpy(out + j * kr, from + j * b_col, (size_t)kr);
        } else {
            for (int64_t j = 0; j < n; j++)
                for (int64_t q = 0; q < depth; q++)
                    out[j * kr + q] = from[q * b_row + j * b_col];
        }
    }
    sum_columns((k + kr - 1) / kr, panel, column_sums, nr, kr);
}

void hunze_pack_b_s8_k2n16(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel,
                           int32_t *column_sums)
{
    pack(k, n, b, b_row, b_col, panel, column_sums, 16, 2);
}

void hunze_pack_b_s8_k2n32(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel,
                           int32_t *column_sums)
{
    pack(k, n, b, b_row, b_col, panel, column_sums, 32, 2);
}

void hunze_pack_b_s8_k4n16(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel,
                           int32_t *column_sums)
{
    pack(k, n, b, b_row, b_col, panel, column_sums, 16, 4);
}

void hunze_pack_b_s8_k4n32(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *panel,
                           int32_t *column_sums)
{
    pack(k, n, b, b_row, b_col, panel, column_sums, 32, 4);
}
