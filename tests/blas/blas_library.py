"""What the tests of libhunze_blas.so share: its names, Debian's BLAS, and how programs are run."""

import os
import platform
import re
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent.parent / "bindings" / "blas"
DEBIAN = Path("/usr/lib/%s-linux-gnu/blas" % platform.machine())  # libblas3, and the programs of libblas-test
REFERENCE = DEBIAN / "libblas.so.3"
DOORS = re.findall(r"^HUNZE_BLAS_[A-Z]+\((\w+)", (SOURCES / "doors.def").read_text(), re.M)
FORWARDS = re.findall(r"^HUNZE_BLAS_FORWARD\((\w+)\)", (SOURCES / "forwards.def").read_text(), re.M)


def run(*command, **options):
    """A program with more environment; its result, whatever that is."""
    env = dict(os.environ, **options.pop("env", {}))
    return subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, **options)
