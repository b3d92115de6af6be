/* Packs B of integers (contract: hunze_int_packing in kernels.h) into panels [ceil(k/kr)][nr][kr]; all x86 layouts, AVX2.
 *
 *   one step, kr = 4:   | b(p..p+3, 0) | b(p..p+3, 1) | ... | b(p..p+3, nr-1) |
 *
 * Rows: 32 columns of kr rows at a time, over GROUP columns before the next rows.  Zen 4's second cache hands out lines that are a multiple of 4 KB apart at a
 * quarter of its rate; lines that follow each other come at its full one.  Columns: 8 of them and 16 rows at a time. */
#include "simd.h"
#include "../src/kernels.h"

#include <string.h>

enum { GROUP = 256, ROWS_N = 32, COLUMNS_N = 8, COLUMNS_K = 16 };

/* 32 columns of a row, their parts in the order in which unpacking leaves them side by side. */
SIMD_INLINE __m256i load_row(const int8_t *row, __m256i flip, const int kr)
{
    const __m256i bytes = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)row), flip);
    return kr == 2 ? _mm256_permute4x64_epi64(bytes, 0xD8)
                   : _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

/* kr rows of 32 columns to one panel, or 16 columns each to two. */
SIMD_INLINE void pack_rows(const int8_t *rows, int64_t step, __m256i flip, int8_t *out, int8_t *second, const int nr,
                           const int kr)
{
    __m256i *const low_out = (__m256i *)out, *const high_out = nr == 16 ? (__m256i *)second : low_out + kr / 2;
    const __m256i r0 = load_row(rows, flip, kr), r1 = load_row(rows + step, flip, kr);
    const __m256i low = _mm256_unpacklo_epi8(r0, r1), high = _mm256_unpackhi_epi8(r0, r1);
    if (kr == 2) {
        _mm256_storeu_si256(low_out, low);
        _mm256_storeu_si256(high_out, high);
        return;
    }
    const __m256i r2 = load_row(rows + 2 * step, flip, kr), r3 = load_row(rows + 3 * step, flip, kr);
    const __m256i low2 = _mm256_unpacklo_epi8(r2, r3), high2 = _mm256_unpackhi_epi8(r2, r3);
    _mm256_storeu_si256(low_out, _mm256_unpacklo_epi16(low, low2));
    _mm256_storeu_si256(low_out + 1, _mm256_unpackhi_epi16(low, low2));
    _mm256_storeu_si256(high_out, _mm256_unpacklo_epi16(high, high2));
    _mm256_storeu_si256(high_out + 1, _mm256_unpackhi_epi16(high, high2));
}

/* Rows and columns that are not there become 0. */
SIMD_INLINE void pack_by_rows(const hunze_int_packing *s, const int nr, const int kr)
{
    const __m256i flip = _mm256_set1_epi8((char)s->flip);
    const int64_t columns = (s->n + nr - 1) / nr * nr;
    for (int64_t j0 = 0; j0 < columns; j0 += GROUP)
        for (int64_t p = 0; p < s->k; p += kr)
            for (int64_t j = j0; j < columns && j < j0 + GROUP; j += ROWS_N) {
                const int8_t *b = (const int8_t *)s->b + p * s->b_row + j * s->b_col;
                int8_t nothing[ROWS_N * 4], edge[4][ROWS_N];
                int8_t *out = (int8_t *)s->panels + j / nr * s->panel_bytes + p * nr;
                int8_t *second = nr == 16 && j + 16 < columns ? out + s->panel_bytes : nothing;
                if (s->b_col == 1 && j + ROWS_N <= s->n && p + kr <= s->k) {
                    pack_rows(b, s->b_row, flip, out, second, nr, kr);
                    continue;
                }
                memset(edge, s->flip, sizeof edge);
                const int64_t some = s->n - j < ROWS_N ? s->n - j : ROWS_N;
                for (int64_t q = 0; q < kr && p + q < s->k && some > 0; q++)
                    if (s->b_col == 1)
                        memcpy(edge[q], b + q * s->b_row, (size_t)some);
                    else
                        for (int64_t i = 0; i < some; i++)
                            edge[q][i] = b[q * s->b_row + i * s->b_col];
                pack_rows(edge[0], ROWS_N, flip, out, second, nr, kr);
            }
}

SIMD_INLINE __m256i load_two(const int8_t *a, const int8_t *b, __m256i flip)
{
    return _mm256_xor_si256(_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                                    _mm_loadu_si128((const __m128i *)b), 1),
                            flip);
}

/* 8 columns of 16 rows to steps of a panel, `apart` bytes apart. */
SIMD_INLINE void pack_columns(const int8_t *b, int64_t b_col, __m256i flip, int8_t *out, int64_t apart, const int kr)
{
    const __m256i c0 = load_two(b, b + 4 * b_col, flip), c1 = load_two(b + b_col, b + 5 * b_col, flip),
                  c2 = load_two(b + 2 * b_col, b + 6 * b_col, flip), c3 = load_two(b + 3 * b_col, b + 7 * b_col, flip);
    const __m256i low01 = _mm256_unpacklo_epi32(c0, c1), low23 = _mm256_unpacklo_epi32(c2, c3),
                  high01 = _mm256_unpackhi_epi32(c0, c1), high23 = _mm256_unpackhi_epi32(c2, c3);
    const __m256i fours[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                              _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if (kr == 4) {
            _mm256_storeu_si256((__m256i *)(out + i * apart), fours[i]);
            continue;
        }
        const __m256i halves =
            _mm256_shuffle_epi8(fours[i], _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                                           4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
        const __m256i twos = _mm256_permute4x64_epi64(halves, 0xD8);
        _mm_storeu_si128((__m128i *)(out + 2 * i * apart), _mm256_castsi256_si128(twos));
        _mm_storeu_si128((__m128i *)(out + (2 * i + 1) * apart), _mm256_extracti128_si256(twos, 1));
    }
}

SIMD_INLINE void pack_by_columns(const hunze_int_packing *s, const int nr, const int kr)
{
    const __m256i flip = _mm256_set1_epi8((char)s->flip);
    const int64_t columns = (s->n + nr - 1) / nr * nr, steps = (s->k + kr - 1) / kr, apart = nr * kr;
    for (int64_t j = 0; j < columns; j += COLUMNS_N)
        for (int64_t p = 0; p < s->k; p += COLUMNS_K) {
            const int8_t *b = (const int8_t *)s->b + p + j * s->b_col;
            int8_t *out = (int8_t *)s->panels + j / nr * s->panel_bytes + p * nr + j % nr * kr;
            if (j + COLUMNS_N <= s->n && p + COLUMNS_K <= s->k) {
                pack_columns(b, s->b_col, flip, out, apart, kr);
                continue;
            }
            int8_t edge[COLUMNS_N][COLUMNS_K], packed[COLUMNS_K / 2][COLUMNS_N * 4];
            memset(edge, s->flip, sizeof edge);
            for (int64_t i = 0; i < COLUMNS_N && j + i < s->n; i++)
                memcpy(edge[i], b + i * s->b_col, (size_t)(s->k - p < COLUMNS_K ? s->k - p : COLUMNS_K));
            pack_columns(edge[0], COLUMNS_K, flip, packed[0], sizeof packed[0], kr);
            for (int64_t i = 0; i < COLUMNS_K / kr && p / kr + i < steps; i++)
                memcpy(out + i * apart, packed[i], (size_t)(COLUMNS_N * kr));
        }
}

/* A pass of its own: a panel of a piece is near. */
SIMD_INLINE void sum_columns(const hunze_int_packing *s, const int nr, const int kr)
{
    enum { FEW = 64 }; /* steps whose sums, at most 256 each, fit 16 bits */
    const __m256i ones = _mm256_set1_epi8(1);
    const int64_t steps = (s->k + kr - 1) / kr;
    for (int64_t j = 0; j < s->n; j += nr) {
        const int8_t *panel = (const int8_t *)s->panels + j / nr * s->panel_bytes;
        int32_t *sums = s->column_sums + j / nr * s->column_sums_step;
        for (int64_t step0 = 0; step0 < steps; step0 += FEW)
            for (int v = 0; v < nr * kr / 32; v++) {
                const int8_t *from = panel + step0 * nr * kr + v * 32;
                __m256i words = _mm256_setzero_si256();
                for (int64_t i = step0; i < steps && i < step0 + FEW; i++, from += nr * kr)
                    words =
                        _mm256_add_epi16(words, _mm256_maddubs_epi16(ones, _mm256_loadu_si256((const __m256i *)from)));
                if (kr == 4) {
                    int32_t *to = sums + v * VI32_LANES;
                    vi32_store(to, vi32_add(vi32_load(to), simd_dot2(words, _mm256_set1_epi16(1))));
                    continue;
                }
                int32_t *to = sums + 2 * v * VI32_LANES;
                vi32_store(to, vi32_add(vi32_load(to), _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words))));
                vi32_store(to + VI32_LANES, vi32_add(vi32_load(to + VI32_LANES),
                                                     _mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1))));
            }
    }
}

SIMD_INLINE void pack(const hunze_int_packing *s, const int nr, const int kr)
{
    if (s->b_row == 1 && s->b_col != 1)
        pack_by_columns(s, nr, kr);
    else
        pack_by_rows(s, nr, kr);
    if (s->column_sums)
        sum_columns(s, nr, kr);
}

void hunze_pack_b_s8_k2n16(const hunze_int_packing *packing) { pack(packing, 16, 2); }
void hunze_pack_b_s8_k2n32(const hunze_int_packing *packing) { pack(packing, 32, 2); }
void hunze_pack_b_s8_k4n16(const hunze_int_packing *packing) { pack(packing, 16, 4); }
void hunze_pack_b_s8_k4n32(const hunze_int_packing *packing) { pack(packing, 32, 4); }
