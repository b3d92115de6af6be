/* SPDX-License-Identifier: Apache-2.0
 * Signatures and docstrings of the functions that C defines; their examples run in the tests. */
#include "binding.h"

#define PRODUCT_KEYWORDS                                                                                               \
    "residual=None, activation=None, out=None, dtype=None, threads=None, reproducible=None, out_scale=None, "          \
    "out_zero_point=None, out_dtype=None, kernel=None, device=None, stream=None)\n--\n\n"

#define PRODUCT_REST                                                                                                   \
    "residual   an array that broadcasts to the result, added before the activation; beside 16-bit operands bias\n"    \
    "           and residual may be float32\n"                                                                         \
    "activation 'relu', 'relu6', 'gelu' (erf), 'gelu_tanh', 'silu', 'sigmoid', 'hardsigmoid', 'hardswish', 'tanh',\n"  \
    "           ('leaky_relu', 0.01) or ('clip', low, high)\n"                                                         \
    "out        an array of the result's shape and dtype, which is returned; it may not overlap an operand\n"          \
    "dtype      of the result: float operands are cast to it first, but 16-bit ones are multiplied as they are for\n"  \
    "           'float32'\n"                                                                                           \
    "threads    for this call; the result has the same bits for any number\n"                                          \
    "reproducible  True: the same bits on every instruction set too\n"                                                 \
    "out_scale, out_zero_point, out_dtype  of QArrays: requantise, and return a QArray\n"                              \
    "kernel     forces a row of the kernel table by its name\n"                                                        \
    "device     'cuda', 'cuda:1': operands in the CPU's memory are copied over, large ones in slices of rows while\n"  \
    "           others are computed, and the result back; 'auto' does so where the ceilings of `python -m hunze\n"     \
    "           tune` say that it is sooner; 'cpu' never; None computes where the operands live.  After Ctrl-C or a\n" \
    "           fault of the device, out may hold a part of the result if that came in slices\n"                       \
    "stream     of operands on a device: a number as in DLPack, or an object with __cuda_stream__, cuda_stream or\n"   \
    "           ptr; by default that of the hz.stream block, else where the first operand's library works now\n"       \
    "\n"                                                                                                               \
    "float32, float64, float16 and (ml_dtypes') bfloat16 keep theirs, together they give what NumPy gives; the sums\n" \
    "of 16-bit ones are float32, rounded once; 8-bit integers give exact int32; wider integers keep theirs and wrap\n" \
    "around, together they give what NumPy gives, on the CPU; QArrays give float32.  Raises\n"                         \
    "ValueError for shapes, TypeError for dtypes, naming the operand and what would fit; out is then untouched.  "     \
    "The\n"                                                                                                            \
    "result is made by the first operand's library (NumPy for lists and buffers).  Operands that live on a device\n"   \
    "(hz.to_device, CUDA tensors of PyTorch, CuPy, JAX) are computed there: the work is given to a stream, and the\n"  \
    "function returns at once; faults of the device are RuntimeErrors of later calls.  Thread-safe.\n"

const char matmul_doc[] =
    "matmul(a, b, /, *, bias=None, " PRODUCT_KEYWORDS
    "activation(a @ b + bias + residual), with NumPy's broadcasting of leading axes.\n"
    "\n"
    "8-bit products are exact in int32, where NumPy wraps around in int8:\n"
    "\n"
    ">>> import numpy as np, hunze as hz\n"
    ">>> a = np.array([[100, 100]], 'int8')\n"
    ">>> hz.matmul(a, a.T)\n"
    "array([[20000]], dtype=int32)\n"
    ">>> a @ a.T\n"
    "array([[32]], dtype=int8)\n"
    "\n"
    "Wider integers wrap around as NumPy's do, some hundred times faster when matrices are large:\n"
    "\n"
    ">>> hz.matmul(np.array([[2**31 - 1, 1]], 'int32'), np.array([[1], [1]], 'int32'))\n"
    "array([[-2147483648]], dtype=int32)\n"
    "\n"
    "a          (…, m, k) or (k,)\n"
    "b          (…, k, n) or (k,), a QArray, or hz.pack(hz.matmul, b)\n"
    "bias       (n,), or what broadcasts to the result\n" PRODUCT_REST;

const char linear_doc[] = "linear(x, w, /, bias=None, *, " PRODUCT_KEYWORDS
                          "activation(x @ w.T + bias + residual): a layer whose weights have one row per output.\n"
                          "\n"
                          ">>> import numpy as np, hunze as hz\n"
                          ">>> x = np.array([[1, 2, 3]], 'float32')\n"
                          ">>> w = np.array([[1, 0, 0], [0, 1, -1]], 'float32')\n"
                          ">>> hz.linear(x, w, [0.5, 0.5], activation='relu')\n"
                          "array([[1.5, 0. ]], dtype=float32)\n"
                          "\n"
                          "x          (…, k)\n"
                          "w          (n, k), a QArray, or hz.pack(hz.linear, w)\n"
                          "bias       (n,)\n" PRODUCT_REST;

const char grouped_doc[] =
    "grouped_matmul(a, b, offsets=None, /, *, bias=None, residual=None, activation=None, out=None, dtype=None, "
    "threads=None, reproducible=None, kernel=None)\n--\n\n"
    "Many products in one call, which threads share.  With offsets: groups of rows, each times a matrix of its own,\n"
    "as for the layers of a mixture of experts: rows offsets[i] up to offsets[i + 1] of the result are hz.matmul of\n"
    "these rows of a and b[i], with the same bits.\n"
    "\n"
    ">>> import numpy as np, hunze as hz\n"
    ">>> a = np.ones((3, 2), 'float32')\n"
    ">>> b = np.array([[[1], [1]], [[5], [5]], [[10], [10]]], 'float32')\n"
    ">>> hz.grouped_matmul(a, b, [0, 2, 2, 3]).T\n"
    "array([[ 2.,  2., 20.]], dtype=float32)\n"
    "\n"
    "a          (m, k): the rows of a group stand together\n"
    "b          (groups, k, n), any strides; matrices of groups without rows are not read\n"
    "offsets    groups + 1 integers, ascending from 0 to m; of sizes: np.cumsum([0, *sizes])\n"
    "bias       (n,), or (groups, n): one per group\n"
    "residual   an array that broadcasts to the result (m, n), added before the activation\n"
    "out        as in hz.matmul\n"
    "\n"
    "Without offsets a and b are lists: item i of the list that is returned is hz.matmul(a[i], b[i]), with the same\n"
    "bits.  Shapes and dtypes may be others in each product.  Threads are what is won: on one, a loop of hz.matmul\n"
    "takes as long, and less where the matrices are tiny.\n"
    "\n"
    ">>> hz.grouped_matmul([a, a[0]], [b[0], b[2]], bias=[[0.5], None])\n"
    "[array([[2.5],\n"
    "       [2.5],\n"
    "       [2.5]], dtype=float32), array([20.], dtype=float32)]\n"
    "\n"
    "a          a list or tuple of arrays (…, m, k) or (k,)\n"
    "b          as many arrays (…, k, n) or (k,), or hz.pack(hz.matmul, b[i])\n"
    "bias, residual, out  as many arrays as hz.matmul takes, or None in the place of one; no array of out may overlap\n"
    "           what another product reads or writes, which is not checked\n"
    "\n"
    "activation, dtype, threads, reproducible, kernel   as in hz.matmul, for all groups or products\n"
    "\n"
    "dtypes are those of hz.matmul, but no QArrays, and packed weights in lists only.  Raises ValueError for shapes\n"
    "and for offsets that do not ascend from 0 to m, TypeError for dtypes, NotImplementedError for operands on a\n"
    "device and for plans of lists; errors of a list name the item (b[3]); out is then untouched.  Thread-safe.\n";

const char activate_doc[] =
    "activate(x, /, activation, *, out=None, threads=None, kernel=None, device=None, stream=None)\n--\n\n"
    "activation(x), element by element, with the same bits as where a product ends with it.\n"
    "\n"
    ">>> import numpy as np, hunze as hz\n"
    ">>> hz.activate(np.array([-1, 0.5, 7], 'float32'), ('clip', 0, 6))\n"
    "array([0. , 0.5, 6. ], dtype=float32)\n"
    "\n"
    "x          float32 or float64, any shape and strides\n"
    "activation 'relu', 'relu6', 'gelu' (erf), 'gelu_tanh', 'silu', 'sigmoid', 'hardsigmoid', 'hardswish', 'tanh',\n"
    "           ('leaky_relu', 0.01) or ('clip', low, high), where None leaves a side open\n"
    "out        an array of x's shape and dtype, which is returned; it may be x\n"
    "threads    for this call\n"
    "kernel     forces a row of the kernel table by its name\n"
    "device     as in hz.matmul\n"
    "stream     as in hz.matmul\n"
    "\n"
    "Raises ValueError for an activation that is not known, and TypeError for other dtypes.\n";
