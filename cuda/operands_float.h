/* SPDX-License-Identifier: Apache-2.0 */
/* What the launchers of floating-point products and depthwise convolutions share. */
#ifndef HUNZE_CUDA_OPERANDS_FLOAT_H
#define HUNZE_CUDA_OPERANDS_FLOAT_H

#include "cuda.h"
#include "arguments_float.h"
#include "../src/conv.h"

/* Kernels of one type, and how much a tile is worth. */
typedef struct hunze_cuda_float_tile {
    int32_t tile;      /* rows and columns */
    double efficiency; /* of a multiprocessor that has enough of them */
    const hunze_cuda_kernel *strided, *gathered;
} hunze_cuda_float_tile;
typedef struct hunze_cuda_float_kernels {
    const hunze_cuda_float_tile *tiles; /* smallest first */
    int count;
    const hunze_cuda_kernel *pack;
} hunze_cuda_float_kernels;
const hunze_cuda_float_kernels *hunze_cuda_float_kernels_of(hunze_type type);

/* NULL if so many products of m x n fit a grid. */
const char *hunze_cuda_refuses_grid(int64_t m, int64_t n, int64_t products);
/* Fills in the tiles and starts `products` of them. */
hunze_status hunze_cuda_start_float_product(hunze_cuda_float_product *product, bool gathered, int64_t products,
                                            const hunze_cuda_run *run);

/* How an operand of so many rows is loaded; others: all its other strides, or'ed. */
uint32_t hunze_cuda_load_of(const hunze_cuda_strided *operand, int64_t rows, int64_t others, int64_t bytes);

/* NULL if each index along the axes of a convolution, its padding and its taps fits 31 bits. */
const char *hunze_cuda_refuses_extents(const hunze_conv_shape *shape);
/* Bias, residual and the like of a convolution; d_column and residual_column are between channels. */
void hunze_cuda_conv_float_epilogue(const hunze_conv_shape *shape, const hunze_conv_operands *operands,
                                    hunze_cuda_float_epilogue *epilogue, hunze_cuda_positions *positions);

/* convolution_float.c */
hunze_status hunze_cuda_launch_conv_float(const struct hunze_plan *plan, const hunze_call *call,
                                          const hunze_cuda_run *run);
const char *hunze_cuda_refuses_conv_float(const struct hunze_plan *plan);

#endif
