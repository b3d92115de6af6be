/* SPDX-License-Identifier: Apache-2.0 */
/* Copies with any strides.  Where the two sides have their neighbours along different axes, a tile goes through shared memory, so that both are
 * read and written in lines. */
#ifndef HUNZE_COPY_CUH
#define HUNZE_COPY_CUH

#include "ptx.cuh"
#include "arguments_copy.h"

struct alignas(16) copy_16_bytes {
    uint32_t words[4];
};

/* [row][column]: rows are one word or element longer than a tile, so that a column's elements lie in different banks. */
template <typename T> struct copy_shared {
    T tile[HUNZE_CUDA_COPY_TILE][HUNZE_CUDA_COPY_TILE + (sizeof(T) < 4 ? 4 / sizeof(T) : 1)];
};

enum {
    COPY_TOGETHER = (1 << HUNZE_CUDA_COPY_SHIFT) / HUNZE_CUDA_COPY_THREADS
}; /* elements of a thread, on their way at once */

template <typename T>
HUNZE_INLINE void copy_turned(const hunze_cuda_copy &p, T *to, const T *from, int64_t rows, int64_t columns)
{
    enum { TILE = HUNZE_CUDA_COPY_TILE, STEP = HUNZE_CUDA_COPY_THREADS / TILE };
    copy_shared<T> &shared = SHARED(copy_shared<T>);
    const int lane = thread_index() % TILE, first = thread_index() / TILE;
    T values[COPY_TOGETHER];
#pragma unroll
    for (int i = 0; i < COPY_TOGETHER; i++) {
        const int column = first + i * STEP;
        if (INSIDE(lane < rows && column < columns))
            values[i] = load_global(from + lane * p.row_step[HUNZE_CUDA_COPY_FROM] +
                                    column * p.column_step[HUNZE_CUDA_COPY_FROM]);
    }
#pragma unroll
    for (int i = 0; i < COPY_TOGETHER; i++)
        if (lane < rows && first + i * STEP < columns)
            store_shared(&shared.tile[lane][first + i * STEP], values[i]);
    SYNC_BLOCK();
#pragma unroll
    for (int i = 0; i < COPY_TOGETHER; i++) {
        const int row = first + i * STEP;
        if (INSIDE(row < rows && lane < columns))
            store_global(to + row * p.row_step[HUNZE_CUDA_COPY_TO] + lane * p.column_step[HUNZE_CUDA_COPY_TO],
                         load_shared(&shared.tile[row][lane]));
    }
    SYNC_BLOCK(); /* before the next tile */
}

template <typename T>
HUNZE_INLINE void copy_straight(const hunze_cuda_copy &p, T *to, const T *from, int64_t rows, int64_t columns)
{
    const int mask = (1 << p.columns_shift) - 1;
    T values[COPY_TOGETHER];
#pragma unroll
    for (int i = 0; i < COPY_TOGETHER; i++) {
        const int at = thread_index() + i * HUNZE_CUDA_COPY_THREADS, row = at >> p.columns_shift, column = at & mask;
        if (INSIDE(row < rows && column < columns))
            values[i] = load_global(from + row * p.row_step[HUNZE_CUDA_COPY_FROM] +
                                    column * p.column_step[HUNZE_CUDA_COPY_FROM]);
    }
#pragma unroll
    for (int i = 0; i < COPY_TOGETHER; i++) {
        const int at = thread_index() + i * HUNZE_CUDA_COPY_THREADS, row = at >> p.columns_shift, column = at & mask;
        if (INSIDE(row < rows && column < columns))
            store_global(to + row * p.row_step[HUNZE_CUDA_COPY_TO] + column * p.column_step[HUNZE_CUDA_COPY_TO],
                         values[i]);
    }
}

template <typename T> HUNZE_INLINE void copy_tiles(const hunze_cuda_copy &p)
{
    const int columns_shift = p.columns_shift, rows_shift = HUNZE_CUDA_COPY_SHIFT - columns_shift;
#pragma unroll 1
    for (int64_t index = block_x(); index < p.tiles; index += blocks_x()) {
        int64_t rest = index / p.tiles_of_columns;
        const int64_t column = (index - rest * p.tiles_of_columns) << columns_shift;
        const int64_t outer = rest / p.tiles_of_rows, row = (rest - outer * p.tiles_of_rows) << rows_shift;
        int64_t to = row * p.row_step[HUNZE_CUDA_COPY_TO] + column * p.column_step[HUNZE_CUDA_COPY_TO];
        int64_t from = row * p.row_step[HUNZE_CUDA_COPY_FROM] + column * p.column_step[HUNZE_CUDA_COPY_FROM];
        rest = outer;
#pragma unroll 1
        for (int axis = p.axes - 1; axis >= 0; axis--) {
            const int64_t next = rest / p.extent[axis], at = rest - next * p.extent[axis];
            rest = next;
            to += at * p.stride[axis][HUNZE_CUDA_COPY_TO];
            from += at * p.stride[axis][HUNZE_CUDA_COPY_FROM];
        }
        T *to_tile = static_cast<T *>(p.to) + to;
        const T *from_tile = static_cast<const T *>(p.from) + from;
        if (p.turned)
            copy_turned<T>(p, to_tile, from_tile, p.rows - row, p.columns - column);
        else
            copy_straight<T>(p, to_tile, from_tile, p.rows - row, p.columns - column);
    }
}

#endif
