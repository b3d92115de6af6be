/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of an integer product as rows of k, four bytes per thread: 16 rows of 64 bytes are a block, and there are whole blocks. */
#ifndef HUNZE_PACK_INTEGER_CUH
#define HUNZE_PACK_INTEGER_CUH

#include "ptx.cuh"
#include "arguments_integer.h"

HUNZE_INLINE void pack_bytes(const hunze_cuda_pack_bytes &p)
{
    const int64_t words = p.bytes / 4, index = block_x() * HUNZE_CUDA_PACK_BYTES_THREADS + thread_index();
    const int64_t line = index / words, first = index % words * 4, row = line % p.rows;
    const uint8_t *w = static_cast<const uint8_t *>(p.w) + line / p.rows * p.w_group + row * p.w_row;
    uint32_t word = 0;
#pragma unroll 1
    for (int i = 0; i < 4; i++) {
        const int64_t k = first + i, tap = k / p.channels;
        if (INSIDE(row < p.n && k < p.k))
            word |= (uint32_t)load_global(
                        w + (tap / p.columns * p.tap[0] + tap % p.columns * p.tap[1] + k % p.channels * p.channel_step))
                    << 8 * i;
    }
    store_global(static_cast<uint32_t *>(p.to) + index, word);
}

#endif
