/* SPDX-License-Identifier: Apache-2.0 */
/* What the elementwise ops take: quantize, dequantize and activation. */
#include "plan.h"

static hunze_status check_types(hunze_op op, const hunze_plan *plan)
{
    const hunze_type a = plan->a_type, d = plan->d_type;
    if (op == HUNZE_OP_QUANTIZE && (a != HUNZE_TYPE_F32 || (d != HUNZE_TYPE_U8 && d != HUNZE_TYPE_S8)))
        return hunze_fail(HUNZE_ERR_DTYPE, "x is %s and codes are %s; quantize takes f32 to u8 or s8",
                          hunze_type_name(a), hunze_type_name(d));
    if (op == HUNZE_OP_DEQUANTIZE &&
        (d != HUNZE_TYPE_F32 || (a != HUNZE_TYPE_U8 && a != HUNZE_TYPE_S8 && a != HUNZE_TYPE_S32)))
        return hunze_fail(HUNZE_ERR_DTYPE, "codes are %s and x is %s; dequantize takes u8, s8 or s32 to f32",
                          hunze_type_name(a), hunze_type_name(d));
    if (op == HUNZE_OP_ACTIVATION && (a != d || (a != HUNZE_TYPE_F32 && a != HUNZE_TYPE_F64)))
        return hunze_fail(HUNZE_ERR_DTYPE, "x is %s and y is %s; activation takes f32 or f64, both alike",
                          hunze_type_name(a), hunze_type_name(d));
    return HUNZE_OK;
}

static hunze_status check_quantization(const hunze_request *request, hunze_plan *plan)
{
    const hunze_quantize_options *options = request->call->options;
    const bool quantize = request->call->op == HUNZE_OP_QUANTIZE;
    const int scale = quantize ? HUNZE_ROLE_D_SCALE : HUNZE_ROLE_A_SCALE;
    const hunze_tensor *codes = request->operand[quantize ? HUNZE_ROLE_D : HUNZE_ROLE_A];
    if (options->reserved)
        return hunze_fail(HUNZE_ERR_OPTION, "hunze_quantize_options.reserved is not 0");
    if (options->dynamic > (quantize ? 1 : 0))
        return hunze_fail(HUNZE_ERR_OPTION, "dynamic is %u; 0%s is known", options->dynamic, quantize ? " or 1" : "");
    if (!options->quant || !request->operand[scale])
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL", options->quant ? "quant.scale" : "quant");
    int axis = -1;
    if (options->quant->granularity == HUNZE_PER_AXIS && codes->ndim > 0) {
        axis = options->quant->axis < 0 ? options->quant->axis + codes->ndim : options->quant->axis;
        if (axis < 0 || axis >= codes->ndim)
            return hunze_fail(HUNZE_ERR_OPTION, "axis %d of quant; codes have %d axes", options->quant->axis,
                              codes->ndim);
    }
    TRY(hunze_check_quant(request, options->quant, scale, axis, codes->ndim, axis < 0 ? 1 : codes->shape[axis],
                          quantize ? plan->d_type : plan->a_type));
    plan->quantize = (hunze_quantize_shape){axis, axis < 0 ? 1 : codes->shape[axis], options->dynamic};
    if (options->dynamic && plan->d_type == HUNZE_TYPE_U8 && !request->operand[HUNZE_ROLE_D_ZERO])
        return hunze_fail(HUNZE_ERR_NULL, "quant.zero_point is NULL; dynamic quantisation to u8 writes it");
    return HUNZE_OK;
}

hunze_status hunze_check_map(const hunze_request *request, hunze_plan *plan)
{
    const hunze_op op = (hunze_op)request->call->op;
    const hunze_tensor *a = request->operand[HUNZE_ROLE_A], *d = request->operand[HUNZE_ROLE_D];
    char text[HUNZE_SHAPE_TEXT], other[HUNZE_SHAPE_TEXT];
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        if (request->operand[role])
            TRY(hunze_tensor_check(request->operand[role], hunze_role_name(op, role)));
    plan->a_type = hunze_type_of(a->dtype);
    plan->d_type = hunze_type_of(d->dtype);
    TRY(check_types(op, plan));
    bool fits = a->ndim == d->ndim;
    for (int i = 0; fits && i < a->ndim; i++)
        fits = a->shape[i] == d->shape[i];
    if (!fits)
        return hunze_fail(HUNZE_ERR_SHAPE, "%s has shape %s; it needs that of %s, %s",
                          hunze_role_name(op, HUNZE_ROLE_D), hunze_shape_text(d, text),
                          hunze_role_name(op, HUNZE_ROLE_A), hunze_shape_text(a, other));
    if (op == HUNZE_OP_ACTIVATION)
        TRY(hunze_check_activation(((const hunze_activation_options *)request->call->options)->activation,
                                   plan->d_type));
    else
        TRY(check_quantization(request, plan));
    TRY(hunze_tensor_check_output(d, hunze_role_name(op, HUNZE_ROLE_D)));
    plan->operations = (uint64_t)hunze_count(d);
    return HUNZE_OK;
}
