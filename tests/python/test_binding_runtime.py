"""Good neighbour: threads, the GIL, fork, Ctrl-C, references, settings blocks, plans, the meter."""

import asyncio
import contextvars
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import hunze as hz
import numpy as np
import pytest

A = np.random.default_rng(1).standard_normal((64, 300)).astype("float32")
B = np.random.default_rng(2).standard_normal((300, 48)).astype("float32")


def test_many_python_threads_get_the_same_bits():
    want = hz.matmul(A, B)

    def work(seed):
        threads = 1 + seed % 3
        with hz.options(threads=threads):
            assert hz.get_num_threads() == threads
            return all(np.array_equal(hz.matmul(A, B), want) for _ in range(20))

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(work, range(200)))


def test_the_gil_is_released():
    """While one thread is within one call, another runs Python."""
    big = np.ones((2000, 2000))
    beats, done = [], threading.Event()

    def beat():
        while not done.is_set():
            beats.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        hz.matmul(big[:500], big[:, :500], threads=1)
        start = time.perf_counter()
        hz.matmul(big, big, threads=1)
        end = time.perf_counter()
    finally:
        done.set()
        thread.join()
    # At the two ends the interpreter may switch threads even if the call holds the GIL.
    edge = 0.1 * (end - start)
    assert sum(start + edge < moment < end - edge for moment in beats) >= 3


def test_fork():
    want = hz.matmul(A, B, threads=2)
    pid = os.fork()
    if pid == 0:
        good = np.array_equal(hz.matmul(A, B, threads=2), want)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    np.testing.assert_array_equal(hz.matmul(A, B, threads=2), want)


def kernel(prefix, isa="portable"):
    """Name of the first row of the table that begins so and is for this instruction set."""
    rows = hz.info()["kernels"]
    return next(row["name"] for row in rows if row["name"].startswith(prefix) and row["isa"] == isa)


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, hunze as hz
a = np.ones((6000, 6000), "float64")
hz.matmul(a[:64, :64], a[:64, :64])
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    while True:
        hz.matmul(a, a, kernel=sys.argv[1])
except KeyboardInterrupt:
    print(time.perf_counter() - start)
"""


def test_ctrl_c_ends_a_long_call():
    command = [sys.executable, "-c", INTERRUPTED, kernel("gemm_f64")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 30, "the call, which takes minutes, ran on"


def test_a_python_signal_handler_that_returns_does_not_end_the_call():
    big = np.ones((1200, 1200), "float64")
    want, seen = hz.matmul(big, big), []
    previous = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        for _ in range(5):
            np.testing.assert_array_equal(hz.matmul(big, big), want)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert seen


def operations():
    x, w = A[None, None], np.ones((3, 1, 2, 2), "float32")
    q, packed = hz.quantize(A), hz.pack(hz.matmul, B)
    out = np.empty((64, 48), "float32")
    yield lambda: hz.matmul(A, B, bias=B[0], residual=out, activation=("clip", 0, 1))
    yield lambda: hz.matmul(A, B, out=out)
    yield lambda: hz.matmul(A, packed)
    yield lambda: hz.matmul(A, memoryview(B), dtype="float64")
    yield lambda: hz.grouped_matmul([A, A[0]], [B, packed], bias=[B[0], None], out=[None, out[0]])
    yield lambda: hz.linear(A, B.T, [0.0] * 48)
    yield lambda: hz.conv2d(x, w, padding="same")
    yield lambda: hz.linear(q, q, out_scale=0.5)
    yield lambda: hz.quantize(A, axis=0).dequantize()
    yield lambda: hz.activate(A, "gelu")
    yield lambda: hz.plan(hz.matmul, A, B)(A, B)
    yield lambda: hz.explain(hz.conv2d, x, w)
    for wrong in (
        lambda: hz.matmul(A, A),
        lambda: hz.matmul(A, B, activation="x"),
        lambda: hz.matmul(A, B, bias=B[0].astype("d")),
        lambda: hz.matmul(A, B, out=A),
        lambda: hz.conv2d(x, w, padding="x"),
        lambda: hz.matmul(A, [[]]),
    ):

        def call(wrong=wrong):
            with pytest.raises((ValueError, TypeError)):
                wrong()

        yield call


def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def growth(call, count):
    """What `count` calls leave behind: references to what they were given, memory blocks, KiB."""
    held = (A, B, None, np.float32, hz.QArray)
    gc.collect()
    references, blocks, memory = [sys.getrefcount(x) for x in held], sys.getallocatedblocks(), resident_kib()
    for _ in range(count):
        call()
    gc.collect()
    gained = max(abs(sys.getrefcount(x) - before) for x, before in zip(held, references, strict=True))
    return gained, sys.getallocatedblocks() - blocks, resident_kib() - memory


def test_no_references_are_lost():
    """Caches of the interpreter come and go: a leak is what grows in each of three rounds."""
    for call in operations():
        growth(call, 20)
        rounds = [growth(call, 300) for _ in range(3)]
        gained, blocks, memory = (min(column) for column in zip(*rounds, strict=True))
        assert gained < 150 and blocks < 150 and memory < 2048, (call, rounds)


def test_options_nest_and_are_local():
    assert hz.get_num_threads() >= 1
    with hz.options(threads=3):
        with hz.options(reproducible=True):
            assert hz.get_num_threads() == 3
            with hz.options(threads=5):
                assert hz.get_num_threads() == 5
            elsewhere = contextvars.Context().run(hz.get_num_threads)
            assert elsewhere != 3
        seen = []
        thread = threading.Thread(target=lambda: seen.append(hz.get_num_threads()))
        thread.start()
        thread.join()
        assert seen[0] != 3

    async def task(n):
        with hz.options(threads=n):
            await asyncio.sleep(0.001)
            return hz.get_num_threads()

    async def both():
        return await asyncio.gather(task(4), task(6))

    assert asyncio.run(both()) == [4, 6]


def test_options_isa_and_require_fast():
    with hz.options(isa="portable"):
        plan = hz.plan(hz.matmul, A, B)
        assert plan.kernel == kernel("gemm_f32")
        assert hz.info()["allowed"] == ["portable"]
        with hz.options(require_fast=True), pytest.raises(RuntimeError, match="portable"):
            hz.matmul(A, B)
    with pytest.raises(ValueError, match="avx9000"), hz.options(isa="avx9000"):
        pass
    block = hz.options(threads=2)
    with block, pytest.raises(RuntimeError, match="entered already"), block:
        pass
    with pytest.raises(TypeError):
        hz.options(threads=2, isas="avx2")
    with pytest.raises(ValueError, match="threads=0"):
        hz.options(threads=0)


def test_set_num_threads():
    try:
        hz.set_num_threads(3)
        assert hz.get_num_threads() == 3
        assert hz.info()["threads"] == 3
        for wrong, kind in ((-1, ValueError), (1.5, TypeError), (10**9, ValueError)):
            with pytest.raises(kind):
                hz.set_num_threads(wrong)
    finally:
        hz.set_num_threads(0)


def test_environment():
    script = "import hunze as hz; print(hz.get_num_threads(), hz.info()['allowed'])"
    environment = {**os.environ, "HUNZE_ISA": "portable", "HUNZE_NUM_THREADS": "5"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == "5 ['portable']"
    environment["HUNZE_ISA"] = "avx9000"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert result.returncode == 1 and "avx9000" in result.stderr


def test_plans():
    plan = hz.plan(hz.matmul, A, B, bias=B[0], activation="relu")
    np.testing.assert_array_equal(plan(A, B), hz.matmul(A, B, bias=B[0], activation="relu"))
    out = np.empty((64, 48), "float32")
    assert plan(A, B, out=out) is out
    assert plan.workspace_bytes >= 0 and plan.kernel in repr(plan)
    with pytest.raises(ValueError):
        plan(A, B[:, :7])
    with pytest.raises((TypeError, ValueError)):
        plan(A.astype("d"), B.astype("d"))
    forced = hz.plan(hz.matmul, A, B, kernel=kernel("gemm_f32"))
    assert forced.kernel == kernel("gemm_f32")
    np.testing.assert_array_equal(forced(A, B), hz.matmul(A, B, reproducible=True))
    with pytest.raises((NotImplementedError, ValueError), match=kernel("gemm_f64")):
        hz.plan(hz.matmul, A, B, kernel=kernel("gemm_f64"))
    for op, operands in (
        (hz.conv2d, (A[None, None], np.ones((3, 1, 2, 2), "f"))),
        (hz.conv_transpose2d, (A[None, None], np.ones((1, 3, 2, 2), "f"))),
        (hz.activate, (A, "gelu")),
        (hz.quantize, (A,)),
        (hz.dequantize, (hz.quantize(A),)),
    ):
        result, direct = hz.plan(op, *operands)(*operands), op(*operands)
        same = (result.codes, direct.codes) if op is hz.quantize else (result, direct)
        np.testing.assert_array_equal(*same)
    with pytest.raises(ValueError, match="hz.matmul, hz.linear|matmul, hz"):
        hz.plan(np.matmul, A, B)


def test_explain_is_a_table():
    figures = hz.explain(hz.matmul, A, B)
    assert figures["operations"] == 2 * 64 * 300 * 48
    assert figures["bytes"] == A.nbytes + B.nbytes + 64 * 48 * 4
    assert figures["kernel"] in repr(figures)
    assert figures["kernel"] in figures._repr_html_()
    json.dumps(figures)
    names = {row["kernel"] for row in figures["refused"]}
    assert any("u8s8" in name for name in names), "the dict has every row"
    assert not any("u8s8" in line for line in repr(figures).splitlines()), "the table those of the call's dtypes"


@pytest.mark.parametrize(
    "left, right, options, driver",
    [
        ((9, 9), (9, 9), {}, "direct"),
        ((100, 9, 9), (100, 9, 9), {}, "batched"),
        ((100, 9, 9), (9, 9), {}, "batched"),
        ((9, 9), (9, 9), {"activation": "relu"}, "small"),
        ((300, 300), (300, 300), {}, "blocked"),
    ],
)
def test_explain_says_how_a_product_runs(left, right, options, driver):
    assert hz.explain(hz.matmul, np.ones(left), np.ones(right), **options)["driver"] == driver


def test_meter():
    with hz.meter(project="a ward") as m:
        hz.matmul(A, B)
        hz.matmul(A, B)
    assert m["operations"] == 2 * 2 * 64 * 300 * 48
    assert m["seconds"] > 0
    assert m.figures["project"] == "a ward"
    assert "operations" in repr(m) and "<table>" in m._repr_html_()
    with hz.meter() as idle:
        pass
    assert idle["operations"] == 0
    with pytest.raises(RuntimeError, match="not ended"), hz.meter() as m:
        m["operations"]
