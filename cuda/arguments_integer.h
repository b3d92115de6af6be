/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers hand to the kernels of integer products and depthwise convolutions.  Elements of x, a, b and w are bytes. */
#ifndef HUNZE_CUDA_ARGUMENTS_INTEGER_H
#define HUNZE_CUDA_ARGUMENTS_INTEGER_H

#include "arguments_matrices.h"

#include <stdint.h>

/* ------------------------------------------------------------------ epilogue
 * v = sum + int_bias (over rows or over columns), then as hunze_int_epilogue (src/kernels.h) says.  Everything behind a pointer lies on the device. */
typedef struct hunze_cuda_int_epilogue {
    uint32_t output;         /* hunze_type */
    uint32_t activation;     /* hunze_activation_kind */
    float alpha, beta;       /* of the activation */
    int32_t low, high;       /* what an s32 result is clipped to */
    uint32_t direct;         /* codes by one factor: neither bias, residual nor activation */
    uint32_t canonical_nan;  /* of an f32 result */
    const int32_t *int_bias; /* NULL: none, as for all pointers here */
    int64_t int_bias_row, int_bias_column;
    const float *row_scale, *column_scale; /* NULL: 1 */
    int64_t row_scale_stride, column_scale_stride;
    const float *bias;
    int64_t bias_row, bias_column;
    const float *residual;
    int64_t residual_column;
    const float *output_scale;
    const void *output_zero_point; /* the output's type */
    int64_t output_stride;         /* of both, over columns */
    void *d;
    int64_t d_column;
} hunze_cuda_int_epilogue;

/* ------------------------------------------------------------------ products */

/* How an operand's bytes come into shared memory.  Along: neighbouring threads have neighbouring k; across: neighbouring rows. */
enum {
    HUNZE_CUDA_COPY_16,      /* k contiguous and all else a multiple of 16 bytes apart */
    HUNZE_CUDA_COPY_4,       /* of 4 bytes */
    HUNZE_CUDA_BYTES_ALONG,  /* anything */
    HUNZE_CUDA_BYTES_ACROSS, /* anything */
    HUNZE_CUDA_WORDS_ACROSS  /* rows contiguous and all else a multiple of 4 bytes apart */
};

/* Element (row, k) of A, or (column, k) of B, is at data + row*row_step + tap_row*tap[0] + tap_column*tap[1] + channel*channel_step, where
 * k = (tap_row, tap_column, channel), the last fastest.  A matrix has one tap. */
typedef struct hunze_cuda_bytes {
    const void *data;
    int64_t row_step; /* unused where rows are gathered */
    int64_t tap[2], channel_step;
    int32_t k;
    int32_t channels;                               /* per tap, >= 1 */
    int32_t columns;                                /* taps per tap row */
    int32_t tile_rows, tile_columns, tile_channels; /* where HUNZE_CUDA_TILE_K further along k leads */
    int32_t load;                                   /* HUNZE_CUDA_COPY_16 … */
    int32_t reserved;
} hunze_cuda_bytes;

/* Rows of A gathered from an image: tap (r, s) of output (y, x) is input row y*stride[0] - before[0] + r*dilation[0] and column likewise;
 * outside [0, in) it is A's zero point. */
typedef struct hunze_cuda_gather {
    int32_t in[2], stride[2], dilation[2], before[2];
    int64_t image, axis[2]; /* bytes between images, input rows, input columns */
} hunze_cuda_gather;

/* A product's rows as output positions (image, y, x); those of a matrix are x alone. */
typedef struct hunze_cuda_positions {
    int32_t height, width;
    int64_t d[3], residual[3]; /* elements between images, rows, columns */
} hunze_cuda_positions;

/* All that counts rows, columns, k, taps, positions of an image or tiles is below HUNZE_CUDA_INT_LIMIT. */
#define HUNZE_CUDA_INT_LIMIT (1 << 30)

typedef struct hunze_cuda_int_product {
    int32_t m, n, k;
    int32_t tiles_m, tiles_n; /* of one matrix; the grid has those of all */
    int32_t reserved;
    hunze_cuda_bytes a, b;
    const void *a_zero, *b_zero; /* NULL: 0 */
    int64_t a_zero_stride, b_zero_stride;
    hunze_cuda_gather gather;
    hunze_cuda_positions positions;
    hunze_cuda_matrices matrices; /* of a batch, or images and groups of a convolution */
    hunze_cuda_int_epilogue epilogue;
} hunze_cuda_int_product;

/* Tiles of D and of k, threads and shared memory of a block. */
enum {
    HUNZE_CUDA_TILE_K = 64,
    HUNZE_CUDA_INT_STAGES = 4,
    HUNZE_CUDA_INT_LARGE = 128, /* rows and columns of the large tile */
    HUNZE_CUDA_INT_LARGE_THREADS = 256,
    HUNZE_CUDA_INT_LARGE_SHARED = 72704,
    HUNZE_CUDA_INT_SMALL = 64,
    HUNZE_CUDA_INT_SMALL_THREADS = 128,
    HUNZE_CUDA_INT_SMALL_SHARED = 33808
};

/* ------------------------------------------------------------------ packing
 * Bytes of a group's `rows` rows of `bytes` each, at to + (group*rows + row)*bytes: row < n has its k in the order of the sum, element
 * (tap_row, tap_column, channel) at w + group*w_group + row*w_row + tap_row*tap[0] + tap_column*tap[1] + channel*channel_step; all else is 0. */
typedef struct hunze_cuda_pack_bytes {
    const void *w;
    void *to;
    int64_t groups, rows, bytes; /* bytes: a multiple of 4 */
    int64_t n, k, channels, columns;
    int64_t w_group, w_row, tap[2], channel_step;
} hunze_cuda_pack_bytes;
enum { HUNZE_CUDA_PACK_BYTES_THREADS = 256, HUNZE_CUDA_PACK_ROWS = 16, HUNZE_CUDA_PACK_K = 64 };

/* ------------------------------------------------------------------ depthwise */

/* Sums over the taps of one channel each, x's padding being its zero point.  Blocks have 256 neighbours each of (major, minor), and groups
 * of blocks follow each other over the outer two axes.  Channels lie together: images, output rows, output columns, channels; else
 * images, channels, output rows, output columns. */
typedef struct hunze_cuda_int_depthwise {
    const void *x, *w;
    const void *x_zero, *w_zero; /* NULL: 0 */
    int64_t w_zero_stride;
    int64_t x_image, x_channel, x_axis[2]; /* bytes */
    int64_t w_channel, w_axis[2];
    int64_t d_image, d_axis[2], residual_image, residual_axis[2]; /* elements; the epilogue has those over channels */
    int32_t channels_last;
    int32_t outer;        /* extent of the second axis */
    int32_t major, minor; /* of the last two */
    int32_t blocks;       /* that share the outer two */
    int32_t kernel[2], in[2], stride[2], dilation[2], before[2];
    int32_t reserved;
    hunze_cuda_int_epilogue epilogue;
} hunze_cuda_int_depthwise;
enum { HUNZE_CUDA_DEPTHWISE_THREADS = 256 };

#endif
