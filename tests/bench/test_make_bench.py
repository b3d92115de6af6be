"""What `make bench` does around the measurement: other libraries, the machine, where results are kept, interrupts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import bootstrap  # noqa: E402

import bench  # noqa: E402

FACTS = {"date": "2026-01-02T03:04:05Z", "revision": "abc1234", "device": {"name": "here"}}


def test_each_record_is_a_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    names = []
    for _ in range(3):
        path = bench.record_file(FACTS)
        path.touch()
        names.append(path.name)
    assert names == ["2026-01-02-abc1234.json", "2026-01-02-abc1234-2.json", "2026-01-02-abc1234-3.json"]


def test_a_folder_that_cannot_be_written_ends_it_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").touch()  # a file stands in its place
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    with pytest.raises(SystemExit):
        bench.record_file(FACTS)
    assert "here cannot be written: File exists" in capsys.readouterr().out


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    record, result = tmp_path / "record.json", tmp_path / "result.json"
    result.write_text("all of it")
    monkeypatch.setattr(bench, "RESULT", result)
    bench.keep(record)
    result.write_text("another one")

    def full(source, target):
        target.write_text("anot")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.shutil, "copyfile", full)
    with pytest.raises(SystemExit):
        bench.keep(record)
    assert record.read_text() == "all of it"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json", "result.json"]
    assert "record.json could not be written: No space left" in capsys.readouterr().out


def test_the_machine():
    name, flags = bench.cpu_facts()
    assert name and len(flags) > 10
    assert all(level[0] == "L" and size >= 1024 for level, size in bench.caches().items())


def test_a_package_that_does_not_run_is_a_line(tmp_path, monkeypatch, capsys):
    for python in ("/bin/false", tmp_path / "none"):
        monkeypatch.setattr(bench, "PYTHON", python)
        with pytest.raises(SystemExit):
            bench.about()
        assert capsys.readouterr().out.startswith("%s -m hunze info says nothing" % python)


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """build/peers elsewhere, and instead of pip a list of what it is asked for; `broken`: what it cannot install."""

    class Peers:
        folder, asked, broken = tmp_path / "peers", [], set()

        def prepare(self):
            """What pip was asked for by this run."""
            self.asked.clear()
            bench.peers_environment(None, None)
            return list(self.asked)

    def pip(python, names, **streams):
        peers.asked += names
        failed = peers.broken & set(names)
        return subprocess.CompletedProcess([], int(bool(failed)), "", "ERROR: one\nERROR: no torch\n" if failed else "")

    def create(folder, **options):
        assert options["clear"]
        for path in (folder / "bin" / "python", folder / "peers.txt", folder / "peers_torch.txt"):
            path.unlink(missing_ok=True)
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").symlink_to(sys.executable)

    peers = Peers()
    (tmp_path / "requirements").mkdir()
    for name in ("peers.txt", "peers_torch.txt"):
        (tmp_path / "requirements" / name).write_text("what %s lists\n" % name)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "PEERS", peers.folder)
    monkeypatch.setattr(bench, "pip_install", pip)
    monkeypatch.setattr(bench, "install_requirements", pip)
    monkeypatch.setattr(bench.venv, "create", create)
    monkeypatch.setattr(bench, "install", lambda steps, wheel, folder: None)
    return peers


BOTH = ["peers.txt", "peers_torch.txt"]


def test_the_other_libraries_are_installed_once(peers, tmp_path, capsys):
    assert peers.prepare() == BOTH and peers.prepare() == []
    for name in BOTH:
        (tmp_path / "requirements" / name).write_text("another list\n")
        assert peers.prepare() == BOTH and peers.prepare() == []
    assert "missing" not in capsys.readouterr().out


def test_without_torch_the_others_are_measured(peers, tmp_path, capsys):
    """An index may not have it: one line says so each time, and it is tried again when it is asked for."""
    peers.broken.add("peers_torch.txt")
    assert peers.prepare() == BOTH
    stamp = peers.folder / "peers_torch.txt"
    line = "torch will be missing, for pip could not install it (ERROR: no torch); remove %s to try again" % stamp
    assert capsys.readouterr().out.splitlines()[1:] == [line]
    assert peers.prepare() == [] and capsys.readouterr().out.splitlines() == [line]
    peers.broken.clear()
    stamp.unlink()
    assert peers.prepare() == ["peers_torch.txt"] and peers.prepare() == []
    peers.broken.add("peers_torch.txt")
    (tmp_path / "requirements" / "peers_torch.txt").write_text("another list\n")
    assert peers.prepare() == BOTH, "the torch before is no longer there to be measured"


def test_an_environment_whose_interpreter_is_gone_is_made_again(peers):
    peers.prepare()
    python = peers.folder / "bin" / "python"
    python.unlink()
    python.symlink_to(peers.folder / "none")
    assert peers.prepare() == BOTH
    assert python.resolve() == Path(sys.executable).resolve()


@pytest.mark.parametrize(
    ("user", "tool", "said"),
    [
        (0, "apt-get", "BLIS will be missing: apt-get could not install libblis4-openmp"),
        (7, "apt-get", "  sudo apt-get install -y --no-install-recommends libblis4-openmp"),
        (0, None, "  sudo apt-get install -y --no-install-recommends libblis4-openmp"),
    ],
)
def test_without_blis_the_others_are_measured(user, tool, said, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "compiles", lambda program, flag: False)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: user)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: tool)
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda line, env: subprocess.CompletedProcess(line, 100))
    bootstrap.blis()
    assert said in capsys.readouterr().out.splitlines()


# Stands for hunze_bench: where it is to be interrupted, it measures until then, and takes a while to write what it has.
MEASURES = """\
#!{python}
import json, os, signal, sys, time

result, stopped = sys.argv[sys.argv.index("--result") + 1], []
signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
content = json.load(open({fixture!r}))
content["settings"]["interrupted"] = {times} > 0
with open(result + ".part", "w") as part:
    json.dump(content, part)
print("measuring", file=sys.stderr, flush=True)
while {times} and not stopped:
    time.sleep(0.01)
time.sleep({seconds})
os.rename(result + ".part", result)
sys.exit(2 if stopped else 0)
"""
# make bench from the measurement on.
DRIVER = """\
import sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import bench
folder = Path({folder!r})
bench.BUILD, bench.PYTHON, bench.RESULTS = folder, sys.executable, folder
bench.ABOUT, bench.RESULT, bench.LINES, bench.REPORT = (
    folder / name for name in ("about", "result", "lines", {page!r})
)
for name in ("install_wheel", "peers_environment", "build"):
    setattr(bench, name, lambda *arguments: None)
bench.about = lambda: {facts}
bench.run(bench.main, "AFTER")
"""


@pytest.fixture
def measured(tmp_path):
    """Function: make bench, interrupted so often as from a terminal; its exit status and its output."""

    def run(times, seconds, page="page"):
        fixture, tools = str(ROOT / "tests" / "bench" / "fixture_result.json"), str(ROOT / "tools")
        known = dict(python=sys.executable, fixture=fixture, tools=tools, folder=str(tmp_path), facts=FACTS)
        known.update(times=times, seconds=seconds, page=page)
        (tmp_path / "hunze_bench").write_text(MEASURES.format(**known))
        (tmp_path / "hunze_bench").chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", DRIVER.format(**known)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True, env=dict(os.environ, RECORD="1"),
        )  # fmt: skip
        with process:
            assert process.stdout.readline() == "measuring\n"
            for turn in range(times):
                os.killpg(process.pid, signal.SIGINT)
                if turn == 0:
                    assert process.stdout.readline() == "\n" and "a second Ctrl-C" in process.stdout.readline()
            return process.wait(60), process.stdout.read()

    return run


def test_what_was_measured_is_reported_and_recorded(measured, tmp_path):
    status, output = measured(0, 0)
    record = tmp_path / "here" / "2026-01-02-abc1234.json"
    assert status == 0 and "The report:              %s\n" % (tmp_path / "page") in output
    assert output.endswith("recorded: %s\n" % record) and record.read_text() == (tmp_path / "result").read_text()
    status, output = measured(0, 0, page="none/page")
    assert status == 2 and "there is no folder" in output and "The report:              none" in output
    assert len(list(record.parent.iterdir())) == 2, "a record all the same"


def test_an_interrupt_keeps_what_was_measured(measured, tmp_path):
    """It takes longer to be written than subprocess.run would wait."""
    status, output = measured(1, 0.6)
    assert status == 2 and "interrupted, so not all" in output and "Traceback" not in output
    assert output.endswith("Interrupted: the report is of the rows until then, and nothing is recorded\n")
    assert (tmp_path / "page").exists() and not list((tmp_path / "here").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "about",
        "here",
        "hunze_bench",
        "lines",
        "page",
        "result",
    ]


def test_a_second_interrupt_ends_it(measured, tmp_path):
    status, output = measured(2, 20)
    assert status == 1 and output.splitlines() == ["", "Interrupted. AFTER"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["about", "here", "hunze_bench", "lines"]
