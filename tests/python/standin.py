"""Runs a function of a test's file in a process of its own, on the stand-in for libcuda.so.1 (tests/cuda/README.md)."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("HUNZE_STANDIN", ROOT / "build" / "gcc" / "standin"))


def run(function, *arguments, machine="", failures="", driver=True, timeout=300, **environment):
    """function(*arguments), whose file must be importable by its name; arguments are words.  Its output."""
    if not (FOLDER / "libcuda.so.1").exists():
        missing = f"{FOLDER} has no stand-in driver: cmake --build build/gcc --target hunze_standin"
        (pytest.fail if os.environ.get("HUNZE_TEST_EVERY_WORLD") else pytest.skip)(missing)
    file = sys.modules[function.__module__].__file__
    program = (
        "import importlib.util, sys; "
        f"spec = importlib.util.spec_from_file_location('cases', {file!r}); "
        "cases = importlib.util.module_from_spec(spec); spec.loader.exec_module(cases); "
        f"cases.{function.__name__}(*sys.argv[1:])"
    )
    surroundings = {
        **os.environ,
        "LD_LIBRARY_PATH": str(FOLDER) if driver else "",
        "HUNZE_FAKE_CUDA": machine,
        "HUNZE_FAKE_CUDA_FAIL": failures,
        "PYTHONPATH": os.pathsep.join([str(Path(file).parent), os.environ.get("PYTHONPATH", "")]),
        **environment,
    }
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=surroundings)
    assert result.returncode == 0, f"{function.__name__}{arguments}: {result.stdout}\n{result.stderr}"
    return result.stdout


class Driver:
    """The stand-in's controls, inside such a process."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.hunze_standin_calls.restype = ctypes.c_uint64
        self.library.hunze_standin_pending.restype = ctypes.c_uint64

    def calls(self, function=None):
        return self.library.hunze_standin_calls(function.encode() if function else None)

    def fail(self, failures):
        self.library.hunze_standin_fail(failures.encode())

    def contexts(self):
        return self.library.hunze_standin_contexts()
