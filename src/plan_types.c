/* SPDX-License-Identifier: Apache-2.0 */
/* Which element types a product takes together, and what its epilogue and its quantisation may be. */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>

static const char *name_of(const hunze_request *request, int role)
{
    return hunze_role_name((hunze_op)request->call->op, role);
}

static hunze_type type_of(const hunze_request *request, int role)
{
    return request->operand[role] ? hunze_type_of(request->operand[role]->dtype) : HUNZE_TYPE_NONE;
}

static hunze_status expect_type(const hunze_request *request, int role, hunze_type wanted, const char *because)
{
    const hunze_tensor *tensor = request->operand[role];
    char text[24];
    if (!tensor || hunze_type_of(tensor->dtype) == wanted)
        return HUNZE_OK;
    return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; %s it is %s", name_of(request, role),
                      hunze_dtype_text(tensor->dtype, text), because, hunze_type_name(wanted));
}

static hunze_status refuse(const hunze_request *request, int role, const char *because)
{
    return request->operand[role]
               ? hunze_fail(HUNZE_ERR_UNSUPPORTED, "%s is given; %s", name_of(request, role), because)
               : HUNZE_OK;
}

hunze_status hunze_check_activation(const hunze_activation *activation, hunze_type d)
{
    if (!activation)
        return HUNZE_OK;
    if (activation->kind > HUNZE_ACT_CLIP)
        return hunze_fail(HUNZE_ERR_OPTION, "activation.kind is %u; 0 to %d are known", activation->kind,
                          HUNZE_ACT_CLIP);
    if (!hunze_type_wraps(d) || activation->kind == HUNZE_ACT_NONE)
        return HUNZE_OK;
    if (hunze_type_of_row(d) != d)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "activation.kind is %u; a result of %s takes none", activation->kind,
                          hunze_type_name(d));
    if (activation->kind != HUNZE_ACT_RELU && activation->kind != HUNZE_ACT_CLIP)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "activation.kind is %u; a result of %s takes relu or clip only",
                          activation->kind, hunze_type_name(d));
    return HUNZE_OK;
}

hunze_status hunze_check_quant(const hunze_request *request, const hunze_quant *quant, int scale_role, int axis,
                               int ndim, int64_t extent, hunze_type codes)
{
    if (!quant)
        return HUNZE_OK;
    if (quant->granularity > HUNZE_PER_AXIS)
        return hunze_fail(HUNZE_ERR_OPTION, "granularity %u of %s is not known", quant->granularity,
                          name_of(request, scale_role));
    const bool per_axis = quant->granularity == HUNZE_PER_AXIS;
    if (per_axis) {
        const int given = quant->axis < 0 ? quant->axis + ndim : quant->axis;
        if (axis < 0)
            return hunze_fail(HUNZE_ERR_UNSUPPORTED, "%s is per axis; this operand takes one per tensor",
                              name_of(request, scale_role));
        if (given != axis)
            return hunze_fail(HUNZE_ERR_OPTION,
                              "axis %d of %s; this operand takes one scale per tensor or per index of axis %d",
                              quant->axis, name_of(request, scale_role), axis);
    }
    for (int role = scale_role; role <= scale_role + 1; role++) {
        const hunze_tensor *tensor = request->operand[role];
        char text[HUNZE_SHAPE_TEXT];
        if (!tensor)
            continue;
        const int64_t wanted = per_axis ? extent : 1;
        if (hunze_count(tensor) != wanted || (per_axis && tensor->ndim != 1))
            return hunze_fail(HUNZE_ERR_SHAPE, "%s has shape %s; it needs %s%" PRId64 "%s", name_of(request, role),
                              hunze_shape_text(tensor, text), per_axis ? "(" : "", wanted,
                              per_axis ? ",)" : " element");
        if (per_axis && extent > 1 && hunze_stride(tensor, 0) != 1)
            return hunze_fail(HUNZE_ERR_STRIDE, "%s has stride %" PRId64 "; it must be contiguous",
                              name_of(request, role), hunze_stride(tensor, 0));
    }
    TRY(expect_type(request, scale_role, HUNZE_TYPE_F32, "a scale:"));
    return expect_type(request, scale_role + 1, codes, "with these codes");
}

/* f32, f64 and integers that wrap: all operands alike. */
static hunze_status check_alike(const hunze_request *request, const hunze_plan *plan)
{
    static const int same[] = {HUNZE_ROLE_D, HUNZE_ROLE_C, HUNZE_ROLE_BIAS, HUNZE_ROLE_RESIDUAL};
    char because[64];
    snprintf(because, sizeof because, "beside %s in %s", name_of(request, HUNZE_ROLE_A), hunze_type_name(plan->a_type));
    if (plan->b_type != plan->a_type)
        return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; %s it is %s", name_of(request, HUNZE_ROLE_B),
                          hunze_type_name(plan->b_type), because, hunze_type_name(plan->a_type));
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        TRY(expect_type(request, same[i], plan->a_type, because));
    for (int role = HUNZE_ROLE_A_SCALE; role <= HUNZE_ROLE_D_ZERO; role++)
        TRY(refuse(request, role, "scales and zero points belong to operands of u8 and s8"));
    return HUNZE_OK;
}

/* bf16 and f16: d, with c, and the addends each of that type or f32. */
static hunze_status check_narrow(const hunze_request *request, const hunze_plan *plan)
{
    static const int either[] = {HUNZE_ROLE_D, HUNZE_ROLE_BIAS, HUNZE_ROLE_RESIDUAL};
    char text[24], because[64];
    const char *type = hunze_type_name(plan->a_type);
    if (plan->b_type != plan->a_type)
        return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; beside %s in %s it is %s", name_of(request, HUNZE_ROLE_B),
                          hunze_type_name(plan->b_type), name_of(request, HUNZE_ROLE_A), type, type);
    for (size_t i = 0; i < sizeof either / sizeof either[0]; i++) {
        const hunze_type given = type_of(request, either[i]);
        if (request->operand[either[i]] && given != plan->a_type && given != HUNZE_TYPE_F32)
            return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; beside %s in %s it is %s or f32", name_of(request, either[i]),
                              hunze_dtype_text(request->operand[either[i]]->dtype, text),
                              name_of(request, HUNZE_ROLE_A), type, type);
    }
    snprintf(because, sizeof because, "beside %s in %s", name_of(request, HUNZE_ROLE_D), hunze_type_name(plan->d_type));
    TRY(expect_type(request, HUNZE_ROLE_C, plan->d_type, because));
    for (int role = HUNZE_ROLE_A_SCALE; role <= HUNZE_ROLE_D_ZERO; role++)
        TRY(refuse(request, role, "scales and zero points belong to integer operands"));
    return HUNZE_OK;
}

static hunze_status check_integer(const hunze_request *request, const hunze_plan *plan)
{
    const bool scaled = request->operand[HUNZE_ROLE_A_SCALE] != NULL;
    const bool product = request->call->op == HUNZE_OP_GEMM;
    if (plan->b_type != HUNZE_TYPE_S8 && !(product && plan->b_type == HUNZE_TYPE_U8))
        return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; beside %s in %s it is %ss8", name_of(request, HUNZE_ROLE_B),
                          hunze_type_name(plan->b_type), name_of(request, HUNZE_ROLE_A), hunze_type_name(plan->a_type),
                          product ? "u8 or " : "");
    TRY(refuse(request, HUNZE_ROLE_C, "integer products take none"));
    if (scaled != (request->operand[HUNZE_ROLE_B_SCALE] != NULL))
        return hunze_fail(HUNZE_ERR_OPTION, "%s is given without %s: a product takes both scales or none",
                          name_of(request, scaled ? HUNZE_ROLE_A_SCALE : HUNZE_ROLE_B_SCALE),
                          name_of(request, scaled ? HUNZE_ROLE_B_SCALE : HUNZE_ROLE_A_SCALE));
    const hunze_type d = type_of(request, HUNZE_ROLE_D);
    if (!scaled) {
        TRY(expect_type(request, HUNZE_ROLE_D, HUNZE_TYPE_S32, "a product of integers without scales:"));
        TRY(expect_type(request, HUNZE_ROLE_BIAS, HUNZE_TYPE_S32, "with an s32 result"));
        TRY(refuse(request, HUNZE_ROLE_RESIDUAL, "an s32 result takes none"));
        TRY(refuse(request, HUNZE_ROLE_D_SCALE, "an s32 result takes none"));
        return refuse(request, HUNZE_ROLE_D_ZERO, "an s32 result takes none");
    }
    if (d != HUNZE_TYPE_F32 && d != HUNZE_TYPE_U8 && d != HUNZE_TYPE_S8) {
        char text[24];
        return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; with scales it is f32, or u8 or s8 with a scale of its own",
                          name_of(request, HUNZE_ROLE_D),
                          hunze_dtype_text(request->operand[HUNZE_ROLE_D]->dtype, text));
    }
    const hunze_tensor *bias = request->operand[HUNZE_ROLE_BIAS];
    if (bias && type_of(request, HUNZE_ROLE_BIAS) != HUNZE_TYPE_S32)
        TRY(expect_type(request, HUNZE_ROLE_BIAS, HUNZE_TYPE_F32,
                        "with scales, unless s32 at the product of the scales,"));
    TRY(expect_type(request, HUNZE_ROLE_RESIDUAL, HUNZE_TYPE_F32, "with scales"));
    if (d != HUNZE_TYPE_F32 && !request->operand[HUNZE_ROLE_D_SCALE])
        return hunze_fail(HUNZE_ERR_NULL, "%s is NULL; a result of %s needs it", name_of(request, HUNZE_ROLE_D_SCALE),
                          hunze_type_name(d));
    if (d == HUNZE_TYPE_F32) {
        TRY(refuse(request, HUNZE_ROLE_D_SCALE, "an f32 result takes none"));
        TRY(refuse(request, HUNZE_ROLE_D_ZERO, "an f32 result takes none"));
    }
    return HUNZE_OK;
}

hunze_status hunze_check_product_types(const hunze_request *request, hunze_plan *plan)
{
    char text[24];
    for (int role = 0; role < HUNZE_ROLE_COUNT; role++)
        if (request->operand[role] && !(role == HUNZE_ROLE_B && plan->packed))
            TRY(hunze_tensor_check(request->operand[role], name_of(request, role)));
    plan->a_type = type_of(request, HUNZE_ROLE_A);
    plan->d_type = type_of(request, HUNZE_ROLE_D);
    if (!plan->packed)
        plan->b_type = type_of(request, HUNZE_ROLE_B);
    for (int role = HUNZE_ROLE_A; role <= HUNZE_ROLE_B; role++) {
        const hunze_type type = role == HUNZE_ROLE_A ? plan->a_type : plan->b_type;
        const bool product = request->call->op == HUNZE_OP_GEMM;
        if (type == HUNZE_TYPE_NONE || (hunze_type_wraps(type) && !product))
            return hunze_fail(HUNZE_ERR_DTYPE, "%s is %s; %s take f32, f64, bf16, f16, %sand u8 or s8 with s8",
                              name_of(request, role), hunze_dtype_text(request->operand[role]->dtype, text),
                              product ? "products" : "convolutions", product ? "integers of 16 to 64 bits, " : "");
    }
    if (hunze_type_is_narrow(plan->a_type))
        return check_narrow(request, plan);
    const bool of_bytes = plan->a_type == HUNZE_TYPE_U8 || plan->a_type == HUNZE_TYPE_S8;
    return of_bytes ? check_integer(request, plan) : check_alike(request, plan);
}
