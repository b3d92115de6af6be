/* SPDX-License-Identifier: Apache-2.0
 * hunze.activate, quantize and dequantize. */
#include "offload.h"

#include <string.h>

static double element_count(const hunze_tensor *tensor)
{
    double count = 1;
    for (int i = 0; i < tensor->ndim; i++)
        count *= (double)tensor->shape[i];
    return count;
}

static bool take_kept(Call *call, PyObject *object, const char *name, Operand *operand)
{
    if (!operand_take(&call->place, object, name, operand))
        return false;
    call_keep(call, operand);
    return true;
}

static bool take_like(Call *call, PyObject *out, const Operand *x, hunze_dtype dtype, Operand *y)
{
    const hunze_tensor *tensor = &x->tensor;
    if (call->plan_only) {
        operand_describe(&call->place, dtype, tensor->ndim, tensor->shape, y);
        return true;
    }
    bool good = out ? operand_take_output(&call->place, out, "out", dtype, tensor->ndim, tensor->shape, y)
                    : operand_new(&call->place, dtype, tensor->ndim, tensor->shape, y);
    if (!good)
        return false;
    call_keep(call, y);
    return operands_mix(x, "x", y, "out");
}

PyObject *binding_activate(PyObject *module, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    static const Keyword keywords[] = {KEYWORD_out, KEYWORD_threads, KEYWORD_kernel, KEYWORD_device, KEYWORD_stream};
    static const Signature signature = {"activate", 1, 2, KEYWORD_activation, 5, keywords};
    PyObject *values[7], *plan = NULL, *result = NULL;
    State *state = state_of(module);
    Call call;
    Operand x, y;
    if (!parse_arguments(state, &signature, arguments, count, names, values) ||
        !call_begin(state, &call, "activate", HUNZE_OP_ACTIVATION, values[3], NULL, values[4], values[6]))
        return NULL;
    bool good = call_offload(&call, values[5]);
    if (good && !(good = values[1] != NULL))
        PyErr_SetString(PyExc_TypeError, "activate() needs an activation, such as 'relu' or ('clip', 0.0, 6.0)");
    good = good && take_kept(&call, values[0], "x", &x);
    if (good && !dtype_is(x.tensor.dtype, DTYPE_F32) && !dtype_is(x.tensor.dtype, DTYPE_F64)) {
        PyErr_Format(PyExc_TypeError, "x is %s; activate takes float32 and float64: use x.astype('float32')",
                     dtype_name(x.tensor.dtype));
        good = false;
    }
    if (good) {
        good = parse_activation(values[1], &call.activation);
        call.options.activation.activation = &call.activation;
    }
    if (good && take_like(&call, values[2], &x, x.tensor.dtype, &y)) {
        call.call.a = &x.tensor;
        call.call.d = &y.tensor;
        call.work = element_count(&x.tensor) * 8;
        if (call_run(&call, &plan))
            result = plan ? plan : values[2] ? Py_NewRef(values[2]) : operand_result(state, &y, &x);
    }
    call_end(&call);
    return result;
}

/* scale and zero_point arrays as one hunze_quant; axis None: per tensor. */
static bool take_quant(Call *call, PyObject *scale, PyObject *zero_point, PyObject *axis, int axes, Quant *quant)
{
    int64_t value = 0;
    quant->quant = (hunze_quant){.struct_size = sizeof quant->quant};
    if (axis != Py_None) {
        if (!parse_int(axis, "axis", 0, axes - 1, &value))
            return false;
        quant->quant.granularity = HUNZE_PER_AXIS;
        quant->quant.axis = (int32_t)value;
    }
    if (!take_kept(call, scale, "scale", &quant->scale))
        return false;
    quant->quant.scale = &quant->scale.tensor;
    if (zero_point != Py_None) {
        if (!take_kept(call, zero_point, "zero_point", &quant->zero_point))
            return false;
        quant->quant.zero_point = &quant->zero_point.tensor;
    }
    call->options.quantize.quant = &quant->quant;
    return true;
}

/* _quantize(x, codes, scale, zero_point, axis, dynamic, threads, kernel, device, stream): the arrays are made by _operations.py. */
PyObject *binding_quantize(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    if (count != 10) {
        PyErr_SetString(PyExc_TypeError, "_quantize() takes 10 arguments");
        return NULL;
    }
    Call call;
    Operand x, codes;
    Quant quant;
    PyObject *plan = NULL, *result = NULL;
    if (!call_begin(state_of(module), &call, "quantize", HUNZE_OP_QUANTIZE, v[6] == Py_None ? NULL : v[6], NULL,
                    v[7] == Py_None ? NULL : v[7], v[9] == Py_None ? NULL : v[9]))
        return NULL;
    if (call_offload(&call, v[8]) && take_kept(&call, v[0], "x", &x) && take_kept(&call, v[1], "codes", &codes) &&
        take_quant(&call, v[2], v[3], v[4], x.tensor.ndim, &quant)) {
        call.options.quantize.dynamic = v[5] == Py_True;
        codes.output = true;
        quant.scale.output = quant.zero_point.output = call.options.quantize.dynamic;
        call.call.a = &x.tensor;
        call.call.d = &codes.tensor;
        call.work = element_count(&x.tensor);
        if (call_run(&call, &plan))
            result = plan ? plan : Py_NewRef(Py_None);
    }
    call_end(&call);
    return result;
}

/* _dequantize(codes, scale, zero_point, axis, out, threads, kernel, device, stream) */
PyObject *binding_dequantize(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    if (count != 9) {
        PyErr_SetString(PyExc_TypeError, "_dequantize() takes 9 arguments");
        return NULL;
    }
    Call call;
    Operand codes, x;
    Quant quant;
    PyObject *plan = NULL, *result = NULL;
    State *state = state_of(module);
    if (!call_begin(state, &call, "dequantize", HUNZE_OP_DEQUANTIZE, v[5] == Py_None ? NULL : v[5], NULL,
                    v[6] == Py_None ? NULL : v[6], v[8] == Py_None ? NULL : v[8]))
        return NULL;
    if (call_offload(&call, v[7]) && take_kept(&call, v[0], "codes", &codes) &&
        take_quant(&call, v[1], v[2], v[3], codes.tensor.ndim, &quant) &&
        take_like(&call, v[4] == Py_None ? NULL : v[4], &codes, DTYPE_F32, &x)) {
        call.call.a = &codes.tensor;
        call.call.d = &x.tensor;
        call.work = element_count(&codes.tensor);
        if (call_run(&call, &plan))
            result = plan ? plan : v[4] != Py_None ? Py_NewRef(v[4]) : operand_result(state, &x, &codes);
    }
    call_end(&call);
    return result;
}
