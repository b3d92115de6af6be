/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of f32, bf16 or f16, computed in f32: per output one fma per tap, in the order of the contract; taps outside the image count
 * as +0.  The element says how its type becomes f32 and back; bias, residual and D are of it or f32. */
#ifndef HUNZE_DEPTHWISE_FLOAT_CUH
#define HUNZE_DEPTHWISE_FLOAT_CUH

#include "arguments_float.h"
#include "epilogue_half.cuh"

struct element_f32 {
    typedef float stored;
    HUNZE_MEMBER static float widen(float x) { return x; }
    HUNZE_MEMBER static float addend(const void *p, int64_t at, uint32_t)
    {
        return load_global(static_cast<const float *>(p) + at);
    }
    HUNZE_MEMBER static void store(const hunze_cuda_float_depthwise &p, int64_t at, float v)
    {
        store_global(static_cast<float *>(p.epilogue.d) + at, p.epilogue.canonical_nan ? vf_canonical_nan(v) : v);
    }
};

/* QUIET_NAN: what a NaN is where bits are to be the same everywhere. */
template <typename type, uint16_t QUIET_NAN> struct element_half {
    typedef uint16_t stored;
    HUNZE_MEMBER static float widen(uint16_t x) { return type::widen(x); }
    HUNZE_MEMBER static float addend(const void *p, int64_t at, uint32_t is_f32)
    {
        return half_load<type>(p, at, is_f32 != 0);
    }
    HUNZE_MEMBER static void store(const hunze_cuda_float_depthwise &p, int64_t at, float v)
    {
        if (p.d_f32)
            element_f32::store(p, at, v);
        else
            store_global(static_cast<uint16_t *>(p.epilogue.d) + at,
                         p.epilogue.canonical_nan && v != v ? QUIET_NAN : (uint16_t)type::round_pair(v, 0.0f));
    }
};
typedef element_half<type_bf16, 0x7FC0> element_bf16;
typedef element_half<type_f16, 0x7E00> element_f16;

enum { IMAGE, CHANNEL, ROW, COLUMN };

/* Of the indices in p's order that along an axis. */
HUNZE_INLINE int64_t depthwise_index(const hunze_cuda_float_depthwise &p, const int64_t (&index)[4], int axis)
{
    return p.order[0] == axis ? index[0] : p.order[1] == axis ? index[1] : p.order[2] == axis ? index[2] : index[3];
}

template <typename element>
HUNZE_INLINE float depthwise_sum(const hunze_cuda_float_depthwise &p, const int64_t (&at)[4])
{
    typedef typename element::stored stored;
    const stored *w = static_cast<const stored *>(p.w) + at[CHANNEL] * p.w_channel;
    const stored *x = static_cast<const stored *>(p.x) + at[IMAGE] * p.x_image + at[CHANNEL] * p.x_channel;
    const int32_t y0 = (int32_t)at[ROW] * p.stride[0] - p.before[0],
                  x0 = (int32_t)at[COLUMN] * p.stride[1] - p.before[1];
    float sum = 0;
#pragma unroll 1
    for (int32_t r = 0; r < p.kernel[0]; r++) {
        const int32_t y_at = y0 + r * p.dilation[0];
        const bool row = y_at >= 0 && y_at < p.in[0];
        const stored *from = x + y_at * p.x_axis[0], *tap = w + r * p.w_axis[0];
#pragma unroll 3
        for (int32_t s = 0; s < p.kernel[1]; s++) {
            const int32_t x_at = x0 + s * p.dilation[1];
            float value = 0;
            if (INSIDE(row && x_at >= 0 && x_at < p.in[1]))
                value = element::widen(load_global(from + x_at * p.x_axis[1]));
            sum = fma_rn(value, element::widen(load_global(tap + s * p.w_axis[1])), sum);
        }
    }
    return sum;
}

template <typename element> HUNZE_INLINE void depthwise_float(const hunze_cuda_float_depthwise &p)
{
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
    float v = depthwise_sum<element>(p, at);
    if (e.bias)
        v = add_rn(v, element::addend(e.bias, at[CHANNEL] * e.bias_column, p.bias_f32));
    const int64_t *d = p.positions.d, *residual = p.positions.residual;
    if (e.residual)
        v = add_rn(v, element::addend(e.residual,
                                      at[IMAGE] * residual[0] + at[ROW] * residual[1] + at[COLUMN] * residual[2] +
                                          at[CHANNEL] * e.residual_column,
                                      p.residual_f32));
    const vf_activation act = vf_activation_of((hunze_activation_kind)e.activation, e.alpha, e.beta);
    element::store(p, at[IMAGE] * d[0] + at[ROW] * d[1] + at[COLUMN] * d[2] + at[CHANNEL] * e.d_column,
                   vf_activate(&act, v));
}

#endif
