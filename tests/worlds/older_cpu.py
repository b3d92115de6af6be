"""The world "older CPU": whole test programs as on a CPU of another age, by qemu's user emulation.

    older_cpu.py MODEL PROGRAM…        MODEL: Nehalem (SSE4.2), Haswell (AVX2, FMA)

An instruction that the model lacks ends a program with SIGILL.  Sweeps are small (HUNZE_TEST_SMALL), and
operands keep 256 bytes from the guard pages, because qemu 7.2 reads the whole vector of a masked load.  Exit
status 77: no qemu.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


def main():
    model, programs = sys.argv[1], sys.argv[2:]
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        print("not run here: qemu-x86_64 is not installed (Debian: qemu-user)")
        return 1 if "HUNZE_TEST_EVERY_WORLD" in os.environ else 77
    environment = {
        **os.environ,
        "HUNZE_TEST_SMALL": "1",
        "HUNZE_TEST_NO_GUARDS": "1",
        "HUNZE_TEST_WORLD": f"qemu {model}",
    }
    failed = []
    for program in programs:
        start = time.perf_counter()
        run = subprocess.run(
            [qemu, "-cpu", model, program], env=environment, capture_output=True, text=True, errors="replace"
        )
        name = Path(program).name
        print(f"{name} on {model}: exit status {run.returncode}, {time.perf_counter() - start:.1f} s", flush=True)
        if run.returncode:
            failed.append(name)
            print(run.stdout[-2000:], run.stderr[-4000:], flush=True)
    if failed:
        print(f"failed on {model}: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
