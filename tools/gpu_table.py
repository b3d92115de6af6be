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
KINDS = {"fixture": "fixtures", "test": "tests", "bench": "benchmarks", "sanitizer": "sanitizer"}


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
    for status in ("passed", "failed", "timed out", "not here", "refused here"):
        if names := counts.get(status):
            told = "" if status == "passed" else ": " + ", ".join(names)
            words.append("%d %s%s" % (len(names), status, told))
    return "; ".join(words) or "not reached"


def table():
    """A line per device and revision, the newest run of each; or that there is none."""
    lines = {}
    for path in sorted(RESULTS.glob("*/gpu-*.jsonl")):
        steps = read(path)
        device, about = device_of(steps), steps[0]["about"]
        cells = [device["name"], str(device["driver"]), about["revision"], steps[0]["date"][:10]]
        cells += [cell(steps, kind) for kind in KINDS]
        cells.append("[record](%s)" % path.relative_to(ROOT))
        lines[device["name"], about["revision"]] = "| %s |\n" % " | ".join(cells)
    if not lines:
        return NOTHING
    head = ["device", "driver", "revision", "date", *KINDS.values(), ""]
    return "| %s |\n|%s\n" % (" | ".join(head), " --- |" * len(head)) + "".join(lines.values())


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
