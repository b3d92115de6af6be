# SPDX-License-Identifier: Apache-2.0
"""Breaks the barriers, waits and bounds of emulated kernels one at a time: `mutants.py [--only TEXT] -- PROGRAM…`.

PROGRAM must pass as it is, and fail with each mutant of a place that it reaches.  Prints the mutants that it lives
with; the exit status says if there are any."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 600


def passes(command: list[str], **variables: str) -> bool:
    try:
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="places whose line contains this")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "sites"
        if not passes(options.program, HUNZE_EMU_SITES=str(record)):
            print(f"{options.program[0]} fails without a mutant")
            return 2
        lines = record.read_text().splitlines() if record.exists() else []
    places = sorted({tuple(line.split()[:2]) for line in lines if options.only in line})
    alive = []
    for place, name in places:
        # A barrier or a wait can only be left out.
        for how in ["drop", "flip"] if name == "INSIDE" else ["drop"]:
            if passes(options.program, HUNZE_EMU_MUTATE=f"{place}:{how}"):
                alive.append(f"{place}:{how} {name}")
                print("lives:", alive[-1], flush=True)
    print(f"{len(places)} places, {len(alive)} mutants live")
    return 1 if alive or not places else 0


if __name__ == "__main__":
    sys.exit(main())
