"""What a run did, step by step."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import numpy as np

import hunze as hz


class Fact(NamedTuple):
    """What a step did, as far as the shapes of a run decide it: descriptions of values, and operations."""

    inputs: tuple
    output: tuple
    operations: int
    place: str = "cpu"


def describe(value):
    """Shape, dtype and strides: what a plan depends on."""
    if value is None:
        return None
    return value.shape, value.dtype, getattr(value, "strides", None)


class Record:
    """One step of one run.  On a device its seconds end when the work was given to the stream."""

    __slots__ = ("_step", "inputs", "output", "seconds", "operations", "place", "_why")

    def __init__(self, step, fact: Fact, seconds: float):
        self._step, self.seconds, self._why = step, seconds, None
        self.inputs, self.output, self.operations, self.place = fact

    @property
    def name(self) -> str:
        return self._step.node.name

    @property
    def op(self) -> str:
        return self._step.node.op

    @property
    def folded(self) -> list[str]:
        """The operators of the model that this step does beside its own."""
        return self._step.node.folded

    @property
    def on_hunze(self) -> bool:
        return self._step.kernel is not None

    @property
    def is_product(self) -> bool:
        return self.operations > 0

    @property
    def shape(self) -> tuple:
        return self.output[0]

    @property
    def gflop(self) -> float:
        return self.operations / 1e9

    @property
    def text(self) -> str:
        """Operand shapes in one line."""
        shapes = ["x".join(map(str, entry[0])) or "scalar" for entry in self.inputs if entry is not None]
        return f"{' , '.join(shapes)} -> {'x'.join(map(str, self.shape))}"

    @property
    def kernel(self) -> str:
        return self.plan[0]

    @property
    def why(self) -> str:
        return self.plan[1]

    @property
    def plan(self) -> tuple[str, str]:
        """(kernel, why): asked of the library for operands like those of the run."""
        if self._why is None:
            self._why = self._ask()
        return self._why

    def _ask(self):
        if self.place != "cpu":
            return self._ask_device()
        if self._step.kernel is None:
            return "NumPy", "no product: outside Hunze's kernels"
        call = self._step.kernel.plan([like(entry) for entry in self.inputs])
        if call is None:
            return "hunze", "several calls"
        explained = hz.explain(call.function, *call.operands, **call.keywords)
        return explained["kernel"], explained["why"]

    def _ask_device(self):
        if self._step.kernel is None or not hasattr(self._step.there, "plan"):
            return "hunze", "copies or views"
        arrays = [None if entry is None else hz.to_device(like(entry), self.place) for entry in self.inputs]
        call = self._step.there.plan(arrays)
        explained = hz.explain(call.function, *call.operands, **call.keywords)
        return explained["kernel"], explained["why"]


def like(entry):
    """An array of this shape, dtype and memory order; its values do not matter to a plan."""
    if entry is None:
        return None
    shape, dtype, strides = entry
    if strides is None:  # codes with a scale
        codes = np.zeros(shape, dtype)
        return hz.QArray(codes, np.ones((), np.float32), np.zeros((), dtype))
    order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
    return (
        np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order)) if order else np.zeros((), dtype)
    )


COLUMNS = ("node", "operator", "shapes", "kernel", "GFLOP", "ms", "GFLOP/s")


class Explanation:
    """Prints as a table and shows as one in a notebook; `records` are the rows."""

    def __init__(self, records, place=None):
        self.records, self._place = list(records), place

    @property
    def seconds(self) -> float:
        return sum(record.seconds for record in self.records)

    def rows(self):
        for r in self.records:
            rate = f"{r.gflop / r.seconds:.1f}" if r.operations and r.seconds else ""
            op = "+".join([r.op, *r.folded])
            yield r.name, op, r.text, r.kernel, f"{r.gflop:.4f}" if r.operations else "", f"{1e3 * r.seconds:.3f}", rate

    def __str__(self):
        rows = [COLUMNS, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 4 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"{len(self.records)} steps, {1e3 * self.seconds:.3f} ms", *self._places()])

    def _places(self):
        """Where the steps of a model on a device ran, and why not all there."""
        if self._place is None:
            return
        there = sum(record.place != "cpu" for record in self.records)
        yield f"on {self._place.device}: {there} of {len(self.records)} steps"
        reasons = {}
        for record in self.records:
            if record.place == "cpu":
                reasons.setdefault(self._place.why[record._step], []).append(record.op)
        for why, operators in reasons.items():
            counted = ", ".join(f"{operators.count(op)} {op}" for op in dict.fromkeys(operators))
            yield f"on the CPU: {counted}: {why}"

    __repr__ = __str__

    def _repr_html_(self):
        head = "".join(f"<th>{column}</th>" for column in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows())
        places = "".join(f"<p>{escape(line)}</p>" for line in self._places())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{places}"
