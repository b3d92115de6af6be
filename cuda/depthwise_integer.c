/* SPDX-License-Identifier: Apache-2.0 */
/* Launches depthwise convolutions of integers. */
#include "depthwise_weights.h"
#include "launchers.h"
#include "operands_integer.h"

static const hunze_cuda_kernel u8s8 = {"hunze_depthwise_u8s8_cuda", &hunze_fatbin_depthwise_u8s8_cuda,
                                       HUNZE_CUDA_DEPTHWISE_THREADS, 0};
static const hunze_cuda_kernel s8s8 = {"hunze_depthwise_s8s8_cuda", &hunze_fatbin_depthwise_s8s8_cuda,
                                       HUNZE_CUDA_DEPTHWISE_THREADS, 0};
const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_u8s8[] = {&u8s8, NULL};
const hunze_cuda_kernel *const hunze_cuda_kernels_depthwise_s8s8[] = {&s8s8, NULL};

static int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

/* Neighbouring threads have neighbouring elements of y. */
static bool channels_last(const hunze_conv_shape *shape)
{
    return shape->out[1] == 1 || (shape->c > 1 && magnitude(shape->y_c) <= magnitude(shape->y_axis[1]));
}

static int64_t blocks_of(const hunze_conv_shape *shape)
{
    return hunze_ceil_div(shape->out[1] * (channels_last(shape) ? shape->c : shape->out[0]),
                          HUNZE_CUDA_DEPTHWISE_THREADS);
}

const char *hunze_cuda_refuses_depthwise_integer(const hunze_plan *plan)
{
    const hunze_conv_shape *shape = &plan->conv;
    const int64_t limit = HUNZE_CUDA_INT_LIMIT;
    int64_t blocks, outer;
    if (plan->op != HUNZE_OP_CONV)
        return "computes convolution, not its transpose";
    if (shape->groups != shape->c || shape->c != shape->k)
        return "needs groups == channels == output channels";
    if (shape->c >= limit || shape->n >= limit)
        return "needs channels and images below 2^30";
    for (int axis = 0; axis < 2; axis++) {
        int64_t reach;
        if (shape->in[axis] + shape->before[axis] + shape->after[axis] >= limit || shape->stride[axis] >= limit ||
            __builtin_mul_overflow(shape->kernel[axis], shape->dilation[axis], &reach) || reach >= limit)
            return "needs extents, strides and dilated kernels below 2^30";
    }
    if (__builtin_mul_overflow(shape->n, channels_last(shape) ? shape->out[0] : shape->c, &outer) ||
        __builtin_mul_overflow(outer, blocks_of(shape), &blocks) || blocks >= limit)
        return "needs fewer than 2^30 blocks of 256 outputs";
    return NULL;
}

hunze_status hunze_cuda_launch_depthwise_integer(const hunze_plan *plan, const hunze_call *call,
                                                 const hunze_cuda_run *run)
{
    const hunze_conv_options *options = call->options;
    const hunze_conv_shape *shape = &plan->conv;
    const bool last = channels_last(shape);
    const hunze_cuda_parameter w_zero = hunze_cuda_zero_point(options->w_quant);
    const hunze_cuda_depthwise_weights weights = hunze_cuda_depthwise_weights_of(shape, hunze_data(call->b));
    hunze_cuda_int_depthwise p = {
        .x = hunze_data(call->a),
        .w = weights.w,
        .x_zero = hunze_cuda_zero_point(options->x_quant).values,
        .w_zero = w_zero.values,
        .w_zero_stride = w_zero.stride,
        .x_image = shape->x_n,
        .x_channel = shape->x_c,
        .w_channel = weights.channel,
        .d_image = shape->y_n,
        .channels_last = last,
        .outer = (int32_t)(last ? shape->out[0] : shape->c),
        .major = (int32_t)(last ? shape->out[1] : shape->out[0]),
        .minor = (int32_t)(last ? shape->c : shape->out[1]),
        .blocks = (int32_t)blocks_of(shape),
        .epilogue = hunze_cuda_int_epilogue_of(call->d, options->x_quant, options->w_quant, options->y_quant,
                                               options->activation, run->flags),
    };
    p.epilogue.d_column = shape->y_c;
    if (options->bias)
        hunze_cuda_int_epilogue_bias(&p.epilogue, options->bias, 0, hunze_stride(options->bias, 0));
    hunze_cuda_image_strides residual = {0};
    if (options->residual) {
        residual = hunze_cuda_image_strides_of(options->residual, options->layout);
        p.epilogue.residual = hunze_data(options->residual);
        p.epilogue.residual_column = residual.channel;
        p.residual_image = residual.image;
    }
    hunze_cuda_int_epilogue_finish(&p.epilogue);
    for (int axis = 0; axis < 2; axis++) {
        p.x_axis[axis] = shape->x_axis[axis];
        p.w_axis[axis] = weights.axis[axis];
        p.d_axis[axis] = shape->y_axis[axis];
        p.residual_axis[axis] = residual.axis[axis];
        p.kernel[axis] = (int32_t)shape->kernel[axis];
        p.in[axis] = (int32_t)shape->in[axis];
        p.stride[axis] = (int32_t)shape->stride[axis];
        p.dilation[axis] = (int32_t)shape->dilation[axis];
        p.before[axis] = (int32_t)shape->before[axis];
    }
    return hunze_cuda_start(run, plan->row->a == HUNZE_TYPE_S8 ? &s8s8 : &u8s8, shape->n * p.outer * p.blocks, 1, 1, &p,
                            sizeof p);
}
