/* SPDX-License-Identifier: Apache-2.0 */
#include "operands_integer.h"

#include "../src/simd/integer_bound.h"

static hunze_cuda_parameter parameter(const hunze_tensor *values)
{
    if (!values)
        return (hunze_cuda_parameter){NULL, 0};
    const bool one = values->ndim == 0 || hunze_count(values) == 1;
    return (hunze_cuda_parameter){hunze_data(values), one ? 0 : hunze_stride(values, values->ndim - 1)};
}

hunze_cuda_parameter hunze_cuda_scale(const hunze_quant *quant) { return parameter(quant ? quant->scale : NULL); }
hunze_cuda_parameter hunze_cuda_zero_point(const hunze_quant *quant)
{
    return parameter(quant ? quant->zero_point : NULL);
}

hunze_cuda_int_epilogue hunze_cuda_int_epilogue_of(const hunze_tensor *d, const hunze_quant *a, const hunze_quant *b,
                                                   const hunze_quant *output, const hunze_activation *activation,
                                                   uint32_t flags)
{
    const hunze_cuda_parameter row = hunze_cuda_scale(a), column = hunze_cuda_scale(b), out = hunze_cuda_scale(output);
    hunze_cuda_int_epilogue e = {
        .output = hunze_type_of(d->dtype),
        .row_scale = row.values,
        .row_scale_stride = row.stride,
        .column_scale = column.values,
        .column_scale_stride = column.stride,
        .output_scale = out.values,
        .output_zero_point = hunze_cuda_zero_point(output).values,
        .output_stride = out.stride,
        .canonical_nan = (flags & HUNZE_REPRODUCIBLE) != 0,
        .low = INT32_MIN,
        .high = INT32_MAX,
        .d = hunze_data(d),
    };
    if (activation) {
        e.activation = activation->kind;
        e.alpha = activation->alpha;
        e.beta = activation->beta;
    }
    if (e.activation == HUNZE_ACT_RELU)
        e.low = 0;
    if (e.activation == HUNZE_ACT_CLIP) {
        e.low = integer_bound(e.alpha, true);
        e.high = integer_bound(e.beta, false);
    }
    return e;
}

void hunze_cuda_int_epilogue_bias(hunze_cuda_int_epilogue *e, const hunze_tensor *bias, int64_t row, int64_t column)
{
    if (hunze_type_of(bias->dtype) == HUNZE_TYPE_S32) {
        e->int_bias = hunze_data(bias);
        e->int_bias_row = row;
        e->int_bias_column = column;
    } else {
        e->bias = hunze_data(bias);
        e->bias_row = row;
        e->bias_column = column;
    }
}

void hunze_cuda_int_epilogue_finish(hunze_cuda_int_epilogue *e)
{
    e->direct = (e->output == HUNZE_TYPE_S8 || e->output == HUNZE_TYPE_U8) && !e->bias && !e->residual &&
                e->activation == HUNZE_ACT_NONE;
}
