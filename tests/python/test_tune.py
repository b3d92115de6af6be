"""python -m hunze tune, the file it keeps, and the floor that hunze.explain takes from it.  No test depends on how fast
the machine is: what is measured is only looked at for being there."""

import json
import os
import subprocess
import sys

import hunze as hz
import numpy as np
import pytest
from hunze import _ceilings, tune

A = np.ones((512, 512), "float32")
OPERATIONS, BYTES = 2 * 512**3, 3 * 4 * 512**2
SHORT = ["--seconds", "0.02"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hz.set_num_threads(2)
    yield tmp_path / "hunze"
    hz.set_num_threads(0)


@pytest.fixture
def eight_cores(monkeypatch):
    """What runs here has this CPU eight times."""
    machine = {**_ceilings.machine(), "cores": 8}
    monkeypatch.setattr(_ceilings, "machine", lambda: machine)


def plant(change=None, **rates):
    """Stores an entry with these (one, all) under their names, _ for a blank."""
    ceilings = [
        {"name": name.replace("__", " "), "unit": "bytes/s" if name in ("read", "copy") else "operations/s"}
        | dict(zip(("one", "all"), both))
        for name, both in rates.items()
    ]
    entry = {"schema": 1, "machine": _ceilings.machine(), "date": "2026-01-02T03:04:05+00:00", "load": 0.0}
    _ceilings.prepare()
    return _ceilings.store({**entry, "ceilings": ceilings, **(change or {})})


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "hunze", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


# ---------------------------------------------------------------- the command


def test_what_is_measured_is_stored(folder):
    result = command("tune", *SHORT)
    assert result.returncode == 0, result.stderr
    files = list(folder.iterdir())
    assert files == [folder / os.path.basename(_ceilings.path())], "one file, and no temporary one"
    entry = json.loads(files[0].read_text())
    assert entry["machine"]["cpu"] == hz.info()["cpu"] and entry["machine"]["cores"] == hz.info()["cores"]
    names = {ceiling["name"] for ceiling in entry["ceilings"]}
    assert {"read", "copy"} <= names
    for isa in set(hz.info()["allowed"]) & {"avx2", "avx512"}:
        assert {f"{kind} {isa}" for kind in ("f32", "f64", "bf16", "u8s8")} <= names
    for ceiling in entry["ceilings"]:
        assert ceiling["one"] > 0 and ceiling["all"] > 0
        assert f"{ceiling['name']}\n" in result.stderr, "its progress"
        assert f"\n{ceiling['name']} " in result.stdout
    assert _ceilings.load() == (entry, None)
    shown = command("tune", "--show")
    assert shown.stdout == result.stdout and not shown.stderr
    assert json.loads(command("tune", "--show", "--json").stdout) == entry


def test_json_is_what_is_stored(capsys, monkeypatch, eight_cores):
    monkeypatch.setattr(tune._hunze, "_bandwidth", lambda copy, threads, seconds: 1e9 * (1 + copy) * threads)
    monkeypatch.setattr(tune._hunze, "_peak", lambda isa, kind, seconds: 5e9 if kind == "f32" else 0.0)
    monkeypatch.setattr(tune._hunze, "_peak_all", lambda isa, kind, threads, seconds: 4e9 * threads)
    assert tune.main(["--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert _ceilings.load() == (entry, None)
    rates = {ceiling["name"]: (ceiling["one"], ceiling["all"]) for ceiling in entry["ceilings"]}
    assert rates.pop("read") == (1e9, 8e9) and rates.pop("copy") == (2e9, 16e9)
    assert set(rates.values()) == {(5e9, 32e9)}


def test_a_measurement_that_fails_stores_nothing(folder, monkeypatch, capsys):
    monkeypatch.setattr(tune._hunze, "_bandwidth", lambda copy, threads, seconds: 0.0)
    assert tune.main(SHORT) == 1
    assert "could not be measured" in capsys.readouterr().err and not list(folder.iterdir())


def test_another_machine_keeps_its_file(folder, monkeypatch, capsys):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(_ceilings, "machine", lambda: {"cpu": "another", "cores": 2, "flags": "0"})
        other = plant(read=(1e9, 1e9))
    before = open(other).read()
    mine = plant(read=(2e9, 2e9))
    assert other != mine and open(other).read() == before
    assert tune.main(["--forget"]) == 0 and mine in capsys.readouterr().out
    assert os.listdir(folder) == [os.path.basename(other)] and open(other).read() == before
    os.rename(other, mine)
    assert "another machine" in hz.explain(hz.matmul, A, A)["floor"]["why"]


def test_show_and_forget_where_nothing_is(folder, capsys):
    assert tune.main(["--show"]) == 1
    assert "python -m hunze tune measures them" in capsys.readouterr().err
    assert tune.main(["--forget"]) == 0
    assert "nothing is stored" in capsys.readouterr().out and not folder.exists()


def test_an_unwritable_folder_is_found_before_the_measurements(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tune, "measure", lambda *arguments: pytest.fail("it measured"))
    with pytest.raises(SystemExit) as stop:
        tune.main([])
    assert stop.value.code == 2 and "cannot be stored" in capsys.readouterr().err
    assert "no ceilings" in hz.explain(hz.matmul, A, A)["floor"]["why"]


def test_a_file_that_cannot_be_removed_is_said(monkeypatch, capsys):
    file = plant(read=(1e9, 1e9))

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_ceilings.os, "unlink", refuse)
    with pytest.raises(SystemExit) as stop:
        tune.main(["--forget"])
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and "ceilings cannot be removed: " in errors and file in errors


def test_a_file_is_written_whole_or_not_at_all(folder, monkeypatch):
    file = plant(read=(1e9, 1e9))
    before = open(file).read()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_ceilings.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        plant(read=(2e9, 2e9))
    assert open(file).read() == before and os.listdir(folder) == [os.path.basename(file)]


def test_a_relative_folder_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "cache", "./cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert os.path.dirname(_ceilings.path()) == str(tmp_path / ".cache" / "hunze")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "61", "x"])
def test_wrong_seconds(seconds, capsys):
    with pytest.raises(SystemExit) as stop:
        tune.main(["--seconds", seconds])
    assert stop.value.code == 2 and "--seconds" in capsys.readouterr().err


def test_nothing_else_writes(tmp_path):
    script = """
import numpy as np, hunze as hz
a = np.ones((64, 64), "float32")
hz.matmul(a, a)
print(hz.explain(hz.matmul, a, a)["floor"]["why"])
assert hz.test(verbose=False)
"""
    homes = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    environment = {**os.environ, **homes, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and "python -m hunze tune" in result.stdout, result.stderr
    for arguments in (["info"], ["tune", "--show"], ["tune", "--forget"], ["tune", "--help"]):
        assert command(*arguments, **environment).stdout or arguments[-1] == "--show"
    assert not list(tmp_path.rglob("*"))


# ---------------------------------------------------------------- the floor


def explained(**changes):
    """As hunze.explain gives it, for any CPU."""
    return {
        "op": "gemm",
        "kernel": "some_kernel",
        "isa": "avx2",
        "dtypes": ["f32", "f32", "f32"],
        "operations": 6_000_000,
        "bytes": 4_000,
        **changes,
    }


def test_the_floor_is_of_what_takes_longer():
    plant(f32__avx2=(2e9, 2e9), read=(1e9, 1e9), copy=(1e8, 1e8))
    assert _ceilings.floor(explained(), 1) == {
        "seconds": 0.003,
        "limit": "f32 avx2 multiply-add",
        "threads": 1,
        "parts": {"f32 avx2": 0.003, "read": 4e-6},
        "measured": "2026-01-02T03:04:05+00:00",
    }
    floor = _ceilings.floor(explained(bytes=5_000_000), 1)
    assert (floor["seconds"], floor["limit"]) == (0.005, "read from memory")
    elementwise = explained(op="activation", dtypes=["f32", "none", "f32"])
    floor = _ceilings.floor(elementwise, 1)
    assert (floor["seconds"], floor["limit"], floor["parts"]) == (4e-5, "copy in memory", {"copy": 4e-5})


def test_the_floor_of_threads(eight_cores):
    plant(f32__avx2=(1e9, 3e9), read=(1e9, 2e9))
    seconds = [_ceilings.floor(explained(), threads)["seconds"] for threads in (1, 2, 4, 8, 9)]
    assert seconds == [0.006, 0.003, 0.002, 0.002, 0.002]
    plant(f32__avx2=(2e9, 1e9), read=(1e9, 2e9))  # all were disturbed: they are no slower than one
    assert _ceilings.floor(explained(), 8)["seconds"] == 0.003


@pytest.mark.parametrize(
    "dtypes, kernel, isa, name",
    [
        (["f64", "f64", "f64"], "some_kernel", "avx2", "f64__avx2"),
        (["u8", "s8", "s32"], "some_kernel", "avx2", "u8s8__avx2"),
        (["s8", "s8", "f32"], "some_kernel", "avx512vnni", "u8s8__avx512vnni"),
        (["u8", "s8", "s32"], "some_kernel_safe", "avx2", "u8s8_safe__avx2"),
        (["bf16", "bf16", "f32"], "some_kernel", "avx512bf16", "bf16__avx512bf16"),
        (["f16", "f16", "f16"], "some_kernel", "avx512", "f32__avx512"),
    ],
)
def test_the_multiply_add_of_a_kernel(dtypes, kernel, isa, name):
    product = explained(dtypes=dtypes, kernel=kernel, isa=isa)
    plant(read=(1e9, 1e9), f32__avx2=(1e9, 1e9))
    floor = _ceilings.floor(product, 1)
    assert floor["seconds"] is None and repr(name.replace("__", " ")) in floor["why"]
    plant(read=(1e9, 1e9), **{name: (3e9, 3e9)})
    assert _ceilings.floor(product, 1)["seconds"] == 0.002


def test_a_portable_kernel_has_none():
    plant(read=(1e9, 1e9))
    with hz.options(isa="portable"):
        floor = hz.explain(hz.matmul, A, A)["floor"]
    assert floor["seconds"] is None and "there is none for a portable kernel" in floor["why"]


def every_ceiling(one, every):
    isas = ("avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16")
    return {f"f32__{isa}": (one, every) for isa in isas} | {"read": (1e12, 1e12), "copy": (1e12, 1e12)}


@pytest.mark.skipif("avx2" not in hz.info()["allowed"], reason="has only portable kernels")
def test_explain(eight_cores):
    floor = hz.explain(hz.matmul, A, A)["floor"]
    assert floor == {
        "seconds": None,
        "why": "no ceilings of this machine are stored; python -m hunze tune measures them",
    }
    plant(**every_ceiling(1e9, 3e9))
    for threads, rate in ((1, 1e9), (2, 2e9), (4, 3e9)):
        with hz.options(threads=threads):
            inside = hz.explain(hz.matmul, A, A)
        figures = hz.explain(hz.matmul, A, A, threads=threads)
        assert inside["floor"] == figures["floor"]
        assert (figures["floor"]["threads"], figures["floor"]["seconds"]) == (threads, OPERATIONS / rate)
        assert figures["floor"]["limit"] == f"f32 {figures['isa']} multiply-add"
        assert figures["floor"]["parts"]["read"] == BYTES / 1e12
    assert hz.plan(hz.matmul, A, A).explain()["floor"]["threads"] == 2, "the process's"
    assert hz.explain(hz.matmul, A[:8, :8].copy(), A[:8, :8].copy())["floor"]["threads"] == 1, "it is small"
    lines = [line.split(None, 1) for line in repr(figures).splitlines()]
    assert ["floor.seconds", f"{OPERATIONS / 3e9:.6g}"] in lines
    assert ["floor.limit", figures["floor"]["limit"]] in lines
    assert figures["floor"]["limit"] in figures._repr_html_()
    names = list(figures)
    assert names.index("floor") < names.index("refused")


def test_the_file_is_read_when_it_has_changed(monkeypatch):
    reads = []
    load = json.load
    monkeypatch.setattr(_ceilings.json, "load", lambda stream: reads.append(1) or load(stream))
    plant(f32__avx2=(2e9, 2e9), read=(1e9, 1e9))
    assert [_ceilings.floor(explained(), 1)["seconds"] for _ in range(3)] == [0.003] * 3 and len(reads) == 1
    plant(f32__avx2=(3e9, 3e9), read=(1e9, 1e9))
    assert [_ceilings.floor(explained(), 1)["seconds"] for _ in range(3)] == [0.002] * 3 and len(reads) == 2
    _ceilings.forget()
    assert "no ceilings" in _ceilings.floor(explained(), 1)["why"]


RATES = {"name": "read", "unit": "bytes/s", "one": 1.0, "all": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\xff",
        "[" * 100_000,
        "x" * (1 << 21),
        {"padding": " " * (1 << 20)},
        {"schema": 2},
        {"date": "yesterday"},
        {"date": 3},
        {"load": "little"},
        {"ceilings": 1},
        {"ceilings": ["read"]},
        {"ceilings": [{**RATES, "one": 0}]},
        {"ceilings": [{**RATES, "all": float("nan")}]},
        {"ceilings": [{**RATES, "all": 10**400}]},
        {"ceilings": [{**RATES, "one": None}]},
        {"ceilings": [{**RATES, "name": "\ud800"}]},
        {"ceilings": [{**RATES, "name": 1}]},
        {"ceilings": [{**RATES, "unit": "apples"}]},
        {"ceilings": [{"name": "read"}]},
    ],
    ids=lambda text: repr(text)[:40],
)
def test_a_corrupt_file_is_said_and_replaced(text, capsys):
    file = plant(read=(1e9, 1e9))
    if isinstance(text, dict):
        text = json.dumps({**json.load(open(file)), **text})
    with open(file, "w", encoding="latin-1") as stream:
        stream.write(text)
    why = hz.explain(hz.matmul, A, A)["floor"]["why"]
    assert file in why and "python -m hunze tune writes it anew" in why
    assert tune.main(["--show"]) == 1 and file in capsys.readouterr().err
    plant(read=(1e9, 1e9))
    assert _ceilings.load()[1] is None


def test_what_is_no_file():
    file = plant(read=(1e9, 1e9))
    os.unlink(file)
    os.mkfifo(file)  # to open it would wait for ever
    assert "no file of tune's" in hz.explain(hz.matmul, A, A)["floor"]["why"]
    os.unlink(file)
    os.mkdir(file)
    assert "no file of tune's" in hz.explain(hz.matmul, A, A)["floor"]["why"]


@pytest.mark.parametrize("absent", ["to", "from", "copy", "calls", "f32", "copy of the CPU"])
def test_a_ceiling_of_a_device_that_is_missing_is_said(absent):
    from hunze import _transfer

    rates = {"to": 1e9, "from": 2e9, "copy": 1e12, "f32": 1e10, "calls": 1e6}
    rates.pop(absent, None)
    ceilings = [{"name": name, "unit": "bytes/s", "rate": rate} for name, rate in rates.items()]
    device = {"id": 0, "name": "Card", "ceilings": ceilings}
    cpu = {"read": (1e9, 1e9)} | ({} if absent.endswith("CPU") else {"copy": (1e9, 1e9)})
    plant({"devices": [device]}, **cpu)
    assert hz.explain(hz.matmul, A, A)["floor"]["why"].startswith("no ceiling 'f32 "), "what is there counts"
    call = {"op": "gemm", "device": "cuda:0", "device_name": "cuda:0 (Card, sm_90)", "dtypes": ["f32"] * 3}
    moved = _transfer.transfer({**call, "bytes": 1e6, "operations": 1e6}, 1, 0, 1e6, 1e6, 1)
    assert moved["seconds"] is None and f"no ceiling '{absent.split()[0]}' " in moved["why"]
    assert (moved["bytes over"], moved["slices"]) == (1000000, 1)
    floor = _transfer.floor({**call, "bytes": 1e6, "operations": 1e6})
    assert (floor["seconds"] is None) == (absent in ("copy", "f32"))
