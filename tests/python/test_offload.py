"""device="cuda" for NumPy operands, on the stand-in driver: the CPU's bits, in slices or as a whole, and what happens
when something fails.  Each case is a process of its own."""

import os
import signal
import threading

import hunze as hz
import numpy as np
import pytest
import standin
from hunze import _hunze, _offload

WHOLE = 1 << 40


def slices(bytes_each):
    _hunze._offload(_offload.choose, bytes_each)


def moves(op, *operands, **options):
    """(device, bytes over once, over in slices, back, slices) of a call."""
    return hz.plan(op, *operands, device="cuda", **options)._handle.moves


def f32(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def codes(*shape, dtype="int8", seed=4):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def rows_quantized(shape, dtype="uint8"):
    rows = shape[0]
    return hz.QArray(
        codes(*shape, dtype=dtype), np.linspace(0.5, 1, rows, dtype="float32"), codes(rows, dtype=dtype), axis=0
    )


def cases():
    """name: (op, operands, options): every op, the layouts that slices meet, what is cut and what is not."""
    a, b, images = f32(90, 33), f32(33, 20), f32(7, 6, 9, 8)
    w = hz.QArray(codes(20, 33), np.float32(0.5))
    return {
        "rows": (hz.matmul, (a, b), dict(bias=f32(20), activation="gelu", residual=f32(90, 20))),
        "a row's residual": (hz.matmul, (a, b), dict(residual=f32(90, 1))),
        "backwards, transposed": (hz.matmul, (f32(33, 90).T[::-1], b[:, ::-1]), {}),
        "the same row": (hz.matmul, (np.broadcast_to(a[0], (90, 33)), b), {}),
        "a vector": (hz.matmul, (a[0], b), {}),
        "by a vector": (hz.matmul, (a, b[:, 0]), {}),
        "float64": (hz.matmul, (a.astype("f8"), b), {}),
        "integers": (hz.matmul, (codes(90, 33), codes(33, 20)), dict(activation="relu")),
        "a batch": (hz.matmul, (f32(14, 1, 5, 33), f32(3, 33, 4)), {}),
        "both in a batch": (hz.matmul, (f32(14, 5, 33), f32(14, 33, 4)), dict(bias=f32(4))),
        "a small batch of many rows": (hz.matmul, (f32(2, 80, 33), f32(2, 33, 4)), {}),
        "quantised rows": (hz.linear, (rows_quantized((90, 33)), w), {}),
        "requantised": (
            hz.linear,
            (hz.QArray(codes(90, 33, dtype="uint8"), 0.5, 7), w),
            dict(out_scale=np.linspace(1, 2, 20, dtype="float32"), out_dtype="uint8", bias=f32(20)),
        ),
        "packed": (hz.linear, (a, hz.pack(hz.linear, f32(20, 33))), dict(bias=f32(20))),
        "images": (hz.conv2d, (images, f32(5, 6, 3, 3)), dict(padding=1, bias=f32(5), residual=f32(7, 5, 9, 8))),
        "images, channels last": (hz.conv2d, (channels_last(images), hz.pack(hz.conv2d, f32(5, 6, 3, 3))), {}),
        "depthwise": (hz.conv2d, (images, f32(6, 1, 3, 3)), dict(groups=6, padding="same")),
        "lines": (hz.conv1d, (f32(7, 6, 40), f32(5, 6, 3)), dict(stride=2)),
        "transposed images": (hz.conv_transpose2d, (images, f32(6, 3, 2, 2)), dict(stride=2)),
        "codes of images": (hz.conv2d, (codes(7, 6, 9, 8, dtype="uint8"), codes(5, 6, 3, 3)), {}),
        "elements": (hz.activate, (f32(50, 30)[::2, ::-1], "silu"), {}),
        "quantised": (hz.quantize, (a,), dict(scale=np.linspace(0.1, 1, 90, dtype="float32"), axis=0)),
        "quantised along columns": (hz.quantize, (a, "uint8"), dict(scale=f32(33) ** 2 + 1, axis=1)),
        "dynamic": (hz.quantize, (a, "uint8"), {}),
        "dynamic rows": (hz.quantize, (a,), dict(axis=0)),
        "real numbers": (hz.dequantize, (rows_quantized((90, 33)),), {}),
    }


WHOLE_ONLY = {"a vector", "dynamic", "dynamic rows"}


def same(one, other):
    if isinstance(one, hz.QArray):
        assert one.axis == other.axis
        same(one.codes, other.codes), same(np.asarray(one.scale), np.asarray(other.scale))
        assert (one.zero_point is None) == (other.zero_point is None)
        if one.zero_point is not None:
            same(np.asarray(one.zero_point), np.asarray(other.zero_point))
        return
    assert one.dtype == other.dtype and one.shape == other.shape
    assert one.tobytes() == other.tobytes()


def check_bits():
    driver = standin.Driver()
    for name, (op, operands, options) in cases().items():
        wanted = op(*operands, **options)
        before = driver.calls("cuLaunchKernelEx")
        slices(WHOLE)
        same(wanted, op(*operands, **options, device="cuda"))
        assert moves(op, *operands, **options)[4] == 1
        whole = driver.calls("cuLaunchKernelEx") - before
        assert whole >= 1, name
        for divisor in (3, 7):
            slices(1)
            slices(max(1, int(sum(moves(op, *operands, **options)[2:4]) / divisor)))
            _, once, over, back, count = moves(op, *operands, **options)
            assert (count > 1) == (name not in WHOLE_ONLY), f"{name}: {count} slices"
            same(wanted, op(*operands, **options, device="cuda:0"))
            plan = hz.plan(op, *operands, **options, device="cuda")
            if op not in (hz.quantize,):
                same(wanted, plan(*operands))
        assert driver.contexts() == 0


def test_the_bits_of_the_cpu():
    standin.run(check_bits)


def check_narrow():
    """16-bit sums have no order in common with the CPU's; in slices they are those of the whole."""
    a, b, bias = f32(300, 64).astype("f2"), f32(64, 48, seed=5).astype("f2"), f32(48)
    slices(WHOLE)
    wanted = hz.matmul(a, b, device="cuda", bias=bias)
    assert hz.explain(hz.matmul, a, b, device="cuda", bias=bias)["kernel"].startswith("gemm_f16")
    np.testing.assert_allclose(wanted, hz.matmul(a, b, bias=bias), rtol=1e-2, atol=1e-2)
    for divisor in (3, 7):
        slices(int((a.nbytes + wanted.nbytes) / divisor))
        assert moves(hz.matmul, a, b, bias=bias)[4] > 1
        same(hz.matmul(a, b, device="cuda", bias=bias), wanted)


def test_narrow_slices_have_the_bits_of_the_whole():
    standin.run(check_narrow)


def check_out():
    a, b = f32(90, 33), f32(33, 20)
    wanted = hz.matmul(a, b)
    for size in (WHOLE, 2000):
        slices(size)
        room = np.full((90, 3, 40), 7, "float32")
        out = room[:, 1, ::2]
        assert hz.matmul(a, b, out=out, device="cuda") is out
        same(np.ascontiguousarray(out), wanted)
        assert (room[:, [0, 2]] == 7).all() and (room[:, 1, 1::2] == 7).all()
        x = f32(90, 33)
        same(hz.activate(x, "relu", out=x, device="cuda"), np.maximum(f32(90, 33), 0))
        square = f32(60, 60)
        before = square.copy()
        with pytest.raises(ValueError, match="overlaps"):
            hz.matmul(square, square, out=square, device="cuda")
        with pytest.raises(ValueError, match="overlaps"):
            hz.activate(square[1:], "relu", out=square[:-1], device="cuda")
        same(square, before)
        hz.matmul(square[:, :30], square[:30, :30].copy(), out=square[:, 30:], device="cuda")  # side by side
        same(np.ascontiguousarray(square[:, 30:]), hz.matmul(before[:, :30], before[:30, :30].copy()))
    x = np.array([[1, np.nan]], "float32")
    with pytest.raises(ValueError, match="NaN"):
        hz.quantize(x, device="cuda")


def test_out():
    standin.run(check_out)


def check_settings():
    driver = standin.Driver()
    a = f32(20, 20)
    wanted = hz.matmul(a, a)

    def runs_there(**options):
        before = driver.calls("cuLaunchKernelEx")
        same(hz.matmul(a, a, **options), wanted)
        return driver.calls("cuLaunchKernelEx") > before

    assert driver.calls() == 0, "the driver is opened by the first call that needs it"
    assert not runs_there() and not runs_there(device="cpu") and not runs_there(device="auto")
    assert driver.calls() == 0
    assert runs_there(device="cuda")
    with hz.options(device="cuda:1") as block:
        assert "device='cuda:1'" in repr(block)
        assert runs_there() and not runs_there(device="cpu")
        assert hz.explain(hz.matmul, a, a)["device"] == "cuda:1"
        with hz.options(threads=1):
            assert runs_there()
        with hz.options(device="cpu"):
            assert not runs_there() and runs_there(device="cuda")
    assert not runs_there()
    there = hz.plan(hz.matmul, a, hz.pack(hz.matmul, a), device="cuda")
    same(there(a, hz.pack(hz.matmul, a)), wanted)
    with hz.options(device="cuda"):
        here = hz.plan(hz.matmul, a, a, device="cpu")
        before = driver.calls("cuLaunchKernelEx")
        same(here(a, a), wanted)
        assert driver.calls("cuLaunchKernelEx") == before


def test_settings():
    standin.run(check_settings, machine="devices=2", XDG_CACHE_HOME="/nowhere")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "CUDA", "", 0, 1.5, b"cuda"])
def test_what_is_no_device(device):
    a = f32(2, 2)
    for call in (lambda: hz.matmul(a, a, device=device), lambda: hz.options(device=device)):
        with pytest.raises(ValueError, match=r"there are 'cpu', 'cuda', 'cuda:1'"):
            call()
    for call in (lambda: hz.to_device(a, device), lambda: hz.stream(device=device)):
        with pytest.raises(ValueError, match=r"lives on 'cpu', 'cuda' or 'cuda:1'") as refused:
            call()
        assert "auto" not in str(refused.value)


# ---------------------------------------------------------------- what goes wrong


def refuse(*words):
    a, out = f32(600, 600), np.full((600, 600), 7, "float32")
    for size in (WHOLE, 100_000):
        slices(size)
        with pytest.raises((ValueError, RuntimeError, MemoryError, OSError, NotImplementedError)) as error:
            hz.matmul(a, a, out=out, device="cuda:0")
        for word in words:
            assert word in str(error.value), str(error.value)
        assert (out == 7).all()
    same(hz.matmul(a, a), hz.matmul(a, a, device="cpu"))


@pytest.mark.parametrize(
    "machine, driver, words",
    [
        ("", False, ["libcuda.so.1"]),
        ("devices=0", True, ["device"]),
        ("driver=12040", True, ["12.4", "13.0"]),
        ("capability=75", True, ["7.5"]),
        ("memory=1MiB", True, ["bytes", "are free"]),
        ("memory=1MiB,pools=0", True, ["bytes", "are free"]),
    ],
    ids=lambda value: str(value),
)
def test_a_machine_that_cannot(machine, driver, words):
    standin.run(refuse, *words, machine=machine, driver=driver)


def check_failures(size):
    """Each call of the driver fails once: an exception or the right result, nothing kept, `out` as it was or right."""
    driver = standin.Driver()
    a, b = f32(200, 100), f32(100, 50)
    wanted = hz.matmul(a, b)
    slices(int(size))
    sliced = moves(hz.matmul, a, b)[4] > 1

    def run():
        out = np.full((200, 50), 7, "float32")
        try:
            hz.matmul(a, b, out=out, device="cuda")
        except (ValueError, RuntimeError, MemoryError, OSError) as error:
            rows = (out == wanted).all(axis=1)
            assert (out[~rows] == 7).all() and (sliced or not rows.any()), "a row is whole or untouched"
            return error
        same(out, wanted)
        return None

    assert run() is None
    functions = FUNCTIONS.split()
    before = {name: driver.calls(name) for name in functions}
    assert run() is None
    counts = {name: driver.calls(name) - before[name] for name in functions}
    assert counts["cuLaunchKernelEx"] >= (2 if sliced else 1) and counts["cuMemAllocFromPoolAsync"] >= 1
    failed = 0
    for name, count in counts.items():
        code = "CUDA_ERROR_OUT_OF_MEMORY" if "Alloc" in name else "CUDA_ERROR_INVALID_VALUE"
        for turn in {1, 2, count // 2, count - 1, count} - {0, -1}:
            if turn <= count:
                # Memory is handed out a second time after the pool has given back what it kept.
                driver.fail(f"{name}:{turn}:{code}" + (f",{name}:{turn + 1}:{code}" if "Alloc" in name else ""))
                streams = [driver.calls(call) for call in ("cuStreamCreate", "cuStreamDestroy")]
                failed += run() is not None
                driver.fail("")
                made, ended = (driver.calls(call) for call in ("cuStreamCreate", "cuStreamDestroy"))
                if name not in ("cuStreamCreate", "cuStreamDestroy", "cuStreamGetCtx", "cuCtxPushCurrent"):
                    assert made - streams[0] == ended - streams[1], name
                assert driver.contexts() == 0, name
                assert run() is None, f"after {name}:{turn}"
    assert failed > 10


FUNCTIONS = """cuLaunchKernelEx cuMemcpyAsync cuMemcpy2DAsync cuStreamSynchronize cuStreamWaitEvent cuStreamCreate
    cuStreamDestroy cuEventCreate cuEventRecord cuEventQuery cuMemAllocFromPoolAsync cuMemFreeAsync cuMemHostAlloc
    cuPointerGetAttributes cuStreamGetCtx cuCtxPushCurrent"""


@pytest.mark.parametrize("size", [WHOLE, 30_000])
def test_each_call_of_the_driver_fails_once(size):
    # Hardly more memory than one call takes: what is not given back is missing soon.
    standin.run(check_failures, size, machine="memory=1MiB")


def check_a_fault(size):
    driver = standin.Driver()
    a, out = f32(200, 100), np.full((200, 200), 7, "float32")
    slices(int(size))
    hz.matmul(a, a.T, device="cuda")
    driver.fail("cuLaunchKernelEx:1:CUDA_ERROR_ILLEGAL_ADDRESS")
    with pytest.raises((ValueError, RuntimeError), match="HUNZE_ERR_FAULT"):
        hz.matmul(a, a.T, out=out, device="cuda")
    assert (out == 7).all()
    same(hz.matmul(a, a.T, out=out), hz.matmul(a, a.T))  # the CPU goes on


@pytest.mark.parametrize("size", [WHOLE, 30_000])
def test_a_fault_of_the_device(size):
    standin.run(check_a_fault, size)


def check_interrupt(size):
    driver = standin.Driver()
    a = f32(600, 300)
    wanted = hz.matmul(a, a.T)
    slices(int(size))
    out = np.full((600, 600), 7, "float32")
    hz.matmul(a[:50], a[:50].T, device="cuda")
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        for _ in range(200):
            hz.matmul(a, a.T, out=out, device="cuda")
    rows = (out == wanted).all(axis=1)
    assert (out[~rows] == 7).all()
    same(hz.matmul(a, a.T, device="cuda"), wanted)
    assert driver.contexts() == 0


@pytest.mark.parametrize("size", [WHOLE, 100_000])
def test_control_c(size):
    standin.run(check_interrupt, size)


# ---------------------------------------------------------------- the model


def check_model():
    from hunze import _ceilings

    a, b = f32(256, 128), f32(128, 64)
    slices(40_000)
    there = hz.explain(hz.matmul, a, b, device="cuda")
    transfer = there["transfer"]
    assert transfer["seconds"] is None and transfer["why"].startswith("no ceilings recorded: run python -m hunze tune")
    assert (transfer["bytes over once"], transfer["bytes over"], transfer["bytes back"]) == (32768, 131072, 65536)
    count = transfer["slices"]
    assert count == -(-256 // (256 * 40_000 // 196608))
    automatic = hz.explain(hz.matmul, a, b, device="auto")
    assert automatic["device"] == "cpu" and automatic["auto"]["choice"] == "cpu"
    assert "python -m hunze tune" in automatic["auto"]["why"]

    def plant(cpu, to, compute, name="Hunze emulated GPU"):
        isas = ("avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16")
        units = [("read", "bytes/s", 1e12), ("copy", "bytes/s", 5e8)]
        units += [(f"f32 {isa}", "operations/s", cpu) for isa in isas]
        device = {
            "to": to,
            "from": 2e9,
            "copy": 1e12,
            "f32": compute,
            "u8s8": 4 * compute,
            "f16": 3 * compute,
            "calls": 1e6,
        }
        unit = dict.fromkeys(("f32", "u8s8", "f16"), "operations/s") | {"calls": "calls/s"}
        _ceilings.prepare()
        _ceilings.store(
            {
                "schema": 1,
                "machine": _ceilings.machine(),
                "date": "2026-01-02T03:04:05+00:00",
                "load": 0.0,
                "ceilings": [{"name": n, "unit": u, "one": r, "all": r} for n, u, r in units],
                "devices": [
                    {
                        "id": 0,
                        "name": name,
                        "ceilings": [{"name": n, "unit": unit.get(n, "bytes/s"), "rate": r} for n, r in device.items()],
                    }
                ],
            }
        )

    operations = 2 * 256 * 128 * 64
    plant(cpu=1e8, to=1e9, compute=1e10)
    there = hz.explain(hz.matmul, a, b, device="cuda")
    parts = there["transfer"]["parts"]
    assert parts == {
        "once": 32768 / 1e9,
        "over": 131072 / 1e9,
        "compute": operations / 1e10,
        "back": 65536 / 2e9,
        "staging": 2 * 196608 / 5e8,
    }
    others = parts["over"] + parts["compute"] + parts["back"]
    assert there["transfer"]["seconds"] == pytest.approx(
        1e-6 + parts["once"] + parts["staging"] + others / count, rel=1e-12
    )
    assert there["floor"] == {
        "seconds": operations / 1e10,
        "limit": "f32 products",
        "parts": {"copy on the device": 229376 / 1e12, "f32 products": operations / 1e10},
    }
    for dtype, name, times in (("f2", "f16", 3), ("i1", "u8s8", 4)):
        floor = hz.explain(hz.matmul, a.astype(dtype), b.astype(dtype), device="cuda")["floor"]
        assert floor["parts"][f"{name} products"] == operations / (times * 1e10)
    driver = standin.Driver()

    def runs_there():
        before = driver.calls("cuLaunchKernelEx")
        same(hz.matmul(a, b, device="auto"), hz.matmul(a, b))
        return driver.calls("cuLaunchKernelEx") > before

    threads = dict(threads=1)
    portable = hz.plan(hz.matmul, a, b).explain()["isa"] == "portable"
    for cpu, to, sooner in ((1e8, 1e9, True), (1e8, 1e6, False), (1e12, 1e9, False), (1e8, 1e9, True)):
        plant(cpu=cpu, to=to, compute=1e10)
        sooner = sooner and not portable
        assert runs_there() == sooner
        with hz.options(device="auto"):
            explained = hz.explain(hz.matmul, a, b, **threads)
        assert explained["auto"]["choice"] == explained["device"] == ("cuda:0" if sooner else "cpu")
        assert ("is sooner" in explained["auto"]["why"]) == sooner
        plan = hz.plan(hz.matmul, a, b, device="auto")
        same(plan(a, b), hz.matmul(a, b))
    plant(cpu=1e8, to=1e9, compute=1e10, name="another GPU")
    assert not runs_there()
    assert "have none of cuda:0" in hz.explain(hz.matmul, a, b, device="cuda")["transfer"]["why"]
    plant(cpu=1e8, to=1e9, compute=1e10)
    w = hz.pack(hz.matmul, b)
    same(hz.matmul(a, w, device="auto"), hz.matmul(a, b))
    assert "packed" in hz.explain(hz.matmul, a, w, device="auto")["auto"]["why"]
    d = hz.to_device(a)
    resident = hz.explain(hz.matmul, d, hz.to_device(b), device="auto")
    assert resident["auto"] == {"choice": "cuda:0", "why": "the operands live there"}
    assert resident["floor"]["seconds"] == operations / 1e10 and "transfer" not in resident
    same(hz.matmul(d, b, device="cuda").numpy(), hz.matmul(a, b))  # b comes over
    with pytest.raises(ValueError, match="lives on a device"):
        hz.matmul(d, d.T, device="cpu")
    if hz.explain(hz.matmul, a.astype("f8"), b, device="auto")["auto"]["choice"] != "cpu":
        raise AssertionError("there is no ceiling of f64")


def test_the_model(tmp_path):
    standin.run(check_model, XDG_CACHE_HOME=str(tmp_path))


def check_tune():
    from hunze import _ceilings, tune

    assert tune.main(["--seconds", "0.01"]) == 0
    (device,) = _ceilings.load()[0]["devices"]
    assert (device["id"], device["name"]) == (0, "Hunze emulated GPU")
    names = [ceiling["name"] for ceiling in device["ceilings"]]
    assert {"to", "from", "copy", "f32", "f64", "u8s8", "calls"} <= set(names)
    a = f32(64, 64)
    assert hz.explain(hz.matmul, a, a, device="cuda")["transfer"]["seconds"] > 0
    assert hz.explain(hz.matmul, a, a, device="auto")["auto"]["cuda:0"] > 0


def test_tune_measures_the_device(tmp_path):
    out = standin.run(check_tune, XDG_CACHE_HOME=str(tmp_path))
    assert "cuda:0 calls" in out and "us each" in out and "Hunze emulated GPU" in out
