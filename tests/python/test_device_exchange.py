"""Arrays on devices from and to other libraries, on the stand-in driver: DLPack and __cuda_array_interface__ in both
directions, each in the order of the streams, and tensors that are given back only when the device is done with them.
The other library is foreign.py.  Each case is a process."""

import ctypes
import gc
import types

import hunze as hz
import ml_dtypes
import numpy as np
import pytest
import standin
from test_device_arrays import codes, f32, refused, same


def as_torch(legacy=""):
    """Tensors in, tensors out, where the library works now; nothing waits, and nothing is given back too early."""
    import foreign

    torch, counts = foreign.Library("torch", legacy=bool(legacy)), standin.Driver()
    a, b = f32(9, 33), f32(33, 20)
    want = hz.matmul(a, b, reproducible=True)
    for current in (0, torch.driver.stream()):
        torch.current = current
        x, y = torch.tensor(a), torch.tensor(b)
        result = hz.matmul(x, y)
        assert type(result) is torch.Tensor and x.asked == (current or 1)
        assert result.numpy().tobytes() == want.tobytes()
        out = torch.tensor(np.ones((9, 20), "float32"))
        assert hz.matmul(x, y, out=out, activation="relu") is out
        assert out.numpy().tobytes() == hz.matmul(a, b, activation="relu", reproducible=True).tobytes()
        events = counts.calls("cuEventCreate")
        hz.matmul(x, y, out=out, activation="relu")
        assert counts.calls("cuEventCreate") == events + 1, "operands of one call are held behind one event"
        # On another stream than the library's: that one waits for what was written for it.
        hz.activate(out, "tanh", out=out, stream=torch.driver.stream())
        both = hz.activate(hz.matmul(a, b, activation="relu", reproducible=True), "tanh")
        assert out.numpy().tobytes() == both.tobytes()
        with hz.stream():
            late = hz.matmul(x, y)
            hz.matmul(x, y, out=out)
        assert late.numpy().tobytes() == out.numpy().tobytes() == want.tobytes()
        # The last reference of the program goes while the work is late.
        waits = counts.calls("cuStreamSynchronize") + counts.calls("cuEventSynchronize")
        results = []
        for i in range(8):
            results.append(hz.activate(torch.tensor(a * i), "relu", stream=torch.driver.stream()))
        made = 8  # by torch.tensor
        assert counts.calls("cuStreamSynchronize") + counts.calls("cuEventSynchronize") == waits + made
        for i, result in enumerate(results):
            assert result.numpy().tobytes() == hz.activate(a * np.float32(i), "relu").tobytes()
    x = y = out = result = results = late = None
    foreign.settle(torch)
    assert counts.calls("cuMemAllocFromPoolAsync") == counts.calls("cuMemFreeAsync")


def late_work():
    """As as_torch, where one of the two streams has so much to do that the other would be too early without a wait."""
    import foreign

    torch = foreign.Library("torch")
    driver, a = torch.driver, f32(9, 9)
    ours, torch.current = driver.stream(), driver.stream()

    def tanh(x):
        return hz.activate(x, "tanh").tobytes()

    for _ in range(3):
        x = torch.tensor(a)
        driver.delay(torch.current)
        y = hz.activate(x, "relu")  # on theirs
        assert hz.activate(y, "tanh", stream=ours).numpy().tobytes() == tanh(hz.activate(a, "relu"))
        driver.delay(ours)
        assert hz.activate(x, "tanh", stream=ours).numpy().tobytes() == tanh(a)
        driver.delay(ours)
        hz.activate(x, "tanh", out=y, stream=ours)
        assert y.numpy().tobytes() == tanh(a)
        driver.delay(ours)
        # out= of a library, and the call on a stream that another one chose.
        x, z = Interface(hz.to_device(a)), torch.tensor(np.zeros_like(a))
        driver.delay(0)
        hz.activate(x, "tanh", out=z)
        assert z.numpy().tobytes() == tanh(a)
        driver.delay(ours)
        d = hz.activate(hz.to_device(a), "tanh", stream=ours)
        tensor = torch.from_dlpack(d)
        assert tensor.numpy().tobytes() == tanh(a)
        # They may write what they took: that comes after our reads, and our next reads after it.
        driver.delay(ours)
        e = hz.activate(d, "relu", stream=ours)
        tensor = torch.from_dlpack(d)
        tensor.fill(0)
        driver.synchronize(torch.current)
        assert e.numpy(stream=ours).tobytes() == hz.activate(hz.activate(a, "tanh"), "relu").tobytes()
        driver.delay(torch.current)
        tensor.fill(1)
        assert (hz.activate(d, "relu", stream=ours).numpy(stream=ours).view("u1") == 1).all()
        # Their memory is theirs again when ours is done with it.
        driver.delay(ours)
        e = hz.to_device(np.eye(9, dtype="float32"))
        late = hz.matmul(e, e, residual=torch.tensor(a), stream=ours)
        gc.collect()
        for _ in range(3):  # calls that look what is over
            hz.activate(torch.tensor(a * 2), "relu")
        driver.synchronize(torch.current)
        assert late.numpy(stream=ours).tobytes() == (np.eye(9, dtype="float32") + a).tobytes()


def quantized_tensors():
    import foreign

    torch = foreign.Library("torch")
    a, w = f32(7, 30), f32(5, 30)
    q = hz.quantize(torch.tensor(a))
    same(q, hz.quantize(a))
    same(hz.quantize(torch.tensor(w), axis=0), hz.quantize(w, axis=0))
    view = hz.to_device(torch.tensor(w))
    qw = hz.quantize(view, axis=0)
    del view
    same(hz.linear(q, qw), hz.linear(hz.quantize(a), hz.quantize(w, axis=0)))
    with pytest.raises(TypeError, match="different libraries"):
        hz.matmul(torch.tensor(a), hz.to_device(f32(30, 5)))
    got = hz.matmul(torch.tensor(codes(4, 9)), torch.tensor(codes(9, 5)), bias=torch.tensor(codes(5, dtype="int32")))
    assert got.numpy().tobytes() == hz.matmul(codes(4, 9), codes(9, 5), bias=codes(5, dtype="int32")).tobytes()
    refused(ValueError, "b lives on the CPU and a on cuda:0", lambda: hz.matmul(torch.tensor(a), f32(30, 5)))
    host = hz.to_device(torch.tensor(a), "cpu")
    assert type(host) is np.ndarray and host.tobytes() == a.tobytes()
    assert hz.matmul(f32(3, 7), torch.tensor(a), device="cuda").tobytes() == hz.matmul(
        f32(3, 7), a, reproducible=True).tobytes()  # fmt: skip


def kinds_of_memory():
    """Managed and pinned memory, and what is read-only or nowhere."""
    import foreign

    library = foreign.Library()
    driver = library.driver
    a = f32(6, 6)
    want = hz.matmul(a, a, reproducible=True)

    def host(name, version, flag, device, **more):
        pointer = driver.make(name, version, ctypes.c_size_t(a.nbytes), flag)
        ctypes.memmove(pointer, a.ctypes.data, a.nbytes)
        return library.Tensor(pointer, a.shape, a.dtype, device=device, **more)

    managed = host("cuMemAllocManaged", 6000, ctypes.c_uint(1), (foreign.MANAGED, 0))
    pinned = host("cuMemHostAlloc", 2020, ctypes.c_uint(1), (foreign.PINNED, 0))
    d = hz.to_device(a)
    same(hz.activate(hz.to_device(managed), "relu"), hz.activate(a, "relu"))
    same(hz.matmul(d, hz.to_device(managed)), want)
    same(hz.to_device(pinned), a)
    for x in (managed, pinned):
        result = hz.to_device(np.zeros((6, 6), "float32"))
        hz.matmul(d, x, out=result) if x is pinned else hz.matmul(hz.to_device(x), d, out=result)
        same(result, want)
    assert pinned.asked is None, "pinned memory is the CPU's"
    # Pinned memory is kept while the device reads it.
    stream = driver.stream()
    driver.delay(stream)
    late = hz.to_device(pinned, stream=stream)
    assert foreign._alive
    same(late, a)
    frozen = library.Tensor(pinned.pointer, a.shape, a.dtype, device=(foreign.PINNED, 0), read_only=True)
    refused(ValueError, "out is read-only", lambda: hz.matmul(a, a, out=frozen))
    other = library.Tensor(pinned.pointer, a.shape, a.dtype, device=(10, 0))
    refused(ValueError, "DLPack type 10", lambda: hz.matmul(other, other))
    lost = library.Tensor(a.ctypes.data, a.shape, a.dtype)
    refused(ValueError, "x is said to live on cuda:0|the CPU's memory", lambda: hz.activate(lost, "relu"))
    refused(ValueError, "no cuda:5", lambda: hz.activate(library.Tensor(1 << 20, (2,), a.dtype, device=(2, 5)), "relu"))
    managed = pinned = frozen = other = lost = x = None
    foreign.settle(library)


def dlpack_out():
    import foreign

    library = foreign.Library()
    d = hz.to_device(f32(4, 6))
    assert d.__dlpack_device__() == (2, 0)
    for stream in (None, -1, 1, 2, library.driver.stream()):
        for version in (None, (0, 8), (1, 0), (1, 3)):
            library.legacy = not (version and version[0] >= 1)
            tensor = library.take(d.__dlpack__(stream=stream, max_version=version))
            assert tensor.shape == (4, 6) and tensor.pointer == d.__cuda_array_interface__["data"][0]
    library.legacy = False
    view = library.from_dlpack(d.T[1:, ::2])
    assert (view.shape, view.strides, view.pointer) == ((5, 2), (1, 12), tensor.pointer + 4)
    # The consumer's stream waits for what is late.
    for _ in range(10):
        library.current = library.driver.stream()
        product = hz.matmul(d, d.T, stream=hz.stream())
        assert library.from_dlpack(product).numpy().tobytes() == hz.matmul(
            f32(4, 6), f32(4, 6).T, reproducible=True).tobytes()  # fmt: skip
    # Memory that a consumer still reads on its stream is not used again.
    for i in range(10):
        d = hz.to_device(np.full(1000, i, "float32"))
        tensor = library.from_dlpack(d)
        target = library.tensor(np.zeros(1000, "float32"))
        library.driver("cuMemcpyDtoDAsync", 3020, ctypes.c_uint64(target.pointer), ctypes.c_uint64(tensor.pointer),
                       ctypes.c_size_t(4000), ctypes.c_void_p(library.current))  # fmt: skip
        del d, tensor
        gc.collect()
        again = hz.to_device(np.full(1000, -1, "float32"))
        assert (target.numpy() == i).all()
        del again
    d = hz.to_device(f32(4, 6))
    copied = library.take(d.__dlpack__(stream=library.current, max_version=(1, 0), copy=True))
    assert copied.pointer != d.__cuda_array_interface__["data"][0] and copied.numpy().tobytes() == f32(4, 6).tobytes()
    assert copied.managed.flags == 2
    same_memory = library.take(d.__dlpack__(stream=-1, max_version=(1, 0), copy=False, dl_device=(2, 0)))
    assert same_memory.managed.flags == 0
    capsule = d.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    pointer = foreign._pointer_of(capsule, b"dltensor_versioned")
    managed = foreign._Versioned.from_address(pointer)
    assert tuple(managed.tensor.device) == (1, 0) and managed.flags == 2
    assert ctypes.string_at(managed.tensor.data, 96) == f32(4, 6).tobytes()
    del capsule
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        assert np.from_dlpack(d, device="cpu").tobytes() == f32(4, 6).tobytes()
    refused(BufferError, "copy=False", lambda: d.__dlpack__(dl_device=(1, 0), copy=False))
    refused(BufferError, "lives on cuda:0", lambda: d.__dlpack__(dl_device=(2, 1)))
    refused(ValueError, "stream=0", lambda: d.__dlpack__(stream=0))
    frozen = hz.to_device(library.Tensor(d.__cuda_array_interface__["data"][0], (4, 6), np.dtype("f"), read_only=True))
    assert frozen.__cuda_array_interface__["data"][1] is True
    assert library.take(frozen.__dlpack__(max_version=(1, 0))).managed.flags == 1
    refused(BufferError, "read-only", frozen.__dlpack__)
    refused(ValueError, "out is read-only", lambda: hz.activate(d, "relu", out=frozen))
    refused(TypeError, "stream='a'", lambda: d.__dlpack__(stream="a"))
    bfloat16 = hz.to_device(np.ones(3, ml_dtypes.bfloat16))
    capsule = bfloat16.__dlpack__(max_version=(1, 0))
    tensor = foreign._Versioned.from_address(foreign._pointer_of(capsule, b"dltensor_versioned")).tensor
    assert (tensor.code, tensor.bits) == (4, 16)
    del capsule
    for _ in range(20):
        d.__dlpack__()  # a capsule that nobody takes
    gc.collect()


class Interface:
    """What has __cuda_array_interface__ and no DLPack, as Numba's arrays."""

    def __init__(self, base, **changes):
        self.base, self.changes = base, changes

    @property
    def __cuda_array_interface__(self):
        return {**self.base.__cuda_array_interface__, **self.changes}


def interfaces():
    import foreign

    driver, counts = foreign.Driver(), standin.Driver()
    a = f32(5, 7)
    d = hz.to_device(a)
    got = d.__cuda_array_interface__
    assert got["shape"] == (5, 7) and got["strides"] == (28, 4) and got["typestr"] == "<f4" and got["version"] == 3
    assert got["data"][1] is False and got["stream"] == 1
    assert d.T[1:].__cuda_array_interface__["data"][0] == got["data"][0] + 4
    assert not hasattr(hz.to_device(np.ones(3, ml_dtypes.bfloat16)), "__cuda_array_interface__")
    want = hz.matmul(a, a.T, reproducible=True)
    for changes in ({}, {"strides": None}, {"stream": None}, {"stream": 2}, {"version": 2}):
        x = Interface(d, **changes)
        same(hz.matmul(x, Interface(d.T)), want)
    same(hz.matmul(d, Interface(d.T), stream=driver.stream()), want)
    same(hz.to_device(Interface(d)), a)
    same(hz.quantize(Interface(d)), hz.quantize(a))
    # Our stream waits for theirs, and theirs for ours where we wrote.
    for _ in range(10):
        theirs = driver.stream()
        driver.delay(theirs)
        made = hz.matmul(d, d.T, stream=theirs)
        x = Interface(made)
        assert x.__cuda_array_interface__["stream"] == theirs
        ours = driver.stream()
        result = hz.activate(x, "relu", stream=ours)
        assert result.numpy(stream=ours).tobytes() == hz.activate(want, "relu").tobytes()
        driver.delay(ours)
        hz.activate(x, "tanh", out=x, stream=ours)
        values = np.empty_like(want)
        driver("cuMemcpyDtoHAsync", 3020, ctypes.c_void_p(values.ctypes.data),
               ctypes.c_uint64(made.__cuda_array_interface__["data"][0]), ctypes.c_size_t(values.nbytes),
               ctypes.c_void_p(theirs))  # fmt: skip
        driver.synchronize(theirs)
        assert values.tobytes() == hz.activate(want, "tanh").tobytes()
    assert hz.activate(x, "relu", out=x) is x
    out = Interface(d, data=(got["data"][0], True))
    refused(ValueError, "out is read-only", lambda: hz.activate(hz.to_device(a), "relu", out=out))
    for words, changes in (
        ("masked", {"mask": object()}), ("shape", {"shape": None}), ("shape", {"shape": [5, 7]}),
        ("data", {"data": None}), ("typestr", {"typestr": None}), (">f4", {"typestr": ">f4"}),
        ("|V3", {"typestr": "|V3"}),
    ):  # fmt: skip
        with pytest.raises(TypeError) as caught:
            hz.activate(Interface(d, **changes), "relu")
        assert words in str(caught.value), caught.value
    refused(ValueError, "no multiple of their size", lambda: hz.activate(Interface(d, strides=(30, 4)), "relu"))
    lost = Interface(d, data=(a.ctypes.data, False))
    refused(ValueError, "x is said to live on cuda:0", lambda: hz.activate(lost, "relu"))
    with pytest.raises(TypeError, match="is no dict"):
        hz.activate(type("Odd", (), {"__cuda_array_interface__": 3})(), "relu")
    # What it is of stays until the device is done with it.
    base = Interface(hz.to_device(a))
    result = hz.activate(base, "relu")
    del base
    gc.collect()
    same(result, hz.activate(a, "relu"))
    assert counts.contexts() == 1  # this test's own
    empty = Interface(d, shape=(0, 7), strides=None, data=(0, False))
    same(hz.activate(empty, "relu"), np.empty((0, 7), "float32"))


def interface_says_no_device():
    a = f32(5, 7)
    x = Interface(hz.to_device(a, "cuda:1"))
    result = hz.matmul(x, x.base.T)
    assert result.device == "cuda:1"
    same(result, hz.matmul(a, a.T, reproducible=True))
    refused(ValueError, "b lives on cuda:1 and a on cuda:0", lambda: hz.matmul(hz.to_device(a.T.copy()), x))


def nothing_grows():
    """References, memory of the CPU and of the device, events."""
    import foreign
    import test_binding_runtime as runtime

    torch, counts = foreign.Library("torch"), standin.Driver()
    a, b, out = torch.tensor(f32(6, 6)), torch.tensor(f32(6, 6)), torch.tensor(f32(6, 6))
    d = hz.to_device(f32(6, 6))
    q = hz.quantize(d)
    stream = hz.stream()

    def wrong():
        with pytest.raises(ValueError):
            hz.matmul(d, f32(6, 6))
        with pytest.raises(ValueError):
            hz.matmul(a, b, out=torch.tensor(f32(3)))

    calls = [
        lambda: hz.matmul(a, b),
        lambda: hz.matmul(a, b, out=out),
        lambda: hz.linear(q, q, out_scale=0.5),
        lambda: hz.matmul(d, d.T[:, ::-1], bias=[0.0] * 6, stream=stream),
        lambda: d.numpy(),
        lambda: torch.take(d.__dlpack__(stream=1, max_version=(1, 0))),
        lambda: d.__dlpack__(),
        lambda: hz.activate(Interface(d), "relu"),
        lambda: hz.stream(2).__enter__().__exit__(),
        lambda: hz.explain(hz.matmul, d, d),
        wrong,
    ]

    def ten(call):
        for _ in range(10):
            call()
        torch.driver("cuCtxSynchronize", 2000)
        hz.empty_cache()
        foreign._running.clear()

    for _ in range(40):  # what Python and ctypes keep for later calls
        ten(calls[0])
    for call in calls:
        ten(call)
        rounds = [runtime.growth(lambda: ten(call), 12) for _ in range(4)]  # noqa: B023
        gained, blocks, memory = (min(column) for column in zip(*rounds, strict=True))
        assert gained < 60 and blocks < 110 and memory < 2048, (call, rounds)
    foreign.settle(torch)
    assert counts.calls("cuEventCreate") == counts.calls("cuEventDestroy")
    a = b = out = d = q = None
    gc.collect()
    assert counts.calls("cuMemAllocFromPoolAsync") == counts.calls("cuMemFreeAsync")


def array_module():
    """The result is made by the library that __array_namespace__ names."""
    import foreign

    library = foreign.Library()
    made = []
    space = types.SimpleNamespace(from_dlpack=lambda x: made.append(x) or "made")
    library.Tensor.__array_namespace__ = lambda self, api_version=None: space
    assert hz.activate(library.tensor(f32(4)), "relu") == "made"
    same(made[0], hz.activate(f32(4), "relu"))


@pytest.mark.parametrize(
    "case",
    [as_torch, late_work, quantized_tensors, kinds_of_memory, dlpack_out, interfaces, array_module, nothing_grows],
    ids=lambda case: case.__name__,
)
def test_exchange(case):
    standin.run(case)


def test_capsules_from_before_dlpack_1():
    standin.run(as_torch, "legacy")


def test_the_interface_says_no_device():
    standin.run(interface_says_no_device, machine="devices=2")


@pytest.mark.parametrize("seed", range(2))
def test_exchange_at_other_times(seed):
    standin.run(as_torch, HUNZE_EMU_SEED=str(seed))
