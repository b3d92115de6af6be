"""QArray and PackedWeights: what goes into a product besides arrays."""

import numpy as np

from . import _hunze
from ._settings import _current, current_isa

_CODES = ("int8", "uint8", "int32")


class _Operand:
    """What QArray and PackedWeights share: they are operands, no arrays."""

    __slots__ = ()
    __array_ufunc__ = None

    def __matmul__(self, other):
        return _hunze.matmul(self, other)

    def __rmatmul__(self, other):
        return _hunze.matmul(other, self)

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    def __len__(self):
        if not self.shape:
            raise TypeError(f"len() of a {type(self).__name__} without axes")
        return self.shape[0]

    def __bool__(self):
        raise TypeError(f"the truth of a {type(self).__name__} is not defined")

    def _repr_html_(self):
        from html import escape

        return f"<code>{escape(repr(self))}</code>"


class QArray(_Operand):
    """Quantised numbers: real = (codes - zero_point) * scale.

    >>> import numpy as np, hunze as hz
    >>> q = hz.QArray(np.array([[-127, 0, 127]], "int8"), 0.5)
    >>> q
    QArray(shape=(1, 3), dtype=int8, scale=0.5)
    >>> q.dequantize()
    array([[-63.5,   0. ,  63.5]], dtype=float32)

    codes       int8, uint8 or int32; on a device hz.to_device(q) has all its parts there
    scale       one float32, or one per index of axis; None: plain integers (a product with one is int32)
    zero_point  of the codes' dtype and scale's shape; None: 0
    axis        the axis that scale and zero_point run along; None: one for all
    """

    __slots__ = ("axis", "codes", "scale", "zero_point")

    def __init__(self, codes, scale=None, zero_point=None, axis=None):
        if not isinstance(codes, _hunze._DeviceArray):
            codes = np.asarray(codes)
        if codes.dtype.name not in _CODES:
            raise TypeError(f"codes are {codes.dtype}; a QArray holds int8, uint8 or int32")
        expected = ()
        if axis is not None:
            axis = int(axis)
            if not -codes.ndim <= axis < codes.ndim:
                raise ValueError(f"axis={axis} is not an axis of codes, which have shape {codes.shape}")
            axis %= codes.ndim
            expected = (codes.shape[axis],)
        place = codes.device if isinstance(codes, _hunze._DeviceArray) else None
        if scale is not None:
            scale = _parameter(scale, "float32", "scale", expected, place)
        if zero_point is not None:
            arrays = np.ndarray | np.generic | _hunze._DeviceArray
            if isinstance(zero_point, arrays) and zero_point.dtype != codes.dtype:
                raise TypeError(
                    f"zero_point is {zero_point.dtype}; codes are {codes.dtype}: use zero_point.astype('{codes.dtype}')"
                )
            zero_point = _parameter(zero_point, codes.dtype, "zero_point", expected, place)
        self.codes, self.scale, self.zero_point, self.axis = codes, scale, zero_point, axis

    @property
    def shape(self):
        """Extents of the codes."""
        return self.codes.shape

    @property
    def dtype(self):
        """The codes' dtype."""
        return self.codes.dtype

    @property
    def nbytes(self):
        """Bytes of codes, scale and zero point."""
        return sum(part.nbytes for part in (self.codes, self.scale, self.zero_point) if part is not None)

    def dequantize(self, dtype="float32"):
        """The real numbers as an array: hz.dequantize(self, dtype)."""
        from ._operations import dequantize

        return dequantize(self, dtype)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a QArray is no array: use .dequantize() for its real numbers or .codes for its integers")

    def __repr__(self):
        parts = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if isinstance(self.codes, _hunze._DeviceArray):
            parts += [f"axis={self.axis}"] if self.axis is not None else []
            parts.append(f"device={self.codes.device!r}")
        elif self.axis is None:
            parts += [f"scale={float(self.scale):.6g}"] if self.scale is not None else []
            parts += [f"zero_point={int(self.zero_point)}"] if self.zero_point is not None else []
        else:
            parts.append(f"axis={self.axis}")
        return f"QArray({', '.join(parts)})"

    def __eq__(self, other):
        return NotImplemented if not isinstance(other, QArray) else self is other

    __hash__ = object.__hash__


def _parameter(value, dtype, name, shape, place):
    """value as an array of this dtype and shape, on the device `place` if not None; one number serves every index."""
    if isinstance(value, _hunze._DeviceArray):
        if place is None:
            raise ValueError(f"{name} lives on {value.device} and codes on the CPU: use {name}.numpy()")
        if value.dtype != dtype or value.shape != shape:
            raise ValueError(f"{name} is {value!r}; it needs {np.dtype(dtype)} and shape {shape}")
        return _hunze._to_device(value, place, None)
    if place is not None:
        return _hunze._to_device(_parameter(value, dtype, name, shape, None), place, None)
    array = np.asarray(value)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if array.dtype.kind not in "iu" or np.any(array < limits.min) or np.any(array > limits.max):
            raise ValueError(f"{name}={value!r} is not in {limits.min} … {limits.max}")
    elif array.dtype.kind not in "fiu":
        raise TypeError(f"{name}={value!r} is not a number")
    array = array.astype(dtype)
    if array.size == 1 and not shape:
        return array.reshape(())
    if array.shape not in ((), shape):
        hint = f"shape {shape}, one per index of axis" if shape else "one number (or axis=)"
        raise ValueError(f"{name} has shape {array.shape}; it needs {hint}")
    return np.ascontiguousarray(np.broadcast_to(array, shape))


class _Blob:
    """A packed weight as C takes it; of one on a device also the first 64 bytes."""

    __slots__ = ("axis", "codes", "header", "scale", "zero_point")


class PackedWeights(_Operand):
    """Weights in a kernel's own order, made by hz.pack for one function; used in place of that function's weights.

    >>> import numpy as np, hunze as hz
    >>> w = hz.pack(hz.linear, np.eye(4, dtype="float32"))
    >>> w
    PackedWeights(linear, shape=(4, 4), dtype=float32)
    >>> hz.linear(np.ones((1, 4), "float32"), w)
    array([[1., 1., 1., 1.]], dtype=float32)

    It keeps the weights it was made of: pickle and copy carry those and pack again where they are loaded, so
    a model that was packed with AVX2 loads with AVX-512.  shape and dtype are those of the weights.
    """

    __slots__ = ("_blobs", "_input_dtype", "_operation", "_source", "groups", "op")

    def __init__(self, op, operation, source, groups, input_dtype):
        self.op, self._operation, self.groups, self._input_dtype = op, operation, groups, input_dtype
        self._source, self._blobs = source, {}
        self._operand()

    @property
    def shape(self):
        """Extents of the weights before packing."""
        return self._source.shape

    @property
    def dtype(self):
        """The weights' dtype before packing."""
        return self._source.dtype

    @property
    def nbytes(self):
        """Bytes of the packed form."""
        return self._operand().codes.nbytes

    def _operand(self):
        """The blob for the active context, packed when it is first asked for."""
        isa = current_isa() if _current.get() is not None else None
        blob = self._blobs.get(isa)
        if blob is None:
            blob = self._blobs.setdefault(isa, self._pack())
        return blob

    def _pack(self):
        blob, source = _Blob(), self._source
        quantized = isinstance(source, QArray)
        codes = source.codes if quantized else source
        for name in ("scale", "zero_point", "axis"):
            setattr(blob, name, getattr(source, name) if quantized else None)
        if codes.dtype == np.uint8 and not isinstance(codes, np.ndarray):
            raise TypeError(f"w is uint8 on {codes.device}, where weights are packed as int8: pack it on the CPU")
        if codes.dtype == np.uint8 and self._operation[0] != _hunze.OP_GEMM:
            # Convolutions take signed weights: the value and its zero point both move down by 128.
            codes = (codes ^ 0x80).view(np.int8)
            zero_point = blob.zero_point
            if zero_point is None:
                shape = blob.scale.shape if blob.scale is not None else ()
                zero_point = np.zeros(shape, np.uint8)
            blob.zero_point = (zero_point ^ np.uint8(0x80)).view(np.int8)
        operation, transposed = self._operation
        blob.codes = _hunze._pack(
            self.op, operation, transposed, self.groups, self._input_dtype == "uint8", codes, None, None
        )
        if isinstance(blob.codes, _hunze._DeviceArray):
            blob.header = blob.codes[:64].numpy().tobytes()
        return blob

    def _moved(self, device, stream):
        """The same weights, packed for where they then live."""
        from ._devices import to_device

        source = to_device(self._source, device, stream=stream)
        return PackedWeights(self.op, self._operation, source, self.groups, self._input_dtype)

    def __reduce__(self):
        return PackedWeights, (self.op, self._operation, self._source, self.groups, self._input_dtype)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("PackedWeights are no array: they are an operand of the function that they were packed for")

    def __repr__(self):
        groups = f", groups={self.groups}" if self.groups != 1 else ""
        return f"PackedWeights({self.op}, shape={self.shape}, dtype={self.dtype}{groups})"
