/* SPDX-License-Identifier: Apache-2.0 */
/* What a GEMM takes: shapes that fit, leading axes that broadcast, bias, residual and quantisation. */
#include "plan.h"

#include <inttypes.h>

static hunze_status matrix(const hunze_tensor *tensor, const char *name)
{
    char text[HUNZE_SHAPE_TEXT];
    return tensor->ndim >= 2 ? HUNZE_OK
                             : hunze_fail(HUNZE_ERR_SHAPE, "%s has shape %s; it needs two axes or more", name,
                                          hunze_shape_text(tensor, text));
}

/* Axes of `tensor` before its last `inner` broadcast to those of d before its last two. */
static hunze_status leading(const hunze_tensor *tensor, int inner, const hunze_tensor *d, const char *name)
{
    char text[HUNZE_SHAPE_TEXT], d_text[HUNZE_SHAPE_TEXT];
    const int count = tensor->ndim - inner, d_count = d->ndim - 2;
    bool fits = count <= d_count;
    for (int i = 0; fits && i < count; i++) {
        const int64_t extent = tensor->shape[i];
        fits = extent == 1 || extent == d->shape[d_count - count + i];
    }
    return fits ? HUNZE_OK
                : hunze_fail(HUNZE_ERR_SHAPE, "%s has shape %s; its leading axes do not broadcast to those of d %s",
                             name, hunze_shape_text(tensor, text), hunze_shape_text(d, d_text));
}

static hunze_status check_bias(const hunze_tensor *bias, int64_t m, int64_t n)
{
    char text[HUNZE_SHAPE_TEXT];
    bool fits = false;
    if (bias->ndim == 1)
        fits = bias->shape[0] == n;
    else if (bias->ndim == 2)
        fits = (bias->shape[0] == 1 && bias->shape[1] == n) || (bias->shape[0] == m && bias->shape[1] == 1);
    return fits ? HUNZE_OK
                : hunze_fail(HUNZE_ERR_SHAPE,
                             "bias has shape %s; it needs (%" PRId64 ",), (1, %" PRId64 ") or (%" PRId64 ", 1)",
                             hunze_shape_text(bias, text), n, n, m);
}

static hunze_status check_group_bias(const hunze_tensor *bias, int64_t groups, int64_t n)
{
    char text[HUNZE_SHAPE_TEXT];
    const bool fits =
        bias->ndim == 1 ? bias->shape[0] == n : bias->ndim == 2 && bias->shape[0] == groups && bias->shape[1] == n;
    return fits ? HUNZE_OK
                : hunze_fail(HUNZE_ERR_SHAPE,
                             "bias has shape %s; with offsets it needs (%" PRId64 ",) or (%" PRId64 ", %" PRId64 ")",
                             hunze_shape_text(bias, text), n, groups, n);
}

static hunze_status check_residual(const hunze_tensor *residual, const hunze_tensor *d)
{
    char text[HUNZE_SHAPE_TEXT], d_text[HUNZE_SHAPE_TEXT];
    bool fits = residual->ndim <= d->ndim;
    for (int i = 1; fits && i <= residual->ndim; i++) {
        const int64_t extent = residual->shape[residual->ndim - i];
        fits = extent == 1 || extent == d->shape[d->ndim - i];
    }
    return fits ? HUNZE_OK
                : hunze_fail(HUNZE_ERR_SHAPE, "residual has shape %s; it must broadcast to d %s",
                             hunze_shape_text(residual, text), hunze_shape_text(d, d_text));
}

static hunze_status check_b(const hunze_tensor *b, bool transposed, const hunze_tensor *a, int64_t k, int64_t *n)
{
    char text[HUNZE_SHAPE_TEXT], a_text[HUNZE_SHAPE_TEXT];
    TRY(matrix(b, "b"));
    if (b->shape[b->ndim - (transposed ? 1 : 2)] != k)
        return hunze_fail(HUNZE_ERR_SHAPE,
                          transposed ? "b has shape %s; a %s needs b (n, %" PRId64 ")"
                                     : "b has shape %s; a %s needs b (%" PRId64 ", n)",
                          hunze_shape_text(b, text), hunze_shape_text(a, a_text), k);
    *n = b->shape[b->ndim - (transposed ? 2 : 1)];
    return HUNZE_OK;
}

static hunze_status check_packed(const hunze_packed_header *header, const hunze_tensor *a, int64_t k, int64_t *n)
{
    char text[HUNZE_SHAPE_TEXT];
    if (header->op != HUNZE_OP_GEMM)
        return hunze_fail(HUNZE_ERR_PACKED, "b was packed for op %u, not for gemm", header->op);
    if (header->k != k)
        return hunze_fail(HUNZE_ERR_SHAPE, "packed b has k = %" PRId64 "; a %s needs %" PRId64, header->k,
                          hunze_shape_text(a, text), k);
    *n = header->n;
    return HUNZE_OK;
}

/* Whether every index of its leading axes names the same matrix. */
static bool is_one_matrix(const hunze_tensor *tensor)
{
    for (int i = 0; i < tensor->ndim - 2; i++)
        if (tensor->shape[i] != 1 && hunze_stride(tensor, i) != 0)
            return false;
    return true;
}

/* Offsets cut the rows of a, c and d, and b has a matrix for each group of them. */
static hunze_status check_groups(const hunze_request *request, const hunze_plan *plan, int64_t m)
{
    const hunze_tensor *offsets = request->operand[HUNZE_ROLE_OFFSETS], *b = request->operand[HUNZE_ROLE_B],
                       *d = request->operand[HUNZE_ROLE_D];
    char text[HUNZE_SHAPE_TEXT];
    if (plan->packed)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED, "b is packed; with offsets it is (g, k, n)");
    if (b->ndim != 3)
        return hunze_fail(HUNZE_ERR_SHAPE, "b has shape %s; with offsets it is (g, k, n)", hunze_shape_text(b, text));
    if (d->ndim != 2)
        return hunze_fail(HUNZE_ERR_SHAPE, "d has shape %s; with offsets it has two axes", hunze_shape_text(d, text));
    if (hunze_type_of(offsets->dtype) != HUNZE_TYPE_S32)
        return hunze_fail(HUNZE_ERR_DTYPE, "offsets are %s; they are s32", hunze_dtype_text(offsets->dtype, text));
    if (offsets->ndim != 1 || offsets->shape[0] - 1 != b->shape[0])
        return hunze_fail(HUNZE_ERR_SHAPE, "offsets has shape %s; %" PRId64 " matrices of b need (%" PRId64 ",)",
                          hunze_shape_text(offsets, text), b->shape[0], b->shape[0] + 1);
    if (b->shape[0] > 0 && hunze_stride(offsets, 0) != 1)
        return hunze_fail(HUNZE_ERR_STRIDE, "offsets has stride %" PRId64 "; it must be contiguous",
                          hunze_stride(offsets, 0));
    if (m > INT32_MAX)
        return hunze_fail(HUNZE_ERR_OVERFLOW, "a has %" PRId64 " rows; offsets of 32 bits reach %d", m, INT32_MAX);
    if (plan->device.type != HUNZE_DEVICE_CPU)
        return hunze_fail(HUNZE_ERR_UNSUPPORTED,
                          "offsets: no kernel of a device computes grouped products; call hunze_gemm for each group");
    return HUNZE_OK;
}

hunze_status hunze_check_gemm(const hunze_request *request, hunze_plan *plan)
{
    const hunze_gemm_options *options = request->call->options;
    const hunze_tensor *a = request->operand[HUNZE_ROLE_A], *b = request->operand[HUNZE_ROLE_B],
                       *c = request->operand[HUNZE_ROLE_C], *d = request->operand[HUNZE_ROLE_D],
                       *bias = request->operand[HUNZE_ROLE_BIAS], *residual = request->operand[HUNZE_ROLE_RESIDUAL];
    const bool grouped = request->operand[HUNZE_ROLE_OFFSETS] != NULL;
    char text[HUNZE_SHAPE_TEXT];
    if (options->transpose_a > 1 || options->transpose_b > 1)
        return hunze_fail(HUNZE_ERR_OPTION, "transpose_a is %u and transpose_b %u; 0 and 1 are known",
                          options->transpose_a, options->transpose_b);
    TRY(hunze_check_product_types(request, plan));
    TRY(matrix(a, "a"));
    TRY(matrix(d, "d"));
    const int a_m = a->ndim - (options->transpose_a ? 1 : 2);
    const int64_t m = a->shape[a_m], k = a->shape[a->ndim - (options->transpose_a ? 2 : 1)];
    int64_t n = 0;
    if (grouped)
        TRY(check_groups(request, plan, m));
    if (!plan->packed)
        TRY(check_b(b, options->transpose_b, a, k, &n));
    else if (options->transpose_b)
        return hunze_fail(HUNZE_ERR_OPTION, "transpose_b is given with a packed b: packing fixed its orientation");
    else
        TRY(check_packed(&request->packed, a, k, &n));
    if (d->shape[d->ndim - 2] != m || d->shape[d->ndim - 1] != n)
        return hunze_fail(HUNZE_ERR_SHAPE, "d has shape %s; this product needs (…, %" PRId64 ", %" PRId64 ")",
                          hunze_shape_text(d, text), m, n);
    TRY(leading(a, 2, d, "a"));
    if (!plan->packed && !grouped)
        TRY(leading(b, 2, d, "b"));
    if (c) {
        if (c->ndim < 2 || c->shape[c->ndim - 2] != m || c->shape[c->ndim - 1] != n)
            return hunze_fail(HUNZE_ERR_SHAPE, "c has shape %s; this product needs (…, %" PRId64 ", %" PRId64 ")",
                              hunze_shape_text(c, text), m, n);
        TRY(leading(c, 2, d, "c"));
    }
    if (bias)
        TRY(grouped ? check_group_bias(bias, b->shape[0], n) : check_bias(bias, m, n));
    if (residual)
        TRY(check_residual(residual, d));
    TRY(hunze_check_activation(options->activation, plan->d_type));
    plan->activates = options->activation && options->activation->kind != HUNZE_ACT_NONE;
    TRY(hunze_check_quant(request, options->a_quant, HUNZE_ROLE_A_SCALE, a_m, a->ndim, m, plan->a_type));
    const int b_ndim = plan->packed ? 2 : b->ndim, b_n = grouped ? -1 : b_ndim - (options->transpose_b ? 2 : 1);
    TRY(hunze_check_quant(request, options->b_quant, HUNZE_ROLE_B_SCALE, b_n, b_ndim, n, plan->b_type));
    TRY(hunze_check_quant(request, options->d_quant, HUNZE_ROLE_D_SCALE, d->ndim - 1, d->ndim, n, plan->d_type));
    TRY(hunze_tensor_check_output(d, "d"));
    const int64_t elements = hunze_count(d);
    int64_t batch = elements == 0 ? 0 : 1;
    for (int i = 0; i < d->ndim - 2 && batch > 0; i++)
        batch *= d->shape[i];
    plan->gemm_shape = (hunze_gemm_shape){
        .m = m,
        .n = n,
        .k = k,
        .batch = batch,
        .packed_b = plan->packed,
        .shared_b = plan->packed || is_one_matrix(b),
        .transposed_d = n > 1 && hunze_stride(d, d->ndim - 1) != 1,
        .groups = grouped ? b->shape[0] : 0,
    };
    int64_t operations;
    if (__builtin_mul_overflow(elements, k, &operations) || __builtin_mul_overflow(operations, 2, &operations))
        return hunze_fail(HUNZE_ERR_OVERFLOW,
                          "2 m n k of the product leaves 63 bits: m %" PRId64 ", n %" PRId64 ", k %" PRId64, m, n, k);
    plan->operations = (uint64_t)operations;
    return HUNZE_OK;
}
