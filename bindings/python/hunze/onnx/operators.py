"""The operators that are not products, in NumPy.

Each takes (run, node, *arrays) and returns one array or a tuple.  `run.result` gives the memory for the result: an
input that nothing reads again where it fits, else a reused buffer in the memory order of its model.  Arrays have NCHW
shapes; their memory is mostly channels-last, which is what the loops below are laid out for.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import onnx

OPERATORS: dict = {}  # ONNX name -> function
CHECKS: dict = {}  # ONNX name -> function(node), which raises for a form that is not there


def operator(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = function
        return function

    return register


def check(*names):
    def register(function):
        for name in names:
            CHECKS[name] = function
        return function

    return register


def channel_rows(x):
    """A channels-last (n, c, h, w) array as (n, h, w*c) without a copy, or None."""
    last = x.transpose(0, 2, 3, 1) if x.ndim == 4 else None
    return last.reshape(last.shape[0], last.shape[1], -1) if last is not None and last.flags.c_contiguous else None


def per_channel(x, factors):
    """Memory for (n, c, 1, 1) factors repeated along a row of x as channel_rows lays it out, and what fills it."""
    n, c, _, width = x.shape
    row = np.empty((n, 1, width * c), factors.dtype)
    return row, partial(np.copyto, row.reshape(n, width, c), factors[:, None, :, 0, 0])


def binary(ufunc):
    def call(run, node, a, b):
        shape = np.broadcast_shapes(a.shape, b.shape)
        dtype = np.result_type(a, b)
        if ufunc is np.divide and dtype.kind in "iu":
            return (np.trunc(a / b) if a.size else np.empty(shape)).astype(dtype)
        out = run.result(shape, dtype, a, b)
        for big, small in ((a, b), (b, a)):
            # NumPy's inner loop would be one pixel's channels: make it a row of pixels.
            if (
                ufunc in (np.add, np.multiply)
                and small.ndim == 4
                and small.shape[2:] == (1, 1)
                and big.shape == shape
                and small.shape[1] == shape[1]
                and shape[3] > 1
            ):
                rows, out_rows = channel_rows(big), channel_rows(out)
                if rows is not None and out_rows is not None:
                    factors, repeat = per_channel(big, small)
                    run.do(repeat, partial(ufunc, rows, factors, out_rows))
                    return out
        run.do(partial(ufunc, a, b, out))
        return out

    return call


for _name, _ufunc in {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}.items():
    OPERATORS[_name] = binary(_ufunc)


@operator("Pow")
def power(run, node, x, exponent):
    if exponent.size == 1 and exponent.reshape(-1)[0] == 2:
        return np.multiply(x, x, out=run.result(np.broadcast_shapes(x.shape, exponent.shape), x.dtype, x))
    return np.power(x, exponent).astype(x.dtype, copy=False)


def unary(ufunc):
    def call(run, node, x):
        out = run.result(x.shape, x.dtype, x)
        run.do(partial(ufunc, x, out))
        return out

    return call


for _name, _ufunc in {"Sqrt": np.sqrt, "Exp": np.exp, "Neg": np.negative, "Abs": np.abs}.items():
    OPERATORS[_name] = unary(_ufunc)


@operator("Erf")
def erf(run, node, x):
    """There is no erf in NumPy: the C library's, one element at a time.  The GELU form never comes here."""
    return np.frompyfunc(math.erf, 1, 1)(x.astype(np.float64)).astype(x.dtype)


@operator("Clip")
def clip(run, node, x, low=None, high=None):
    low = node.get("min") if low is None else low
    high = node.get("max") if high is None else high
    out = run.result(x.shape, x.dtype, x)
    if low is None and high is None:
        return x
    return np.clip(x, None if low is None else x.dtype.type(low), None if high is None else x.dtype.type(high), out=out)


@operator("Cast")
def cast(run, node, x):
    dtype = cast_dtype(node)
    if dtype.kind in "iu" and x.dtype.kind == "f":
        x = np.trunc(x)
    return x.astype(dtype, copy=False)


def cast_dtype(node):
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.get("to")))
    except KeyError:
        raise node.wrong(f"to={node.get('to')} is no element type") from None


@check("Cast")
def check_cast(node):
    if cast_dtype(node).kind not in "fiub" or cast_dtype(node).isbuiltin != 1:
        raise node.unsupported(f"no cast to {cast_dtype(node)}; NumPy's floats, integers and bool are there")


@operator("Softmax")
def softmax(run, node, x):
    shape = x.shape
    if node.opset >= 13:
        axis = node.get("axis", -1)
    else:  # all axes from `axis` on are one
        axis, first = -1, node.get("axis", 1) % x.ndim
        x = x.reshape(math.prod(shape[:first]), -1)
    out = run.result(x.shape, x.dtype, x)
    np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(axis=axis, keepdims=True), out=out)
    return out.reshape(shape)


@operator("BatchNormalization")
def batch_normalization(run, node, x, gamma, beta, mean, variance):
    factor = gamma / np.sqrt(variance + np.asarray(node.get("epsilon", 1e-5), variance.dtype))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    out = np.multiply(x, factor.reshape(shape), out=run.result(x.shape, x.dtype, x))
    out += (beta - mean * factor).reshape(shape)
    return out


@check("BatchNormalization")
def check_batch_normalization(node):
    if node.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise node.unsupported("the training form is not there")


def axes_of(node, given, ndim, default=None):
    axes = node.get("axes") if given is None else [int(axis) for axis in np.atleast_1d(given)]
    return default if axes is None else tuple(axis % ndim for axis in axes)


@operator("Squeeze")
def squeeze(run, node, x, axes=None):
    return np.squeeze(x, axes_of(node, axes, x.ndim))


@operator("Unsqueeze")
def unsqueeze(run, node, x, axes=None):
    count = len(node.get("axes", ())) if axes is None else np.size(axes)
    return np.expand_dims(x, axes_of(node, axes, x.ndim + count))


@operator("Transpose")
def transpose(run, node, x):
    return np.transpose(x, node.get("perm"))


@operator("Reshape")
def reshape(run, node, x, shape=None):
    target = [int(extent) for extent in (node.get("shape") if shape is None else shape)]
    if not node.get("allowzero", 0):
        target = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(target)]
    return x.reshape(target)


@operator("Flatten")
def flatten(run, node, x):
    axis = node.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return (
        x.reshape(math.prod(x.shape[:axis]), -1)
        if x.size
        else x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    )


@operator("Shape")
def shape_of(run, node, x):
    return np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64)


@operator("Slice")
def slice_(run, node, x, starts=None, ends=None, axes=None, steps=None):
    starts = node.get("starts") if starts is None else starts
    ends = node.get("ends") if ends is None else ends
    axes = node.get("axes", range(len(starts))) if axes is None else axes
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, [1] * len(starts) if steps is None else steps):
        start, end, step, extent = int(start), int(end), int(step), x.shape[int(axis)]
        # Past-the-end values count as the end; going down, the end below 0 means "through index 0".
        start, end = (value + extent if value < 0 else value for value in (start, end))
        if step > 0:
            index[int(axis)] = slice(min(max(start, 0), extent), min(max(end, 0), extent), step)
        else:
            end = min(max(end, -1), extent - 1)
            index[int(axis)] = slice(min(max(start, 0), extent - 1), None if end < 0 else end, step)
    return x[tuple(index)]


@operator("Concat")
def concat(run, node, *arrays):
    axis = node.get("axis", 1)
    if not -arrays[0].ndim <= axis < arrays[0].ndim or len({a.ndim for a in arrays}) > 1:
        raise node.wrong(f"no axis {axis} joins shapes {', '.join(str(array.shape) for array in arrays)}")
    axis %= arrays[0].ndim
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    out = run.empty(shape, np.result_type(*arrays), arrays[0])
    edges = np.cumsum([0, *(array.shape[axis] for array in arrays)])
    places = [out[(slice(None),) * axis + (slice(a, b),)] for a, b in zip(edges, edges[1:])]
    run.do(*map(pixel_copy, places, arrays))
    return out


def pixel_copy(target, source):
    """What copies one array into another.  A pixel's channels move as one element, in half the time, where they lie
    together."""
    if source.ndim == 4 and source.size and source.dtype == target.dtype and source.shape[1] > 1:
        pixel = np.dtype((np.void, source.shape[1] * source.itemsize))
        if source.strides[1] == target.strides[1] == source.itemsize:
            views = (a.transpose(0, 2, 3, 1).view(pixel) for a in (target, source))
            return partial(np.copyto, *views)
    return partial(np.copyto, target, source)


@operator("ReduceMean")
def reduce_mean(run, node, x, axes=None):
    default = None if node.get("noop_with_empty_axes", 0) == 0 else ()
    axes = axes_of(node, axes if axes is None or np.size(axes) else None, x.ndim, default)
    if axes == (2, 3) and x.ndim == 4 and node.get("keepdims", 1):
        return spatial_mean(run, x)
    return np.mean(x, axis=axes, keepdims=bool(node.get("keepdims", 1)), dtype=x.dtype)


@operator("GlobalAveragePool")
def global_average_pool(run, node, x):
    return spatial_mean(run, x) if x.ndim == 4 else x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=x.dtype)


def spatial_mean(run, x):
    """Mean over (2, 3).  Images one by one, so that the bits of one do not depend on the others."""
    n, c, height, width = x.shape
    out = run.empty((n, c, 1, 1), x.dtype)
    rows = channel_rows(x)
    for index in range(n):
        if rows is not None and x.size:  # first the rows, whose loop is long, then the pixels of their sum
            total, mean = np.empty(width * c, x.dtype), out[index, :, 0, 0]
            run.do(
                partial(np.add.reduce, rows[index], 0, None, total),
                partial(np.add.reduce, total.reshape(width, c), 0, None, mean),
                partial(np.divide, mean, x.dtype.type(height * width), mean),
            )
        else:
            run.do(partial(np.mean, x[index], axis=(1, 2), keepdims=True, dtype=x.dtype, out=out[index]))
    return out


@operator("Resize")
def resize(run, node, x, roi=None, scales=None, sizes=None):
    if sizes is not None and sizes.size:
        extents = [int(extent) for extent in sizes]
        factors = [extent / old for extent, old in zip(extents, x.shape)]
    else:
        factors = [float(factor) for factor in (roi if scales is None and node.opset < 11 else scales)]
        extents = [int(math.floor(old * factor)) for old, factor in zip(x.shape, factors)]
    if x.ndim == 4 and extents[:2] == list(x.shape[:2]) and mapping(node) == ("asymmetric", "floor"):
        up = [new // old if old and new % old == 0 else 0 for new, old in zip(extents[2:], x.shape[2:])]
        if all(up) and factors[2:] == up:
            return repeat_pixels(run, x, *up)
    for axis, (factor, extent) in enumerate(zip(factors, extents)):
        if extent != x.shape[axis]:
            x = np.take(x, nearest(node, extent, x.shape[axis], factor), axis=axis)
    return x


def repeat_pixels(run, x, up, across):
    """Where channels lie together: first the pixels of a row, then whole rows."""
    n, c, height, width = x.shape
    out = run.empty((n, c, height * up, width * across), x.dtype, x)
    if channel_rows(x) is None or channel_rows(out) is None:
        run.do(*(partial(np.copyto, out[:, :, i::up, j::across], x) for i in range(up) for j in range(across)))
        return out
    row = np.empty((n, height, width * across, c), x.dtype)
    rows, wide = out.transpose(0, 2, 3, 1).reshape(n, height, up, -1), row.transpose(0, 3, 1, 2)
    run.do(
        *(pixel_copy(wide[:, :, :, j::across], x) for j in range(across)),
        *(partial(np.copyto, rows[:, :, i], row.reshape(n, height, -1)) for i in range(up)),
    )
    return out


NEAREST = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda i: np.ceil(i - 0.5),
    "round_prefer_ceil": lambda i: np.floor(i + 0.5),
}


def mapping(node):
    coordinate = node.get("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric")
    return coordinate, node.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")


def nearest(node, extent, old, factor):
    """Which index of an axis of `old` elements each of `extent` results takes."""
    coordinate, rounding = mapping(node)
    index = np.arange(extent, dtype=np.float64)
    if coordinate == "asymmetric":
        index /= factor
    elif coordinate == "align_corners":
        index *= (old - 1) / max(extent - 1, 1)
    else:
        index = (index + 0.5) / factor - 0.5
        if coordinate == "pytorch_half_pixel" and extent == 1:
            index[:] = 0
    return np.clip(NEAREST[rounding](index), 0, old - 1).astype(np.intp)


@check("Resize", "Upsample")
def check_resize(node):
    if node.get("mode", "nearest") != "nearest":
        raise node.unsupported(f"mode {node.get('mode')!r} is not there; 'nearest' is")
    if mapping(node)[0] not in ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"):
        raise node.unsupported(f"coordinate_transformation_mode {mapping(node)[0]!r} is not there")
    if mapping(node)[1] not in NEAREST:
        raise node.unsupported(f"nearest_mode {mapping(node)[1]!r} is not there; {', '.join(NEAREST)} are")
    if len(node.inputs) < 2 or not any(node.inputs[1:]):
        raise node.wrong("it has neither scales nor sizes")
    if node.get("axes") is not None or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.unsupported("axes and keep_aspect_ratio_policy are not there")


@check("Conv", "ConvTranspose", "ConvInteger")
def check_window(node):
    """Attributes of windows: one number per spatial axis, pads two, all in their range."""
    lengths = {}
    for name, least, per_axis in (("kernel_shape", 1, 1), ("strides", 1, 1), ("dilations", 1, 1), ("pads", 0, 2)):
        values = node.get(name)
        if values is not None:
            if min(values, default=least) < least:
                raise node.wrong(f"{name}={list(values)}; numbers from {least} on are there")
            lengths[name] = len(values) / per_axis
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name}={list(node.get(name))}" for name in lengths)
        raise node.wrong(f"{given}: they are for different numbers of spatial axes")
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
        raise node.wrong(f"auto_pad={node.get('auto_pad')!r}; NOTSET, SAME_UPPER, SAME_LOWER and VALID are there")
    if node.get("group", 1) < 1:
        raise node.wrong(f"group={node.get('group')}; a positive number is needed")


def window(node, shape, kernel):
    """Of a convolution or pooling, per spatial axis: (kernel, stride, dilation, before, after, result extent)."""
    axes = []
    ones = [1] * len(kernel)
    pads = node.get("pads", [0] * (2 * len(kernel)))
    for axis, size in enumerate(kernel):
        stride, dilation = node.get("strides", ones)[axis], node.get("dilations", ones)[axis]
        extent, span = shape[2 + axis], dilation * (size - 1) + 1
        before, after = pads[axis], pads[axis + len(kernel)]
        if node.get("auto_pad", "NOTSET").startswith("SAME"):
            result = -(-extent // stride)
            missing = max((result - 1) * stride + span - extent, 0)
            before = missing // 2 if node.get("auto_pad") == "SAME_UPPER" else missing - missing // 2
            after = missing - before
        elif node.get("auto_pad") == "VALID":
            before = after = 0
        room = extent + before + after - span
        result = (-(-room // stride) if node.get("ceil_mode", 0) else room // stride) + 1
        if node.get("ceil_mode", 0) and (result - 1) * stride >= extent + before:
            result -= 1  # the last window would start in the padding
        axes.append((size, stride, dilation, before, after, result))
    return axes


def taps(axes, shape):
    """For each tap of the kernel: which results have it inside the input, and where it lies."""
    for tap in np.ndindex(*(size for size, *_ in axes)):
        result_index, input_index = [slice(None)] * 2, [slice(None)] * 2
        for position, (_, stride, dilation, before, _, result), extent in zip(tap, axes, shape[2:]):
            offset = position * dilation - before
            first = max(0, -(offset // stride))
            last = min(result, (extent - 1 - offset) // stride + 1)
            result_index.append(slice(first, max(last, first)))
            input_index.append(slice(first * stride + offset, max(last - 1, first - 1) * stride + offset + 1, stride))
            if last <= first:
                break
        else:
            yield tuple(result_index), tuple(input_index)


@operator("MaxPool")
def max_pool(run, node, x):
    axes = window(node, x.shape, node.get("kernel_shape"))
    out = run.empty(x.shape[:2] + tuple(a[-1] for a in axes), x.dtype, x)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    first = True
    for result, source in taps(axes, x.shape):
        if not first:
            run.do(partial(np.maximum, out[result], x[source], out=out[result]))
        elif out[result].shape == out.shape:
            run.do(partial(np.copyto, out, x[source]))
        else:
            run.do(partial(out.fill, lowest), partial(np.copyto, out[result], x[source]))
        first = False
    return out


@operator("AveragePool")
def average_pool(run, node, x):
    axes = window(node, x.shape, node.get("kernel_shape"))
    out = run.empty(x.shape[:2] + tuple(a[-1] for a in axes), x.dtype, x)
    counts = np.zeros(out.shape[2:], x.dtype)
    run.do(partial(out.fill, 0))
    for result, source in taps(axes, x.shape):
        run.do(partial(np.add, out[result], x[source], out[result]))
        counts[result[2:]] += 1
    if node.get("count_include_pad", 0):
        # Taps in the padding count; what ceil_mode adds beyond it does not.
        counts[:] = 1
        for axis, (size, stride, dilation, before, after, result) in enumerate(axes):
            first = np.arange(result) * stride
            inside = [(first + k * dilation < x.shape[2 + axis] + before + after).astype(x.dtype) for k in range(size)]
            counts *= sum(inside).reshape([-1 if a == axis else 1 for a in range(len(axes))])
    run.do(partial(np.divide, out, counts, out))
    return out


@check("MaxPool", "AveragePool")
def check_pool(node):
    check_window(node)
    if len([name for name in node.outputs if name]) > 1:
        raise node.unsupported("the second result (indices) is not there")
