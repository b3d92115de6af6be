/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of u8 or s8 with s8, exact in s32 (wrapping): a thread has one output.  Taps outside the image hold x's zero point, so
 * they add nothing. */
#ifndef HUNZE_DEPTHWISE_INTEGER_CUH
#define HUNZE_DEPTHWISE_INTEGER_CUH

#include "epilogue_integer.cuh"

template <bool SIGNED> HUNZE_INLINE void depthwise_integer(const hunze_cuda_int_depthwise &p)
{
    const int block = (int)block_x() % p.blocks, outer = (int)block_x() / p.blocks;
    const int64_t inner = (int64_t)block * HUNZE_CUDA_DEPTHWISE_THREADS + thread_index();
    if (!INSIDE(inner < (int64_t)p.major * p.minor))
        return;
    const int image = outer / p.outer, second = outer % p.outer;
    const int major = (int)(inner / p.minor), minor = (int)(inner % p.minor);
    const int channel = p.channels_last ? minor : second, y = p.channels_last ? second : major,
              x = p.channels_last ? major : minor;

    const int32_t x_zero = p.x_zero ? load_byte(p.x_zero, 0, SIGNED) : 0;
    const int32_t w_zero = p.w_zero ? load_byte(p.w_zero, channel * p.w_zero_stride, true) : 0;
    const char *from = static_cast<const char *>(p.x) + image * p.x_image + channel * p.x_channel;
    const char *tap = static_cast<const char *>(p.w) + channel * p.w_channel;
    const int in_y = y * p.stride[0] - p.before[0], in_x = x * p.stride[1] - p.before[1];
    int32_t sum = 0;
    for (int r = 0; r < p.kernel[0]; r++) {
        const int row = in_y + r * p.dilation[0];
        if (!INSIDE(row >= 0 && row < p.in[0]))
            continue;
        for (int s = 0; s < p.kernel[1]; s++) {
            const int column = in_x + s * p.dilation[1];
            if (!INSIDE(column >= 0 && column < p.in[1]))
                continue;
            const int32_t value = load_byte(from, row * p.x_axis[0] + column * p.x_axis[1], SIGNED);
            const int32_t weight = load_byte(tap, r * p.w_axis[0] + s * p.w_axis[1], true);
            sum = wrapping_add(sum, (value - x_zero) * (weight - w_zero));
        }
    }
    const hunze_cuda_int_epilogue &e = p.epilogue;
    epilogue_store(
        e, wrapping_add(sum, epilogue_column_bias(e, channel)), 0, channel, epilogue_row_scale(e, 0),
        epilogue_column_of(e, channel), image * p.d_image + y * p.d_axis[0] + x * p.d_axis[1] + channel * e.d_column,
        image * p.residual_image + y * p.residual_axis[0] + x * p.residual_axis[1] + channel * e.residual_column);
}

#endif
