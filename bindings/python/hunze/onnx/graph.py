"""A model file as plain Python objects: nodes, constants, inputs and outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np

try:
    import onnx
except ImportError as error:
    raise ImportError("hunze.onnx reads models with the onnx package: pip install onnx") from error


class ModelError(ValueError):
    """The file is no ONNX model, or not one that can be run; the message says why."""


class UnsupportedOperatorError(ModelError, NotImplementedError):
    """The model has an operator, or a form of one, that is not there; the message names it and its node."""


@dataclass(eq=False)
class Node:
    op: str
    name: str
    inputs: list[str]  # "" for an optional input that is left out
    outputs: list[str]
    attributes: dict = field(default_factory=dict)
    opset: int = 0
    # What was folded in behind a Conv, ConvTranspose, Gemm or MatMul (fold.py): names of values, and an activation.
    bias: np.ndarray | None = None
    residual: str = ""
    activation: object = None
    folded: list[str] = field(default_factory=list)  # the operators that were folded in, for explain()
    proto: object = None  # as the file has it

    def get(self, key, default=None):
        return self.attributes.get(key, default)

    def wrong(self, what) -> ModelError:
        return ModelError(f"{self.op} (node {self.name!r}): {what}")

    def unsupported(self, what: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(f"{self.op} (node {self.name!r}): {what}")

    @property
    def reads(self) -> list[str]:
        """Every value that must exist before this node runs."""
        names = [name for name in self.inputs if name]
        return names + [self.residual] if self.residual else names


@dataclass(eq=False)
class Value:
    """A graph input: its dtype, and its shape with None for an axis of any extent (None: any rank)."""

    name: str
    dtype: np.dtype
    shape: tuple | None


@dataclass(eq=False)
class Graph:
    nodes: list[Node]  # in an order in which they can run
    constants: dict[str, np.ndarray]
    inputs: list[Value]
    outputs: list[str]
    metadata: dict[str, str]
    # int8 weights that the file holds as Cast and Mul: name of the product -> (codes, scale)
    codes: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs if name}

    def users(self) -> dict[str, list[Node]]:
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.reads:
                users.setdefault(name, []).append(node)
        return users

    def rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.residual = new if node.residual == old else node.residual
        self.outputs = [new if name == old else name for name in self.outputs]

    def sort(self) -> None:
        """Puts the nodes in an order in which every value exists before it is read."""
        known = {"", *self.constants, *(value.name for value in self.inputs)}
        waiting, self.nodes = self.nodes, []
        while waiting:
            later = []
            for node in waiting:
                if known.issuperset(node.reads):
                    self.nodes.append(node)
                    known.update(node.outputs)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                node = later[0]
                missing = [name for name in node.reads if name not in known]
                raise ModelError(f"{node.op} (node {node.name!r}) reads {missing[0]!r}, which nothing produces")
            waiting = later

    def prune(self) -> None:
        """Drops nodes and constants that no output needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.reads)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}


def _array(tensor, what: str) -> np.ndarray:
    try:
        return onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # sizes that do not fit, unknown types, external files: each raises its own kind
        raise ModelError(f"{what} cannot be read: {str(error).strip() or type(error).__name__}") from None


def _attribute(attribute):
    try:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
    except ValueError as error:
        raise ModelError(f"attribute {attribute.name!r} cannot be read: {error}") from None
    if isinstance(value, onnx.TensorProto):
        return _array(value, f"attribute {attribute.name!r}")
    return value


def _constant(node) -> np.ndarray:
    for attribute in node.attribute:
        value = _attribute(attribute)
        if attribute.name == "value":
            return value
        if attribute.name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise UnsupportedOperatorError(f"Constant (node {node.name!r}): only tensors, floats and integers are there")


def _value(info) -> Value:
    kind = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type":
        raise ModelError(f"input {info.name!r} is no tensor")
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim)
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except KeyError:
        raise ModelError(f"input {info.name!r} has the element type {kind.elem_type}, which ONNX has not") from None
    if dtype.isbuiltin != 1 or dtype.kind not in "fiub":
        raise ModelError(f"input {info.name!r} is {dtype}; NumPy's floats, integers and bool are there")
    return Value(info.name, dtype, shape)


def _proto(source):
    if isinstance(source, onnx.ModelProto):
        return source
    if not isinstance(source, (bytes, str, os.PathLike)):
        raise TypeError(
            f"source is a {type(source).__name__}; load takes a path, the file's bytes or an onnx.ModelProto"
        )
    what = "the bytes given" if isinstance(source, bytes) else os.fspath(source)
    try:
        model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(what)
    except OSError:
        raise
    except Exception as error:  # protobuf and onnx raise their own kinds
        raise ModelError(f"{what} is no ONNX model: {str(error).strip() or type(error).__name__}") from None
    if not model.opset_import or not (model.graph.node or model.graph.output):
        raise ModelError(f"{what} is no ONNX model: it has no operator set and no graph")
    return model


def check_form(node: Node) -> None:
    """Numbers of inputs and outputs, names and types of attributes, as ONNX has them."""
    context = onnx.checker.DEFAULT_CONTEXT.__class__()
    context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": node.opset}
    try:
        onnx.checker.check_node(node.proto, context)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise node.wrong(str(error).strip().split("\n")[0]) from None


def read(source, outputs=None) -> Graph:
    """The graph of a path, bytes or onnx.ModelProto; `outputs` names values to return in place of the model's own."""
    model = _proto(source)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset <= onnx.defs.onnx_opset_version():
        raise ModelError(
            f"the model has operator set {opset}; this onnx package knows 1 to {onnx.defs.onnx_opset_version()}"
        )
    proto = model.graph
    if proto.sparse_initializer:
        raise ModelError(f"sparse initializers are not there ({proto.sparse_initializer[0].values.name!r})")
    constants = {tensor.name: _array(tensor, f"initializer {tensor.name!r}") for tensor in proto.initializer}
    nodes, alias, made = [], {}, set(constants)
    for index, node in enumerate(proto.node):
        inputs = [alias.get(name, name) for name in node.input]
        name = node.name or f"{node.op_type}_{index}"
        for output in filter(None, node.output):
            if output in made:
                raise ModelError(f"{node.op_type} (node {name!r}) makes {output!r}, which is there already")
            made.add(output)
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedOperatorError(
                f"{node.domain}.{node.op_type} (node {name!r}): only ONNX's own operators are there"
            )
        if node.op_type in ("Constant", "Identity", "Dropout"):
            check_form(Node(node.op_type, name, inputs, list(node.output), {}, opset, proto=node))
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
        elif node.op_type == "Identity" or node.op_type == "Dropout" and len(node.output) == 1 and len(inputs) < 3:
            alias[node.output[0]] = inputs[0]
        else:
            attributes = {a.name: _attribute(a) for a in node.attribute}
            nodes.append(Node(node.op_type, name, inputs, list(node.output), attributes, opset, proto=node))
    wanted = [value.name for value in proto.output] if outputs is None else list(outputs)
    produced = {name for node in nodes for name in node.outputs} | set(alias)
    inputs = [_value(info) for info in proto.input if info.name not in constants]
    for name in wanted:
        if name not in produced and name not in constants and name not in {value.name for value in inputs}:
            raise ModelError(f"the model has no value {name!r} to return")
    graph = Graph(
        nodes,
        constants,
        inputs,
        [alias.get(name, name) for name in wanted],
        {entry.key: entry.value for entry in model.metadata_props},
    )
    graph.sort()
    graph.prune()
    return graph
