"""Rewrites a graph before it runs: constants computed once, and what follows a product folded into its epilogue.

The epilogue of a Hunze kernel is activation(product + bias + residual), so that is the order in which operators are
taken in.  Nothing is folded across a value that something else reads or that the model returns.
"""

from __future__ import annotations

import math

import numpy as np

from .graph import Graph, Node

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
VIEWS = ("Squeeze", "Unsqueeze")
ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Gelu", "SiLU", "Tanh")


def fold(graph: Graph, compute) -> Graph:
    """`compute(node, arrays)` runs one node in NumPy; it is used on nodes whose inputs are all constant."""
    fold_constants(graph, compute)
    while fuse_gelu(graph) or fuse_gates(graph):
        pass
    while fuse_epilogue(graph) or swap_views(graph):
        pass
    graph.sort()
    graph.prune()
    return graph


def fold_constants(graph: Graph, compute) -> None:
    producers = graph.producers()
    kept = []
    for node in graph.nodes:
        if node.inputs and all(not name or name in graph.constants for name in node.inputs):
            if node.op == "Mul":
                note_codes(graph, node, producers)
            arrays = [graph.constants[name] if name else None for name in node.inputs]
            graph.constants.update(zip(node.outputs, compute(node, arrays)))
        else:
            kept.append(node)
    graph.nodes = kept


def note_codes(graph: Graph, node: Node, producers: dict[str, Node]) -> None:
    """Cast(int8 constant) * scale: keeps the codes and the scale for the integer form."""
    for cast, scale in (node.inputs, node.inputs[::-1]):
        maker = producers.get(cast)
        if maker is None or maker.op != "Cast" or maker.inputs[0] not in graph.constants:
            continue
        codes, factor = graph.constants[maker.inputs[0]], graph.constants[scale]
        if codes.dtype == np.int8 and factor.dtype == np.float32 and factor.ndim in (0, codes.ndim):
            graph.codes[node.outputs[0]] = codes, factor
            return


def scalar(graph: Graph, name: str) -> float | None:
    array = graph.constants.get(name)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.ndim <= 1 else None


def only_user(graph: Graph, users: dict, name: str, op: str) -> Node | None:
    """The node of kind `op` that alone reads `name`, unless the model returns it."""
    readers = users.get(name, [])
    if len(readers) == 1 and readers[0].op == op and name not in graph.outputs and readers[0].reads.count(name) == 1:
        return readers[0]
    return None


def other_input(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def close(value: float | None, target: float) -> bool:
    return value is not None and abs(value - target) <= 1e-6 * abs(target)


def fuse_gelu(graph: Graph) -> bool:
    """x/2 (1 + erf(x/sqrt 2)), written as Div or Mul, Erf, Add, Mul, Mul, becomes one Gelu."""
    producers, users = graph.producers(), graph.users()
    for erf in graph.nodes:
        divide = producers.get(erf.inputs[0]) if erf.op == "Erf" else None
        if divide is None or only_user(graph, users, divide.outputs[0], "Erf") is None or len(divide.inputs) != 2:
            continue
        x = divide.inputs[0]
        factor = scalar(graph, divide.inputs[1])
        if divide.op == "Mul" and factor is None:
            x, factor = divide.inputs[1], scalar(graph, divide.inputs[0])
        if not close(factor, {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}.get(divide.op, math.nan)):
            continue
        add = only_user(graph, users, erf.outputs[0], "Add")
        if add is None or not close(scalar(graph, other_input(add, erf.outputs[0])), 1):
            continue
        product = only_user(graph, users, add.outputs[0], "Mul")
        if product is None:
            continue
        gone = [divide, erf, add, product]
        half = other_input(product, add.outputs[0])
        if half == x:  # (x (1 + erf)) / 2
            last = only_user(graph, users, product.outputs[0], "Mul")
            if last is None or not close(scalar(graph, other_input(last, product.outputs[0])), 0.5):
                continue
            gone.append(last)
        else:  # (x / 2) (1 + erf)
            last, first = product, producers.get(half)
            if (
                first is None
                or first.op != "Mul"
                or x not in first.inputs
                or not close(scalar(graph, other_input(first, x)), 0.5)
            ):
                continue
            if only_user(graph, users, half, "Mul") is not None:
                gone.append(first)
        replace(
            graph, gone, Node("Gelu", erf.name, [x], list(last.outputs), {}, erf.opset, folded=[n.op for n in gone])
        )
        return True
    return False


def fuse_gates(graph: Graph) -> bool:
    """x * HardSigmoid(x) with the slope of HardSwish, and x * Sigmoid(x), become one node."""
    producers, users = graph.producers(), graph.users()
    for product in graph.nodes:
        if product.op != "Mul":
            continue
        for gate_name, x in (product.inputs, product.inputs[::-1]):
            gate = producers.get(gate_name)
            if gate is None or gate.op not in ("HardSigmoid", "Sigmoid") or gate.inputs[0] != x:
                continue
            if only_user(graph, users, gate_name, "Mul") is None:
                continue
            op = "SiLU"
            if gate.op == "HardSigmoid":
                if not (close(gate.get("alpha", 0.2), 1 / 6) and close(gate.get("beta", 0.5), 0.5)):
                    continue
                op = "HardSwish"
            replace(
                graph,
                [gate, product],
                Node(op, product.name, [x], list(product.outputs), {}, product.opset, folded=[gate.op, "Mul"]),
            )
            return True
    return False


def replace(graph: Graph, gone: list[Node], node: Node) -> None:
    place = max(graph.nodes.index(n) for n in gone)
    graph.nodes[place] = node
    graph.nodes = [n for n in graph.nodes if n not in gone]


def swap_views(graph: Graph) -> bool:
    """Conv, Squeeze, BatchNormalization or activation: the view moves behind, so that the rest can be folded."""
    producers, users = graph.producers(), graph.users()
    for node in graph.nodes:
        if node.op != "BatchNormalization" and activation_of(node) is None:
            continue
        view = producers.get(node.inputs[0])
        if view is None or view.op not in VIEWS or only_user(graph, users, view.outputs[0], node.op) is None:
            continue
        product = producers.get(view.inputs[0])
        if product is None or product.op not in ("Conv", "ConvTranspose"):
            continue
        if only_user(graph, users, product.outputs[0], view.op) is None or min(view_axes(graph, view)) < 2:
            continue
        node.inputs[0], view.inputs[0] = view.inputs[0], view.outputs[0]
        node.outputs, view.outputs = [view.outputs[0]], node.outputs
        first, second = sorted((graph.nodes.index(node), graph.nodes.index(view)))
        graph.nodes[first], graph.nodes[second] = node, view
        return True
    return False


def view_axes(graph: Graph, node: Node) -> list[int]:
    if len(node.inputs) > 1:
        axes = graph.constants.get(node.inputs[1])
        return [-1] if axes is None else [int(axis) for axis in axes]
    return [int(axis) for axis in node.get("axes", [-1])]


def activation_of(node: Node):
    """A node of ACTIVATIONS as hz.activate and the epilogues take it, or None."""
    if node.op in ("Relu", "Sigmoid", "HardSwish", "SiLU", "Tanh"):
        return node.op.lower()
    if node.op == "HardSigmoid":
        return "hardsigmoid", node.get("alpha", 0.2), node.get("beta", 0.5)
    if node.op == "LeakyRelu":
        return "leaky_relu", node.get("alpha", 0.01)
    if node.op == "Gelu":
        return "gelu_tanh" if node.get("approximate") == "tanh" else "gelu"
    return None


def fuse_epilogue(graph: Graph) -> bool:
    """Takes the one operator behind a product into its epilogue; True if one was taken."""
    users = graph.users()
    for node in graph.nodes:
        readers = users.get(node.outputs[0], [])
        if (
            node.op not in PRODUCTS
            or node.activation is not None
            or len(readers) != 1
            or node.outputs[0] in graph.outputs
        ):
            continue
        follower = readers[0]
        if follower.reads.count(node.outputs[0]) != 1 or len(follower.outputs) != 1:
            continue
        if (
            take_bias(graph, node, follower)
            or take_batch_norm(graph, node, follower)
            or take_residual(node, follower)
            or take_activation(node, follower)
        ):
            node.folded += [follower.op, *follower.folded]
            node.outputs = follower.outputs
            graph.nodes[graph.nodes.index(follower)] = node
            graph.nodes.remove(node)  # the first occurrence: the node now stands where its follower stood
            return True
    return False


def weight(graph: Graph, node: Node) -> np.ndarray | None:
    return graph.constants.get(node.inputs[1])


def channels(graph: Graph, node: Node) -> int | None:
    """Extent of the axis that a bias runs along, where the weights are known."""
    w = weight(graph, node)
    if w is None or w.ndim < 2 or w.dtype not in (np.float32, np.float64):
        return None
    if node.op == "Conv":
        return w.shape[0]
    if node.op == "ConvTranspose":
        return w.shape[1] * node.get("group", 1)
    return w.shape[0] if node.op == "Gemm" and node.get("transB", 0) else w.shape[-1]


def take_bias(graph: Graph, node: Node, follower: Node) -> bool:
    if follower.op != "Add" or node.residual:
        return False
    addend, count = graph.constants.get(other_input(follower, node.outputs[0])), channels(graph, node)
    if addend is None or count is None or addend.dtype != weight(graph, node).dtype:
        return False
    if node.op in ("Conv", "ConvTranspose"):
        rank = weight(graph, node).ndim
        shape = (1,) * (rank - addend.ndim) + addend.shape
        if addend.ndim > rank or shape[1] not in (1, count) or math.prod(shape) != shape[1]:
            return False
    elif addend.ndim > (1 if node.op == "MatMul" else 2) or addend.size != count or addend.shape[-1:] != (count,):
        return False
    if node.op == "Gemm" and len(node.inputs) > 2 and node.inputs[2]:
        return False
    if not own_bias(graph, node, count):
        return False
    node.bias = (node.bias + addend.reshape(-1)).astype(addend.dtype)
    return True


def own_bias(graph: Graph, node: Node, count: int) -> bool:
    """Moves a constant bias input of a convolution into node.bias; False if it is not constant."""
    if node.bias is None:
        bias = np.zeros(count, weight(graph, node).dtype)
        if node.op in ("Conv", "ConvTranspose") and len(node.inputs) > 2 and node.inputs[2]:
            bias = graph.constants.get(node.inputs[2])
            if bias is None:
                return False
            node.inputs = node.inputs[:2]
        node.bias = bias
    return True


def take_batch_norm(graph: Graph, node: Node, follower: Node) -> bool:
    if follower.op != "BatchNormalization" or node.op not in ("Conv", "ConvTranspose") or node.residual:
        return False
    if follower.inputs[0] != node.outputs[0] or follower.get("training_mode", 0):
        return False
    parameters = [graph.constants.get(name) for name in follower.inputs[1:5]]
    count = channels(graph, node)
    if count is None or any(p is None or p.shape != (count,) for p in parameters) or not own_bias(graph, node, count):
        return False
    gamma, beta, mean, variance = (p.astype(np.float64) for p in parameters)
    factor = gamma / np.sqrt(variance + follower.get("epsilon", 1e-5))
    w = weight(graph, node)
    name = f"{node.inputs[1]}*{follower.name}"
    graph.constants[name] = scale_channels(node, w, factor).astype(w.dtype)
    if node.inputs[1] in graph.codes:
        codes, scale = graph.codes[node.inputs[1]]
        if node.op == "Conv":
            shape = (count,) + (1,) * (codes.ndim - 1)
            graph.codes[name] = codes, (scale * factor.reshape(shape)).astype(np.float32)
    node.inputs = [node.inputs[0], name]
    node.bias = ((node.bias.astype(np.float64) - mean) * factor + beta).astype(w.dtype)
    return True


def scale_channels(node: Node, w: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weights with each output channel multiplied by its factor."""
    ones = (1,) * (w.ndim - 2)
    if node.op == "Conv":
        return w * factor.reshape(-1, 1, *ones)
    groups = node.get("group", 1)
    split = w.reshape(groups, -1, *w.shape[1:]) * factor.reshape(groups, 1, w.shape[1], *ones)
    return split.reshape(w.shape)


def take_residual(node: Node, follower: Node) -> bool:
    """The shapes are compared when the model runs: an Add that broadcasts is then done behind the product."""
    if follower.op != "Add" or node.residual or node.op == "Gemm":
        return False
    node.residual = other_input(follower, node.outputs[0])
    return True


def take_activation(node: Node, follower: Node) -> bool:
    node.activation = activation_of(follower)
    return node.activation is not None
