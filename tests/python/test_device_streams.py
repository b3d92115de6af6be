"""Streams of devices, on the stand-in driver, whose work is late: what is given to one stream is in order with what
another used, memory goes back behind all of them, and captured work can be run again.  Each case is a process."""

import asyncio
import contextvars
import ctypes
import gc
import random
import threading

import hunze as hz
import numpy as np
import pytest
import standin
from test_device_arrays import f32, refused, same


class Handle:
    """What other libraries' streams look like."""

    def __init__(self, name, value):
        setattr(self, name, value)


def kinds():
    import foreign

    driver = foreign.Driver()
    a = f32(6, 6)
    d, want = hz.to_device(a), hz.matmul(a, a, reproducible=True)
    handle = driver.stream()
    own = hz.stream()
    others = [Handle(name, value) for name in ("cuda_stream", "ptr") for value in (0, handle)]
    others += [Handle("__cuda_stream__", lambda: (0, handle)), Handle("__cuda_stream__", (0, 0))]
    for stream in (1, 2, handle, own, hz.stream(handle), hz.stream(own), *others):
        same(hz.matmul(d, d, stream=stream), want)
        with hz.stream(stream) as block:
            assert isinstance(block, hz.stream)
            same(d @ d, want)
    x = f32(1, 6, 5, 5)
    there = hz.to_device(x, stream=own)
    q = hz.quantize(there, stream=handle)
    same(q.dequantize(), hz.quantize(x).dequantize())
    same(hz.dequantize(q, stream=2), hz.quantize(x).dequantize())
    same(hz.activate(there, "relu", stream=own), hz.activate(x, "relu"))
    w = f32(4, 6, 3, 3)
    same(hz.conv2d(there, hz.to_device(w), stream=handle), hz.conv2d(x, w, reproducible=True))
    same(hz.conv_transpose2d(there, hz.to_device(f32(6, 2, 2, 2)), stream=own),
         hz.conv_transpose2d(x, f32(6, 2, 2, 2), reproducible=True))  # fmt: skip
    assert there.numpy(stream=handle).tobytes() == x.tobytes()
    assert hz.stream(1).handle == 1 and hz.stream(Handle("ptr", 0)).handle == 1 and own.handle > 2
    assert own.__cuda_stream__() == (0, own.handle) and repr(own) == f"hunze.stream({own.handle:#x}, device='cuda:0')"
    own.synchronize()
    for kind, words, stream in (
        (ValueError, "stream=0|1 (the legacy default stream)", 0),
        (ValueError, "stream=-1", -1),
        (ValueError, "stream=True", True),
        (TypeError, "stream is a <class 'str'>|__cuda_stream__", "default"),
        (TypeError, "float", 1.0),
        (ValueError, "the stream is none of this process", 0xDEADBEEF),
    ):
        refused(kind, words, lambda: hz.matmul(d, d, stream=stream))  # noqa: B023
    refused(ValueError, "leave it out", lambda: hz.matmul(a, a, stream=1))
    refused(ValueError, "device='cpu' has no streams", lambda: hz.stream(device="cpu"))
    with hz.stream(handle):  # a block may hold calls of both kinds
        assert hz.matmul(a, a, reproducible=True).tobytes() == want.tobytes()
        assert hz.matmul(a, a, device="cuda", reproducible=True).tobytes() == want.tobytes()
    assert hz.matmul(a, a, device="cuda", stream=handle, reproducible=True).tobytes() == want.tobytes()


def blocks():
    """Nested with each other and with options, local to threads and tasks."""
    launches = standin.Driver()
    a = f32(4, 4)
    d = hz.to_device(a)
    first, second = hz.stream(), hz.stream()

    def where():
        """The stream that a call goes to, by the memory of its result."""
        return hz.activate(d, "relu").__cuda_array_interface__["stream"]

    assert where() == 1
    with first:
        assert where() == first.handle
        with hz.options(threads=1, reproducible=True):
            assert where() == first.handle
            with second, first, second:
                assert where() == second.handle
                with hz.options(device="cuda"):
                    assert type(hz.activate(a, "relu")) is np.ndarray
                    assert where() == second.handle
            assert where() == first.handle and hz.get_num_threads() == 1
            assert contextvars.Context().run(where) == 1
        seen = []
        thread = threading.Thread(target=lambda: seen.append(where()))
        thread.start()
        thread.join()
        assert seen == [1]

    async def task(stream):
        with stream:
            await asyncio.sleep(0.001)
            return where()

    async def both():
        return await asyncio.gather(task(first), task(second))

    assert asyncio.run(both()) == [first.handle, second.handle]
    assert where() == 1 and launches.contexts() == 0


def in_order():
    """Arrays that streams hand to each other, with no wait on the CPU in between; they are freed while work is late."""
    driver = standin.Driver()
    streams = [hz.stream() for _ in range(3)] + [hz.stream(1), hz.stream(2)]
    draw = random.Random(2)
    host = [f32(8, 8, seed=i) for i in range(4)]
    there = [hz.to_device(x, stream=draw.choice(streams)) for x in host]
    waits = driver.calls("cuStreamSynchronize") + driver.calls("cuEventSynchronize")
    for _ in range(150):
        stream = draw.choice(streams)
        i, j, k = (draw.randrange(4) for _ in range(3))
        kind = draw.randrange(4)
        if kind == 0:
            there[k], host[k] = (
                hz.matmul(there[i], there[j], stream=stream),
                hz.matmul(host[i], host[j], reproducible=True),
            )
            host[k] /= np.abs(host[k]).max()  # keep it small: by a new array
            there[k] = hz.to_device(host[k], stream=stream)
        elif kind == 1 and k not in (i, j):
            hz.matmul(there[i], there[j], out=there[k], activation="tanh", stream=stream)
            host[k] = hz.matmul(host[i], host[j], activation="tanh", reproducible=True)
        elif kind == 2:
            hz.activate(there[k], "relu", out=there[k], stream=stream)
            host[k] = hz.activate(host[k], "relu")
        else:
            there[k] = hz.to_device(host[i], stream=stream)
            host[k] = host[i].copy()
    assert driver.calls("cuStreamSynchronize") + driver.calls("cuEventSynchronize") == waits, "something waits"
    for array, want in zip(there, host, strict=True):
        same(array, want)


def late_work():
    """A stream has so much to do that others would be too early if they did not wait for it."""
    import foreign

    driver = foreign.Driver()
    a = f32(6, 6)
    first, second, third = (driver.stream() for _ in range(3))

    def tanh(x):
        return hz.activate(x, "tanh")

    for writer, reader in ((first, second), (first, 1), (1, first), (2, first), (first, 2)):
        d = hz.to_device(a)
        driver.synchronize(0)
        driver.delay({1: 0}.get(writer, writer))
        made = hz.activate(d, "tanh", stream=writer)
        assert made.numpy(stream=reader).tobytes() == tanh(a).tobytes(), (writer, reader)
        # Whoever writes waits for those who read; whoever reads then, for the writer and not for the one before.
        driver.delay({1: 0}.get(reader, reader))
        read = hz.activate(made, "relu", stream=reader)
        driver.delay(third)
        hz.activate(d, "sigmoid", out=made, stream=third)
        assert made.numpy(stream=writer).tobytes() == hz.activate(a, "sigmoid").tobytes(), (writer, reader)
        assert read.numpy(stream=writer).tobytes() == hz.activate(tanh(a), "relu").tobytes(), (writer, reader)
        # Memory goes back behind those who read it.
        driver.delay(second)
        read = hz.activate(made, "tanh", stream=second)
        del made
        again = [hz.to_device(np.full((6, 6), i, "float32"), stream=writer) for i in range(3)]
        assert read.numpy(stream=third).tobytes() == tanh(hz.activate(a, "sigmoid")).tobytes(), (writer, reader)
        del again


def more_streams_than_are_remembered():
    a = f32(6, 6)
    d, want = hz.to_device(a), hz.matmul(a, a, reproducible=True)
    results = [hz.matmul(d, d, stream=hz.stream()) for _ in range(20)]
    hz.activate(d, "tanh", out=d, stream=hz.stream())
    for result in results:
        same(result, want)
    same(d, hz.activate(a, "tanh"))


def readers_do_not_wait_for_each_other():
    driver = standin.Driver()
    first, second = hz.stream(), hz.stream()
    d = hz.to_device(f32(6, 6))
    out = [hz.matmul(d, d, stream=s) for s in (first, second)]
    before = driver.calls("cuStreamWaitEvent")
    for _ in range(5):
        for stream, result in zip((first, second), out, strict=True):
            hz.matmul(d, d, out=result, stream=stream)
    assert driver.calls("cuStreamWaitEvent") == before


def streams_of_threads():
    """2 is another stream in each thread."""
    import foreign

    driver = foreign.Driver()
    a = f32(8, 8)
    shared, read, failures, want = [hz.to_device(a, stream=2)], [], [], [a]

    def work():
        try:
            driver("cuCtxSetCurrent", 4000, driver.context)
            read.append(hz.activate(shared[-1], "relu", stream=2).numpy(stream=2))
            driver.delay(2)
            shared.append(hz.matmul(shared[-1], shared[0], stream=2, activation="tanh"))
        except BaseException as error:
            failures.append(error)

    for _ in range(4):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not failures
    for values in read:
        assert values.tobytes() == hz.activate(want[-1], "relu").tobytes()
        want.append(hz.matmul(want[-1], a, activation="tanh", reproducible=True))
    assert shared[-1].numpy(stream=2).tobytes() == want[-1].tobytes()


def a_stream_ends():
    """Its arrays do not: an own stream lives as long as they need it, a foreign one may be gone."""
    import foreign

    driver, counts = foreign.Driver(), standin.Driver()
    a = f32(8, 8)
    d, want = hz.to_device(a), hz.matmul(a, a, reproducible=True)
    made = counts.calls("cuStreamCreate")
    results = [hz.matmul(d, d, stream=hz.stream()) for _ in range(3)]
    assert counts.calls("cuStreamDestroy") == 0
    for result in results:
        same(result, want)
    del results, result
    hz.activate(d, "relu", out=d)  # whoever writes it waits for those who read it, and forgets them
    gc.collect()
    assert counts.calls("cuStreamDestroy") == 3 and counts.calls("cuStreamCreate") == made + 3
    handle = driver.stream()
    d = hz.to_device(a)
    result = hz.matmul(d, d, stream=handle)
    driver.synchronize(handle)
    driver("cuStreamDestroy", 4000, ctypes.c_void_p(handle))
    same(result, want)
    same(d @ d, want)
    frees = counts.calls("cuMemFreeAsync")
    del result, d
    assert counts.calls("cuMemFreeAsync") == frees + 2


def capture():
    """Captured once, run with other data; arrays that end meanwhile go back after it."""
    import foreign

    driver, counts = foreign.Driver(), standin.Driver()
    stream = driver.stream()
    a, b = f32(6, 7), f32(7, 5)
    d, e, out = hz.to_device(a), hz.to_device(b), hz.to_device(np.zeros((6, 5), "float32"))
    unused = hz.to_device(a, stream=stream)
    plan = hz.plan(hz.matmul, d, e, activation="relu", stream=stream)
    plan.prepare()
    loads = counts.calls("cuLibraryLoadData")
    assert loads == 1
    driver.synchronize(0)
    driver.synchronize(stream)
    driver("cuStreamBeginCapture", 10010, ctypes.c_void_p(stream), ctypes.c_int(0))
    frees = counts.calls("cuMemFreeAsync")
    refused(RuntimeError, "being captured: memory is allocated before or after", lambda: plan(d, e))
    refused(RuntimeError, "being captured", lambda: out.numpy(stream=stream))
    plan(d, e, out=out)
    del unused
    assert counts.calls("cuMemFreeAsync") == frees, "memory goes back while the stream is captured"
    graph = ctypes.c_void_p()
    driver("cuStreamEndCapture", 10000, ctypes.c_void_p(stream), ctypes.byref(graph))
    run = driver.make("cuGraphInstantiateWithFlags", 11040, graph, ctypes.c_ulonglong(0))
    same(out, np.zeros((6, 5), "float32"))
    assert counts.calls("cuMemFreeAsync") == frees + 1, "memory that was held back does not go"
    for scale in (1, -2):
        hz.activate(hz.to_device(a * np.float32(scale)), ("clip", None, None), out=d)
        driver.wait(stream, 0)
        driver("cuGraphLaunch", 10000, ctypes.c_void_p(run), ctypes.c_void_p(stream))
        driver.wait(0, stream)
        same(out, hz.matmul(a * np.float32(scale), b, activation="relu", reproducible=True))
    assert counts.calls("cuLibraryLoadData") == loads + 1  # that of activate


def failures():
    """Each call of the driver that a call of Hunze needs, failing once: an exception, and all is well afterwards."""
    driver = standin.Driver()
    a = f32(6, 6)
    want = hz.matmul(a, a, reproducible=True)
    stream = hz.stream()

    def work():
        d = hz.to_device(a)
        with stream:
            q = hz.quantize(d)
            result = hz.matmul(d, d)
        hz.activate(d, "relu", out=d)
        return result.numpy(), q

    got, q = work()
    raised = 0
    names = "cuMemAllocFromPoolAsync cuMemcpyAsync cuLaunchKernelEx cuEventCreate cuEventRecord cuStreamWaitEvent"
    names += " cuStreamIsCapturing cuPointerGetAttributes cuCtxGetCurrent cuStreamGetCtx cuMemFreeAsync"
    for name in names.split():
        for nth in range(1, 9):
            driver.fail(f"{name}:{nth}:CUDA_ERROR_NOT_SUPPORTED")
            try:
                got, q = work()
            except RuntimeError as error:
                assert "CUDA_ERROR_NOT_SUPPORTED" in str(error)
                raised += 1
            driver.fail("")
            assert got.tobytes() == want.tobytes(), name
            same(q, hz.quantize(a))
    assert raised > 30  # where memory goes back, there is nobody to tell
    del q
    gc.collect()
    assert driver.contexts() == 0


def a_wait_that_failed_is_made_again():
    import foreign

    driver, control, a = foreign.Driver(), standin.Driver(), f32(30, 30)
    want = hz.activate(hz.activate(a, "relu"), "tanh")
    for name in ("cuEventCreate", "cuEventRecord", "cuStreamWaitEvent"):
        ours, other = driver.stream(), driver.stream()
        x = hz.to_device(a, stream=ours)
        driver.delay(ours)
        d = hz.activate(x, "relu", stream=ours)
        control.fail(f"{name}:1:CUDA_ERROR_OUT_OF_MEMORY")
        refused(MemoryError, "CUDA_ERROR_OUT_OF_MEMORY", lambda: hz.activate(d, "tanh", stream=other))  # noqa: B023
        control.fail("")
        late = hz.activate(d, "tanh", stream=other)
        assert late.numpy(other).tobytes() == want.tobytes(), name


def trust_pointers():
    """The driver is asked about each operand, unless a block says that they are right."""
    counts = standin.Driver()
    d, want = hz.to_device(f32(6, 6)), hz.matmul(f32(6, 6), f32(6, 6), reproducible=True)
    for block, asked in (
        (hz.options(), 3),
        (hz.options(trust_pointers=True), 0),
        (hz.options(trust_pointers=True, reproducible=True), 0),
        (hz.options(trust_pointers=False), 3),
    ):
        before = counts.calls("cuPointerGetAttributes")
        with block:
            result = hz.matmul(d, d)
        assert counts.calls("cuPointerGetAttributes") == before + asked, block
        same(result, want)
    with hz.options(trust_pointers=True), hz.options(trust_pointers=False):
        before = counts.calls("cuPointerGetAttributes")
        same(d @ d, want)
        assert counts.calls("cuPointerGetAttributes") > before
    assert repr(hz.options(trust_pointers=True)) == "hunze.options(trust_pointers=True)"
    refused(TypeError, "trust_pointers='all'", lambda: hz.options(trust_pointers="all"))


@pytest.mark.parametrize(
    "case",
    [
        kinds, blocks, in_order, late_work, more_streams_than_are_remembered, readers_do_not_wait_for_each_other,
        streams_of_threads, a_stream_ends, capture, failures, trust_pointers,
        a_wait_that_failed_is_made_again,
    ],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_streams(case):
    standin.run(case)


@pytest.mark.parametrize("seed", range(3))
def test_streams_at_other_times(seed):
    standin.run(in_order, HUNZE_EMU_SEED=str(seed))
