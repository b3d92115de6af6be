"""What a step sees of the run that it is part of: memory for its result, and how to do its work."""

from __future__ import annotations

from functools import partial

import numpy as np

from .arena import Arena


class Run:
    def __init__(self, arena: Arena):
        self.arena = arena
        self.dying: list = []  # values that nothing reads after this step

    def begin(self, step) -> None:
        """Before a step."""

    def end(self, step, arrays, results) -> None:
        """Behind it."""

    def do(self, *fills) -> None:
        """Does a step's work, in this order.  Each fill is a function without arguments that writes into memory which
        the step was given; it may be called again when that of its operands has changed (program.py)."""
        for fill in fills:
            fill()

    def copy(self, target, source) -> None:
        """Copies an array into another, of which they may be views."""
        self.do(partial(np.copyto, target, source))

    def call(self, call, out) -> None:
        """Runs a kernels.Call into `out`."""
        call.function(*call.operands, out=out, **call.keywords)

    def empty(self, shape, dtype, like=None, channels_last=False):
        """Memory for a result, in the axis order of `like` where the ranks agree."""
        order = None
        if channels_last:
            order = (0, *range(2, len(shape)), 1)
        elif like is not None and like.ndim == len(shape) and not like.flags.c_contiguous:
            order = tuple(sorted(range(like.ndim), key=lambda axis: -abs(like.strides[axis])))
        return self.arena.empty(tuple(shape), dtype, order)

    def result(self, shape, dtype, *operands):
        """Memory for an elementwise result: an operand that nothing reads again, else a buffer laid out like the
        largest."""
        for operand in operands:
            if (
                operand.shape == tuple(shape)
                and operand.dtype == dtype
                and any(operand is d for d in self.dying)
                and self.arena.alone(operand)
            ):
                return operand
        return self.empty(shape, dtype, max(operands, key=lambda operand: operand.size))
