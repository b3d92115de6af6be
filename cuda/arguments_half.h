/* SPDX-License-Identifier: Apache-2.0 */
/* What launchers hand to the kernels of bf16 and f16 products.  Strides and offsets count elements; pointers are the device's, NULL where an
 * operand is absent. */
#ifndef HUNZE_CUDA_ARGUMENTS_HALF_H
#define HUNZE_CUDA_ARGUMENTS_HALF_H

#include <stdint.h>

/* t = alpha * sum + beta * c, then t + bias, + residual, act, each step rounded once to f32; then t is rounded once to D's type.  Whoever
 * calls it knows where rows begin. */
typedef struct hunze_cuda_half_epilogue {
    void *d;
    const void *c, *bias, *residual; /* c is of D's type; NULL: beta is 0 */
    int64_t d_column, c_column, bias_column, residual_column;
    float alpha, beta;
    uint32_t activation; /* hunze_activation_kind */
    float activation_alpha, activation_beta;
    uint32_t d_f32, bias_f32, residual_f32; /* rather than of the product's type */
    uint32_t pairs;                         /* an even column of D and the next are neighbours, and aligned together */
} hunze_cuda_half_epilogue;

#endif
