"""The operators that run on Hunze: products, dynamic quantisation and activations.

Each is a class of callables: made once per node when the model is loaded (constant weights are packed then), called
with (run, arrays) when it runs.  `plan(arrays)` is that call as data, for hz.explain.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

import hunze as hz

from .fold import ACTIVATIONS, activation_of
from .graph import Graph, ModelError, Node
from .operators import window

CONVOLUTIONS = {1: "conv1d", 2: "conv2d"}
TRANSPOSED = {1: "conv_transpose1d", 2: "conv_transpose2d"}


class Call(NamedTuple):
    """One call of an hz function, before it runs."""

    function: object
    operands: tuple
    keywords: dict
    shape: tuple
    dtype: np.dtype
    operations: int  # 2 per multiply-add
    fixed: bool = True  # the operands are the step's own and constants: nothing was computed to make them


class Kernel:
    """Runs `prepare`'s call with the node's epilogue."""

    spatial = False  # a result with channels: its memory is channels-last

    def __init__(self, node: Node, graph: Graph):
        self.node = node
        self.operations = 0  # of the last call

    def prepare(self, arrays) -> Call:
        raise NotImplementedError

    def epilogue(self, call: Call, arrays):
        """Adds bias, residual and activation; returns what cannot be fused: a residual of another shape."""
        node, late = self.node, None
        if node.bias is not None:
            call.keywords["bias"] = node.bias
        if node.residual:
            if arrays[-1].shape == call.shape and arrays[-1].dtype == call.dtype:
                call.keywords["residual"] = arrays[-1]
            else:
                late = arrays[-1]
        if node.activation is not None and late is None:
            call.keywords["activation"] = node.activation
        return late

    def plan(self, arrays) -> Call:
        call = self.prepare(arrays)
        self.epilogue(call, arrays)
        return call

    def __call__(self, run, arrays):
        call = self.prepare(arrays)
        late = self.epilogue(call, arrays)
        self.operations = call.operations
        out = run.empty(call.shape, call.dtype, channels_last=self.spatial)
        run.call(call, out)
        if late is None:
            return out
        # An Add that broadcasts: behind the product, as the model has it.
        total = run.empty(np.broadcast_shapes(out.shape, late.shape), np.result_type(out, late), out)
        run.do(partial(np.add, out, late, out=total))
        if self.node.activation is not None:
            operands = (total, self.node.activation)
            run.call(Call(hz.activate, operands, {}, total.shape, total.dtype, 0), total)
        return total


def float_operands(node, *arrays):
    for array in arrays:
        if array.dtype not in (np.float32, np.float64):
            raise ModelError(
                f"{node.op} (node {node.name!r}): no kernel for {array.dtype}; float32 and float64 are there"
            )
        if array.dtype != arrays[0].dtype:
            raise ModelError(f"{node.op} (node {node.name!r}): operands are {arrays[0].dtype} and {array.dtype}")


class Conv(Kernel):
    spatial = True
    functions = CONVOLUTIONS

    def __init__(self, node, graph):
        super().__init__(node, graph)
        self.shape = None
        self.packed = None
        w = graph.constants.get(node.inputs[1])
        if w is not None:
            self.check_rank(w)
            self.shape = w.shape
            float_operands(node, w)
            self.packed = self.pack(w)
        if node.bias is None and len(node.inputs) > 2 and node.inputs[2] in graph.constants:
            node.bias = graph.constants[node.inputs[2]]
        outputs = None if w is None else w.shape[0] if node.op == "Conv" else w.shape[1] * node.get("group", 1)
        if outputs is not None and node.bias is not None and node.bias.shape != (outputs,):
            raise node.wrong(f"the bias has shape {node.bias.shape}; weights of shape {w.shape} need ({outputs},)")

    def check_rank(self, w):
        node, groups = self.node, self.node.get("group", 1)
        if w.ndim - 2 not in self.functions:
            raise node.unsupported(f"{w.ndim - 2} spatial axes; 1 and 2 are there")
        if tuple(node.get("kernel_shape", w.shape[2:])) != w.shape[2:]:
            raise node.wrong(f"kernel_shape={list(node.get('kernel_shape'))}; the weights have shape {w.shape}")
        for name, count in (("strides", w.ndim - 2), ("dilations", w.ndim - 2), ("pads", 2 * (w.ndim - 2))):
            if len(node.get(name, [0] * count)) != count:
                raise node.wrong(f"{name}={list(node.get(name))}; weights of shape {w.shape} need {count} numbers")
        if w.shape[0] % groups:
            raise node.wrong(f"group={groups} does not divide the weights' shape {w.shape}")

    def pack(self, w):
        return hz.pack(getattr(hz, self.functions[w.ndim - 2]), w, groups=self.node.get("group", 1))

    def weights(self, arrays):
        if self.packed is None:
            self.check_rank(arrays[1])
            float_operands(self.node, arrays[0], arrays[1])
            return arrays[1], arrays[1].shape
        return self.packed, self.shape

    def prepare(self, arrays):
        node, x = self.node, arrays[0]
        w, w_shape = self.weights(arrays)
        function, keywords, shape, operations = convolution(node, x.shape, w_shape)
        if node.bias is None and len(node.inputs) > 2 and node.inputs[2]:
            keywords["bias"] = arrays[2]
        return Call(function, (x, w), keywords, shape, x.dtype, operations)


def convolution(node, x_shape, w_shape):
    """The hz function, its keywords, the shape of the result, and the operations of a convolution."""
    if len(x_shape) != len(w_shape) or len(w_shape) - 2 not in CONVOLUTIONS:
        raise ModelError(
            f"{node.op} (node {node.name!r}): x has shape {x_shape}, the weights {w_shape}; 1 and 2 spatial axes "
            "are there"
        )
    axes = window(node, x_shape, w_shape[2:])
    keywords = dict(
        stride=tuple(a[1] for a in axes),
        dilation=tuple(a[2] for a in axes),
        padding=tuple((a[3], a[4]) for a in axes),
        groups=node.get("group", 1),
    )
    shape = (x_shape[0], w_shape[0], *(a[5] for a in axes))
    return getattr(hz, CONVOLUTIONS[len(axes)]), keywords, shape, 2 * math.prod(shape) * math.prod(w_shape[1:])


class ConvTranspose(Conv):
    functions = TRANSPOSED

    def prepare(self, arrays):
        node, x = self.node, arrays[0]
        w, w_shape = self.weights(arrays)
        if x.ndim != len(w_shape):
            raise ModelError(f"ConvTranspose (node {node.name!r}): x has shape {x.shape}, the weights {w_shape}")
        count = x.ndim - 2
        ones = [1] * count
        stride, dilation = node.get("strides", ones), node.get("dilations", ones)
        extra = list(node.get("output_padding", [0] * count))
        pads = node.get("pads", [0] * (2 * count))
        pads = [[before, after] for before, after in zip(pads[:count], pads[count:])]
        auto, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
        shape = [x.shape[0], w_shape[1] * node.get("group", 1)]
        for axis in range(count):
            full = (x.shape[2 + axis] - 1) * stride[axis] + dilation[axis] * (w_shape[2 + axis] - 1) + 1
            if wanted is not None or auto.startswith("SAME"):
                extent = x.shape[2 + axis] * stride[axis] if wanted is None else wanted[axis - count]
                total = full + extra[axis] - extent
                half = total // 2 if auto == "SAME_UPPER" else total - total // 2
                pads[axis] = [half, total - half]
                if total < 0:
                    pads[axis], extra[axis] = [0, 0], extra[axis] - total
            elif auto == "VALID":
                pads[axis] = [0, 0]
            shape.append(full + extra[axis] - sum(pads[axis]))
        keywords = dict(
            stride=tuple(stride),
            dilation=tuple(dilation),
            padding=tuple(map(tuple, pads)),
            output_padding=tuple(extra),
            groups=node.get("group", 1),
        )
        if node.bias is None and len(node.inputs) > 2 and node.inputs[2]:
            keywords["bias"] = arrays[2]
        return Call(
            getattr(hz, self.functions[count]),
            (x, w),
            keywords,
            tuple(shape),
            x.dtype,
            2 * math.prod(x.shape) * math.prod(w_shape[1:]),
        )


class PixelShuffle(Kernel):
    """A ConvTranspose whose kernel is its stride: no two taps meet, so it is one 1x1 convolution to all taps'
    channels, whose results are then put in place.  The sums, and so the bits, are those of the transposed
    convolution."""

    spatial = True

    @staticmethod
    def fits(node, graph) -> bool:
        w = graph.constants.get(node.inputs[1])
        return (
            w is not None
            and w.ndim == 4
            and list(w.shape[2:]) == list(node.get("strides", [1, 1]))
            and w.shape[2:] != (1, 1)
            and w.dtype.kind == "f"
            and len(node.inputs) < 3
            and node.get("group", 1) == 1
            and not node.residual
            and node.get("auto_pad", "NOTSET") == "NOTSET"
            and node.get("output_shape") is None
            and not any(node.get("pads", ()))
            and not any(node.get("output_padding", ()))
            and all(d == 1 for d in node.get("dilations", ()))
        )

    def __init__(self, node, graph):
        super().__init__(node, graph)
        w = graph.constants[node.inputs[1]]
        float_operands(node, w)
        self.shape = w.shape
        taps = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, w.shape[0])
        # Few taps: as rows of a product they fill vectors with pixels, as columns they would leave them nearly empty.
        self.few = len(taps) <= 8
        self.weights = taps if self.few else hz.pack(hz.conv2d, taps[:, :, None, None])
        self.bias = None if node.bias is None else np.tile(node.bias, w.shape[2] * w.shape[3])
        if self.few and self.bias is not None:
            self.bias = self.bias[:, None]

    def prepare(self, arrays):
        x = arrays[0]
        if x.ndim != 4 or x.shape[1] != self.shape[0]:
            raise ModelError(
                f"ConvTranspose (node {self.node.name!r}): x has shape {x.shape}, the weights {self.shape}"
            )
        n, c, height, width = x.shape
        count = math.prod(self.shape[1:])
        operations = 2 * math.prod(x.shape) * count
        if self.few:
            pixels = x.transpose(0, 2, 3, 1).reshape(n, height * width, c)
            return Call(
                hz.matmul,
                (self.weights, pixels.transpose(0, 2, 1)),
                {},
                (n, count, height * width),
                x.dtype,
                operations,
                fixed=isinstance(x, np.ndarray) and np.shares_memory(x, pixels),
            )
        return Call(hz.conv2d, (x, self.weights), {}, (n, count, height, width), x.dtype, operations)

    def epilogue(self, call, arrays):
        call.keywords.update(bias=self.bias, activation=self.node.activation)

    def __call__(self, run, arrays):
        self.spatial = not self.few
        taps = run.arena.hold(super().__call__(run, arrays))
        n, _, height, width = arrays[0].shape
        out, rows, columns = self.shape[1:]
        y = run.empty((n, out, height * rows, width * columns), taps.dtype, channels_last=True)
        target = y.transpose(0, 2, 3, 1).reshape(n, height, rows, width, columns, out)
        if self.few:  # tap by tap: NumPy's loops then run along a row
            planes = taps.reshape(n, rows, columns, out, height, width)
            for row, column, channel in np.ndindex(rows, columns, out):
                run.copy(target[:, :, row, :, column, channel], planes[:, row, column, channel])
        else:
            source = taps.transpose(0, 2, 3, 1).reshape(n, height, width, rows, columns, out)
            run.copy(target, source.transpose(0, 1, 3, 2, 4, 5))
        run.arena.drop(taps)
        return y


def conv_transpose(node, graph):
    return (PixelShuffle if PixelShuffle.fits(node, graph) else ConvTranspose)(node, graph)


class MatMul(Kernel):
    def __init__(self, node, graph):
        super().__init__(node, graph)
        b = graph.constants.get(node.inputs[1])
        self.packed = None
        if b is not None and b.ndim == 2:
            float_operands(node, b)
            self.packed = hz.pack(hz.linear, b.T)
            self.columns = b.shape[1]

    def prepare(self, arrays):
        a, b = arrays[:2]
        if self.packed is not None and a.ndim > 1:
            return Call(
                hz.linear, (a, self.packed), {}, a.shape[:-1] + (self.columns,), a.dtype, 2 * a.size * self.columns
            )
        float_operands(self.node, a, b)
        shape = product_shape(self.node, a, b)
        return Call(hz.matmul, (a, b), {}, shape, a.dtype, 2 * math.prod(shape) * a.shape[-1])


def product_shape(node, a, b):
    """The shape of NumPy's a @ b."""
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ModelError(f"{node.op} (node {node.name!r}): a {a.shape} and b {b.shape} do not fit")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return lead + a.shape[-2:-1] + (b.shape[-1:] if b.ndim > 1 else ())


class Gemm(Kernel):
    def __init__(self, node, graph):
        super().__init__(node, graph)
        b = graph.constants.get(node.inputs[1])
        self.packed, self.alpha, self.beta = None, node.get("alpha", 1.0), node.get("beta", 1.0)
        if b is not None:
            float_operands(node, b)
            b = b if node.get("transB", 0) else b.T
            self.packed = hz.pack(hz.linear, b if self.alpha == 1 else b * b.dtype.type(self.alpha))
            self.columns = b.shape[0]
        c = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
        self.constant_c = c is not None and c.ndim and c.size == c.shape[-1] and b is not None and c.size == b.shape[0]
        if self.constant_c:
            node.bias = (c.reshape(-1) * c.dtype.type(self.beta)) + (0 if node.bias is None else node.bias)

    def prepare(self, arrays):
        node, a = self.node, arrays[0]
        a = a.T if node.get("transA", 0) else a
        if self.packed is not None:
            function, operands, columns = hz.linear, (a, self.packed), self.columns
        else:
            b = arrays[1].T if node.get("transB", 0) else arrays[1]
            float_operands(node, a, b)
            if self.alpha != 1:
                a = a * a.dtype.type(self.alpha)
            function, operands, columns = hz.matmul, (a, b), product_shape(node, a, b)[-1]
        shape, keywords = (a.shape[0], columns), {}
        fixed = self.packed is not None or self.alpha == 1
        if len(node.inputs) > 2 and node.inputs[2] and not self.constant_c:
            fixed = False
            c = arrays[2] if self.beta == 1 else arrays[2] * arrays[2].dtype.type(self.beta)
            keywords["residual"] = np.ascontiguousarray(np.broadcast_to(c, shape))
        return Call(function, operands, keywords, shape, a.dtype, 2 * a.size * columns, fixed)


class Activation:
    """An activation that stands alone: the same bits as the fused form."""

    def __init__(self, node, graph):
        self.node, self.activation, self.operations = node, activation_of(node), 0

    def __call__(self, run, arrays):
        (x,) = arrays
        float_operands(self.node, x)
        out = run.result(x.shape, x.dtype, x)
        run.call(self.plan(arrays), out)
        return out

    def plan(self, arrays):
        (x,) = arrays
        return Call(hz.activate, (x, self.activation), {}, x.shape, x.dtype, 0)


KERNELS = {"Conv": Conv, "ConvTranspose": conv_transpose, "MatMul": MatMul, "Gemm": Gemm}
KERNELS.update({op: Activation for op in ACTIVATIONS})
