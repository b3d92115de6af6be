"""Other libraries for products: NumPy's own OpenBLAS, and those of build/peers where `make bench` has brought them; and
what hunze.explain tells of a run.  No test depends on how fast anything is."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hunze as hz
import numpy as np
import pytest
from hunze import _ceilings, _plans, tune

ROOT = Path(__file__).resolve().parent.parent.parent
KERNELS = [kernel["name"] for kernel in hz.info()["kernels"] if kernel["isa"] == "provider"]
DTYPES = {"f32": ("float32", "float32"), "f64": ("float64", "float64"), "u8s8": ("uint8", "int8")}
WHEEL = sorted(Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*.so*"))
PEERS = {
    "openblas": sorted(
        (ROOT / "build/peers").glob("lib/python3*/site-packages/scipy_openblas32/lib/libscipy_openblas.so")
    ),
    "onednn": sorted((ROOT / "build/peers").glob("lib/libdnnl.so.3")),
}
SOURCES = [
    pytest.param("openblas", WHEEL, id="NumPy's OpenBLAS"),
    *(pytest.param(name, found, id=f"{name} of build/peers") for name, found in PEERS.items()),
]


def kernel_of(provider, types):
    """The row of a provider for these types; None if it has none."""
    return next((name for name in KERNELS if name.split("_")[1:] == [types, provider]), None)


def is_mapped(path):
    return str(path) in Path("/proc/self/maps").read_text()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HUNZE_PROVIDERS", raising=False)


@pytest.fixture
def copied(tmp_path):
    """A copy of NumPy's OpenBLAS that nobody has opened."""
    if not WHEEL:
        pytest.skip("this NumPy carries no OpenBLAS")
    shutil.copytree(WHEEL[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / WHEEL[0].name


# ---------------------------------------------------------------- products


@pytest.mark.parametrize("provider, found", SOURCES)
@pytest.mark.parametrize("types", DTYPES)
def test_products_keep_their_bounds(provider, found, types):
    kernel = kernel_of(provider, types)
    if kernel is None:
        return
    if not found:
        pytest.skip("not here")
    rng = np.random.default_rng(3)
    with hz.options(providers=f"{provider}={found[0]}"):
        for m, n, k in ((1, 1, 1), (3, 700, 40), (130, 65, 257), (270, 260, 150)):
            for turn in range(4):
                if types == "u8s8":
                    a, b = rng.integers(0, 256, (2, m, k), "uint8"), rng.integers(-128, 128, (k, n), "int8")
                    if turn == 1:
                        b = np.asfortranarray(b)
                    try:
                        got = hz.plan(hz.matmul, a, b, kernel=kernel, threads=turn + 1)(a, b)
                    except NotImplementedError as error:
                        assert "without VNNI" in str(error)
                        return
                    np.testing.assert_array_equal(got, a.astype("int32") @ b.astype("int32"))
                    continue
                dtype = np.dtype(DTYPES[types][0])
                a, b = rng.standard_normal((2, m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
                if turn % 2:
                    a, b = a.transpose(0, 2, 1).copy().transpose(0, 2, 1), np.asfortranarray(b)
                bias = rng.standard_normal(n).astype(dtype)
                plan = hz.plan(hz.matmul, a, b, bias=bias, activation="relu", kernel=kernel, threads=turn % 3 + 1)
                assert plan.kernel == kernel
                wide = np.longdouble if dtype == "float64" else np.float64
                exact = np.maximum(a.astype(wide) @ b.astype(wide) + bias, 0)
                bound = abs(a).astype(wide) @ abs(b).astype(wide)
                unit = np.finfo(dtype).eps / 2
                error = abs(plan(a, b) - exact) - 2 * unit * (abs(bias) + abs(exact))
                assert (error <= (k + 4) * unit * bound).all(), (m, n, k, turn)
                assert (error <= (6 * np.sqrt(k) + 2) * unit * bound).all(), (m, n, k, turn)


def test_what_is_allowed_is_opened_when_it_is_named(copied):
    a = np.random.default_rng(4).standard_normal((90, 90)).astype("float32")
    before = hz.matmul(a, a)
    with hz.options(providers=f"openblas={copied}"):
        np.testing.assert_array_equal(hz.matmul(a, a), before)
        refused = {row["kernel"]: row["why"] for row in hz.explain(hz.matmul, a, a)["refused"]}
        kernel = kernel_of("openblas", "f32")
        assert "nothing was measured of it" in refused[kernel]
        assert not is_mapped(copied), "allowed is not asked for"
        with hz.options(providers=()), pytest.raises(NotImplementedError, match="does not allow openblas"):
            hz.plan(hz.matmul, a, a, kernel=kernel)
        assert not is_mapped(copied)
        with hz.options(threads=1):
            hz.plan(hz.matmul, a, a, kernel=kernel)(a, a)
        assert is_mapped(copied)
        found = hz.info()["providers"][0]
        assert found["name"] == "openblas" and found["file"] == str(copied) and found["version"].startswith("OpenBLAS ")
        with pytest.raises(NotImplementedError, match="its bits are its own"):
            hz.plan(hz.matmul, a, a, kernel=kernel, reproducible=True)
    with pytest.raises(NotImplementedError, match="does not allow openblas"):
        hz.plan(hz.matmul, a, a, kernel=kernel)


@pytest.mark.skipif(not WHEEL, reason="this NumPy carries no OpenBLAS")
def test_numpys_own_number_of_threads_stays():
    library = ctypes.CDLL(str(WHEEL[0]))
    count = getattr(library, "scipy_openblas_get_num_threads64_", None)
    if count is None:
        pytest.skip("another form of OpenBLAS")
    set_count = library.scipy_openblas_set_num_threads64_
    before = count()
    a = np.ones((300, 300), "float32")
    try:
        set_count(2)
        with hz.options(providers=f"openblas={WHEEL[0]}", threads=2):
            plan = hz.plan(hz.matmul, a, a, kernel=kernel_of("openblas", "f32"))
            for _ in range(20):
                assert (plan(a, a) == 300).all()
        assert count() == 2
    finally:
        set_count(before)


# ---------------------------------------------------------------- settings


def test_options():
    with hz.options(providers=("openblas=/nowhere/x.so", "onednn=/nowhere/y.so")) as block:
        assert block.providers == "openblas=/nowhere/x.so,onednn=/nowhere/y.so"
        assert "providers='openblas=/nowhere" in repr(block)
        about = hz.info()
        assert [p["allowed"] for p in about["providers"]] == [True, True]
        assert all("cannot be opened: /nowhere" in p["reason"] for p in about["providers"])
        assert {k["allowed"] for k in about["kernels"] if k["isa"] == "provider"} == {True}
        with hz.options(isa="portable"):  # keeps the outer block's
            assert hz.info()["allowed"] == ["portable"] and hz.info()["providers"][0]["allowed"]
        with hz.options(providers=()):
            assert not any(p["allowed"] for p in hz.info()["providers"])
    assert not any(p["allowed"] for p in hz.info()["providers"])
    with pytest.raises(ValueError, match='providers has "mkl"'), hz.options(providers="mkl"):
        pass
    for wrong in (3, [b"onednn"], [None]):
        with pytest.raises(TypeError):
            hz.options(providers=wrong)


def child(script, **environment):
    result = subprocess.run(
        [sys.executable, "-c", "import json, numpy as np, hunze as hz\n" + script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_environment_allows(copied):
    script = "print([p['allowed'] for p in hz.info()['providers']])"
    assert child(script, HUNZE_PROVIDERS=f"openblas={copied}") == "[True, False]"
    script = "try: hz.info()\nexcept ValueError as error: print(error)"
    assert 'HUNZE_PROVIDERS has "x"' in child(script, HUNZE_PROVIDERS="x")


# ---------------------------------------------------------------- what was measured decides


def plant(providers, **changes):
    entry = {
        "schema": 1,
        "machine": _ceilings.machine(),
        "date": "2026-01-02T03:04:05+00:00",
        "load": 0.0,
        "version": hz.__version__,
        "ceilings": [],
        "providers": providers,
        **changes,
    }
    _ceilings.prepare()
    return _ceilings.store(entry)


def test_tune_measures_what_is_allowed(copied, monkeypatch, capsys):
    asked = []

    def ratio(kernel, types, extents, threads, seconds):
        asked.append((kernel, extents, threads))
        return None if kernel == kernel_of("openblas", "f64") else 0.5 if extents == (256, 256, 256) else 0.75

    monkeypatch.setattr(tune, "_ratio", ratio)
    monkeypatch.setattr(tune, "measurements", lambda *arguments: [])
    assert tune.main(["--json", "--providers", f"openblas={copied}"]) == 0
    entry = json.loads(capsys.readouterr().out)
    kernel, version = kernel_of("openblas", "f32"), entry["providers"][0]["version"]
    assert version.startswith("OpenBLAS ")
    assert [(p["kernel"], p["size"], p["thousandths"]) for p in entry["providers"]] == [
        (kernel, size, 750) for size in ("small", "skinny", "medium", "large")
    ]
    cores = hz.info()["cores"]
    assert {threads for _, _, threads in asked} == {1, cores}
    assert tune.main(["--show"]) == 0
    assert f"{kernel} medium" in (shown := capsys.readouterr().out) and "0.750 of the seconds" in shown
    a = np.ones((100, 100), "float32")
    with hz.options(providers=f"openblas={copied}"):
        explained = hz.explain(hz.matmul, a, a)
        assert explained["kernel"] == kernel and "measured at 0.750" in explained["why"]
        assert (hz.matmul(a, a) == 100).all()
        assert hz.explain(hz.matmul, a, a, reproducible=True)["kernel"] != kernel
    assert hz.explain(hz.matmul, a, a)["kernel"] != kernel
    script = "a = np.ones((100, 100), 'float32'); print(hz.plan(hz.matmul, a, a).kernel)"
    assert child(script, HUNZE_PROVIDERS=f"openblas={copied}") == kernel
    assert child(script) != kernel
    plant(entry["providers"], version="0.0.0")  # beside other kernels of our own
    with hz.options(providers=f"openblas={copied}"):
        assert hz.plan(hz.matmul, a, a).kernel != kernel
    plant([{**entry["providers"][2], "version": "OpenBLAS of another day"}])
    with hz.options(providers=f"openblas={copied}"):
        assert hz.plan(hz.matmul, a, a).kernel != kernel
    assert tune.main([]) == 0  # allows none
    assert _ceilings.load()[0]["providers"] == []


def test_a_ratio_is_measured(copied):
    with hz.options(providers=f"openblas={copied}"):
        assert 0 < tune._ratio(kernel_of("openblas", "f32"), DTYPES["f32"], (40, 50, 60), 1, 0.02) < 1000
    assert tune._ratio(kernel_of("openblas", "f32"), DTYPES["f32"], (40, 50, 60), 1, 0.02) is None


GOOD = {"kernel": "k", "size": "large", "thousandths": 5, "version": "v"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"thousandths": 0},
        {"thousandths": "5"},
        {"kernel": "a b"},
        {"size": ""},
        {"version": "two\nlines"},
        {"version": 3},
    ],
    ids=repr,
)
def test_a_corrupt_record_measures_nothing(wrong):
    plant([GOOD])
    assert _ceilings.measured() == "k large 5 v"
    plant([{**GOOD, **wrong}])
    assert _ceilings.measured() is None and "holds no ceilings" in _ceilings.load()[1]
    with hz.options(providers="auto"):
        hz.matmul(np.ones((2, 2), "float32"), np.ones((2, 2), "float32"))


# ---------------------------------------------------------------- what explain tells


def test_the_driver_and_its_blocks():
    def told(op, *operands, **options):
        explained = hz.explain(op, *operands, threads=1, **options)
        return explained["driver"], explained.get("blocks")

    a = np.ones((600, 600), "float32")
    assert told(hz.matmul, a[:8, :8].copy(), a[:8, :8].copy())[0] == "direct"
    assert told(hz.matmul, a[:8, :8].copy(), a[:8, :8].copy(), activation="relu")[0] == "small"
    driver, blocks = told(hz.matmul, a, a)
    assert driver == "blocked" and "packed" in blocks["b"]
    assert blocks["k"] == 600 and 0 < blocks["unit"][0] <= 600, "one K block: 88 join the 512"
    assert 1 <= blocks["lanes"] <= hz.info()["threads"]
    assert told(hz.matmul, np.ones((9, 2000), "float32"), np.ones((2000, 900), "float32"))[0] == "strips of few rows"
    packed = hz.pack(hz.linear, a)
    assert told(hz.linear, a, packed)[1]["b"] == "packed beforehand"
    x = np.ones((1, 8, 40, 40), "float32")
    assert told(hz.conv2d, x, np.ones((8, 8, 3, 3), "float32"), padding=1)[0] == "planes"
    assert told(hz.conv2d, x, np.ones((8, 1, 3, 3), "float32"), padding=1, groups=8)[0] == "depthwise"
    assert told(hz.activate, x, "relu")[0] == "elementwise"
    explained = hz.explain(hz.matmul, a, a)
    assert explained["cycles"] > 0 and "fewest modelled cycles" in explained["why"]
    with hz.options(isa="portable"):
        assert "the next" not in hz.explain(hz.matmul, a, a)["why"]
    if "avx2" in hz.info()["allowed"]:
        assert "; the next is " in explained["why"]


def test_what_a_run_achieves(monkeypatch):
    a = np.ones((200, 200), "float32")
    assert "achieved" not in hz.explain(hz.matmul, a, a)
    achieved = hz.explain(hz.matmul, a, a, run=True)["achieved"]
    assert achieved["seconds"] > 0 and achieved["runs"] >= 5
    assert achieved["fraction"] is None and "tune measures them" in achieved["why"]
    isas = ("portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16")
    rates = [{"name": f"f32 {isa}", "unit": "operations/s", "one": 1e9, "all": 1e9} for isa in isas]
    plant([], ceilings=[*rates, {"name": "read", "unit": "bytes/s", "one": 1e12, "all": 1e12}])
    if hz.info()["allowed"] != ["portable"]:
        explained = hz.explain(hz.matmul, a, a, run=True)
        assert explained["achieved"]["fraction"] == explained["floor"]["seconds"] / explained["achieved"]["seconds"]
    for op, operands in (
        (hz.quantize, (a,)),
        (hz.linear, (a, hz.pack(hz.linear, a))),
        (hz.conv2d, (a.reshape(1, 4, 100, 100), np.ones((4, 4, 3, 3), "float32"))),
    ):
        assert hz.plan(op, *operands).explain(run=operands)["achieved"]["seconds"] > 0
    with pytest.raises(ValueError, match="shape"):
        hz.plan(hz.matmul, a, a).explain(run=(a, a[:, :50]))
    monkeypatch.setattr(_plans.time, "perf_counter", lambda: pytest.fail("it read a clock"))
    hz.explain(hz.matmul, a, a)


def test_the_floor_of_another_library():
    rates = [{"name": f"f32 {isa}", "unit": "operations/s", "one": 1e9, "all": 1e9} for isa in hz.info()["allowed"]]
    plant([], ceilings=[*rates, {"name": "read", "unit": "bytes/s", "one": 1e12, "all": 1e12}])
    call = {"op": "gemm", "kernel": "k", "isa": "provider", "dtypes": ["f32"] * 3, "operations": 2e6, "bytes": 8}
    floor = _ceilings.floor(call, 1)
    assert floor["seconds"] == 0.002 and floor["limit"] == f"f32 {hz.info()['allowed'][-1]} multiply-add"
