/* SPDX-License-Identifier: Apache-2.0 */
/* What the launchers of floating-point products and depthwise convolutions share. */
#ifndef HUNZE_CUDA_OPERANDS_FLOAT_H
#define HUNZE_CUDA_OPERANDS_FLOAT_H

#include "cuda.h"
#include "arguments_float.h"
#include "../src/conv.h"

/* tiles_float.c */
/* NULL if so many products of m x n fit a grid. */
const char *hunze_cuda_refuses_grid(int64_t m, int64_t n, int64_t products);
/* Fills in plan->choice for so many products of these extents. */
void hunze_cuda_choose_float_tile(struct hunze_plan *plan, int64_t m, int64_t n, int64_t k, int64_t products);
/* Fills in the tiles and starts `products` of them as the plan chose; partial: plan->choice.partial_bytes of workspace. */
hunze_status hunze_cuda_start_float_product(hunze_cuda_float_product *product, bool gathered, int64_t products,
                                            void *partial, const hunze_cuda_run *run);
const hunze_cuda_kernel *hunze_cuda_float_pack_of(hunze_type type);

/* How an operand of so many rows is loaded; others: all its other strides, or'ed. */
uint32_t hunze_cuda_load_of(const hunze_cuda_strided *operand, int64_t rows, int64_t others, int64_t bytes);

/* NULL if each index along the axes of a convolution, its padding and its taps fits 31 bits. */
const char *hunze_cuda_refuses_extents(const hunze_conv_shape *shape);
/* Bias, residual and the like of a convolution; d_column and residual_column are between channels. */
void hunze_cuda_conv_float_epilogue(const hunze_conv_shape *shape, const hunze_conv_operands *operands,
                                    hunze_cuda_float_epilogue *epilogue, hunze_cuda_positions *positions);

/* convolution_float.c */
/* Whether a convolution reads x once and as it lies, as a kernel of one tap does that meets no padding; then how. */
typedef struct hunze_cuda_positions_in_place {
    int axes;               /* of (image, row, column) that are rows of one product */
    int64_t x, y, residual; /* between rows; the last is the caller's */
} hunze_cuda_positions_in_place;
bool hunze_cuda_conv_in_place(const struct hunze_plan *plan, hunze_cuda_positions_in_place *at);
hunze_status hunze_cuda_launch_conv_float(const struct hunze_plan *plan, const hunze_call *call,
                                          const hunze_cuda_run *run);
const char *hunze_cuda_refuses_conv_float(const struct hunze_plan *plan);
void hunze_cuda_choose_conv_float(struct hunze_plan *plan, const hunze_call *call);
size_t hunze_cuda_workspace_conv_float(const struct hunze_plan *plan); /* but for plan->choice's */

#endif
