"""Arrays on devices, streams, and what the process has of devices."""

import json
import math
import operator

from . import _hunze, _settings
from ._table import Table
from ._weights import QArray, _Operand


class DeviceArray(_Operand, _hunze._DeviceArray):
    """An array on a device, made by hz.to_device or as the result of a function whose operands live there.

    >>> import numpy as np, hunze as hz
    >>> if hz.devices()["devices"]:
    ...     x = hz.to_device(np.ones((2, 3), "float32"))
    ...     assert (x @ x.T).numpy().tolist() == [[3, 3], [3, 3]]

    Functions give work to a stream and return at once; .numpy() waits.  The memory is ordered: a stream that uses an
    array waits for the one that wrote it, and the memory goes back behind its last use.  Slices with ints, slices,
    Ellipsis and None, .T, transpose and reshape are views.  Other libraries take it by from_dlpack (PyTorch, CuPy, JAX)
    or __cuda_array_interface__ (Numba).  It is not pickled: pickle x.numpy().
    """

    __slots__ = ()

    def __new__(cls, /):
        raise TypeError("a DeviceArray is made by hz.to_device(x, 'cuda:0')")

    def __array__(self, dtype=None, copy=None):
        raise TypeError(f"a DeviceArray lives on {self.device}: use .numpy() for a copy on the CPU")

    def __reduce__(self):
        raise TypeError(f"a DeviceArray lives on {self.device} and is not pickled: use .numpy()")

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __eq__(self, other):
        raise TypeError("a DeviceArray is not compared by ==: use .numpy() for the elements, `is` for the object")

    __hash__ = object.__hash__

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self):
        """Bytes of the elements."""
        return self.size * self.itemsize

    @property
    def T(self):
        """The axes in reverse order: a view."""
        return self.transpose()

    def to_device(self, device, /, *, stream=None):
        """hz.to_device(self, device): itself where it lives there."""
        return to_device(self, device, stream=stream)

    def astype(self, dtype, /, *, stream=None):
        """A copy of another dtype; goes over the CPU and waits, as devices change no dtypes."""
        return to_device(self.numpy(stream).astype(dtype), self.device, stream=stream)

    def transpose(self, *axes):
        """The axes in another order, by default in reverse: a view."""
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = tuple(axes[0])
        order = [operator.index(axis) for axis in axes] or list(range(self.ndim))[::-1]
        if sorted(axis + self.ndim if axis < 0 else axis for axis in order) != list(range(self.ndim)):
            raise ValueError(f"axes {tuple(order)} are no order of the {self.ndim} axes of shape {self.shape}")
        shape, strides = self.shape, self.strides
        return self._view(tuple(shape[a] for a in order), tuple(strides[a] for a in order), 0)

    def reshape(self, *shape):
        """The same elements in another shape: a view; ValueError where there is none (then copy() first)."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        wanted = [operator.index(extent) for extent in shape]
        if wanted.count(-1) == 1:
            known = math.prod(extent for extent in wanted if extent != -1)
            wanted[wanted.index(-1)] = self.size // known if known else 0
        if math.prod(wanted) != self.size or min(wanted, default=0) < 0:
            raise ValueError(f"an array of shape {self.shape} has no shape {tuple(shape)}")
        return self._view(tuple(wanted), _reshaped(self, wanted), 0)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return self._view(*_indexed(self, index if isinstance(index, tuple) else (index,)))

    def __repr__(self):
        return f"DeviceArray(shape={self.shape}, dtype={self._dtype_name}, device={self.device!r})"


def _reshaped(array, wanted):
    """Byte strides of a view of another shape; ValueError if there is none."""
    extents = [(n, stride) for n, stride in zip(array.shape, array.strides, strict=True) if n != 1]
    strides, used, have = [], 0, 1
    step = array.itemsize
    if not array.size:
        extents, wanted_left = [], list(wanted)
        return tuple(step * math.prod(max(n, 1) for n in wanted_left[i + 1 :]) for i in range(len(wanted_left)))
    # From the last axis: an old run of axes that are contiguous among themselves is cut into new ones.
    left = list(reversed(extents))
    for n in reversed(wanted):
        if n == 1:
            strides.append(step)
            continue
        if have == 1:
            have, step = left[used]
            used += 1
        while have % n or have < n:
            if used == len(left) or left[used][1] != step * have:
                raise ValueError(f"no view of strides {array.strides} has the shape {tuple(wanted)}: use .copy()")
            have *= left[used][0]
            used += 1
        strides.append(step)
        have //= n
        step *= n
    return tuple(reversed(strides))


def _indexed(array, index):
    """(shape, byte strides, offset in bytes) of array[index]."""
    known = sum(item is not None and item is not Ellipsis for item in index)
    if known > array.ndim or sum(item is Ellipsis for item in index) > 1:
        raise IndexError(f"too many indices for an array of shape {array.shape}")
    if not any(item is Ellipsis for item in index):
        index = (*index, Ellipsis)
    shape, strides, offset, axis = [], [], 0, 0
    for item in index:
        if item is None:
            shape.append(1)
            strides.append(0)
            continue
        if item is Ellipsis:
            rest = array.ndim - known
            shape += array.shape[axis : axis + rest]
            strides += array.strides[axis : axis + rest]
            axis += rest
            continue
        extent, stride = array.shape[axis], array.strides[axis]
        axis += 1
        if isinstance(item, slice):
            start, stop, step = item.indices(extent)
            count = len(range(start, stop, step))
            shape.append(count)
            strides.append(stride * step)
            offset += stride * start if count else 0
            continue
        if isinstance(item, bool) or getattr(item, "ndim", 0) or not hasattr(item, "__index__"):
            raise IndexError(
                f"a DeviceArray is indexed by ints, slices, ... and None, and not by a {type(item).__name__}"
            )
        at = operator.index(item)
        if not -extent <= at < extent:
            raise IndexError(f"index {at} is not in an axis of {extent}")
        offset += stride * (at % extent)
    return tuple(shape), tuple(strides), offset


def to_device(x, /, device="cuda:0", *, stream=None):
    """x on a device: a DeviceArray, or a NumPy array for "cpu".

        d = hz.to_device(np.ones(3, "float32"))             # on cuda:0
        hz.to_device(d, "cpu")                              # a NumPy array again

    >>> import numpy as np, hunze as hz
    >>> hz.to_device([1.0, 2.0], "cpu")
    array([1., 2.])

    x       an array of any library, a buffer, a list, a QArray (its codes, scale and zero point), or PackedWeights
            (packed anew for the device)
    device  "cuda:0", "cuda" (the first) or "cpu"
    stream  for the copy; by default that of the hz.stream block, else the legacy default stream

    What lives there already is not copied: the result shares its memory.  The axes keep their order in memory.  A copy
    to the device may be under way when the function returns, and x may be changed; one to the CPU is complete.  Raises
    ValueError for a device that is not there, RuntimeError without a CUDA driver, MemoryError.  Thread-safe.
    """
    from ._weights import PackedWeights

    if isinstance(x, QArray):
        parts = (
            None if part is None else _hunze._to_device(part, device, stream)
            for part in (x.codes, x.scale, x.zero_point)
        )
        return QArray(*parts, x.axis)
    if isinstance(x, PackedWeights):
        return x._moved(device, stream)
    return _hunze._to_device(x, device, stream)


class stream(_hunze._Stream):
    """A stream of a device: calls of a block give their work to it, in this thread or task; blocks nest.

        with hz.stream():                                   # one of our own
            y = hz.matmul(a, b)
        with hz.stream(torch.cuda.current_stream()) as s:
            y = hz.matmul(a, b)
            s.synchronize()

    >>> import hunze as hz
    >>> hz.stream(2).handle
    2

    s       a number as in DLPack (1: the legacy default stream, 2: the thread's default stream, else a CUstream), or an
            object with __cuda_stream__, .cuda_stream (PyTorch) or .ptr (CuPy), which is kept.  None makes a stream,
            which the legacy default stream waits for; it ends with this object
    device  whose stream it is

    Without a block and without stream= calls go where the first operand's library works now (PyTorch, CuPy), else to
    the legacy default stream.  Arrays may be used on any stream, which then waits for the one that wrote them.  A
    stream that is given as a number must live as long as the arrays that were used on it.
    """

    __slots__ = ()

    def __new__(cls, s=None, /, *, device="cuda:0"):
        return super().__new__(cls, s, device)

    def __enter__(self):
        _settings.enter_stream(self)
        return self

    def __exit__(self, *exception):
        _settings.leave_stream()

    def __repr__(self):
        return f"hunze.stream({self.handle:#x}, device={self.device!r})"


def devices():
    """The CUDA driver and its devices: a dict that prints as a table.

    >>> import hunze as hz
    >>> sorted(hz.devices())
    ['devices', 'driver', 'note', 'reason']

    "driver" is its CUDA version, or None, and "reason" says why.  Makes no CUDA context, but opens the driver, which
    forked children then cannot use: "note" says so.
    """
    return Table(json.loads(_hunze._devices()))


def empty_cache():
    """Gives memory back to the driver that Hunze keeps for later calls: of devices, and pinned.

    >>> import hunze as hz
    >>> hz.empty_cache()
    """
    _hunze._empty_cache()
    for context in _settings.contexts():
        context.trim()


def set_device_allocator(alloc, free, /):
    """Memory of devices comes from these functions from now on, for results and for scratch; None, None: from our pool.

        hz.set_device_allocator(
            lambda device, nbytes, stream: torch.cuda.caching_allocator_alloc(nbytes, device, stream),
            lambda device, pointer, nbytes, stream: torch.cuda.caching_allocator_delete(pointer),
        )

    >>> import hunze as hz
    >>> hz.set_device_allocator(None, None)

    alloc   (device, nbytes, stream) -> the address, aligned to 256 bytes, for work given to the stream from then on;
            what it raises, the call raises that needed the memory
    free    (device, pointer, nbytes, stream): the last work that uses the memory was given to the stream

    device is a number, and stream one as in hz.stream.  Memory goes back to whom it came from.
    """
    if (alloc is None) != (free is None) or not all(f is None or callable(f) for f in (alloc, free)):
        raise TypeError("alloc and free are two functions, or None and None")
    _settings.renew_contexts(lambda: _hunze._set_device_allocator(alloc, free))
