/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers hand to the bf16 and f16 products of compute capability 9.0. */
#ifndef HUNZE_CUDA_ARGUMENTS_WGMMA_H
#define HUNZE_CUDA_ARGUMENTS_WGMMA_H

#include "arguments_float.h"
#include "arguments_half.h"
#include "tensor_map.h"

/* A tile of D; so much k at a time, in so many stages; then sums on their way to D, and barriers. */
enum {
    HUNZE_CUDA_WGMMA_M = 128,
    HUNZE_CUDA_WGMMA_N = 256,
    HUNZE_CUDA_WGMMA_K = 64,
    HUNZE_CUDA_WGMMA_STAGES = 4,
    HUNZE_CUDA_WGMMA_THREADS = 384,
    HUNZE_CUDA_WGMMA_STAGE_BYTES = (HUNZE_CUDA_WGMMA_M + HUNZE_CUDA_WGMMA_N) * HUNZE_CUDA_WGMMA_K * 2,
    HUNZE_CUDA_WGMMA_SHARED = HUNZE_CUDA_WGMMA_STAGES * HUNZE_CUDA_WGMMA_STAGE_BYTES + 32768 + 64
};

/* Maps: the contiguous axis, the other one of the matrix, matrices.  Their boxes, by which axis is contiguous:
 *     k      K x (M or N) x 1
 *     rows   64 x K x 1, the next 64 rows (B: columns) by another copy */
typedef struct hunze_cuda_wgmma_product {
    hunze_tensor_map a, b;
    int64_t m, n;
    uint32_t steps;                   /* of k; 0: the sums are 0 */
    uint32_t tiles_m, tiles_n, tiles; /* the last: of all matrices */
    uint32_t fours;                   /* four columns of D, of C and of the residual are neighbours, aligned together */
    int64_t d_row, c_row, bias_row, residual_row;
    hunze_cuda_matrices matrices; /* strides of A and B count matrices of their maps */
    hunze_cuda_half_epilogue epilogue;
} hunze_cuda_wgmma_product;

#endif
