/* The operands of a convolution's call, read once before the first phase, and the epilogues made from them. */
#include "conv.h"

/* Step between the values of a parameter over output channels: 0 for one value. */
static int64_t parameter_stride(const hunze_quant *quant, const hunze_tensor *values)
{
    return quant->granularity == HUNZE_PER_AXIS && values->ndim > 0 ? hunze_stride(values, 0) : 0;
}

static const void *parameter(const hunze_quant *quant, bool zero_point, int64_t *stride)
{
    const hunze_tensor *values = !quant ? NULL : zero_point ? quant->zero_point : quant->scale;
    *stride = values ? parameter_stride(quant, values) : 0;
    return values ? hunze_data(values) : NULL;
}

void hunze_conv_operands_of(const struct hunze_plan *plan, const hunze_call *call, uint32_t flags,
                            hunze_conv_operands *out)
{
    static const hunze_conv_options defaults = {.struct_size = sizeof defaults};
    const hunze_conv_options *options = call->options ? call->options : &defaults;
    const int spatial = plan->conv.spatial;
    *out = (hunze_conv_operands){
        .x = hunze_data(call->a),
        .w = hunze_data(call->b),
        .y = hunze_data(call->d),
        .x_type = hunze_type_of(call->a->dtype),
        .y_type = hunze_type_of(call->d->dtype),
        .canonical_nan = (flags & HUNZE_REPRODUCIBLE) != 0,
    };
    out->x_bytes = (int64_t)hunze_type_bytes(out->x_type);
    out->y_bytes = (int64_t)hunze_type_bytes(out->y_type);
    const bool integers = out->x_type == HUNZE_TYPE_U8 || out->x_type == HUNZE_TYPE_S8;
    out->w_bytes = integers ? 1 : out->x_bytes;
    out->quantised = integers && out->y_type != HUNZE_TYPE_S32;
    if (options->bias) {
        out->bias = hunze_data(options->bias);
        out->bias_type = hunze_type_of(options->bias->dtype);
        out->bias_stride = hunze_stride(options->bias, 0);
    }
    if (options->residual) {
        const int channel_axis = options->layout == HUNZE_CHANNELS_LAST ? spatial + 1 : 1;
        const int first_axis = options->layout == HUNZE_CHANNELS_LAST ? 1 : 2;
        out->residual = hunze_data(options->residual);
        out->residual_n = hunze_stride(options->residual, 0);
        out->residual_c = hunze_stride(options->residual, channel_axis);
        for (int axis = 0; axis < spatial; axis++)
            out->residual_axis[2 - spatial + axis] = hunze_stride(options->residual, first_axis + axis);
    }
    if (options->activation) {
        out->activation = (hunze_activation_kind)options->activation->kind;
        out->alpha = options->activation->alpha;
        out->beta = options->activation->beta;
    }
    if (!integers)
        return;
    int64_t unused;
    const void *x_zero_point = parameter(options->x_quant, true, &unused);
    if (x_zero_point)
        out->x_zero_point =
            out->x_type == HUNZE_TYPE_U8 ? *(const uint8_t *)x_zero_point : *(const int8_t *)x_zero_point;
    out->x_scale = parameter(options->x_quant, false, &unused);
    out->w_scale = parameter(options->w_quant, false, &out->w_scale_stride);
    out->w_zero_point = parameter(options->w_quant, true, &out->w_zero_point_stride);
    out->y_scale = parameter(options->y_quant, false, &out->y_scale_stride);
    out->y_zero_point = parameter(options->y_quant, true, &unused);
}

void hunze_conv_float_epilogue(const hunze_conv_operands *operands, int64_t channel, int64_t position,
                               int64_t residual_row, hunze_float_epilogue *out)
{
    const int64_t bytes = operands->y_bytes;
    *out = (hunze_float_epilogue){
        .activation = operands->activation,
        .alpha = operands->alpha,
        .beta = operands->beta,
        .canonical_nan = operands->canonical_nan,
    };
    if (operands->bias) {
        out->bias = operands->bias + channel * operands->bias_stride * bytes;
        out->bias_col = operands->bias_stride;
    }
    if (operands->residual) {
        out->residual = operands->residual + (position + channel * operands->residual_c) * bytes;
        out->residual_row = residual_row;
        out->residual_col = operands->residual_c;
    }
}

void hunze_conv_int_epilogue(const hunze_conv_operands *operands, int64_t channel, int64_t position,
                             int64_t residual_row, hunze_int_epilogue *out)
{
    *out = (hunze_int_epilogue){
        .output = operands->y_type,
        .activation = operands->activation,
        .alpha = operands->alpha,
        .beta = operands->beta,
        .canonical_nan = operands->canonical_nan,
    };
    if (!operands->quantised)
        return;
    out->row_scale = operands->x_scale;
    out->column_scale = operands->w_scale + channel * operands->w_scale_stride;
    out->column_scale_stride = operands->w_scale_stride;
    if (operands->bias && operands->bias_type == HUNZE_TYPE_F32) {
        out->bias = (const float *)operands->bias + channel * operands->bias_stride;
        out->bias_col = operands->bias_stride;
    }
    if (operands->residual) {
        out->residual = (const float *)operands->residual + position + channel * operands->residual_c;
        out->residual_row = residual_row;
        out->residual_col = operands->residual_c;
    }
    if (operands->y_type == HUNZE_TYPE_F32)
        return;
    out->output_scale = operands->y_scale + channel * operands->y_scale_stride;
    out->output_scale_stride = operands->y_scale_stride;
    if (operands->y_zero_point)
        out->output_zero_point = (const char *)operands->y_zero_point + channel * operands->y_scale_stride;
}
