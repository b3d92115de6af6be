/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise rows: f32 bit by bit in the order of the contract, integers exact. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { T, W, X, KERNEL_H = HARNESS_SLOTS - X }; /* slots; each tap's row has one of its own */

static bool has_depthwise(const hunze_row *row) { return row->depthwise != NULL; }

static void check_case(const hunze_row *row, harness_rng *rng, int64_t width, int64_t channels, int kernel_h,
                       int kernel_w, int stride, int dilation, harness_values values)
{
    const bool is_float = row->a == HUNZE_TYPE_F32;
    const hunze_type w_type = is_float ? HUNZE_TYPE_F32 : HUNZE_TYPE_S32;
    const size_t bytes = harness_bytes(row->a);
    const harness_side side = harness_u64(rng) & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    harness_case("width %lld channels %lld kernel %dx%d stride %d dilation %d %s, operands %s", (long long)width,
                 (long long)channels, kernel_h, kernel_w, stride, dilation, harness_values_name(values),
                 side == HARNESS_AT_END ? "at the end" : "at the start");
    const void *rows[KERNEL_H] = {0};
    hunze_depthwise_row args = {.kernel_h = kernel_h,
                                .kernel_w = kernel_w,
                                .width = width,
                                .channels = channels,
                                .row = rows,
                                .column = channels + harness_between(rng, 0, 3),
                                .stride_x = stride,
                                .dilation_x = dilation,
                                .w_row = channels + harness_between(rng, 0, 3)};
    const int64_t columns = width ? (width - 1) * stride + (int64_t)(kernel_w - 1) * dilation + 1 : 0;
    for (int r = 0; r < kernel_h; r++) {
        char *x = harness_place(
            X + r, (size_t)(columns && channels ? (columns - 1) * args.column + channels : 0) * bytes, bytes, side);
        for (int64_t column = 0; column < columns; column++)
            if (is_float)
                harness_fill(rng, row->a, x + (size_t)(column * args.column) * bytes, channels, values);
            else
                harness_fill_int(rng, row->a, x + column * args.column, channels, values == HARNESS_CONSTANT);
        rows[r] = x;
        harness_snapshot(X + r);
    }
    const int64_t taps = (int64_t)kernel_h * kernel_w;
    char *w = harness_place(W, (size_t)(channels ? (taps - 1) * args.w_row + channels : 0) * 4, 4, side);
    for (int64_t tap = 0; tap < taps; tap++) {
        char *line = w + (size_t)(tap * args.w_row) * 4;
        if (is_float)
            harness_fill(rng, w_type, line, channels, values == HARNESS_CANCEL ? HARNESS_CONSTANT : values);
        for (int64_t c = 0; !is_float && c < channels; c++) /* an s8 code less an s8 zero point */
            ((int32_t *)(void *)line)[c] =
                (int32_t)(values == HARNESS_CONSTANT ? -255 : harness_between(rng, -255, 255));
    }
    args.w = w;
    harness_snapshot(W);
    args.t_column = channels + harness_between(rng, 0, 5);
    char *t = harness_place(T, (size_t)(width && channels ? (width - 1) * args.t_column + channels : 0) * 4, 4, side);
    args.t = t;
    harness_snapshot(T);
    HARNESS_CALL(row->depthwise, HARNESS_ARGUMENT(&args));
    for (int64_t x = 0; x < width; x++)
        for (int64_t c = 0; c < channels; c++) {
            float s = 0;
            uint32_t sum = 0;
            for (int r = 0; r < kernel_h; r++)
                for (int q = 0; q < kernel_w; q++) {
                    const int64_t at = (x * stride + (int64_t)q * dilation) * args.column + c;
                    const int64_t w_at = (r * (int64_t)kernel_w + q) * args.w_row + c;
                    if (is_float)
                        s = fmaf(((const float *)rows[r])[at], ((const float *)args.w)[w_at], s);
                    else
                        sum += (uint32_t)((int32_t)harness_get(row->a, rows[r], at) * ((const int32_t *)args.w)[w_at]);
                }
            char *got = t + (size_t)(x * args.t_column + c) * 4;
            const void *want = is_float ? (const void *)&s : (const void *)&sum;
            harness_check(harness_same(row->d, got, want), "t[%lld,%lld] is %s, not %s", (long long)x, (long long)c,
                          harness_show(row->d, got), harness_show(row->d, want));
            memcpy(harness_remembered(T, got), got, 4);
        }
    harness_unchanged(T, "t outside the row");
    harness_unchanged(W, "w");
    for (int r = 0; r < kernel_h; r++)
        harness_unchanged(X + r, "x");
}

static void check_depthwise(const hunze_row *row)
{
    harness_rng rng = {51};
    harness_check(row->a != HUNZE_TYPE_F64, "this test has no f64");
    static const int64_t channels[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 64, 67, 129},
                         widths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 17};
    static const int kernels[][2] = {{1, 1}, {1, 3}, {3, 1}, {3, 3}, {5, 5}, {2, 4}, {7, 7}};
    for (size_t c = 0; c < sizeof channels / sizeof channels[0]; c++)
        for (size_t x = 0; x < sizeof widths / sizeof widths[0]; x++)
            for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
                if (harness_small() && (c + 3 * x + 5 * k) % 9)
                    continue;
                const uint64_t choice = harness_u64(&rng);
                check_case(row, &rng, widths[x], channels[c], kernels[k][0], kernels[k][1], 1 + (int)(choice & 1),
                           1 + (int)(choice >> 1 & 1),
                           (choice >> 2) % 3 ? HARNESS_UNIFORM : (harness_values)((choice >> 8) % HARNESS_VALUES));
            }
}

/* ------------------------------------------------------------------ planes */

static bool has_plane(const hunze_row *row) { return row->depthwise_plane != NULL; }

typedef struct plane_case {
    int64_t height, width, kernel[2], stride[2], dilation[2], before[2], after[2];
} plane_case;

/* Output (y, x) as the contract says: f32, or integers wrapping. */
static void plane_sum(const hunze_depthwise_plane *plane, hunze_type type, int64_t y, int64_t x, void *want)
{
    float f32 = 0;
    uint32_t sum = 0;
    for (int64_t r = 0; r < plane->kernel[0]; r++)
        for (int64_t q = 0; q < plane->kernel[1]; q++) {
            const int64_t row = y * plane->stride[0] - plane->before[0] + r * plane->dilation[0];
            const int64_t column = x * plane->stride[1] - plane->before[1] + q * plane->dilation[1];
            const int64_t at = row * plane->x_row + column, tap = (r * plane->kernel[1] + q) * plane->w_step;
            const bool inside = row >= 0 && row < plane->in[0] && column >= 0 && column < plane->in[1];
            if (type == HUNZE_TYPE_F32)
                f32 = fmaf(inside ? ((const float *)plane->x)[at] : 0, ((const float *)plane->w)[tap], f32);
            else
                sum += (uint32_t)((inside ? (int32_t)harness_get(type, plane->x, at) : plane->pad) *
                                  ((const int32_t *)plane->w)[tap]);
        }
    if (plane->bias)
        f32 += *(const float *)plane->bias;
    memcpy(want, type == HUNZE_TYPE_F32 ? (const void *)&f32 : &sum, 4);
}

static void check_plane_case(const hunze_row *row, harness_rng *rng, const plane_case *c, harness_values values)
{
    const bool is_float = row->a == HUNZE_TYPE_F32;
    const size_t bytes = harness_bytes(row->a);
    const harness_side side = harness_u64(rng) & 1 ? HARNESS_AT_END : HARNESS_AT_START;
    hunze_depthwise_plane plane = {.height = c->height, .width = c->width};
    for (int axis = 0; axis < 2; axis++) {
        const int64_t outputs = axis ? c->width : c->height;
        const int64_t span = (outputs - 1) * c->stride[axis] + (c->kernel[axis] - 1) * c->dilation[axis] + 1;
        plane.kernel[axis] = c->kernel[axis];
        plane.stride[axis] = c->stride[axis];
        plane.dilation[axis] = c->dilation[axis];
        plane.before[axis] = c->before[axis];
        plane.in[axis] = span - c->before[axis] - c->after[axis];
        if (plane.in[axis] < 1)
            plane.in[axis] = 1;
    }
    plane.x_row = plane.in[1] + harness_between(rng, 0, 3);
    plane.pad = is_float ? 0 : row->a == HUNZE_TYPE_U8 ? 131 : -77;
    plane.w_step = 1 + harness_between(rng, 0, 2);
    plane.t_row = plane.width + harness_between(rng, 0, 5);
    harness_case(
        "plane %lldx%lld of %lldx%lld kernel %lldx%lld stride %lld,%lld dilation %lld,%lld before %lld,%lld %s, "
        "operands %s",
        (long long)c->height, (long long)c->width, (long long)plane.in[0], (long long)plane.in[1],
        (long long)c->kernel[0], (long long)c->kernel[1], (long long)c->stride[0], (long long)c->stride[1],
        (long long)c->dilation[0], (long long)c->dilation[1], (long long)c->before[0], (long long)c->before[1],
        harness_values_name(values), side == HARNESS_AT_END ? "at the end" : "at the start");
    char *x = harness_place(X, (size_t)((plane.in[0] - 1) * plane.x_row + plane.in[1]) * bytes, bytes, side);
    for (int64_t i = 0; i < plane.in[0]; i++)
        if (is_float)
            harness_fill(rng, row->a, x + (size_t)(i * plane.x_row) * bytes, plane.in[1], values);
        else
            harness_fill_int(rng, row->a, x + i * plane.x_row, plane.in[1], values == HARNESS_CONSTANT);
    plane.x = x;
    harness_snapshot(X);
    const int64_t taps = c->kernel[0] * c->kernel[1];
    char *w = harness_place(W, (size_t)((taps - 1) * plane.w_step + 1) * 4, 4, side);
    for (int64_t tap = 0; tap < taps; tap++) {
        char *to = w + (size_t)(tap * plane.w_step) * 4;
        if (is_float)
            harness_fill(rng, HUNZE_TYPE_F32, to, 1, values == HARNESS_CANCEL ? HARNESS_CONSTANT : values);
        else
            *(int32_t *)(void *)to = (int32_t)harness_between(rng, -255, 255);
    }
    plane.w = w;
    harness_snapshot(W);
    const float bias = 0.25f;
    plane.bias = is_float && harness_u64(rng) & 1 ? &bias : NULL;
    plane.t = harness_place(T, (size_t)((plane.height - 1) * plane.t_row + plane.width) * 4, 4, side);
    harness_snapshot(T);
    HARNESS_CALL(row->depthwise_plane, HARNESS_ARGUMENT(&plane));
    for (int64_t y = 0; y < plane.height; y++)
        for (int64_t j = 0; j < plane.width; j++) {
            char *got = (char *)plane.t + (size_t)(y * plane.t_row + j) * 4;
            char want[4];
            plane_sum(&plane, row->a, y, j, want);
            harness_check(harness_same(row->d, got, want), "t[%lld,%lld] is %s, not %s", (long long)y, (long long)j,
                          harness_show(row->d, got), harness_show(row->d, want));
            memcpy(harness_remembered(T, got), got, 4);
        }
    harness_unchanged(T, "t outside the block");
    harness_unchanged(W, "w");
    harness_unchanged(X, "x");
}

static void check_plane(const hunze_row *row)
{
    harness_rng rng = {52};
    static const int64_t heights[] = {1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 17},
                         widths[] = {1, 2, 5, 8, 15, 16, 17, 33, 49};
    static const int64_t kernels[][2] = {{3, 3}, {5, 5}, {1, 1}, {3, 5}, {2, 4}, {7, 7}, {1, 9}};
    for (size_t h = 0; h < sizeof heights / sizeof heights[0]; h++)
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
            for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
                if (harness_small() && (h + 3 * w + 5 * k) % 7)
                    continue;
                const uint64_t choice = harness_u64(&rng);
                const int64_t stride = choice % 5 == 4 ? 3 : 1 + (int64_t)(choice % 2),
                              dilation = choice >> 8 & 3 ? 1 : 2;
                plane_case c = {
                    heights[h], widths[w], {kernels[k][0], kernels[k][1]}, {stride, stride}, {dilation, dilation},
                    {0},        {0}};
                if ((choice >> 16) % 5 == 0)
                    c.stride[0] = 3 - c.stride[0] > 0 ? 3 - c.stride[0] : 1;
                for (int axis = 0; axis < 2; axis++) { /* often 'same', sometimes more, or a block from the middle */
                    c.before[axis] = harness_between(&rng, 0, 3) ? c.kernel[axis] / 2 : harness_between(&rng, -3, 9);
                    c.after[axis] = harness_between(&rng, 0, 3) ? c.kernel[axis] / 2 : harness_between(&rng, -3, 9);
                }
                check_plane_case(row, &rng, &c,
                                 (choice >> 24) % 3 ? HARNESS_UNIFORM
                                                    : (harness_values)((choice >> 32) % HARNESS_VALUES));
            }
}

int main(int argc, char **argv)
{
    static const harness_part parts[] = {{"depthwise", has_depthwise, check_depthwise},
                                         {"plane", has_plane, check_plane}};
    return harness_main(argc, argv, "rows: depthwise convolution", parts, 2);
}
