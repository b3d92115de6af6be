"""hunze.test(): operations against longer floats or exact integers in NumPy, on each instruction set of this CPU."""

import numpy as np

from . import _hunze, _operations
from ._settings import options
from ._weights import QArray

_SHAPES = [(1, 1, 1), (4, 4, 4), (7, 33, 65), (129, 48, 517), (1, 300, 70), (64, 1, 9)]


def _bound(magnitude, k, unit):
    """The error bound of a sum of k products in any order (docs/NUMERICS.md, "Bounds")."""
    return (k + 2) * unit / (1 - (k + 2) * unit) * magnitude


def _floats(random, dtype, unit):
    for m, n, k in _SHAPES:
        a, b = (random.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
        wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
        got = _hunze.matmul(a, b, reproducible=True)
        good = np.abs(got - wide_a @ wide_b) <= _bound(abs(wide_a) @ abs(wide_b), k, unit)
        yield f"matmul {dtype} {m}x{n}x{k}", good, got


def _integers(random):
    for m, n, k in _SHAPES:
        for code in ("uint8", "int8"):
            limits = np.iinfo(code)
            a = random.integers(limits.min, limits.max, (m, k), code, endpoint=True)
            b = random.integers(-128, 127, (k, n), "int8", endpoint=True)
            got = _hunze.matmul(a, b)
            yield f"matmul {code} {m}x{n}x{k}", got == a.astype("int32") @ b.astype("int32"), got


def _convolutions(random):
    for groups, channels in ((1, 5), (5, 5), (2, 6)):
        x = random.standard_normal((2, channels, 9, 11)).astype("float32")
        w = random.standard_normal((2 * groups * 3, channels // groups, 3, 3)).astype("float32")
        got = _operations.conv2d(x, w, padding=[(1, 0), (0, 2)], stride=(2, 1), groups=groups, reproducible=True)
        padded = np.pad(x.astype("float64"), [(0, 0), (0, 0), (1, 0), (0, 2)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2]
        parts, sizes = [], []
        for wide, taps in zip(np.split(windows, groups, 1), np.split(w.astype("float64"), groups, 0), strict=True):
            parts.append(np.einsum("nchwrs,kcrs->nkhw", wide, taps))
            sizes.append(np.einsum("nchwrs,kcrs->nkhw", abs(wide), abs(taps)))
        want, magnitude = np.concatenate(parts, 1), np.concatenate(sizes, 1)
        good = np.abs(got - want) <= _bound(magnitude, 9 * channels, 2.0**-24)
        yield f"conv2d float32 groups={groups}", good, got


def _quantised(random):
    x = random.standard_normal((6, 40)).astype("float32")
    q = _operations.quantize(x)
    back = _operations.dequantize(q)
    yield "quantize int8", np.abs(back - x) <= 0.5001 * q.scale, q.codes
    w = QArray(random.integers(-127, 127, (9, 40), "int8"), np.linspace(0.01, 0.1, 9, dtype="float32"), axis=0)
    got = _hunze.linear(q, w)
    exact = (q.codes.astype("float64") @ w.codes.T.astype("float64")) * (float(q.scale) * w.scale.astype("float64"))
    yield "linear of QArrays", np.abs(got - exact) <= 4e-7 * np.abs(exact) + 1e-30, got


def _cases(random):
    yield from _floats(random, "float32", 2.0**-24)
    yield from _floats(random, "float64", 2.0**-53)
    yield from _integers(random)
    yield from _convolutions(random)
    yield from _quantised(random)


def _isas():
    """Names of the instruction sets that this CPU has, the portable one first."""
    for name in ("portable", "avx2", "avxvnni", "avx512", "avx512vnni"):
        try:
            with options(isa=name):
                yield name
        except NotImplementedError:
            pass


def run(verbose):
    """Runs all cases on each instruction set; True if none fails and all have the same bits."""
    failures, reference = 0, {}
    for isa in list(_isas()):
        count = 0
        with options(isa=isa):
            for name, good, got in _cases(np.random.default_rng(1)):
                count += 1
                same = reference.setdefault(name, got.tobytes()) == got.tobytes()
                if not (np.all(good) and same):
                    failures += 1
                    if verbose:
                        what = "other bits than the portable kernels" if np.all(good) else "wrong"
                        print(f"{isa}: {name}: {what}")
        if verbose:
            print(f"{isa}: {count} checks")
    if verbose:
        print("all right, and the same bits on each" if not failures else f"{failures} checks failed")
    return failures == 0
