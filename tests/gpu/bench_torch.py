"""Hunze beside PyTorch's cuBLAS and cuDNN on one GPU: `bench_torch.py [--small]`, a RESULT line per case.

Both run on the same tensors, in turn within each round; the ratio is the median over rounds of PyTorch's time over
Hunze's, above 1 where Hunze is faster.  TF32 is off.  Exit status 77: no PyTorch here, or it sees no GPU.
"""

import json
import statistics
import sys
import time

ROUNDS = 9


def seconds(torch, call, count):
    """Of one call, given to the current stream `count` times; and what giving it costs the CPU."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    given = time.perf_counter() - begin
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count, given / count


def compare(torch, name, operations, ours, theirs, small):
    for call in (ours, theirs):  # loads, chooses, allocates
        call()
    once, _ = seconds(torch, theirs, 1)
    count = 1 if small else max(1, int(0.05 / once))
    rounds = []
    for turn in range(3 if small else ROUNDS):
        pair = [ours, theirs] if turn % 2 else [theirs, ours]
        times = {call: seconds(torch, call, count) for call in pair}
        rounds.append((times[ours], times[theirs]))
    best = statistics.median(own for (own, _), _ in rounds)
    line = {
        "case": name,
        "ratio": round(statistics.median(their / own for (own, _), (their, _) in rounds), 3),
        "host_ratio": round(statistics.median(their / own for (_, own), (_, their) in rounds), 3),
        "microseconds": round(best * 1e6, 3),
        "tera_operations": round(operations / best * 1e-12, 3),
    }
    print("RESULT " + json.dumps(line), flush=True)


def main(small):
    try:
        import torch
    except ImportError:
        print("no PyTorch")
        return 77
    if not torch.cuda.is_available():
        print("PyTorch sees no GPU")
        return 77
    import hunze as hz

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    stream = torch.cuda.current_stream()
    for dtype, sizes in ((torch.float32, (64, 1000, 4096, 8192)), (torch.float64, (1000, 4096))):
        for n in (48,) if small else sizes:
            a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
            mine, other = torch.empty_like(a), torch.empty_like(a)
            compare(
                torch,
                "matmul %s %d" % (str(dtype).removeprefix("torch."), n),
                2.0 * n**3,
                lambda a=a, b=b, out=mine: hz.matmul(a, b, out=out, stream=stream),
                lambda a=a, b=b, out=other: torch.matmul(a, b, out=out),
                small,
            )
    convs = ((32, 64, 56, 64, 1), (32, 256, 14, 256, 1), (32, 512, 56, 512, 512))
    for batch, channels, size, outputs, groups in ((1, 8, 9, 8, 1),) if small else convs:
        x = torch.randn(batch, channels, size, size, device="cuda")
        w = torch.randn(outputs, channels // groups, 3, 3, device="cuda")
        y = torch.empty(batch, outputs, size, size, device="cuda")
        compare(
            torch,
            "conv2d float32 %dx%dx%dx%d -> %d, %d groups" % (batch, channels, size, size, outputs, groups),
            2.0 * 9 * batch * outputs * size * size * channels / groups,
            lambda x=x, w=w, y=y, groups=groups: hz.conv2d(x, w, padding=1, groups=groups, out=y, stream=stream),
            lambda x=x, w=w, groups=groups: torch.nn.functional.conv2d(x, w, padding=1, groups=groups),
            small,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main("--small" in sys.argv[1:]))
