/* The end that all integer tiles share: rows [0, m), columns [0, n) of the sums to t. */
#ifndef HUNZE_GEMM_INT_STORE_H
#define HUNZE_GEMM_INT_STORE_H

#include "../kernels.h"

/* GNU vectors: gcc 12 copies and spills arrays of __m512i around vpdpbusd. */
typedef int32_t int_sums __attribute__((vector_size(sizeof(vi32))));

/* The lines of t that a row of the tile will be written to: their misses pass while the sums form. */
SIMD_INLINE void gemm_int_prefetch(const hunze_int_tile *tile, int i, const int vectors)
{
    const int32_t *t = tile->t + i * tile->t_row;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        __builtin_prefetch(t + v * VI32_LANES, 1);
}

/* t from the sums of its rows. */
SIMD_INLINE void gemm_int_store(const hunze_int_tile *tile, const int32_t *sums)
{
    const bool first = tile->flags & HUNZE_TILE_FIRST;
    int32_t *t = tile->t;
    for (int64_t i = 0; i < tile->m; i++, t += tile->t_row)
        for (int64_t j = 0; j < NV * VI32_LANES; j += VI32_LANES, sums += VI32_LANES) {
            const int64_t left = tile->n - j;
            const vi32 sum = vi32_load(sums);
            if (left >= VI32_LANES)
                vi32_store(t + j, first ? sum : vi32_add(sum, vi32_load(t + j)));
            else if (left > 0)
                vi32_store_first(t + j, first ? sum : vi32_add(sum, vi32_load_first(t + j, left)), left);
        }
}

#endif
