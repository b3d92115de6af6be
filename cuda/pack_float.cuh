/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a convolution as rows of B, [k][columns up to 16], k in the order of the sum; and whether all of them are finite.  By tiles of
 * 32 k and 32 columns through shared memory, so that w is read and B written along their own contiguous axes. */
#ifndef HUNZE_PACK_FLOAT_CUH
#define HUNZE_PACK_FLOAT_CUH

#include "ptx.cuh"
#include "arguments_float.h"

template <typename T> struct pack_shared {
    T tile[HUNZE_CUDA_PACK_TILE][HUNZE_CUDA_PACK_TILE + 1]; /* [k][column] */
    int64_t w_at[HUNZE_CUDA_PACK_TILE], k_at[HUNZE_CUDA_PACK_TILE];
};

/* Infinities and NaN less themselves are NaN. */
template <typename T> HUNZE_INLINE bool pack_is_finite(T value) { return sub_rn(value, value) == 0; }
HUNZE_INLINE bool pack_is_finite(uint16_t) { return true; } /* bf16 or f16: nobody asks */

template <typename T> HUNZE_INLINE void pack_weights(const hunze_cuda_pack &p)
{
    enum { TILE = HUNZE_CUDA_PACK_TILE, STEP = HUNZE_CUDA_PACK_THREADS / TILE };
    pack_shared<T> &shared = SHARED(pack_shared<T>);
    const int lane = thread_index() % TILE, first = thread_index() / TILE;
    int64_t index = block_x();
    const int64_t column = index % p.tiles_n * TILE;
    index /= p.tiles_n;
    const int64_t k = index % p.tiles_k * TILE, group = index / p.tiles_k;
    if (first == 0) {
        int64_t rest = k + lane, w_at = 0, k_at = 0;
        for (int axis = 2; axis >= 0; axis--) {
            const int64_t at = rest % p.extent[axis];
            rest /= p.extent[axis];
            w_at += at * p.w_step[axis];
            k_at += at * p.k_step[axis];
        }
        store_shared(&shared.w_at[lane], w_at);
        store_shared(&shared.k_at[lane], k_at);
    }
    SYNC_BLOCK();
    const T *w = static_cast<const T *>(p.w) + group * p.w_group + column * p.w_column;
    bool finite = true;
    for (int i = first; i < TILE; i += STEP) {
        const int at_k = p.along_k ? lane : i, at_column = p.along_k ? i : lane;
        T value = 0;
        if (INSIDE(k + at_k < p.k && column + at_column < p.n))
            value = load_global(w + load_shared(&shared.w_at[at_k]) + at_column * p.w_column);
        finite = finite && pack_is_finite(value);
        store_shared(&shared.tile[at_k][at_column], value);
    }
    if (p.not_finite && !finite)
        atomic_or_global(p.not_finite, 1);
    SYNC_BLOCK();
    T *to = static_cast<T *>(p.to) + group * p.k * p.stride + column;
    for (int i = first; i < TILE; i += STEP)
        if (INSIDE(k + i < p.k && column + lane < p.stride))
            store_global(to + load_shared(&shared.k_at[i]) * p.stride + lane, load_shared(&shared.tile[i][lane]));
}

#endif
