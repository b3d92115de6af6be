"""A model on a device: products, convolutions, activations, dynamic quantisation, joins and views run there.

Weights are brought over when the model is loaded.  A result stays where it was computed until a step elsewhere needs
it; what the device has no kernel for, and operators that are NumPy's, run on the CPU.
"""

from __future__ import annotations

import copy
from functools import partial
from time import perf_counter

import numpy as np

import hunze as hz
from hunze import _hunze

from . import kernels
from .operators import OPERATORS, axes_of
from .records import Fact, describe
from .run import Run

COPY = ("clip", None, None)  # open on both sides: an activation that copies
REFUSED = (NotImplementedError, ValueError, TypeError)  # the CPU tries again, and says what is wrong


def on_device(value) -> bool:
    return isinstance(getattr(value, "codes", value), hz.DeviceArray)


def to_cpu(value):
    """The value in the CPU's memory, in the order of axes that it has."""
    if not on_device(value):
        return value
    if isinstance(value, hz.QArray):
        return hz.QArray(value.codes.numpy(), value.scale.numpy(), value.zero_point.numpy(), value.axis)
    # Sums of NumPy's operators follow the memory, so their bits do.
    order = sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis]))
    return value.transpose(order).numpy().transpose([order.index(axis) for axis in range(value.ndim)])


class DeviceRun(Run):
    """What a step on the device sees: memory there."""

    def __init__(self, arena, device: str):
        super().__init__(arena)
        self.device = device

    def empty(self, shape, dtype, like=None, channels_last=False):
        shape = tuple(shape)
        order = list(range(len(shape)))
        if channels_last:
            order = [0, *range(2, len(shape)), 1]
        elif like is not None and like.ndim == len(shape):
            order.sort(key=lambda axis: -abs(like.strides[axis]))
        flat = _hunze._device_empty(tuple(shape[axis] for axis in order), np.dtype(dtype).name, self.device, None)
        return flat.transpose([order.index(axis) for axis in range(len(shape))]) if order != sorted(order) else flat

    def result(self, shape, dtype, *operands):
        return self.empty(shape, dtype, max(operands, key=lambda operand: operand.size))

    def copy(self, target, source):
        hz.activate(source, COPY, out=target)


# ---------------------------------------------------------------- steps that the device has beside the kernels


def squeeze(run, node, x, axes=None):
    axes = axes_of(node, axes, x.ndim, tuple(axis for axis, extent in enumerate(x.shape) if extent == 1))
    if any(x.shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of shape {x.shape} are not all 1")
    return x[tuple(0 if axis in axes else slice(None) for axis in range(x.ndim))]


def unsqueeze(run, node, x, axes=None):
    count = x.ndim + (len(node.get("axes", ())) if axes is None else np.size(axes))
    added = axes_of(node, axes, count)
    return x[tuple(None if axis in added else slice(None) for axis in range(count))]


def transpose(run, node, x):
    return x.transpose(node.get("perm") or range(x.ndim)[::-1])


def reshaped(operator, run, node, x, *rest):
    try:
        return operator(run, node, x, *rest)
    except ValueError:  # no view of it has that shape
        return operator(run, node, x.copy(), *rest)


def concat(run, node, *arrays):
    axis = node.get("axis", 1) % arrays[0].ndim
    shape = list(arrays[0].shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    out, start = run.empty(shape, arrays[0].dtype, arrays[0]), 0
    for array in arrays:
        if array.dtype != out.dtype or array.ndim != out.ndim:
            raise NotImplementedError("arrays of different types are joined on the CPU")
        stop = start + array.shape[axis]
        run.copy(out[(slice(None),) * axis + (slice(start, stop),)], array)
        start = stop
    return out


def quantize(run, node, x):
    if not node.get("whole"):
        raise NotImplementedError("codes that integers are computed of by NumPy")
    return hz.quantize(x, "uint8")


VIEWS = {
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Reshape": partial(reshaped, OPERATORS["Reshape"]),
    "Flatten": partial(reshaped, OPERATORS["Flatten"]),
}
FUNCTIONS = {**VIEWS, "Concat": concat, "DynamicQuantizeLinear": quantize}


def moved(value, device: str):
    """Weights as the device's kernels take them: packed for it where they can be, else as they were."""
    if isinstance(value, hz.PackedWeights):
        try:
            return hz.to_device(value, device)
        except REFUSED:
            return hz.to_device(value._source, device)
    return hz.to_device(value, device)


def twin(kernel, device: str):
    """The kernel with its weights on the device."""
    other = copy.copy(kernel)
    other.node = copy.copy(kernel.node)
    for part in (other, other.node):
        for name, value in vars(part).items():
            if isinstance(value, (np.ndarray, hz.PackedWeights)):
                setattr(part, name, moved(value, device))
    return other


class Place:
    """The device of a model, and what of the model is there."""

    def __init__(self, model, device: str):
        self.device = hz.to_device(
            np.zeros(1, np.float32), device
        ).device  # ValueError or RuntimeError if there is none
        self.why: dict = {}  # step: why it runs on the CPU
        self.constants = {}
        for step in model.steps:
            step.there = self.find(step)
            for slot in step.reads:
                if slot in model.constants and step.there is not None and step.node.op not in VIEWS:
                    self.constants.setdefault(slot, None)

    def find(self, step):
        """What runs the step on the device: a function of (run, arrays), or None."""
        function = FUNCTIONS.get(step.node.op)
        if function is not None:
            return lambda run, arrays: function(run, step.node, *arrays)
        if isinstance(step.kernel, (kernels.Kernel, kernels.Activation)):
            return twin(step.kernel, self.device)
        self.why[step] = "NumPy's operator" if step.kernel is None else "a product whose sums NumPy corrects"
        return None

    def bring(self, slot, value, model):
        """The value on the device; a constant stays there for later runs."""
        if value is None or on_device(value):
            return value
        if slot not in model.constants:
            return hz.to_device(value, self.device)
        if self.constants.get(slot) is None:
            self.constants[slot] = hz.to_device(value, self.device)
        return self.constants[slot]

    def try_there(self, model, step, run, arrays):
        """The step's results on the device, and its operands there; None, and why not."""
        if step.node.op in VIEWS and not on_device(arrays[0]):
            return None, "its operand is on the CPU"
        try:
            if step.node.op in VIEWS:
                operands = [arrays[0], *map(to_cpu, arrays[1:])]
            else:
                operands = [self.bring(slot, array, model) for slot, array in zip(step.reads, arrays)]
            return step.there(run, operands), operands
        except REFUSED as error:
            return None, str(error)

    def perform(self, model, run: Run, values: list):
        """As Model.perform; `run` is that of the steps on the CPU."""
        facts, times, arena = [], [], run.arena
        there = DeviceRun(arena, self.device)
        for step in model.steps:
            arrays = [values[slot] if slot >= 0 else None for slot in step.reads]
            start, results, place = perf_counter(), None, self.device
            if step.there is not None:
                results, operands = self.try_there(model, step, there, arrays)
            if results is None:
                refused, place = step.there is not None, "cpu"
                reason = operands if refused else self.why[step]
                operands = [to_cpu(array) for array in arrays]
                for slot, array in zip(step.reads, operands):  # once for all steps that follow
                    if slot >= 0:
                        values[slot] = array
                run.dying = [values[slot] for slot in step.dies]
                try:
                    results = step.run(run, operands)
                except Exception as error:
                    raise step.blame(error) from error
                if refused and step.node.op not in VIEWS:
                    step.there = None
                self.why[step] = reason
            times.append(perf_counter() - start)
            results = results if isinstance(results, tuple) else (results,)
            kernel = step.there if place != "cpu" and step.kernel is not None else step.kernel
            operations = getattr(kernel, "operations", 0)
            facts.append(Fact(tuple(map(describe, operands)), describe(results[0]), operations, place))
            for slot, result in zip(step.writes, results):
                if slot >= 0:
                    arena.hold(result)
                    values[slot] = result
            run.dying = arrays = operands = results = None
            for slot in step.dies:
                arena.drop(values[slot])
                values[slot] = None
        return facts, times
