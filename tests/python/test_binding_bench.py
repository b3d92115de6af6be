"""python -m hunze bench: a short run prints every figure and writes the same to a file."""

import json
import subprocess
import sys

import hunze as hz
import pytest


def bench(*arguments):
    command = [sys.executable, "-m", "hunze", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_short_run(tmp_path):
    result = bench("--rounds", "2", "--size", "128", "--json", str(tmp_path / "figures.json"))
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["machine"]["version"] == hz.__version__
    for figure in written["figures"]:
        assert figure["figure"] in result.stdout
        low, high = figure["spread"]
        assert 0 < low <= figure["ratio"] <= high  # how large it is, a test cannot know: the machine may be busy
    met = {figure["figure"]: figure["met"] for figure in written["figures"]}
    assert met["libhunze.so, MB"]


def test_wrong_arguments():
    assert bench("--rounds", "0").returncode == 2
    assert bench("--json").returncode == 2
    unwritable = bench("--json", "/proc/self/figures.json")
    assert unwritable.returncode == 2 and "cannot be written" in unwritable.stderr and not unwritable.stdout
    assert "mean of five calls" in " ".join(bench("--help").stdout.split())


def test_the_gate_needs_a_build(tmp_path):
    nothing = bench("--gate", str(tmp_path))
    assert nothing.returncode == 2 and "there is no libhunze.so" in nothing.stderr
    (tmp_path / "libhunze.so").touch()
    command = [sys.executable, "-m", "hunze", "bench", "--gate", str(tmp_path)]
    alone = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 2 and "no hunze_bench in build/bench, build/gcc, " in alone.stderr


@pytest.mark.parametrize("option", [["--json", "FILE"], ["--check"], ["--rounds", "9"], ["--size", "1024"]])
def test_the_gate_takes_no_other_option(option, tmp_path):
    (tmp_path / "libhunze.so").touch()
    done = bench("--gate", str(tmp_path), *option)
    assert done.returncode == 2 and f"{option[0]} does not go with --gate" in done.stderr


def test_the_gate_takes_this_trees_program(tmp_path):
    """The other build's comes last: it may compare in another way."""
    other = tmp_path / "other"
    for folder, status in (("other", 3), ("build/gcc", 4), ("build/bench", 5)):
        program = tmp_path / folder / "hunze_bench"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        program.chmod(0o755)
        (other / "libhunze.so").touch()
        command = [sys.executable, "-m", "hunze", "bench", "--gate", str(other)]
        assert subprocess.run(command, cwd=tmp_path).returncode == status


def test_other_libraries_choose_for_themselves(monkeypatch):
    """The caller's OPENBLAS_CORETYPE would decide how fast NumPy's products are."""
    from hunze._environment import untuned

    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "HUNZE_ISA"):
        monkeypatch.setenv(name, "7")
    environment = untuned(threads=2)
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == "2" and environment["HUNZE_ISA"] == "7"
