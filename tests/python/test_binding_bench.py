"""python -m hunze bench: a short run prints every figure and writes the same to a file."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import hunze as hz
import pytest
from hunze import bench as module


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


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """The one from before stays until the last figure is measured."""
    target, link, seen = tmp_path / "figures.json", tmp_path / "link.json", []
    target.write_text("before")
    link.symlink_to(target)
    figure = {"figure": "one", "ratio": 1.0, "spread": [1.0, 1.0], "rounds": 1, "goal": None, "met": None, "detail": ""}

    def figures(rounds, size, say):
        yield figure
        seen.append(target.read_text())
        if broken:
            raise RuntimeError("a measuring process ended early")

    monkeypatch.setattr(module, "figures", figures)
    for broken in (True, False):
        with pytest.raises(RuntimeError) if broken else contextlib.nullcontext():
            assert module.main(["--json", str(link)]) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "link.json"] and link.is_symlink()
        assert target.read_text() == "before" if broken else json.loads(target.read_text())["figures"] == [figure]
    assert seen == ["before", "before"]


def test_a_pipe_stays_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "figures", lambda rounds, size, say: iter(()))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert module.main(["--json", str(pipe)]) == 0
    assert json.loads(os.read(reader, 1 << 16))["figures"] == [] and pipe.is_fifo()
    os.close(reader)
    with pytest.raises(SystemExit):
        module.main(["--json", str(tmp_path)])


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


def interrupted(*arguments, after, times=1, **where):
    """(exit status, output, errors) of a command, interrupted as from a terminal once a line begins with `after`."""
    command = [sys.executable, "-u", "-m", "hunze", *arguments]
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    process = subprocess.Popen(command, **streams, **where)
    stream = process.stderr if after.startswith("-") else process.stdout
    assert any(line.startswith(after) for line in iter(stream.readline, ""))
    for _ in range(times):
        time.sleep(0.5)  # within a measurement; and a second one that comes at once is none
        os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)  # until no process of it is left
    return process.returncode, output, errors


def test_an_interrupt_is_a_line(tmp_path):
    bench_again = ["bench", "--rounds", "100000", "--json", str(tmp_path / "figures.json")]
    for arguments, after in ((bench_again, "- one thread"), (["tune", "--seconds", "20"], "- 1 of ")):
        status, _, errors = interrupted(*arguments, after=after, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)})
        assert status == 130 and errors == f"python -m hunze {arguments[0]}: interrupted\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("times", "trap", "said"),
    [(1, "sleep 0.6; echo 0 losses in 3 comparisons, interrupted; exit 2", "0 losses in 3 comparisons, interrupted\n")]
    + [(2, "", "")],
)
def test_an_interrupted_gate_prints_what_it_has(times, trap, said, tmp_path):
    """It takes longer for that than subprocess.run would wait; a second interrupt ends it."""
    program = tmp_path / "build" / "bench" / "hunze_bench"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ntrap '{trap}' INT\necho compares\nwhile :; do sleep 0.05; done\n")
    program.chmod(0o755)
    (tmp_path / "libhunze.so").touch()
    status, output, errors = interrupted("bench", "--gate", str(tmp_path), after="compares", times=times, cwd=tmp_path)
    assert (status, output, errors) == (130, said, "python -m hunze bench: interrupted\n")


def test_other_libraries_choose_for_themselves(monkeypatch):
    """The caller's OPENBLAS_CORETYPE would decide how fast NumPy's products are."""
    from hunze._environment import untuned

    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "HUNZE_ISA"):
        monkeypatch.setenv(name, "7")
    environment = untuned(threads=2)
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["OMP_NUM_THREADS"] == "2" and environment["HUNZE_ISA"] == "7"
