"""The table of errors of activations in docs/NUMERICS.md, from what BUILD/activation_errors measures.

    activation_table.py BUILD [--all] [--write]

Compares the page with a measurement over the samples; with --all over all 2^32 inputs of f32 too (six minutes).
With --write it replaces what stands between the markers; what was not measured stays.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "NUMERICS.md"
MARKERS = "<!-- activations: made by tools/activation_table.py -->", "<!-- end of activations -->"
HEAD = (
    "| activation | f32, all 2³² inputs | at x | where \\|x\\| ≤ 5 | f32, sample "
    "| f64, sample | at x | where \\|x\\| ≤ 5 |\n"
    "| --- |" + " --- |" * 7 + "\n"
)
COLUMNS = ("all", "all_at", "all_near", "f32", "f64", "f64_at", "f64_near")
TOLERANCE = 0.02  # two C libraries may differ in the last digit of the reference


def measured(build, everything):
    """{activation: {column: text}} of one run."""
    command = [str(build / "activation_errors"), *(["--all"] if everything else [])]
    table = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        kind, name, ulp, at, near, _ = line.split()
        cells = table.setdefault(name, {})
        at = "" if float(ulp) == 0 else f"{float(at):.6g}"
        ulp, near = f"{float(ulp):.2f}", f"{float(near):.2f}"
        if everything:
            cells.update(all=ulp, all_at=at, all_near=near)
        elif kind == "f32":
            cells.update(f32=ulp)
        else:
            cells.update(f64=ulp, f64_at=at, f64_near=near)
    return table


def parts():
    text = PAGE.read_text()
    begin, end = text.index(MARKERS[0]) + len(MARKERS[0]), text.index(MARKERS[1])
    return text[:begin], text[begin:end], text[end:]


def printed():
    """The same from the page."""
    lines = re.findall(r"^\| (\w+) \| ([-\d. |e+]*) \|$", parts()[1], re.M)
    rows = {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in lines}
    return {name: dict(zip(COLUMNS, cells, strict=True)) for name, cells in rows.items()}


def render(table):
    lines = ["| %s | %s |\n" % (name, " | ".join(row.get(c, "") for c in COLUMNS)) for name, row in table.items()]
    return "\n\n" + HEAD + "".join(lines) + "\n"


def differences(page, table):
    for name, row in table.items():
        for column in row.keys() - {"all_at", "f64_at"}:
            there = page.get(name, {}).get(column) or "nothing"
            if there == "nothing" or abs(float(there) - float(row[column])) > TOLERANCE:
                yield f"{name}, {column}: {row[column]} ULP measured, {there} on the page"
        if name in page and float(row["f32"]) > float(page[name]["all"]) + TOLERANCE:
            yield f"{name}: the sample has {row['f32']} ULP, more than all inputs together"
    yield from (f"{name} is on the page only" for name in page.keys() - table.keys())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    table = measured(options.build, False)
    if options.all:
        for name, cells in measured(options.build, True).items():
            table[name].update(cells)
    page = printed()
    if options.write:
        before, _, after = parts()
        PAGE.write_text(before + render({name: {**page.get(name, {}), **row} for name, row in table.items()}) + after)
        return 0
    found = list(differences(page, table))
    print("\n".join(found) or f"the page has the errors of {len(table)} activations as they are")
    if found:
        print("where the change is meant: tools/activation_table.py BUILD --all --write")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
