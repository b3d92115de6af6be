"""The world "older CPU" for users of Python: CPython, NumPy and hunze as on Nehalem (no AVX) and Haswell (AVX2),
by qemu's user emulation.

The reproducible results there have the bits of the ones here, whichever instruction sets this CPU has.
"""

import os
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib
import numpy as np
import hunze as hz

random = np.random.default_rng(7)
def draw(*shape, dtype="float32"):
    return (random.integers(-(2**20), 2**20, shape) / 2**19).astype(dtype)

digest = hashlib.sha256()
with hz.options(reproducible=True, threads=2):
    a, b = draw(23, 601), draw(601, 19)
    results = [
        hz.matmul(a, b, bias=draw(19), activation="gelu"),
        hz.matmul(draw(9, 70, dtype="float64"), draw(70, 21, dtype="float64")),
        hz.conv2d(draw(1, 6, 9, 11), draw(8, 3, 3, 3), draw(8), padding=1, groups=2, activation="silu"),
        hz.conv_transpose2d(draw(1, 5, 4, 4), draw(5, 3, 2, 2), stride=2),
        hz.matmul(random.integers(0, 256, (11, 90), "uint8"), random.integers(-128, 128, (90, 33), "int8")),
        hz.matmul(hz.quantize(draw(6, 40), "uint8"), hz.quantize(draw(40, 17))),
    ]
    kernel = hz.plan(hz.matmul, a, b).kernel
for result in results:
    digest.update(np.ascontiguousarray(result).tobytes())
print(kernel, digest.hexdigest())
"""


def run(*prefix):
    """(kernel, digest) of the script under a prefix command."""
    # OPENBLAS_CORETYPE would have NumPy's products use instructions that the older CPU has not.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HUNZE_", "OPENBLAS_"))}
    command = [*prefix, sys.executable, "-c", SCRIPT]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr}"
    return result.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "isa"), [("Nehalem", "portable"), ("Haswell", "avx2")])
def test_same_bits_on_an_older_cpu(model, isa):
    pytest.importorskip("hunze", reason="hunze is not installed in this Python")
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user)")
    _, here = run()
    kernel, there = run(qemu, "-cpu", model)
    assert kernel.endswith(isa)
    assert there == here
