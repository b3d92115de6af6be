/* SPDX-License-Identifier: Apache-2.0 */
/* What the launchers of integer products and of integer depthwise convolutions read from a call in the same way. */
#ifndef HUNZE_CUDA_OPERANDS_INTEGER_H
#define HUNZE_CUDA_OPERANDS_INTEGER_H

#include "cuda.h"
#include "arguments_integer.h"
#include "image_strides.h"

/* Per tensor: stride 0. */
typedef struct hunze_cuda_parameter {
    const void *values; /* NULL: none */
    int64_t stride;
} hunze_cuda_parameter;
hunze_cuda_parameter hunze_cuda_scale(const hunze_quant *quant);
hunze_cuda_parameter hunze_cuda_zero_point(const hunze_quant *quant);

/* All of an epilogue but what bias and residual are, their strides and d's. */
hunze_cuda_int_epilogue hunze_cuda_int_epilogue_of(const hunze_tensor *d, const hunze_quant *a, const hunze_quant *b,
                                                   const hunze_quant *output, const hunze_activation *activation,
                                                   uint32_t flags);
/* Of either type. */
void hunze_cuda_int_epilogue_bias(hunze_cuda_int_epilogue *epilogue, const hunze_tensor *bias, int64_t row,
                                  int64_t column);
/* Once bias and residual are there. */
void hunze_cuda_int_epilogue_finish(hunze_cuda_int_epilogue *epilogue);

#endif
