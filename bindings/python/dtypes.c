/* SPDX-License-Identifier: Apache-2.0
 * Element types: NumPy's numbers, DLPack's codes, and the names in messages. */
#include "binding.h"

#include <stdatomic.h>
#include <string.h>

enum { DLPACK_COMPLEX = 5 };

/* NumPy's number of ml_dtypes.bfloat16, which is one for the process once that package is imported; 0: not met yet. */
static atomic_int bfloat16_number;

static const struct {
    int number;
    hunze_dtype dtype;
    const char *name;
} known[] = {
    {NPY_FLOAT, {HUNZE_FLOAT, 32, 1}, "float32"},
    {NPY_DOUBLE, {HUNZE_FLOAT, 64, 1}, "float64"},
    {NPY_BYTE, {HUNZE_INT, 8, 1}, "int8"},
    {NPY_UBYTE, {HUNZE_UINT, 8, 1}, "uint8"},
    {NPY_INT32, {HUNZE_INT, 32, 1}, "int32"},
    {NPY_BOOL, {HUNZE_BOOL, 8, 1}, "bool"},
    {NPY_INT16, {HUNZE_INT, 16, 1}, "int16"},
    {NPY_UINT16, {HUNZE_UINT, 16, 1}, "uint16"},
    {NPY_UINT32, {HUNZE_UINT, 32, 1}, "uint32"},
    {NPY_INT64, {HUNZE_INT, 64, 1}, "int64"},
    {NPY_UINT64, {HUNZE_UINT, 64, 1}, "uint64"},
    {NPY_HALF, {HUNZE_FLOAT, 16, 1}, "float16"},
    {NPY_CFLOAT, {DLPACK_COMPLEX, 64, 1}, "complex64"},
    {NPY_CDOUBLE, {DLPACK_COMPLEX, 128, 1}, "complex128"},
    {-1, {HUNZE_BFLOAT, 16, 1}, "bfloat16"},
};
enum { KNOWN_COUNT = sizeof known / sizeof known[0] };

bool dtype_is_integer(hunze_dtype dtype)
{
    return dtype.code == HUNZE_INT || dtype.code == HUNZE_UINT || dtype.code == HUNZE_BOOL;
}

const char *dtype_name(hunze_dtype dtype)
{
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (dtype_is(known[i].dtype, dtype))
            return known[i].name;
    return "a dtype that hunze does not know";
}

bool dtype_is_known(hunze_dtype dtype)
{
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (dtype_is(known[i].dtype, dtype))
            return true;
    return false;
}

static bool is_bfloat16(PyArray_Descr *descr)
{
    if (descr->type_num < NPY_USERDEF)
        return false;
    if (descr->type_num == bfloat16_number)
        return true;
    PyObject *name = PyObject_GetAttrString((PyObject *)descr->typeobj, "__name__");
    PyObject *module = PyObject_GetAttrString((PyObject *)descr->typeobj, "__module__");
    bool is = name && module && PyUnicode_CompareWithASCIIString(name, "bfloat16") == 0 &&
              PyUnicode_CompareWithASCIIString(module, "ml_dtypes") == 0;
    Py_XDECREF(name);
    Py_XDECREF(module);
    PyErr_Clear();
    if (is)
        bfloat16_number = descr->type_num;
    return is;
}

/* Imports ml_dtypes if need be; -1 where it is not installed. */
static int find_bfloat16(void)
{
    if (bfloat16_number)
        return bfloat16_number;
    PyArray_Descr *descr = NULL;
    PyObject *module = PyImport_ImportModule("ml_dtypes");
    PyObject *type = module ? PyObject_GetAttrString(module, "bfloat16") : NULL;
    const bool found = type && PyArray_DescrConverter(type, &descr) && is_bfloat16(descr);
    Py_XDECREF((PyObject *)descr);
    Py_XDECREF(type);
    Py_XDECREF(module);
    PyErr_Clear();
    return found ? bfloat16_number : -1;
}

int dtype_number(hunze_dtype dtype)
{
    if (dtype_is(dtype, DTYPE_BF16))
        return find_bfloat16();
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (dtype_is(known[i].dtype, dtype))
            return known[i].number;
    return -1;
}

bool dtype_of_number(int number, hunze_dtype *dtype)
{
    /* NumPy has two numbers for one of int, long and long long. */
    if (number == NPY_LONGLONG)
        number = NPY_INT64;
    else if (number == NPY_ULONGLONG)
        number = NPY_UINT64;
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (known[i].number == number && number >= 0) {
            *dtype = known[i].dtype;
            return true;
        }
    return false;
}

bool dtype_of_descr(PyArray_Descr *descr, hunze_dtype *dtype)
{
    if (is_bfloat16(descr)) {
        *dtype = DTYPE_BF16;
        return true;
    }
    return dtype_of_number(descr->type_num, dtype);
}

bool dtype_parse(PyObject *object, const char *name, hunze_dtype *dtype)
{
    PyArray_Descr *descr = NULL;
    if (!PyArray_DescrConverter(object, &descr))
        return false;
    bool found = dtype_of_descr(descr, dtype);
    if (!found)
        PyErr_Format(PyExc_TypeError, "%s=%S is not a dtype that hunze has", name, (PyObject *)descr);
    Py_DECREF(descr);
    return found;
}
