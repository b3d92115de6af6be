"""Arrays on devices, on the stand-in driver: to the device and back, views, every function with the CPU's bits, what is
refused, and that memory goes back.  Each case is a process of its own."""

import copy
import ctypes
import gc
import itertools
import multiprocessing
import os
import pickle
import random
import re
import sys

import hunze as hz
import ml_dtypes
import numpy as np
import pytest
import standin


def f32(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def codes(*shape, dtype="int8", seed=4):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def refused(kind, words, call):
    """The call raises this, with these words."""
    with pytest.raises(kind) as caught:
        call()
    for word in words.split("|"):
        assert word in str(caught.value), f"{caught.value} does not say {word!r}"


def same(got, want):
    """Bit by bit, with dtype and shape."""
    if isinstance(want, hz.QArray):
        for name in ("codes", "scale", "zero_point"):
            assert (getattr(got, name) is None) == (getattr(want, name) is None), name
            if getattr(want, name) is not None:
                same(getattr(got, name), getattr(want, name))
        assert got.axis == want.axis
        return
    assert isinstance(got, hz.DeviceArray), got
    host = got.numpy()
    assert host.dtype == want.dtype and host.shape == want.shape, (got, want.dtype, want.shape)
    assert host.tobytes() == np.ascontiguousarray(want).tobytes()


# ---------------------------------------------------------------- there and back


def there_and_back():
    values = np.arange(24).reshape(2, 3, 4)
    kinds = (
        "float32",
        "float64",
        "float16",
        "int8",
        "uint8",
        "int16",
        "int32",
        "int64",
        "bool",
        "complex64",
        ml_dtypes.bfloat16,
    )
    for dtype in kinds:
        same(hz.to_device(values.astype(dtype)), values.astype(dtype))
    for x in (
        f32(5), f32(0), f32(3, 0, 2), np.float32(7), f32(4, 6).T, f32(6, 6)[::-1, ::2],
        f32(2, 3, 4, 5).transpose(2, 0, 3, 1), np.broadcast_to(f32(3), (4, 3)), np.asfortranarray(f32(5, 7)),
    ):  # fmt: skip
        same(hz.to_device(x), np.asarray(x))
    same(hz.to_device([[1.0, 2.0]]), np.array([[1.0, 2.0]]))
    same(hz.to_device(memoryview(f32(3, 2))), f32(3, 2))
    d = hz.to_device(f32(2, 3), device="cuda")
    assert (d.shape, d.strides, d.ndim, d.size, d.nbytes, d.itemsize) == ((2, 3), (12, 4), 2, 6, 24, 4)
    assert (d.dtype, d.device, len(d)) == (np.float32, "cuda:0", 2)
    assert repr(d) == "DeviceArray(shape=(2, 3), dtype=float32, device='cuda:0')"
    assert d._repr_html_() == f"<code>{repr(d).replace(chr(39), '&#x27;')}</code>"
    assert d.to_device("cuda:0") is d and hz.to_device(d) is d
    back = hz.to_device(d, "cpu")
    assert type(back) is np.ndarray and back.tobytes() == f32(2, 3).tobytes()
    # The order of the axes in memory stays: channels-last images are not moved around by the CPU.
    images = np.ascontiguousarray(f32(2, 5, 4, 3)).transpose(0, 3, 1, 2)
    assert hz.to_device(images).strides == images.strides
    large = np.arange(3_000_000, dtype="float32").reshape(1000, 3000)
    same(hz.to_device(large[:, ::3]), large[:, ::3])
    copy = d.T.copy()
    assert copy.strides == (8, 4)
    same(copy, f32(2, 3).T)


def the_source_may_change():
    """Once to_device has returned, though the copy is late."""
    for _ in range(20):
        x = f32(300)
        d = hz.to_device(x)
        x[:] = 0
        same(d, f32(300))


# ---------------------------------------------------------------- views


def views():
    host = np.arange(120, dtype="float32").reshape(4, 5, 6)
    d = hz.to_device(host)
    draw = random.Random(1)

    def item():
        start, stop, step = draw.randint(-7, 7), draw.randint(-7, 7), draw.choice([None, 1, 2, -1, -3])
        return draw.choice([slice(None), slice(start, stop, step), draw.randint(-4, 3), Ellipsis, None])

    for _ in range(300):
        index = tuple(item() for _ in range(draw.randint(0, 3)))
        if index.count(Ellipsis) > 1:
            continue
        view, want = d[index], host[index]
        assert view.shape == want.shape
        if want.size and draw.random() < 0.2:
            same(view, want)
        assert [s for s, n in zip(view.strides, view.shape, strict=True) if n > 1] == [
            s for s, n in zip(want.strides, want.shape, strict=True) if n > 1
        ]
    same(d[2], host[2])
    same(d[1, ..., -1:], host[1, ..., -1:])
    same(d[np.int64(3)][::-1, 1:4], host[3][::-1, 1:4])
    same(d.T[::2].transpose(1, 0, 2), host.T[::2].transpose(1, 0, 2))
    same(d.transpose((2, 0, -2)), host.transpose((2, 0, -2)))
    assert [part.numpy().sum() for part in d] == [part.sum() for part in host]

    def reshaped(array, shape):
        try:
            return array.reshape(shape, copy=False)
        except ValueError:
            return None

    bases = [
        (d, host),
        *((d[i], host[i]) for i in (np.s_[:, ::2], np.s_[..., :3], np.s_[::-1], np.s_[:0])),
        (d.T, host.T),
    ]
    for (array, numpys), shape in itertools.product(
        bases,
        [
            (120,),
            (20, 6),
            (4, 30),
            (2, 2, 5, 6),
            (-1, 3),
            (6, -1),
            (4, 5, 2, 3),
            (1, 60),
            (4, 1, 3, 6),
            (0, 7),
            (5, 4, 3),
        ],
    ):
        try:
            want = reshaped(numpys, shape)
        except TypeError:  # NumPy before 2.1
            return
        if want is None:
            refused(ValueError, "", lambda: array.reshape(shape))  # noqa: B023
        else:
            got = array.reshape(*shape)
            assert got.shape == want.shape
            if want.size:
                same(got, want)
    for wrong in ((0, 0, 0, 0), 7, -5, "a", [1], (Ellipsis, Ellipsis), True, 1.5, np.array([0, 1]), np.array([True])):
        refused(IndexError, "", lambda: d[wrong])  # noqa: B023
    refused(ValueError, "no order|(0, 1)", lambda: d.transpose(0, 1))
    refused(ValueError, "no order", lambda: d.transpose(0, 1, 5))
    refused(TypeError, "without axes", lambda: list(d[0, 0, 0]))
    refused(ValueError, "no shape", lambda: d.reshape(7, -1))
    refused(ValueError, ".copy()", lambda: d.T.reshape(-1))
    # A view keeps the memory.
    view = hz.to_device(f32(1000))[10:20]
    same(view, f32(1000)[10:20])


# ---------------------------------------------------------------- functions


def operations():
    """(function, operands, options): every function, with what its options take."""
    a, b, w = f32(17, 33), f32(33, 20), f32(20, 33)
    q, qw = hz.quantize(a), hz.quantize(w, axis=0)
    u = hz.quantize(a, "uint8")
    images, kernels = f32(2, 6, 9, 8), f32(4, 6, 3, 3)
    yield hz.matmul, (a, b), {}
    yield hz.matmul, (a, b), dict(bias=f32(20), residual=f32(17, 20), activation=("clip", -1, 1))
    yield hz.matmul, (a[:, ::3], b[::3, ::-1]), {}
    yield hz.matmul, (a.T, w[:17].T.copy().T[:, :20]), {}
    yield hz.matmul, (a[0], b), dict(bias=f32(20))
    yield hz.matmul, (a, b[:, 0]), {}
    yield hz.matmul, (f32(3, 1, 5, 7), f32(2, 7, 4)), {}
    yield hz.matmul, (a.astype("d"), b.astype("d")), dict(activation="tanh")
    yield hz.matmul, (codes(9, 40), codes(40, 11)), {}
    yield hz.matmul, (codes(9, 40, dtype="uint8"), codes(40, 11)), dict(activation="relu")
    yield hz.matmul, (f32(0, 5), f32(5, 3)), {}
    yield hz.linear, (a, w), dict(bias=f32(20), activation="gelu")
    yield hz.linear, (q, qw), dict(bias=f32(20))
    yield hz.linear, (u, qw), dict(out_scale=np.float32(0.1), out_zero_point=np.uint8(3))
    yield hz.conv2d, (images, kernels), dict(padding=1, bias=f32(4), activation="relu")
    yield hz.conv2d, (images, f32(6, 1, 3, 3)), dict(groups=6, stride=2, residual=f32(2, 6, 4, 3))
    yield hz.conv2d, (np.ascontiguousarray(images.transpose(0, 2, 3, 1)), kernels), dict(layout="NHWC")
    yield hz.conv2d, (codes(2, 6, 9, 8, dtype="uint8"), codes(4, 6, 3, 3)), {}
    yield hz.conv1d, (f32(2, 6, 30), f32(4, 6, 3)), dict(dilation=2)
    yield hz.conv_transpose2d, (images, f32(6, 3, 2, 2)), dict(stride=2)
    yield hz.activate, (a, "silu"), {}
    yield hz.quantize, (a,), {}
    yield hz.quantize, (a, "uint8"), dict(axis=1)
    yield hz.quantize, (a,), dict(scale=np.linspace(0.5, 1, 17, dtype="float32"), axis=0)
    yield hz.dequantize, (qw,), {}


def moved(x):
    return hz.to_device(x) if isinstance(x, np.ndarray | np.generic | hz.QArray) else x


def as_numpys(call):
    """The CPU's result, bit for bit that of the device with reproducible=True."""
    function, operands, options = call
    more = {"reproducible": True} if function not in (hz.activate, hz.quantize, hz.dequantize) else {}
    return function(*operands, **options, **more)


def functions():
    for function, operands, options in operations():
        want = as_numpys((function, operands, options))
        there = [moved(x) for x in operands]
        more = {name: moved(value) for name, value in options.items()}
        same(function(*there, **more), want)
        same(hz.plan(function, *there, **more)(*there), want)
        assert hz.explain(function, *there, **more)["kernel"].endswith("_cuda") or want.size == 0
        if not isinstance(want, hz.QArray):
            out = hz.to_device(np.ones(want.shape, want.dtype))
            assert function(*there, **more, out=out) is out
            same(out, want)


def halves():
    """16-bit floats, on devices in convolutions too: near the float32 result of the same operands, once rounded."""
    images, kernels, bias = f32(2, 16, 7, 7), f32(8, 16, 3, 3), f32(8)
    for dtype, unit in ((np.float16, 2.0**-11), (ml_dtypes.bfloat16, 2.0**-8)):
        x, w, b = (value.astype(dtype) for value in (images, kernels, bias))
        want = hz.conv2d(x.astype("f"), w.astype("f"), b.astype("f"), padding=1)
        for device_bias in (hz.to_device(b), hz.to_device(b.astype("f"))):
            got = hz.conv2d(hz.to_device(x), hz.to_device(w), device_bias, padding=1)
            assert got.dtype == dtype and np.all(abs(got.numpy().astype("f") - want) <= 1.01 * unit * abs(want) + 1e-4)
        got = hz.conv2d(hz.to_device(x), hz.to_device(w), dtype="float32", bias=hz.to_device(b), padding=1)
        assert got.dtype == np.float32 and np.all(abs(got.numpy() - want) <= 1e-4)
        assert hz.conv2d(x, w, device="cuda").dtype == dtype
        product = hz.linear(hz.to_device(x.reshape(32, 49)), hz.to_device(np.ones((9, 49), dtype)))
        assert product.dtype == dtype and product.shape == (32, 9)
        refused(TypeError, "x is|conv2d takes float32, float64, int8", lambda: hz.conv2d(x, w))  # noqa: B023


def methods_and_numbers():
    a, b = f32(5, 7), f32(7, 3)
    d, e = hz.to_device(a), hz.to_device(b)
    want = hz.matmul(a, b, reproducible=True)
    same(d @ e, want)
    for copied in (copy.copy(d), copy.deepcopy(d)):
        assert copied.__cuda_array_interface__["data"] != d.__cuda_array_interface__["data"]
        same(copied, a)
    assert d in {d: 1}
    refused(TypeError, "use a.astype('float32')", lambda: hz.to_device(codes(5, 7).astype("i8")) @ e)
    same(d.T.astype("float64"), a.T.astype("d"))
    same(hz.to_device(codes(5, 7)).astype("float32", stream=hz.stream()), codes(5, 7).astype("f"))
    # Codes that become int8 for the kernels are brought to the device like any list.
    u, w = codes(4, 7, dtype="uint8"), codes(7, 3, dtype="uint8")
    same(hz.matmul(hz.to_device(u), memoryview(w)), hz.matmul(u, w))
    same((d @ e)[1:, ::-1], want[1:, ::-1])
    # Numbers and lists have no place of their own.
    same(hz.matmul(d, e, bias=[1.0, 2.0, 3.0]), hz.matmul(a, b, bias=[1.0, 2.0, 3.0], reproducible=True))
    q, w = hz.quantize(a), hz.quantize(b.T.copy(), axis=0)
    there = hz.to_device(q), hz.to_device(w)
    same(hz.linear(*there, out_scale=0.25), hz.linear(q, w, out_scale=0.25))
    same(there[0].dequantize(), q.dequantize())
    assert repr(there[1]) == "QArray(shape=(3, 7), dtype=int8, axis=0, device='cuda:0')"
    home = hz.to_device(there[1], "cpu")
    assert type(home.codes) is np.ndarray and home.codes.tobytes() == w.codes.tobytes()
    made = hz.QArray(hz.to_device(q.codes), 0.5, 3)
    same(made.dequantize(), hz.QArray(q.codes, 0.5, 3).dequantize())
    # A dynamic scale of NaN: nobody waits for x on a device.
    assert np.isnan(hz.quantize(hz.to_device(np.array([1, np.nan], "float32"))).scale.numpy())


def refusals():
    there = hz.to_device
    a, b = f32(5, 7), f32(7, 3)
    d, e = hz.to_device(a), hz.to_device(b)
    before = hz.to_device(f32(5, 3, seed=9))
    for kind, words, call in (
        (ValueError, "b lives on the CPU and a on cuda:0|hz.to_device(b, 'cuda:0')", lambda: d.__matmul__(b)),
        (ValueError, "a lives on the CPU and b on cuda:0", lambda: hz.matmul(a, e, out=before)),
        (ValueError, "bias lives on the CPU", lambda: hz.matmul(d, e, bias=f32(3), out=before)),
        (ValueError, "out lives on the CPU", lambda: hz.matmul(d, e, out=np.empty((5, 3), "f"))),
        (ValueError, "device='cpu'|.numpy()", lambda: hz.matmul(d, e, device="cpu", out=before)),
        (NotImplementedError, "b[1] lives on cuda:0|the CPU: call hz.matmul for each product",
            lambda: hz.grouped_matmul([a, a], [b, e])),
        (ValueError, "scale lives on the CPU", lambda: hz.linear(
            hz.quantize(d), hz.to_device(hz.quantize(b.T.copy())), out_scale=np.array(0.5, "f"))),
        (ValueError, "b has shape (5, 7); a (5, 7) needs b (7, n)", lambda: hz.matmul(d, d, out=before)),
        (ValueError, "out has shape (5, 7)", lambda: hz.matmul(d, e, out=d)),
        (ValueError, "overlaps|d is out", lambda: hz.matmul(before[:, :3], hz.to_device(f32(3, 3)), out=before)),
        (TypeError, "a lives on a device, where hunze changes no dtypes", lambda: d @ hz.to_device(b.astype("d"))),
        (TypeError, "b lives on a device|int8", lambda: there(codes(5, 7)) @ there(codes(7, 3).view("u1"))),
        (TypeError, "float32", lambda: hz.quantize(hz.to_device(a.astype("d")))),
        (TypeError, "cuda:0, where it becomes float32", lambda: hz.dequantize(hz.quantize(d), "float64")),
        (TypeError, "cuda:0: use .numpy()", lambda: np.asarray(d)),
        (TypeError, "", lambda: np.add(d, 1)),
        (TypeError, "not pickled", lambda: pickle.dumps(d)),
        (TypeError, ".numpy()", lambda: d == d),
        (TypeError, ".numpy()", lambda: d != 0),
        (ValueError, "b lives on the CPU", lambda: there(codes(5, 7)) @ codes(7, 3).view("u1")),
        (TypeError, "hz.to_device", lambda: hz.DeviceArray()),
        (TypeError, "truth", lambda: bool(d)),
        (ValueError, "device='gpu'|'cuda:1'", lambda: hz.to_device(a, "gpu")),
        (ValueError, "device='auto'|lives on", lambda: hz.to_device(a, "auto")),
        (ValueError, "device=None", lambda: hz.to_device(a, 1)),
        (ValueError, "no cuda:1|1 device", lambda: hz.to_device(a, "cuda:1")),
        (ValueError, "no cuda:63", lambda: hz.to_device(a, "cuda:63")),
        (ValueError, "aligned", lambda: hz.matmul(misaligned(d), e)),
        (TypeError, "does not make an array of numbers", lambda: hz.to_device([object()])),
    ):  # fmt: skip
        if words.startswith("device=None"):
            words = "device=1"
        refused(kind, words, call)
    same(before, f32(5, 3, seed=9))
    same(d, a)


def wrong_streams():
    """What is no stream is refused, and keeps its references."""
    a, d = f32(5, 5), hz.to_device(f32(5, 5))

    def calls(odd):
        return (
            lambda: hz.to_device(a, stream=odd),
            lambda: hz.matmul(d, d, stream=odd),
            lambda: hz.stream(odd),
        )

    for odd in (object(), type("Odd", (), {"ptr": "a"})(), type("Odd", (), {"__cuda_stream__": lambda self: 3})()):
        made = calls(odd)
        before = sys.getrefcount(odd)
        for _ in range(9):
            for call in made:
                refused(TypeError, "", call)
        gc.collect()  # frames of tracebacks
        assert sys.getrefcount(odd) == before


def misaligned(d):
    """A view that starts in the middle of an element, as no slice does."""
    return d._view((5, 7), (28, 4), 2)


def examples():
    """Those of docs/devices.md that need no other library."""
    text = (standin.ROOT / "docs" / "devices.md").read_text()
    blocks = [block for block in re.findall(r"^```py\n(.*?)^```", text, re.M | re.S) if "torch" not in block]
    assert len(blocks) == 2
    names = {"s": hz.stream(2)}
    for block in blocks:
        exec(compile(block, "devices.md", "exec"), names)
    x, w = names["x"].numpy(), names["w"].numpy()
    same(names["y"], hz.matmul(x, w, reproducible=True))


def packed():
    driver = standin.Driver()
    a, w = f32(4, 6), f32(5, 6)
    d = hz.to_device(a)
    refused(ValueError, "w lives on the CPU|hz.to_device(w, 'cuda:0')", lambda: hz.linear(d, hz.pack(hz.linear, w)))
    refused(TypeError, "uint8", lambda: hz.pack(hz.linear, hz.to_device(codes(5, 6, dtype="uint8"))))
    for dtype in ("float16", "float32", "float64", "int8"):  # small integers: sums are exact in any order
        a, w = (codes(*shape).clip(-4, 4).astype(dtype) for shape in ((4, 6), (5, 6)))
        d, source = hz.to_device(a), hz.pack(hz.linear, w)
        same(hz.linear(d, hz.to_device(source)), hz.linear(a, source))
        there = hz.pack(hz.linear, hz.to_device(w))
        same(hz.linear(d, there), hz.linear(a, source))
        before = [driver.calls(name) for name in ("cuMemcpyAsync", "cuStreamSynchronize")]
        hz.linear(d, there)
        assert [driver.calls(name) for name in ("cuMemcpyAsync", "cuStreamSynchronize")] == before, "it is asked again"
    x, w = f32(1, 8, 6, 5), f32(8, 1, 3, 3)
    there = hz.pack(hz.conv2d, hz.to_device(w), groups=8)
    with hz.options(reproducible=True):
        same(hz.conv2d(hz.to_device(x), there, groups=8), hz.conv2d(x, w, groups=8))


# ---------------------------------------------------------------- devices and memory


def no_driver_call():
    driver = standin.Driver()
    a = f32(4, 4)
    hz.matmul(a, a), hz.quantize(a).dequantize(), hz.info(), hz.empty_cache()
    with hz.stream(1):
        hz.matmul(a, a)
    assert driver.calls() == 0
    figures = hz.devices()
    assert [entry["id"] for entry in figures["devices"]] == [0]
    assert "forks" in figures["note"] and figures["driver"] == "13.0" and figures["reason"] is None
    assert any(kernel.startswith("gemm_f32") for kernel in figures["devices"][0]["kernels"])
    assert driver.calls("cuDevicePrimaryCtxRetain") == driver.calls("cuCtxCreate") == 0
    assert "13.0" in repr(figures) and "<table>" in figures._repr_html_()


def memory_goes_back():
    driver = standin.Driver()
    a = f32(40, 40)

    def work():
        d = hz.to_device(a)
        q = hz.quantize(d)
        return (d @ d.T)[1:], hz.linear(q, q, out_scale=0.5), hz.activate(d, "relu")

    work()
    waits = "cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize"
    before = sum(driver.calls(name) for name in waits)
    for _ in range(10):
        kept = work()
    assert sum(driver.calls(name) for name in waits) == before, "a call waits"
    del kept
    assert driver.calls("cuMemAllocFromPoolAsync") == driver.calls("cuMemFreeAsync")
    assert driver.calls("cuEventCreate") == driver.calls("cuEventDestroy")
    trims = driver.calls("cuMemPoolTrimTo")
    hz.empty_cache()
    assert driver.calls("cuMemPoolTrimTo") == trims + 1
    assert driver.contexts() == 0, "a context stays current"


def two_devices():
    a = f32(5, 5)
    zero, one = hz.to_device(a), hz.to_device(a, "cuda:1")
    assert (zero.device, one.device) == ("cuda:0", "cuda:1")
    want = hz.matmul(a, a, reproducible=True)
    result = one @ one
    assert result.device == "cuda:1"
    same(result, want)
    refused(ValueError, "b lives on cuda:1 and a on cuda:0|hz.to_device(b, 'cuda:0')", lambda: zero @ one)
    over = hz.to_device(zero.T, "cuda:1")
    assert over.device == "cuda:1"
    same(over @ one, hz.matmul(a.T.copy(), a, reproducible=True))
    with hz.stream(device="cuda:1") as stream:
        refused(ValueError, "the stream is of cuda:1", lambda: zero @ zero)
        same(one @ one, want)
        stream.synchronize()
    same(hz.matmul(zero, zero), want)


def allocator():
    driver = standin.Driver()
    pool, log = {}, []
    import foreign

    library = foreign.Library()

    def alloc(device, nbytes, stream):
        log.append(("alloc", device, nbytes, stream))
        tensor = library.tensor(np.empty(nbytes, "uint8"))
        pool[tensor.pointer] = tensor
        return tensor.pointer

    def free(device, pointer, nbytes, stream):
        log.append(("free", device, nbytes, stream))
        del pool[pointer]

    a = f32(6, 6)
    old = hz.to_device(a)
    hz.set_num_threads(2)
    hz.set_device_allocator(alloc, free)
    assert hz.get_num_threads() == 2, "settings of the process are lost"
    allocations = driver.calls("cuMemAllocFromPoolAsync")
    d = hz.to_device(a)
    assert log == [("alloc", 0, 144, 1)]
    same(d @ old, hz.matmul(a, a, reproducible=True))
    assert driver.calls("cuMemAllocFromPoolAsync") - allocations == len([e for e in log if e[0] == "alloc"])
    with hz.options(isa="portable"):
        same(d @ d, hz.matmul(a, a, reproducible=True))
    del old, d
    assert not pool, log
    assert log.count(("alloc", 0, 144, 1)) == log.count(("free", 0, 144, 1)) == 3
    before = len(log)

    def broken(device, nbytes, stream):
        raise ZeroDivisionError("no more")

    hz.set_device_allocator(broken, free)
    refused(ZeroDivisionError, "no more", lambda: hz.to_device(a))
    hz.set_device_allocator(lambda *_: 0, free)
    refused(MemoryError, "gave no 144 bytes", lambda: hz.to_device(a))
    hz.set_device_allocator(
        lambda *_: alloc(0, 1000, 1) + 4, lambda device, pointer, *rest: free(device, pointer - 4, *rest)
    )
    refused(ValueError, "256", lambda: hz.to_device(a))
    hz.set_device_allocator(None, None)
    same(hz.to_device(a), a)
    assert len(log) == before + 2 and not pool
    for wrong in ((alloc, None), (None, free), (1, 2)):
        refused(TypeError, "alloc and free", lambda: hz.set_device_allocator(*wrong))  # noqa: B023


# ---------------------------------------------------------------- what goes wrong


def no_driver():
    figures = hz.devices()
    assert figures["driver"] is None and figures["devices"] == [] and "there is no CUDA driver" in figures["reason"]
    refused(RuntimeError, "there is no CUDA driver|R580", lambda: hz.to_device(f32(2)))
    refused(RuntimeError, "there is no CUDA driver", hz.stream)
    assert hz.matmul(f32(2, 2), f32(2, 2)).shape == (2, 2)


def bad_machine(kind, words):
    refused(
        getattr(__builtins__, kind, None) or globals()["KINDS"][kind],
        words,
        lambda: hz.activate(hz.to_device(f32(4)), "relu").numpy(),
    )
    assert hz.activate(f32(4), "relu").shape == (4,)


KINDS = {kind.__name__: kind for kind in (RuntimeError, ValueError, NotImplementedError, MemoryError)}


def out_of_memory():
    driver = standin.Driver()
    a = np.zeros((4, 4), "float32")
    d, out = hz.to_device(a), hz.to_device(a + 1)
    refused(MemoryError, "cuda:0 has no memory for 536870912 bytes", lambda: hz.to_device(np.zeros(1 << 27, "float32")))
    driver.fail("cuMemAllocFromPoolAsync:*:CUDA_ERROR_OUT_OF_MEMORY")
    refused(MemoryError, "64 bytes|are free", lambda: d @ d)
    driver.fail("")
    same(out, a + 1)
    same(d @ d, a)


def sticky_fault():
    driver = standin.Driver()
    d = hz.to_device(f32(4, 4))
    hz.activate(d, "relu").numpy()
    driver.fail("cuLaunchKernelEx:1:CUDA_ERROR_ILLEGAL_ADDRESS")
    late = hz.activate(d, "relu")  # given to the stream; it goes wrong there
    refused(RuntimeError, "the device reported a fault of earlier work|restart the process", late.numpy)
    refused(RuntimeError, "fault of earlier work", lambda: d @ d)
    refused(RuntimeError, "fault of earlier work", lambda: hz.to_device(f32(2)))
    late = d = None
    assert hz.matmul(f32(2, 2), f32(2, 2)).shape == (2, 2)


def in_child(queue, d):
    try:
        hz.to_device(f32(2))
        queue.put("no error")
    except RuntimeError as error:
        queue.put(str(error))
    queue.put(hz.matmul(f32(2, 2), f32(2, 2)).shape)
    del d


def after_fork():
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    d = hz.to_device(f32(3))
    child = fork.Process(target=in_child, args=(queue, d))
    child.start()
    assert "forked" in (text := queue.get(timeout=60)) and "spawn" in text
    assert queue.get(timeout=60) == (2, 2)
    child.join(60)
    assert child.exitcode == 0
    same(d, f32(3))


def interpreter_ends():
    """With arrays, streams and late work alive."""
    global kept
    with hz.stream() as stream:
        d = hz.to_device(f32(50, 50))
        kept = stream, d @ d, d


def another_library_ends_later():
    """As C++ that holds tensors, which it gives back when the interpreter is gone."""
    import foreign

    for make in (lambda: hz.to_device(f32(4)), lambda: hz.to_device(np.ones(3, ml_dtypes.bfloat16))):
        capsule = make().__dlpack__(max_version=(1, 0))
        address = foreign._pointer_of(capsule, b"dltensor_versioned")
        foreign._rename(capsule, b"used_dltensor_versioned")
        deleter = ctypes.cast(foreign._Versioned.from_address(address).deleter, ctypes.c_void_p)
        ctypes.CDLL(None).__cxa_atexit(deleter, ctypes.c_void_p(address), None)


# ---------------------------------------------------------------- as tests


@pytest.mark.parametrize(
    "case",
    [
        there_and_back, the_source_may_change, views, functions, halves, methods_and_numbers, refusals, wrong_streams,
        examples, packed, no_driver_call, memory_goes_back, out_of_memory, sticky_fault, after_fork, interpreter_ends,
        another_library_ends_later,
    ],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_arrays(case):
    standin.run(case)


def test_two_devices():
    standin.run(two_devices, machine="devices=2")


def test_an_allocator_of_the_user():
    standin.run(allocator)


def test_without_pools():
    standin.run(there_and_back, machine="pools=0")


@pytest.mark.parametrize(
    ("machine", "kind", "words"),
    [
        ("driver=12040", "RuntimeError", "CUDA 12.4 (R550)|CUDA 13.0 (R580)"),
        ("devices=0", "RuntimeError", "there is no CUDA device"),
        ("capability=75", "NotImplementedError", "capability 7.5"),
    ],
)
def test_machines_that_will_not_do(machine, kind, words):
    standin.run(bad_machine, kind, words, machine=machine)


def test_without_a_driver():
    if os.path.exists("/usr/lib/x86_64-linux-gnu/libcuda.so.1"):
        pytest.skip("there is a driver here")
    standin.run(no_driver, driver=False)
