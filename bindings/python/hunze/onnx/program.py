"""A run recorded, to be done again for inputs of the same shapes.

The second run with the same shapes is recorded: each step's work is kept as functions without arguments over memory
that stays where it is, and each call of Hunze as a bound call, whose plan is made and whose arguments are checked.
Later runs only call them one after the other.  That leaves less than a microsecond of Python per step, where looking
at shapes, finding memory and checking arguments takes twenty.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from hunze import _hunze

from .arena import Arena
from .run import Run

BIND = _hunze._PlanRequest(None, True)
VIEWS = {"Squeeze", "Unsqueeze", "Transpose", "Reshape", "Flatten", "Slice"}
# Operators whose result's shape or axes depend on the values of what follows the first input.
SHAPED = {"Reshape", "Slice", "Squeeze", "Unsqueeze", "Resize", "Upsample", "ReduceMean"}


def repeatable(steps, constants) -> bool:
    """False if the shape of some result depends on values that change from run to run."""
    known = set(constants)
    for step in steps:
        op = step.node.op
        if op in SHAPED and not known.issuperset(slot for slot in step.reads[1:] if slot >= 0):
            return False
        if op == "Shape" or known.issuperset(slot for slot in step.reads if slot >= 0):
            known.update(step.writes)
    return True


class Recording(Run):
    """A run whose work is kept: `work` has for each step the functions to call."""

    def __init__(self, arena: Arena, inputs: dict, kept: set):
        super().__init__(arena)
        self.inputs = inputs  # id(the program's copy of a graph input) -> its place in `current`
        self.kept = kept  # slots of graph outputs that no step reads
        self.current: list = [None] * len(inputs)  # arrays of the run at hand, which bound calls take
        self.work: list[list] = []
        self.copied: set[int] = set()  # places of inputs that must lie in the program's own memory
        self.fresh: dict[int, tuple[int, np.ndarray]] = {}  # slot of a result -> its place in `current`, one like it
        self.scratch = Arena()

    def begin(self, step):
        self.step, self.fills, self.bound, self.recorded, self.whole = step, [], None, False, False

    def do(self, *fills):
        super().do(*fills)
        self.fills += fills
        self.recorded = True

    def call(self, call, out):
        if not call.fixed:
            self.whole = True
            return super().call(call, out)
        try:
            bound = call.function(*call.operands, out=out, kernel=BIND, **call.keywords)
        except TypeError:  # an operand that is converted for each call
            self.do(lambda: call.function(*call.operands, out=out, **call.keywords))
        else:
            self.do(bound.run)
            self.bound = bound, out, call.operands[0]

    def end(self, step, arrays, results):
        if self.whole or not self.recorded:
            self.fills, self.bound = self.again(step, arrays, results), None
        if len(self.fills) != 1:
            self.bound = None
        given = [self.inputs[id(array)] for array in arrays if id(array) in self.inputs]
        if self.bound is None or len(given) != 1 or self.inputs.get(id(self.bound[2])) is None:
            self.copied.update(given)
        if self.bound is not None:
            self.leave_open(step)
        self.work.append(self.fills)

    def again(self, step, arrays, results):
        """For an operator that only knows how to compute: its result is copied to where the others look for it."""
        if step.node.op in VIEWS and any(array is not None and np.shares_memory(results[0], array) for array in arrays):
            return []
        kept = [(index, results[index]) for index, slot in enumerate(step.writes) if slot >= 0]
        if not all(isinstance(result, np.ndarray) for _, result in kept):
            raise NotRepeatable

        def fill():
            found = step.run(Run(self.scratch), arrays)
            found = found if isinstance(found, tuple) else (found,)
            for index, result in kept:
                np.copyto(result, found[index])
            self.scratch.reset()

        return [fill]

    def leave_open(self, step):
        """A bound call takes a graph input as it is given, and gives a graph output to the caller."""
        bound, out, x = self.bound
        run, current, given, kept = bound.run, self.current, self.inputs.get(id(x)), None
        if step.writes[0] in self.kept:
            kept = len(current)
            current.append(None)
            self.fresh[step.writes[0]] = kept, out
        if given is not None and kept is not None:
            self.fills = [lambda: run(current[given], current[kept])]
        elif given is not None:
            self.fills = [lambda: run(current[given])]
        elif kept is not None:
            self.fills = [lambda: run(None, current[kept])]


class NotRepeatable(Exception):
    """The run has a value that is no array."""


class Program:
    """What a recorded run did, to be done again."""

    def __init__(self, model, arena: Arena, arrays):
        """Runs the model on these inputs; the results are in `outputs`."""
        self.copies = [np.array(array, order="K") for array in arrays]
        places = {id(copy): place for place, copy in enumerate(self.copies)}
        read = {slot for step in model.steps for slot in step.reads}
        kept = {slot for slot in model.returned if slot not in read}
        run = Recording(arena, places, kept)
        values = model.values(self.copies)
        self.facts, self.seconds = model.perform(run, values)
        self.copied = run.copied | {i for i, a in enumerate(arrays) if a.strides != self.copies[i].strides}
        self.work, self.current, self.fresh = run.work, run.current, list(run.fresh.values())
        given = {slot: place for place, slot in enumerate(model.taken)}
        self.results = []  # (array, place in `current`): one of them says where a result is
        for slot in model.returned:
            place = run.fresh[slot][0] if slot in run.fresh else given.get(slot)
            self.results.append((values[slot], place))
        self.constants = [slot in model.constants for slot in model.returned]
        self.outputs = [
            value if constant else np.array(value, order="K")
            for (value, _), constant in zip(self.results, self.constants)
        ]

    def run(self, model, arrays):
        """The results for these inputs, and the seconds of each step."""
        current = self.current
        current[: len(arrays)] = arrays
        for place in self.copied:
            np.copyto(self.copies[place], arrays[place])
            current[place] = None
        for place, like in self.fresh:
            current[place] = np.empty_like(like)
        seconds, last = [], perf_counter()
        try:
            for fills in self.work:
                for fill in fills:
                    fill()
                now = perf_counter()
                seconds.append(now - last)
                last = now
        except Exception as error:
            raise model.steps[len(seconds)].blame(error) from error
        outputs = []
        for (value, place), constant in zip(self.results, self.constants):
            if place is None:
                outputs.append(value if constant else np.array(value, order="K"))
            else:
                outputs.append(arrays[place] if place < len(arrays) else current[place])
        current[:] = [None] * len(current)
        return outputs, seconds
