/* SPDX-License-Identifier: Apache-2.0 */
/* What the launchers of bf16 and f16 products share. */
#ifndef HUNZE_CUDA_OPERANDS_HALF_H
#define HUNZE_CUDA_OPERANDS_HALF_H

#include "cuda.h"
#include "arguments_product_half.h"

/* How an operand of so many rows and so much k is loaded; others: all its other strides, or'ed.  Steps along what is there once become 0. */
void hunze_cuda_half_set_load(hunze_cuda_half_operand *operand, int64_t rows, int64_t k, int64_t others);
/* The largest runs of elements that are contiguous, so many at a time, and whose distances are or'ed in `strides`. */
uint32_t hunze_cuda_half_load_of(const void *data, int64_t length, int64_t strides);

/* Where the d, c, bias and residual of a call begin, their types, and what is done to a sum; strides are the caller's. */
hunze_cuda_half_epilogue hunze_cuda_half_epilogue_of(const hunze_tensor *d, const hunze_tensor *c,
                                                     const hunze_tensor *bias, const hunze_tensor *residual,
                                                     const hunze_activation *activation);
/* Once strides are there: whether pairs of D are stored together. */
void hunze_cuda_half_set_pairs(hunze_cuda_half_product *product);

/* NULL if so many products of m x n x k fit. */
const char *hunze_cuda_half_refuses(int64_t m, int64_t n, int64_t k, int64_t products);
/* Modelled cycles of a multiprocessor for them. */
double hunze_cuda_half_cost(int64_t m, int64_t n, int64_t k, int64_t products, const hunze_cuda_device *device);
/* Chooses a tile and starts `products` of them. */
hunze_status hunze_cuda_half_start(hunze_cuda_half_product *product, bool gathered, int64_t products,
                                   const hunze_cuda_run *run);
/* Of the run's type. */
const hunze_cuda_kernel *hunze_cuda_half_pack_kernel(hunze_type type);

/* convolution_half.c */
hunze_status hunze_cuda_launch_conv_half(const struct hunze_plan *plan, const hunze_call *call,
                                         const hunze_cuda_run *run);
const char *hunze_cuda_refuses_conv_half(const struct hunze_plan *plan);
size_t hunze_cuda_workspace_conv_half(const struct hunze_plan *plan);

#endif
