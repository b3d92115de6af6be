"""python -m hunze bench: ratios to this machine's limits and to other libraries, measured in turns within one run.

One thread is measured in CPU seconds (other programs' time slices do not count), several on the wall.  What has a
thread pool of its own runs in a process of its own with the number of threads set.  In each round everything that is
compared takes its turn, as the mean of five calls; each figure is the median over rounds of the ratio within a round,
and the spread is from the first to the third quartile.
"""

import argparse
import contextlib
import errno
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

from . import _hunze, get_library_dir, info, options, plan
from ._environment import untuned

CALLS = 5  # of a kind, one after the other: a round's sample is their mean
_ISAS = ("avx512vnni", "avx512", "avxvnni", "avx2")


# ---------------------------------------------------------------- cases, measured in a worker process


def _product(library, kind, n):
    """A call of one n x n x n product, and the operations that it takes."""
    random = np.random.default_rng(0)
    if kind == "u8s8":
        a, b = random.integers(0, 255, (n, n), "uint8", endpoint=True), random.integers(-128, 127, (n, n), "int8")
        out = np.empty((n, n), "int32")
    else:
        dtype = {"f32": "float32", "f64": "float64"}[kind]
        a, b = random.standard_normal((2, n, n)).astype(dtype)
        out = np.empty((n, n), dtype)
    if library == "numpy":
        return lambda threads: np.matmul(a, b, out=out)
    return lambda threads: _hunze.matmul(a, b, out=out, threads=threads)


def _convolution(library, x_shape, w_shape, padding):
    """A call of one float32 convolution, channels first."""
    random = np.random.default_rng(0)
    x, w = random.standard_normal(x_shape).astype("float32"), random.standard_normal(w_shape).astype("float32")
    if library == "hunze":
        from . import conv2d, pack

        packed, out = pack(conv2d, w), conv2d(x, w, padding=padding)
        return lambda threads: conv2d(x, packed, padding=padding, out=out, threads=threads)
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[padding] * 4)
    given = helper.make_tensor("w", TensorProto.FLOAT, w_shape, w.ravel())
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "conv", infos[:1], infos[1:], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    return lambda threads: session.run(None, {"x": x})


def _worker():
    """Answers each request line {"case": [name, *arguments], "threads", "repeat", "isa", "wall"} with its seconds."""
    cases = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = json.dumps([request["case"], request["isa"]])
        with options(isa=request["isa"]):
            if key not in cases:
                name, *arguments = request["case"]
                cases[key] = (_product if name == "product" else _convolution)(*arguments)
                cases[key](request["threads"])
            call, clock = cases[key], time.perf_counter if request["wall"] else time.thread_time
            start = clock()
            for _ in range(request["repeat"]):
                call(request["threads"])
            seconds = (clock() - start) / request["repeat"]
        print(seconds, flush=True)


class Worker:
    """A process that measures; one request at a time."""

    def __init__(self, threads=1):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from hunze import bench; bench._worker()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=untuned(threads),
            process_group=0,  # the terminal's interrupt is for the caller, who ends this
        )

    def ask(self, *case, threads=1, repeat=1, isa=None, wall=False):
        """Sends a request; wall: seconds on the wall instead of the thread's CPU seconds."""
        request = {"case": case, "threads": threads, "repeat": repeat, "isa": isa, "wall": wall}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self):
        """Seconds per call of the request that was sent."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a measuring process ended early; its error stands above")
        return float(line)

    def measure(self, *case, **how):
        """Sends a request and waits."""
        self.ask(*case, **how)
        return self.answer()

    def close(self):
        """Ends the process, also within a measurement."""
        self.process.kill()
        self.process.communicate()


# ---------------------------------------------------------------- figures


def _peak(kind, allowed, seconds):
    """The highest rate of multiply-adds that the allowed instruction sets reach on registers."""
    return max((_hunze._peak(isa, kind, seconds) for isa in _ISAS if isa in allowed), default=0.0)


def _rounds(count, once):
    return [once() for _ in range(count)]


def _figure(name, ratios, goal, higher, detail):
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    met = bool(middle >= goal if higher else middle <= goal) if goal is not None else None
    return {
        "figure": name,
        "ratio": float(middle),
        "spread": [float(low), float(high)],
        "rounds": len(ratios),
        "goal": (f"{'≥' if higher else '≤'} {goal:g}" if goal is not None else None),
        "met": met,
        "detail": detail,
    }


def _against_peak(worker, kind, n, isa, goal, rounds):
    allowed = info()["allowed"]
    if isa is not None:
        allowed = allowed[: allowed.index(isa) + 1]
    operations, rates, peaks = 2 * n**3, [], []

    def once():
        before = _peak(kind, allowed, 0.02)
        rate = operations / worker.measure("product", "hunze", kind, n, isa=isa, repeat=CALLS)
        peak = (before + _peak(kind, allowed, 0.02)) / 2  # the clock may change within a round
        rates.append(rate)
        peaks.append(peak)
        return rate / peak

    ratios = _rounds(rounds, once)
    rate, peak = statistics.median(rates) / 1e9, statistics.median(peaks) / 1e9
    label = f"{kind} {n}³, one thread / multiply-add peak" + (f" of {isa}" if isa else "")
    return _figure(label, ratios, goal, True, f"{rate:.1f} of {peak:.1f} Gop/s")


def _two_threads(workers, n, rounds):
    def once():
        together = workers[0].measure("product", "hunze", "f32", n, threads=2, repeat=CALLS, wall=True)
        for worker in workers:
            worker.ask("product", "hunze", "f32", n, repeat=CALLS, wall=True)
        alone = [worker.answer() for worker in workers]
        return (1 / together) / sum(1 / seconds for seconds in alone)

    return _figure(f"f32 {n}³, two threads / two processes of one", _rounds(rounds, once), 0.92, True, "throughput")


def _ratio(worker, name, mine, other, goal, higher, rounds, how=None):
    """other's time over mine (higher is better), or mine over other's."""
    times = {"mine": [], "other": []}

    def once():
        first = worker.measure(*mine[0], **mine[1], repeat=CALLS)
        second = (how or worker).measure(*other[0], **other[1], repeat=CALLS)
        times["mine"].append(first)
        times["other"].append(second)
        return second / first if higher else first / second

    ratios = _rounds(rounds, once)
    detail = f"{1e3 * statistics.median(times['mine']):.2f} ms against {1e3 * statistics.median(times['other']):.2f} ms"
    return _figure(name, ratios, goal, higher, detail)


def _small_call(rounds):
    """4 x 4 with out=, in this process: neither library starts a thread for it."""
    a, b, c = (np.ones((4, 4), "float32") for _ in range(3))
    mine, other, times = _hunze.matmul, np.matmul, {"mine": [], "other": []}

    def nanoseconds(function, count=5000):
        start = time.thread_time_ns()
        for _ in range(count):
            function(a, b, out=c)
        return (time.thread_time_ns() - start) / count

    def once():
        times["mine"].append(nanoseconds(mine))
        times["other"].append(nanoseconds(other))
        return times["mine"][-1] / times["other"][-1]

    ratios = _rounds(4 * rounds, once)
    detail = f"{statistics.median(times['mine']):.0f} ns against {statistics.median(times['other']):.0f} ns"
    return _figure("f32 4³ matmul(out=) / numpy.matmul(out=)", ratios, 1.0, False, detail)


def _import_time(rounds):
    """Seconds of CPU that `import hunze` takes after `import numpy`."""
    script = "import numpy, time; t = time.process_time(); import hunze; print(time.process_time() - t)"

    def once():
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return 1000 * float(result.stdout)

    return _figure("import of hunze over numpy's, ms", _rounds(rounds, once), 50, False, "CPU time")


def _library_size():
    megabytes = os.path.getsize(os.path.join(get_library_dir(), "libhunze.so.1")) / 1e6
    with_cuda = any(kernel["isa"].startswith("cuda") for kernel in info()["kernels"])
    limit, detail = (7.2, "4.2 of the limit are for the GPU's code") if with_cuda else (3, "without CUDA")
    return _figure("libhunze.so, MB", [megabytes], limit, False, detail)


def _have(*names):
    from importlib.util import find_spec

    return all(find_spec(name) for name in names)


def figures(rounds, n, say):
    """Yields each figure as it is measured."""
    allowed = info()["allowed"]
    cores = len(os.sched_getaffinity(0))
    workers = [Worker(), Worker()]
    one = workers[0]
    mine = (("product", "hunze", "f32", n), {})
    try:
        if "avx2" in allowed:
            say("one thread against the peak")
            yield _against_peak(one, "f32", n, None, 0.85, rounds)
            yield _against_peak(one, "f64", n, None, None, rounds)
            vnni = {"avx512vnni", "avxvnni"} & set(allowed)
            yield _against_peak(one, "u8s8", n, None, 0.80 if vnni else None, rounds)
            u8s8 = ("product", "hunze", "u8s8", n), {"isa": "avx2"}
            f32 = ("product", "hunze", "f32", n), {"isa": "avx2"}
            yield _ratio(one, f"u8s8 {n}³ over f32, both on avx2", u8s8, f32, 1.2, True, rounds)
        say("several threads")
        if cores >= 2:
            yield _two_threads(workers, n, rounds)
        say("other libraries")
        theirs = (("product", "numpy", "f32", n), {})
        yield _ratio(one, f"f32 {n}³, one thread, over numpy.matmul", mine, theirs, None, True, rounds, workers[1])
        if _have("onnx", "onnxruntime"):
            shape = [1, 64, 56, 56], [64, 64, 3, 3], 1
            hunze, theirs = (("conv", "hunze", *shape), {}), (("conv", "onnxruntime", *shape), {})
            name = "conv2d 3x3 of 64 channels, time / ONNX Runtime's"
            yield _ratio(one, name, hunze, theirs, 1.3, False, rounds, workers[1])
        say("small things")
        yield _small_call(rounds)
        yield _import_time(max(rounds // 2, 3))
        yield _library_size()
    finally:
        for worker in workers:
            worker.close()


def _head(machine, size):
    """Prints what stands above the figures."""
    print(f"Hunze {machine['version']}, NumPy {machine['numpy']}, {machine['cpu']}, {', '.join(machine['allowed'])}")
    sample = np.empty((size, size), "float32")
    print(f"f32 kernel: {plan(_hunze.matmul, sample, sample).kernel}; load average {os.getloadavg()[0]:.1f}\n")
    print(f"{'figure':<52} {'ratio':>8}  {'first … third quartile':<22}  {'goal':<7} {'':<6}  measured")


def _line(figure):
    """Prints a figure."""
    met = {True: "met", False: "MISSED", None: ""}[figure["met"]]
    spread = "{:.3f} … {:.3f}".format(*figure["spread"])
    print(
        f"{figure['figure']:<52} {figure['ratio']:>8.3f}  {spread:<22}  {figure['goal'] or '':<7} {met:<6}  "
        f"{figure['detail']}",
        flush=True,
    )


def _gate(other, parser):
    """Compares the build in the folder `other` with the installed library, by hunze_bench; its exit status."""
    library = next((path for name in ("libhunze.so.1", "libhunze.so") if (path := other / name).exists()), None)
    if library is None:
        parser.error(f"--gate {other}: there is no libhunze.so; a folder that CMake built in is expected")
    # The other build's may be of another time, and compare in another way.
    folders = (pathlib.Path("build", "bench"), pathlib.Path("build", "gcc"), other)
    program = next((path for folder in folders if (path := folder / "hunze_bench").exists()), None)
    if program is None:
        listed = ", ".join(map(str, folders))
        parser.error(f"no hunze_bench in {listed}; cmake --preset bench and cmake --build build/bench make it")
    mine = os.path.join(get_library_dir(), "libhunze.so.1")
    with subprocess.Popen([program.absolute(), "--gate", library.absolute(), "--library", mine]) as process:
        try:
            try:
                return process.wait()
            except KeyboardInterrupt:  # it ends the block at hand, and prints what it has
                process.send_signal(signal.SIGINT)
                process.wait()
                raise
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def _whole(path):
    """A file to write into, which takes the place of the one at `path` when the block ends well and not before."""
    if os.path.exists(path) and not os.path.isfile(path):  # a terminal or a pipe; a folder cannot be opened
        with open(path, "w", encoding="utf-8") as file:
            yield file
        return
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            yield file
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def main(argv=None):
    """The command line; 0, or 1: with --check where a goal is missed, with --gate where this build is slower."""
    summary, method = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m hunze bench",
        description=summary.removeprefix("python -m hunze bench: ").capitalize(),
        epilog=method.strip() + "  Ratios to onnxruntime are measured where onnx and onnxruntime are installed.",
    )
    parser.add_argument("--rounds", type=int, help="rounds per figure (default: 9)")
    parser.add_argument("--size", type=int, help="n of the n x n x n products (default: 1024)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too, with the machine's description")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a figure misses its goal")
    parser.add_argument(
        "--gate",
        metavar="DIR",
        type=pathlib.Path,
        help="compare the installed library with the one built in DIR, kernel by kernel, but for calls over 60 ms; "
        "status 1 if it is slower, 2 if nothing was compared; no other option goes with it",
    )
    arguments = parser.parse_args(argv)
    if arguments.gate:
        for name in ("rounds", "size", "json", "check"):
            if getattr(arguments, name) not in (None, False):
                parser.error(f"--{name} does not go with --gate")
        return _gate(arguments.gate, parser)
    arguments.rounds = 9 if arguments.rounds is None else arguments.rounds
    arguments.size = 1024 if arguments.size is None else arguments.size
    if arguments.rounds < 1 or arguments.size < 1:
        parser.error("--rounds and --size are positive")
    with contextlib.ExitStack() as stack:
        try:  # before the measurements, which take minutes
            file = stack.enter_context(_whole(arguments.json)) if arguments.json else None
        except OSError as error:
            parser.error(f"{arguments.json} cannot be written: {error.strerror}")
        machine, results = info(), []
        _head(machine, arguments.size)
        for figure in figures(arguments.rounds, arguments.size, lambda text: print(f"- {text}", file=sys.stderr)):
            results.append(figure)
            _line(figure)
        if file is not None:
            json.dump({"machine": machine, "figures": results}, file, indent=1, ensure_ascii=False)
            file.write("\n")
    return 1 if arguments.check and any(figure["met"] is False for figure in results) else 0
