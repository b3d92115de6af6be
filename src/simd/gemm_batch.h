/* Small products of f32 or f64 in place, a batch of them (contract: hunze_float_batch in kernels.h).
 *
 * The including file has bound simd.h and float_type.h, and says how many rows a tile of one to four vectors has: MR1 to MR4
 * (0: there is none).  Each number of rows and vectors has a body of its own, in which all sums stay in registers.  A matrix of one tile is a batch's inner loop. */
#ifndef HUNZE_SIMD_GEMM_BATCH_H
#define HUNZE_SIMD_GEMM_BATCH_H

#include "../kernels.h"
#include "by_rows.h"

enum { BATCH_NV = MR4 ? 4 : MR3 ? 3 : 2, BATCH_MR = MR1 > MR2 ? MR1 : MR2 };

/* The compiler makes no copies of a loop for values of x. */
#define BATCH_OPAQUE(x) __asm__("" : "+r"(x))

/* How much of a tile's last vector there is: all of it, n elements, or n of its lower half where a CPU does that faster. */
enum { BATCH_WHOLE, BATCH_PART, BATCH_HALF };

SIMD_INLINE vf batch_load_last(const scalar *p, int64_t n, const int last)
{
#ifdef SIMD_HALVES
    if (last == BATCH_HALF)
        return vf_half_load_first(p, n);
#endif
    return last == BATCH_WHOLE ? vf_load(p) : vf_load_first(p, n);
}

SIMD_INLINE vf batch_fma_last(vf a, vf b, vf c, const int last)
{
#ifdef SIMD_HALVES
    if (last == BATCH_HALF)
        return vf_half_fma(a, b, c);
#endif
    (void)last;
    return vf_fma(a, b, c);
}

SIMD_INLINE void batch_store_last(scalar *p, vf v, int64_t n, const int last)
{
#ifdef SIMD_HALVES
    if (last == BATCH_HALF) {
        vf_half_store_first(p, v, n);
        return;
    }
#endif
    if (last == BATCH_WHOLE)
        vf_store(p, v);
    else
#ifdef SIMD_PARTS
        vf_store_parts(p, v, n);
#else
        vf_store_first(p, v, n);
#endif
}

SIMD_INLINE vf batch_set1(scalar x, const bool half)
{
#ifdef SIMD_HALVES
    if (half)
        return vf_half_set1(x);
#endif
    (void)half;
    return vf_set1(x);
}

/* One tile of m rows in each of batch->count matrices. */
SIMD_INLINE void batch_body(const hunze_float_batch *batch, const int m, const int vectors, const int last)
{
    const int64_t n = batch->n - (vectors - 1) * VF_LANES;
    int64_t a_step = batch->a_col * (int64_t)sizeof(scalar);
    BATCH_OPAQUE(a_step); /* one loop for all steps */
    const int64_t a_row = batch->a_row * (int64_t)sizeof(scalar);
    const int64_t b_row = batch->b_row, d_row = batch->d_row;
    const char *a_first = batch->a, *c = batch->c;
    const scalar *b_first = batch->b;
    scalar *d = batch->d;
    const scalar alpha = *(const scalar *)batch->alpha, beta = c ? *(const scalar *)batch->beta : 0;
    const bool scaled = alpha != 1;
    for (int64_t left = batch->count; left > 0; left--) {
        const char *group[(BATCH_MR + 4) / 5];
#pragma GCC unroll 8
        for (int g = 0; g < (m + 4) / 5; g++)
            group[g] = a_first + 5 * g * a_row;
        vf acc[BATCH_MR][BATCH_NV];
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vf_set1(0);
        const scalar *b = b_first;
        for (int64_t p = batch->k; p > 0; p--) {
            vf b_v[BATCH_NV];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                b_v[v] = v + 1 < vectors ? vf_load(b + v * VF_LANES) : batch_load_last(b + v * VF_LANES, n, last);
            b += b_row;
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const vf a_v =
                    batch_set1(*(const scalar *)(group[i / 5] + i % 5 * a_row), vectors == 1 && last == BATCH_HALF);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    acc[i][v] =
                        v + 1 < vectors ? vf_fma(a_v, b_v[v], acc[i][v]) : batch_fma_last(a_v, b_v[v], acc[i][v], last);
            }
#pragma GCC unroll 8
            for (int g = 0; g < (m + 4) / 5; g++)
                group[g] += a_step;
        }
        if (c) {
            const vf beta_v = vf_set1(beta), alpha_v = vf_set1(alpha);
            const scalar *from = (const scalar *)c;
#pragma GCC unroll 16
            for (int i = 0; i < m; i++, from += batch->c_row)
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    const scalar *at = from + v * VF_LANES;
                    const vf c_v = v + 1 < vectors ? vf_load(at) : batch_load_last(at, n, last);
                    acc[i][v] = vf_fma(alpha_v, acc[i][v], vf_mul(beta_v, c_v));
                }
            c += batch->c_next;
        } else if (scaled) {
            const vf alpha_v = vf_set1(alpha);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++)
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    acc[i][v] = vf_mul(alpha_v, acc[i][v]);
        }
        scalar *to = d;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++, to += d_row)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                if (v + 1 < vectors)
                    vf_store(to + v * VF_LANES, acc[i][v]);
                else
                    batch_store_last(to + v * VF_LANES, acc[i][v], n, last);
        a_first += batch->a_next;
        b_first = (const scalar *)((const char *)b_first + batch->b_next);
        d = (scalar *)((char *)d + batch->d_next);
    }
}

/* Tiles of so many vectors.  A function for each number: in a larger one gcc moves the sums from register to register. */
#ifdef SIMD_HALVES
#define BATCH_TILE_OF_HALF(most, vectors) else BY_ROWS(most, batch->m, batch_body, batch, vectors, BATCH_HALF)
#else
#define BATCH_TILE_OF_HALF(most, vectors)
#endif
#define BATCH_TILE(most, vectors)                                                                                      \
    static __attribute__((noinline)) void batch_tile_##vectors(const hunze_float_batch *batch, int last)               \
    {                                                                                                                  \
        if (last == BATCH_WHOLE)                                                                                       \
            BY_ROWS(most, batch->m, batch_body, batch, vectors, BATCH_WHOLE)                                           \
        else if (last == BATCH_PART)                                                                                   \
            BY_ROWS(most, batch->m, batch_body, batch, vectors, BATCH_PART)                                            \
        BATCH_TILE_OF_HALF(most, vectors)                                                                              \
    }
BATCH_TILE(MR1, 1)
BATCH_TILE(MR2, 2)
#if MR3
BATCH_TILE(MR3, 3)
#endif
#if MR4
BATCH_TILE(MR4, 4)
#endif

SIMD_INLINE void batch_tile(const hunze_float_batch *batch, int64_t vectors)
{
    const int64_t n = batch->n - (vectors - 1) * VF_LANES;
    int last = n == VF_LANES ? BATCH_WHOLE : BATCH_PART;
#ifdef SIMD_HALVES
    if (n <= VF_LANES / 2)
        last = BATCH_HALF;
#endif
    switch (vectors) {
    case 1: batch_tile_1(batch, last); break;
    case 2: batch_tile_2(batch, last); break;
#if MR3
    case 3: batch_tile_3(batch, last); break;
#endif
#if MR4
    case 4: batch_tile_4(batch, last); break;
#endif
    }
}

/* Rows and columns that are more than a tile, cut into tiles of like height and width.  Those of the same rows follow one another, so that a B and D
 * that come from memory come row by row. */
static __attribute__((noinline)) void batch_tiles(const hunze_float_batch *batch, uint32_t vectors, const uint8_t *most)
{
    enum { SIZE = sizeof(scalar) };
    const uint32_t m = (uint32_t)batch->m, across = (vectors + BATCH_NV - 1) / BATCH_NV;
    uint32_t narrow = vectors, wider = 0;  /* so many tiles have a vector more */
    if (__builtin_expect(across > 1, 1)) { /* else the division would be waited for */
        narrow = vectors / across;
        wider = vectors % across;
    }
    const uint32_t down = (m + most[narrow + (wider > 0)] - 1) / most[narrow + (wider > 0)];
    const uint32_t low = m / down, higher = m - low * down; /* so many tiles have a row more */
    hunze_float_batch tile = *batch;
    tile.count = 1;
    for (int64_t matrix = 0; matrix < batch->count; matrix++) {
        const char *a = (const char *)batch->a + matrix * batch->a_next;
        const char *b = (const char *)batch->b + matrix * batch->b_next;
        const char *c = batch->c ? (const char *)batch->c + matrix * batch->c_next : NULL;
        char *d = (char *)batch->d + matrix * batch->d_next;
        for (uint32_t y = 0; y < down; y++) {
            const int64_t rows = low + (y < higher);
            tile.m = rows;
            tile.a = a;
            int64_t j = 0;
            for (uint32_t x = 0; x < across; x++) {
                const int64_t width = narrow + (x < wider), columns = width * VF_LANES;
                tile.n = x + 1 < across ? columns : batch->n - j;
                tile.b = b + j * SIZE;
                tile.c = c ? c + j * SIZE : NULL;
                tile.d = d + j * SIZE;
                batch_tile(&tile, width);
                j += columns;
            }
            a += rows * batch->a_row * SIZE;
            c = c ? c + rows * batch->c_row * SIZE : NULL;
            d += rows * batch->d_row * SIZE;
        }
    }
}

SIMD_INLINE void gemm_float_batch(const hunze_float_batch *batch)
{
    static const uint8_t most[] = {0, MR1, MR2, MR3, MR4}; /* rows, by vectors */
    const int64_t vectors = (batch->n + VF_LANES - 1) / VF_LANES;
    if (vectors <= BATCH_NV && batch->m <= most[vectors])
        batch_tile(batch, vectors);
    else
        batch_tiles(batch, (uint32_t)vectors, most);
}

#endif
