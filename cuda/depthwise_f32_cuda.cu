/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of f32: per output one fma per tap, in the order of the contract; taps outside the image count as +0. */
#define HUNZE_FLOAT_BITS 32
#include "arguments_float.h"
#include "vocabulary.cuh"
#include "../src/simd/float_type.h"
#include "../src/simd/activation.h"

enum { IMAGE, CHANNEL, ROW, COLUMN };

/* Of the indices in p's order that along an axis. */
HUNZE_INLINE int64_t depthwise_index(const hunze_cuda_float_depthwise &p, const int64_t (&index)[4], int axis)
{
    return p.order[0] == axis ? index[0] : p.order[1] == axis ? index[1] : p.order[2] == axis ? index[2] : index[3];
}

HUNZE_INLINE float depthwise_sum(const hunze_cuda_float_depthwise &p, const int64_t (&at)[4])
{
    const float *w = static_cast<const float *>(p.w) + at[CHANNEL] * p.w_channel;
    const float *x = static_cast<const float *>(p.x) + at[IMAGE] * p.x_image + at[CHANNEL] * p.x_channel;
    const int32_t y0 = (int32_t)at[ROW] * p.stride[0] - p.before[0],
                  x0 = (int32_t)at[COLUMN] * p.stride[1] - p.before[1];
    float sum = 0;
#pragma unroll 1
    for (int32_t r = 0; r < p.kernel[0]; r++) {
        const int32_t y_at = y0 + r * p.dilation[0];
        const bool row = y_at >= 0 && y_at < p.in[0];
        const float *from = x + y_at * p.x_axis[0], *tap = w + r * p.w_axis[0];
#pragma unroll 3
        for (int32_t s = 0; s < p.kernel[1]; s++) {
            const int32_t x_at = x0 + s * p.dilation[1];
            float value = 0;
            if (INSIDE(row && x_at >= 0 && x_at < p.in[1]))
                value = load_global(from + x_at * p.x_axis[1]);
            sum = fma_rn(value, load_global(tap + s * p.w_axis[1]), sum);
        }
    }
    return sum;
}

KERNEL(hunze_depthwise_f32_cuda, HUNZE_CUDA_DEPTHWISE_FLOAT_THREADS, 4, hunze_cuda_float_depthwise)
{
    const hunze_cuda_float_depthwise &p = arguments;
    const hunze_cuda_float_epilogue &e = p.epilogue;
    const uint32_t block = (uint32_t)block_x(), pair = block / p.blocks_per_pair;
    const int64_t minor = p.extent[p.order[3]], second = p.extent[p.order[1]];
    const int64_t index =
        (int64_t)(block - pair * p.blocks_per_pair) * HUNZE_CUDA_DEPTHWISE_FLOAT_THREADS + thread_index();
    if (!INSIDE(index < p.extent[p.order[2]] * minor))
        return;
    const int64_t in_order[4] = {pair / second, pair % second, index / minor, index % minor};
    const int64_t at[4] = {depthwise_index(p, in_order, IMAGE), depthwise_index(p, in_order, CHANNEL),
                           depthwise_index(p, in_order, ROW), depthwise_index(p, in_order, COLUMN)};
    float v = depthwise_sum(p, at);
    if (e.bias)
        v = add_rn(v, load_global(static_cast<const float *>(e.bias) + at[CHANNEL] * e.bias_column));
    const int64_t *d = p.positions.d, *residual = p.positions.residual;
    if (e.residual)
        v = add_rn(v, load_global(static_cast<const float *>(e.residual) + at[IMAGE] * residual[0] +
                                  at[ROW] * residual[1] + at[COLUMN] * residual[2] + at[CHANNEL] * e.residual_column));
    const vf_activation act = vf_activation_of((hunze_activation_kind)e.activation, e.alpha, e.beta);
    v = vf_activate(&act, v);
    store_global(static_cast<float *>(e.d) + at[IMAGE] * d[0] + at[ROW] * d[1] + at[COLUMN] * d[2] +
                     at[CHANNEL] * e.d_column,
                 e.canonical_nan ? vf_canonical_nan(v) : v);
}
