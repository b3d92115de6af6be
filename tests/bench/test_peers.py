"""bench/peers/worker.py and the peers with a Python interface: the protocol, and that what they compute is right.

NumPy and ONNX Runtime run in the interpreter of the tests, every peer in build/peers where that exists."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "bench" / "peers"
ENVIRONMENT = ROOT / "build" / "peers" / "bin" / "python"
TORCH = ROOT / "build" / "peers" / "peers_torch.txt"  # begins with the reason where make bench could not install torch
TYPES = {
    "f32": ("f4", "f4"),
    "f64": ("f8", "f8"),
    "bf16": (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "u8s8": ("u1", "i1"),
    "s8s8": ("i1", "i1"),
    "w4": ("f4", "u1"),
    "w8": ("f4", "u1"),
}
RESULT = {"f32": "f4", "f64": "f8", "s32": "i4", "bf16": ml_dtypes.bfloat16}
COPIES = 2


def gemm(dtype, m, n, k, batch=1, trans_b=False, packed_b=False):
    """A row as the coordinator describes it."""
    group_size = int(dtype.partition("g")[2]) if dtype[0] == "w" else 0
    return dict(
        id="t", op="gemm", dtype=dtype, threads=1, copies=COPIES, m=m, n=n, k=k, batch=batch, trans_b=trans_b,
        packed_b=packed_b, group_size=group_size,
    )  # fmt: skip


def conv(dtype, shape, filters, kernel, stride=1, pad=0, groups=1):
    """A row as the coordinator describes it; shape (images, channels, height, width)."""
    images, channels, height, width = shape
    return dict(
        id="t", op="conv", dtype=dtype, threads=1, copies=COPIES, images=images, channels=channels, height=height,
        width=width, filters=filters, kernel_height=kernel[0], kernel_width=kernel[1], stride=stride, pad=pad,
        groups=groups, out_height=(height + 2 * pad - kernel[0]) // stride + 1,
        out_width=(width + 2 * pad - kernel[1]) // stride + 1,
    )  # fmt: skip


ROWS = {
    "f32": gemm("f32", 5, 7, 9),
    "f32 T": gemm("f32", 5, 7, 9, trans_b=True),
    "f32 batch": gemm("f32", 5, 7, 9, batch=3),
    "f32 batch T": gemm("f32", 5, 7, 9, batch=3, trans_b=True),
    "f32 packed": gemm("f32", 17, 24, 40, packed_b=True),
    "f32 T packed": gemm("f32", 17, 24, 40, trans_b=True, packed_b=True),
    "f64": gemm("f64", 5, 7, 9),
    "bf16": gemm("bf16", 5, 16, 32, batch=2),
    "bf16 packed": gemm("bf16", 1, 16, 64, packed_b=True),
    "u8s8": gemm("u8s8", 5, 16, 32),
    "u8s8 packed": gemm("u8s8", 18, 32, 64, packed_b=True),
    "s8s8 packed": gemm("s8s8", 18, 32, 64, packed_b=True),
    "w4g32": gemm("w4g32", 3, 64, 128, packed_b=True),
    "w4g32, part of a group": gemm("w4g32", 3, 64, 100, packed_b=True),
    "w4g128": gemm("w4g128", 1, 64, 256, packed_b=True),
    "w8g128": gemm("w8g128", 3, 64, 256, packed_b=True),
    "conv f32": conv("f32", (2, 8, 9, 11), 16, (3, 3), pad=1),
    "conv f32 /2": conv("f32", (1, 3, 13, 11), 8, (5, 3), stride=2, pad=2),
    "conv f32 dw": conv("f32", (1, 16, 9, 9), 16, (3, 3), pad=1, groups=16),
    "conv bf16": conv("bf16", (1, 16, 7, 7), 16, (3, 3), pad=1),
    "conv u8s8": conv("u8s8", (1, 16, 7, 7), 16, (3, 3), pad=1),
    "conv u8s8 dw": conv("u8s8", (1, 16, 9, 9), 16, (3, 3), stride=2, pad=1, groups=16),
}
# What each peer must do at least: row: names of ways.  The rows that are not here it must refuse, and say why.
ORT_NBITS = {"MatMulNBits accuracy_level=4", "MatMulNBits accuracy_level=0"}
TORCH_CONV = {"contiguous", "channels_last", "onednn packed", "onednn packed channels_last"}
TORCH_INT4 = {"int4, bf16 activations", "int4, f32 activations"}
EXPECTED = {
    "numpy": {
        "f32": {"matmul", "dot"},
        "f32 T": {"matmul", "dot"},
        "f32 batch": {"matmul"},
        "f32 batch T": {"matmul"},
        "f32 packed": {"matmul", "dot"},
        "f32 T packed": {"matmul", "dot"},
        "f64": {"matmul", "dot"},
    },
    "onnxruntime": {
        "f32": {"MatMul", "Gemm"},
        "f32 T": {"MatMul", "Gemm"},
        "f32 batch": {"MatMul"},
        "f32 batch T": {"MatMul"},
        "f32 packed": {"MatMul", "Gemm"},
        "f32 T packed": {"MatMul", "Gemm"},
        "f64": {"MatMul", "Gemm"},
        "u8s8": {"MatMulInteger"},
        "u8s8 packed": {"MatMulInteger"},
        "s8s8 packed": {"MatMulInteger"},
        "w4g32": ORT_NBITS,
        "w4g32, part of a group": ORT_NBITS,
        "w4g128": ORT_NBITS,
        "w8g128": ORT_NBITS,
        "conv f32": {"Conv", "Conv NCHW"},
        "conv f32 /2": {"Conv", "Conv NCHW"},
        "conv f32 dw": {"Conv", "Conv NCHW"},
        "conv u8s8": {"ConvInteger"},
        "conv u8s8 dw": {"ConvInteger"},
    },
    "torch": {
        "f32": {"mm", "matmul"},
        "f32 T": {"mm", "matmul"},
        "f32 batch": {"bmm", "matmul"},
        "f32 batch T": {"bmm", "matmul"},
        "f32 packed": {"mm", "matmul", "onednn packed", "mkl packed"},
        "f32 T packed": {"mm", "matmul", "onednn packed", "mkl packed"},
        "f64": {"mm", "matmul"},
        "bf16": {"bmm", "matmul"},
        "bf16 packed": {"mm", "matmul"},  # and "onednn packed" on a CPU for which oneDNN has bf16
        "u8s8 packed": {"onednn quantised, f32 result", "fbgemm dynamic, f32 in and out"},
        "s8s8 packed": {"_int_mm", "onednn quantised, f32 result"},
        "w4g32": TORCH_INT4,
        "w4g128": TORCH_INT4,
        "conv f32": TORCH_CONV,
        "conv f32 /2": TORCH_CONV,
        "conv f32 dw": TORCH_CONV,
        "conv bf16": {"contiguous", "channels_last"},
        "conv u8s8": {"onednn quantised channels_last, f32 result"},
        "conv u8s8 dw": {"onednn quantised channels_last, f32 result"},
    },
    "numkong": {
        "f32 packed": {"packed, sums in f64"},
        "f32 T packed": {"packed, sums in f64"},
        "bf16 packed": {"packed"},
        "s8s8 packed": {"packed"},
    },
    "ggml": {
        "f32 T": {"f32"},
        "f32 batch T": {"f32"},
        "f32 packed": {"f32"},
        "f32 T packed": {"f32"},
        "bf16 packed": {"bf16"},
        "w4g32": {"Q4_0, f16 scales", "Q4_0, f16 scales, CPU_REPACK"},
        "w4g128": {"Q4_0, f16 scales", "Q4_0, f16 scales, CPU_REPACK"},
        "w8g128": {"Q8_0, f16 scales"},
    },
}


class Session:
    """A worker, and requests to it."""

    def __init__(self, name, python=sys.executable, threads=1, path=None):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
        if path:
            environment["PYTHONPATH"] = str(path)
        self.process = subprocess.Popen(
            [str(python), str(PEERS / "worker.py"), name, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def line(self, text):
        """The answer to a line."""
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the worker ended, status %s" % self.process.wait()
        return json.loads(answer)

    def ask(self, do, **request):
        """The answer to a request."""
        return self.line(json.dumps(dict(do=do, **request)))

    def end(self):
        """Ends the input; the exit status."""
        self.process.stdin.close()
        try:
            return self.process.wait(60)
        finally:
            self.process.stdout.close()


@pytest.fixture
def start():
    """Starts workers that end with the test, and must end well."""
    sessions = []

    def make(*arguments, **options):
        sessions.append(Session(*arguments, **options))
        return sessions[-1]

    yield make
    statuses = [session.end() for session in sessions]
    assert statuses == [0] * len(sessions)


class Operands:
    """The files of a row, and the exact results for each copy of b.

    Integers are small enough that no engine saturates its 16-bit sums: u8 below 128, s8 in [-64, 64)."""

    def __init__(self, row, folder):
        self.row, self.folder = row, folder
        random = np.random.default_rng(7)
        kind = row["dtype"].partition("g")[0] if row.get("group_size") else row["dtype"]
        if row["op"] == "gemm":
            m, n, k, batch, group = (row[name] for name in ("m", "n", "k", "batch", "group_size"))
            a_shape, d_shape = (batch, m, k), (batch, m, n)
            b_shape = (batch, n, k) if row["trans_b"] or group else (batch, k, n)
        else:
            a_shape = tuple(row[name] for name in ("images", "channels", "height", "width"))
            b_shape = row["filters"], row["channels"] // row["groups"], row["kernel_height"], row["kernel_width"]
            d_shape = row["images"], row["filters"], row["out_height"], row["out_width"]
        a_type, b_type = TYPES[kind]

        def values(dtype, shape, limits):
            if np.dtype(dtype).kind in "iu":
                return random.integers(*limits, shape).astype(dtype)
            return random.uniform(-1, 1, shape).astype(dtype)

        limits = {"w4": (0, 16), "w8": (0, 256)}
        a = values(a_type, a_shape, (0, 128) if a_type == "u1" else (-64, 64))
        if kind == "u8s8":
            a.flat[:2] = 0, 255  # the whole range of a dynamic quantisation: its scale is 1
        copies = [values(b_type, b_shape, limits.get(kind, (-64, 64))) for _ in range(COPIES)]
        scales = random.uniform(1, 2, (n, -(-k // group))).astype("f4") / 64 if row.get("group_size") else None
        self.a, self.d_shape = a, d_shape
        self.real = [self.real_weights(b, scales, kind) for b in copies]
        stride = -(-copies[0].nbytes // 64) * 64 + 64
        self.description = {
            "a": self.write("a", a.tobytes(), before=64),
            "b": dict(
                self.write("b", b"".join(b.tobytes().ljust(stride, b"\xff") for b in copies), before=128), stride=stride
            ),
            "scales": None if scales is None else self.write("scales", scales.tobytes()),
            "d": self.write("d", bytes(int(np.prod(d_shape)) * (8 if kind == "f64" else 4)), before=192),
        }

    def write(self, name, data, before=0):
        path = self.folder / name
        path.write_bytes(b"\xff" * before + data)
        return {"file": str(path), "offset": before, "bytes": len(data)}

    def real_weights(self, b, scales, kind):
        """The weights that a product takes, (batch, k, n), or the filters, in f64."""
        b = b.astype("f8")
        if scales is not None:
            b = (b - (8 if kind == "w4" else 128)) * self.spread(scales.astype("f8"))
        return b.swapaxes(-1, -2) if self.row["op"] == "gemm" and (self.row["trans_b"] or scales is not None) else b

    def spread(self, scales):
        """Scales (n, groups) as (n, k)."""
        return np.repeat(scales, self.row["group_size"], 1)[:, : self.row["k"]]

    def product(self, a, b):
        """The result in f64."""
        if self.row["op"] == "gemm":
            return a @ b
        row = self.row
        pad, step, groups = row["pad"], row["stride"], row["groups"]
        a = np.pad(a, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        result = np.zeros(self.d_shape)
        share, filters = row["channels"] // groups, row["filters"] // groups
        for group in range(groups):
            of = slice(group * filters, (group + 1) * filters)
            for y in range(row["out_height"]):
                for x in range(row["out_width"]):
                    part = a[:, group * share : (group + 1) * share]
                    part = part[
                        :, :, y * step : y * step + row["kernel_height"], x * step : x * step + row["kernel_width"]
                    ]
                    result[:, of, y, x] = np.einsum("icyx,fcyx->if", part, b[of])
        return result

    def result(self, d_dtype):
        """What stands in d, in f64."""
        place = self.description["d"]
        count = int(np.prod(self.d_shape))
        data = Path(place["file"]).read_bytes()[place["offset"] :]
        return np.frombuffer(data, RESULT[d_dtype], count).astype("f8").reshape(self.d_shape)

    def wrong(self, d_dtype, copy=0):
        """None where d holds the product with a copy of b within what the dtype allows, else what is wrong."""
        a, b = self.a.astype("f8"), self.real[copy]
        exact, magnitude = self.product(a, b), self.product(abs(a), abs(b))
        if d_dtype == "s32":
            allowed = np.zeros_like(exact)
        elif self.row.get("group_size"):  # 8-bit or bf16 activations, f16 scales
            allowed = 2.0**-8 * magnitude + self.product(np.broadcast_to(abs(a).max(), a.shape) / 254, abs(b))
        else:
            allowed = {"f32": 2.0**-18, "f64": 2.0**-46, "bf16": 2.0**-8}[d_dtype] * magnitude
        error = abs(self.result(d_dtype) - exact)
        if (error <= allowed).all():  # not where d holds NaN
            return None
        return "off by up to %g where %g is allowed" % (error.max(), allowed.max())


def drive(session, name, title, folder):
    """Prepares a row, and checks and runs each of its ways."""
    operands = Operands(ROWS[title], folder)
    answer = session.ask("prepare", row=operands.row, operands=operands.description)
    assert "error" not in answer, answer
    names = {way["name"] for way in answer["ways"]}
    expected = EXPECTED[name].get(title, set())
    assert expected <= names, answer
    if not expected:
        assert not names and answer["why"] and "\n" not in answer["why"]
    for number, way in enumerate(answer["ways"]):
        assert set(way) == {"name", "isa", "d_dtype", "prepack_seconds", "explain"}
        assert way["prepack_seconds"] >= 0
        assert session.ask("check", way=number) == {}, way
        assert operands.wrong(way["d_dtype"]) is None, (way, operands.wrong(way["d_dtype"]))
        took = session.ask("run", way=number, calls=3)
        assert set(took) == {"wall", "cpu"} and took["wall"] > 0, took
    assert session.ask("release") == {}


@pytest.mark.parametrize("name", ["numpy", "onnxruntime"])
def test_rows(name, start, tmp_path):
    session = start(name)
    hello = session.ask("hello")
    assert hello["name"] == name and hello["version"] and Path(hello["place"]).exists()
    for title in ROWS:
        drive(session, name, title, tmp_path)


@pytest.mark.skipif(not ENVIRONMENT.exists(), reason="no build/peers: make bench makes it")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", EXPECTED)
def test_rows_in_the_environment_of_the_peers(name, threads, start, tmp_path):
    if name == "torch" and TORCH.exists() and TORCH.read_text().startswith("# not installed"):
        pytest.skip(TORCH.read_text().splitlines()[0])
    session = start(name, python=ENVIRONMENT, threads=threads)
    hello = session.ask("hello")
    assert hello.get("name") == name, hello
    for title in ROWS:
        drive(session, name, title, tmp_path)
    overhead = session.ask("overhead", calls=20)
    assert len(overhead["clock"]) == 20
    assert overhead["ways"] and all(len(way["nanoseconds"]) == 20 for way in overhead["ways"])


@pytest.mark.parametrize("name", ["numpy", "onnxruntime"])
def test_calls_go_through_the_copies(name, start, tmp_path):
    session = start(name)
    operands = Operands(ROWS["f32 packed"], tmp_path)
    session.ask("prepare", row=operands.row, operands=operands.description)
    for calls in (1, 2, 3):
        session.ask("run", way=0, calls=calls)
        assert operands.wrong("f32", copy=(calls - 1) % COPIES) is None
        assert operands.wrong("f32", copy=calls % COPIES)


def test_overhead(start):
    for name in ("numpy", "onnxruntime"):
        answer = start(name).ask("overhead", calls=50)
        for way in answer["ways"]:
            assert way["name"] and len(way["nanoseconds"]) == 50
            assert np.median(way["nanoseconds"]) > np.median(answer["clock"]) > 0


@pytest.mark.parametrize("name", ["torch", "numkong", "ggml"])
def test_a_library_that_is_not_there(name, start):
    if importlib.util.find_spec({"ggml": "pywhispercpp"}.get(name, name)):
        pytest.skip("it is installed here")
    session = start(name)
    missing = session.ask("hello")["missing"]
    assert missing and "\n" not in missing
    answer = session.ask("prepare", row=ROWS["f32"], operands={})
    assert "missing" in answer["error"] and name in answer["error"]
    assert session.ask("hello")["missing"] == missing


def test_a_library_that_does_not_load(start, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('no libonnxruntime\\nsecond line')\n")
    assert start("onnxruntime", path=tmp_path).ask("hello") == {"missing": "ImportError: no libonnxruntime"}


def test_a_peer_that_nobody_knows(start):
    assert "nobody_peer" in start("nobody").ask("hello")["missing"]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "{}",
        '{"do": "dance"}',
        '{"do": "prepare"}',
        '{"do": "prepare", "row": {"op": "gemm"}, "operands": {}}',
        '{"do": "check", "way": 0}',
        '{"do": "run", "way": 0, "calls": 1}',
        '{"do": "run", "way": "first", "calls": 1}',
    ],
)
def test_malformed_requests(line, start):
    session = start("numpy")
    answer = session.line(line)
    assert list(answer) == ["error"] and answer["error"] and "\n" not in answer["error"]
    assert session.ask("hello")["name"] == "numpy"


def test_operands_that_do_not_fit(start, tmp_path):
    session = start("numpy")
    operands = Operands(ROWS["f32"], tmp_path)
    for name in ("a", "b", "d"):
        bad = json.loads(json.dumps(operands.description))
        bad[name]["offset"] += 1 << 20
        assert "bytes" in session.ask("prepare", row=operands.row, operands=bad)["error"]
        bad[name]["file"] += " is not there"
        assert "FileNotFoundError" in session.ask("prepare", row=operands.row, operands=bad)["error"]
    for change in ({"dtype": "f7"}, {"op": "fft"}, {"m": None}):
        assert session.ask("prepare", row={**operands.row, **change}, operands=operands.description)["error"]
    assert session.ask("check", way=0)["error"]
    assert len(session.ask("prepare", row=operands.row, operands=operands.description)["ways"]) == 2
    assert session.ask("check", way=2)["error"] and session.ask("check", way=-1)["error"]
    assert session.ask("check", way=1) == {} and operands.wrong("f32") is None
    session.ask("release")
    assert session.ask("check", way=0)["error"]


LOUD = """
import os
from row import Way

log = []

def load(threads):
    print("loud: %d threads" % threads, flush=True)
    os.write(1, b"from the library itself\\n")
    return "1", __file__

def prepare(case):
    def fail():
        raise RuntimeError("first\\nsecond")
    def nothing():
        os.write(1, b"from a call\\n")
    def finish(result):
        case.d[...] = len(log)
        case.d.flat[: len(log)] = log
    calls = [lambda copy=copy: log.append(copy) for copy in range(case.copies)]
    return [Way("fails", [fail]), Way("writes nothing", [nothing]), Way("logs", calls, finish)], "unused"
"""


def test_what_a_library_prints_and_raises(start, tmp_path):
    (tmp_path / "loud_peer.py").write_text(LOUD)
    session = start("loud", path=tmp_path)
    assert session.ask("hello") == {"name": "loud", "version": "1", "place": str(tmp_path / "loud_peer.py")}
    operands = Operands(dict(ROWS["f32"], copies=2), tmp_path)
    answer = session.ask("prepare", row=operands.row, operands=operands.description)
    assert [way["name"] for way in answer["ways"]] == ["fails", "writes nothing", "logs"] and answer["why"] == ""
    for request in ({"do": "check", "way": 0}, {"do": "run", "way": 0, "calls": 1}):
        assert session.ask(**request) == {"error": "RuntimeError: first"}
    assert session.ask("check", way=1) == {}
    assert np.isnan(operands.result("f32")).all()  # filled with 0xFF, and nobody wrote
    session.ask("run", way=2, calls=3)  # copy (3 - 1) mod 2 untimed, then 0, 1, 0
    session.ask("run", way=2, calls=2)  # copy 1 untimed, then 0, 1; the check is one more
    session.ask("check", way=2)
    assert operands.result("f32").flat[:8].tolist() == [0, 0, 1, 0, 1, 0, 1, 0]
