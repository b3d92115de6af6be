"""The world "with FMA": the portable rows from a build for CPUs with FMA, where the compiler's fma is an instruction.

    portable_fma.py LIBRARY PROGRAM…

LIBRARY: the portable kernels built with -mfma; it takes their place in the programs. The emulated fma of portable C and
the instruction must give the same bits. Exit status 77: this CPU has no FMA.
"""

import os
import subprocess
import sys
from pathlib import Path


def main():
    library, programs = sys.argv[1], sys.argv[2:]
    flags = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), ""
    ).split()
    if not {"avx2", "fma"} <= set(flags):
        print("not run here: this CPU has no FMA")
        return 77
    environment = {**os.environ, "LD_PRELOAD": library, "HUNZE_TEST_WORLD": "with FMA"}
    status = 0
    for program in programs:
        run = subprocess.run([program, "portable"], env=environment, capture_output=True, text=True, errors="replace")
        print(f"{Path(program).name}: exit status {run.returncode}")
        if run.returncode:
            status = 1
            print(run.stdout[-2000:], run.stderr[-4000:])
    return status


if __name__ == "__main__":
    sys.exit(main())
