/* SPDX-License-Identifier: Apache-2.0 */
/* Launches convolutions and transposed convolutions of floats as products, one per group: rows are output positions, columns its channels.
 *
 * A kernel of one tap that meets no padding multiplies x and w where they lie.  Otherwise A is gathered, and B are the weights packed into
 * workspace unless they came so.  A transposed convolution has a product per group and phase (output row % stride, output column % stride). */
#include "launchers.h"
#include "operands_float.h"

#include "../src/device.h"

#include <stdlib.h>

enum {
    FLAG_BYTES = 256,    /* of workspace, before the weights */
    BLOB_FLAG_BYTES = 64 /* of a blob, behind them */
};

static int64_t packed_columns(const hunze_conv_shape *shape) { return hunze_cuda_kn_columns(shape->k / shape->groups); }

static int64_t taps_of(const hunze_conv_shape *shape)
{
    return shape->kernel[0] * shape->kernel[1] * (shape->c / shape->groups);
}

static int64_t packed_bytes(const struct hunze_plan *plan)
{
    return plan->conv.groups * taps_of(&plan->conv) * packed_columns(&plan->conv) *
           (int64_t)hunze_type_bytes(plan->row->d);
}

/* ------------------------------------------------------------------ in place */

bool hunze_cuda_conv_in_place(const struct hunze_plan *plan, hunze_cuda_positions_in_place *at)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t extent[3] = {shape->n, shape->out[0], shape->out[1]};
    const int64_t x[3] = {shape->x_n, shape->stride[0] * shape->x_axis[0], shape->stride[1] * shape->x_axis[1]};
    const int64_t y[3] = {shape->y_n, shape->y_axis[0], shape->y_axis[1]};
    if (plan->op != HUNZE_OP_CONV || shape->kernel[0] * shape->kernel[1] != 1)
        return false;
    for (int axis = 0; axis < 2; axis++)
        if (shape->before[axis] != 0 || (shape->out[axis] - 1) * shape->stride[axis] >= shape->in[axis])
            return false;
    const int x_axes = hunze_axes_of_one_stride(extent, x, &at->x),
              y_axes = hunze_axes_of_one_stride(extent, y, &at->y);
    at->axes = x_axes < y_axes ? x_axes : y_axes;
    return at->axes >= 2; /* a single row of outputs is little for a product */
}

/* An axis that is no rows of the product; strides of D, A, B, C, bias and residual. */
static void add_axis(hunze_cuda_matrices *matrices, int64_t extent, const int64_t strides[HUNZE_CUDA_OF_COUNT])
{
    if (extent == 1)
        return;
    matrices->extent[matrices->axes] = (uint32_t)extent;
    for (int o = 0; o < HUNZE_CUDA_OF_COUNT; o++)
        matrices->stride[matrices->axes][o] = strides[o];
    matrices->axes++;
}

static void add_groups(const hunze_conv_shape *shape, const hunze_conv_operands *operands, int64_t b,
                       hunze_cuda_matrices *matrices)
{
    const int64_t n = shape->k / shape->groups, c = shape->c / shape->groups;
    add_axis(matrices, shape->groups,
             (const int64_t[HUNZE_CUDA_OF_COUNT]){n * shape->y_c, c * shape->x_c, b, 0, n * operands->bias_stride,
                                                  n * operands->residual_c});
}

/* Rows of a product, and how many products there are. */
static int64_t rows_in_place(const hunze_conv_shape *shape, const hunze_conv_operands *operands,
                             hunze_cuda_positions_in_place *at, int64_t *products)
{
    const int64_t extent[3] = {shape->n, shape->out[0], shape->out[1]};
    const int64_t residual[3] = {operands->residual_n, operands->residual_axis[0], operands->residual_axis[1]};
    int64_t m = 1;
    if (operands->residual) {
        const int axes = hunze_axes_of_one_stride(extent, residual, &at->residual);
        at->axes = axes < at->axes ? axes : at->axes;
    }
    *products = shape->groups;
    for (int axis = 0; axis < 3; axis++)
        *(axis < 3 - at->axes ? products : &m) *= extent[axis];
    return m;
}

static hunze_status launch_in_place(const struct hunze_plan *plan, const hunze_conv_operands *operands,
                                    hunze_cuda_positions_in_place at, hunze_cuda_float_product *p,
                                    const hunze_cuda_run *run)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t extent[2] = {shape->n, shape->out[0]}, n = shape->k / shape->groups;
    const int64_t residual[2] = {operands->residual_n, operands->residual_axis[0]};
    const int64_t x[2] = {shape->x_n, shape->stride[0] * shape->x_axis[0]}, y[2] = {shape->y_n, shape->y_axis[0]};
    const int64_t b_group = shape->packed ? p->k * packed_columns(shape) : n * shape->w_k;
    int64_t products, x_steps = 0;
    p->m = rows_in_place(shape, operands, &at, &products);
    for (int axis = 0; axis < 3 - at.axes; axis++) {
        x_steps |= extent[axis] > 1 ? x[axis] : 0;
        add_axis(&p->matrices, extent[axis],
                 (const int64_t[HUNZE_CUDA_OF_COUNT]){y[axis], x[axis], 0, 0, 0, residual[axis]});
    }
    add_groups(shape, operands, b_group, &p->matrices);
    p->a = (hunze_cuda_strided){.data = operands->x, .row_step = at.x, .k_step = p->k > 1 ? shape->x_c : 0};
    p->b = (hunze_cuda_strided){.data = operands->w, .row_step = shape->w_k, .k_step = p->k > 1 ? shape->w_c : 0};
    if (shape->packed)
        p->b = (hunze_cuda_strided){
            .data = operands->w + sizeof(hunze_packed_header), .row_step = 1, .k_step = packed_columns(shape)};
    p->positions = (hunze_cuda_positions){
        .images = 1, .height = 1, .width = p->m, .d = {0, 0, at.y}, .residual = {0, 0, at.residual}};
    const bool grouped = shape->groups > 1;
    p->a.load = hunze_cuda_load_of(&p->a, p->m, x_steps | (grouped ? p->k * shape->x_c : 0), operands->x_bytes);
    p->b.load = hunze_cuda_load_of(&p->b, n, grouped ? b_group : 0, operands->x_bytes);
    return hunze_cuda_start_float_product(p, false, products, run->workspace, run);
}

/* ------------------------------------------------------------------ gathered */

/* Of a modulo m, which have no common divisor; 0 modulo 1. */
static int64_t inverse_of(int64_t a, int64_t m)
{
    int64_t r = m, next_r = a % m, s = 0, next_s = 1 % m;
    while (next_r > 0) {
        const int64_t q = r / next_r, last_r = r, last_s = s;
        r = next_r;
        next_r = last_r - q * next_r;
        s = next_s;
        next_s = last_s - q * next_s;
    }
    return s < 0 ? s + m : s;
}

/* Strides and dilations that nothing is a multiple of may be smaller than they are. */
static hunze_cuda_gather_axis gather_axis(const hunze_conv_shape *shape, int axis, bool transposed)
{
    const int64_t stride = hunze_least(shape->stride[axis], INT32_MAX);
    const int64_t dilation = shape->kernel[axis] == 1 ? 1 : shape->dilation[axis];
    hunze_cuda_gather_axis g = {
        .in = (int32_t)shape->in[axis],
        .kernel = (int32_t)shape->kernel[axis],
        .row_step = (int32_t)(shape->out[axis] == 1 ? 0 : stride),
        .row_first = (int32_t)-shape->before[axis],
        .tap_step = (int32_t)dilation,
        .divisor = 1,
        .phases = 1,
        .period = 1,
        .x = shape->x_axis[axis],
    };
    if (transposed) {
        g.row_step = 1;
        g.row_first = 0;
        g.before = (int32_t)shape->before[axis];
        g.tap_step = (int32_t)-dilation;
        g.divisor = (int32_t)stride;
        g.phases = (int32_t)hunze_least(stride, shape->out[axis]);
        const int64_t common = hunze_common_divisor(stride, dilation);
        g.period = (int32_t)(stride / common);
        g.inverse = (int32_t)inverse_of(dilation / common, g.period);
    }
    return g;
}

typedef struct pack_axis {
    int64_t extent, w_step, k_step;
} pack_axis;

static hunze_status pack(const hunze_device_weights *weights, uint32_t *not_finite, const hunze_cuda_run *run)
{
    pack_axis axes[3] = {{weights->kernel[0], weights->axis_step[0], weights->kernel[1] * weights->c},
                         {weights->kernel[1], weights->axis_step[1], weights->c},
                         {weights->c, weights->c_step, 1}};
    hunze_cuda_pack p = {
        .w = weights->w,
        .to = weights->to,
        .not_finite = not_finite,
        .groups = weights->groups,
        .k = weights->kernel[0] * weights->kernel[1] * weights->c,
        .n = weights->n,
        .stride = hunze_cuda_kn_columns(weights->n),
        .w_group = weights->group_step,
        .w_column = weights->n_step,
    };
    for (int i = 1; i < 3; i++) /* neighbours in w last */
        for (int j = i; j > 0 && llabs(axes[j - 1].w_step) < llabs(axes[j].w_step); j--) {
            const pack_axis swap = axes[j];
            axes[j] = axes[j - 1];
            axes[j - 1] = swap;
        }
    for (int i = 0; i < 3; i++) {
        p.extent[i] = axes[i].extent;
        p.w_step[i] = axes[i].w_step;
        p.k_step[i] = axes[i].k_step;
    }
    p.along_k = llabs(p.w_step[2]) < llabs(p.w_column);
    p.tiles_k = hunze_ceil_div(p.k, HUNZE_CUDA_PACK_TILE);
    p.tiles_n = hunze_ceil_div(p.stride, HUNZE_CUDA_PACK_TILE);
    return hunze_cuda_start(run, hunze_cuda_float_pack_of(run->plan->row->d), p.groups * p.tiles_k * p.tiles_n, 1, 1,
                            &p, sizeof p);
}

/* Behind the weights stands whether one of them is no finite number, which transposed convolutions ask. */
hunze_status hunze_cuda_pack_float(const hunze_device_weights *weights, const hunze_cuda_run *run)
{
    const int64_t columns = hunze_cuda_kn_columns(weights->n);
    const int64_t bytes = weights->groups * weights->kernel[0] * weights->kernel[1] * weights->c * columns *
                          (int64_t)hunze_type_bytes(run->plan->row->d);
    char *behind = (char *)weights->to + bytes;
    TRY(hunze_cuda_clear(run, behind, 0, BLOB_FLAG_BYTES));
    return pack(weights, (uint32_t *)behind, run);
}

static int64_t phases_of(const struct hunze_plan *plan, int axis)
{
    const hunze_conv_shape *shape = &plan->conv;
    return plan->op == HUNZE_OP_CONV ? 1 : hunze_least(shape->stride[axis], shape->out[axis]);
}

/* Rows of the largest phase, and how many products there are. */
static int64_t rows_gathered(const struct hunze_plan *plan, int64_t *products)
{
    const hunze_conv_shape *shape = &plan->conv;
    int64_t m = shape->n;
    *products = shape->groups;
    for (int axis = 0; axis < 2; axis++) {
        const int64_t phases = phases_of(plan, axis);
        m *= phases == 0 ? 0 : hunze_ceil_div(shape->out[axis], phases);
        *products *= phases;
    }
    return m;
}

static hunze_status launch_gathered(const struct hunze_plan *plan, const hunze_conv_operands *operands,
                                    hunze_cuda_float_product *p, const hunze_cuda_run *run)
{
    const hunze_conv_shape *shape = &plan->conv;
    const bool transposed = plan->op == HUNZE_OP_CONV_TRANSPOSE;
    const int64_t kc = plan->row->d == HUNZE_TYPE_F64 ? HUNZE_KC_F64 : HUNZE_KC_F32;
    const int64_t stride = packed_columns(shape), channels = shape->c / shape->groups, n = shape->k / shape->groups;
    const bool asks = transposed && (shape->stride[0] > 1 || shape->stride[1] > 1);
    char *weights =
        shape->packed ? (char *)operands->w + sizeof(hunze_packed_header) : (char *)run->workspace + FLAG_BYTES;
    uint32_t *not_finite = !asks ? NULL : shape->packed ? (uint32_t *)(weights + packed_bytes(plan)) : run->workspace;
    int64_t products;
    p->gather = (hunze_cuda_gather){
        .image = shape->x_n,
        .channel = shape->x_c,
        .channels = (int32_t)channels,
        .drops = hunze_gemm_k_blocks(p->k, kc) == 1,
        .not_finite = not_finite,
    };
    p->m = rows_gathered(plan, &products);
    for (int axis = 0; axis < 2; axis++)
        p->gather.axis[axis] = gather_axis(shape, axis, transposed);
    const bool along_k = channels > 1 && llabs(shape->x_c) <= llabs(p->gather.axis[1].row_step * shape->x_axis[1]);
    p->a = (hunze_cuda_strided){.data = operands->x, .load = along_k ? HUNZE_CUDA_ALONG_K : HUNZE_CUDA_ALONG_ROWS};
    p->b = (hunze_cuda_strided){.data = weights, .row_step = 1, .k_step = stride, .load = HUNZE_CUDA_VECTORS};
    add_groups(shape, operands, p->k * stride, &p->matrices);
    if (!shape->packed) {
        const hunze_device_weights given = {
            .w = operands->w,
            .to = weights,
            .groups = shape->groups,
            .n = n,
            .c = channels,
            .kernel = {shape->kernel[0], shape->kernel[1]},
            .group_step = transposed ? channels * shape->w_c : n * shape->w_k,
            .n_step = shape->w_k,
            .c_step = shape->w_c,
            .axis_step = {shape->w_axis[0], shape->w_axis[1]},
        };
        if (not_finite)
            TRY(hunze_cuda_clear(run, not_finite, 0, sizeof *not_finite));
        TRY(pack(&given, not_finite, run));
    }
    return hunze_cuda_start_float_product(p, true, products,
                                          (char *)run->workspace + hunze_cuda_workspace_conv_float(plan), run);
}

/* ------------------------------------------------------------------ both */

hunze_status hunze_cuda_launch_conv_float(const struct hunze_plan *plan, const hunze_call *call,
                                          const hunze_cuda_run *run)
{
    const hunze_conv_shape *shape = &plan->conv;
    hunze_conv_operands operands;
    hunze_cuda_positions_in_place at = {0};
    hunze_conv_operands_of(plan, call, run->flags, &operands);
    hunze_cuda_float_product p = {
        .n = shape->k / shape->groups,
        .k = taps_of(shape),
        .gather = {.axis = {{.phases = 1}, {.phases = 1}}},
    };
    p.alpha = p.k == 0 ? 0 : 1;
    hunze_cuda_conv_float_epilogue(shape, &operands, &p.epilogue, &p.positions);
    return hunze_cuda_conv_in_place(plan, &at) ? launch_in_place(plan, &operands, at, &p, run)
                                               : launch_gathered(plan, &operands, &p, run);
}

void hunze_cuda_choose_conv_float(struct hunze_plan *plan, const hunze_call *call)
{
    const hunze_conv_shape *shape = &plan->conv;
    hunze_conv_operands operands;
    hunze_cuda_positions_in_place at = {0};
    int64_t products;
    hunze_conv_operands_of(plan, call, plan->flags, &operands);
    const int64_t m = hunze_cuda_conv_in_place(plan, &at) ? rows_in_place(shape, &operands, &at, &products)
                                                          : rows_gathered(plan, &products);
    hunze_cuda_choose_float_tile(plan, m, shape->k / shape->groups, taps_of(shape), products);
}

/* The sums of K blocks follow, aligned to 256 bytes. */
size_t hunze_cuda_workspace_conv_float(const struct hunze_plan *plan)
{
    hunze_cuda_positions_in_place at;
    if (plan->conv.packed || hunze_cuda_conv_in_place(plan, &at))
        return 0;
    const size_t weights = (size_t)packed_bytes(plan);
    return FLAG_BYTES + (weights + FLAG_BYTES - 1) / FLAG_BYTES * FLAG_BYTES;
}

const char *hunze_cuda_refuses_conv_float(const struct hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t n = shape->k / shape->groups;
    int64_t m, products = shape->groups, k, packed;
    if (__builtin_mul_overflow(shape->kernel[0] * (shape->c / shape->groups), shape->kernel[1], &k) ||
        k >= INT32_MAX / 2)
        return "needs fewer than 2^30 taps and channels per output";
    if (n > INT64_MAX - 128 || __builtin_mul_overflow(k * shape->groups, packed_columns(shape) * 8, &packed))
        return "needs packed weights below 2^63 bytes";
    const char *why = hunze_cuda_refuses_extents(shape);
    if (why)
        return why;
    m = shape->n;
    for (int axis = 0; axis < 2; axis++) {
        const int64_t phases = phases_of(plan, axis);
        if (phases == 0)
            return NULL;
        if (__builtin_mul_overflow(m, hunze_ceil_div(shape->out[axis], phases), &m) ||
            __builtin_mul_overflow(products, phases, &products))
            return hunze_cuda_refuses_grid(INT64_MAX, n, products);
    }
    return hunze_cuda_refuses_grid(m, n, products);
}
