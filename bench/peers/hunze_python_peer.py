"""Hunze through its Python interface: what a notebook pays per call. Its kernels are measured through the C ABI."""

from functools import partial

import hunze


def load(threads):
    """Version and folder."""
    hunze.set_num_threads(threads)
    return hunze.__version__, hunze.__path__[0]


def prepare(case):
    """No ways: the rows are measured through the C ABI."""
    return [], "measured through its C ABI"


def overhead(a, b, d):
    """d = a @ b, (4, 4) f32, into an array that is there and into a new one."""
    return [("matmul(out=)", partial(hunze.matmul, a, b, out=d)), ("matmul", partial(hunze.matmul, a, b))]
