/* SPDX-License-Identifier: Apache-2.0
 * matmul of two small plain matrices, the way of calls that take no longer than their own overhead: one function whose code stays in the
 * instruction cache.  What it does not take, and what the library refuses, goes the way of matmul.c, which has the words for it. */
#include "binding.h"

typedef struct Matrix {
    hunze_tensor tensor;
    int64_t strides[2];
} Matrix;

/* An ndarray of two axes and of this type, whose elements lie where the library can read them, or write them if `flags` says so. */
static inline bool describe(PyObject *object, int type, int flags, Matrix *matrix)
{
    PyArrayObject *array = (PyArrayObject *)object;
    const bool f64 = type == NPY_DOUBLE;
    if (!PyArray_CheckExact(object) || PyArray_NDIM(array) != 2 || PyArray_TYPE(array) != type ||
        !PyArray_ISNOTSWAPPED(array) || (PyArray_FLAGS(array) & flags) != flags)
        return false;
    /* Aligned ones have strides that are multiples of the element, but along an axis of one element, which has no distance. */
    matrix->strides[0] = PyArray_STRIDE(array, 0) >> (f64 ? 3 : 2);
    matrix->strides[1] = PyArray_STRIDE(array, 1) >> (f64 ? 3 : 2);
    matrix->tensor = (hunze_tensor){.data = PyArray_DATA(array),
                                    .device = {HUNZE_DEVICE_CPU, 0},
                                    .ndim = 2,
                                    .dtype = f64 ? DTYPE_F64 : DTYPE_F32,
                                    .shape = (int64_t *)PyArray_DIMS(array),
                                    .strides = matrix->strides};
    return true;
}

bool plain_matmul(State *state, PyObject *a, PyObject *b, PyObject *out, PyObject **result)
{
    Matrix x, y, d;
    Active active;
    *result = NULL;
    if (!PyArray_CheckExact(a))
        return false;
    const int type = PyArray_TYPE((PyArrayObject *)a);
    if ((type != NPY_FLOAT && type != NPY_DOUBLE) || !describe(a, type, NPY_ARRAY_ALIGNED, &x) ||
        !describe(b, type, NPY_ARRAY_ALIGNED, &y) || x.tensor.shape[1] != y.tensor.shape[0])
        return false;
    npy_intp shape[2] = {x.tensor.shape[0], y.tensor.shape[1]};
    if ((double)shape[0] * (double)shape[1] * (double)x.tensor.shape[1] >= WORK_GIL)
        return false;
    if (!active_settings(state, &active))
        return true;
    if (active.flags || active.threads || active.offload)
        return false;
    PyObject *array = out ? Py_NewRef(out) : PyArray_SimpleNew(2, shape, type);
    if (!array)
        return true;
    if (describe(array, type, NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE, &d) && d.tensor.shape[0] == shape[0] &&
        d.tensor.shape[1] == shape[1] &&
        hunze_gemm(active.context, &x.tensor, &y.tensor, NULL, &d.tensor, NULL, NULL) == HUNZE_OK) {
        *result = array;
        return true;
    }
    Py_DECREF(array);
    return false;
}
