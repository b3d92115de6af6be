"""Runs a folded graph step by step and records what each step did."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from hunze import _settings

from . import integer as integer_form
from . import kernels
from .arena import Arena
from .fold import fold
from .graph import Graph, ModelError, Node, UnsupportedOperatorError, check_form, read
from .operators import CHECKS, OPERATORS
from .program import NotRepeatable, Program, repeatable
from .records import Explanation, Fact, Record, describe
from .run import Run

KERNELS = kernels.KERNELS | integer_form.KERNELS


def load(source, integer=False, outputs=None, device=None):
    """Reads an ONNX model and prepares it: folds, packs its weights, and refuses what cannot run.

    source: a path, the file's bytes, or an onnx.ModelProto.  integer: Conv and MatMul whose weights the file holds as
    int8 codes run on those codes (DynamicQuantizeLinear, ConvInteger, MatMulInteger).  outputs: names of values to
    return in place of the model's own outputs.  device: "cuda" or "cuda:1" brings the weights there, and runs there
    what it can; explain() says what ran on the CPU.  With reproducible=True (hz.options) the bits are the CPU's.
    Raises ModelError for a file that is no model, and its subclass UnsupportedOperatorError with the operator's name
    and node for what is not there.

    >>> import numpy as np, onnx, hunze.onnx
    >>> proto = onnx.parser.parse_model('''
    ... <ir_version: 8, opset_import: ["": 17]>
    ... g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { z = MatMul(x, w) y = Relu(z) }''')
    >>> model = hunze.onnx.load(proto)
    >>> model(np.array([[1, -1], [1, 1]], "float32"))
    [array([[0., 0.],
           [4., 6.]], dtype=float32)]
    """
    return Model(read(source, outputs), bool(integer), device)


class Step:
    """One node, its place in the run, and the function that runs it."""

    def __init__(self, node: Node, graph: Graph, slots: dict[str, int]):
        self.node = node
        try:
            self.kernel = KERNELS[node.op](node, graph) if node.op in KERNELS else None
        except ValueError as error:
            raise self.blame(error) from None
        self.function = OPERATORS.get(node.op)
        self.reads = [slots[name] if name else -1 for name in node.inputs + ([node.residual] if node.residual else [])]
        self.writes = [slots[name] if name else -1 for name in node.outputs]
        self.dies: list[int] = []
        self.there = None  # what runs it on the model's device (device.py)

    def blame(self, error: Exception) -> Exception:
        """What went wrong in this step, with its name: operands that do not fit, NaN where integers are wanted."""
        if isinstance(error, ModelError) or not isinstance(
            error, (ValueError, TypeError, IndexError, NotImplementedError, AttributeError)
        ):
            return error
        return self.node.wrong(error)

    def run(self, run, arrays):
        if self.kernel is not None:
            return self.kernel(run, arrays)
        return self.function(run, self.node, *arrays)


def supported(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op not in OPERATORS and node.op not in KERNELS:
            raise UnsupportedOperatorError(f"{node.op} (node {node.name!r}) is no operator that hunze.onnx has")
        check_form(node)
        if node.op in CHECKS:
            CHECKS[node.op](node)


def compute(node: Node, arrays):
    """Runs one node with constant inputs while the model is loaded."""
    graph = Graph([node], dict(zip(node.inputs, arrays)), [], node.outputs, {})
    kernel = KERNELS.get(node.op)
    run = Run(Arena())
    try:
        result = kernel(node, graph)(run, arrays) if kernel else OPERATORS[node.op](run, node, *arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise error if isinstance(error, ModelError) else node.wrong(error) from None
    return [np.array(array) for array in (result if isinstance(result, tuple) else (result,))]


class Model:
    """A loaded model.  model(x, …) or model.run({name: array}) gives the outputs as a list; may be called from any
    thread.

    >>> import numpy as np, onnx, hunze.onnx
    >>> model = hunze.onnx.load(onnx.parser.parse_model('''
    ... <ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }'''))
    >>> model
    <hunze.onnx.Model: inputs x; 1 steps>
    >>> model.run({"x": np.array([-1, 1], "float32")})
    [array([0., 1.], dtype=float32)]
    >>> [(record.op, record.shape) for record in model.nodes]
    [('Relu', (2,))]
    """

    def __init__(self, graph: Graph, integer: bool, device: str | None = None):
        supported(graph)
        fold(graph, compute)
        self.integer_products = integer_form.use_integers(graph) if integer else 0
        self.inputs, self.outputs, self.metadata = graph.inputs, list(graph.outputs), graph.metadata
        slots: dict[str, int] = {}
        for name in [
            *graph.constants,
            *(v.name for v in graph.inputs),
            *(n for node in graph.nodes for n in node.outputs if n),
        ]:
            slots.setdefault(name, len(slots))
        self.steps = [Step(node, graph, slots) for node in graph.nodes]
        self._slots = len(slots)
        self.constants = {slots[name]: array for name, array in graph.constants.items()}
        self.taken, self.returned = [slots[v.name] for v in graph.inputs], [slots[name] for name in graph.outputs]
        last: dict[int, Step] = {}
        for step in self.steps:
            last.update((slot, step) for slot in step.reads + step.writes if slot >= 0)
        kept = {*self.returned, *self.constants, *self.taken}
        for slot, step in last.items():
            if slot not in kept:
                step.dies.append(slot)
        self._repeatable = repeatable(self.steps, self.constants)
        self._place = None
        if device not in (None, "cpu"):
            from .device import Place

            self._place = Place(self, device)
        self._lanes: list[Lane] = []
        self._last = None  # facts and seconds of the last run's steps

    def __repr__(self):
        names = ", ".join(value.name for value in self.inputs)
        form = f", {self.integer_products} integer products" if self.integer_products else ""
        form += f"; on {self._place.device}" if self._place is not None else ""
        return f"<hunze.onnx.Model: inputs {names}; {len(self.steps)} steps{form}>"

    def __call__(self, *arrays):
        if len(arrays) != len(self.inputs):
            raise ModelError(
                f"the model takes {len(self.inputs)} inputs ({', '.join(v.name for v in self.inputs)}); "
                f"{len(arrays)} given"
            )
        return self.run(dict(zip((value.name for value in self.inputs), arrays)))

    def run(self, inputs: dict) -> list[np.ndarray]:
        """The outputs, in the model's order, for a dict of input arrays by name."""
        for value in self.inputs:
            if value.name not in inputs:
                raise ModelError(f"input {value.name!r} is missing; given: {', '.join(map(repr, inputs)) or 'nothing'}")
        if len(inputs) != len(self.inputs):
            unknown = set(inputs) - {value.name for value in self.inputs}
            raise ModelError(
                f"the model has no input {sorted(unknown)[0]!r}; it has {', '.join(repr(v.name) for v in self.inputs)}"
            )
        arrays = [check_input(value, inputs[value.name]) for value in self.inputs]
        try:
            lane = self._lanes.pop()
        except IndexError:
            lane = Lane()
        try:
            with np.errstate(all="ignore"):
                outputs, facts, seconds = lane.run(self, arrays)
        finally:
            lane.arena.reset()
            self._lanes.append(lane)
        self._last = facts, seconds
        return outputs

    def values(self, arrays) -> list:
        """What a run begins with: constants and inputs in their slots."""
        values: list = [None] * self._slots
        for slot, array in self.constants.items():
            values[slot] = array
        for slot, array in zip(self.taken, arrays):
            values[slot] = array
        return values

    def perform(self, run: Run, values: list) -> tuple[list[Fact], list[float]]:
        """Runs step by step; the results stay in `values`."""
        facts, times, arena = [], [], run.arena
        for step in self.steps:
            arrays = [values[slot] if slot >= 0 else None for slot in step.reads]
            run.dying = [values[slot] for slot in step.dies]
            run.begin(step)
            start = perf_counter()
            try:
                results = step.run(run, arrays)
            except Exception as error:
                raise step.blame(error) from error
            times.append(perf_counter() - start)
            results = results if isinstance(results, tuple) else (results,)
            operations = step.kernel.operations if step.kernel is not None else 0
            facts.append(Fact(tuple(map(describe, arrays)), describe(results[0]), operations))
            run.end(step, arrays, results)
            for slot, result in zip(step.writes, results):
                if slot >= 0:
                    arena.hold(result)
                    values[slot] = result
            run.dying = arrays = results = None
            for slot in step.dies:
                arena.drop(values[slot])
                values[slot] = None
        return facts, times

    @property
    def nodes(self) -> list[Record]:
        """What each step of the last run did: operator, shapes, operations, seconds."""
        if self._last is None:
            return []
        return [Record(step, fact, seconds) for step, fact, seconds in zip(self.steps, *self._last)]

    def explain(self) -> Explanation:
        """The last run as a table, with the kernel of each product and why it was chosen."""
        if self._last is None:
            raise ModelError("nothing to explain: the model has not run yet")
        return Explanation(self.nodes, self._place)


class Lane:
    """Memory for one run at a time, and what is known of runs with inputs of each shape."""

    PROGRAMS = 64  # the least recently used is forgotten

    def __init__(self):
        self.arena = Arena()
        self.known: dict = {}  # shapes and settings -> None after the first run, the program after the second

    def run(self, model: Model, arrays):
        if model._place is not None:
            values = model.values(arrays)
            facts, seconds = model._place.perform(model, Run(self.arena), values)
            return self.outputs(model, values), facts, seconds
        settings = _settings._current.get()
        key = (
            *((array.shape, array.strides, array.flags.aligned) for array in arrays),
            (settings.isa, settings.flags, settings.threads, settings.device) if settings is not None else None,
        )
        seen = key in self.known
        program = self.known.pop(key, None)
        if program is not None:
            self.known[key] = program
            outputs, seconds = program.run(model, arrays)
            return outputs, program.facts, seconds
        if seen and model._repeatable:
            try:
                self.known[key] = program = Program(model, self.arena, arrays)
                return program.outputs, program.facts, program.seconds
            except NotRepeatable:
                model._repeatable = False
                self.arena.reset()
        values = model.values(arrays)
        facts, seconds = model.perform(Run(self.arena), values)
        outputs = self.outputs(model, values)
        self.known[key] = None
        if len(self.known) > self.PROGRAMS:
            del self.known[next(iter(self.known))]
        return outputs, facts, seconds

    def outputs(self, model: Model, values):
        """The results, which are the caller's from now on."""
        outputs = [values[slot] for slot in model.returned]
        for output in outputs:
            self.arena.let_go(output)
        if model._place is None:
            return outputs
        from .device import to_cpu

        return [to_cpu(output) for output in outputs]


def check_input(value, array):
    array = np.asarray(array)
    if array.dtype != value.dtype:
        raise ModelError(
            f"input {value.name!r} is {array.dtype}; the model takes {value.dtype}: .astype({value.dtype.name!r})"
        )
    if value.shape is not None and (
        array.ndim != len(value.shape)
        or any(want is not None and want != have for want, have in zip(value.shape, array.shape))
    ):
        shape = ", ".join("any" if extent is None else str(extent) for extent in value.shape)
        raise ModelError(f"input {value.name!r} has shape {array.shape}; the model takes ({shape})")
    return array
