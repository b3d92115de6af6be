"""Memory for intermediate results, used again as soon as nothing reads them any more."""

from __future__ import annotations

import math

import numpy as np

ALIGNMENT = 64


class Arena:
    """Buffers of one run at a time.  A view keeps the buffer that it looks into: NumPy's `base` is always the buffer
    itself."""

    def __init__(self):
        self.free: list[np.ndarray] = []  # aligned views of whole buffers
        self.users: dict[int, int] = {}  # id(buffer) -> values that look into it
        self.live: dict[int, np.ndarray] = {}
        self.bytes = 0  # allocated so far

    def empty(self, shape, dtype, order=None):
        """A new array; `order` gives its axes from the slowest in memory to the fastest."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        flat = self.take(size)[:size].view(dtype)
        if order is None:
            return flat.reshape(shape)
        inverse = [0] * len(order)
        for position, axis in enumerate(order):
            inverse[axis] = position
        return flat.reshape([shape[axis] for axis in order]).transpose(inverse)

    def take(self, size):
        """The smallest free buffer that is large enough and not wastefully so, or a new one."""
        best = None
        for index, view in enumerate(self.free):
            if size <= view.nbytes <= 4 * size + 4096 and (best is None or view.nbytes < self.free[best].nbytes):
                best = index
        if best is not None:
            view = self.free.pop(best)
        else:
            room = size + size // 4  # so that a run with slightly larger inputs needs no new memory
            buffer = np.empty(room + ALIGNMENT, np.uint8)
            start = -buffer.ctypes.data % ALIGNMENT
            view = buffer[start : start + room]
            self.bytes += room
        self.live[id(view.base)] = view
        self.users[id(view.base)] = 0
        return view

    def key(self, value):
        value = getattr(value, "codes", value)  # of a QArray
        key = id(getattr(value, "base", None))
        return key if key in self.users else None

    def hold(self, value):
        key = self.key(value)
        if key is not None:
            self.users[key] += 1
        return value

    def drop(self, value):
        key = self.key(value)
        if key is not None:
            self.users[key] -= 1
            if self.users[key] == 0:
                self.free.append(self.live.pop(key))
                del self.users[key]

    def alone(self, value):
        """True if no other value looks into the memory of this one."""
        return self.users.get(self.key(value)) == 1

    def let_go(self, value):
        """The caller keeps this value: its buffer is used no more."""
        key = self.key(value)
        if key is not None:
            del self.users[key], self.live[key]

    def reset(self):
        """After a run, all that it did not hand out is free."""
        self.free.extend(self.live.values())
        self.live.clear()
        self.users.clear()
