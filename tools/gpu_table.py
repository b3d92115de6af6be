"""What has been proved on which GPU: what tests/gpu/verify.sh recorded in bench/results/, and README.md's table of it.

    gpu_table.py [--record FOLDER] [--write]

Prints the table.  --record: puts FOLDER/records.jsonl, which verify.sh left, into bench/results/DEVICE/.  --write: puts
the table into README.md.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
MARKERS = "<!-- GPUs: made by tools/gpu_table.py -->\n", "<!-- end of GPUs -->\n"
NOTHING = "Not yet run on a GPU: the kernels are proved on an emulator only.\n"
KINDS = {
    "fixture": "fixtures",
    "test": "tests",
    "bench": "benchmarks",
    "python": "other libraries",
    "sanitizer": "sanitizer",
}
STATUSES = ("passed", "failed", "timed out", "no time left", "not here", "refused here")
# What the second table shows of a device's newest run: cases of gpu_bench.c and peers.py.
FIGURES = (
    "gemm bf16 8192x8192x8192 nn",
    "gemm bf16 8192x8192x8192 nn by gemm_bf16_cuda",
    "gemm bf16 4096x4096x4096 nn",
    "gemm bf16 4096x4096x4096 nt",
    "gemm bf16 4096x4096x4096 tn",
    "gemm bf16 4096x4096x4096 tt",
    "gemm bf16 1000x1000x1000 nn",
    "gemm bf16 4096x4096x4096 nn odd ld",
    "gemm f16 8192x8192x8192 nn",
    "gemm s8s8 4096x4096x4096 nt",
    "gemm f32 4096x4096x4096 nn",
    "gemm f64 4096x4096x4096 nn",
    "conv f32 32x256x14x14 3x3 ->256 last",
    "conv bf16 32x256x14x14 3x3 ->256 last",
    "depthwise f32 32x512x56x56 3x3 ->512 last",
    "quantize f32 s8",
    "dequantize s8 f32",
)


def read(path):
    """The steps of one run; a line that was cut when the machine went away counts for nothing."""
    steps = []
    for line in path.read_text().splitlines():
        try:
            steps.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    if not steps or steps[0]["step"] != "begin":
        sys.exit("%s is no record of verify.sh" % path)
    return steps


def device_of(steps):
    """What gpu_device found first, and the driver; None if there was none."""
    for step in steps:
        if step["kind"] == "device" and step["status"] == "passed":
            (found,) = step["results"]
            return found["devices"][0] | {"driver": found["driver"]}
    return None


def keep(folder):
    """Copies a run's records to bench/results/DEVICE/; the new file."""
    source = folder / "records.jsonl"
    steps = read(source)
    device = device_of(steps)
    if device is None:
        sys.exit("%s: no device was found, so there is nothing to record" % source)
    if steps[0]["small"]:
        sys.exit("%s is of a run with --small" % source)
    name = re.sub(r"[^a-z0-9]+", "-", device["name"].lower()).strip("-")
    stem = "gpu-%s-%s" % (steps[0]["date"][:10], steps[0]["about"]["revision"].rstrip("+"))
    target = RESULTS / name / (stem + ".jsonl")
    number = 2
    while target.exists():
        target = RESULTS / name / ("%s-%d.jsonl" % (stem, number))
        number += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def cell(steps, kind):
    """How the steps of a kind ended: "5 passed, 1 failed: test_x"."""
    counts = {}
    for step in steps:
        if step["kind"] == kind:
            counts.setdefault(step["status"], []).append(step["step"])
    words = []
    for status in STATUSES:
        if names := counts.get(status):
            told = "" if status == "passed" else ": " + ", ".join(names)
            words.append("%d %s%s" % (len(names), status, told))
    return "; ".join(words) or "not reached"


def figures(steps):
    """Lines of a run's figures: the rate, how much of the floor, and PyTorch's time over ours in the same rounds."""
    cases = {}
    for step in steps:
        for result in step.get("results", ()):
            if "case" in result:
                cases.setdefault(result["case"], {}).update(result)
    for name in FIGURES:
        case = cases.get(name, {})
        if "of_floor" not in case:
            continue
        moves = case["floor"] == "copy"
        rate = "%.0f GB/s" % case["gigabytes"] if moves else "%.1f T/s" % case["tera_operations"]
        ratio = "not measured"
        if "ratio" in case:
            ratio = "%.2f" % case["ratio"]
        elif peer := cases.get(name.partition(" by ")[0], {}).get("torch_microseconds"):
            ratio = "%.2f, in another process" % (peer / case["microseconds"])
        floor = "%.2f of %s" % (case["of_floor"], "copies" if moves else "the peak")
        yield "| %s | %s | %s | %s | %s |\n" % (name, case["kernel"], rate, floor, ratio)


def in_order(name):
    """Numbers within a name as numbers: the second run of a day comes after the first."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def table():
    """A line per device and revision, the newest run of each; each device's newest figures; or that there is none."""
    lines, newest = {}, {}
    for path in sorted(RESULTS.glob("*/gpu-*.jsonl"), key=lambda path: (path.parent, in_order(path.stem))):
        steps = read(path)
        device, about = device_of(steps), steps[0]["about"]
        cells = [device["name"], str(device["driver"]), about["revision"], steps[0]["date"][:10]]
        cells += [cell(steps, kind) for kind in KINDS]
        cells.append("[record](%s)" % path.relative_to(ROOT))
        lines[device["name"], about["revision"]] = "| %s |\n" % " | ".join(cells)
        if device["name"] not in newest or steps[0]["date"] >= newest[device["name"]][0]["date"]:
            newest[device["name"]] = steps
    if not lines:
        return NOTHING
    head = ["device", "driver", "revision", "date", *KINDS.values(), ""]
    made = "| %s |\n|%s\n" % (" | ".join(head), " --- |" * len(head)) + "".join(lines.values())
    for name, steps in newest.items():
        if found := "".join(figures(steps)):
            made += "\n%s, revision %s; T/s are operations:\n\n" % (name, steps[0]["about"]["revision"])
            made += "| case | kernel | reached | of the floor | PyTorch's time / ours |\n|%s\n" % (" --- |" * 5) + found
    return made


def replaced(text):
    """README.md's text with the table of today."""
    begin, end = (text.index(marker) for marker in MARKERS)
    return text[: begin + len(MARKERS[0])] + "\n" + table() + "\n" + text[end:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.record:
        print(keep(options.record).relative_to(ROOT))
    if options.write:
        readme = ROOT / "README.md"
        readme.write_text(replaced(readme.read_text()))
    else:
        sys.stdout.write(table())


if __name__ == "__main__":
    main()
