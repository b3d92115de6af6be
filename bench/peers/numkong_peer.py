"""NumKong: products with weights packed once. It has no threads of its own; several share rows of a, as its users do.

Its products are a @ b.T, b (n, k): weights in another order are turned when they are packed.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numkong
import numpy as np
from row import Way, packed

# dtype: its name for the elements of a and b, its name for the result, ours
DTYPES = {
    "f32": ("float32", "float64", "f64"),
    "f64": ("float64", "float64", "f64"),
    "bf16": ("bf16", "float32", "f32"),
    "s8s8": ("int8", "int32", "s32"),
}
state = {"threads": 1, "pool": None}


def load(threads):
    """Version and file."""
    state["threads"] = threads
    state["pool"] = ThreadPoolExecutor(threads - 1) if threads > 1 else None
    return numkong.__version__, numkong.__file__


def tensor(array, dtype):
    """A view of an array under NumKong's name of its type."""
    return numkong.from_pointer(array.ctypes.data, array.shape, dtype, owner=array)


def pack(trans_b, dtype, b):
    """Weights (k, n), or (n, k) where trans_b, in NumKong's form."""
    rows = np.ascontiguousarray(b if trans_b else b.T)
    return numkong.dots_pack(tensor(rows, dtype))


def shared(a, weights, out, rows):
    """One product, by several threads: each has a part of the rows."""
    pool, parts = state["pool"], min(state["threads"], rows)
    edges = [rows * i // parts for i in range(parts + 1)]
    others = [
        pool.submit(numkong.dots_packed, a, weights, out=out, start_row=low, end_row=high)
        for low, high in zip(edges[1:-1], edges[2:])
    ]
    numkong.dots_packed(a, weights, out=out, start_row=0, end_row=edges[1])
    for other in others:
        other.result()


def prepare(case):
    """One way, of packed weights."""
    if case.op != "gemm":
        return [], "no convolution"
    if case.dtype not in DTYPES:
        return [], "no product of %s" % case.dtype
    if not case.packed_b or case.batch != 1:
        return [], "its products take packed weights, without a batch"
    dtype, result, d_dtype = DTYPES[case.dtype]
    weights, took = packed(partial(pack, case.trans_b, dtype), case.b)
    a = tensor(case.a, dtype)
    # f32 sums come in f64, more than d has room for: they land beside it and are rounded when they are checked.
    wide = case.dtype == "f32"
    array = np.empty(case.d_shape, np.float64) if wide else case.d.view()
    out = tensor(array, result)
    if state["threads"] > 1 and case.m > 1:
        calls = [partial(shared, a, one, out, case.m) for one in weights]
    else:
        calls = [partial(numkong.dots_packed, a, one, out=out) for one in weights]

    def narrow(_):
        case.d[...] = array

    name = "packed, sums in f64" if wide else "packed"
    return [Way(name, calls, narrow if wide else None, d_dtype="f32" if wide else d_dtype, prepack_seconds=took)], ""


def overhead(a, b, d):
    """(4, 4) f32 with packed weights; the result is f64."""
    out = tensor(np.empty(d.shape), "float64")
    return [("packed", partial(numkong.dots_packed, tensor(a, "float32"), pack(False, "float32", b), out=out))]
