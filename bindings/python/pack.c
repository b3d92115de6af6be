/* SPDX-License-Identifier: Apache-2.0
 * Packed weights: making a blob, and taking one as an operand.  The Python class keeps the source and one blob per context. */
#include "offload.h"
#include "packed.h"

#include <string.h>

/* A one-dimensional uint8 ndarray whose first byte is 64-byte aligned. */
static PyObject *aligned_bytes(size_t bytes)
{
    npy_intp total = (npy_intp)bytes + 64;
    PyObject *whole = PyArray_SimpleNew(1, &total, NPY_UBYTE);
    if (!whole)
        return NULL;
    char *start = PyArray_DATA((PyArrayObject *)whole);
    Py_ssize_t first = (Py_ssize_t)(-(uintptr_t)start & 63);
    PyObject *slice = PySequence_GetSlice(whole, first, first + (Py_ssize_t)bytes);
    Py_DECREF(whole);
    return slice;
}

static void as_blob(Operand *blob)
{
    blob->shape[0] = blob->tensor.shape[0] / 8;
    blob->strides[0] = 1;
    blob->tensor.shape = blob->shape;
    blob->tensor.dtype = DTYPE(HUNZE_OPAQUE_HANDLE, 64);
}

/* _pack(function, op, transpose_b, groups, a_unsigned, w, kernel) -> bytes of the blob as an ndarray */
PyObject *binding_pack(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    if (count != 7) {
        PyErr_SetString(PyExc_TypeError, "_pack() takes 7 arguments");
        return NULL;
    }
    State *state = state_of(module);
    Call call;
    Operand w, blob;
    int64_t op, groups;
    if (!parse_int(v[1], "op", 1, 3, &op) || !parse_int(v[3], "groups", 1, 1 << 30, &groups) ||
        !call_begin(state, &call, "pack", HUNZE_OP_PACK, NULL, NULL, v[6] == Py_None ? NULL : v[6]))
        return NULL;
    hunze_pack_options options = {.struct_size = sizeof options,
                                  .op = (uint32_t)op,
                                  .transpose_b = v[2] == Py_True,
                                  .groups = (uint32_t)groups,
                                  .a_unsigned = v[4] == Py_True,
                                  .flags = call.active.flags,
                                  .kernel = call.kernel_text ? PyBytes_AsString(call.kernel_text) : NULL};
    PyObject *bytes = NULL;
    size_t size;
    hunze_status status = HUNZE_OK;
    if (operand_take(state, v[5], "w", &w)) {
        call_keep(&call, &w);
        status = hunze_pack_size(call.active.context, &w.tensor, &options, &size);
        if (!status && (bytes = aligned_bytes(size)) && operand_take(state, bytes, "packed", &blob)) {
            call_keep(&call, &blob);
            as_blob(&blob);
            PyThreadState *thread = PyEval_SaveThread();
            status = hunze_pack(call.active.context, &w.tensor, &blob.tensor, &options, NULL);
            PyEval_RestoreThread(thread);
        }
        if (status) {
            Py_CLEAR(bytes);
            raise_status(status, "pack");
        }
    }
    call_end(&call);
    return bytes;
}

/* _as_array(object) -> a copy as an ndarray; of bfloat16 too, which np.from_dlpack does not know */
PyObject *binding_as_array(PyObject *module, PyObject *object)
{
    Operand operand;
    if (!operand_take(state_of(module), object, "w", &operand))
        return NULL;
    PyObject *copy = operand_cast(&operand, operand.tensor.dtype) ? Py_NewRef(operand.owner) : NULL;
    operand_release(&operand);
    return copy;
}

static bool take_shape(PyObject *object, Packed *packed)
{
    PyObject *shape = PyObject_GetAttrString(object, "shape");
    packed->axes = shape ? (int)PyTuple_Size(shape) : -1;
    bool good = packed->axes >= 0 && packed->axes <= MAX_AXES;
    for (int i = 0; good && i < packed->axes; i++) {
        packed->shape[i] = PyLong_AsLongLong(PyTuple_GetItem(shape, i));
        good = !PyErr_Occurred();
    }
    Py_XDECREF(shape);
    return good;
}

/* Whether the weights were packed for the call's function. */
static bool fits_function(const Call *call, PyObject *object, const char *name)
{
    PyObject *made_for = PyObject_GetAttrString(object, "op");
    if (!made_for)
        return false;
    const bool fits = PyUnicode_Check(made_for) && PyUnicode_CompareWithASCIIString(made_for, call->function) == 0;
    if (!fits)
        PyErr_Format(PyExc_TypeError, "%s was packed for %S, not for %s: use hz.pack(hz.%s, w)", name, made_for,
                     call->function, call->function);
    Py_DECREF(made_for);
    return fits;
}

bool offload_weights(Call *call, PyObject **w, const char *name)
{
    if (call->active.offload < OFFLOAD_CUDA || !is_packed(call->state, *w))
        return true;
    PyObject *source = fits_function(call, *w, name) ? PyObject_GetAttrString(*w, "_source") : NULL;
    if (!source)
        return false;
    *w = source;
    Py_DECREF(source); /* the packed weights keep it */
    return true;
}

bool packed_take(Call *call, PyObject *object, const char *name, bool transposed, Operand *blob, Quant *quant,
                 Packed *packed)
{
    if (!fits_function(call, object, name) || !take_shape(object, packed))
        return false;
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    bool good = dtype && dtype_parse(dtype, "dtype", &packed->dtype);
    Py_XDECREF(dtype);
    /* A view with .codes, .scale, .zero_point and .axis: the blob for the active context, and the parameters as packed. */
    PyObject *view = good ? PyObject_CallMethod(object, "_operand", NULL) : NULL;
    if (!view)
        return false;
    good = call_take_quantized(call, view, name, blob, packed->axes, quant);
    Py_DECREF(view);
    if (good) {
        as_blob(blob);
        quant->present = quant->quant.scale || quant->quant.zero_point;
        /* A packed matrix is (k, n) whatever it was made of. */
        if (call->call.op == HUNZE_OP_GEMM && packed->axes == 2 && transposed)
            quant->quant.axis = 1 - quant->quant.axis;
    }
    return good;
}
