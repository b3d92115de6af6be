/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers hand to the kernels of floating-point products and depthwise convolutions.  Strides and offsets count elements; pointers are the
 * device's, NULL where an operand is absent. */
#ifndef HUNZE_CUDA_ARGUMENTS_FLOAT_H
#define HUNZE_CUDA_ARGUMENTS_FLOAT_H

#include "arguments_matrices.h"
#include "arguments_runs.h"

/* ------------------------------------------------------------------ products */

/* How an operand's elements come into shared memory, where they lie as [k][row]: neighbouring threads have neighbouring k, neighbouring rows,
 * or 16 bytes of rows that are contiguous, all else being a multiple of 16 bytes apart. */
enum { HUNZE_CUDA_ALONG_K, HUNZE_CUDA_ALONG_ROWS, HUNZE_CUDA_VECTORS };

/* Element (row, k) of A, or (column, k) of B, is at data + row*row_step + k*k_step. */
typedef struct hunze_cuda_strided {
    const void *data;
    int64_t row_step, k_step;
    uint32_t load; /* HUNZE_CUDA_ALONG_K, … */
    uint32_t reserved;
} hunze_cuda_strided;

/* One axis of a gather.  Output f + q*phases, f in [0, phases), meets at tap t the input
 *     q*row_step + row_first + (f + before + t*tap_step) / divisor
 * if the division leaves no rest and that input exists; else it meets padding.  A convolution has one phase and divisor 1 (and `before` in
 * row_first), its transpose the stride as divisor.  Taps that leave no rest for a phase are `period` apart; tap_step * period / divisor
 * and `inverse` multiply to -1 modulo period. */
typedef struct hunze_cuda_gather_axis {
    int32_t in, out, kernel;
    int32_t row_step, row_first;
    int32_t before, tap_step, divisor, phases;
    int32_t period, inverse;
    int32_t reserved;
    int64_t x; /* between inputs */
} hunze_cuda_gather_axis;

/* A's rows are output positions, its columns taps: k = (row, column, channel), the last fastest.  B is packed: [k][columns up to 16]. */
typedef struct hunze_cuda_gather {
    hunze_cuda_gather_axis axis[2];
    int64_t image, channel;
    int32_t channels;           /* of a group */
    uint32_t drops;             /* taps that leave a rest are no part of the sum, if weights are finite */
    const uint32_t *not_finite; /* 1 if a weight is no finite number; NULL: does not matter */
} hunze_cuda_gather;

/* A product's rows as positions (image, row, column) of D; those of a matrix are columns alone. */
typedef struct hunze_cuda_positions {
    int64_t images, height, width; /* of all phases */
    int64_t d[3], residual[3];     /* between images, rows, columns */
} hunze_cuda_positions;

/* t, then t + bias, + residual, act: each step rounded once. */
typedef struct hunze_cuda_float_epilogue {
    const void *bias, *residual;
    int64_t bias_row, bias_column, residual_column;
    uint32_t activation; /* hunze_activation_kind */
    float alpha, beta;   /* of the activation */
    uint32_t canonical_nan;
    void *d;
    int64_t d_column;
} hunze_cuda_float_epilogue;

typedef struct hunze_cuda_float_product {
    int64_t m, n, k; /* m: of a phase, the most */
    uint32_t tiles_m, tiles_n;
    double alpha, beta; /* alpha is 0 where k is */
    /* Not NULL: sums of K blocks, [K block][matrix][row of tiles][column of tiles][vector][thread], of tiles that the fold kernel has.  Each
     * K block has blocks of threads of its own, which write them; the fold kernel adds them to D. */
    void *partial;
    uint32_t k_blocks, products, partial_rows, partial_columns;
    hunze_cuda_strided a, b;
    const void *c; /* NULL: beta is 0 */
    int64_t c_row, c_column;
    hunze_cuda_gather gather;
    hunze_cuda_positions positions;
    hunze_cuda_matrices matrices;
    hunze_cuda_float_epilogue epilogue;
} hunze_cuda_float_product;

/* Tiles of D are square, of blocks with HUNZE_CUDA_FLOAT_THREADS threads and so much shared memory; a gather needs more. */
enum {
    HUNZE_CUDA_FLOAT_THREADS = 256,
    HUNZE_CUDA_F32_LARGE = 128,
    HUNZE_CUDA_F32_LARGE_SHARED = 67584,
    HUNZE_CUDA_F32_LARGE_GATHER = 3872,
    HUNZE_CUDA_F32_SMALL = 64,
    HUNZE_CUDA_F32_SMALL_SHARED = 27136,
    HUNZE_CUDA_F32_SMALL_GATHER = 2848,
    HUNZE_CUDA_F64_TILE = 64,
    HUNZE_CUDA_F64_SHARED = 51712,
    HUNZE_CUDA_F64_GATHER = 2848,
    HUNZE_CUDA_F64_FOLD = 32,
    HUNZE_CUDA_F64_FOLD_SHARED = 26624
};

/* ------------------------------------------------------------------ weights of a convolution, packed
 * Element (i, column) of a group goes to `to` + (group*k + i)*stride + column; columns from n to stride are 0. */
typedef struct hunze_cuda_pack {
    const void *w;
    void *to;
    uint32_t *not_finite; /* set to 1 where a weight is no finite number; NULL: nobody asks */
    int64_t groups, k, n, stride;
    int64_t w_group, w_column;
    /* k by three axes in the order of w's memory, the last fastest: extent, and steps in w and in k. */
    int64_t extent[3], w_step[3], k_step[3];
    int64_t tiles_k, tiles_n; /* of HUNZE_CUDA_PACK_TILE */
    uint32_t along_k;         /* neighbours in w are neighbours in k rather than columns */
    uint32_t reserved;
} hunze_cuda_pack;
enum {
    HUNZE_CUDA_PACK_TILE = 32,
    HUNZE_CUDA_PACK_THREADS = 256,
    HUNZE_CUDA_PACK_F32_SHARED = 4736,
    HUNZE_CUDA_PACK_F64_SHARED = 8960
};

/* ------------------------------------------------------------------ depthwise convolution, one output per thread */

/* Outputs have indices along image, channel, row and column, which are sorted as y lies in memory: order[3] is the axis along which neighbours
 * lie closest together.  The last two share blocks. */
typedef struct hunze_cuda_float_depthwise {
    const void *x, *w;
    int64_t x_image, x_channel, x_axis[2], w_channel, w_axis[2];
    int64_t extent[4]; /* of image, channel, row, column */
    int32_t order[4];
    uint32_t blocks_per_pair; /* of indices along the first two axes */
    int32_t in[2], kernel[2], stride[2], dilation[2], before[2];
    uint32_t d_f32, bias_f32, residual_f32; /* rather than of the type of x and w, be it bf16 or f16 */
    hunze_cuda_positions positions;
    hunze_cuda_float_epilogue epilogue; /* columns: channels */
} hunze_cuda_float_depthwise;
enum { HUNZE_CUDA_DEPTHWISE_FLOAT_THREADS = 256 };

/* ------------------------------------------------------------------ activation: operands y and x */
typedef struct hunze_cuda_activation {
    hunze_cuda_runs runs;
    void *y;
    const void *x;
    uint32_t activation; /* hunze_activation_kind */
    float alpha, beta;
    uint32_t canonical_nan;
} hunze_cuda_activation;

#endif
