/* SPDX-License-Identifier: Apache-2.0
 * hunze.grouped_matmul without offsets: a list of products of any shapes, around hunze_gemm_grouped. */
#include "product.h"

#include <string.h>

enum { LIST_A, LIST_B, LIST_OUT, LIST_BIAS, LIST_RESIDUAL, LISTS, NAME_TEXT = 32 };
static const char *const list_names[LISTS] = {"a", "b", "out", "bias", "residual"};

typedef struct Item {
    Operands operands;
    char names[LISTS][NAME_TEXT]; /* "a[3]" */
} Item;

typedef struct List {
    Product product; /* of the item that is taken now; the call is the list's */
    Py_ssize_t count;
    PyObject *lists[LISTS]; /* tuples, which nobody else changes; NULL where not given */
    Item *items;
    hunze_gemm_group *groups;
    Operand **live;
} List;

static bool take_list(List *list, int which, PyObject *object)
{
    if (!PyList_Check(object) && !PyTuple_Check(object)) {
        PyErr_Format(PyExc_TypeError,
                     "%s is a %S; grouped_matmul without offsets needs a list of arrays, one for each product",
                     list_names[which], (PyObject *)Py_TYPE(object));
        return false;
    }
    PyObject *tuple = list->lists[which] = PySequence_Tuple(object);
    if (!tuple)
        return false;
    if (which == LIST_A)
        list->count = PyTuple_Size(tuple);
    if (PyTuple_Size(tuple) == list->count)
        return true;
    PyErr_Format(PyExc_ValueError, "%s has %zd items and a has %zd; there is one for each product", list_names[which],
                 PyTuple_Size(tuple), list->count);
    return false;
}

/* NULL where the list is not there, or has None. */
static PyObject *item_of(const List *list, int which, Py_ssize_t i)
{
    PyObject *item = list->lists[which] ? PyTuple_GetItem(list->lists[which], i) : NULL;
    return item != Py_None ? item : NULL;
}

/* By hand: snprintf would take a sixth of the time of a small product. */
static void name_operands(Item *item, Py_ssize_t i, OperandNames *names)
{
    char index[NAME_TEXT - sizeof "residual"], *start = index + sizeof index;
    *--start = 0;
    *--start = ']';
    do
        *--start = (char)('0' + i % 10);
    while (i /= 10);
    *--start = '[';
    for (int which = 0; which < LISTS; which++) {
        const size_t length = strlen(list_names[which]);
        memcpy(item->names[which], list_names[which], length);
        memcpy(item->names[which] + length, start, (size_t)(index + sizeof index - start));
    }
    *names = (OperandNames){.a = item->names[LIST_A],
                            .b = item->names[LIST_B],
                            .out = item->names[LIST_OUT],
                            .bias = item->names[LIST_BIAS],
                            .residual = item->names[LIST_RESIDUAL]};
}

static bool is_on_cpu(const Place *place)
{
    if (place->device.type == HUNZE_DEVICE_CPU)
        return true;
    PyErr_Format(PyExc_NotImplementedError,
                 "%s lives on cuda:%d, and grouped_matmul runs on the CPU: call hz.matmul for each product",
                 place->name, (int)place->device.id);
    return false;
}

/* The options, and with them scales and zero points, are those of all products. */
static bool refuse_quantized(const char *name)
{
    PyErr_Format(PyExc_TypeError, "%s is quantised; grouped_matmul takes plain arrays: call hz.matmul for each product",
                 name);
    return false;
}

static bool take_item(List *list, Py_ssize_t i, PyObject **values)
{
    Product *p = &list->product;
    hunze_gemm_options *options = &p->call.options.gemm;
    PyObject *own[PRODUCT_VALUES] = {[PRODUCT_BIAS] = item_of(list, LIST_BIAS, i),
                                     [PRODUCT_RESIDUAL] = item_of(list, LIST_RESIDUAL, i),
                                     [PRODUCT_OUT] = item_of(list, LIST_OUT, i),
                                     [PRODUCT_DTYPE] = values[PRODUCT_DTYPE]};
    p->operands = &list->items[i].operands;
    name_operands(&list->items[i], i, &p->names);
    options->bias = options->residual = NULL;
    if (!product_take(p, PyTuple_GetItem(list->lists[LIST_A], i), PyTuple_GetItem(list->lists[LIST_B], i)))
        return false;
    if (p->a_quant.present || p->b_quant.present)
        return refuse_quantized(p->a_quant.present ? p->names.a : p->names.b);
    if (!is_on_cpu(&p->call.place) || !product_prepare(p, own) || !is_on_cpu(&p->call.place))
        return false;
    list->groups[i] = (hunze_gemm_group){.a = p->call.call.a,
                                         .b = p->call.call.b,
                                         .d = p->call.call.d,
                                         .bias = options->bias,
                                         .residual = options->residual};
    return true;
}

static bool allocate(List *list)
{
    Call *call = &list->product.call;
    /* MAX_LIVE: an item that is refused may have scales and zero points. */
    const size_t count = (size_t)list->count, live = count * (sizeof(Operands) / sizeof(Operand)) + MAX_LIVE;
    list->items = PyMem_Malloc((count ? count : 1) * sizeof *list->items);
    list->groups = PyMem_Malloc((count ? count : 1) * sizeof *list->groups);
    list->live = PyMem_Malloc(live * sizeof(Operand *));
    if (list->items && list->groups && list->live) {
        call->live = list->live;
        return true;
    }
    PyErr_NoMemory();
    return false;
}

static bool prepare(List *list, PyObject *a, PyObject *b, PyObject **values)
{
    Call *call = &list->product.call;
    hunze_gemm_options *options = &call->options.gemm;
    double work = 0;
    if (!take_list(list, LIST_A, a) || !take_list(list, LIST_B, b) ||
        (values[PRODUCT_OUT] && !take_list(list, LIST_OUT, values[PRODUCT_OUT])) ||
        (values[PRODUCT_BIAS] && !take_list(list, LIST_BIAS, values[PRODUCT_BIAS])) ||
        (values[PRODUCT_RESIDUAL] && !take_list(list, LIST_RESIDUAL, values[PRODUCT_RESIDUAL])) || !allocate(list))
        return false;
    if (values[PRODUCT_ACTIVATION]) {
        if (!parse_activation(values[PRODUCT_ACTIVATION], &call->activation))
            return false;
        options->activation = &call->activation;
    }
    for (Py_ssize_t i = 0; i < list->count; i++) {
        if (!take_item(list, i, values))
            return false;
        work += call->work;
    }
    options->bias = options->residual = NULL;
    call->groups = list->groups;
    call->group_count = list->count;
    call->work = work;
    return true;
}

static PyObject *results(List *list)
{
    PyObject *made = PyList_New(list->count);
    for (Py_ssize_t i = 0; made && i < list->count; i++) {
        Operands *operands = &list->items[i].operands;
        PyObject *result = call_result(&list->product.call, item_of(list, LIST_OUT, i), &operands->d, &operands->a,
                                       &list->product.d_quant, -1);
        if (!result)
            Py_CLEAR(made);
        else
            PyList_SetItem(made, i, result);
    }
    return made;
}

PyObject *grouped_list(State *state, PyObject *a, PyObject *b, PyObject **values)
{
    List list;
    Call *call = &list.product.call;
    PyObject *plan, *made = NULL;
    if (!grouped_begin(state, call, values))
        return NULL;
    memset(list.lists, 0, sizeof list.lists);
    list.items = NULL;
    list.groups = NULL;
    list.live = NULL;
    list.product.transposed = false;
    if (call->plan_only || call->bind || call->planned)
        PyErr_SetString(PyExc_NotImplementedError, "a list of products has no plan: use hz.matmul's for each of them");
    else if (prepare(&list, a, b, values) && call_run(call, &plan))
        made = results(&list);
    call_end(call);
    for (int which = 0; which < LISTS; which++)
        Py_XDECREF(list.lists[which]);
    PyMem_Free(list.items);
    PyMem_Free(list.groups);
    PyMem_Free(list.live);
    return made;
}
