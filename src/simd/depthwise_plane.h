/* Depthwise convolution of one channel's plane over the vector vocabulary: lanes are output columns, each accumulator one output row.
 *
 * Bound before inclusion, besides what depthwise.h wants:
 *   load_step(p, step)                         lane i is p[i * step], step 1 or 2; step * lanes elements are readable
 *   read_lanes, read_lanes_of(step, low, high) which lanes, [low, high), load_step_lanes(p, step, lanes, pad) reads; the others are pad
 *   set1_w(w), add_bias(sum, bias)
 *
 * Rows outside the plane are read from a row of padding.  3x3 and 5x5 taps that lie side by side: a stack of output rows shares each
 * vector of x, loaded once, r and s ascending for each output.  Anything else: tap by tap. */
#ifndef HUNZE_DEPTHWISE_PLANE_H
#define HUNZE_DEPTHWISE_PLANE_H

#include "../kernels.h"

enum { PLANE_STACK = VSUM_LANES >= 16 ? 8 : 4, PLANE_SQUARE = 5, PLANE_PAD = 2 * VSUM_LANES + PLANE_SQUARE };

/* One vector of columns, from output column j on. */
typedef struct plane_columns {
    const hunze_depthwise_plane *plane;
    const DEPTHWISE_X *pad; /* PLANE_PAD elements */
    int64_t j, left;        /* of its lanes so many are outputs */
    int64_t first;          /* the input column of lane 0 at tap column 0 */
} plane_columns;

/* Lanes whose input columns, from `first` on, lie in the plane. */
SIMD_INLINE read_lanes plane_lanes(const hunze_depthwise_plane *plane, int64_t first, int64_t step)
{
    const int64_t behind = plane->in[1] - first;
    const int64_t low = first >= 0 ? 0 : (-first + step - 1) / step;
    const int64_t end = behind <= 0 ? 0 : (behind + step - 1) / step;
    const int64_t high = end < VSUM_LANES ? end : VSUM_LANES;
    return read_lanes_of(step, low < high ? low : high, high);
}

/* The vector of columns from output column j on. */
SIMD_INLINE void plane_columns_at(plane_columns *columns, int64_t j, int64_t stride)
{
    const int64_t left = columns->plane->width - j;
    columns->j = j;
    columns->left = left < VSUM_LANES ? left : VSUM_LANES;
    columns->first = j * stride - columns->plane->before[1];
}

SIMD_INLINE void plane_store(const plane_columns *columns, int64_t y, vsum sum)
{
    const hunze_depthwise_plane *plane = columns->plane;
    if (plane->bias)
        sum = add_bias(sum, plane->bias);
    store((DEPTHWISE_SUM *)plane->t + y * plane->t_row + columns->j, sum, columns->left);
}

/* Output rows [y, y + rows).  rows, kernel, stride and inside are constants after inlining; inside: no column leaves the plane, else
 * lanes says what each tap column reads. */
SIMD_INLINE void plane_stack(const plane_columns *columns, int64_t y, const int rows, const int kernel,
                             const int stride, const bool inside, const read_lanes *lanes, const vsum *w)
{
    const hunze_depthwise_plane *plane = columns->plane;
    const int64_t top = y * stride - plane->before[0];
    const DEPTHWISE_X *x = (const DEPTHWISE_X *)plane->x + columns->first;
    vsum sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        sum[i] = vsum_zero();
#pragma GCC unroll 32
    for (int q = 0; q < (rows - 1) * stride + kernel; q++) {
        const DEPTHWISE_X *row =
            (uint64_t)(top + q) < (uint64_t)plane->in[0] ? x + (top + q) * plane->x_row : columns->pad;
#pragma GCC unroll 8
        for (int s = 0; s < kernel; s++) {
            vsum value = inside ? load_step(row + s, stride) : load_step_lanes(row + s, stride, &lanes[s], plane->pad);
            SIMD_KEEP(value); /* in its register, not loaded again for each use */
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                if (q - i * stride >= 0 && q - i * stride < kernel)
                    sum[i] = multiply_add(value, w[(q - i * stride) * kernel + s], sum[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        plane_store(columns, y + i, sum[i]);
}

/* All rows of one vector of columns: the last ones in a stack that overlaps the one before. */
SIMD_INLINE void plane_stacks(const plane_columns *columns, const int kernel, const int stride, const bool inside,
                              const read_lanes *lanes, const vsum *w)
{
    const int64_t height = columns->plane->height;
    int64_t y = 0;
    for (; y + PLANE_STACK <= height; y += PLANE_STACK)
        plane_stack(columns, y, PLANE_STACK, kernel, stride, inside, lanes, w);
    if (PLANE_STACK > 4 && y < height && (height - y <= 4 || height < PLANE_STACK))
        for (; y < height; y += 4)
            plane_stack(columns, y + 4 <= height ? y : height - 4, 4, kernel, stride, inside, lanes, w);
    else if (y < height)
        plane_stack(columns, height - PLANE_STACK, PLANE_STACK, kernel, stride, inside, lanes, w);
}

/* At least 4 rows; taps side by side: square kernel, one stride, dilation 1. */
SIMD_INLINE void plane_square(plane_columns columns, const int kernel, const int stride)
{
    const hunze_depthwise_plane *plane = columns.plane;
    vsum w[PLANE_SQUARE * PLANE_SQUARE];
    for (int tap = 0; tap < kernel * kernel; tap++)
        w[tap] = set1_w(((const DEPTHWISE_SUM *)plane->w)[tap * plane->w_step]);
    for (int64_t j = 0; j < plane->width; j += VSUM_LANES) {
        plane_columns_at(&columns, j, stride);
        if (columns.first >= 0 && columns.first + kernel - 1 + (int64_t)VSUM_LANES * stride <= plane->in[1]) {
            plane_stacks(&columns, kernel, stride, true, NULL, w);
            continue;
        }
        read_lanes lanes[PLANE_SQUARE];
        for (int s = 0; s < kernel; s++)
            lanes[s] = plane_lanes(plane, columns.first + s, stride);
        plane_stacks(&columns, kernel, stride, false, lanes, w);
    }
}

/* Output rows [y, y + rows) of any kernel.  rows is a constant after inlining, stride where it is 1 or 2, inside as above. */
SIMD_INLINE void plane_taps(const plane_columns *columns, int64_t y, const int rows, int64_t stride, const bool inside)
{
    const hunze_depthwise_plane *plane = columns->plane;
    const DEPTHWISE_SUM *w = plane->w;
    const vsum pad = load_step(columns->pad, 1);
    vsum sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        sum[i] = vsum_zero();
    for (int64_t r = 0; r < plane->kernel[0]; r++) {
        const int64_t from = y * plane->stride[0] - plane->before[0] + r * plane->dilation[0];
        for (int64_t s = 0; s < plane->kernel[1]; s++, w += plane->w_step) {
            const int64_t shift = columns->first + s * plane->dilation[1];
            const DEPTHWISE_X *x = (const DEPTHWISE_X *)plane->x + from * plane->x_row + shift;
            const vsum tap = set1_w(*w);
            read_lanes lanes;
            if (!inside)
                lanes = plane_lanes(plane, shift, stride);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++, x += plane->stride[0] * plane->x_row) {
                const bool row_inside = (uint64_t)(from + i * plane->stride[0]) < (uint64_t)plane->in[0];
                const vsum value = !row_inside ? pad
                                   : inside    ? load_step(x, stride)
                                               : load_step_lanes(x, stride, &lanes, plane->pad);
                sum[i] = multiply_add(value, tap, sum[i]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        plane_store(columns, y + i, sum[i]);
}

SIMD_INLINE void plane_any(plane_columns columns, int64_t stride)
{
    const hunze_depthwise_plane *plane = columns.plane;
    const int64_t reach = (plane->kernel[1] - 1) * plane->dilation[1];
    for (int64_t j = 0; j < plane->width; j += VSUM_LANES) {
        plane_columns_at(&columns, j, stride);
        const bool inside =
            stride <= 2 && columns.first >= 0 && columns.first + reach + (int64_t)VSUM_LANES * stride <= plane->in[1];
        int64_t y = 0;
        for (; y + 8 <= plane->height; y += 8)
            if (inside)
                plane_taps(&columns, y, 8, stride, true);
            else
                plane_taps(&columns, y, 8, stride, false);
        for (; y < plane->height; y++)
            plane_taps(&columns, y, 1, stride, false);
    }
}

SIMD_INLINE void depthwise_plane(const hunze_depthwise_plane *plane)
{
    const int64_t kernel = plane->kernel[0], stride = plane->stride[0];
    /* Four lanes, where a multiply-add may be a hundred instructions, gain nothing from code so long. */
    const bool square = VSUM_LANES >= 8 && plane->kernel[1] == kernel && plane->stride[1] == stride &&
                        plane->dilation[0] == 1 && plane->dilation[1] == 1 && plane->height >= 4;
    DEPTHWISE_X pad[PLANE_PAD];
    for (int i = 0; i < PLANE_PAD; i++)
        pad[i] = (DEPTHWISE_X)plane->pad;
    const plane_columns columns = {.plane = plane, .pad = pad};
    if (square && kernel == 3 && stride == 1)
        plane_square(columns, 3, 1);
    else if (square && kernel == 3 && stride == 2)
        plane_square(columns, 3, 2);
    else if (square && kernel == 5 && stride == 1)
        plane_square(columns, 5, 1);
    else if (square && kernel == 5 && stride == 2)
        plane_square(columns, 5, 2);
    else if (plane->stride[1] == 1)
        plane_any(columns, 1);
    else if (plane->stride[1] == 2)
        plane_any(columns, 2);
    else
        plane_any(columns, plane->stride[1]);
}

#endif
