/* SPDX-License-Identifier: Apache-2.0 */
/* Launches integer products: hunze_gemm, and hunze_conv as a product per group whose rows are output positions. */
#include "launchers.h"
#include "matrices.h"
#include "operands_integer.h"

#include "../src/conv.h"
#include "../src/device.h"
#include "../src/gemm.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ which kernel */

#define SMALL HUNZE_CUDA_INT_SMALL_THREADS, HUNZE_CUDA_INT_SMALL_SHARED
#define LARGE HUNZE_CUDA_INT_LARGE_THREADS, HUNZE_CUDA_INT_LARGE_SHARED
/* [rows are gathered][tile is large] */
static const hunze_cuda_kernel u8s8[2][2] = {{{"hunze_gemm_u8s8_cuda_64", &hunze_fatbin_gemm_u8s8_cuda, SMALL},
                                              {"hunze_gemm_u8s8_cuda_128", &hunze_fatbin_gemm_u8s8_cuda, LARGE}},
                                             {{"hunze_conv_u8s8_cuda_64", &hunze_fatbin_gemm_u8s8_cuda, SMALL},
                                              {"hunze_conv_u8s8_cuda_128", &hunze_fatbin_gemm_u8s8_cuda, LARGE}}};
static const hunze_cuda_kernel s8s8[2][2] = {{{"hunze_gemm_s8s8_cuda_64", &hunze_fatbin_gemm_s8s8_cuda, SMALL},
                                              {"hunze_gemm_s8s8_cuda_128", &hunze_fatbin_gemm_s8s8_cuda, LARGE}},
                                             {{"hunze_conv_s8s8_cuda_64", &hunze_fatbin_gemm_s8s8_cuda, SMALL},
                                              {"hunze_conv_s8s8_cuda_128", &hunze_fatbin_gemm_s8s8_cuda, LARGE}}};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_u8s8[] = {&u8s8[0][0], &u8s8[0][1], &u8s8[1][0], &u8s8[1][1],
                                                                 NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_gemm_s8s8[] = {&s8s8[0][0], &s8s8[0][1], &s8s8[1][0], &s8s8[1][1],
                                                                 NULL};

static const hunze_cuda_kernel pack = {"hunze_pack_s8_cuda", &hunze_fatbin_gemm_s8s8_cuda,
                                       HUNZE_CUDA_PACK_BYTES_THREADS, 0};

static int64_t tiles_of(int64_t m, int64_t n, int64_t matrices, int64_t tile)
{
    return hunze_ceil_div(m, tile) * hunze_ceil_div(n, tile) * matrices;
}

static hunze_status start(hunze_cuda_int_product *p, bool gathered, int64_t matrices, const hunze_cuda_run *run)
{
    const bool is_signed = run->plan->row->a == HUNZE_TYPE_S8;
    /* Large tiles read each operand half as often, but they must be as many as there are multiprocessors. */
    const bool large = p->m > HUNZE_CUDA_INT_SMALL && p->n > HUNZE_CUDA_INT_SMALL &&
                       tiles_of(p->m, p->n, matrices, HUNZE_CUDA_INT_LARGE) >= run->device->multiprocessors;
    const int32_t tile = large ? HUNZE_CUDA_INT_LARGE : HUNZE_CUDA_INT_SMALL;
    p->tiles_m = (int32_t)hunze_ceil_div(p->m, tile);
    p->tiles_n = (int32_t)hunze_ceil_div(p->n, tile);
    const hunze_cuda_kernel *kernel = is_signed ? &s8s8[gathered][large] : &u8s8[gathered][large];
    return hunze_cuda_start(run, kernel, tiles_of(p->m, p->n, matrices, tile), 1, 1, p, sizeof *p);
}

static const char *refuses(int64_t m, int64_t n, int64_t k, int64_t matrices)
{
    const int64_t limit = HUNZE_CUDA_INT_LIMIT;
    int64_t tiles;
    if (m >= limit || n >= limit || k >= limit)
        return "needs rows, columns and k below 2^30 each";
    if (__builtin_mul_overflow(tiles_of(m, n, 1, HUNZE_CUDA_INT_SMALL), matrices, &tiles) || tiles >= limit)
        return "needs fewer than 2^30 tiles of 64 x 64";
    return NULL;
}

/* ------------------------------------------------------------------ where bytes lie */

/* A matrix is one tap of k channels. */
static void set_taps(hunze_cuda_bytes *bytes, int64_t k, int64_t channels, int64_t columns)
{
    bytes->k = (int32_t)k;
    bytes->channels = (int32_t)hunze_most(channels, 1);
    bytes->columns = (int32_t)columns;
    const int64_t taps = HUNZE_CUDA_TILE_K / bytes->channels;
    bytes->tile_channels = HUNZE_CUDA_TILE_K % bytes->channels;
    bytes->tile_columns = (int32_t)(taps % columns);
    bytes->tile_rows = (int32_t)(taps / columns);
}

/* Taps whose bytes follow each other as k does are one. */
static void join_taps(hunze_cuda_bytes *bytes)
{
    const bool rows = bytes->k > (int64_t)bytes->columns * bytes->channels;
    if ((bytes->columns > 1 && bytes->tap[1] != bytes->channels * bytes->channel_step) ||
        (rows && bytes->tap[0] != bytes->columns * bytes->channels * bytes->channel_step))
        return;
    set_taps(bytes, bytes->k, bytes->k, 1);
}

/* row_step: bytes between neighbouring rows, where they are neighbours; steps: all other strides that are used, or'ed.  A copy of a matrix may end
 * behind k; one of a gathered row may not, since where that is padding all of the copy is. */
static void set_load(hunze_cuda_bytes *bytes, int64_t rows, int64_t row_step, bool gathered, int64_t steps)
{
    const bool one_tap = bytes->k <= bytes->channels;
    if (!one_tap)
        steps |= bytes->tap[0] | bytes->tap[1];
    steps |= (int64_t)(uintptr_t)bytes->data;
    const int64_t along = (rows > 1 ? row_step : 0) | steps, channels = one_tap && !gathered ? 0 : bytes->channels;
    const int64_t k_step = bytes->channels > 1 ? bytes->channel_step : bytes->tap[1];
    if (bytes->channel_step == 1 && (along | channels) % 16 == 0)
        bytes->load = HUNZE_CUDA_COPY_16;
    else if (bytes->channel_step == 1 && (along | channels) % 4 == 0)
        bytes->load = HUNZE_CUDA_COPY_4;
    else if (!gathered && rows > 1 && row_step == 1 && (steps | (bytes->channels > 1 ? k_step : 0)) % 4 == 0)
        bytes->load = HUNZE_CUDA_WORDS_ACROSS;
    else if (rows > 1 && bytes->k > 1 && llabs(row_step) < llabs(k_step))
        bytes->load = HUNZE_CUDA_BYTES_ACROSS;
    else
        bytes->load = HUNZE_CUDA_BYTES_ALONG;
}

/* Weights packed by hunze_cuda_pack_integer. */
static int64_t packed_k(int64_t k) { return hunze_ceil_div(k, HUNZE_CUDA_PACK_K) * HUNZE_CUDA_PACK_K; }
static int64_t packed_rows(int64_t n) { return hunze_ceil_div(n, HUNZE_CUDA_PACK_ROWS) * HUNZE_CUDA_PACK_ROWS; }
static hunze_cuda_bytes packed_bytes(const hunze_tensor *blob, int64_t k)
{
    return (hunze_cuda_bytes){
        .data = (char *)hunze_data(blob) + sizeof(hunze_packed_header), .row_step = packed_k(k), .channel_step = 1};
}

/* ------------------------------------------------------------------ hunze_gemm */

static hunze_status launch_gemm(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_gemm_options *options = call->options;
    const hunze_gemm_shape *shape = &plan->gemm_shape;
    const hunze_matrix a = hunze_matrix_of(call->a, options->transpose_a),
                       b = hunze_matrix_of(call->b, options->transpose_b), d = hunze_matrix_of(call->d, false);
    const hunze_cuda_parameter a_zero = hunze_cuda_zero_point(options->a_quant),
                               b_zero = hunze_cuda_zero_point(options->b_quant);
    hunze_cuda_int_product p = {
        .m = (int32_t)shape->m,
        .n = (int32_t)shape->n,
        .k = (int32_t)shape->k,
        .a = {.data = a.data, .row_step = a.row, .channel_step = shape->k == 1 ? 1 : a.col},
        .b = {.data = b.data, .row_step = b.col, .channel_step = shape->k == 1 ? 1 : b.row},
        .a_zero = a_zero.values,
        .a_zero_stride = a_zero.stride,
        .b_zero = b_zero.values,
        .b_zero_stride = b_zero.stride,
        .positions = {.height = 1, .width = (int32_t)shape->m, .d = {0, 0, d.row}},
        .epilogue = hunze_cuda_int_epilogue_of(call->d, options->a_quant, options->b_quant, options->d_quant,
                                               options->activation, run->flags),
    };
    if (shape->packed_b)
        p.b = packed_bytes(call->b, shape->k);
    p.epilogue.d_column = d.col;
    if (options->bias) {
        const hunze_matrix bias = hunze_matrix_of(options->bias, false);
        hunze_cuda_int_epilogue_bias(&p.epilogue, options->bias, bias.row, bias.col);
    }
    if (options->residual) {
        const hunze_matrix residual = hunze_matrix_of(options->residual, false);
        p.epilogue.residual = hunze_data(options->residual);
        p.epilogue.residual_column = residual.col;
        p.positions.residual[2] = residual.row;
    }
    hunze_cuda_int_epilogue_finish(&p.epilogue);
    hunze_cuda_matrices_of(&p.matrices, (const hunze_tensor *const[HUNZE_CUDA_OF_COUNT]){
                                            [HUNZE_CUDA_OF_D] = call->d,
                                            [HUNZE_CUDA_OF_A] = call->a,
                                            [HUNZE_CUDA_OF_B] = shape->packed_b ? NULL : call->b,
                                            [HUNZE_CUDA_OF_RESIDUAL] = options->residual,
                                        });
    set_taps(&p.a, shape->k, shape->k, 1);
    set_taps(&p.b, shape->k, shape->k, 1);
    set_load(&p.a, shape->m, a.row, false, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_A));
    set_load(&p.b, shape->n, p.b.row_step, false, hunze_cuda_matrices_strides(&p.matrices, HUNZE_CUDA_OF_B));
    return start(&p, false, shape->batch, run);
}

/* ------------------------------------------------------------------ hunze_conv */

/* No tap leaves the image, and output positions are one stride apart in x: images too, or all of each. */
static bool reads_in_place(const hunze_conv_shape *shape, bool images, int64_t *step)
{
    for (int axis = 0; axis < 2; axis++) {
        const int64_t last =
            (shape->out[axis] - 1) * shape->stride[axis] + (shape->kernel[axis] - 1) * shape->dilation[axis];
        if (shape->before[axis] != 0 || last >= shape->in[axis])
            return false;
    }
    const int64_t extent[3] = {images ? shape->n : 1, shape->out[0], shape->out[1]};
    const int64_t x[3] = {shape->x_n, shape->stride[0] * shape->x_axis[0], shape->stride[1] * shape->x_axis[1]};
    return hunze_axes_of_one_stride(extent, x, step) == 3;
}

static void set_gather(hunze_cuda_gather *gather, const hunze_conv_shape *shape)
{
    gather->image = shape->x_n;
    for (int axis = 0; axis < 2; axis++) {
        gather->in[axis] = (int32_t)shape->in[axis];
        gather->stride[axis] = (int32_t)shape->stride[axis];
        gather->dilation[axis] = (int32_t)shape->dilation[axis];
        gather->before[axis] = (int32_t)shape->before[axis];
        gather->axis[axis] = shape->x_axis[axis];
    }
}

/* Strides of what is there once are not used. */
static int64_t used(int64_t extent, int64_t stride) { return extent > 1 ? stride : 0; }

static hunze_status launch_conv(const hunze_plan *plan, const hunze_call *call, const hunze_cuda_run *run)
{
    const hunze_conv_options *options = call->options;
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t channels = shape->c / shape->groups, n = shape->k / shape->groups;
    const int64_t k = shape->kernel[0] * shape->kernel[1] * channels, plane = shape->out[0] * shape->out[1];
    const hunze_cuda_parameter w_zero = hunze_cuda_zero_point(options->w_quant);
    int64_t step = 0;
    const bool whole = reads_in_place(shape, true, &step),
               apart = !whole && plane >= HUNZE_CUDA_INT_SMALL && reads_in_place(shape, false, &step);
    hunze_cuda_int_product p = {
        .m = (int32_t)(apart ? plane : shape->n * plane),
        .n = (int32_t)n,
        .k = (int32_t)k,
        .a = {.data = hunze_data(call->a),
              .row_step = step,
              .tap = {shape->dilation[0] * shape->x_axis[0], shape->dilation[1] * shape->x_axis[1]},
              .channel_step = hunze_channel_stride(channels, shape->x_c)},
        .b = {.data = hunze_data(call->b),
              .row_step = used(n, shape->w_k),
              .tap = {shape->w_axis[0], shape->w_axis[1]},
              .channel_step = hunze_channel_stride(channels, shape->w_c)},
        .a_zero = hunze_cuda_zero_point(options->x_quant).values,
        .b_zero = w_zero.values,
        .b_zero_stride = w_zero.stride,
        .positions = {.height = (int32_t)shape->out[0],
                      .width = (int32_t)shape->out[1],
                      .d = {shape->y_n, shape->y_axis[0], shape->y_axis[1]}},
        .matrices = {.axes = 2,
                     .extent = {(uint32_t)(apart ? shape->n : 1), (uint32_t)shape->groups},
                     .stride = {{[HUNZE_CUDA_OF_D] = shape->y_n, [HUNZE_CUDA_OF_A] = shape->x_n},
                                {[HUNZE_CUDA_OF_D] = n * shape->y_c,
                                 [HUNZE_CUDA_OF_A] = channels * shape->x_c,
                                 [HUNZE_CUDA_OF_B] = n * shape->w_k,
                                 [HUNZE_CUDA_OF_BIAS] = n}}},
        .epilogue = hunze_cuda_int_epilogue_of(call->d, options->x_quant, options->w_quant, options->y_quant,
                                               options->activation, run->flags),
    };
    if (shape->packed) {
        p.b = packed_bytes(call->b, k);
        p.matrices.stride[1][HUNZE_CUDA_OF_B] = packed_rows(n) * packed_k(k);
    }
    p.epilogue.d_column = shape->y_c;
    if (options->bias)
        hunze_cuda_int_epilogue_bias(&p.epilogue, options->bias, 0, hunze_stride(options->bias, 0));
    if (options->residual) {
        const hunze_cuda_image_strides residual = hunze_cuda_image_strides_of(options->residual, options->layout);
        p.epilogue.residual = hunze_data(options->residual);
        p.epilogue.residual_column = residual.channel;
        p.positions.residual[0] = p.matrices.stride[0][HUNZE_CUDA_OF_RESIDUAL] = residual.image;
        p.positions.residual[1] = residual.axis[0];
        p.positions.residual[2] = residual.axis[1];
        p.matrices.stride[1][HUNZE_CUDA_OF_RESIDUAL] = n * residual.channel;
    }
    hunze_cuda_int_epilogue_finish(&p.epilogue);
    set_gather(&p.gather, shape);
    set_taps(&p.a, k, channels, shape->kernel[1]);
    set_taps(&p.b, k, shape->packed ? k : channels, shape->packed ? 1 : shape->kernel[1]);
    if (whole || apart)
        join_taps(&p.a);
    join_taps(&p.b);
    const int64_t group = used(shape->groups, p.matrices.stride[1][HUNZE_CUDA_OF_A]);
    if (whole || apart)
        set_load(&p.a, p.m, step, false, group | (apart ? shape->x_n : 0));
    else
        set_load(&p.a, p.m, shape->stride[1] * shape->x_axis[1], true,
                 group | used(shape->n, shape->x_n) | used(shape->in[0], shape->x_axis[0]) |
                     used(shape->in[1], shape->x_axis[1]));
    set_load(&p.b, n, p.b.row_step, false, used(shape->groups, p.matrices.stride[1][HUNZE_CUDA_OF_B]));
    return start(&p, !whole && !apart, (apart ? shape->n : 1) * shape->groups, run);
}

hunze_status hunze_cuda_pack_integer(const hunze_device_weights *weights, const hunze_cuda_run *run)
{
    const int64_t k = weights->kernel[0] * weights->kernel[1] * weights->c;
    const hunze_cuda_pack_bytes p = {
        .w = weights->w,
        .to = weights->to,
        .groups = weights->groups,
        .rows = packed_rows(weights->n),
        .bytes = packed_k(k),
        .n = weights->n,
        .k = k,
        .channels = hunze_most(weights->c, 1),
        .columns = weights->kernel[1],
        .w_group = weights->group_step,
        .w_row = weights->n_step,
        .tap = {weights->axis_step[0], weights->axis_step[1]},
        .channel_step = weights->c_step,
    };
    return hunze_cuda_start(run, &pack,
                            hunze_ceil_div(p.groups * p.rows * (p.bytes / 4), HUNZE_CUDA_PACK_BYTES_THREADS), 1, 1, &p,
                            sizeof p);
}

/* ------------------------------------------------------------------ rows of the table */

const char *hunze_cuda_refuses_product_integer(const hunze_plan *plan)
{
    if (plan->op == HUNZE_OP_GEMM) {
        const hunze_gemm_shape *shape = &plan->gemm_shape;
        return refuses(shape->m, shape->n, shape->k, shape->batch);
    }
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t limit = HUNZE_CUDA_INT_LIMIT;
    for (int axis = 0; axis < 2; axis++) {
        int64_t reach;
        if (shape->in[axis] + shape->before[axis] + shape->after[axis] >= limit ||
            __builtin_mul_overflow(shape->kernel[axis] + HUNZE_CUDA_TILE_K, shape->dilation[axis], &reach) ||
            reach >= limit || shape->stride[axis] >= limit)
            return "needs extents, strides and dilated kernels below 2^30";
    }
    int64_t positions, k;
    if (__builtin_mul_overflow(shape->out[0] * shape->n, shape->out[1], &positions) ||
        __builtin_mul_overflow(shape->kernel[0] * shape->kernel[1], shape->c / shape->groups, &k))
        return "needs rows, columns and k below 2^30 each";
    return refuses(positions, shape->k / shape->groups, k, shape->groups);
}

hunze_status hunze_cuda_launch_product_integer(const hunze_plan *plan, const hunze_call *call,
                                               const hunze_cuda_run *run)
{
    return plan->op == HUNZE_OP_GEMM ? launch_gemm(plan, call, run) : launch_conv(plan, call, run);
}
