/* SPDX-License-Identifier: Apache-2.0 */
/* Which tile of D is the index-th of a launch, and where its matrix' operands are. */
#ifndef HUNZE_TILE_ORDER_CUH
#define HUNZE_TILE_ORDER_CUH

#include "ptx.cuh"
#include "arguments_matrices.h"

struct tile_index {
    uint32_t row, column; /* of tiles */
    uint32_t matrix;
};

/* Tiles go through eight tile rows at a time, column by column, so that those at work together share operands in the L2 cache. */
HUNZE_INLINE tile_index tile_index_of(uint32_t tiles_m, uint32_t tiles_n, uint32_t index)
{
    constexpr uint32_t ROWS = 8;
    const uint32_t matrix = index / (tiles_m * tiles_n);
    index -= matrix * (tiles_m * tiles_n);
    const uint32_t first = index / (ROWS * tiles_n) * ROWS, height = tiles_m - first < ROWS ? tiles_m - first : ROWS;
    index -= first * tiles_n;
    return {first + index % height, index / height, matrix};
}

/* Elements from the first matrix to this one.  What is left of its number counts what goes around all axes. */
HUNZE_INLINE uint32_t tile_offsets(const hunze_cuda_matrices &matrices, uint32_t matrix,
                                   int64_t (&offset)[HUNZE_CUDA_OF_COUNT])
{
    for (int axis = matrices.axes - 1; axis >= 0; axis--) {
        const uint32_t at = matrix % matrices.extent[axis];
        matrix /= matrices.extent[axis];
        for (int operand = 0; operand < HUNZE_CUDA_OF_COUNT; operand++)
            offset[operand] += at * matrices.stride[axis][operand];
    }
    return matrix;
}

struct tile_place {
    int row, column; /* of D */
    int64_t offset[HUNZE_CUDA_OF_COUNT];
};

/* For arguments p, where tiles are so large. */
template <typename Product>
HUNZE_INLINE tile_place tile_place_of(const Product &p, int tile_m, int tile_n, uint32_t index)
{
    const tile_index tile = tile_index_of((uint32_t)p.tiles_m, (uint32_t)p.tiles_n, index);
    tile_place place = {(int)tile.row * tile_m, (int)tile.column * tile_n, {0}};
    tile_offsets(p.matrices, tile.matrix, place.offset);
    return place;
}

#endif
