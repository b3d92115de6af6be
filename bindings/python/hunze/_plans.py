"""Plans: which kernel a call gets, why, and the call bound to it."""

import inspect
import json
import statistics
import time

from . import _hunze, _operations
from ._settings import _current
from ._table import Table
from ._weights import PackedWeights

_PLANNED = (
    _hunze.matmul,
    _hunze.linear,
    _hunze.grouped_matmul,
    _hunze.activate,
    _operations.conv1d,
    _operations.conv2d,
    _operations.conv_transpose1d,
    _operations.conv_transpose2d,
    _operations.quantize,
    _operations.dequantize,
)


class Explanation(Table):
    """What hz.explain returns: all of it as a dict; the table leaves out kernels for other dtypes."""

    def _shown(self):
        refused = self.get("refused", [])
        near = [row for row in refused if not row["why"].startswith("takes ")]
        shown = {**self, "refused": near}
        if len(near) < len(refused):
            shown["other dtypes"] = f"{len(refused) - len(near)} kernels"
        return shown


class Plan:
    """A call bound to one kernel, made by hz.plan: call it with operands of the same shapes, dtypes and strides.

    >>> import numpy as np, hunze as hz
    >>> a = np.ones((2, 2), "float32")
    >>> product = hz.plan(hz.matmul, a, a, activation="relu")
    >>> product(a, -a)
    array([[0., 0.],
           [0., 0.]], dtype=float32)
    """

    __slots__ = ("_handle", "_op", "_options")

    def __init__(self, handle, op, options):
        self._handle, self._op, self._options = handle, op, options

    def __call__(self, *operands, out=None):
        if out is not None:
            return self._op(*operands, **self._options, out=out, kernel=self._handle)
        return self._op(*operands, **self._options, kernel=self._handle)

    @property
    def kernel(self):
        """Name of the kernel that runs."""
        return self._handle.kernel

    @property
    def workspace_bytes(self):
        """Bytes of scratch that a run needs with the number of threads in force."""
        return self._handle.workspace(_hunze._get_threads())

    def prepare(self):
        """Loads what the first run would load (a kernel of a device), so that the plan can run while a stream is
        captured: with out=, as nothing is allocated then."""
        self._handle.prepare()

    def explain(self, *, run=None):
        """What the library says about its choice: kernel, why, what was refused, operations and bytes; the loops around
        the kernel ("driver"), how they cut a product ("blocks", with the context's threads), and modelled cycles of one
        core.

        "floor" is the least time that this machine's ceilings leave for it, in seconds: operations by the kernel's
        multiply-add, or bytes by memory, with the threads in force.  Where `python -m hunze tune` has not measured
        them, its seconds are None, and it says why.  "transfer" is there where device= brings the operands to a device:
        the bytes that go over and back, in how many slices, and the seconds of each part by the device's ceilings.

        run=(operands) runs the plan on them for about a tenth of a second: "achieved" has the median of its seconds,
        and which fraction of that is the floor (with device=, the transfer).  Without run no clock is read.
        """
        from . import _ceilings, _transfer

        explained = json.loads(self._handle.explain())
        refused = explained.pop("refused")
        explained["floor"] = _ceilings.floor(explained, self._threads(explained["threads"]))
        if self._handle.moves is not None:
            explained["transfer"] = _transfer.transfer(
                explained, self._options.get("threads") or _hunze._get_threads(), *self._handle.moves[1:]
            )
        if run is not None:
            least = explained.get("transfer", explained["floor"])
            explained["achieved"] = _achieved(self, tuple(run), least, explained["device"])
        return Explanation({**explained, "refused": refused})

    def _threads(self, planned):
        """How many threads a call would use, where the library has planned with those of its context."""
        threads = self._options.get("threads") or _hunze._get_threads()
        # Fewer than the context has: the call is too small for more.
        return min(threads, planned) if planned < _hunze._context_threads() else threads

    def __repr__(self):
        return f"<hunze.Plan of {self._op.__name__}: {self.kernel}>"


def _achieved(chosen, operands, least, device):
    """What runs on these operands take, beside the least seconds."""
    from ._settings import meter

    result = chosen(*operands)  # what the first run loads is not counted
    keep = {"out": result} if "out" in inspect.signature(chosen._op).parameters else {}
    seconds, begin = [], time.perf_counter()
    while len(seconds) < 5 or (time.perf_counter() - begin < 0.1 and len(seconds) < 1000):
        if device != "cpu" and chosen._handle.moves is None:  # the call returns before the device is done
            with meter() as figures:
                chosen(*operands, **keep)
            seconds.append(figures["seconds"])
        else:
            start = time.perf_counter()
            chosen(*operands, **keep)
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    achieved = {"seconds": median, "runs": len(seconds)}
    if least["seconds"] is None:
        return {**achieved, "fraction": None, "why": least["why"]}
    return {**achieved, "fraction": least["seconds"] / median if median else None}


def plan(op, /, *operands, **options):
    """Chooses a kernel for op(*operands, **options) without running it: a Plan.

    >>> import numpy as np, hunze as hz
    >>> x = np.ones((1, 3, 8, 8), "float32")
    >>> hz.plan(hz.conv2d, x, np.ones((4, 3, 3, 3), "float32"), padding=1)(x, np.zeros((4, 3, 3, 3), "float32")).shape
    (1, 4, 8, 8)

    kernel=... forces a row of the kernel table by its name, or raises with the reason why it cannot run.
    """
    if op not in _PLANNED:
        names = ", ".join(f"hz.{function.__name__}" for function in _PLANNED)
        raise ValueError(f"op={op!r}; there are plans for {names}")
    out = options.pop("out", None)
    if out is not None:
        raise TypeError("out= is given when the plan is called")
    request = _hunze._PlanRequest(options.pop("kernel", None))
    handle = op(*operands, **options, kernel=request)
    if handle.moves is not None:  # packed weights need to know
        options["device"] = f"cuda:{handle.moves[0]}"
    return Plan(handle, op, options)


def explain(op, /, *operands, run=False, **options):
    """Which kernel op(*operands, **options) would run, and why: a dict that prints as a table and shows as HTML.

    "floor" is the least time that this machine's ceilings leave for the call, "transfer" what device="cuda" moves:
    Plan.explain.  With device="auto", "auto" says what is taken, and why.  run=True runs the call on the operands for
    about a tenth of a second, and "achieved" says how near to the floor that came.

    >>> import numpy as np, hunze as hz
    >>> a = np.ones((64, 64), "float32")
    >>> hz.explain(hz.matmul, a, a)["operations"]
    524288
    """
    chosen = plan(op, *operands, **options)
    explained = chosen.explain(run=operands if run else None)
    settings = _current.get()
    if (options.get("device") or (settings.device if settings is not None else None)) == "auto":
        refused = explained.pop("refused")
        explained = Explanation({**explained, "auto": _automatic(chosen, operands, options), "refused": refused})
    return explained


def _automatic(chosen, operands, options):
    """What device="auto" takes, and why."""
    from . import _ceilings, _transfer

    explained = json.loads(chosen._handle.explain())
    number = _ceilings.device()
    if explained["device"] != "cpu" and chosen._handle.moves is None:
        return {"choice": explained["device"], "why": "the operands live there"}
    if any(isinstance(operand, PackedWeights) for operand in operands):
        return {"choice": "cpu", "why": "the weights are packed for the CPU's kernels"}
    if number is None:
        return {"choice": "cpu", "why": _transfer.NONE}
    try:
        here = plan(op := chosen._op, *operands, **{**options, "device": "cpu"})
        there = plan(op, *operands, **{**options, "device": f"cuda:{number}"})
    except (NotImplementedError, ValueError, OSError, RuntimeError, MemoryError) as error:
        return {"choice": "cpu", "why": str(error)}
    here_explained = json.loads(here._handle.explain())
    threads = here._threads(here_explained["threads"])
    return _transfer.choice(here_explained, json.loads(there._handle.explain()), threads, *there._handle.moves[1:])
