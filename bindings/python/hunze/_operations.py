"""Convolution, quantisation and packing: keywords and documentation around the module's functions."""

import numpy as np

from . import _hunze
from ._weights import PackedWeights, QArray

_convolve = _hunze._conv


def conv1d(
    x,
    w,
    /,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    padding_mode="zeros",
    layout="channels_first",
    residual=None,
    activation=None,
    out=None,
    dtype=None,
    threads=None,
    reproducible=None,
    out_scale=None,
    out_zero_point=None,
    out_dtype=None,
    kernel=None,
    device=None,
    stream=None,
):
    """activation(conv(x, w) + bias + residual) along one axis: conv2d without the height.

    >>> import numpy as np, hunze as hz
    >>> x = np.arange(5, dtype="float32").reshape(1, 1, 5)
    >>> hz.conv1d(x, np.ones((1, 1, 3), "float32"), padding="same")
    array([[[1., 3., 6., 9., 7.]]], dtype=float32)

    x   (n, c, l), or (n, l, c) with layout="channels_last"
    w   (out, c/groups, kernel)

    Everything else is as in conv2d, with one number or pair instead of two.
    """
    return _convolve(
        "conv1d", False, 1, x, w, bias, stride, padding, dilation, groups, padding_mode, layout, 0, residual,
        activation, out, dtype, threads, reproducible, out_scale, out_zero_point, out_dtype, kernel,
        device, stream,
    )  # fmt: skip


def conv2d(
    x,
    w,
    /,
    bias=None,
    *,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    padding_mode="zeros",
    layout="channels_first",
    residual=None,
    activation=None,
    out=None,
    dtype=None,
    threads=None,
    reproducible=None,
    out_scale=None,
    out_zero_point=None,
    out_dtype=None,
    kernel=None,
    device=None,
    stream=None,
):
    """activation(conv(x, w) + bias + residual): cross-correlation, as in PyTorch and ONNX.

    >>> import numpy as np, hunze as hz
    >>> x = np.arange(9, dtype="float32").reshape(1, 1, 3, 3)
    >>> hz.conv2d(x, np.ones((1, 1, 2, 2), "float32"), [0.5])
    array([[[[ 8.5, 12.5],
             [20.5, 24.5]]]], dtype=float32)

    x          (n, c, h, w), or (n, h, w, c) with layout="channels_last" (also called NCHW and NHWC); the memory may
               lie in any order, as the strides say
    w          (out, c/groups, kernel_h, kernel_w), a QArray, or hz.pack(hz.conv2d, w)
    bias       (out,)
    stride, dilation  an int, or one per spatial axis
    padding    an int; one per spatial axis; one (before, after) pair per spatial axis, as in np.pad; "valid"; "same"
               (the odd one after); "same_lower" (the odd one before)
    residual   an array of the result's shape, added before the activation
    activation, out, dtype, threads, reproducible, out_scale, out_zero_point, out_dtype, kernel, device, stream
               as in hz.matmul; what goes over to a device in slices are images

    dtypes are those of hz.matmul, bfloat16 and float16 on devices only.  The result has shape (n, out, ...) or
    (n, ..., out) with floor((in + before + after - dilation * (kernel - 1) - 1) / stride) + 1 along each spatial axis.
    """
    return _convolve(
        "conv2d", False, 2, x, w, bias, stride, padding, dilation, groups, padding_mode, layout, 0, residual,
        activation, out, dtype, threads, reproducible, out_scale, out_zero_point, out_dtype, kernel,
        device, stream,
    )  # fmt: skip


def conv_transpose1d(
    x,
    w,
    /,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    layout="channels_first",
    residual=None,
    activation=None,
    out=None,
    dtype=None,
    threads=None,
    reproducible=None,
    kernel=None,
    device=None,
    stream=None,
):
    """The transposed convolution along one axis: conv_transpose2d without the height.

    >>> import numpy as np, hunze as hz
    >>> x = np.array([[[1, 2]]], "float32")
    >>> hz.conv_transpose1d(x, np.array([[[1, 10]]], "float32"), stride=2)
    array([[[ 1., 10.,  2., 20.]]], dtype=float32)

    x   (n, c, l), or (n, l, c) with layout="channels_last"
    w   (c, out/groups, kernel)
    """
    return _convolve(
        "conv_transpose1d", True, 1, x, w, bias, stride, padding, dilation, groups, "zeros", layout,
        output_padding, residual, activation, out, dtype, threads, reproducible, None, None, None, kernel,
        device, stream,
    )  # fmt: skip


def conv_transpose2d(
    x,
    w,
    /,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    layout="channels_first",
    residual=None,
    activation=None,
    out=None,
    dtype=None,
    threads=None,
    reproducible=None,
    kernel=None,
    device=None,
    stream=None,
):
    """activation(transposed conv(x, w) + bias + residual): the data gradient of conv2d, float32 and float64.

    >>> import numpy as np, hunze as hz
    >>> x = np.array([[[[1, 2]]]], "float32")
    >>> hz.conv_transpose2d(x, np.ones((1, 1, 2, 2), "float32"))
    array([[[[1., 3., 2.],
             [1., 3., 2.]]]], dtype=float32)

    x   (n, c, h, w), or (n, h, w, c) with layout="channels_last"
    w   (c, out/groups, kernel_h, kernel_w), or hz.pack(hz.conv_transpose2d, w)
    padding         takes away from the result; given as in conv2d
    output_padding  is added at the end of each spatial axis

    Everything else is as in conv2d.  The result has
    (in - 1) * stride - before - after + dilation * (kernel - 1) + 1 + output_padding along each spatial axis.
    """
    return _convolve(
        "conv_transpose2d", True, 2, x, w, bias, stride, padding, dilation, groups, "zeros", layout,
        output_padding, residual, activation, out, dtype, threads, reproducible, None, None, None, kernel,
        device, stream,
    )  # fmt: skip


def quantize(
    x, dtype="int8", /, *, scale=None, zero_point=None, axis=None, threads=None, kernel=None, device=None, stream=None
):
    """QArray of x: codes = saturate(round_half_even(x / scale) + zero_point).

    >>> import numpy as np, hunze as hz
    >>> q = hz.quantize(np.array([[-1.0, 0.5, 2.0]], "float32"))
    >>> q.codes
    array([[-64,  32, 127]], dtype=int8)
    >>> hz.quantize(np.array([-1.0, 0.0, 3.0], "float32"), "uint8").codes
    array([  0,  64, 255], dtype=uint8)

    x           float32, any shape
    dtype       "int8" or "uint8"
    scale       one number, or one per index of axis.  None finds it: int8 is symmetric (the largest magnitude / 127,
                codes -127 … 127), uint8 is ONNX's DynamicQuantizeLinear (the range always holds 0)
    zero_point  only with scale; has the codes' dtype
    axis        keeps one scale per index of this axis, as ONNX and PyTorch do (it is not an axis to reduce)
    device      as in hz.matmul
    stream      as in hz.matmul

    The QArray lives where x does.  Raises ValueError for NaN where scale is to be found; on a device, where nobody
    waits for x, that scale becomes NaN instead.
    """
    name = np.dtype(dtype).name
    if name not in ("int8", "uint8"):
        raise TypeError(f"dtype={dtype!r}; codes are 'int8' or 'uint8'")
    array = _float_array(x, "x", stream)
    shape = ()
    if axis is not None:
        if not -array.ndim <= axis < array.ndim:
            raise ValueError(f"axis={axis} is not an axis of x, which has shape {array.shape}")
        axis %= array.ndim
        shape = (array.shape[axis],)
    dynamic = scale is None
    if dynamic and zero_point is not None:
        raise ValueError("zero_point needs scale")
    if isinstance(array, np.ndarray):
        codes, empty = np.empty_like(array, name), np.empty  # codes in the memory order of x
    else:

        def empty(shape, dtype):
            return _hunze._device_empty(shape, dtype, array.device, stream)

        codes = empty(array.shape, name)
    if dynamic:
        scale = empty(shape, "float32")
        zero_point = empty(shape, name) if name == "uint8" else None
        result = QArray.__new__(QArray)
        result.codes, result.scale, result.zero_point, result.axis = codes, scale, zero_point, axis
    else:
        result = QArray(codes, scale, zero_point, axis)
    try:
        plan = _hunze._quantize(
            array, codes, result.scale, result.zero_point, axis, dynamic, threads, kernel, device, stream
        )
    except NotImplementedError as error:
        if "NaN" in str(error):
            raise ValueError(f"{error}: give scale=") from None
        raise
    return result if plan is None else plan


def dequantize(q, dtype="float32", /, *, out=None, threads=None, kernel=None, device=None, stream=None):
    """The real numbers of a QArray: (codes - zero_point) * scale.

    >>> import numpy as np, hunze as hz
    >>> hz.dequantize(hz.QArray(np.array([0, 128, 255], "uint8"), 0.5, 128))
    array([-64. ,   0. ,  63.5], dtype=float32)

    q      a QArray with a scale
    dtype  "float32" or, on the CPU, "float64"
    out    a float32 array of q's shape, which is returned
    device as in hz.matmul
    stream as in hz.matmul
    """
    if not isinstance(q, QArray):
        raise TypeError(f"q is a {type(q).__name__}; dequantize takes a QArray (codes, scale, zero_point)")
    if q.scale is None:
        raise ValueError("q has no scale: its codes are its numbers")
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise TypeError(f"dtype={dtype!r}; real numbers are 'float32' or 'float64'")
    if name == "float64" and out is not None:
        raise TypeError("out needs dtype='float32'")
    if name == "float64" and not isinstance(q.codes, np.ndarray):
        raise TypeError(f"dtype='float64', and q lives on {q.codes.device}, where it becomes float32")
    real = _hunze._dequantize(q.codes, q.scale, q.zero_point, q.axis, out, threads, kernel, device, stream)
    return real.astype("float64") if name == "float64" else real


def _lives_on_device(x):
    """Whether x is an array on a device, of any library."""
    if isinstance(x, np.ndarray):
        return False
    if hasattr(type(x), "__dlpack_device__"):
        return x.__dlpack_device__()[0] in (2, 13)  # DLPack's CUDA, managed memory
    return hasattr(type(x), "__cuda_array_interface__")


def _float_array(x, name, stream):
    """x as a float32 ndarray or DeviceArray over the same memory."""
    if isinstance(x, (QArray, PackedWeights)):
        raise TypeError(f"{name} is a {type(x).__name__} already")
    if _lives_on_device(x):
        array = _hunze._to_device(x, None, stream)
    else:
        array = np.from_dlpack(x) if hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray) else np.asarray(x)
    if array.dtype == np.float32:
        return array
    if isinstance(x, (list, tuple)) and array.dtype.kind in "fiu":
        return array.astype("float32")
    raise TypeError(f"{name} is {array.dtype}; it must be float32: use {name}.astype('float32')")


def pack(op, w, /, *, groups=1, input_dtype="int8"):
    """Weights in the order that the kernels of `op` read, to be used many times: PackedWeights.

    >>> import numpy as np, hunze as hz
    >>> w = hz.pack(hz.conv2d, np.ones((8, 4, 3, 3), "float32"))
    >>> hz.conv2d(np.ones((1, 4, 5, 5), "float32"), w).shape
    (1, 8, 3, 3)

    op           hz.matmul (w is (k, n)), hz.linear (n, k), hz.conv1d, hz.conv2d, hz.conv_transpose1d
                 or hz.conv_transpose2d
    w            float32, float64, int8 or uint8, of a product also bfloat16, float16 and integers of 16 to 64 bits,
                 or a QArray of int8 or uint8; it is kept for pickling
    groups       of a convolution
    input_dtype  for 8-bit weights: "int8" or "uint8", the dtype of the other operand
    """
    try:
        name, operation, transposed, axes = _PACKED_FOR[op]
    except (KeyError, TypeError):
        names = ", ".join(f"hz.{entry[0]}" for entry in _PACKED_FOR.values())
        raise ValueError(f"op={op!r}; weights are packed for {names}") from None
    if input_dtype not in ("int8", "uint8"):
        raise ValueError(f"input_dtype={input_dtype!r}; it is 'int8' or 'uint8'")
    if isinstance(w, PackedWeights):
        raise TypeError("w is packed already")
    if isinstance(w, QArray):
        w = QArray(w.codes.copy(), w.scale, w.zero_point, w.axis)
    elif isinstance(w, np.ndarray) or not hasattr(w, "__dlpack__"):
        w = np.array(w)
    else:
        w = _hunze._as_array(w)
    product, on_cpu = operation == _hunze.OP_GEMM, isinstance(w, (np.ndarray, QArray))
    known = ["float32", "float64", "int8", "uint8"]
    if product or not on_cpu:
        known += ["bfloat16", "float16"]
    if product and isinstance(w, np.ndarray):
        known += ["int16", "int32", "int64", "uint16", "uint32", "uint64"]
    if w.dtype.name not in known:
        names = ", ".join(known[:-1])
        raise TypeError(f"w is {w.dtype}; weights of hz.{name} are {names} or {known[-1]}: use w.astype('float32')")
    if w.ndim != axes:
        raise ValueError(f"w has shape {w.shape}; hz.{name} needs {axes} axes")
    return PackedWeights(name, (operation, transposed), w, groups, input_dtype)


_PACKED_FOR = {
    _hunze.matmul: ("matmul", _hunze.OP_GEMM, False, 2),
    _hunze.linear: ("linear", _hunze.OP_GEMM, True, 2),
    conv1d: ("conv1d", _hunze.OP_CONV, False, 3),
    conv2d: ("conv2d", _hunze.OP_CONV, False, 4),
    conv_transpose1d: ("conv_transpose1d", _hunze.OP_CONV_TRANSPOSE, False, 3),
    conv_transpose2d: ("conv_transpose2d", _hunze.OP_CONV_TRANSPOSE, False, 4),
}
