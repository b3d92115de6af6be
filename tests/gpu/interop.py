"""Arrays on the first GPU, alone and from and to PyTorch, CuPy and JAX, where they are.

    interop.py [--small]

A RESULT line per case: whether the bits are those of the CPU and nothing was too early, and for calls what they cost
the CPU.  Each case in which streams have to wait for each other first gives the other stream much to do.
"""

import json
import sys
import time

SMALL = "--small" in sys.argv[1:]

try:
    import hunze as hz
    import numpy as np
except ImportError as error:
    print("Hunze's package cannot be imported: %s" % error)
    sys.exit(77)

A = np.random.default_rng(3).standard_normal((70, 90)).astype(np.float32)
B = np.random.default_rng(4).standard_normal((90, 50)).astype(np.float32)
WANT = hz.matmul(A, B, reproducible=True)
TANH = hz.activate(WANT, "tanh")
failed = []


def same(got, want):
    got = np.asarray(got)
    return got.shape == want.shape and got.dtype == want.dtype and got.tobytes() == want.tobytes()


def case(name, run):
    """Runs one; what it returns is whether all was right, or figures with "right"."""
    try:
        found = run()
        found = found if isinstance(found, dict) else {"right": bool(found)}
    except Exception as error:
        found = {"right": False, "error": "%s: %s" % (type(error).__name__, str(error)[:200])}
    if not found.get("right", True):
        failed.append(name)
    print("RESULT " + json.dumps({"case": name, **found}), flush=True)


def host_seconds(run, synchronize):
    """What a call costs the CPU: as many as a stream takes without being full, the least of some rounds."""
    best = float("inf")
    for _ in range(1 if SMALL else 20):
        synchronize()
        begin = time.perf_counter()
        for _ in range(5 if SMALL else 200):
            run()
        best = min(best, (time.perf_counter() - begin) / (5 if SMALL else 200))
    synchronize()
    return best


def delay(array, stream):
    """Work of some milliseconds on the stream."""
    for _ in range(2 if SMALL else 20):
        hz.matmul(array, array, stream=stream)


# ---------------------------------------------------------------- alone


def alone():
    a, b = hz.to_device(A), hz.to_device(B)
    square = hz.to_device(np.ones((40, 40) if SMALL else (4000, 4000), np.float32))
    first, second = hz.stream(), hz.stream()

    def there_and_back():
        kinds = [np.dtype(name) for name in "float32 float64 float16 int8 uint8 int32 int64 bool complex64".split()]
        return all(same(hz.to_device(A.astype(kind)[::2, ::-1]).numpy(), A.astype(kind)[::2, ::-1]) for kind in kinds)

    def between_streams():
        right = True
        for _ in range(5):
            delay(square, first)
            made = hz.matmul(a, b, stream=first)
            right &= same(hz.activate(made, "tanh", stream=second).numpy(stream=second), TANH)
            delay(square, second)
            read = hz.activate(made, "tanh", stream=second)
            del made
            again = [hz.to_device(np.zeros_like(WANT), stream=first) for _ in range(4)]
            right &= same(read.numpy(), TANH)
            del again
        return right

    def quantised():
        q, w = hz.quantize(a), hz.quantize(b.T.copy(), axis=0)
        want = hz.linear(hz.quantize(A), hz.quantize(B.T.copy(), axis=0))
        return same(hz.linear(q, w).numpy(), want)

    def call():
        d = hz.to_device(np.ones((64, 64), np.float32))
        out = d.copy()
        synchronize = hz.stream(1).synchronize
        return {
            "seconds": host_seconds(lambda: hz.matmul(d, d.T, out=out), synchronize),
            "fresh_seconds": host_seconds(lambda: hz.matmul(d, d), synchronize),
        }

    case("alone: there and back", there_and_back)
    case("alone: product", lambda: same((a @ b).numpy(), WANT))
    case("alone: views", lambda: same(hz.matmul(a[::2, ::-1], b[::-1]).numpy(),
                                      hz.matmul(A[::2, ::-1], B[::-1], reproducible=True)))  # fmt: skip
    case("alone: quantised", quantised)
    case("alone: between streams", between_streams)
    case("alone: host time of matmul 64", call)


# ---------------------------------------------------------------- PyTorch


def with_torch(torch):
    a, b = torch.from_numpy(A).cuda(), torch.from_numpy(B).cuda()
    square = hz.to_device(np.ones((40, 40) if SMALL else (4000, 4000), np.float32))
    side, ours = torch.cuda.Stream(), hz.stream()

    def cpu(tensor):
        return tensor.cpu().numpy()

    def product():
        result = hz.matmul(a, b)
        return isinstance(result, torch.Tensor) and result.is_cuda and same(cpu(result), WANT)

    def output():
        out = torch.empty(WANT.shape, device="cuda")
        return hz.matmul(a, b, out=out) is out and same(cpu(out), WANT)

    def halves():
        x, y = a.bfloat16(), b.bfloat16()
        got = hz.matmul(x, y)
        near = (x.double() @ y.double() - got.double()).abs().max().item()
        return {"right": got.dtype is torch.bfloat16 and near < 0.25, "largest_error": near}

    def streams():
        right = True
        for _ in range(5):
            with torch.cuda.stream(side):
                torch.cuda._sleep(20_000_000)
                x = a * 1.0
                right &= same(cpu(hz.matmul(x, b)), WANT)
                delay(square, ours)
                out = torch.empty(WANT.shape, device="cuda")
                hz.matmul(x, b, out=out, stream=ours)
                right &= same(cpu(out), WANT)
                delay(square, ours)
                right &= same(cpu(hz.matmul(x, b, stream=ours)), WANT)
        with hz.stream(side):
            right &= same(cpu(hz.matmul(a, b)), WANT)
        return right

    def lifetimes():
        right = True
        for _ in range(20):
            x = a.clone()
            torch.cuda.synchronize()
            delay(square, ours)
            late = hz.matmul(hz.to_device(x), hz.to_device(b), stream=ours)
            del x
            again = [torch.zeros_like(a) for _ in range(8)]  # would get its memory
            right &= same(late.numpy(stream=ours), WANT)
            del again
        return right

    def exported():
        right = True
        for _ in range(5):
            delay(square, ours)
            tensor = torch.from_dlpack(hz.matmul(hz.to_device(A), hz.to_device(B), stream=ours))
            right &= same(cpu(tensor), WANT)
        interface = torch.as_tensor(hz.to_device(A), device="cuda")
        return right and same(cpu(interface), A) and same(cpu(torch.from_dlpack(hz.to_device(A).T)), A.T)

    def graph():
        out = torch.empty(WANT.shape, device="cuda")
        x = a.clone()
        hz.matmul(x, b, out=out)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            hz.matmul(x, b, out=out)
        x.mul_(2)
        graph.replay()
        return same(cpu(out), hz.matmul(A * 2, B, reproducible=True))

    def call():
        d = torch.ones((64, 64), device="cuda")
        out = torch.empty_like(d)
        synchronize = torch.cuda.synchronize
        found = {"seconds": host_seconds(lambda: hz.matmul(d, d, out=out), synchronize)}
        found["torch_seconds"] = host_seconds(lambda: torch.matmul(d, d, out=out), synchronize)
        return found

    for name, run in (
        ("product", product), ("out", output), ("bfloat16", halves), ("streams", streams), ("lifetimes", lifetimes),
        ("exported", exported), ("graph", graph), ("host time of matmul 64", call),
    ):  # fmt: skip
        case("torch %s: %s" % (torch.__version__, name), run)


# ---------------------------------------------------------------- CuPy, JAX


def with_cupy(cupy):
    a, b = cupy.asarray(A), cupy.asarray(B)

    def product():
        result = hz.matmul(a, b)
        return isinstance(result, cupy.ndarray) and same(cupy.asnumpy(result), WANT)

    def output():
        out = cupy.empty(WANT.shape, "float32")
        hz.matmul(a, b, out=out)
        return same(cupy.asnumpy(out), WANT)

    def streams():
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            out = cupy.empty(WANT.shape, "float32")
            hz.matmul(a * 1, b, out=out)
            right = same(cupy.asnumpy(out), WANT)
        return right and same(cupy.asnumpy(hz.matmul(a, b, stream=stream)), WANT)

    def exported():
        d = hz.to_device(A)
        return same(cupy.asnumpy(cupy.from_dlpack(d)), A) and same(cupy.asnumpy(cupy.asarray(d.T)), A.T)

    for name, run in (("product", product), ("out", output), ("streams", streams), ("exported", exported)):
        case("cupy %s: %s" % (cupy.__version__, name), run)


def with_jax(jax):
    a, b = (jax.device_put(x, jax.devices("gpu")[0]) for x in (A, B))

    def product():
        result = hz.matmul(a, b)
        return isinstance(result, jax.Array) and same(result, WANT)

    def read_only():
        try:
            hz.matmul(a, b, out=jax.device_put(WANT, jax.devices("gpu")[0]))
        except ValueError as error:
            return "read-only" in str(error)
        return {"right": True, "note": "this version exports writable arrays"}

    def exported():
        return same(jax.numpy.from_dlpack(hz.matmul(hz.to_device(A), hz.to_device(B))), WANT)

    for name, run in (("product", product), ("read-only", read_only), ("exported", exported)):
        case("jax %s: %s" % (jax.__version__, name), run)


def main():
    if not hz.devices()["devices"]:
        print("no device: %s" % hz.devices()["reason"])
        return 77
    alone()
    for name, run, there in (
        ("torch", with_torch, lambda torch: torch.cuda.is_available() and hasattr(torch, "from_dlpack")),
        ("cupy", with_cupy, lambda cupy: cupy.cuda.runtime.getDeviceCount() > 0),
        ("jax", with_jax, lambda jax: jax.devices("gpu")),
    ):
        try:
            module = __import__(name)
            if not there(module):
                raise ImportError("it sees no GPU")
        except Exception as error:
            print("%s is not here: %s" % (name, error))
            continue
        run(module)
    print("wrong: %s" % ", ".join(failed) if failed else "all right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
