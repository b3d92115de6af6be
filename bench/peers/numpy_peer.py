"""NumPy, with the BLAS of its wheel: products of floating-point types. Threads: OPENBLAS_NUM_THREADS."""

from functools import partial

import numpy as np
from row import Way

FUNCTIONS = {"matmul": np.matmul, "dot": np.dot}
DTYPES = ("f32", "f64")


def load(threads):
    """Version and folder."""
    return np.__version__, np.__path__[0]


def prepare(case):
    """d = a @ b into preallocated d; a transposed b is a view. numpy.dot has no batches."""
    if case.op != "gemm":
        return [], "no convolution"
    if case.dtype not in DTYPES:
        return [], "no product of %s that a BLAS runs" % case.dtype
    weights = [np.swapaxes(b, -1, -2) if case.trans_b else b for b in case.b]
    names = ("matmul", "dot") if case.batch == 1 else ("matmul",)
    return [
        Way(name, [partial(FUNCTIONS[name], case.a, b, case.d) for b in weights], d_dtype=case.dtype) for name in names
    ], ""


def overhead(a, b, d):
    """d = a @ b, (4, 4) f32."""
    return [(name, partial(function, a, b, d)) for name, function in FUNCTIONS.items()]
