"""The table of rows and worlds, from what the row tests recorded in BUILD/worlds: BUILD/worlds.md.

    table.py BUILD [--write FILE]

A cell is the number of cases that passed, or why there is none.  Fails if a row was proved in no world, or if a
test that was started did not pass.  Exit status 77: nothing was recorded yet.
"""

import argparse
import collections
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# How a record's name begins; its column; how a row is executed there.
WORLDS = (
    ("native", "native", "the library's kernels on this CPU: the ordinary tests"),
    ("with FMA", "with FMA", "the portable kernels built with -mfma, so that fma is an instruction, on this CPU"),
    (
        "qemu Nehalem",
        "qemu Nehalem",
        "whole test programs under `qemu-x86_64 -cpu Nehalem` (no AVX); smaller sweeps",
    ),
    ("qemu Haswell", "qemu Haswell", "the same with `-cpu Haswell` (AVX2, no AVX-512)"),
    (
        "emulated",
        "emulated CPU",
        "the kernel's machine code, call by call, on the Bochs CPU core in the test's process; each bundle on the "
        "oldest model that has it",
    ),
    (
        "own intrinsics",
        "own intrinsics",
        "the kernel's C compiled for any CPU with `tests/worlds/intrinsics/immintrin.h`; in `make check-long` "
        "also under AddressSanitizer and UndefinedBehaviorSanitizer",
    ),
)
COLUMNS = [column for _, column, _ in WORLDS]


def table_rows():
    """(name, bundle) of every row of the kernel table that is a kernel of the CPU; tests/cuda proves those of devices,
    test_providers what calls other libraries."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / "kernels.def").read_text(), flags=re.S)
    return re.findall(r'^HUNZE_(?!CUDA\(|GEMM_PROVIDER\()\w+\("(\w+)",\s*(\w+)', text, flags=re.M)


def read_records(folder):
    """records[row][column] = {part: (cases, result)}; the last line about a test counts."""
    records = collections.defaultdict(lambda: collections.defaultdict(dict))
    for path in sorted(folder.glob("*.tsv")):
        column = next((column for name, column, _ in WORLDS if path.name.startswith(name + " ")), None)
        if column is None:
            continue
        for line in path.read_text().splitlines():
            test, cases, result = line.split("\t")
            row, part = test.split("/", 1)
            records[row][column][part] = (int(cases), result)
    return records


def cell(parts):
    results = {result for _, result in parts.values()}
    if not parts:
        return "–"
    if results == {"passed"}:
        return f"{sum(cases for cases, _ in parts.values())} cases"
    return "not run here" if results == {"not run here"} else "FAILED"


def device():
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    revision = subprocess.run(f"git -C '{ROOT}' describe --always --dirty", shell=True, capture_output=True, text=True)
    qemu = subprocess.run("qemu-x86_64 --version", shell=True, capture_output=True, text=True).stdout.splitlines()
    found = [package.version for package in importlib.metadata.distributions(name="bochscpu-python")]
    bochs = found[0] if found else ""
    lines = [
        f"Native CPU: {model}.",
        f"Emulated older CPUs: {qemu[0]}." if qemu else "No qemu.",
        f"Emulated CPU: bochscpu-python {bochs}." if bochs else "No emulated CPU.",
    ]
    return " ".join(lines) + (f" Revision {revision.stdout.strip()}." if revision.returncode == 0 else "")


def render(records):
    lines = [
        "# Rows and worlds",
        "",
        "Where each row of the kernel table was proved: by the same tests (`tests/c/test_rows_*.c`,",
        "`test_activation_bits.c`), bit by bit against scalar C. One run of `ctest` on one machine, written by",
        "`python tests/worlds/table.py build/gcc --write docs/worlds.md`.",
        "",
        "| column | what executes the row |",
        "| --- | --- |",
        *(f"| {column} | {how} |" for _, column, how in WORLDS),
        "",
        'A cell is the number of cases that passed. "not run here": the CPU of that column lacks the instructions.',
        '"–": that world has no such row. Nothing is claimed for a world in which a row was not run.',
        "",
        device(),
        "",
        "| row | needs | " + " | ".join(COLUMNS) + " |",
        "| --- | --- |" + " --- |" * len(COLUMNS),
    ]
    for row, bundle in table_rows():
        lines.append(
            f"| {row} | {bundle.lower()} | " + " | ".join(cell(records[row][column]) for column in COLUMNS) + " |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    records = read_records(options.build / "worlds")
    if not records:
        print(f"not run here: no row test has left a record in {options.build / 'worlds'}")
        return 77
    text = render(records)
    for path in [options.build / "worlds.md", *([options.write] if options.write else [])]:
        path.write_text(text)
    cells = {row: {column: cell(records[row][column]) for column in COLUMNS} for row, _ in table_rows()}
    unproved = [row for row, worlds in cells.items() if not any(text.endswith("cases") for text in worlds.values())]
    failed = [
        f"{row} ({column})" for row, worlds in cells.items() for column, text in worlds.items() if text == "FAILED"
    ]
    proofs = sum(text.endswith("cases") for worlds in cells.values() for text in worlds.values())
    print(f"{len(cells)} rows, {proofs} proofs in {len(COLUMNS)} worlds")
    for name, rows in (("proved in no world", unproved), ("failed", failed)):
        if rows:
            print(f"{name}: {', '.join(rows)}")
    return 1 if unproved or failed else 0


if __name__ == "__main__":
    sys.exit(main())
