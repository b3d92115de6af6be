"""NumPy operands on the first GPU: its ceilings as `python -m hunze tune` measures them, and what a call takes beside
what hunze.explain says it should.

    offload.py [--small]

A RESULT line per case: seconds of hunze.matmul with device="cuda", copies included, the model's seconds, the CPU's,
and whether rows of the result have the CPU's bits.
"""

import json
import os
import statistics
import sys
import tempfile
import time

SMALL = "--small" in sys.argv[1:]
ROUNDS = 5

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # what is measured here stays out of the user's home
try:
    import hunze
    import numpy as np
    from hunze import tune
except ImportError as error:
    print("Hunze's package cannot be imported: %s" % error)
    sys.exit(77)


def say(found):
    print("RESULT " + json.dumps(found), flush=True)


def seconds_of(run):
    run()  # loads what it needs
    took = []
    for _ in range(1 if SMALL else ROUNDS):
        begin = time.perf_counter()
        run()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def product(kind, m, n, k):
    """The same call on the CPU and on the device; whether the first rows have the same bits where the order is one."""
    random = np.random.default_rng(7)
    a, b = ((random.random(shape, "float32") * 2 - 1).astype(kind) for shape in ((m, k), (k, n)))
    out = np.empty((m, n), kind)
    explained = hunze.explain(hunze.matmul, a, b, device="cuda")
    found = {"case": "numpy %s %dx%dx%d" % (kind, m, n, k), "kernel": explained["kernel"]}
    found["seconds"] = seconds_of(lambda: hunze.matmul(a, b, out=out, device="cuda"))
    found["model_seconds"] = explained["transfer"]["seconds"]
    found["slices"] = explained["transfer"]["slices"]
    exact = hunze.matmul(a[:3], b, reproducible=True)
    found["same_bits"] = bool(np.array_equal(out[:3].view("uint8"), exact.view("uint8")))
    found["cpu_seconds"] = seconds_of(lambda: hunze.matmul(a, b, out=out))
    found["auto"] = hunze.explain(hunze.matmul, a, b, device="auto")["auto"]["choice"]
    say(found)
    return found["same_bits"]


def main():
    entry = tune.measure(0.01 if SMALL else 0.1)
    tune._ceilings.prepare()
    tune._ceilings.store(entry)
    for device in entry["devices"]:
        for ceiling in device["ceilings"]:
            say(
                {
                    "case": "cuda:%d %s" % (device["id"], ceiling["name"]),
                    "rate": ceiling["rate"],
                    "unit": ceiling["unit"],
                }
            )
    if not entry["devices"]:
        print("this package finds no device")
        return 77
    sizes = [(37, 41, 70)] if SMALL else [(size, size, size) for size in (1024, 4096, 8192)]
    same = [product(kind, *size) for kind in ("float32", "float64") for size in sizes[: 2 if kind == "float64" else 3]]
    print("%d of %d have the CPU's bits" % (sum(same), len(same)))
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
