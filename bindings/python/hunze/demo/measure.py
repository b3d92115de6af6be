"""The figures of the report: times per stage and per layer, hashes of logits, and what the meter counted.

Hunze and ONNX Runtime get the same number of threads and take turns within one process, so that a machine that is
busy with something else is slow for both.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

import hunze as hz
import hunze.onnx
from hunze import _hunze
from hunze._environment import untuned

from . import image

REPEATS = 9
ISAS = ("portable", "avx2", "avx512")
PRODUCTS = {"Conv", "FusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm", "FusedGemm"}
# What Hunze folds into its products, and ONNX Runtime here runs as nodes of their own.  Its additions are left out:
# some are biases and residuals, some are not.
ACTIVATIONS = {
    "Gelu",
    "BiasGelu",
    "FastGelu",
    "QuickGelu",
    "Erf",
    "Relu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "BatchNormalization",
}


def onnxruntime():
    """The module, or None if it is not installed."""
    try:
        import onnxruntime as module
    except ImportError:
        return None
    module.set_default_logger_severity(3)
    return module


def session(model: bytes, threads: int, profile: str = ""):
    """An ONNX Runtime session with this many threads that do not spin between runs."""
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@dataclass
class Series:
    """Seconds of repeated measurements."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the fastest and the slowest, as a part of the median."""
        return (max(self.seconds) - min(self.seconds)) / (2 * self.median) if self.median else 0.0


@dataclass
class Stage:
    name: str
    kernels: Series  # on Hunze
    glue: Series  # NumPy and the executor's own time
    products: Series  # of the kernels: convolutions and matrix products
    runtime: Series | None = None  # ONNX Runtime, the whole stage
    runtime_products: Series | None = None  # its convolutions and products, by its own profiler
    runtime_activations: Series | None = None  # its nodes that are part of Hunze's products

    @property
    def ratio(self) -> float:
        """Hunze's products with their activations to ONNX Runtime's time for the same."""
        return self.products.median / (self.runtime_products.median + self.runtime_activations.median)


def stage(name: str, model, inputs, other: bytes | None, threads: int, repeats: int = REPEATS) -> Stage:
    """Runs the model over all inputs `repeats` times, and ONNX Runtime on the bytes `other` in between."""
    ours = [Series() for _ in range(3)]
    theirs = session(other, threads) if other is not None and onnxruntime() else None
    runtime = Series()
    with hz.options(threads=threads):
        for repeat in range(-2, repeats):  # the first two are not counted: they prepare
            kernels = products = 0.0
            start = perf_counter()
            for x in inputs:
                model(x)
                kernels += sum(r.seconds for r in model.nodes if r.on_hunze)
                products += sum(r.seconds for r in model.nodes if r.is_product)
            total = perf_counter() - start
            start = perf_counter()
            for x in inputs if theirs else ():
                theirs.run(None, {theirs.get_inputs()[0].name: x})
            other_total = perf_counter() - start
            if repeat >= 0:
                for series, seconds in zip(ours, (kernels, total - kernels, products)):
                    series.seconds.append(seconds)
                runtime.seconds.append(other_total)
    result = Stage(name, *ours)
    if theirs:
        result.runtime = runtime
        result.runtime_products, result.runtime_activations = profiled(other, inputs, threads, repeats)
    return result


def profiled(model: bytes, inputs, threads: int, repeats: int) -> tuple[Series, Series]:
    """Seconds that ONNX Runtime spends in convolutions and products, and in activations, per repeat over all inputs."""
    with tempfile.TemporaryDirectory() as folder:
        watched = session(model, threads, str(Path(folder) / "run"))
        name = watched.get_inputs()[0].name
        for _ in range(repeats + 1):
            for x in inputs:
                watched.run(None, {name: x})
        events = json.loads(Path(watched.end_profiling()).read_text())
    runs, current = [], [0.0, 0.0]
    for event in sorted(events, key=lambda event: event["ts"] + event["dur"]):
        op = event.get("args", {}).get("op_name")
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            current[0] += event["dur"] / 1e6 * (op in PRODUCTS)
            current[1] += event["dur"] / 1e6 * (op in ACTIVATIONS)
        if event.get("name") == "model_run":
            runs.append(current)
            current = [0.0, 0.0]
    count = len(inputs)
    sums = [
        np.sum(runs[i : i + count], axis=0) for i in range(count, len(runs), count)
    ]  # the first repeat is not counted
    return tuple(Series([float(seconds[part]) for seconds in sums]) for part in (0, 1))


@dataclass
class Layer:
    record: object  # of the last run
    seconds: float  # median


def layers(model, x, threads: int, repeats: int = REPEATS) -> list[Layer]:
    """The steps of one input with their median times."""
    times = []
    with hz.options(threads=threads):
        for _ in range(repeats + 2):
            model(x)
            times.append([record.seconds for record in model.nodes])
    return [Layer(record, statistics.median(column)) for record, column in zip(model.nodes, zip(*times[2:]))]


@dataclass
class Bits:
    """One way to compute the same logits."""

    isa: str
    threads: int
    batch: int
    hash: str = ""
    refused: str = ""


def same_bits(model: bytes, lines, integer: bool) -> list[Bits]:
    """SHA-256 of the recogniser's logits of the six shortest lines, computed in every way that must not matter."""
    if not lines:
        return []
    shortest = sorted((line.pixels for line in lines), key=lambda pixels: pixels.shape[-1])[:6]
    batch = image.widen(shortest)
    batches = [1] if integer else [1, len(batch)]  # a dynamic scale is of the whole tensor: the batch is part of it
    ways = [Bits(isa, threads, size) for isa in ISAS for threads in (1, 2) for size in batches]

    def compute(way):
        try:
            with hz.options(isa=way.isa, threads=way.threads, reproducible=True):
                way.hash = digest(hunze.onnx.load(model, integer=integer), batch, way.batch)
        except (NotImplementedError, ValueError) as error:
            way.refused = str(error)

    # What runs in one thread, two at a time: the portable kernels take seconds.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compute, (way for way in ways if way.threads == 1)))
    for way in ways:
        if way.threads > 1:
            compute(way)
    return ways


def digest(model, batch, size: int) -> str:
    parts = [batch] if size == len(batch) else [np.ascontiguousarray(x[None]) for x in batch]
    state = hashlib.sha256()
    for part in parts:
        state.update(np.ascontiguousarray(model(part)[0]).tobytes())
    return state.hexdigest()


def limits() -> dict[str, float]:
    """Operations per second in 1e9 that one thread's multiply-add units reach in a loop that does nothing else, now,
    on the instruction sets that Hunze may use; {} where there is no such loop."""
    allowed = hz.info()["allowed"]
    best = {
        form: max((_hunze._peak(isa, kind, 0.05) for isa in allowed), default=0) / 1e9
        for form, kind in (("f32", "f32"), ("int8", "u8s8"))
    }
    return {form: rate for form, rate in best.items() if rate}


@dataclass
class Comparison:
    """The library itself: one call beside NumPy and ONNX Runtime."""

    code: str
    what: str
    operations: int
    seconds: dict[str, float]


COMPARE = r"""
import json, sys
from time import perf_counter
import numpy as np, hunze as hz
hz.set_num_threads(1)
rng = np.random.default_rng(1)
a, b = (rng.standard_normal((1024, 1024), dtype="float32") for _ in range(2))
x, w = rng.standard_normal((1, 64, 56, 56), dtype="float32"), rng.standard_normal((64, 64, 3, 3), dtype="float32")
def windows():
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[0].transpose(1, 2, 0, 3, 4)
    return (view.reshape(56 * 56, -1) @ w.reshape(64, -1).T).T.reshape(1, 64, 56, 56)
calls = {"matmul": {"Hunze": lambda: hz.matmul(a, b), "NumPy": lambda: a @ b},
         "conv2d": {"Hunze": lambda: hz.conv2d(x, w, padding=1), "NumPy": windows}}
try:
    import onnxruntime as ort
    from onnx import TensorProto, helper
    def one(op, shapes, **attributes):
        node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xw", shapes)]
        graph = helper.make_graph([node], "one", infos, [helper.make_empty_tensor_value_info("y")])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    product, convolution = one("MatMul", [a.shape, b.shape]), one("Conv", [x.shape, w.shape], pads=[1] * 4)
    calls["matmul"]["ONNX Runtime"] = lambda: product.run(None, {"x": a, "w": b})
    calls["conv2d"]["ONNX Runtime"] = lambda: convolution.run(None, {"x": x, "w": w})
except ImportError:
    pass
result = {}
for name, ways in calls.items():
    times = {way: [] for way in ways}
    for _ in range(10):
        for way, call in ways.items():
            start = perf_counter(); call(); times[way].append(perf_counter() - start)
    result[name] = {way: sorted(seconds[1:])[4] for way, seconds in times.items()}
print(json.dumps(result))
"""


def compare_library() -> list[Comparison]:
    """hz.matmul and hz.conv2d beside NumPy and ONNX Runtime, one thread each, in a process of their own: NumPy's
    number of threads is fixed when it is imported."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", COMPARE],
        env=untuned(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the comparison with NumPy failed: {done.stderr.strip().splitlines()[-1:]}")
    seconds = json.loads(done.stdout)
    return [
        Comparison("c = hz.matmul(a, b)", "1024 x 1024 by 1024 x 1024, float32", 2 * 1024**3, seconds["matmul"]),
        Comparison(
            "y = hz.conv2d(x, w, padding=1)",
            "1 x 64 x 56 x 56 by 64 x 64 x 3 x 3, float32",
            2 * 64 * 64 * 9 * 56 * 56,
            seconds["conv2d"],
        ),
    ]
