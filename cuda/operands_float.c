/* SPDX-License-Identifier: Apache-2.0 */
#include "operands_float.h"

#include <stdlib.h>

uint32_t hunze_cuda_load_of(const hunze_cuda_strided *operand, int64_t rows, int64_t others, int64_t bytes)
{
    enum { FEW_ROWS = 8 };
    if (operand->row_step == 1 && rows > 1 && ((operand->k_step | others) * bytes) % 16 == 0 &&
        (uintptr_t)operand->data % 16 == 0)
        return HUNZE_CUDA_VECTORS;
    return rows >= FEW_ROWS && llabs(operand->row_step) < llabs(operand->k_step) ? HUNZE_CUDA_ALONG_ROWS
                                                                                 : HUNZE_CUDA_ALONG_K;
}

const char *hunze_cuda_refuses_extents(const hunze_conv_shape *shape)
{
    for (int axis = 0; axis < 2; axis++) {
        int64_t sum = shape->before[axis] + shape->after[axis], reach;
        if (__builtin_mul_overflow(shape->kernel[axis] - 1, shape->dilation[axis], &reach) ||
            __builtin_add_overflow(sum, reach, &sum) || __builtin_add_overflow(sum, shape->in[axis], &sum) ||
            __builtin_add_overflow(sum, shape->out[axis], &sum) || sum >= INT32_MAX)
            return "needs extents, padding and dilated kernels below 2^31 together";
    }
    return NULL;
}

void hunze_cuda_conv_float_epilogue(const hunze_conv_shape *shape, const hunze_conv_operands *operands,
                                    hunze_cuda_float_epilogue *epilogue, hunze_cuda_positions *positions)
{
    *epilogue = (hunze_cuda_float_epilogue){
        .bias = operands->bias,
        .bias_column = operands->bias_stride,
        .residual = operands->residual,
        .residual_column = operands->residual_c,
        .activation = operands->activation,
        .alpha = operands->alpha,
        .beta = operands->beta,
        .canonical_nan = operands->canonical_nan,
        .d = operands->y,
        .d_column = shape->y_c,
    };
    *positions = (hunze_cuda_positions){
        .images = shape->n,
        .height = shape->out[0],
        .width = shape->out[1],
        .d = {shape->y_n, shape->y_axis[0], shape->y_axis[1]},
        .residual = {operands->residual_n, operands->residual_axis[0], operands->residual_axis[1]},
    };
}
