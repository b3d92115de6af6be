/* SPDX-License-Identifier: Apache-2.0 */
/* Launches convolutions and transposed convolutions of bf16 and f16 as products, one per group: rows are output positions, columns its channels.
 *
 * A kernel of one tap that meets no padding multiplies x and w where they lie.  Otherwise A is gathered from images whose channels lie
 * together: others are turned into workspace first, some images at a time.  B are the weights as rows [k][columns up to 16], packed into workspace
 * unless they came so.  A transposed convolution is a convolution per phase (output row % stride, output column % stride) with those taps
 * that meet inputs; taps that meet none are no part of its sums. */
#include "launchers.h"
#include "matrices.h"
#include "operands_half.h"
#include "operands_float.h"

#include "../src/device.h"

#include <stdlib.h>
#include <string.h>

enum { TURNED_BYTES = 8 << 20 /* of workspace, or one image: they stay in the L2 cache */, MOST_PHASES = 4096 };

static int64_t packed_columns(const hunze_conv_shape *shape) { return hunze_cuda_kn_columns(shape->k / shape->groups); }
static int64_t channels_of(const hunze_conv_shape *shape) { return shape->c / shape->groups; }
static int64_t taps_of(const hunze_conv_shape *shape)
{
    return shape->kernel[0] * shape->kernel[1] * channels_of(shape);
}

/* ------------------------------------------------------------------ phases */

/* One axis of a phase: its outputs are `apart` of y's; tap t of its own is the kernel's first + t*period and meets input q*step + start +
 * t*tap for output q. */
typedef struct phase_axis {
    int64_t outputs, apart;
    int64_t first, count, period;
    int64_t step, start, tap;
} phase_axis;

static int64_t phases_along(const struct hunze_plan *plan, int axis)
{
    return plan->op == HUNZE_OP_CONV ? 1 : hunze_least(plan->conv.stride[axis], plan->conv.out[axis]);
}

static phase_axis phase_along(const struct hunze_plan *plan, int axis, int64_t phase)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t kernel = shape->kernel[axis], stride = shape->stride[axis], before = shape->before[axis],
                  dilation = kernel == 1 ? 1 : shape->dilation[axis];
    if (plan->op == HUNZE_OP_CONV)
        return (phase_axis){shape->out[axis], 1, 0, kernel, 1, shape->out[axis] == 1 ? 0 : stride, -before, dilation};
    const int64_t phases = phases_along(plan, axis), period = stride / hunze_common_divisor(stride, dilation);
    phase_axis p = {.outputs = hunze_ceil_div(shape->out[axis] - phase, phases),
                    .apart = phases,
                    .period = period,
                    .step = 1,
                    .tap = -(period * dilation / stride)};
    while (p.first < hunze_least(kernel, period) && (phase + before - p.first * dilation) % stride != 0)
        p.first++;
    if (p.first == hunze_least(kernel, period))
        return p;
    p.count = hunze_ceil_div(kernel - p.first, period);
    p.start = (phase + before - p.first * dilation) / stride;
    return p;
}

/* ------------------------------------------------------------------ x */

/* Images as kernels read them: elements between images, channels, rows and columns. */
typedef struct images {
    const char *x;
    int64_t image, channel, axis[2];
} images;

static bool is_turned(const hunze_conv_shape *shape) { return channels_of(shape) > 1 && shape->x_c != 1; }

static int64_t image_elements(const hunze_conv_shape *shape) { return shape->c * shape->in[0] * shape->in[1]; }

/* So many images are turned, or read, at a time. */
static int64_t images_at_once(const hunze_conv_shape *shape)
{
    if (!is_turned(shape))
        return shape->n;
    return hunze_least(hunze_most(TURNED_BYTES / hunze_most(2 * image_elements(shape), 1), 1), shape->n);
}

/* Packed weights whose only phase has all taps; that of a single output may have fewer, whatever the stride. */
static bool takes_weights_as_they_are(const struct hunze_plan *plan)
{
    bool all = plan->conv.packed;
    for (int axis = 0; axis < 2 && all; axis++)
        all = phases_along(plan, axis) == 1 && phase_along(plan, axis, 0).count == plan->conv.kernel[axis];
    return all;
}

static size_t weights_bytes(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const size_t bytes =
        takes_weights_as_they_are(plan) ? 0 : (size_t)(shape->groups * taps_of(shape) * packed_columns(shape)) * 2;
    return (bytes + HUNZE_CUDA_ALIGNMENT - 1) / HUNZE_CUDA_ALIGNMENT * HUNZE_CUDA_ALIGNMENT;
}

size_t hunze_cuda_workspace_conv_half(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    hunze_cuda_positions_in_place at;
    if (hunze_cuda_conv_in_place(plan, &at))
        return 0;
    return weights_bytes(plan) + (is_turned(shape) ? (size_t)(images_at_once(shape) * image_elements(shape)) * 2 : 0);
}

/* ------------------------------------------------------------------ packing and turning */

typedef struct pack_axis {
    int64_t extent, w_step, k_step;
} pack_axis;

/* Axes in the order of the source's memory. */
static hunze_status start_pack(hunze_cuda_pack *p, const pack_axis given[3], const hunze_cuda_run *run)
{
    pack_axis axes[3] = {given[0], given[1], given[2]};
    for (int i = 1; i < 3; i++)
        for (int j = i; j > 0 && llabs(axes[j - 1].w_step) < llabs(axes[j].w_step); j--) {
            const pack_axis swap = axes[j];
            axes[j] = axes[j - 1];
            axes[j - 1] = swap;
        }
    p->k = 1;
    for (int i = 0; i < 3; i++) {
        p->extent[i] = axes[i].extent;
        p->w_step[i] = axes[i].w_step;
        p->k_step[i] = axes[i].k_step;
        p->k *= axes[i].extent;
    }
    p->along_k = llabs(p->w_step[2]) < llabs(p->w_column);
    p->tiles_k = hunze_ceil_div(p->k, HUNZE_CUDA_PACK_TILE);
    p->tiles_n = hunze_ceil_div(p->stride, HUNZE_CUDA_PACK_TILE);
    return hunze_cuda_start(run, hunze_cuda_half_pack_kernel(run->plan->row->a), p->groups * p->tiles_k * p->tiles_n, 1,
                            1, p, sizeof *p);
}

/* The weights of a phase. */
static hunze_status pack_weights(const struct hunze_plan *plan, const char *w, const phase_axis phase[2], void *to,
                                 const hunze_cuda_run *run)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t c = channels_of(shape), n = shape->k / shape->groups, columns = packed_columns(shape);
    int64_t axis[2] = {shape->w_axis[0], shape->w_axis[1]}, w_c = shape->w_c, w_k = shape->w_k;
    int64_t group = plan->op == HUNZE_OP_CONV_TRANSPOSE ? c * w_c : n * w_k;
    if (shape->packed) {
        w_k = 1;
        w_c = columns;
        axis[1] = c * columns;
        axis[0] = shape->kernel[1] * axis[1];
        group = taps_of(shape) * columns;
    }
    hunze_cuda_pack p = {
        .w = w + 2 * (phase[0].first * axis[0] + phase[1].first * axis[1]),
        .to = to,
        .groups = shape->groups,
        .n = n,
        .stride = columns,
        .w_group = group,
        .w_column = w_k,
    };
    return start_pack(&p,
                      (const pack_axis[3]){{phase[0].count, phase[0].period * axis[0], phase[1].count * c},
                                           {phase[1].count, phase[1].period * axis[1], c},
                                           {c, w_c, 1}},
                      run);
}

/* Images [first, first + count) with their channels together. */
static hunze_status turn(const hunze_conv_shape *shape, images *from, int64_t first, int64_t count, char *to,
                         const hunze_cuda_run *run)
{
    hunze_cuda_pack p = {
        .w = from->x + 2 * first * shape->x_n,
        .to = to,
        .groups = 1,
        .n = shape->c,
        .stride = shape->c,
        .w_column = shape->x_c,
    };
    *from = (images){to, image_elements(shape), 1, {shape->in[1] * shape->c, shape->c}};
    return start_pack(&p,
                      (const pack_axis[3]){{count, shape->x_n, shape->in[0] * shape->in[1]},
                                           {shape->in[0], shape->x_axis[0], shape->in[1]},
                                           {shape->in[1], shape->x_axis[1], 1}},
                      run);
}

/* ------------------------------------------------------------------ products */

/* What all products of a call have in common. */
typedef struct conv_call {
    const struct hunze_plan *plan;
    const hunze_cuda_run *run;
    hunze_conv_operands operands;
    hunze_cuda_half_product product; /* but for what a phase and its images change */
} conv_call;

/* An axis that is no rows of the product; strides of D, A, B, C, bias and residual. */
static void add_axis(hunze_cuda_matrices *matrices, int64_t extent, const int64_t strides[HUNZE_CUDA_OF_COUNT])
{
    if (extent == 1)
        return;
    matrices->extent[matrices->axes] = (uint32_t)extent;
    memcpy(matrices->stride[matrices->axes++], strides, sizeof matrices->stride[0]);
}

static void add_groups(const conv_call *call, int64_t x_c, int64_t b, hunze_cuda_matrices *matrices)
{
    const hunze_conv_shape *shape = &call->plan->conv;
    const int64_t n = shape->k / shape->groups;
    add_axis(matrices, shape->groups,
             (const int64_t[HUNZE_CUDA_OF_COUNT]){n * shape->y_c, channels_of(shape) * x_c, b, 0,
                                                  n * call->operands.bias_stride, n * call->operands.residual_c});
}

static hunze_status launch_in_place(const conv_call *call, hunze_cuda_positions_in_place at)
{
    const hunze_conv_shape *shape = &call->plan->conv;
    const hunze_conv_operands *operands = &call->operands;
    const int64_t extent[3] = {shape->n, shape->out[0], shape->out[1]}, n = shape->k / shape->groups;
    const int64_t residual[3] = {operands->residual_n, operands->residual_axis[0], operands->residual_axis[1]};
    const int64_t x[2] = {shape->x_n, shape->stride[0] * shape->x_axis[0]}, y[2] = {shape->y_n, shape->y_axis[0]};
    hunze_cuda_half_product p = call->product;
    p.b = (hunze_cuda_half_operand){.data = operands->w, .row_step = shape->w_k, .k_step = shape->w_c};
    int64_t b_group = n * shape->w_k;
    if (shape->packed) {
        p.b = (hunze_cuda_half_operand){
            .data = operands->w + sizeof(hunze_packed_header), .row_step = 1, .k_step = packed_columns(shape)};
        b_group = p.k * packed_columns(shape);
    }
    if (operands->residual) {
        const int axes = hunze_axes_of_one_stride(extent, residual, &at.residual);
        at.axes = axes < at.axes ? axes : at.axes;
    }
    int64_t products = shape->groups, m = 1;
    for (int axis = 0; axis < 3; axis++) {
        if (axis >= 3 - at.axes) {
            m *= extent[axis];
            continue;
        }
        products *= extent[axis];
        add_axis(&p.matrices, extent[axis],
                 (const int64_t[HUNZE_CUDA_OF_COUNT]){y[axis], x[axis], 0, 0, 0, residual[axis]});
    }
    add_groups(call, shape->x_c, b_group, &p.matrices);
    int64_t a_between = 0, b_between = 0;
    for (int axis = 0; axis < p.matrices.axes; axis++) {
        a_between |= p.matrices.stride[axis][HUNZE_CUDA_OF_A];
        b_between |= p.matrices.stride[axis][HUNZE_CUDA_OF_B];
    }
    p.m = (int32_t)m;
    p.a = (hunze_cuda_half_operand){.data = operands->x, .row_step = at.x, .k_step = shape->x_c};
    p.positions = (hunze_cuda_positions){
        .images = 1, .height = 1, .width = m, .d = {0, 0, at.y}, .residual = {0, 0, at.residual}};
    hunze_cuda_half_set_load(&p.a, p.m, p.k, a_between);
    hunze_cuda_half_set_load(&p.b, p.n, p.k, b_between);
    hunze_cuda_half_set_pairs(&p);
    return hunze_cuda_half_start(&p, false, products, call->run);
}

static int64_t used(int64_t extent, int64_t stride) { return extent > 1 ? stride : 0; }

/* A gathered from images [first, first + count), which x says how to read; B: the phase's packed weights. */
static hunze_status launch_phase(const conv_call *call, const images *x, int64_t first, int64_t count,
                                 const phase_axis phase[2], const int64_t index[2], const void *weights)
{
    const hunze_conv_shape *shape = &call->plan->conv;
    const hunze_conv_operands *operands = &call->operands;
    const int64_t columns = packed_columns(shape), c = channels_of(shape), k = phase[0].count * phase[1].count * c;
    hunze_cuda_half_product p = call->product;
    hunze_cuda_half_gather *g = &p.gather;
    p.m = (int32_t)(count * phase[0].outputs * phase[1].outputs);
    p.k = (int32_t)k;
    p.positions = (hunze_cuda_positions){
        .images = count,
        .height = phase[0].outputs,
        .width = phase[1].outputs,
        .d = {shape->y_n, phase[0].apart * shape->y_axis[0], phase[1].apart * shape->y_axis[1]},
        .residual = {operands->residual_n, phase[0].apart * operands->residual_axis[0],
                     phase[1].apart * operands->residual_axis[1]},
    };
    const int64_t d = first * shape->y_n + index[0] * shape->y_axis[0] + index[1] * shape->y_axis[1];
    p.epilogue.d = (char *)p.epilogue.d + d * (p.epilogue.d_f32 ? 4 : 2);
    if (p.epilogue.residual) {
        const int64_t residual = first * operands->residual_n + index[0] * operands->residual_axis[0] +
                                 index[1] * operands->residual_axis[1];
        p.epilogue.residual = (const char *)p.epilogue.residual + residual * (p.epilogue.residual_f32 ? 4 : 2);
    }
    *g = (hunze_cuda_half_gather){.columns = (int32_t)hunze_most(phase[1].count, 1),
                                  .channels = (int32_t)hunze_most(c, 1),
                                  .image = used(count, x->image)};
    int64_t strides = g->image | used(shape->groups, c * x->channel);
    for (int axis = 0; axis < 2; axis++) {
        g->in[axis] = (int32_t)shape->in[axis];
        g->step[axis] = (int32_t)phase[axis].step;
        g->first[axis] = (int32_t)phase[axis].start;
        g->tap[axis] = (int32_t)phase[axis].tap;
        g->axis[axis] = used(shape->in[axis], x->axis[axis]);
        strides |= g->axis[axis];
    }
    const int64_t taps = HUNZE_CUDA_HALF_K / g->channels;
    g->tile_channels = HUNZE_CUDA_HALF_K % g->channels;
    g->tile_columns = (int32_t)(taps % g->columns);
    g->tile_rows = (int32_t)(taps / g->columns);
    p.a = (hunze_cuda_half_operand){
        .data = x->x,
        .k_step = used(c, x->channel),
        .load = c == 1 ? HUNZE_CUDA_HALF_ELEMENTS : hunze_cuda_half_load_of(x->x, c, strides),
    };
    p.b = (hunze_cuda_half_operand){
        .data = weights, .row_step = 1, .k_step = columns, .load = HUNZE_CUDA_HALF_RUNS_16, .along_rows = 1};
    add_groups(call, x->channel, k * columns, &p.matrices);
    hunze_cuda_half_set_pairs(&p);
    return hunze_cuda_half_start(&p, true, shape->groups, call->run);
}

/* All phases of images [first, first + count).  to: where the weights of phases are packed, with the first images. */
static hunze_status launch_images(const conv_call *call, const images *x, int64_t first, int64_t count, const char *w,
                                  char *to)
{
    const struct hunze_plan *plan = call->plan;
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t phases[2] = {phases_along(plan, 0), phases_along(plan, 1)};
    const bool as_they_are = takes_weights_as_they_are(plan);
    for (int64_t y = 0; y < phases[0]; y++)
        for (int64_t column = 0; column < phases[1]; column++) {
            const phase_axis phase[2] = {phase_along(plan, 0, y), phase_along(plan, 1, column)};
            const int64_t k = phase[0].count * phase[1].count * channels_of(shape);
            if (first == 0 && k > 0 && !as_they_are)
                TRY(pack_weights(plan, w, phase, to, call->run));
            TRY(launch_phase(call, x, first, count, phase, (const int64_t[]){y, column}, as_they_are ? w : to));
            to += shape->groups * k * packed_columns(shape) * 2;
        }
    return HUNZE_OK;
}

static hunze_status launch_gathered(const conv_call *call)
{
    const hunze_conv_shape *shape = &call->plan->conv;
    const char *w = call->operands.w + (shape->packed ? sizeof(hunze_packed_header) : 0);
    char *workspace = call->run->workspace, *turned = workspace + weights_bytes(call->plan);
    const int64_t at_once = images_at_once(shape);
    for (int64_t first = 0; first < shape->n; first += at_once) {
        const int64_t count = hunze_least(at_once, shape->n - first);
        images x = {call->operands.x, shape->x_n, shape->x_c, {shape->x_axis[0], shape->x_axis[1]}};
        if (is_turned(shape))
            TRY(turn(shape, &x, first, count, turned, call->run));
        TRY(launch_images(call, &x, first, count, w, workspace));
    }
    return HUNZE_OK;
}

hunze_status hunze_cuda_launch_conv_half(const struct hunze_plan *plan, const hunze_call *given,
                                         const hunze_cuda_run *run)
{
    const hunze_conv_options *options = given->options;
    const hunze_conv_shape *shape = &plan->conv;
    hunze_cuda_positions_in_place at;
    conv_call call = {.plan = plan, .run = run};
    hunze_conv_operands_of(plan, given, run->flags, &call.operands);
    call.product = (hunze_cuda_half_product){
        .n = (int32_t)(shape->k / shape->groups),
        .k = (int32_t)taps_of(shape),
        .epilogue = hunze_cuda_half_epilogue_of(given->d, NULL, options->bias, options->residual, options->activation),
    };
    call.product.epilogue.d_column = shape->y_c;
    call.product.epilogue.bias_column = call.operands.bias_stride;
    call.product.epilogue.residual_column = call.operands.residual_c;
    return hunze_cuda_conv_in_place(plan, &at) ? launch_in_place(&call, at) : launch_gathered(&call);
}

hunze_status hunze_cuda_pack_half(const hunze_device_weights *weights, const hunze_cuda_run *run)
{
    hunze_cuda_pack p = {
        .w = weights->w,
        .to = weights->to,
        .groups = weights->groups,
        .n = weights->n,
        .stride = hunze_cuda_kn_columns(weights->n),
        .w_group = weights->group_step,
        .w_column = weights->n_step,
    };
    return start_pack(&p,
                      (const pack_axis[3]){{weights->kernel[0], weights->axis_step[0], weights->kernel[1] * weights->c},
                                           {weights->kernel[1], weights->axis_step[1], weights->c},
                                           {weights->c, weights->c_step, 1}},
                      run);
}

/* ------------------------------------------------------------------ what fits */

const char *hunze_cuda_refuses_conv_half(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t limit = HUNZE_CUDA_HALF_LIMIT, n = shape->k / shape->groups;
    int64_t k, positions, phases, packed, image;
    for (int axis = 0; axis < 2; axis++) {
        int64_t reach;
        if (shape->in[axis] + shape->before[axis] + shape->after[axis] >= limit || shape->out[axis] >= limit ||
            __builtin_mul_overflow(shape->kernel[axis] + HUNZE_CUDA_HALF_K, shape->dilation[axis], &reach) ||
            reach >= limit || shape->stride[axis] >= limit)
            return "needs extents, strides and dilated kernels below 2^30";
    }
    if (__builtin_mul_overflow(shape->out[0] * shape->n, shape->out[1], &positions) ||
        __builtin_mul_overflow(shape->kernel[0] * shape->kernel[1], channels_of(shape), &k))
        return "needs rows, columns and k below 2^30 each";
    if (__builtin_mul_overflow(phases_along(plan, 0), phases_along(plan, 1), &phases) || phases > MOST_PHASES)
        return "needs at most 4096 phases of output rows and columns modulo the strides";
    if (n > INT64_MAX / 4 || k >= limit ||
        __builtin_mul_overflow(k * shape->groups, packed_columns(shape) * 2, &packed) ||
        __builtin_mul_overflow(shape->in[0] * shape->in[1], shape->c * 2, &image))
        return "needs packed weights and images below 2^63 bytes";
    return hunze_cuda_half_refuses(positions, n, k, shape->groups);
}
