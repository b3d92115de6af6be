/* SPDX-License-Identifier: Apache-2.0
 * hunze.grouped_matmul: groups of rows, each with a matrix of its own, around hunze_gemm's offsets; grouped_list.c has
 * lists of products. */
#include "offload.h"
#include "product.h"

typedef struct Grouped {
    Call call;
    Operand a, b, d, offsets, bias, residual;
    Quant a_quant, b_quant;
    int64_t shape[2];
} Grouped;

static bool take(Grouped *g, PyObject *object, const char *name, Operand *operand)
{
    State *state = g->call.state;
    if (is_quantized(state, object) || is_packed(state, object)) {
        PyErr_Format(PyExc_TypeError, "%s is %R; grouped_matmul takes plain arrays", name, object);
        return false;
    }
    if (!operand_take(&g->call.place, object, name, operand))
        return false;
    call_keep(&g->call, operand);
    return true;
}

/* Integers of any width, as int32. */
static bool take_offsets(Grouped *g, PyObject *object)
{
    PyArrayObject *given = (PyArrayObject *)PyArray_FromAny(object, NULL, 0, 0, 0, NULL);
    if (!given)
        return false;
    if (!PyTypeNum_ISINTEGER(PyArray_TYPE(given))) {
        PyErr_Format(PyExc_TypeError, "offsets has dtype %S; they are integers", PyArray_DESCR(given));
        Py_DECREF(given);
        return false;
    }
    PyArrayObject *wide = (PyArrayObject *)PyArray_FromArray(
        given, PyArray_DescrFromType(NPY_INT64), NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_FORCECAST);
    Py_DECREF(given);
    PyArrayObject *offsets =
        wide ? (PyArrayObject *)PyArray_SimpleNew(PyArray_NDIM(wide), PyArray_DIMS(wide), NPY_INT32) : NULL;
    bool good = offsets != NULL;
    for (npy_intp i = 0; good && i < PyArray_SIZE(wide); i++) {
        const int64_t value = ((const int64_t *)PyArray_DATA(wide))[i];
        ((int32_t *)PyArray_DATA(offsets))[i] = (int32_t)value;
        good = value == (int32_t)value;
        if (!good)
            PyErr_Format(PyExc_ValueError, "offsets[%zd] is %lld; they count rows, in 32 bits", (Py_ssize_t)i,
                         (long long)value);
    }
    good = good && take(g, (PyObject *)offsets, "offsets", &g->offsets);
    Py_XDECREF(wide);
    Py_XDECREF(offsets);
    return good;
}

static bool check_shapes(Grouped *g)
{
    char a_text[SHAPE_TEXT], b_text[SHAPE_TEXT];
    const hunze_tensor *a = &g->a.tensor, *b = &g->b.tensor;
    if (a->ndim != 2) {
        PyErr_Format(PyExc_ValueError, "a has shape %s; grouped_matmul needs (m, k)",
                     shape_text(a->ndim, a->shape, a_text));
        return false;
    }
    if (b->ndim != 3 || b->shape[1] != a->shape[1]) {
        PyErr_Format(PyExc_ValueError, "b has shape %s; a %s needs b (groups, %lld, n)",
                     shape_text(b->ndim, b->shape, b_text), shape_text(2, a->shape, a_text), (long long)a->shape[1]);
        return false;
    }
    g->shape[0] = a->shape[0];
    g->shape[1] = b->shape[2];
    return true;
}

static bool take_addends(Grouped *g, PyObject **values, hunze_dtype dtype)
{
    hunze_gemm_options *options = &g->call.options.gemm;
    const hunze_dtype operands = g->a.tensor.dtype;
    if (values[PRODUCT_BIAS]) {
        if (!call_take_addend(&g->call, values[PRODUCT_BIAS], "bias", operands, dtype, &g->bias))
            return false;
        options->bias = &g->bias.tensor;
    }
    if (values[PRODUCT_RESIDUAL]) {
        if (!call_take_addend(&g->call, values[PRODUCT_RESIDUAL], "residual", operands, dtype, &g->residual))
            return false;
        options->residual = &g->residual.tensor;
    }
    if (values[PRODUCT_ACTIVATION]) {
        if (!parse_activation(values[PRODUCT_ACTIVATION], &g->call.activation))
            return false;
        options->activation = &g->call.activation;
    }
    return true;
}

static bool take_result(Grouped *g, PyObject *out, hunze_dtype dtype)
{
    Place *place = &g->call.place;
    if (g->call.plan_only) {
        operand_describe(place, dtype, 2, g->shape, &g->d);
        return true;
    }
    if (out ? !operand_take_output(place, out, "out", dtype, 2, g->shape, &g->d)
            : !operand_new(place, dtype, 2, g->shape, &g->d))
        return false;
    call_keep(&g->call, &g->d);
    return !out || operands_mix(&g->a, "a", &g->d, "out");
}

static bool prepare(Grouped *g, PyObject *a, PyObject *b, PyObject *offsets, PyObject **values)
{
    Call *call = &g->call;
    hunze_gemm_options *options = &call->options.gemm;
    hunze_dtype dtype;
    g->a_quant.present = g->b_quant.present = false;
    if (!take(g, a, "a", &g->a) || !take(g, b, "b", &g->b) || !operands_mix(&g->a, "a", &g->b, "b") ||
        !take_offsets(g, offsets) || !check_shapes(g) ||
        !call_product_dtypes(call, &g->a, &g->a_quant, "a", &g->b, &g->b_quant, "b", false, g->b.tensor.dtype,
                             values[PRODUCT_DTYPE], &dtype) ||
        !take_addends(g, values, dtype) || !take_result(g, values[PRODUCT_OUT], dtype))
        return false;
    options->b_quant = g->b_quant.present ? &g->b_quant.quant : NULL;
    options->offsets = &g->offsets.tensor;
    call->call.a = &g->a.tensor;
    call->call.b = &g->b.tensor;
    call->call.d = &g->d.tensor;
    call->work = (double)g->shape[0] * (double)g->shape[1] * (double)g->a.tensor.shape[1];
    return true;
}

bool grouped_begin(State *state, Call *call, PyObject **values)
{
    if (!call_begin(state, call, "grouped_matmul", HUNZE_OP_GEMM, values[PRODUCT_THREADS], values[PRODUCT_REPRODUCIBLE],
                    values[PRODUCT_KERNEL], NULL))
        return false;
    call->names = "d is out";
    if (call->active.offload >= OFFLOAD_CUDA) {
        PyErr_SetString(PyExc_NotImplementedError,
                        "grouped_matmul runs on the CPU, and the options block brings operands to a device: "
                        "call hz.matmul for each group");
        call_end(call);
        return false;
    }
    call->active.offload = OFFLOAD_NONE;
    return true;
}

PyObject *binding_grouped(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static const Signature signature = {"grouped_matmul", 2, 3, -1, GROUPED_VALUES, product_keywords};
    PyObject *values[3 + GROUPED_VALUES], *plan = NULL, *result = NULL;
    State *state = state_of(module);
    Grouped g;
    if (!parse_arguments(state, &signature, arguments, count, names, values))
        return NULL;
    PyObject **options = values + 3;
    if (!values[2])
        return grouped_list(state, values[0], values[1], options);
    if (!grouped_begin(state, &g.call, options))
        return NULL;
    if (prepare(&g, values[0], values[1], values[2], options) && call_run(&g.call, &plan))
        result = plan ? plan : call_result(&g.call, options[PRODUCT_OUT], &g.d, &g.a, &g.a_quant, -1);
    call_end(&g.call);
    return result;
}
