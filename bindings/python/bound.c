/* SPDX-License-Identifier: Apache-2.0
 * A call prepared once and run often, as hunze.onnx does for each node: its plan is made, its arguments are checked.  It keeps its operands;
 * x, out and the residual may be other arrays of the same dtype, shape and strides in a run. */
#include "binding.h"

#include <stddef.h>
#include <string.h>

enum { VARIABLE_X, VARIABLE_OUT, VARIABLE_RESIDUAL, VARIABLES, MAX_TENSORS = 12 };

typedef struct BoundObject {
    PyObject ob_base;
    Call call; /* its pointers lead into this object */
    hunze_plan *plan;
    hunze_quant quants[3];
    hunze_tensor tensors[MAX_TENSORS];
    PyObject *owners[MAX_TENSORS]; /* the ndarrays */
    int64_t *numbers;              /* shapes and strides of all tensors */
    int tensor_count, quant_count;
    int variable[VARIABLES]; /* index of a tensor, or -1 */
    bool running;
} BoundObject;

static const char *const variable_names[VARIABLES] = {"x", "out", "residual"};

/* The operand of the call that this is the tensor of. */
static Operand *operand_of(const Call *call, const hunze_tensor *tensor)
{
    for (int i = 0; i < call->live_count; i++)
        if (&call->live[i]->tensor == tensor)
            return call->live[i];
    return NULL;
}

/* Copies the tensor that *slot points to, with its extents and a reference to its memory. */
static bool keep_tensor(BoundObject *self, const hunze_tensor **slot, int variable)
{
    if (!*slot)
        return true;
    const Operand *operand = operand_of(&self->call, *slot);
    if (!operand || !operand->owner || (variable >= 0 && operand->copied)) {
        PyErr_SetString(PyExc_TypeError, "a bound call takes aligned ndarrays of the call's own dtypes");
        return false;
    }
    int index = self->tensor_count++;
    self->tensors[index] = **slot;
    self->owners[index] = Py_NewRef(operand->owner);
    if (variable >= 0)
        self->variable[variable] = index;
    *slot = &self->tensors[index];
    return true;
}

static bool keep_quant(BoundObject *self, const hunze_quant **slot)
{
    if (!*slot)
        return true;
    hunze_quant *quant = &self->quants[self->quant_count++];
    *quant = **slot;
    *slot = quant;
    return keep_tensor(self, &quant->scale, -1) && keep_tensor(self, &quant->zero_point, -1);
}

static bool keep_operands(BoundObject *self)
{
    Call *call = &self->call;
    call->call.options = &call->options;
    if (!keep_tensor(self, &call->call.a, VARIABLE_X) || !keep_tensor(self, &call->call.b, -1) ||
        !keep_tensor(self, &call->call.d, VARIABLE_OUT))
        return false;
    switch (call->call.op) {
    case HUNZE_OP_GEMM: {
        hunze_gemm_options *o = &call->options.gemm;
        o->activation = o->activation ? &call->activation : NULL;
        return keep_tensor(self, &o->bias, -1) && keep_tensor(self, &o->residual, VARIABLE_RESIDUAL) &&
               keep_tensor(self, &o->offsets, -1) && keep_quant(self, &o->a_quant) && keep_quant(self, &o->b_quant) &&
               keep_quant(self, &o->d_quant);
    }
    case HUNZE_OP_CONV:
    case HUNZE_OP_CONV_TRANSPOSE: {
        hunze_conv_options *o = &call->options.conv;
        o->activation = o->activation ? &call->activation : NULL;
        return keep_tensor(self, &o->bias, -1) && keep_tensor(self, &o->residual, VARIABLE_RESIDUAL) &&
               keep_quant(self, &o->x_quant) && keep_quant(self, &o->w_quant) && keep_quant(self, &o->y_quant);
    }
    case HUNZE_OP_ACTIVATION:
        call->options.activation.activation = call->options.activation.activation ? &call->activation : NULL;
        return true;
    default: return keep_quant(self, &call->options.quantize.quant);
    }
}

/* Tensors point to their extents: those of the call end with it. */
static bool keep_numbers(BoundObject *self)
{
    size_t count = 0;
    for (int i = 0; i < self->tensor_count; i++)
        count += 2 * (size_t)self->tensors[i].ndim;
    int64_t *next = self->numbers = PyMem_Malloc((count ? count : 1) * sizeof *next);
    if (!next) {
        PyErr_NoMemory();
        return false;
    }
    for (int i = 0; i < self->tensor_count; i++) {
        hunze_tensor *tensor = &self->tensors[i];
        size_t bytes = (size_t)tensor->ndim * sizeof *next;
        if (bytes) {
            memcpy(next, tensor->shape, bytes);
            memcpy(next + tensor->ndim, tensor->strides, bytes);
        }
        tensor->shape = next;
        tensor->strides = next + tensor->ndim;
        next += 2 * tensor->ndim;
    }
    return true;
}

PyObject *bound_make(const Call *call, hunze_plan *plan)
{
    PyTypeObject *type = call->state->bound_type;
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    BoundObject *self = (BoundObject *)make(type, 0);
    if (!self) {
        hunze_plan_release(plan);
        return NULL;
    }
    self->plan = plan;
    for (int i = 0; i < VARIABLES; i++)
        self->variable[i] = -1;
    self->call = *call;
    self->call.kernel_text = Py_XNewRef(call->kernel_text);
    bool good = keep_operands(self) && keep_numbers(self);
    self->call.live_count = 0;
    if (good)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static void bound_dealloc(PyObject *object)
{
    BoundObject *self = (BoundObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    hunze_plan_release(self->plan);
    for (int i = 0; i < self->tensor_count; i++)
        Py_XDECREF(self->owners[i]);
    PyMem_Free(self->numbers);
    Py_XDECREF(self->call.kernel_text);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static bool same_extents(PyArrayObject *a, PyArrayObject *b)
{
    int axes = PyArray_NDIM(a);
    if (axes != PyArray_NDIM(b))
        return false;
    for (int i = 0; i < axes; i++) /* an axis of one element has no distance */
        if (PyArray_DIM(a, i) != PyArray_DIM(b, i) ||
            (PyArray_DIM(a, i) > 1 && PyArray_STRIDE(a, i) != PyArray_STRIDE(b, i)))
            return false;
    return true;
}

/* Lets the tensor look at this array's memory. */
static bool point_to(BoundObject *self, int variable, PyObject *object)
{
    int index = self->variable[variable];
    int needed = NPY_ARRAY_ALIGNED | (variable == VARIABLE_OUT ? NPY_ARRAY_WRITEABLE : 0);
    PyArrayObject *array = (PyArrayObject *)object;
    if (index < 0 || !PyArray_CheckExact(object) ||
        PyArray_TYPE(array) != PyArray_TYPE((PyArrayObject *)self->owners[index]) || !PyArray_ISNOTSWAPPED(array) ||
        (PyArray_FLAGS(array) & needed) != needed || !same_extents(array, (PyArrayObject *)self->owners[index])) {
        PyErr_Format(PyExc_ValueError,
                     "%s of a bound call must be an ndarray of the dtype, shape and strides of the first",
                     variable_names[variable]);
        return false;
    }
    self->tensors[index].data = PyArray_DATA(array);
    self->tensors[index].byte_offset = 0;
    return true;
}

/* run(x=None, out=None, residual=None): None stands for the array that the call was made with. */
static PyObject *bound_run(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    BoundObject *self = (BoundObject *)object;
    if (count > VARIABLES) {
        PyErr_Format(PyExc_TypeError, "run() takes at most %d arguments, got %zd", VARIABLES, count);
        return NULL;
    }
    if (self->running) {
        PyErr_SetString(PyExc_RuntimeError, "this bound call is running in another thread");
        return NULL;
    }
    bool good = true;
    for (int i = 0; i < (int)count && good; i++)
        if (arguments[i] != Py_None)
            good = point_to(self, i, arguments[i]);
    if (good) {
        self->running = true;
        good = call_execute(&self->call, self->plan);
        self->running = false;
    }
    for (int i = 0; i < (int)count; i++) /* what it was made with again */
        if (arguments[i] != Py_None && self->variable[i] >= 0) {
            int index = self->variable[i];
            self->tensors[index].data = PyArray_DATA((PyArrayObject *)self->owners[index]);
        }
    return good ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef bound_methods[] = {{"run", (PyCFunction)(void (*)(void))bound_run, METH_FASTCALL, NULL}, {0}};
static PyType_Slot bound_slots[] = {{Py_tp_dealloc, bound_dealloc}, {Py_tp_methods, bound_methods}, {0, NULL}};
PyType_Spec bound_spec = {"hunze._hunze._Bound", sizeof(BoundObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                          bound_slots};
