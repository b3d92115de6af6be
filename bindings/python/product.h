/* SPDX-License-Identifier: Apache-2.0
 * One product: operands taken and checked, the result made.  For matmul and linear, and for each product of a list. */
#ifndef HUNZE_PRODUCT_H
#define HUNZE_PRODUCT_H

#include "packed.h"

/* Keywords in the order of product_keywords; those of grouped_matmul come first. */
enum {
    PRODUCT_BIAS,
    PRODUCT_RESIDUAL,
    PRODUCT_ACTIVATION,
    PRODUCT_OUT,
    PRODUCT_DTYPE,
    PRODUCT_THREADS,
    PRODUCT_REPRODUCIBLE,
    PRODUCT_KERNEL,
    GROUPED_VALUES,
    PRODUCT_OUT_SCALE = GROUPED_VALUES,
    PRODUCT_OUT_ZERO_POINT,
    PRODUCT_OUT_DTYPE,
    PRODUCT_DEVICE,
    PRODUCT_STREAM,
    PRODUCT_VALUES
};
extern const Keyword product_keywords[PRODUCT_VALUES];

/* What the library reads while the product runs. */
typedef struct Operands {
    Operand a, b, d, bias, residual;
} Operands;

/* How errors call them. */
typedef struct OperandNames {
    const char *a, *b, *out, *bias, *residual;
} OperandNames;

typedef struct Product {
    Call call;
    Operands *operands;
    OperandNames names;
    Quant a_quant, b_quant, d_quant;
    Packed packed;
    bool b_packed, transposed; /* transposed: b is (n, k) */
    bool a_vector, b_vector;   /* a one-dimensional operand gains an axis that the result loses */
    int axes;                  /* of the result with both axes */
    int64_t shape[MAX_AXES + 2];
    int result_axes; /* as the user sees it */
    int64_t result_shape[MAX_AXES + 2];
    int64_t m, n, k;
} Product;

/* Takes both operands; call_begin, `operands`, `names` and `transposed` come before. */
bool product_take(Product *product, PyObject *a, PyObject *b);
/* Checks shapes and dtypes, and takes or makes the rest: call.call, call.options and call.work are then this product's. */
bool product_prepare(Product *product, PyObject **values);

/* Both forms of grouped_matmul begin so. */
bool grouped_begin(State *state, Call *call, PyObject **values);
PyObject *grouped_list(State *state, PyObject *a, PyObject *b, PyObject **values);

#endif
