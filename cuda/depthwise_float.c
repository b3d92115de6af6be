/* SPDX-License-Identifier: Apache-2.0 */
/* Launches depthwise convolutions of f32, bf16 and f16. */
#include "depthwise_weights.h"
#include "launchers.h"
#include "operands_float.h"

#include <stdlib.h>

enum { THREADS = HUNZE_CUDA_DEPTHWISE_FLOAT_THREADS };

static const hunze_cuda_kernel f32 = {"hunze_depthwise_f32_cuda", &hunze_fatbin_depthwise_f32_cuda, THREADS, 0};
static const hunze_cuda_kernel bf16 = {"hunze_depthwise_bf16_cuda", &hunze_fatbin_depthwise_bf16_cuda, THREADS, 0};
static const hunze_cuda_kernel f16 = {"hunze_depthwise_f16_cuda", &hunze_fatbin_depthwise_f16_cuda, THREADS, 0};
const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_f32[] = {&f32, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_bf16[] = {&bf16, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_f16[] = {&f16, NULL};

/* y's axes: those of one index first, then by stride. */
static void order_axes(const hunze_conv_shape *shape, int64_t extent[4], int32_t order[4])
{
    const int64_t extents[4] = {shape->n, shape->c, shape->out[0], shape->out[1]};
    const int64_t strides[4] = {shape->y_n, shape->y_c, shape->y_axis[0], shape->y_axis[1]};
    for (int32_t i = 0; i < 4; i++) {
        int at = i;
        extent[i] = extents[i];
        for (; at > 0; at--) {
            const int32_t before = order[at - 1];
            if (extents[i] == 1 ? extents[before] == 1
                                : extents[before] == 1 || llabs(strides[before]) >= llabs(strides[i]))
                break;
            order[at] = before;
        }
        order[at] = i;
    }
}

/* Blocks for each pair of indices along the first two axes. */
static int64_t blocks_per_pair(const int64_t extent[4], const int32_t order[4])
{
    return hunze_ceil_div(extent[order[2]] * extent[order[3]], THREADS);
}

const char *hunze_cuda_refuses_depthwise_float(const hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const char *why = NULL;
    int64_t extent[4], blocks;
    int32_t order[4];
    if (plan->op != HUNZE_OP_CONV)
        return "computes convolution, not its transpose";
    if (!hunze_depthwise_takes(shape, &why) || (why = hunze_cuda_refuses_extents(shape)) != NULL)
        return why;
    order_axes(shape, extent, order);
    if (__builtin_mul_overflow(extent[order[0]] * extent[order[1]], blocks_per_pair(extent, order), &blocks) ||
        blocks > INT32_MAX)
        return "needs fewer than 2^31 blocks of 256 outputs";
    return NULL;
}

hunze_status hunze_cuda_launch_depthwise_float(const hunze_plan *plan, const hunze_call *call,
                                               const hunze_cuda_run *run)
{
    const hunze_conv_shape *shape = &plan->conv;
    const hunze_conv_options *options = call->options;
    hunze_conv_operands operands;
    hunze_conv_operands_of(plan, call, run->flags, &operands);
    const hunze_cuda_depthwise_weights weights = hunze_cuda_depthwise_weights_of(shape, operands.w);
    hunze_cuda_float_depthwise p = {
        .x = operands.x,
        .w = weights.w,
        .x_image = shape->x_n,
        .x_channel = shape->x_c,
        .w_channel = weights.channel,
        .d_f32 = operands.y_type == HUNZE_TYPE_F32,
        .bias_f32 = operands.bias_type == HUNZE_TYPE_F32,
        .residual_f32 = options->residual && hunze_type_of(options->residual->dtype) == HUNZE_TYPE_F32,
    };
    order_axes(shape, p.extent, p.order);
    p.blocks_per_pair = (uint32_t)blocks_per_pair(p.extent, p.order);
    hunze_cuda_conv_float_epilogue(shape, &operands, &p.epilogue, &p.positions);
    for (int axis = 0; axis < 2; axis++) {
        p.x_axis[axis] = shape->x_axis[axis];
        p.w_axis[axis] = weights.axis[axis];
        p.in[axis] = (int32_t)shape->in[axis];
        p.kernel[axis] = (int32_t)shape->kernel[axis];
        p.stride[axis] = shape->out[axis] == 1 ? 0 : (int32_t)shape->stride[axis];
        p.dilation[axis] = shape->kernel[axis] == 1 ? 0 : (int32_t)shape->dilation[axis];
        p.before[axis] = (int32_t)shape->before[axis];
    }
    const hunze_cuda_kernel *kernel = plan->row->a == HUNZE_TYPE_BF16  ? &bf16
                                      : plan->row->a == HUNZE_TYPE_F16 ? &f16
                                                                       : &f32;
    return hunze_cuda_start(run, kernel, p.extent[p.order[0]] * p.extent[p.order[1]] * p.blocks_per_pair, 1, 1, &p,
                            sizeof p);
}
