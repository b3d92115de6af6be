/* SPDX-License-Identifier: Apache-2.0
 * Arguments: METH_FASTCALL keywords by identity of interned strings, activations, integers. */
#include "binding.h"

#include <math.h>
#include <string.h>

static bool wrong_count(const Signature *signature, Py_ssize_t count)
{
    PyErr_Format(PyExc_TypeError, "%s() takes %d positional arguments%s but %zd were given", signature->function,
                 signature->required, signature->positional > signature->required ? " and one more" : "", count);
    return false;
}

static int keyword_slot(State *state, const Signature *signature, PyObject *name)
{
    for (int i = 0; i < signature->keyword_count; i++)
        if (state->keywords[signature->keywords[i]] == name)
            return signature->positional + i;
    if (signature->positional_keyword >= 0 && state->keywords[signature->positional_keyword] == name)
        return signature->positional - 1;
    /* A name that nobody interned: compare its text. */
    for (int i = 0; i < signature->keyword_count; i++)
        if (PyUnicode_Compare(state->keywords[signature->keywords[i]], name) == 0)
            return signature->positional + i;
    if (signature->positional_keyword >= 0 &&
        PyUnicode_Compare(state->keywords[signature->positional_keyword], name) == 0)
        return signature->positional - 1;
    return -1;
}

bool parse_arguments(State *state, const Signature *signature, PyObject *const *arguments, Py_ssize_t count,
                     PyObject *names, PyObject **values)
{
    int total = signature->positional + signature->keyword_count;
    if (count < signature->required || count > signature->positional)
        return wrong_count(signature, count);
    for (int i = 0; i < total; i++)
        values[i] = i < count && arguments[i] != Py_None ? arguments[i] : NULL;
    for (int i = 0; i < signature->required; i++)
        values[i] = arguments[i]; /* None is no array: its own error says so */
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        int slot = keyword_slot(state, signature, name);
        if (slot < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", signature->function, name);
            return false;
        }
        if (slot < count) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", signature->function, name);
            return false;
        }
        values[slot] = arguments[count + i] != Py_None ? arguments[count + i] : NULL;
    }
    return true;
}

bool parse_int(PyObject *object, const char *name, int64_t minimum, int64_t maximum, int64_t *value)
{
    PyObject *index = PyNumber_Index(object);
    if (!index) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "%s=%R is not an integer", name, object);
        return false;
    }
    int overflow = 0;
    *value = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow || *value < minimum || *value > maximum) {
        PyErr_Format(PyExc_ValueError, "%s=%R is not in [%lld, %lld]", name, object, (long long)minimum,
                     (long long)maximum);
        return false;
    }
    return true;
}

bool parse_flag(PyObject *object, const char *name, bool *value)
{
    if (!PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s=%R is neither True nor False", name, object);
        return false;
    }
    *value = object == Py_True;
    return true;
}

static const struct {
    const char *name;
    hunze_activation_kind kind;
    int required, allowed; /* numbers behind the name */
    double defaults[2];
} activations[] = {
    {"relu", HUNZE_ACT_RELU, 0, 0, {0}},
    {"relu6", HUNZE_ACT_RELU6, 0, 0, {0}},
    {"gelu", HUNZE_ACT_GELU, 0, 0, {0}},
    {"gelu_tanh", HUNZE_ACT_GELU_TANH, 0, 0, {0}},
    {"silu", HUNZE_ACT_SILU, 0, 0, {0}},
    {"sigmoid", HUNZE_ACT_SIGMOID, 0, 0, {0}},
    {"hardsigmoid", HUNZE_ACT_HARDSIGMOID, 0, 2, {1.0 / 6, 0.5}},
    {"hardswish", HUNZE_ACT_HARDSWISH, 0, 0, {0}},
    {"tanh", HUNZE_ACT_TANH, 0, 0, {0}},
    {"leaky_relu", HUNZE_ACT_LEAKY_RELU, 0, 1, {0.01}},
    {"clip", HUNZE_ACT_CLIP, 2, 2, {0}},
};
enum { ACTIVATION_COUNT = sizeof activations / sizeof activations[0] };

static bool unknown_activation(PyObject *object)
{
    PyErr_Format(
        PyExc_ValueError,
        "activation=%R is not known; there are 'relu', 'relu6', 'gelu', 'gelu_tanh', 'silu', 'sigmoid', 'hardsigmoid', "
        "'hardswish', 'tanh', ('leaky_relu', 0.01) and ('clip', low, high)",
        object);
    return false;
}

/* "relu", or ("clip", low, high), where None leaves a side open. */
bool parse_activation(PyObject *object, hunze_activation *activation)
{
    PyObject *name = object;
    Py_ssize_t numbers = 0;
    if (PyTuple_Check(object) && PyTuple_Size(object) > 0) {
        name = PyTuple_GetItem(object, 0);
        numbers = PyTuple_Size(object) - 1;
    }
    if (!PyUnicode_Check(name))
        return unknown_activation(object);
    int found = 0;
    while (found < ACTIVATION_COUNT && PyUnicode_CompareWithASCIIString(name, activations[found].name))
        found++;
    if (found == ACTIVATION_COUNT)
        return unknown_activation(object);
    if (numbers < activations[found].required || numbers > activations[found].allowed) {
        PyErr_Format(PyExc_ValueError, "activation=%R: '%s' takes %s%d numbers, as in ('clip', 0.0, 6.0)", object,
                     activations[found].name, activations[found].required < activations[found].allowed ? "up to " : "",
                     activations[found].allowed);
        return false;
    }
    double values[2] = {activations[found].defaults[0], activations[found].defaults[1]};
    for (Py_ssize_t i = 0; i < numbers; i++) {
        PyObject *number = PyTuple_GetItem(object, i + 1);
        bool open = number == Py_None && activations[found].kind == HUNZE_ACT_CLIP;
        values[i] = open ? (i ? (double)INFINITY : -(double)INFINITY) : PyFloat_AsDouble(number);
        if (values[i] == -1.0 && PyErr_Occurred())
            return false;
    }
    *activation = (hunze_activation){.struct_size = sizeof *activation,
                                     .kind = activations[found].kind,
                                     .alpha = (float)values[0],
                                     .beta = (float)values[1]};
    return true;
}
