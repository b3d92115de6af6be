/* SPDX-License-Identifier: Apache-2.0
 * Operands: ndarrays through NumPy's C API, DeviceArrays, other libraries through DLPack (dlpack.c), the rest through np.asarray. */
#include "device.h"

#include "dlpack.h"

#include <string.h>

/* The types whose arrays pass without a look at their names: indexed by NumPy's number. */
static const struct {
    hunze_dtype dtype;
    int shift; /* log2 of the element's bytes */
} fast_types[] = {
    [NPY_BYTE] = {{HUNZE_INT, 8, 1}, 0},      [NPY_UBYTE] = {{HUNZE_UINT, 8, 1}, 0},
    [NPY_INT] = {{HUNZE_INT, 32, 1}, 2},      [NPY_FLOAT] = {{HUNZE_FLOAT, 32, 1}, 2},
    [NPY_DOUBLE] = {{HUNZE_FLOAT, 64, 1}, 3}, [NPY_HALF] = {{HUNZE_FLOAT, 16, 1}, 1},
};
enum { FAST_TYPES = sizeof fast_types / sizeof fast_types[0] };

static void operand_clear(Operand *operand)
{
    operand->owner = NULL;
    operand->managed = NULL;
    operand->memory = NULL;
    operand->versioned = operand->read_only = operand->copied = operand->output = false;
    operand->library = LIBRARY_ANY;
    operand->space = NULL;
}

void operand_release(Operand *operand)
{
    Py_XDECREF(operand->owner);
    Py_XDECREF(operand->space);
    Py_XDECREF((PyObject *)operand->memory);
    if (operand->managed)
        dlpack_release(operand);
    operand_clear(operand);
}

const char *shape_text(int axes, const int64_t *shape, char text[SHAPE_TEXT])
{
    int used = PyOS_snprintf(text, SHAPE_TEXT, "(");
    for (int i = 0; i < axes && used < SHAPE_TEXT - 32; i++)
        used += PyOS_snprintf(text + used, SHAPE_TEXT - used, i ? ", %lld" : "%lld", (long long)shape[i]);
    PyOS_snprintf(text + used, SHAPE_TEXT - used, axes == 1 ? ",)" : ")");
    return text;
}

static bool element_strides(PyArrayObject *array, int64_t bytes, int64_t *strides)
{
    int axes = PyArray_NDIM(array);
    for (int i = 0; i < axes; i++) {
        int64_t stride = PyArray_STRIDE(array, i);
        if (stride % bytes) {
            /* An axis of one element has no distance. */
            if (PyArray_DIM(array, i) > 1)
                return false;
            stride = 0;
        }
        strides[i] = stride / bytes;
    }
    return true;
}

static bool describe_array(PyArrayObject *array, hunze_dtype dtype, Operand *operand)
{
    operand->tensor.data = PyArray_DATA(array);
    operand->tensor.device = (hunze_device){HUNZE_DEVICE_CPU, 0};
    operand->tensor.ndim = PyArray_NDIM(array);
    operand->tensor.dtype = dtype;
    operand->tensor.shape = (int64_t *)PyArray_DIMS(array);
    operand->tensor.strides = operand->strides;
    operand->tensor.byte_offset = 0;
    return element_strides(array, dtype.bits / 8, operand->strides);
}

static void refuse_dtype(PyArrayObject *array, const char *name)
{
    PyArray_Descr *descr = PyArray_DESCR(array);
    if (!PyArray_ISNOTSWAPPED(array)) {
        hunze_dtype native;
        const char *to = dtype_of_descr(descr, &native) ? dtype_name(native) : "float64";
        PyErr_Format(PyExc_TypeError, "%s has the byte-swapped dtype %S: use %s.astype('%s')", name, (PyObject *)descr,
                     name, to);
    } else
        PyErr_Format(PyExc_TypeError, "%s has the dtype %S, which hunze does not take: use %s.astype('float32')", name,
                     (PyObject *)descr, name);
}

/* Takes ownership of `array`. */
static bool take_array(PyArrayObject *array, const char *name, Operand *operand)
{
    hunze_dtype dtype;
    unsigned number = (unsigned)PyArray_TYPE(array);
    operand->owner = (PyObject *)array;
    if (!PyArray_ISNOTSWAPPED(array) ||
        !(number < FAST_TYPES && fast_types[number].dtype.bits ? (dtype = fast_types[number].dtype, true)
                                                               : dtype_of_descr(PyArray_DESCR(array), &dtype))) {
        refuse_dtype(array, name);
        operand_release(operand);
        return false;
    }
    operand->read_only = !(PyArray_FLAGS(array) & NPY_ARRAY_WRITEABLE);
    if (describe_array(array, dtype, operand) && (PyArray_FLAGS(array) & NPY_ARRAY_ALIGNED))
        return true;
    /* Elements that lie across their own alignment, or at distances that are no multiple of their size: views of records. */
    PyObject *copy = PyArray_NewCopy(array, NPY_CORDER);
    if (!copy) {
        operand_release(operand);
        return false;
    }
    Py_DECREF(operand->owner);
    operand->owner = copy;
    operand->copied = true;
    return describe_array((PyArrayObject *)copy, dtype, operand);
}

static bool in_module(PyObject *object, const char *package)
{
    PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__module__");
    bool inside = false;
    if (module && PyUnicode_Check(module)) {
        PyObject *prefix = PyUnicode_FromString(package);
        inside = prefix && PyUnicode_Tailmatch(module, prefix, 0, PY_SSIZE_T_MAX, -1) == 1;
        Py_XDECREF(prefix);
    }
    Py_XDECREF(module);
    PyErr_Clear();
    return inside;
}

/* Kinds of arrays whose meaning np.asarray would drop without a word. */
static bool refuse_kind(PyObject *object, const char *name)
{
    if (in_module(object, "numpy.ma"))
        PyErr_Format(PyExc_TypeError, "%s is a masked array, and hunze has no masks: use %s.filled(value)", name, name);
    else if (in_module(object, "scipy.sparse"))
        PyErr_Format(PyExc_TypeError, "%s is a scipy.sparse array, and hunze has dense kernels only: use %s.toarray()",
                     name, name);
    else
        return true;
    return false;
}

static bool take_device_array(Place *place, PyObject *object, const char *name, Operand *operand)
{
    const DeviceMemory *memory = ((DeviceArrayObject *)object)->memory;
    if (!place_enter(place, memory->device, NULL, NULL, name))
        return false;
    device_array_operand(object, operand);
    Py_INCREF((PyObject *)operand->memory);
    operand->owner = Py_NewRef(object);
    return true;
}

/* An ndarray subclass, a DLPack exporter, a buffer, a list, … */
static bool take_other(Place *place, PyObject *object, const char *name, Operand *operand)
{
    State *state = place->state;
    if (is_device_array(state, object))
        return take_device_array(place, object, name, operand);
    if (!refuse_kind(object, name))
        return false;
    if (PyArray_Check(object)) {
        PyObject *base = PyArray_FromArray((PyArrayObject *)object, NULL, NPY_ARRAY_ENSUREARRAY);
        operand->library = LIBRARY_NUMPY;
        return base && take_array((PyArrayObject *)base, name, operand);
    }
    if (is_quantized(state, object) || is_packed(state, object)) {
        PyErr_Format(PyExc_TypeError, "%s may not be a %s here", name,
                     is_packed(state, object) ? "PackedWeights" : "QArray");
        return false;
    }
    PyObject *dlpack = PyObject_GetAttr((PyObject *)Py_TYPE(object), state->attributes[ATTRIBUTE___dlpack__]);
    if (dlpack) {
        Py_DECREF(dlpack);
        return dlpack_take(place, object, name, operand);
    }
    PyErr_Clear();
    if (PyObject_HasAttr((PyObject *)Py_TYPE(object), state->attributes[ATTRIBUTE___cuda_array_interface__]))
        return interface_take(place, object, name, operand);
    PyObject *array = PyArray_FromAny(object, NULL, 0, 0, NPY_ARRAY_ENSUREARRAY, NULL);
    if (!array)
        return false;
    if (PyArray_TYPE((PyArrayObject *)array) == NPY_OBJECT) {
        Py_DECREF(array);
        PyErr_Format(PyExc_TypeError, "%s (a %S) does not make an array of numbers: use np.asarray(%s, 'float32')",
                     name, (PyObject *)Py_TYPE(object), name);
        return false;
    }
    return take_array((PyArrayObject *)array, name, operand);
}

bool operand_take(Place *place, PyObject *object, const char *name, Operand *operand)
{
    operand_clear(operand);
    operand->name = name;
    place->taken++;
    if (PyArray_CheckExact(object)) {
        operand->library = LIBRARY_NUMPY;
        return take_array((PyArrayObject *)Py_NewRef(object), name, operand);
    }
    return take_other(place, object, name, operand);
}

/* True for what shares its memory with the array that is made of it. */
static bool shares_memory(State *state, PyObject *object)
{
    return PyArray_Check(object) || PyObject_HasAttr(object, state->attributes[ATTRIBUTE___dlpack__]) ||
           PyObject_HasAttr(object, state->attributes[ATTRIBUTE___cuda_array_interface__]) ||
           PyObject_CheckBuffer(object);
}

/* The library that gets the result may work on another stream than the call. */
static void note_their_stream(const Place *place, PyObject *object, Operand *operand)
{
    DeviceMemory *memory = operand->memory;
    if (memory && place->chose != Py_TYPE(object) && !memory->says_stream && operand->library != LIBRARY_DEVICE)
        memory->says_stream = stream_of_library(place->state, object, memory->device.id, &memory->theirs);
}

bool operand_take_output(Place *place, PyObject *object, const char *name, hunze_dtype dtype, int axes,
                         const int64_t *shape, Operand *operand)
{
    char have[SHAPE_TEXT], want[SHAPE_TEXT];
    operand_clear(operand);
    if (!shares_memory(place->state, object)) {
        PyErr_Format(PyExc_TypeError, "%s is a %S; it must be an array", name, (PyObject *)Py_TYPE(object));
        return false;
    }
    if (!operand_take(place, object, name, operand))
        return false;
    operand->output = true;
    const hunze_tensor *tensor = &operand->tensor;
    if (operand->read_only)
        PyErr_Format(PyExc_ValueError, "%s is read-only", name);
    else if (tensor->ndim != axes || (axes && memcmp(tensor->shape, shape, axes * sizeof *shape)))
        PyErr_Format(PyExc_ValueError, "%s has shape %s; the result has shape %s", name,
                     shape_text(tensor->ndim, tensor->shape, have), shape_text(axes, shape, want));
    else if (!dtype_is(tensor->dtype, dtype))
        PyErr_Format(PyExc_TypeError, "%s is %s; the result is %s: use np.empty(%s, '%s')", name,
                     dtype_name(tensor->dtype), dtype_name(dtype), shape_text(axes, shape, want), dtype_name(dtype));
    else if (operand->copied)
        PyErr_Format(PyExc_ValueError, "%s is a view whose elements are not aligned: compute without out= and assign",
                     name);
    else {
        note_their_stream(place, object, operand);
        return true;
    }
    operand_release(operand);
    return false;
}

bool operand_new(Place *place, hunze_dtype dtype, int axes, const int64_t *shape, Operand *operand)
{
    operand_clear(operand);
    operand->name = "out";
    operand->output = true;
    if (place->device.type != HUNZE_DEVICE_CPU && (place->first || !place->brings)) {
        operand->owner = device_array_empty(place->state, place->device, &place->stream, dtype, axes, shape);
        if (!operand->owner)
            return false;
        device_array_operand(operand->owner, operand);
        operand->library = LIBRARY_ANY;
        Py_INCREF((PyObject *)operand->memory);
        return true;
    }
    /* Where NumPy has no bfloat16, 16 bits to be handed on by DLPack. */
    const int number = dtype_number(dtype);
    PyObject *array = PyArray_SimpleNew(axes, (npy_intp *)shape, number < 0 ? NPY_UINT16 : number);
    if (!array)
        return false;
    operand->owner = array;
    return describe_array((PyArrayObject *)array, dtype, operand);
}

void operand_describe(const Place *place, hunze_dtype dtype, int axes, const int64_t *shape, Operand *operand)
{
    operand_clear(operand);
    if (axes)
        memcpy(operand->shape, shape, axes * sizeof *shape);
    operand->tensor = (hunze_tensor){
        .device = place->device, .ndim = axes, .dtype = dtype, .shape = operand->shape, .strides = operand->strides};
    int64_t stride = 1;
    for (int i = axes; i-- > 0; stride *= shape[i] ? shape[i] : 1)
        operand->strides[i] = stride;
}

PyObject *refuse_bfloat16(void)
{
    PyErr_SetString(PyExc_TypeError,
                    "NumPy has bfloat16 from the package ml_dtypes only, which is not there: pip install ml_dtypes");
    return NULL;
}

/* An ndarray over the operand's memory; new reference. */
static PyObject *as_array(Operand *operand)
{
    if (operand->memory) {
        PyErr_Format(
            PyExc_TypeError,
            "%s lives on a device, where hunze changes no dtypes: convert it before, all operands to one dtype "
            "(weights of 8 bits: int8)",
            operand->name);
        return NULL;
    }
    if (operand->owner)
        return Py_NewRef(operand->owner);
    const hunze_tensor *tensor = &operand->tensor;
    npy_intp strides[MAX_AXES];
    const int number = dtype_number(tensor->dtype);
    if (number < 0)
        return refuse_bfloat16();
    for (int i = 0; i < tensor->ndim; i++)
        strides[i] = operand->strides[i] * (tensor->dtype.bits / 8);
    return PyArray_New(&PyArray_Type, tensor->ndim, (npy_intp *)tensor->shape, number, strides,
                       (char *)tensor->data + tensor->byte_offset, 0, 0, NULL);
}

/* The operand's ndarray is replaced; its library stays. */
static bool replace(Operand *operand, PyObject *array, hunze_dtype dtype)
{
    if (!array)
        return false;
    if (operand->managed)
        dlpack_release(operand);
    Py_XDECREF(operand->owner);
    operand->owner = array;
    operand->copied = true;
    return describe_array((PyArrayObject *)array, dtype, operand);
}

bool operand_cast(Operand *operand, hunze_dtype dtype)
{
    PyObject *array = as_array(operand);
    if (!array)
        return false;
    const int number = dtype_number(dtype);
    if (number < 0) {
        Py_DECREF(array);
        return refuse_bfloat16() != NULL;
    }
    PyArray_Descr *descr = PyArray_DescrFromType(number);
    PyObject *cast = PyArray_CastToType((PyArrayObject *)array, descr, 0);
    Py_DECREF(array);
    return replace(operand, cast, dtype);
}

PyObject *operand_copy(Place *place, Operand *operand)
{
    if (operand->memory)
        return device_array_copy(place, operand);
    return operand_cast(operand, operand->tensor.dtype) ? Py_NewRef(operand->owner) : NULL;
}

bool operand_to_signed(Operand *operand)
{
    PyObject *array = as_array(operand);
    if (!array)
        return false;
    PyObject *copy = PyArray_NewCopy((PyArrayObject *)array, NPY_CORDER);
    Py_DECREF(array);
    if (!copy)
        return false;
    uint8_t *codes = PyArray_DATA((PyArrayObject *)copy);
    npy_intp count = PyArray_SIZE((PyArrayObject *)copy);
    for (npy_intp i = 0; i < count; i++)
        codes[i] ^= 0x80;
    return replace(operand, copy, DTYPE_S8);
}

void operand_insert_axis(Operand *operand, int position)
{
    hunze_tensor *tensor = &operand->tensor;
    int tail = tensor->ndim - position;
    if (tensor->ndim && tensor->shape != operand->shape) /* NumPy gives no shape where there are no axes */
        memcpy(operand->shape, tensor->shape, tensor->ndim * sizeof(int64_t));
    memmove(operand->shape + position + 1, operand->shape + position, tail * sizeof(int64_t));
    memmove(operand->strides + position + 1, operand->strides + position, tail * sizeof(int64_t));
    operand->shape[position] = 1;
    operand->strides[position] = tail ? operand->shape[position + 1] * operand->strides[position + 1] : 1;
    tensor->shape = operand->shape;
    tensor->ndim++;
}

bool operands_mix(const Operand *a, const char *a_name, const Operand *b, const char *b_name)
{
    if (a->library == LIBRARY_ANY || b->library == LIBRARY_ANY || (a->library == b->library && a->space == b->space))
        return true;
    if (!a->memory != !b->memory) /* place_settle says it better */
        return true;
    PyErr_Format(PyExc_TypeError,
                 "%s and %s are arrays of different libraries: convert one of them, for example with from_dlpack",
                 a_name, b_name);
    return false;
}

/* Takes the array over. */
static PyObject *made_by(State *state, PyObject *space, PyObject *array)
{
    PyObject *from = PyObject_GetAttr(space, state->attributes[ATTRIBUTE_from_dlpack]);
    PyObject *made = from && array ? PyObject_CallFunctionObjArgs(from, array, NULL) : NULL;
    Py_XDECREF(from);
    Py_XDECREF(array);
    return made;
}

PyObject *operand_result(State *state, Operand *result, const Operand *like)
{
    if (result->memory)
        return like->library == LIBRARY_OTHER ? made_by(state, like->space, Py_NewRef(result->owner))
                                              : Py_NewRef(result->owner);
    const bool bfloat16 = dtype_is(result->tensor.dtype, DTYPE_BF16);
    if (like->library == LIBRARY_OTHER) /* NumPy exports no bfloat16 */
        return made_by(state, like->space, bfloat16 ? dlpack_export(state, result->owner) : Py_NewRef(result->owner));
    if (bfloat16 && PyArray_TYPE((PyArrayObject *)result->owner) == NPY_UINT16)
        return refuse_bfloat16();
    return PyArray_Return((PyArrayObject *)Py_NewRef(result->owner));
}

bool is_quantized(State *state, PyObject *object)
{
    return !PyArray_CheckExact(object) && state->quantized_type &&
           PyObject_TypeCheck(object, (PyTypeObject *)state->quantized_type);
}

bool is_packed(State *state, PyObject *object)
{
    return !PyArray_CheckExact(object) && state->packed_type &&
           PyObject_TypeCheck(object, (PyTypeObject *)state->packed_type);
}
