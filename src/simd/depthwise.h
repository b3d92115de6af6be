/* Depthwise convolution over the vector vocabulary: lanes are channels, each accumulator one output.
 *
 * Bound before inclusion: DEPTHWISE_X (x's element), DEPTHWISE_SUM (element of w and t: float or int32_t), and over vectors of the
 * latter vsum, VSUM_LANES, vsum_zero, load_x and load_w (p, lanes left), multiply_add (x, w, sum) and store (p, v, lanes left).
 *
 * Eight outputs share each vector of w: 8 accumulators, each its own chain over the taps; x is read from memory as it is used.  Lanes
 * beyond the channels are masked; the last outputs of a row are computed in a block that overlaps its predecessor. */
#ifndef HUNZE_DEPTHWISE_H
#define HUNZE_DEPTHWISE_H

#include "../kernels.h"

/* Outputs [x, x + outputs) of channels [c, c + left), left at most a vector; outputs is a constant after inlining. */
SIMD_INLINE void depthwise_block(const hunze_depthwise_row *args, int64_t x, int outputs, int64_t c, int64_t left)
{
    vsum sum[8];
    const int64_t step = args->stride_x * args->column, dilation = args->dilation_x * args->column;
    const DEPTHWISE_SUM *w = (const DEPTHWISE_SUM *)args->w + c;
#pragma GCC unroll 8
    for (int i = 0; i < outputs; i++)
        sum[i] = vsum_zero();
    for (int32_t r = 0; r < args->kernel_h; r++) {
        const DEPTHWISE_X *from = (const DEPTHWISE_X *)args->row[r] + x * step + c;
        for (int32_t s = 0; s < args->kernel_w; s++, w += args->w_row, from += dilation) {
            const vsum tap = load_w(w, left);
#pragma GCC unroll 8
            for (int i = 0; i < outputs; i++)
                sum[i] = multiply_add(load_x(from + i * step, left), tap, sum[i]);
        }
    }
    DEPTHWISE_SUM *to = (DEPTHWISE_SUM *)args->t + x * args->t_column + c;
#pragma GCC unroll 8
    for (int i = 0; i < outputs; i++)
        store(to + i * args->t_column, sum[i], left);
}

/* Eight outputs whose taps lie side by side: each vector of x is loaded once per kernel row and serves the outputs that it is a tap
 * of, s ascending for each.  width, the kernel's, is a constant after inlining. */
SIMD_INLINE void depthwise_window(const hunze_depthwise_row *args, int64_t x, const int width, int64_t c, int64_t left)
{
    vsum sum[8], tap[5];
    const int64_t column = args->column;
    const DEPTHWISE_SUM *w = (const DEPTHWISE_SUM *)args->w + c;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sum[i] = vsum_zero();
    for (int32_t r = 0; r < args->kernel_h; r++) {
        const DEPTHWISE_X *from = (const DEPTHWISE_X *)args->row[r] + x * column + c;
#pragma GCC unroll 8
        for (int s = 0; s < width; s++, w += args->w_row)
            tap[s] = load_w(w, left);
#pragma GCC unroll 16
        for (int q = 0; q < 8 + width - 1; q++) {
            const vsum value = load_x(from + q * column, left);
#pragma GCC unroll 8
            for (int s = 0; s < width; s++)
                if (q - s >= 0 && q - s < 8)
                    sum[q - s] = multiply_add(value, tap[s], sum[q - s]);
        }
    }
    DEPTHWISE_SUM *to = (DEPTHWISE_SUM *)args->t + x * args->t_column + c;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        store(to + i * args->t_column, sum[i], left);
}

SIMD_INLINE void depthwise_outputs(const hunze_depthwise_row *args, int64_t x, int outputs)
{
    const bool window = outputs == 8 && args->stride_x == 1 && args->dilation_x == 1;
    for (int64_t c = 0; c < args->channels; c += VSUM_LANES) {
        const int64_t left = args->channels - c < VSUM_LANES ? args->channels - c : VSUM_LANES;
        if (window && args->kernel_w == 3 && left == VSUM_LANES)
            depthwise_window(args, x, 3, c, VSUM_LANES);
        else if (window && args->kernel_w == 5 && left == VSUM_LANES)
            depthwise_window(args, x, 5, c, VSUM_LANES);
        else if (left == VSUM_LANES)
            depthwise_block(args, x, outputs, c, VSUM_LANES);
        else
            depthwise_block(args, x, outputs, c, left);
    }
}

SIMD_INLINE void depthwise_row(const hunze_depthwise_row *args)
{
    if (args->width >= 8) {
        for (int64_t x = 0; x < args->width; x += 8)
            depthwise_outputs(args, x + 8 <= args->width ? x : args->width - 8, 8);
    } else if (args->width >= 4) {
        depthwise_outputs(args, 0, 4);
        if (args->width > 4)
            depthwise_outputs(args, args->width - 4, 4);
    } else {
        for (int64_t x = 0; x < args->width; x++)
            depthwise_outputs(args, x, 1);
    }
}

#endif
