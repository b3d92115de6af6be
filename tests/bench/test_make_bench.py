"""What `make bench` finds out before it measures: the machine, and where the result may be kept."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

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
