"""python -m hunze tune: measures this machine's ceilings and stores them, for the floor that hunze.explain shows.

Ceilings are multiply-adds on registers alone, for each instruction set that Hunze may use, and reading and copying
memory; each for one core and for all.  Where there is a GPU: copies to it, from it and on it, products, and calls.
Other libraries that HUNZE_PROVIDERS or --providers allows: their products beside Hunze's own, small, skinny, medium and
large ones.  Where one was faster in all rounds but one, on one core and on all, such products use it from then on in
contexts that allow it.
The file is $XDG_CACHE_HOME/hunze/ceilings-….json, one per machine (CPU, its flags, number of cores).  Nothing else
writes it, and no call measures anything by itself.
"""

import argparse
import datetime
import json
import math
import os
import sys
import time

import numpy as np

from . import _ceilings, _hunze, devices, info, matmul, options, plan
from ._table import Table

_TYPES = ("f32", "f64", "bf16", "u8s8", "u8s8_safe")
_DEVICE = (
    ("to", "bytes/s"),  # from pinned memory
    ("from", "bytes/s"),
    ("copy", "bytes/s"),  # on the device: read and written
    *((kind, "operations/s") for kind in ("f32", "f64", "bf16", "f16", "u8s8")),
    ("calls", "calls/s"),  # one small call after the other
)
# What stands for each size of products that the library tells apart: (m, n, k).
_PRODUCTS = {
    "small": ((48, 48, 48), (64, 64, 64)),
    "skinny": ((1, 2048, 2048), (8, 2048, 2048)),
    "medium": ((256, 256, 256), (512, 384, 512)),
    "large": ((1024, 1024, 1024), (2048, 512, 1024)),
}
_OPERANDS = {"f32": ("float32", "float32"), "f64": ("float64", "float64"), "u8s8": ("uint8", "int8")}
COMPARISONS = 9  # of another library with ours; the second largest ratio counts
ROUNDS = 3  # of each measurement; the best counts, because other programs only ever take away


def measurements(allowed, cores, seconds):
    """(name, unit, function of the number of cores) for each ceiling."""
    # bf16 without instructions of its own is f32's multiply-add; one core in CPU seconds, several on the wall.
    for kind in _TYPES:
        for isa in allowed:
            if _hunze._peak(isa, kind, 0.0) > 0:
                yield (
                    f"{kind} {isa}",
                    "operations/s",
                    lambda threads, isa=isa, kind=kind: (
                        _hunze._peak(isa, kind, seconds)
                        if threads == 1
                        else _hunze._peak_all(isa, kind, threads, seconds)
                    ),
                )
    for copy, name in enumerate(("read", "copy")):
        yield name, "bytes/s", lambda threads, copy=copy: _hunze._bandwidth(copy, threads, seconds)


def measure(seconds, say=lambda text: None):
    """The entry of this machine, each ceiling measured for about `seconds`, for one core and for all."""
    about, cores = info(), _ceilings.machine()["cores"]
    load = os.getloadavg()[0]
    planned = list(measurements(about["allowed"], cores, seconds / ROUNDS))
    best = [[0.0, 0.0] for _ in planned]
    for turn in range(ROUNDS):
        for index, (name, _, rate) in enumerate(planned):
            say(f"{turn * len(planned) + index + 1} of {ROUNDS * len(planned)}: {name}")
            for column, threads in enumerate((1, cores)):
                best[index][column] = max(best[index][column], rate(threads) if column == 0 or cores > 1 else 0.0)
    ceilings = []
    for (name, unit, _), (one, every) in zip(planned, best):
        if not one or (cores > 1 and not every):
            raise RuntimeError(f"{name} could not be measured: no memory or no threads")
        ceilings.append({"name": name, "unit": unit, "one": one, "all": every or one})
    return {
        "schema": _ceilings.SCHEMA,
        "machine": _ceilings.machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": about["version"],
        "seconds": seconds,
        "load": load,
        "ceilings": ceilings,
        "devices": measure_devices(seconds, say),
        "providers": measure_providers(seconds, say),
    }


def measure_devices(seconds, say=lambda text: None):
    """The ceilings of every device, each measured for about `seconds`."""
    entries = []
    for device in devices()["devices"]:
        if not device["kernels"]:
            continue
        number, ceilings = device["id"], []
        for what, unit in _DEVICE:
            say(f"cuda:{number}: {what}")
            rate = _hunze._device_rate(number, what, seconds)
            if rate > 0:  # else there is no kernel
                ceilings.append({"name": what, "unit": unit, "rate": rate})
        entries.append({"id": number, "name": device["name"], "ceilings": ceilings})
    return entries


def _rate(call, seconds):
    """Seconds of one call, of as many as fit into `seconds`."""
    count, begin = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - begin < seconds:
        call()
        count += 1
    return (time.perf_counter() - begin) / count


def _ratio(kernel, types, extents, threads, seconds):
    """What another library's kernel takes for a product, as a ratio to our own; None if it does not take it."""
    m, n, k = extents
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 9, shape).astype(dtype) for shape, dtype in zip(((m, k), (k, n)), types))
    try:
        theirs = plan(matmul, a, b, kernel=kernel, threads=threads)
    except NotImplementedError:
        return None
    with options(providers=()):
        ours = plan(matmul, a, b, threads=threads)
    d, ratios = theirs(a, b), []
    part = seconds / (4 * COMPARISONS)
    for _ in range(COMPARISONS):
        calls = [lambda: ours(a, b, out=d), lambda: theirs(a, b, out=d)]
        first, second, third, fourth = (_rate(calls[which], part) for which in (0, 1, 1, 0))
        ratios.append((second + third) / (first + fourth))
    return sorted(ratios)[-2]


def measure_providers(seconds, say=lambda text: None):
    """Of each kernel of a library that is allowed and found: its seconds for products of each size, in thousandths of
    those of our own kernel; the largest over shapes and numbers of threads."""
    about, entries = info(), []
    found = {provider["name"]: provider["version"] for provider in about["providers"] if provider["version"]}
    for kernel in about["kernels"]:
        if kernel["isa"] != "provider":
            continue
        _, types, provider = kernel["name"].split("_")
        if provider not in found:
            continue
        for size, shapes in _PRODUCTS.items():
            say(f"{kernel['name']}: {size} products")
            ratios = [
                _ratio(kernel["name"], _OPERANDS[types], extents, threads, seconds)
                for extents in shapes
                for threads in {1, about["cores"]}
            ]
            if None not in ratios:
                entries.append(
                    {
                        "kernel": kernel["name"],
                        "size": size,
                        "thousandths": max(1, math.ceil(1000 * max(ratios))),
                        "version": found[provider],
                    }
                )
    return entries


def shown(entry, file):
    """The entry as a table."""
    machine, table = entry["machine"], {}
    table["machine"] = f"{machine['cpu']}, {machine['cores']} cores"
    table["measured"] = f"{entry['date']}, load average {entry['load']:.1f}"
    table["file"] = file
    for ceiling in entry["ceilings"]:
        unit = _ceilings.UNITS[ceiling["unit"]]
        one, every = ceiling["one"] / 1e9, ceiling["all"] / 1e9
        table[ceiling["name"]] = f"{one:8.1f} {unit} one core, {every:8.1f} {unit} all"
    for kernel in entry.get("providers", ()):
        ratio = f"{kernel['thousandths'] / 1000:8.3f} of the seconds of Hunze's own kernel"
        table[f"{kernel['kernel']} {kernel['size']}"] = f"{ratio} ({kernel['version']})"
    for device in entry.get("devices", ()):
        table[f"cuda:{device['id']}"] = device["name"]
        for ceiling in device["ceilings"]:
            unit, rate = _ceilings.UNITS.get(ceiling["unit"]), ceiling["rate"]
            text = f"{rate / 1e9:8.1f} {unit}" if unit else f"{1e6 / rate:8.1f} us each"
            table[f"cuda:{device['id']} {ceiling['name']}"] = text
    return Table(table)


def _print(entry, file, as_json):
    print(json.dumps(entry, indent=1, ensure_ascii=False) if as_json else shown(entry, file))
    return 0


def main(argv=None):
    """The command line; returns the exit status."""
    summary, method = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m hunze tune",
        description=summary.removeprefix("python -m hunze tune: ").capitalize(),
        epilog=method.strip(),
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--show", action="store_true", help="print what is stored for this machine; measure nothing")
    action.add_argument("--forget", action="store_true", help="remove what is stored for this machine")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--providers", help="other libraries to measure: openblas, onednn or auto, as HUNZE_PROVIDERS")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each ceiling (default: 0.5)")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds <= 60:
        parser.error("--seconds is a number above 0, at most 60")
    try:
        if arguments.forget:
            file = _ceilings.forget()
            print(f"removed {file}" if file else "nothing is stored for this machine")
            return 0
        if arguments.show:
            entry, why = _ceilings.load()
            if entry is None:
                print(f"python -m hunze tune: {why}", file=sys.stderr)
                return 1
            return _print(entry, _ceilings.path(), arguments.json)
        _ceilings.prepare()  # before the measurements, which take seconds
    except OSError as error:
        parser.error(f"ceilings cannot be {'removed' if arguments.forget else 'stored'}: {error}")
    load = os.getloadavg()[0]
    if load > 0.3 * _ceilings.machine()["cores"]:
        text = f"the load average is {load:.1f}: other programs take their part; ceilings are best measured alone"
        print(f"- {text}", file=sys.stderr)
    try:
        with options(providers=arguments.providers):
            entry = measure(arguments.seconds, lambda text: print(f"- {text}", file=sys.stderr, flush=True))
        file = _ceilings.store(entry)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        print(f"python -m hunze tune: {error}", file=sys.stderr)
        return 1
    return _print(entry, file, arguments.json)
