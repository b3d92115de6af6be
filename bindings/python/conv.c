/* SPDX-License-Identifier: Apache-2.0
 * hunze.conv1d, conv2d, conv_transpose1d and conv_transpose2d: one function behind the keyword wrappers of _ops.py. */
#include "offload.h"
#include "packed.h"

#include <string.h>

/* The wrapper passes every argument by position. */
enum {
    FUNCTION,
    TRANSPOSED,
    SPATIAL,
    X,
    W,
    BIAS,
    STRIDE,
    PADDING,
    DILATION,
    GROUPS,
    PADDING_MODE,
    LAYOUT,
    OUTPUT_PADDING,
    RESIDUAL,
    ACTIVATION,
    OUT,
    DTYPE_ARGUMENT,
    THREADS,
    REPRODUCIBLE,
    OUT_SCALE,
    OUT_ZERO_POINT,
    OUT_DTYPE,
    KERNEL,
    DEVICE,
    STREAM,
    VALUES
};

enum { MAX_SPATIAL = 2, MAX_EXTENT = 1 << 30 };

typedef struct Conv {
    Call call;
    Operand x, w, y, bias, residual;
    Quant x_quant, w_quant, y_quant;
    Packed packed;
    bool transposed, w_packed, channels_last;
    int spatial;
    const int64_t *w_shape;
    int w_axes;
    int64_t in[MAX_SPATIAL], kernel[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL], extra[MAX_SPATIAL];
    int64_t before[MAX_SPATIAL], after[MAX_SPATIAL];
    int64_t images, channels, outputs, groups;
    int64_t shape[MAX_SPATIAL + 2];
} Conv;

static bool per_axis(PyObject *object, const char *name, int spatial, int64_t minimum, int64_t *values)
{
    if (PyLong_Check(object) || !PySequence_Check(object)) {
        if (!parse_int(object, name, minimum, MAX_EXTENT, &values[0]))
            return false;
        for (int i = 1; i < spatial; i++)
            values[i] = values[0];
        return true;
    }
    Py_ssize_t count = PyUnicode_Check(object) ? -1 : PySequence_Size(object);
    if (count != spatial) {
        PyErr_Format(PyExc_ValueError, "%s=%R; needs one int, or %d (one per spatial axis)", name, object, spatial);
        return false;
    }
    for (int i = 0; i < spatial; i++) {
        PyObject *item = PySequence_GetItem(object, i);
        bool good = item && parse_int(item, name, minimum, MAX_EXTENT, &values[i]);
        Py_XDECREF(item);
        if (!good)
            return false;
    }
    return true;
}

static bool padding_error(PyObject *object, int spatial)
{
    PyErr_Format(PyExc_ValueError, "padding=%R; needs an int, %s, %s, 'valid', 'same' or 'same_lower'", object,
                 spatial == 1 ? "one int per spatial axis as in (1,)" : "one int per spatial axis as in (1, 1)",
                 spatial == 1 ? "one (before, after) pair per spatial axis as in [(1, 2)]"
                              : "one (before, after) pair per spatial axis as in [(1, 2), (1, 2)]");
    return false;
}

static bool named_padding(Conv *c, PyObject *object)
{
    bool same = PyUnicode_CompareWithASCIIString(object, "same") == 0;
    bool lower = PyUnicode_CompareWithASCIIString(object, "same_lower") == 0;
    if (!same && !lower && PyUnicode_CompareWithASCIIString(object, "valid"))
        return padding_error(object, c->spatial);
    if ((same || lower) && c->transposed) {
        PyErr_Format(PyExc_ValueError, "padding=%R is not defined for a transposed convolution: give numbers", object);
        return false;
    }
    for (int i = 0; i < c->spatial; i++) {
        int64_t out = (c->in[i] + c->stride[i] - 1) / c->stride[i];
        int64_t total = (out - 1) * c->stride[i] + c->dilation[i] * (c->kernel[i] - 1) + 1 - c->in[i];
        if (total < 0 || !(same || lower))
            total = 0;
        c->before[i] = lower ? (total + 1) / 2 : total / 2;
        c->after[i] = total - c->before[i];
    }
    return true;
}

static bool parse_padding(Conv *c, PyObject *object)
{
    if (PyUnicode_Check(object))
        return named_padding(c, object);
    if (PyLong_Check(object) || !PySequence_Check(object)) {
        if (!per_axis(object, "padding", c->spatial, 0, c->before))
            return false;
        memcpy(c->after, c->before, sizeof c->after);
        return true;
    }
    if (PySequence_Size(object) != c->spatial)
        return padding_error(object, c->spatial);
    for (int i = 0; i < c->spatial; i++) {
        PyObject *item = PySequence_GetItem(object, i);
        int64_t pair[2];
        bool good;
        if (item && PySequence_Check(item) && !PyUnicode_Check(item)) {
            good = PySequence_Size(item) == 2 && per_axis(item, "padding", 2, 0, pair);
            if (!good && !PyErr_Occurred())
                padding_error(object, c->spatial);
        } else {
            good = item && parse_int(item, "padding", 0, MAX_EXTENT, &pair[0]);
            pair[1] = pair[0];
        }
        Py_XDECREF(item);
        if (!good)
            return false;
        c->before[i] = pair[0];
        c->after[i] = pair[1];
    }
    return true;
}

static bool parse_layout(Conv *c, PyObject *object)
{
    static const char *const first[] = {"channels_first", "NCL", "NCHW"}, *const last[] = {"channels_last", "NLC",
                                                                                           "NHWC"};
    if (PyUnicode_Check(object)) {
        if (PyUnicode_CompareWithASCIIString(object, first[0]) == 0 ||
            PyUnicode_CompareWithASCIIString(object, first[c->spatial]) == 0) {
            c->channels_last = false;
            return true;
        }
        if (PyUnicode_CompareWithASCIIString(object, last[0]) == 0 ||
            PyUnicode_CompareWithASCIIString(object, last[c->spatial]) == 0) {
            c->channels_last = true;
            return true;
        }
    }
    PyErr_Format(PyExc_ValueError, "layout=%R; there are 'channels_first' (%s) and 'channels_last' (%s)", object,
                 first[c->spatial], last[c->spatial]);
    return false;
}

static bool check_shapes(Conv *c)
{
    char x[SHAPE_TEXT], w[SHAPE_TEXT];
    const hunze_tensor *t = &c->x.tensor;
    int axes = c->spatial + 2;
    static const char *const names[2][3] = {{"", "(n, c, l)", "(n, c, h, w)"}, {"", "(n, l, c)", "(n, h, w, c)"}};
    if (t->ndim != axes) {
        PyErr_Format(PyExc_ValueError, "x has shape %s; %s needs %d axes %s", shape_text(t->ndim, t->shape, x),
                     c->call.function, axes, names[c->channels_last][c->spatial]);
        return false;
    }
    c->images = t->shape[0];
    c->channels = t->shape[c->channels_last ? axes - 1 : 1];
    for (int i = 0; i < c->spatial; i++)
        c->in[i] = t->shape[i + (c->channels_last ? 1 : 2)];
    if (c->channels % c->groups) {
        PyErr_Format(PyExc_ValueError, "x has %lld channels, which groups=%lld does not divide", (long long)c->channels,
                     (long long)c->groups);
        return false;
    }
    int64_t expected = c->transposed ? c->channels : c->channels / c->groups;
    if (c->w_axes != axes || c->w_shape[c->transposed ? 0 : 1] != expected) {
        const char *tail = c->spatial == 1 ? "kernel" : "kernel_h, kernel_w";
        if (c->transposed)
            PyErr_Format(PyExc_ValueError, "w has shape %s; x %s with groups=%lld needs w (%lld, out/groups, %s)",
                         shape_text(c->w_axes, c->w_shape, w), shape_text(t->ndim, t->shape, x), (long long)c->groups,
                         (long long)expected, tail);
        else
            PyErr_Format(PyExc_ValueError, "w has shape %s; x %s with groups=%lld needs w (out, %lld, %s)",
                         shape_text(c->w_axes, c->w_shape, w), shape_text(t->ndim, t->shape, x), (long long)c->groups,
                         (long long)expected, tail);
        return false;
    }
    for (int i = 0; i < c->spatial; i++)
        c->kernel[i] = c->w_shape[i + 2];
    c->outputs = c->transposed ? c->w_shape[1] * c->groups : c->w_shape[0];
    if (c->outputs % c->groups) {
        PyErr_Format(PyExc_ValueError, "w has %lld output channels, which groups=%lld does not divide",
                     (long long)c->outputs, (long long)c->groups);
        return false;
    }
    return true;
}

static bool output_shape(Conv *c)
{
    int axes = c->spatial + 2;
    c->shape[0] = c->images;
    c->shape[c->channels_last ? axes - 1 : 1] = c->outputs;
    for (int i = 0; i < c->spatial; i++) {
        int64_t pad = c->before[i] + c->after[i], reach = c->dilation[i] * (c->kernel[i] - 1) + 1, out;
        if (c->transposed)
            out = c->in[i] ? (c->in[i] - 1) * c->stride[i] - pad + reach + c->extra[i] : 0;
        else
            out = c->in[i] + pad < reach ? 0 : (c->in[i] + pad - reach) / c->stride[i] + 1;
        if (c->kernel[i] == 0 || out <= 0) {
            PyErr_Format(
                PyExc_ValueError,
                "spatial axis %d has %lld elements and padding %lld: a kernel of %lld (dilation %lld) leaves no output",
                i, (long long)c->in[i], (long long)pad, (long long)c->kernel[i], (long long)c->dilation[i]);
            return false;
        }
        c->shape[i + (c->channels_last ? 1 : 2)] = out;
    }
    return true;
}

static bool take_operands(Conv *c, PyObject *const *v)
{
    State *state = c->call.state;
    PyObject *w = v[W];
    if (!offload_weights(&c->call, &w, "w"))
        return false;
    c->x_quant.present = c->w_quant.present = c->y_quant.present = false;
    if (is_quantized(state, v[X])) {
        if (!call_take_quantized(&c->call, v[X], "x", &c->x, -1, &c->x_quant))
            return false;
    } else {
        if (!operand_take(&c->call.place, v[X], "x", &c->x))
            return false;
        call_keep(&c->call, &c->x);
    }
    c->w_packed = is_packed(state, w);
    if (c->w_packed) {
        if (!packed_take(&c->call, w, "w", false, &c->w, &c->w_quant, &c->packed))
            return false;
        c->w_shape = c->packed.shape;
        c->w_axes = c->packed.axes;
        return true;
    }
    if (is_quantized(state, w)) {
        if (!call_take_quantized(&c->call, w, "w", &c->w, -1, &c->w_quant))
            return false;
    } else {
        if (!operand_take(&c->call.place, w, "w", &c->w))
            return false;
        call_keep(&c->call, &c->w);
        if (!operands_mix(&c->x, "x", &c->w, "w"))
            return false;
    }
    c->w_shape = c->w.tensor.shape;
    c->w_axes = c->w.tensor.ndim;
    return true;
}

static bool parse_geometry(Conv *c, PyObject *const *v)
{
    int64_t groups;
    if (!parse_layout(c, v[LAYOUT]) || !parse_int(v[GROUPS], "groups", 1, MAX_EXTENT, &groups) ||
        !per_axis(v[STRIDE], "stride", c->spatial, 1, c->stride) ||
        !per_axis(v[DILATION], "dilation", c->spatial, 1, c->dilation) ||
        !per_axis(v[OUTPUT_PADDING], "output_padding", c->spatial, 0, c->extra))
        return false;
    if (!PyUnicode_Check(v[PADDING_MODE]) || PyUnicode_CompareWithASCIIString(v[PADDING_MODE], "zeros")) {
        PyErr_Format(PyExc_ValueError, "padding_mode=%R; there is 'zeros': use np.pad for others", v[PADDING_MODE]);
        return false;
    }
    c->groups = groups;
    return check_shapes(c) && parse_padding(c, v[PADDING]) && output_shape(c);
}

static bool take_result(Conv *c, PyObject *out, hunze_dtype dtype)
{
    int axes = c->spatial + 2;
    if (c->call.plan_only) {
        operand_describe(&c->call.place, dtype, axes, c->shape, &c->y);
        return true;
    }
    if (out) {
        if (!operand_take_output(&c->call.place, out, "out", dtype, axes, c->shape, &c->y))
            return false;
        call_keep(&c->call, &c->y);
        return operands_mix(&c->x, "x", &c->y, "out");
    }
    if (!operand_new(&c->call.place, dtype, axes, c->shape, &c->y))
        return false;
    call_keep(&c->call, &c->y);
    return true;
}

static bool prepare(Conv *c, PyObject *const *v)
{
    hunze_dtype dtype, codes;
    hunze_conv_options *options = &c->call.options.conv;
    if (!parse_geometry(c, v))
        return false;
    hunze_dtype w_type = c->w_packed ? c->packed.dtype : c->w.tensor.dtype;
    if (!call_product_dtypes(&c->call, &c->x, &c->x_quant, "x", &c->w, &c->w_quant, "w", c->w_packed, w_type,
                             v[DTYPE_ARGUMENT] == Py_None ? NULL : v[DTYPE_ARGUMENT], &dtype))
        return false;
    codes = dtype;
    if (v[OUT_SCALE] != Py_None) {
        if (!(c->x_quant.present && c->x_quant.quant.scale)) {
            PyErr_SetString(PyExc_TypeError, "out_scale requantises a convolution of QArrays; these operands are none");
            return false;
        }
        if (!call_take_output_quant(&c->call, v[OUT_SCALE], v[OUT_ZERO_POINT] == Py_None ? NULL : v[OUT_ZERO_POINT],
                                    v[OUT_DTYPE] == Py_None ? NULL : v[OUT_DTYPE],
                                    c->channels_last ? c->spatial + 1 : 1, &c->y_quant, &codes))
            return false;
        options->y_quant = &c->y_quant.quant;
    } else if (v[OUT_ZERO_POINT] != Py_None || v[OUT_DTYPE] != Py_None) {
        PyErr_SetString(PyExc_TypeError, "out_zero_point and out_dtype need out_scale");
        return false;
    }
    if (v[BIAS] != Py_None) {
        if (!call_take_addend(&c->call, v[BIAS], "bias", c->x.tensor.dtype, dtype, &c->bias))
            return false;
        options->bias = &c->bias.tensor;
    }
    if (v[RESIDUAL] != Py_None) {
        if (!call_take_addend(&c->call, v[RESIDUAL], "residual", c->x.tensor.dtype, dtype, &c->residual))
            return false;
        options->residual = &c->residual.tensor;
    }
    if (v[ACTIVATION] != Py_None) {
        if (!parse_activation(v[ACTIVATION], &c->call.activation))
            return false;
        options->activation = &c->call.activation;
    }
    if (!take_result(c, v[OUT] == Py_None ? NULL : v[OUT], codes))
        return false;
    options->layout = c->channels_last ? HUNZE_CHANNELS_LAST : HUNZE_CHANNELS_FIRST;
    options->groups = (uint32_t)c->groups;
    c->call.work = (double)c->images * (double)c->outputs * (double)c->channels / (double)c->groups;
    for (int i = 0; i < c->spatial; i++) {
        options->stride[i] = (uint32_t)c->stride[i];
        options->dilation[i] = (uint32_t)c->dilation[i];
        options->pad_before[i] = (int32_t)c->before[i];
        options->pad_after[i] = (int32_t)c->after[i];
        options->output_padding[i] = (uint32_t)c->extra[i];
        c->call.work *=
            (double)c->kernel[i] * (double)(c->transposed ? c->in[i] : c->shape[i + (c->channels_last ? 1 : 2)]);
    }
    options->x_quant = c->x_quant.present ? &c->x_quant.quant : NULL;
    options->w_quant = c->w_quant.present ? &c->w_quant.quant : NULL;
    c->call.call.a = &c->x.tensor;
    c->call.call.b = &c->w.tensor;
    c->call.call.d = &c->y.tensor;
    return true;
}

PyObject *binding_conv(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    if (count != VALUES) {
        PyErr_Format(PyExc_TypeError, "_conv() takes %d arguments, got %zd", VALUES, count);
        return NULL;
    }
    Conv c;
    PyObject *plan = NULL, *result = NULL;
    Py_ssize_t length;
    int64_t spatial;
    const char *function = PyUnicode_AsUTF8AndSize(v[FUNCTION], &length);
    c.transposed = v[TRANSPOSED] == Py_True;
    if (!function || !parse_int(v[SPATIAL], "spatial", 1, MAX_SPATIAL, &spatial))
        return NULL;
    c.spatial = (int)spatial;
    if (!call_begin(state_of(module), &c.call, function, c.transposed ? HUNZE_OP_CONV_TRANSPOSE : HUNZE_OP_CONV,
                    v[THREADS] == Py_None ? NULL : v[THREADS], v[REPRODUCIBLE] == Py_None ? NULL : v[REPRODUCIBLE],
                    v[KERNEL] == Py_None ? NULL : v[KERNEL], v[STREAM] == Py_None ? NULL : v[STREAM]))
        return NULL;
    c.call.names = "y is out";
    if (call_offload(&c.call, v[DEVICE]) && take_operands(&c, v) && prepare(&c, v) && call_run(&c.call, &plan))
        result = plan ? plan
                      : call_result(&c.call, v[OUT] == Py_None ? NULL : v[OUT], &c.y, &c.x, &c.y_quant,
                                    c.y_quant.present ? c.y_quant.quant.axis : 0);
    call_end(&c.call);
    return result;
}
