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

/* The blob's bytes, where the weights live. */
static bool take_blob(Call *call, size_t size, Operand *blob)
{
    if (call->place.device.type != HUNZE_DEVICE_CPU) {
        const int64_t bytes = (int64_t)size;
        if (!operand_new(&call->place, DTYPE_U8, 1, &bytes, blob))
            return false;
    } else {
        PyObject *bytes = aligned_bytes(size);
        bool good = bytes && operand_take(&call->place, bytes, "packed", blob);
        Py_XDECREF(bytes);
        if (!good)
            return false;
    }
    call_keep(call, blob);
    as_blob(blob);
    return true;
}

/* _pack(function, op, transpose_b, groups, a_unsigned, w, kernel, stream) -> bytes of the blob as an ndarray or DeviceArray */
PyObject *binding_pack(PyObject *module, PyObject *const *v, Py_ssize_t count)
{
    if (count != 8) {
        PyErr_SetString(PyExc_TypeError, "_pack() takes 8 arguments");
        return NULL;
    }
    State *state = state_of(module);
    Call call;
    Operand w, blob;
    int64_t op, groups;
    if (!parse_int(v[1], "op", 1, 3, &op) || !parse_int(v[3], "groups", 1, 1 << 30, &groups) ||
        !call_begin(state, &call, "pack", HUNZE_OP_PACK, NULL, NULL, v[6] == Py_None ? NULL : v[6],
                    v[7] == Py_None ? NULL : v[7]))
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
    if (operand_take(&call.place, v[5], "w", &w)) {
        call_keep(&call, &w);
        hunze_status status = hunze_pack_size(call.active.context, &w.tensor, &options, &size);
        if (!status && take_blob(&call, size, &blob) && call_settle(&call)) {
            const hunze_run run = {.struct_size = sizeof run, .stream = call.place.stream.handle};
            PyThreadState *thread = PyEval_SaveThread();
            status = hunze_pack(call.active.context, &w.tensor, &blob.tensor, &options, &run);
            PyEval_RestoreThread(thread);
            bytes = status ? NULL : Py_NewRef(blob.owner);
        }
        if (status)
            raise_status(status, "pack");
    }
    call_end(&call);
    return bytes;
}

/* _as_array(object) -> a copy as an ndarray; of bfloat16 too, which np.from_dlpack does not know.  On a device a DeviceArray. */
PyObject *binding_as_array(PyObject *module, PyObject *object)
{
    Active active;
    Place place;
    Operand operand;
    PyObject *copy = NULL;
    if (!active_settings(state_of(module), &active))
        return NULL;
    place_begin(state_of(module), &active, NULL, &place);
    if (operand_take(&place, object, "w", &operand)) {
        copy = operand_copy(&place, &operand);
        operand_release(&operand);
    }
    place_end(&place);
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

/* Else the library would read it from the device, and wait, in each call. */
static bool take_header(Call *call, PyObject *view, Packed *packed)
{
    PyObject *header = PyObject_GetAttrString(view, "header");
    const bool good = header && PyBytes_Check(header) && PyBytes_Size(header) == sizeof packed->header;
    if (good) {
        memcpy(packed->header, PyBytes_AsString(header), sizeof packed->header);
        call->run.packed_header = packed->header;
    } else if (header) {
        PyErr_SetString(PyExc_TypeError, "packed weights on a device without their header");
    }
    Py_XDECREF(header);
    return good;
}

/* Whether the weights were packed for the call's function; a list of products takes matmul's. */
static bool fits_function(const Call *call, PyObject *object, const char *name)
{
    PyObject *made_for = PyObject_GetAttrString(object, "op");
    if (!made_for)
        return false;
    const char *function = strcmp(call->function, "grouped_matmul") ? call->function : "matmul";
    const bool fits = PyUnicode_Check(made_for) && PyUnicode_CompareWithASCIIString(made_for, function) == 0;
    if (!fits)
        PyErr_Format(PyExc_TypeError, "%s was packed for %S, not for %s: use hz.pack(hz.%s, w)", name, made_for,
                     call->function, function);
    Py_DECREF(made_for);
    return fits;
}

bool offload_weights(Call *call, PyObject **w, const char *name)
{
    if (call->active.offload < OFFLOAD_CUDA || !is_packed(call->state, *w))
        return true;
    PyObject *source = fits_function(call, *w, name) ? PyObject_GetAttrString(*w, "_source") : NULL;
    PyObject *codes =
        source && is_quantized(call->state, source) ? PyObject_GetAttrString(source, "codes") : Py_XNewRef(source);
    const bool good = codes != NULL;
    if (good && PyArray_Check(codes)) /* else they were packed for a device */
        *w = source;                  /* which the packed weights keep */
    Py_XDECREF(codes);
    Py_XDECREF(source);
    return good;
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
    if (good && blob->tensor.device.type != HUNZE_DEVICE_CPU)
        good = take_header(call, view, packed);
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
