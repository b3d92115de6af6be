/* One GEMM tile of f32 or f64 (contract: hunze_float_tile in kernels.h), and the packing of its B.
 *
 * The including file has bound simd.h and float_type.h, for a B of bf16 or f16 also narrow_type.h, and says the tile: MR rows by NV vectors.  MR * NV accumulators, NV vectors of B and
 * one broadcast of A stay in registers: m, vectors, full and columns are constants in each inlined body, so that all loops over them
 * unroll.  Rows of A are addressed from one pointer for each five, which leaves the general registers enough. */
#ifndef HUNZE_SIMD_GEMM_FLOAT_H
#define HUNZE_SIMD_GEMM_FLOAT_H

#include "../kernels.h"
#include "by_rows.h"

#include <string.h>

enum { NR = NV * VF_LANES };

#ifdef HUNZE_NARROW_TYPE_H
typedef narrow b_scalar;
enum { GEMM_FLOAT_NARROW = 1 };
#else
typedef scalar b_scalar;
enum { GEMM_FLOAT_NARROW = 0 };
#endif

/* Added by fma to alpha * s, it changes no bit of the product, signed zeros included. */
static const scalar gemm_negative_zeros[NR] = {[0 ... NR - 1] = (scalar)-0.0};

/* Element (i, 0) of A; columns: a_row is 1. */
SIMD_INLINE scalar gemm_float_a(const scalar *a, const char *const group[], int64_t row_bytes, int i, bool columns)
{
    return columns ? a[i] : *(const scalar *)(group[i / 5] + i % 5 * row_bytes);
}

SIMD_INLINE vf gemm_float_load(const scalar *p, int64_t n, int v, int vectors, bool full)
{
    if (full || v + 1 < vectors)
        return vf_load(p + v * VF_LANES);
    return vf_load_first(p + v * VF_LANES, n - v * VF_LANES);
}

#ifdef HUNZE_NARROW_TYPE_H
SIMD_INLINE vf gemm_float_load_b(const b_scalar *p, int64_t n, int v, int vectors, bool full)
{
    (void)n, (void)vectors, (void)full; /* whole vectors are there */
    return vf_load_narrow(p + v * VF_LANES);
}
#else
#define gemm_float_load_b gemm_float_load
#endif

/* t from the sums of a tile (hunze_float_tile).  n is tile->n, read before the sums formed: there is a register for it. */
SIMD_INLINE void gemm_float_store(const hunze_float_tile *tile, int64_t n, vf acc[MR][NV], const int m,
                                  const int vectors, const bool full)
{
    const bool first = tile->flags & HUNZE_TILE_FIRST, read_c = tile->flags & HUNZE_TILE_READ_C;
    scalar *t = tile->t;
    const scalar *addend = !first ? t : read_c ? tile->c : gemm_negative_zeros;
    const int64_t addend_row = !first ? tile->t_row : read_c ? tile->c_row : 0;
    const vf alpha = vf_set1(*(const scalar *)tile->alpha);
    const vf factor = vf_set1(first && read_c ? *(const scalar *)tile->beta : 1);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            vf sum = vf_fma(alpha, acc[i][v], vf_mul(factor, gemm_float_load(addend, n, v, vectors, full)));
            if (full || v + 1 < vectors || n == vectors * VF_LANES)
                vf_store(t + v * VF_LANES, sum);
            else
                vf_store_first(t + v * VF_LANES, sum, n - v * VF_LANES);
        }
        addend += addend_row;
        t += tile->t_row;
    }
}

/* t comes from beyond L2 while the sums form (1 to 2 % at 1024^3); into L2, since its rows may share a set of L1.  Rows seldom begin with a
 * line: those of two lines lie in three (another 3 % at 1000^3). */
SIMD_INLINE void gemm_float_fetch_t(const hunze_float_tile *tile, const int m, const int vectors)
{
    enum { LINE = 64 / sizeof(scalar) };
    const int columns = vectors * VF_LANES;
    for (int i = 0; i < m; i++) {
        const scalar *t = (const scalar *)tile->t + i * tile->t_row;
        for (int j = 0; j < columns; j += LINE)
            __builtin_prefetch(t + j, 1, 2);
        if (columns > LINE)
            __builtin_prefetch(t + columns - 1, 1, 2);
    }
}

/* full: n == vectors * VF_LANES; else only the last vector is partly used.  offsets: b's rows stand where b_offset says. */
SIMD_INLINE void gemm_float_body(const hunze_float_tile *tile, const int m, const int vectors, const bool full,
                                 const bool columns, const bool offsets)
{
    const int64_t n = tile->n;
    const scalar *a = tile->a;
    const b_scalar *b = tile->b;
    const int64_t a_step = GEMM_FLOAT_NARROW && !columns ? 1 : tile->a_col;
    const int64_t b_step = tile->b_row, row_bytes = tile->a_row * (int64_t)sizeof(scalar);
    const char *group[(MR + 4) / 5];
#pragma GCC unroll 8
    for (int g = 0; g < (m + 4) / 5; g++)
        group[g] = (const char *)a + 5 * g * row_bytes;

    enum {
        B_LINE = 64 / sizeof(b_scalar),
        AHEAD = 16 /* rows of B: covers L3 (2 to 5 % on AVX2) */
    };
    gemm_float_fetch_t(tile, m, vectors);
    vf acc[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            acc[i][v] = vf_set1(0);
    if (tile->start) {
        const scalar *start = tile->start;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++, start += tile->start_row)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vf_load(start + v * VF_LANES);
    }

    const char *ahead = GEMM_FLOAT_NARROW && tile->ahead ? tile->ahead : (const char *)b;
    const int64_t ahead_bytes = GEMM_FLOAT_NARROW ? tile->ahead_bytes : 0;
    const int32_t *b_offset = tile->b_offset;
    for (int64_t p = tile->k; p > 0; p--) {
        vf b_v[NV];
        if (offsets)
            b = (const b_scalar *)tile->b + *b_offset++;
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            b_v[v] = gemm_float_load_b(b, n, v, vectors, full);
        if (!offsets) {
            for (int j = 0; j < vectors * VF_LANES; j += B_LINE)
                __builtin_prefetch(b + AHEAD * b_step + j, 0, 3);
            b += b_step;
        }
        if (GEMM_FLOAT_NARROW) {
            __builtin_prefetch(ahead, 0, 2);
            ahead += ahead_bytes;
        }
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            vf a_v = vf_set1(gemm_float_a(a, group, row_bytes, i, columns));
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vf_fma(a_v, b_v[v], acc[i][v]);
        }
        a += a_step;
#pragma GCC unroll 8
        for (int g = 0; g < (m + 4) / 5; g++)
            group[g] += a_step * (int64_t)sizeof(scalar);
    }
    gemm_float_store(tile, n, acc, m, vectors, full);
}

SIMD_INLINE void gemm_float_rows(const hunze_float_tile *tile, const int m)
{
#define BODY(vectors, full)                                                                                            \
    do {                                                                                                               \
        if (!GEMM_FLOAT_NARROW && tile->b_offset)                                                                      \
            gemm_float_body(tile, m, vectors, full, true, true);                                                       \
        else if (tile->a_row == 1)                                                                                     \
            gemm_float_body(tile, m, vectors, full, true, false);                                                      \
        else                                                                                                           \
            gemm_float_body(tile, m, vectors, full, false, false);                                                     \
    } while (0)
    if (tile->n == NR)
        BODY(NV, true);
    else if (tile->n > (NV - 1) * VF_LANES)
        BODY(NV, false);
    else
        BODY(NV - 1, false);
#undef BODY
}

_Static_assert(MR <= 14, "every m up to MR has its case");
_Static_assert(NV == 2, "n needs one vector or two");

SIMD_INLINE void gemm_float_tile(const hunze_float_tile *tile){BY_ROWS(MR, tile -> m, gemm_float_rows, tile)}

/* One row of B to one of a panel, columns from n on zero. */
SIMD_INLINE void gemm_float_pack_row(int64_t n, const b_scalar *b, b_scalar *panel)
{
#ifdef HUNZE_NARROW_TYPE_H
    for (int64_t j = 0; j < NR; j++)
        panel[j] = 0;
    if (n == NR)
        memcpy(panel, b, NR * sizeof *b);
    else
        memcpy(panel, b, (size_t)n * sizeof *b);
#else
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
        int64_t left = n - v * VF_LANES;
        vf_store(panel + v * VF_LANES,
                 left >= VF_LANES ? vf_load(b + v * VF_LANES) : vf_load_first(b + v * VF_LANES, left > 0 ? left : 0));
    }
#endif
}

#define pack_panel_row gemm_float_pack_row
#include "pack_panel.h"

SIMD_INLINE void gemm_float_pack_b(int64_t k, int64_t n, const b_scalar *b, int64_t b_row, int64_t b_col,
                                   b_scalar *panel)
{
    pack_panel(k, n, b, b_row, b_col, panel);
}

#endif
