"""What `make bench` finds out before it measures: the machine, and where the result may be kept."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

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


def test_the_machine():
    name, flags = bench.cpu_facts()
    assert name and len(flags) > 10
    assert all(level[0] == "L" and size >= 1024 for level, size in bench.caches().items())


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
