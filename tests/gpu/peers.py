"""PyTorch's libraries (cuBLAS, cuDNN) on the first GPU, and Hunze on the same tensors in the same interleaved rounds.

    peers.py [--small] [half | others]

A RESULT line per case, with the names of gpu_bench.c: microseconds of a run on the device by events (the median of
seven rounds), its spread, and the ratio of PyTorch's time to Hunze's: above 1 Hunze is faster.  f32 is measured with
TF32 off, and PyTorch with TF32 on as a case of its own.  `difference` is the norm of what Hunze's result differs by,
over that of PyTorch's.  At last what a call costs the CPU.  "half": bf16 and f16 alone, "others": all but
those, so that one of them stays if the other is ended.  Exit status 77 where there is no PyTorch with a GPU.
"""

import itertools
import json
import statistics
import sys
import time

ROUNDS, TARGET, HOST_ROUNDS, HOST_RUNS = 7, 0.02, 15, 200
SMALL = "--small" in sys.argv[1:]
PART = next((word for word in sys.argv[1:] if not word.startswith("-")), None)

try:
    import torch
except ImportError as error:
    print("no PyTorch: %s" % error)
    sys.exit(77)
if not torch.cuda.is_available():
    print("this PyTorch sees no GPU")
    sys.exit(77)
try:
    import hunze
except ImportError as error:
    print("Hunze's package cannot be imported: %s" % error)
    hunze = None

DTYPES = {
    "f32": torch.float32,
    "f64": torch.float64,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "s8s8": torch.int8,
}


def reason(error):
    return "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else "")


def random(dtype, *shape):
    if dtype == torch.int8:
        return torch.randint(-128, 128, shape, dtype=dtype, device="cuda")
    return (torch.rand(*shape, device="cuda", dtype=torch.float32) * 2 - 1).to(dtype)


def copies_of(size):
    """So many copies of operands that the cache holds none of them."""
    least = 4 * torch.cuda.get_device_properties(0).L2_cache_size
    return 1 if SMALL or size >= least else int(least // size) + 1


class Case:
    """`peer` and `own` run the copy of the operands whose turn it is; own is None where Hunze has no counterpart."""

    def __init__(self, name, outs, peer, own, tf32=False):
        self.name, self.outs, self.tf32 = name, outs, tf32
        self.runs = {"torch": peer, "hunze": own if hunze else None}
        self.refused, self.count, self.rounds, self.difference = {}, {}, {"torch": [], "hunze": []}, None

    def seconds(self, who, count):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        run = self.runs[who]
        begin.record()
        for turn in range(count):
            run(turn % len(self.outs))
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def prepare(self):
        """Runs both, compares them, and finds how many runs a round has."""
        results = {}
        for who in ("torch", "hunze"):
            if not self.runs[who]:
                continue
            try:
                self.seconds(who, 1)
                made = self.runs[who](0)
                results[who] = (self.outs[0] if made is None else made)[:4].to(torch.float64).clone()
                took, count = 0.0, 1
                while took < TARGET / 8 and count < 1000 and not SMALL:
                    count *= 4
                    took = self.seconds(who, count)
                self.count[who] = max(1, min(4000, int(count * TARGET / took))) if took else 1
            except Exception as error:  # whatever a library says is a result
                self.refused[who] = reason(error)
                self.runs[who] = None
        if len(results) == 2:
            norm = results["torch"].norm().item()
            self.difference = (results["hunze"] - results["torch"]).norm().item() / (norm or 1.0)

    def round(self):
        for who, run in self.runs.items():
            if run:
                self.rounds[who].append(self.seconds(who, self.count[who]) / self.count[who])

    def result(self):
        found = {"case": self.name + (" tf32" if self.tf32 else "")}
        for who, rounds in self.rounds.items():
            if rounds:
                median = statistics.median(rounds)
                found[who + "_microseconds"] = round(median * 1e6, 3)
                found[who + "_spread"] = round((max(rounds) - min(rounds)) / median, 4)
            elif who in self.refused:
                found[who + "_refused"] = self.refused[who]
        if self.rounds["torch"] and self.rounds["hunze"]:
            found["ratio"] = round(found["torch_microseconds"] / found["hunze_microseconds"], 4)
            found["difference"] = self.difference
        return found


# ---------------------------------------------------------------- cases


def matrix(dtype, rows, columns, major, more):
    """major t: its columns are contiguous; more: elements between them beyond their length."""
    if major == "t":
        return random(dtype, columns, rows + more)[:, :rows].t()
    return random(dtype, rows, columns + more)[:, :columns]


def gemm(kind, m, n, k, majors="nn", more=0):
    dtype = DTYPES[kind]
    result = torch.int32 if dtype == torch.int8 else dtype
    size = (m * k + k * n) * dtype.itemsize + m * n * result.itemsize
    copies = range(copies_of(size))
    a = [matrix(dtype, m, k, majors[0], more) for _ in copies]
    b = [matrix(dtype, k, n, majors[1], more) for _ in copies]
    out = [torch.empty((m, n + more), dtype=result, device="cuda")[:, :n] for _ in copies]
    product = torch._int_mm if dtype == torch.int8 else torch.matmul
    name = "gemm %s %dx%dx%d %s%s" % (kind, m, n, k, majors, " odd ld" if more else "")

    def peer(i):
        product(a[i], b[i], out=out[i])

    def own(i):
        hunze.matmul(a[i], b[i], out=out[i])

    yield Case(name, out, peer, own)
    if kind == "f32":
        yield Case(name, out, peer, None, tf32=True)


def conv(kind, images, channels, size, outputs, taps, groups=1, last=False):
    dtype = DTYPES[kind]
    layout = torch.channels_last if last else torch.contiguous_format
    count = images * size * size * (channels + outputs) + outputs * channels // groups * taps * taps
    copies = range(copies_of(count * dtype.itemsize))
    x = [random(dtype, images, channels, size, size).to(memory_format=layout) for _ in copies]
    w = [random(dtype, outputs, channels // groups, taps, taps).to(memory_format=layout) for _ in copies]
    out = [torch.empty_like(random(dtype, images, outputs, size, size), memory_format=layout) for _ in copies]
    sizes = "%dx%dx%dx%d %dx%d ->%d" % (images, channels, size, size, taps, taps, outputs)
    name = "%s %s %s %s" % ("conv" if groups == 1 else "depthwise", kind, sizes, "last" if last else "first")

    def peer(i):
        return torch.nn.functional.conv2d(x[i], w[i], padding=taps // 2, groups=groups)

    def own(i):
        hunze.conv2d(x[i], w[i], padding=taps // 2, groups=groups, out=out[i])

    yield Case(name, out, peer, own)
    if kind == "f32" and groups == 1:
        yield Case(name, out, peer, None, tf32=True)


def elementwise(rows):
    x = random(torch.float32, rows, 1024)
    out = torch.empty_like(x)
    codes = random(torch.int8, rows, 1024)

    def quantize():
        return torch.quantize_per_tensor(x, 0.01, 0, torch.qint8)

    quantized = quantize()

    def silu(_):
        hunze.activate(x, "silu", out=out)

    yield Case("copy", [out], lambda _: out.copy_(x), None)
    yield Case("activate f32 silu", [out], lambda _: torch.nn.functional.silu(x), silu)
    yield Case(
        "quantize f32 s8", [codes], lambda _: torch.quantize_per_tensor(x, 0.01, 0, torch.qint8).int_repr(), None
    )
    yield Case("dequantize s8 f32", [out], lambda _: quantized.dequantize(), None)


def small_half_cases():
    for kind, more in (("bf16", 0), ("f16", 1)):
        yield from gemm(kind, 37, 41, 70, "nt", more)
    for last in (False, True):
        yield from conv("bf16", 1, 8, 9, 16, 3, last=last)


def small_cases():
    for kind, more in (("f32", 0), ("f64", 1)):
        yield from gemm(kind, 37, 41, 70, "nt", more)
    for last in (False, True):
        yield from conv("f32", 2, 5, 9, 7, 3, last=last)
        yield from conv("f32", 1, 8, 9, 8, 3, groups=8, last=last)
    yield from elementwise(3)


def convolutions(kind):
    for last in (False, True):
        yield from conv(kind, 32, 64, 56, 64, 3, last=last)
        yield from conv(kind, 32, 256, 14, 256, 3, last=last)
        yield from conv(kind, 32, 512, 28, 128, 1, last=last)


def half_cases():
    for kind in ("bf16", "f16"):
        for majors in ("nn", "nt", "tn", "tt"):
            yield from gemm(kind, 4096, 4096, 4096, majors)
        yield from gemm(kind, 8192, 8192, 8192)
        yield from gemm(kind, 1000, 1000, 1000)
        yield from gemm(kind, 4096, 4096, 4096, more=1)
    yield from convolutions("bf16")


def other_cases():
    for majors in ("nn", "nt", "tn", "tt"):
        yield from gemm("f32", 4096, 4096, 4096, majors)
    yield from gemm("f32", 8192, 8192, 8192)
    yield from gemm("f32", 1000, 1000, 1000)
    yield from gemm("f64", 4096, 4096, 4096)
    yield from gemm("f64", 1000, 1000, 1000)
    yield from gemm("s8s8", 4096, 4096, 4096, "nt")
    yield from convolutions("f32")
    for last in (False, True):
        yield from conv("f32", 32, 512, 56, 512, 3, groups=512, last=last)
    yield from elementwise(256 * 1024)


# ---------------------------------------------------------------- what a call costs the CPU


def host_time(kind, size):
    a, b, out = (random(DTYPES[kind], size, size) for _ in range(3))
    ways = {"torch": lambda: torch.matmul(a, b, out=out)}
    if hunze:
        ways["hunze"] = lambda: hunze.matmul(a, b, out=out)
    rounds = {who: [] for who in ways}
    found = {"case": "host time of matmul %s %d" % (kind, size)}
    for number in range(1 + (2 if SMALL else HOST_ROUNDS)):  # the first is forgotten
        for who, run in ways.items():
            try:
                begin = time.perf_counter()
                for _ in range(HOST_RUNS):
                    run()
                took = time.perf_counter() - begin
            except Exception as error:
                found[who + "_refused"] = reason(error)
                continue
            if number:
                rounds[who].append(took / HOST_RUNS)
            torch.cuda.synchronize()
    for who, seconds in rounds.items():
        if seconds:
            found[who + "_microseconds"] = round(statistics.median(seconds) * 1e6, 3)
    return found


def say(found):
    print("RESULT " + json.dumps(found), flush=True)


def main():
    torch.backends.cudnn.benchmark = True
    print("PyTorch %s, CUDA %s" % (torch.__version__, torch.version.cuda), flush=True)
    cases = []
    chosen = []
    if PART != "half":
        chosen.append(small_cases() if SMALL else other_cases())
    if PART != "others":
        chosen.append(small_half_cases() if SMALL else half_cases())
    for case in itertools.chain(*chosen):  # both libraries use the default stream
        case.prepare()
        cases.append(case)
    for _ in range(ROUNDS):
        for case in cases:
            case.round()
    for case in cases:
        say(case.result())
    for kind in {"half": ("bf16",), "others": ("f32",)}.get(PART, ("f32", "bf16")):
        say(host_time(kind, 64))
    print("%d cases" % len(cases))


if __name__ == "__main__":
    main()
