/* SPDX-License-Identifier: Apache-2.0 */
/* What a convolution and its transpose take, and the shape that their drivers work from. */
#include "plan.h"

#include <inttypes.h>

static hunze_status check_options(const hunze_conv_options *options, int spatial, bool transposed)
{
    if (options->layout > HUNZE_CHANNELS_LAST)
        return hunze_fail(HUNZE_ERR_OPTION, "layout is %u; 0 (channels first) and 1 (channels last) are known",
                          options->layout);
    if (options->pad_mode)
        return hunze_fail(HUNZE_ERR_OPTION, "pad_mode is %u; 0 (zeros) is known", options->pad_mode);
    if (options->reserved)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_conv_options.reserved is not 0");
    for (int i = 0; i < 3; i++) {
        if (options->pad_before[i] < 0 || options->pad_after[i] < 0)
            return hunze_fail(HUNZE_ERR_OPTION, "padding of spatial axis %d is (%d, %d); 0 or more is taken", i,
                              options->pad_before[i], options->pad_after[i]);
        const uint32_t stride = options->stride[i] ? options->stride[i] : 1,
                       dilation = options->dilation[i] ? options->dilation[i] : 1;
        if (i >= spatial && (stride != 1 || dilation != 1 || options->pad_before[i] || options->pad_after[i] ||
                             options->output_padding[i]))
            return hunze_fail(HUNZE_ERR_OPTION, "stride, dilation or padding is given for spatial axis %d of %d", i,
                              spatial);
        if (options->output_padding[i] && !transposed)
            return hunze_fail(HUNZE_ERR_OPTION, "output_padding belongs to conv_transpose");
        if (options->output_padding[i] && options->output_padding[i] >= (stride > dilation ? stride : dilation))
            return hunze_fail(HUNZE_ERR_OPTION,
                              "output_padding[%d] is %u; it must be smaller than the stride or the dilation", i,
                              options->output_padding[i]);
    }
    return HUNZE_OK;
}

static int64_t or_one(uint32_t value) { return value ? value : 1; }

/* Kernel extents and channels, from the weights or from their packed header.  inner is the weights' second axis. */
static hunze_status read_weights(const hunze_request *request, const hunze_plan *plan, hunze_conv_shape *shape,
                                 bool transposed, int64_t *first, int64_t *inner)
{
    const hunze_tensor *w = request->operand[HUNZE_ROLE_B], *x = request->operand[HUNZE_ROLE_A];
    char text[HUNZE_SHAPE_TEXT], x_text[HUNZE_SHAPE_TEXT];
    const int pad = 2 - shape->spatial;
    shape->kernel[0] = 1;
    shape->packed = plan->packed;
    if (!plan->packed) {
        if (w->ndim != x->ndim)
            return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; x %s needs %d axes", hunze_shape_text(w, text),
                              hunze_shape_text(x, x_text), x->ndim);
        *first = w->shape[0];
        *inner = w->shape[1];
        for (int i = 0; i < shape->spatial; i++) {
            shape->kernel[pad + i] = w->shape[2 + i];
            shape->w_axis[pad + i] = hunze_stride(w, 2 + i);
        }
        shape->w_k = hunze_stride(w, transposed ? 1 : 0);
        shape->w_c = hunze_stride(w, transposed ? 0 : 1);
    } else {
        const hunze_packed_header *header = &request->packed;
        if (header->op != request->call->op || header->spatial != shape->spatial)
            return hunze_fail(HUNZE_ERR_PACKED, "w was packed for op %u with %u spatial axes; this is op %u with %d",
                              header->op, header->spatial, request->call->op, shape->spatial);
        if (header->groups != shape->groups)
            return hunze_fail(HUNZE_ERR_PACKED, "w was packed for %u groups; this call has %" PRId64, header->groups,
                              shape->groups);
        shape->kernel[0] = header->kernel[0];
        shape->kernel[1] = header->kernel[1];
        const int64_t taps = header->kernel[0] * header->kernel[1];
        *first = transposed ? header->k / taps * shape->groups : header->n * shape->groups;
        *inner = transposed ? header->n : header->k / taps;
    }
    for (int i = 0; i < 2; i++)
        if (shape->kernel[i] < 1)
            return hunze_fail(HUNZE_ERR_SHAPE, "w has shape %s; a kernel has extents of 1 or more",
                              hunze_shape_text(w, text));
    return HUNZE_OK;
}

static hunze_status output_extent(const hunze_conv_shape *shape, int axis, const hunze_conv_options *options,
                                  bool transposed, int64_t *out)
{
    const int i = axis - (2 - shape->spatial);
    int64_t reach, padded;
    if (__builtin_mul_overflow(shape->dilation[axis], shape->kernel[axis] - 1, &reach))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "dilation * (kernel - 1) of spatial axis %d leaves 63 bits", i);
    if (!transposed) {
        if (__builtin_add_overflow(shape->in[axis], shape->before[axis] + shape->after[axis], &padded))
            return hunze_fail(HUNZE_ERR_OVERFLOW, "the padded input of spatial axis %d leaves 63 bits", i);
        const int64_t room = padded - reach - 1;
        *out = room < 0 ? 0 : room / shape->stride[axis] + 1;
        return HUNZE_OK;
    }
    if (__builtin_mul_overflow(shape->in[axis] - 1, shape->stride[axis], &padded) ||
        __builtin_add_overflow(padded, reach, &padded) ||
        __builtin_add_overflow(padded,
                               (int64_t)options->output_padding[i] + 1 - shape->before[axis] - shape->after[axis], out))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "the output of spatial axis %d leaves 63 bits", i);
    if (shape->in[axis] == 0 || *out < 0)
        *out = 0;
    return HUNZE_OK;
}

hunze_status hunze_check_conv(const hunze_request *request, hunze_plan *plan)
{
    const hunze_conv_options *options = request->call->options;
    const hunze_tensor *x = request->operand[HUNZE_ROLE_A], *y = request->operand[HUNZE_ROLE_D],
                       *bias = request->operand[HUNZE_ROLE_BIAS], *residual = request->operand[HUNZE_ROLE_RESIDUAL];
    const bool transposed = request->call->op == HUNZE_OP_CONV_TRANSPOSE;
    char text[HUNZE_SHAPE_TEXT], other[HUNZE_SHAPE_TEXT];
    TRY(hunze_check_product_types(request, plan));
    const bool narrow_on_device = hunze_type_is_narrow(plan->a_type) && plan->device.type != HUNZE_DEVICE_CPU;
    if (transposed && plan->a_type != HUNZE_TYPE_F32 && plan->a_type != HUNZE_TYPE_F64 && !narrow_on_device)
        return hunze_fail(HUNZE_ERR_DTYPE, "x is %s; conv_transpose takes f32 and f64, and on devices bf16 and f16",
                          hunze_type_name(plan->a_type));
    if (x->ndim != 3 && x->ndim != 4)
        return hunze_fail(HUNZE_ERR_SHAPE, "x has shape %s; it needs (n, channels, *in) with one or two spatial axes",
                          hunze_shape_text(x, text));
    if (y->ndim != x->ndim)
        return hunze_fail(HUNZE_ERR_SHAPE, "y has shape %s; x %s needs %d axes", hunze_shape_text(y, text),
                          hunze_shape_text(x, other), x->ndim);
    hunze_conv_shape *shape = &plan->conv;
    *shape = (hunze_conv_shape){.spatial = x->ndim - 2,
                                .groups = or_one(options->groups),
                                .in = {1, 1},
                                .stride = {1, 1},
                                .dilation = {1, 1},
                                .channels_last = options->layout == HUNZE_CHANNELS_LAST};
    TRY(check_options(options, shape->spatial, transposed));
    const int channel = options->layout == HUNZE_CHANNELS_FIRST ? 1 : x->ndim - 1,
              first_axis = options->layout == HUNZE_CHANNELS_FIRST ? 2 : 1;
    const int pad = 2 - shape->spatial;
    shape->n = x->shape[0];
    shape->c = x->shape[channel];
    shape->x_n = hunze_stride(x, 0);
    shape->y_n = hunze_stride(y, 0);
    shape->x_c = hunze_stride(x, channel);
    shape->y_c = hunze_stride(y, channel);
    for (int i = 0; i < shape->spatial; i++) {
        shape->in[pad + i] = x->shape[first_axis + i];
        shape->x_axis[pad + i] = hunze_stride(x, first_axis + i);
        shape->y_axis[pad + i] = hunze_stride(y, first_axis + i);
        shape->stride[pad + i] = or_one(options->stride[i]);
        shape->dilation[pad + i] = or_one(options->dilation[i]);
        shape->before[pad + i] = options->pad_before[i];
        shape->after[pad + i] = options->pad_after[i];
    }
    int64_t first = 0, inner = 0;
    TRY(read_weights(request, plan, shape, transposed, &first, &inner));
    if (transposed ? first != shape->c || shape->c % shape->groups
                   : inner > INT64_MAX / shape->groups || inner * shape->groups != shape->c)
        return hunze_fail(HUNZE_ERR_SHAPE,
                          "w has %" PRId64 " input channels%s; x %s with %" PRId64 " groups needs %" PRId64,
                          transposed ? first : inner, transposed ? "" : " per group", hunze_shape_text(x, text),
                          shape->groups, transposed ? shape->c : shape->c / shape->groups);
    if (transposed ? inner > INT64_MAX / shape->groups : first % shape->groups != 0)
        return hunze_fail(HUNZE_ERR_SHAPE, "w has %" PRId64 " output channels, which %" PRId64 " groups do not divide",
                          first, shape->groups);
    shape->k = transposed ? inner * shape->groups : first;
    for (int i = 0; i < 2; i++) {
        shape->out[i] = 1;
        if (i >= pad)
            TRY(output_extent(shape, i, options, transposed, &shape->out[i]));
    }
    bool fits = y->shape[0] == shape->n && y->shape[channel] == shape->k;
    for (int i = 0; i < shape->spatial; i++)
        fits = fits && y->shape[first_axis + i] == shape->out[pad + i];
    if (!fits) {
        const int64_t spatial[2] = {shape->out[pad], shape->out[1]};
        int64_t wanted[4] = {shape->n};
        wanted[channel] = shape->k;
        for (int i = 0; i < shape->spatial; i++)
            wanted[first_axis + i] = spatial[i];
        const hunze_tensor expected = {.ndim = x->ndim, .shape = wanted};
        return hunze_fail(HUNZE_ERR_SHAPE, "y has shape %s; this convolution needs %s", hunze_shape_text(y, text),
                          hunze_shape_text(&expected, other));
    }
    if (bias && (bias->ndim != 1 || bias->shape[0] != shape->k))
        return hunze_fail(HUNZE_ERR_SHAPE, "bias has shape %s; it needs (%" PRId64 ",)", hunze_shape_text(bias, text),
                          shape->k);
    if (residual) {
        fits = residual->ndim == y->ndim;
        for (int i = 0; fits && i < y->ndim; i++)
            fits = residual->shape[i] == y->shape[i];
        if (!fits)
            return hunze_fail(HUNZE_ERR_SHAPE, "residual has shape %s; it needs y's, %s",
                              hunze_shape_text(residual, text), hunze_shape_text(y, other));
    }
    TRY(hunze_check_activation(options->activation, plan->d_type));
    TRY(hunze_check_quant(request, options->x_quant, HUNZE_ROLE_A_SCALE, -1, x->ndim, 1, plan->a_type));
    TRY(hunze_check_quant(request, options->w_quant, HUNZE_ROLE_B_SCALE, 0, x->ndim, shape->k, plan->b_type));
    TRY(hunze_check_quant(request, options->y_quant, HUNZE_ROLE_D_SCALE, channel, y->ndim, shape->k, plan->d_type));
    TRY(hunze_tensor_check_output(y, "y"));
    /* Multiplications and additions of every tap, padded ones included: what the sum is defined over. */
    int64_t operations = hunze_count(y) == 0 ? 0 : hunze_count(transposed ? x : y);
    if (__builtin_mul_overflow(operations, shape->kernel[0], &operations) ||
        __builtin_mul_overflow(operations, shape->kernel[1], &operations) ||
        __builtin_mul_overflow(operations, (transposed ? shape->k : shape->c) / shape->groups, &operations) ||
        __builtin_mul_overflow(operations, 2, &operations))
        return hunze_fail(HUNZE_ERR_OVERFLOW, "the operations of this convolution leave 63 bits");
    plan->operations = (uint64_t)operations;
    return HUNZE_OK;
}
