/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers hand to the kernels of bf16 and f16 products by mma.sync.  Strides and offsets count elements; pointers are the device's. */
#ifndef HUNZE_CUDA_ARGUMENTS_PRODUCT_HALF_H
#define HUNZE_CUDA_ARGUMENTS_PRODUCT_HALF_H

#include "arguments_float.h"
#include "arguments_half.h"

/* How an operand comes into shared memory, where it lies as [row][k] or [k][row]: by runs of 16, 8 or 4 bytes that are contiguous along the last of
 * the two and so aligned, or element by element. */
enum { HUNZE_CUDA_HALF_RUNS_16, HUNZE_CUDA_HALF_RUNS_8, HUNZE_CUDA_HALF_RUNS_4, HUNZE_CUDA_HALF_ELEMENTS };

/* Element (row, k) of A, or (column, k) of B, is at data + row*row_step + k*k_step; where A is gathered, k_step is between channels. */
typedef struct hunze_cuda_half_operand {
    const void *data;
    int64_t row_step, k_step;
    uint32_t load;       /* HUNZE_CUDA_HALF_RUNS_16, … */
    uint32_t along_rows; /* as [k][row]; never where A is gathered */
} hunze_cuda_half_operand;

/* A's rows gathered from images: tap (r, s) of output (y, x) is input row y*step[0] + first[0] + r*tap[0], and input column likewise; outside
 * [0, in) it is 0.  k = (tap row, tap column, channel), the last fastest. */
typedef struct hunze_cuda_half_gather {
    int32_t in[2], step[2], first[2], tap[2];
    int32_t columns, channels;                      /* of a tap row, of a tap; >= 1 */
    int32_t tile_rows, tile_columns, tile_channels; /* where HUNZE_CUDA_HALF_K further along k leads */
    int32_t reserved;
    int64_t image, axis[2]; /* between images, input rows, input columns */
} hunze_cuda_half_gather;

/* All that counts rows, columns, k, taps or tiles is below HUNZE_CUDA_HALF_LIMIT. */
#define HUNZE_CUDA_HALF_LIMIT (1 << 30)

typedef struct hunze_cuda_half_product {
    int32_t m, n, k;
    int32_t tiles_m, tiles_n; /* of one matrix; the grid has those of all */
    int32_t reserved;
    hunze_cuda_half_operand a, b;
    hunze_cuda_half_gather gather;
    hunze_cuda_positions positions;
    int64_t c_row, bias_row;
    hunze_cuda_matrices matrices;
    hunze_cuda_half_epilogue epilogue;
} hunze_cuda_half_product;

/* Tiles of D (rows, columns), threads and shared memory of a block. */
enum {
    HUNZE_CUDA_HALF_K = 32,
    HUNZE_CUDA_HALF_STAGES = 4,
    HUNZE_CUDA_HALF_SMALL = 64,
    HUNZE_CUDA_HALF_SMALL_THREADS = 128,
    HUNZE_CUDA_HALF_SMALL_SHARED = 33792,
    HUNZE_CUDA_HALF_LARGE = 128,
    HUNZE_CUDA_HALF_WIDE = 256, /* columns of the wide tile, whose rows are the large one's */
    HUNZE_CUDA_HALF_THREADS = 256,
    HUNZE_CUDA_HALF_LARGE_SHARED = 67584,
    HUNZE_CUDA_HALF_WIDE_SHARED = 100352
};
enum { HUNZE_CUDA_PACK_HALF_SHARED = 2624 };

#endif
