/* SPDX-License-Identifier: Apache-2.0
 * hunze.matmul and hunze.linear: NumPy's shape rules around hunze_gemm. */
#include "offload.h"
#include "product.h"

#include <string.h>

const Keyword product_keywords[PRODUCT_VALUES] = {
    KEYWORD_bias,      KEYWORD_residual,     KEYWORD_activation, KEYWORD_out,       KEYWORD_dtype,
    KEYWORD_threads,   KEYWORD_reproducible, KEYWORD_kernel,     KEYWORD_out_scale, KEYWORD_out_zero_point,
    KEYWORD_out_dtype, KEYWORD_device,       KEYWORD_stream};

static bool shape_error(Product *p, const char *needs)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    const hunze_tensor *x = &p->operands->a.tensor;
    int b_axes = p->b_packed ? p->packed.axes : p->operands->b.tensor.ndim;
    const int64_t *b_shape = p->b_packed ? p->packed.shape : p->operands->b.tensor.shape;
    PyErr_Format(PyExc_ValueError, "%s has shape %s; %s %s needs %s %s", p->names.b, shape_text(b_axes, b_shape, b),
                 p->names.a, shape_text(x->ndim, x->shape, a), p->names.b, needs);
    return false;
}

static bool leading_error(Product *p)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    PyErr_Format(PyExc_ValueError, "%s has shape %s and %s has shape %s: their leading axes do not broadcast",
                 p->names.a, shape_text(p->operands->a.tensor.ndim, p->operands->a.tensor.shape, a), p->names.b,
                 shape_text(p->operands->b.tensor.ndim, p->operands->b.tensor.shape, b));
    return false;
}

static bool scalar_error(Product *p, const char *name)
{
    PyErr_Format(PyExc_ValueError, "%s has no axes; %s needs at least one: use * for a scalar", name, p->call.function);
    return false;
}

/* The k of both operands, before anything is reshaped. */
static bool check_inner(Product *p)
{
    const hunze_tensor *a = &p->operands->a.tensor;
    int b_axes = p->b_packed ? p->packed.axes : p->operands->b.tensor.ndim;
    const int64_t *b_shape = p->b_packed ? p->packed.shape : p->operands->b.tensor.shape;
    if (a->ndim == 0)
        return scalar_error(p, p->names.a);
    if (b_axes == 0)
        return scalar_error(p, p->names.b);
    if (a->ndim > MAX_AXES - 2 || b_axes > MAX_AXES - 2) {
        PyErr_Format(PyExc_ValueError, "%s takes at most %d axes", p->call.function, MAX_AXES - 2);
        return false;
    }
    p->k = a->shape[a->ndim - 1];
    int64_t b_k = p->transposed ? b_shape[b_axes - 1] : b_axes == 1 ? b_shape[0] : b_shape[b_axes - 2];
    if (b_k != p->k || (p->transposed && b_axes != 2)) {
        char needs[64];
        const char *format = p->transposed ? "(n, %lld)"
                             : b_axes == 1 ? "(%lld,)"
                             : b_axes == 2 ? "(%lld, n)"
                                           : "(…, %lld, n)";
        PyOS_snprintf(needs, sizeof needs, format, (long long)p->k);
        return shape_error(p, needs);
    }
    p->n = p->transposed ? b_shape[0] : b_axes == 1 ? 1 : b_shape[b_axes - 1];
    p->m = a->ndim == 1 ? 1 : a->shape[a->ndim - 2];
    return true;
}

static bool broadcast(Product *p)
{
    const hunze_tensor *a = &p->operands->a.tensor, *b = &p->operands->b.tensor;
    int a_axes = a->ndim - 2, b_axes = p->b_packed ? 0 : b->ndim - 2;
    int axes = a_axes > b_axes ? a_axes : b_axes;
    for (int i = 0; i < axes; i++) {
        int64_t of_a = i < axes - a_axes ? 1 : a->shape[i - (axes - a_axes)];
        int64_t of_b = i < axes - b_axes ? 1 : b->shape[i - (axes - b_axes)];
        if (of_a != of_b && of_a != 1 && of_b != 1)
            return leading_error(p);
        p->shape[i] = of_a == 1 ? of_b : of_a;
    }
    p->shape[axes] = p->m;
    p->shape[axes + 1] = p->n;
    p->axes = axes + 2;
    p->result_axes = 0;
    for (int i = 0; i < p->axes; i++)
        if (!(i == axes && p->a_vector) && !(i == axes + 1 && p->b_vector))
            p->result_shape[p->result_axes++] = p->shape[i];
    return true;
}

/* bias and residual have the result's axes as the user sees them: they gain what the operands gained. */
static void match_axes(const Product *p, Operand *operand)
{
    if (p->b_vector)
        operand_insert_axis(operand, operand->tensor.ndim);
    if (p->a_vector && operand->tensor.ndim > 1)
        operand_insert_axis(operand, operand->tensor.ndim - 1);
}

bool product_take(Product *p, PyObject *a, PyObject *b)
{
    State *state = p->call.state;
    p->a_quant.present = p->b_quant.present = p->d_quant.present = false;
    p->b_packed = is_packed(state, b);
    if (is_quantized(state, a)) {
        if (!call_take_quantized(&p->call, a, p->names.a, &p->operands->a, -1, &p->a_quant))
            return false;
    } else {
        if (!operand_take(&p->call.place, a, p->names.a, &p->operands->a))
            return false;
        call_keep(&p->call, &p->operands->a);
    }
    if (p->b_packed)
        return packed_take(&p->call, b, p->names.b, p->transposed, &p->operands->b, &p->b_quant, &p->packed);
    if (is_quantized(state, b))
        return call_take_quantized(&p->call, b, p->names.b, &p->operands->b, -1, &p->b_quant);
    if (!operand_take(&p->call.place, b, p->names.b, &p->operands->b))
        return false;
    call_keep(&p->call, &p->operands->b);
    return operands_mix(&p->operands->a, p->names.a, &p->operands->b, p->names.b);
}

static bool take_result(Product *p, PyObject *out, hunze_dtype dtype)
{
    bool good;
    if (p->call.plan_only) {
        operand_describe(&p->call.place, dtype, p->axes, p->shape, &p->operands->d);
        return true;
    }
    if (out)
        good = operand_take_output(&p->call.place, out, p->names.out, dtype, p->result_axes, p->result_shape,
                                   &p->operands->d) &&
               (operands_mix(&p->operands->a, p->names.a, &p->operands->d, p->names.out) ||
                (operand_release(&p->operands->d), false));
    else
        good = operand_new(&p->call.place, dtype, p->result_axes, p->result_shape, &p->operands->d);
    if (!good)
        return false;
    call_keep(&p->call, &p->operands->d);
    if (p->b_vector)
        operand_insert_axis(&p->operands->d, p->operands->d.tensor.ndim);
    if (p->a_vector)
        operand_insert_axis(&p->operands->d, p->operands->d.tensor.ndim - 1);
    return true;
}

static bool take_addends(Product *p, PyObject **values, hunze_dtype dtype)
{
    hunze_gemm_options *options = &p->call.options.gemm;
    const hunze_dtype operands = p->operands->a.tensor.dtype;
    if (values[PRODUCT_BIAS]) {
        if (!call_take_addend(&p->call, values[PRODUCT_BIAS], p->names.bias, operands, dtype, &p->operands->bias))
            return false;
        match_axes(p, &p->operands->bias);
        options->bias = &p->operands->bias.tensor;
    }
    if (values[PRODUCT_RESIDUAL]) {
        if (!call_take_addend(&p->call, values[PRODUCT_RESIDUAL], p->names.residual, operands, dtype,
                              &p->operands->residual))
            return false;
        match_axes(p, &p->operands->residual);
        options->residual = &p->operands->residual.tensor;
    }
    if (values[PRODUCT_ACTIVATION]) {
        if (!parse_activation(values[PRODUCT_ACTIVATION], &p->call.activation))
            return false;
        options->activation = &p->call.activation;
    }
    return true;
}

bool product_prepare(Product *p, PyObject **values)
{
    hunze_dtype dtype, codes;
    hunze_gemm_options *options = &p->call.options.gemm;
    if (!check_inner(p))
        return false;
    hunze_dtype b_type = p->b_packed ? p->packed.dtype : p->operands->b.tensor.dtype;
    if (!call_product_dtypes(&p->call, &p->operands->a, &p->a_quant, p->names.a, &p->operands->b, &p->b_quant,
                             p->names.b, p->b_packed, b_type, values[PRODUCT_DTYPE], &dtype))
        return false;
    codes = dtype;
    p->a_vector = p->operands->a.tensor.ndim == 1;
    p->b_vector = !p->b_packed && !p->transposed && p->operands->b.tensor.ndim == 1;
    if (p->a_vector)
        operand_insert_axis(&p->operands->a, 0);
    if (p->b_vector)
        operand_insert_axis(&p->operands->b, 1);
    if (!broadcast(p))
        return false;
    if (values[PRODUCT_OUT_SCALE]) {
        if (!(p->a_quant.present && p->a_quant.quant.scale)) {
            PyErr_SetString(PyExc_TypeError, "out_scale requantises a product of QArrays; these operands are none");
            return false;
        }
        if (!call_take_output_quant(&p->call, values[PRODUCT_OUT_SCALE], values[PRODUCT_OUT_ZERO_POINT],
                                    values[PRODUCT_OUT_DTYPE], p->axes - 1, &p->d_quant, &codes))
            return false;
        options->d_quant = &p->d_quant.quant;
    } else if (values[PRODUCT_OUT_ZERO_POINT] || values[PRODUCT_OUT_DTYPE]) {
        PyErr_SetString(PyExc_TypeError, "out_zero_point and out_dtype need out_scale");
        return false;
    }
    if (!take_addends(p, values, dtype) || !take_result(p, values[PRODUCT_OUT], codes))
        return false;
    options->a_quant = p->a_quant.present ? &p->a_quant.quant : NULL;
    options->b_quant = p->b_quant.present ? &p->b_quant.quant : NULL;
    options->transpose_b = p->transposed && !p->b_packed;
    hunze_call *call = &p->call.call;
    call->a = &p->operands->a.tensor;
    call->b = &p->operands->b.tensor;
    call->d = &p->operands->d.tensor;
    p->call.work = (double)p->n * (double)p->k;
    for (int i = 0; i < p->axes - 1; i++)
        p->call.work *= (double)p->shape[i];
    return true;
}

static PyObject *product(State *state, const char *function, PyObject *a, PyObject *b, bool transposed,
                         PyObject **values)
{
    Product p;
    Operands operands;
    PyObject *plan = NULL, *result = NULL;
    p.operands = &operands;
    p.names = (OperandNames){transposed ? "x" : "a", transposed ? "w" : "b", "out", "bias", "residual"};
    p.transposed = transposed;
    if (!call_begin(state, &p.call, function, HUNZE_OP_GEMM, values[PRODUCT_THREADS], values[PRODUCT_REPRODUCIBLE],
                    values[PRODUCT_KERNEL], values[PRODUCT_STREAM]))
        return NULL;
    if (!call_offload(&p.call, values[PRODUCT_DEVICE]) || !offload_weights(&p.call, &b, p.names.b)) {
        call_end(&p.call);
        return NULL;
    }
    p.call.names = transposed ? "a is x, b is w, d is out" : "d is out";
    if (product_take(&p, a, b) && product_prepare(&p, values) && call_run(&p.call, &plan))
        result =
            plan ? plan
                 : call_result(&p.call, values[PRODUCT_OUT], &operands.d, &operands.a, &p.d_quant, p.result_axes - 1);
    call_end(&p.call);
    return result;
}

PyObject *binding_matmul(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static const Signature signature = {"matmul", 2, 2, -1, PRODUCT_VALUES, product_keywords};
    PyObject *values[2 + PRODUCT_VALUES], *result;
    State *state = state_of(module);
    const bool alone = !names || (PyTuple_Size(names) == 1 &&
                                  PyTuple_GetItem(names, 0) == state->keywords[KEYWORD_out] && arguments[2] != Py_None);
    if (count == 2 && alone && plain_matmul(state, arguments[0], arguments[1], names ? arguments[2] : NULL, &result))
        return result;
    if (!parse_arguments(state, &signature, arguments, count, names, values))
        return NULL;
    return product(state, "matmul", values[0], values[1], false, values + 2);
}

PyObject *binding_linear(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static const Signature signature = {"linear", 2, 3, KEYWORD_bias, PRODUCT_VALUES - 1, product_keywords + 1};
    PyObject *values[2 + PRODUCT_VALUES];
    State *state = state_of(module);
    if (!parse_arguments(state, &signature, arguments, count, names, values))
        return NULL;
    return product(state, "linear", values[0], values[1], true, values + 2);
}
