"""Settings of a block of code: hunze.options, threads and the meter."""

import contextlib
import os
from contextvars import ContextVar

from . import _hunze
from ._table import Table

_current = ContextVar("hunze.options", default=None)
_streams = ContextVar(
    "hunze.stream", default=None
)  # (token of the innermost stream block, the same of those around it)
_contexts = {}  # by name of the instruction set, by providers, and by what was measured of them
_retired = []  # memory of devices goes back through the context it came from
_threads = 0


def _context(isa, providers):
    """The library's context that is held to this instruction set and these providers; made once per process."""
    if isa is None and providers is None:
        return None
    measured = None
    if os.environ.get("HUNZE_PROVIDERS") if providers is None else providers:
        from . import _ceilings

        measured = _ceilings.measured()
    key = isa, providers, measured
    if key not in _contexts:
        context = _hunze._Context(*key)
        if _threads:
            context.set_threads(_threads)
        _contexts.setdefault(key, context)
    return _contexts[key]


def measure_environment():
    """What was measured of the providers that HUNZE_PROVIDERS allows, for the default context; nothing without any."""
    if not os.environ.get("HUNZE_PROVIDERS"):
        return
    from . import _ceilings

    with contextlib.suppress(ValueError, NotImplementedError):  # of the environment: the first call says it
        measured = _ceilings.measured()
        if measured is not None:
            _hunze._set_measured(measured)


def _providers(given):
    """providers= of options as the library takes it."""
    given = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(item, str) for item in given):
        raise TypeError(f"providers={given!r}: each is a name such as 'openblas', with or without =file")
    return ",".join(given)


def current_isa():
    """Name of the innermost block's instruction set, or None."""
    settings = _current.get()
    return settings.isa if settings is not None else None


def contexts():
    """The contexts that are held to an instruction set or to providers."""
    return list(_contexts.values())


def renew_contexts(change):
    """Calls change(), and lets contexts be made anew after it; blocks that are open keep theirs."""
    _retired.extend(_contexts.values())
    _contexts.clear()
    change()
    if _threads:
        _hunze._set_threads(_threads)


def enter_stream(stream):
    """From now on calls go to the stream, in this thread or task."""
    outer = _current.get()
    if outer is None:
        settings = _hunze._Settings(None, None, 0, 0, None, stream)
    else:
        settings = _hunze._Settings(
            outer.context, outer.isa, outer.flags, outer.threads, outer.device, stream, outer.providers
        )
    _hunze._use_settings()
    _streams.set((_current.set(settings), _streams.get()))


def leave_stream():
    """The end of the block that was entered last."""
    token, outer = _streams.get()
    _current.reset(token)
    _streams.set(outer)


class options:
    """Settings for the calls of a block, in this thread or task; blocks nest.

    >>> import numpy as np, hunze as hz
    >>> a = np.ones((3, 3), "float32")
    >>> with hz.options(isa="portable", threads=1, reproducible=True):
    ...     c = hz.matmul(a, a)
    >>> bool((c == 3).all())
    True

    threads       per call; None keeps the outer block's, or hz.get_num_threads()
    isa           the highest instruction set allowed: "portable", "avx2", "avxvnni", "avx512", "avx512vnni"
    reproducible  True: the same bits on every instruction set
    require_fast  True: a call that only a portable kernel would run raises RuntimeError
    device        "cuda" or "cuda:1": operands in the CPU's memory are copied over and the result back; "auto": where
                  the ceilings of `python -m hunze tune` say that this is sooner; "cpu": not
    trust_pointers
                  True: the driver is not asked whose memory a device's operands are, one call less for each.  Where
                  an imported array is wrong about its memory, that is then no ValueError: the device faults, and
                  later calls raise RuntimeError until the process restarts
    providers     other libraries that products may use: "openblas", "onednn", "auto" (both), each of the former also as
                  "openblas=/a/path/libopenblas.so"; several in a sequence; (): none.  None keeps the outer block's, or
                  HUNZE_PROVIDERS.  One is used where kernel= names its row, and where `python -m hunze tune` measured
                  it to be faster than the library's own kernel.  Its bits are its own

    Raises ValueError or NotImplementedError when the block is entered, if this CPU has no such instruction set.
    """

    __slots__ = (
        "_entered",
        "_token",
        "device",
        "isa",
        "providers",
        "reproducible",
        "require_fast",
        "threads",
        "trust_pointers",
    )

    def __init__(
        self,
        *,
        threads=None,
        isa=None,
        reproducible=None,
        require_fast=None,
        device=None,
        trust_pointers=None,
        providers=None,
    ):
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise ValueError(f"threads={threads!r} is not a positive integer")
        for name, value in (
            ("reproducible", reproducible),
            ("require_fast", require_fast),
            ("trust_pointers", trust_pointers),
        ):
            if value not in (None, True, False):
                raise TypeError(f"{name}={value!r} is neither True nor False")
        if isa is not None and not isinstance(isa, str):
            raise TypeError(f"isa={isa!r} is not a name such as 'avx2'")
        _hunze._Settings(None, None, 0, 0, device)  # ValueError for what is no device
        self.device, self.trust_pointers = device, trust_pointers
        self.threads, self.isa, self.reproducible, self.require_fast = threads, isa, reproducible, require_fast
        self.providers = providers if providers is None else _providers(providers)
        self._entered, self._token = False, None

    def __repr__(self):
        names = ("threads", "isa", "reproducible", "require_fast", "device", "trust_pointers", "providers")
        given = [f"{name}={getattr(self, name)!r}" for name in names if getattr(self, name) is not None]
        return f"hunze.options({', '.join(given)})"

    def __enter__(self):
        if self._entered:
            raise RuntimeError("this options block has been entered already; make another")
        outer = _current.get()
        flags = outer.flags if outer else 0
        for flag, value in (
            (_hunze.REPRODUCIBLE, self.reproducible),
            (_hunze.REQUIRE_FAST, self.require_fast),
            (_hunze.TRUST_POINTERS, self.trust_pointers),
        ):
            if value is not None:
                flags = flags | flag if value else flags & ~flag
        isa = self.isa or (outer.isa if outer else None)
        providers = self.providers if self.providers is not None else outer.providers if outer else None
        threads = self.threads or (outer.threads if outer else 0)
        device = self.device or (outer.device if outer else None)
        stream = outer.stream if outer else None
        settings = _hunze._Settings(_context(isa, providers), isa, flags, threads, device, stream, providers)
        _hunze._use_settings()
        self._token, self._entered = _current.set(settings), True
        return self

    def __exit__(self, *exception):
        _current.reset(self._token)
        self._entered, self._token = False, None


def set_num_threads(n):
    """Threads per call from now on, in the whole process; 0 restores what affinity and cgroup allow.

    >>> import hunze as hz
    >>> hz.set_num_threads(1)
    >>> hz.get_num_threads()
    1
    >>> hz.set_num_threads(0)
    """
    global _threads
    _hunze._set_threads(n)
    _threads = int(n)
    for context in list(_contexts.values()):
        context.set_threads(_threads)


def get_num_threads():
    """Threads that a call uses here: the innermost options block's, else the process's.

    >>> import hunze as hz
    >>> with hz.options(threads=2):
    ...     hz.get_num_threads()
    2
    """
    return _hunze._get_threads()


class meter:
    """Counts what the calls of a block used: exact operations and bytes, seconds, and joules where they can be read.

    >>> import numpy as np, hunze as hz
    >>> with hz.meter() as m:
    ...     _ = hz.matmul(np.ones((2, 3), "float32"), np.ones((3, 4), "float32"))
    >>> m["operations"]
    48

    After the block it is a mapping that prints as a table.  What the machine does not let a user read is None, with
    the reason beside it.  project is a label that is kept with the figures.  Calls are counted in the context that was
    active when the block was entered (an options block inside that names another instruction set has its own).
    """

    __slots__ = ("_meter", "_table", "project")

    def __init__(self, *, project=None):
        self.project, self._meter, self._table = project, None, None

    def __enter__(self):
        if self._meter is not None:
            raise RuntimeError("this meter is running already; make another")
        self._meter, self._table = _hunze._Meter(), None
        return self

    def __exit__(self, *exception):
        import json

        figures = json.loads(self._meter.stop())
        self._meter = None
        self._table = Table({"project": self.project, **figures} if self.project is not None else figures)

    @property
    def figures(self):
        """The figures as a dict; RuntimeError before the block has ended."""
        if self._table is None:
            raise RuntimeError("the meter's block has not ended")
        return self._table

    def __getitem__(self, name):
        return self.figures[name]

    def __repr__(self):
        return repr(self._table) if self._table is not None else "<hunze.meter that has not ended>"

    def _repr_html_(self):
        return self.figures._repr_html_()
