"""The integer form: dynamic quantisation, ConvInteger and MatMulInteger.

`use_integers` rewrites a Conv or MatMul whose weights the file holds as int8 codes and a scale into
DynamicQuantizeLinear (uint8, one scale and zero point per tensor) and ConvInteger or MatMulInteger on those codes.
The int32 sums are exact; they are scaled back to float32 in the kernel's epilogue, where bias, residual and
activation are added.
"""

from __future__ import annotations

import math

import numpy as np

import hunze as hz
from hunze import _hunze

from .graph import Graph, ModelError, Node
from .kernels import CONVOLUTIONS, Call, Kernel, convolution, product_shape


def use_integers(graph: Graph) -> int:
    """Rewrites the graph; returns how many products became integer ones."""
    quantized: dict[str, str] = {}
    nodes, count = [], 0
    for node in graph.nodes:
        if node.op in ("Conv", "MatMul") and scales_channels(graph, node):
            x = node.inputs[0]
            if x not in quantized:
                quantized[x] = f"{x} (uint8)"
                nodes.append(
                    Node(
                        "DynamicQuantizeLinear", f"quantize {node.name}", [x], [quantized[x]], {"whole": 1}, node.opset
                    )
                )
            node.op += "Integer"
            node.attributes["whole"] = 1
            node.inputs = [quantized[x], *node.inputs[1:]]
            count += 1
        nodes.append(node)
    graph.nodes = nodes
    return count


def scales_channels(graph: Graph, node: Node) -> bool:
    """True if the weights are codes with one scale, or one per output channel."""
    codes, scale = graph.codes.get(node.inputs[1], (None, None))
    if (
        codes is None
        or node.op == "MatMul"
        and codes.ndim != 2
        or node.op == "Conv"
        and codes.ndim - 2 not in CONVOLUTIONS
    ):
        return False
    axis = 0 if node.op == "Conv" else 1
    return scale.size == 1 or scale.size == scale.shape[axis] == codes.shape[axis]


def quantize_into(x, *, out, kernel=None):
    """hz.quantize(x, "uint8") with memory for the result."""
    return _hunze._quantize(x, out.codes, out.scale, out.zero_point, None, True, None, kernel, None, None)


class DynamicQuantizeLinear:
    """uint8 codes, scale and zero point; inside `use_integers` one QArray."""

    def __init__(self, node, graph):
        self.node, self.operations = node, 0

    def __call__(self, run, arrays):
        (x,) = arrays
        if x.dtype != np.float32:
            raise ModelError(f"{self.node.op} (node {self.node.name!r}): x is {x.dtype}; float32 is there")
        if self.node.get("whole"):
            codes = run.empty(x.shape, np.uint8, x)
            quantized = hz.QArray.__new__(hz.QArray)  # of parts that need no check
            quantized.codes, quantized.axis = codes, None
            quantized.scale, quantized.zero_point = np.empty((), np.float32), np.empty((), np.uint8)
            run.call(Call(quantize_into, (x,), {}, x.shape, codes.dtype, 0), quantized)
            return quantized
        quantized = hz.quantize(x, "uint8")
        return (
            quantized.codes,
            np.asarray(quantized.scale, np.float32).reshape(()),
            np.asarray(quantized.zero_point, np.uint8).reshape(()),
        )

    def plan(self, arrays):
        return None


class IntegerProduct(Kernel):
    """A product of `use_integers`: x is a QArray, the weights are packed codes, the result is float32."""

    def __init__(self, node, graph):
        super().__init__(node, graph)
        self.spatial = node.op == "ConvInteger"
        codes, scale = graph.codes[node.inputs[1]]
        self.shape = codes.shape
        codes = codes if self.spatial else np.ascontiguousarray(codes.T)
        scale = np.ascontiguousarray(np.broadcast_to(scale.reshape(-1), codes.shape[:1]))
        weights = hz.QArray(codes, scale, axis=0)
        if self.spatial:
            self.packed = hz.pack(
                getattr(hz, CONVOLUTIONS[codes.ndim - 2]), weights, groups=node.get("group", 1), input_dtype="uint8"
            )
        else:
            self.packed = hz.pack(hz.linear, weights, input_dtype="uint8")

    def prepare(self, arrays):
        x, dtype = arrays[0], np.dtype(np.float32)
        if not self.spatial:
            shape = x.shape[:-1] + self.shape[1:]
            return Call(hz.linear, (x, self.packed), {}, shape, dtype, 2 * math.prod(x.shape) * self.shape[1])
        function, keywords, shape, operations = convolution(self.node, x.shape, self.shape)
        return Call(function, (x, self.packed), keywords, shape, dtype, operations)


def as_signed(codes, zero):
    """Codes as int8, which weights of convolutions are, and their zero points: both of uint8 are less 128."""
    if codes.dtype == np.uint8:
        return (codes ^ 0x80).view(np.int8), zero - 128
    return codes, zero


class ExactProduct:
    """ConvInteger and MatMulInteger as ONNX has them: int32 results, exact, wrapping as C does.

    The kernels multiply codes.  With zero points, sum (x - p)(w - q) = sum x w - p sum w - q sum x + count p q."""

    def __init__(self, node, graph):
        self.node, self.operations = node, 0

    def __call__(self, run, arrays):
        x, w, p, q = (arrays[i] if i < len(arrays) else None for i in range(4))
        for name, codes in (("the first operand", x), ("the second operand", w)):
            if codes.dtype not in (np.int8, np.uint8):
                raise ModelError(
                    f"{self.node.op} (node {self.node.name!r}): {name} is {codes.dtype}; int8 and uint8 are there"
                )
        p, q = (np.zeros((), np.int32) if zero is None else zero.astype(np.int32) for zero in (p, q))
        return (self.conv if self.node.op == "ConvInteger" else self.matmul)(
            np.ascontiguousarray(x), np.ascontiguousarray(w), p, q
        )

    def conv(self, x, w, p, q):
        w, q = as_signed(w, q)
        function, keywords, shape, self.operations = convolution(self.node, x.shape, w.shape)
        ones = (1,) * (x.ndim - 2)
        p = p.reshape(())
        # A padded tap is a real zero, so its code is the zero point.
        x = np.pad(x, ((0, 0), (0, 0), *keywords.pop("padding")), constant_values=x.dtype.type(p))
        taps = math.prod(w.shape[1:])
        bias = -p * w.sum(axis=tuple(range(1, w.ndim)), dtype=np.int32) + np.int32(taps) * p * q
        y = function(x, w, np.ascontiguousarray(np.broadcast_to(bias, shape[1:2])), **keywords)
        if np.any(q):
            groups = keywords["groups"]
            sums = function(x, np.ones((groups, *w.shape[1:]), np.int8), **keywords)
            y = y - np.repeat(sums, shape[1] // groups, axis=1) * np.broadcast_to(q, shape[1:2]).reshape(-1, *ones)
        return y

    def matmul(self, x, w, p, q):
        shape = product_shape(self.node, x, w)
        self.operations = 2 * math.prod(shape) * x.shape[-1]
        p = p[..., None] if p.ndim else p  # one per row
        y = hz.matmul(x, w)
        rows, columns = x.sum(axis=-1, keepdims=True, dtype=np.int32), w.sum(axis=-2, keepdims=True, dtype=np.int32)
        return y - p * columns - rows * q + np.int32(x.shape[-1]) * p * q

    def plan(self, arrays):
        return None


def integer_product(node, graph):
    return (IntegerProduct if node.inputs[1] in graph.codes and node.get("whole") else ExactProduct)(node, graph)


KERNELS = {
    "DynamicQuantizeLinear": DynamicQuantizeLinear,
    "ConvInteger": integer_product,
    "MatMulInteger": integer_product,
}
