"""verify.sh without a GPU: its own promises with programs that hang, die and lie.  And the table of GPUs in the
README, made from its records."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import gpu_folder  # noqa: E402
import gpu_table  # noqa: E402

DEVICE = 'echo \'RESULT {"driver": "13.0", "devices": [{"id": 0, "name": "Pretended H100"}]}\''


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)


def verify(folder, out, *options, **env):
    """(exit status, records) of a run."""
    done = subprocess.run(
        ["sh", folder / "verify.sh", *options, out],
        env={**os.environ, "PYTHON": sys.executable, **env},
        capture_output=True,
        text=True,
    )
    return done.returncode, [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]


def says(*found):
    """A program's text that prints these results."""
    return "\n".join("echo 'RESULT %s'" % json.dumps(result) for result in found)


@pytest.fixture
def folder(tmp_path):
    """A folder whose programs are shell scripts."""
    made = tmp_path / "folder"
    made.mkdir()
    shutil.copy(HERE / "verify.sh", made)
    (made / "about.json").write_text('{"revision": "abc1234"}\n')
    program(made / "bin" / "gpu_device", DEVICE)
    program(made / "bin" / "gpu_fixtures", "exit 0")
    program(made / "bin" / "gpu_bench", 'echo \'RESULT {"case": "x", "microseconds": 1.5}\'; echo \'RESULT {"cut\'')
    return made


def test_each_step_ends_by_itself_and_is_recorded_at_once(folder, tmp_path):
    program(folder / "tests" / "1_hangs", "sleep 100")
    program(folder / "tests" / "2_dies", "kill -SEGV $$")
    program(folder / "tests" / "3_says", "printf 'first\\na \"quoted\" \\\\ \\001 line\\n'; exit 1")
    program(
        folder / "tests" / "4_looks", 'grep -c "\\"kind\\": \\"test\\"" %s; exit 77' % (tmp_path / "out/records.jsonl")
    )
    program(folder / "tests" / "5_passes", "exit 0")
    status, records = verify(folder, tmp_path / "out", HUNZE_VERIFY_SECONDS="1")
    assert status == 1
    tests = {record["step"]: record for record in records if record["kind"] == "test"}
    assert [tests[name]["status"] for name in sorted(tests)] == ["timed out", "failed", "failed", "not here", "passed"]
    assert 1000 <= tests["1_hangs"]["milliseconds"] < 8000
    assert tests["2_dies"]["exit"] == 128 + 11
    assert tests["3_says"]["last"] == 'a "quoted" \\  line'
    assert tests["4_looks"]["last"] == "3"  # the records of the three before
    kinds = [record["kind"] for record in records]
    assert kinds == ["begin", "device", "machine", "fixture", *["test"] * 5, "bench", "bench", "sanitizer", "end"]
    assert records[0]["about"] == {"revision": "abc1234"} and records[0]["small"] is False
    bench = next(record for record in records if record["kind"] == "bench")
    assert bench["results"] == [{"case": "x", "microseconds": 1.5}]
    assert records[-1]["failed"] == 1


def test_all_steps_together_have_a_limit(folder, tmp_path):
    program(folder / "tests" / "1_hangs", "sleep 100")
    program(folder / "tests" / "2_is_late", "exit 0")
    status, records = verify(folder, tmp_path / "out", HUNZE_VERIFY_BUDGET="2")
    ended = {record["step"]: record for record in records}
    assert status == 1 and ended["1_hangs"]["status"] == "timed out" and ended["1_hangs"]["milliseconds"] < 8000
    assert ended["2_is_late"]["status"] == ended["others"]["status"] == "no time left"
    assert records[-1]["kind"] == "end"


def test_a_second_run_may_be_of_some_steps(folder, tmp_path):
    program(folder / "tests" / "1_passes", "exit 0")
    program(folder / "tests" / "2_passes", "exit 0")
    _, records = verify(folder, tmp_path / "out", HUNZE_VERIFY_ONLY="2_")
    assert [record["step"] for record in records] == ["begin", "device", "2_passes", "end"]
    _, records = verify(folder, tmp_path / "out", HUNZE_VERIFY_ONLY="bench")
    assert [record["step"] for record in records] == ["begin", "device", "others", "warpgroups", "end"]


def test_scripts_find_the_package_of_the_folder(folder, tmp_path):
    (folder / "python").mkdir()
    (folder / "python" / "hunze.py").write_text("name = 'of the folder'\n")
    program(folder / "scripts" / "peers.py", "import hunze, sys; print(hunze.name, sys.argv[1:])")
    program(folder / "scripts" / "interop.py", "import sys; sys.exit(77)")
    _, records = verify(folder, tmp_path / "out", "--small")
    ended = {record["step"]: record for record in records}
    assert ended["peers"]["last"] == "of the folder ['--small', 'others']"
    assert ended["peers-half"]["last"] == "of the folder ['--small', 'half']"
    assert ended["interop"]["status"] == "not here"
    _, records = verify(folder, tmp_path / "out", PYTHON="no-such-python")
    assert [record["status"] for record in records if record["kind"] == "python"] == ["not here"] * 3


def test_what_was_found_is_one_file_too(folder, tmp_path):
    program(folder / "bin" / "gpu_fixtures", 'echo answer > "$2/fma.txt"')
    verify(folder, tmp_path / "out")
    (tmp_path / "again").mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "out" / "results.tar.gz", "-C", tmp_path / "again"], check=True)
    for name in ("records.jsonl", "fixtures/fma.txt", "logs/bench-others.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_where_nothing_failed_the_status_says_so(folder, tmp_path):
    program(folder / "tests" / "1_passes", "exit 0")
    status, records = verify(folder, tmp_path / "out", "--small")
    assert status == 0 and records[-1]["failed"] == 0 and records[0]["small"] is True


def test_what_is_not_here_is_no_failure(folder, tmp_path):
    program(folder / "tests" / "1_passes", "exit 0")
    status, records = verify(folder, tmp_path / "out")
    assert status == 0
    assert [record["status"] for record in records if record["kind"] == "sanitizer"] == ["not here"]


def test_without_a_device_nothing_else_is_tried(folder, tmp_path):
    program(folder / "bin" / "gpu_device", "echo there is no driver; exit 1")
    status, records = verify(folder, tmp_path / "out")
    assert status == 2
    assert [record["kind"] for record in records] == ["begin", "device"]
    assert records[1]["last"] == "there is no driver"


def test_a_sanitizer_that_is_refused_is_a_result(folder, tmp_path):
    path = "%s:%s" % (tmp_path / "path", os.environ["PATH"])
    for text, status in (
        ("echo Error: not permitted; exit 255", "refused here"),
        ("echo ERROR SUMMARY: 3; exit 9", "failed"),
    ):
        program(tmp_path / "path" / "compute-sanitizer", text)
        _, records = verify(folder, tmp_path / "out", PATH=path)
        assert records[-2]["kind"] == "sanitizer" and records[-2]["status"] == status


@pytest.mark.slow
def test_the_folder_proves_itself_on_the_standin(release_build, tmp_path):
    """All of it, as on a machine with a GPU but for the driver and the sizes."""
    (wheel,) = (ROOT / "dist").glob("hunze-*.whl")
    folder = tmp_path / "folder"
    gpu_folder.make(release_build, wheel, folder)
    status, records = verify(folder, tmp_path / "out", "--small", LD_LIBRARY_PATH=str(release_build / "gpu_standin"))
    logs = "\n".join(path.read_text()[-2000:] for path in sorted((tmp_path / "out" / "logs").iterdir()))
    wrong = [record for record in records if record.get("status") in ("failed", "timed out")]
    assert status == 0 and not wrong, "%s\n%s" % (wrong, logs)
    ended = {record["step"]: record for record in records}
    assert ended["device"]["results"][0]["devices"]
    asked = {result["fixture"] for result in ended["fixtures"]["results"]}
    assert asked >= {"mma_s8s8", "mma_bf16", "ldmatrix", "wgmma_bf16_nt", "tiles", "fma", "divide", "round_f16"}
    tests = [record["step"] for record in records if record["kind"] == "test"]
    assert {"test_cuda_gemm", "test_cuda_conv", "test_cuda_integer", "test_cuda_quantize"} <= set(tests)
    offload = {result["case"]: result for result in ended["offload"]["results"]}
    assert offload["numpy float32 37x41x70"]["same_bits"] and offload["cuda:0 calls"]["rate"] > 0
    interop = {result["case"]: result for result in ended["interop"]["results"]}
    assert interop["alone: between streams"]["right"] and interop["alone: host time of matmul 64"]["seconds"] > 0
    bench = ended["others"]["results"] + ended["warpgroups"]["results"]
    compared = [result for result in bench if result.get("checked") in ("same bits", "close")]
    assert {result["checked"] for result in compared} == {"same bits", "close"}
    assert len(compared) >= 16 and not [result for result in bench if result.get("checked") == "WRONG"]
    assert {"peak of fma, f32", "peak of wgmma, bf16", "host time of gemm f32 64"} <= {
        result["case"] for result in bench
    }


# ---------------------------------------------------------------- beside PyTorch


def peers(*paths, part=None):
    done = subprocess.run(
        [sys.executable, HERE / "peers.py", "--small", *([part] if part else [])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return done, {found["case"]: found for found in (json.loads(line[len("RESULT ") :]) for line in lines)}


def test_hunze_is_measured_beside_pytorch():
    """On arrays of NumPy that say they are PyTorch's: what is refused is told, what is wrong shows."""
    done, found = peers(HERE / "pretended")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = [set(peers(HERE / "pretended", part=part)[1]) for part in ("half", "others")]
    assert parts[0] | parts[1] == set(found) and not parts[0] & parts[1]
    product = found["gemm f32 37x41x70 nt"]
    assert product["difference"] < 1e-6 and product["torch_microseconds"] > 0
    assert product["ratio"] == pytest.approx(product["torch_microseconds"] / product["hunze_microseconds"], rel=1e-3)
    assert found["gemm f64 37x41x70 nt odd ld"]["torch_refused"] == "RuntimeError: f64 is refused here"
    assert found["gemm f64 37x41x70 nt odd ld"]["hunze_microseconds"] > 0
    assert "hunze_microseconds" not in found["gemm f32 37x41x70 nt tf32"]
    assert found["conv f32 2x5x9x9 3x3 ->7 last"]["difference"] < 1e-6
    assert found["depthwise f32 1x8x9x9 3x3 ->8 first"]["difference"] < 1e-6
    assert found["host time of matmul f32 64"]["hunze_microseconds"] > 0
    # The same names as in gpu_bench.c, which makes them of these words.
    assert {name.split()[0] for name in found} == {
        "gemm", "conv", "depthwise", "copy", "activate", "quantize", "dequantize", "host",
    }  # fmt: skip


def test_what_pytorch_lacks_is_not_here(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcublas is missing')\n")
    done, _ = peers(tmp_path)
    assert done.returncode == 77 and "libcublas is missing" in done.stdout
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    done, _ = peers(tmp_path)
    assert done.returncode == 77 and "no GPU" in done.stdout


# ---------------------------------------------------------------- the table


def test_the_readme_has_the_table_of_the_records():
    text = (ROOT / "README.md").read_text()
    assert text == gpu_table.replaced(text), "python tools/gpu_table.py --write"


def test_a_record_becomes_a_line(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_table, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_table, "RESULTS", tmp_path / "bench" / "results")
    assert "yet run on a GPU" in gpu_table.table()
    program(folder / "tests" / "1_passes", "exit 0")
    program(folder / "tests" / "2_fails", "exit 1")
    verify(folder, tmp_path / "out")
    with open(tmp_path / "out" / "records.jsonl", "a") as records:
        records.write('{"step": "cut')
    kept = gpu_table.keep(tmp_path / "out")
    assert kept.parent == tmp_path / "bench" / "results" / "pretended-h100" and kept.name.endswith("abc1234.jsonl")
    line = gpu_table.table().splitlines()[-1]
    assert line.startswith("| Pretended H100 | 13.0 | abc1234 |") and "1 passed; 1 failed: 2_fails" in line
    assert "1 not here: memcheck" in line
    assert gpu_table.keep(tmp_path / "out") != kept  # nothing is overwritten


def test_figures_of_the_newest_run_are_shown(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_table, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_table, "RESULTS", tmp_path / "bench" / "results")
    product = {"case": "gemm bf16 8192x8192x8192 nn", "kernel": "product_bf16", "microseconds": 2000.0}
    product |= {"tera_operations": 549.7, "gigabytes": 201.3, "floor": "peak", "of_floor": 0.5604}
    moved = {"case": "quantize f32 s8", "kernel": "codes_s8", "microseconds": 500.0, "floor": "copy"}
    moved |= {"tera_operations": 0.5, "gigabytes": 2684.4, "of_floor": 0.8912}
    other = {**product, "case": product["case"] + " by gemm_bf16_cuda", "microseconds": 3000.0}
    beside = {"case": "gemm bf16 8192x8192x8192 nn", "torch_microseconds": 1500.0, "ratio": 0.75}
    program(folder / "bin" / "gpu_bench", says(product, other, moved))
    program(folder / "scripts" / "peers.py", says(beside))
    verify(folder, tmp_path / "out", PYTHON="sh")
    gpu_table.keep(tmp_path / "out")
    lines = gpu_table.table().splitlines()
    assert "| gemm bf16 8192x8192x8192 nn | product_bf16 | 549.7 T/s | 0.56 of the peak | 0.75 |" in lines
    assert any(line.endswith("| 0.56 of the peak | 0.50, in another process |") for line in lines)
    assert "| quantize f32 s8 | codes_s8 | 2684 GB/s | 0.89 of copies | not measured |" in lines
    assert len(lines) == 3 + 3 + 5
    program(folder / "bin" / "gpu_bench", says(moved))
    verify(folder, tmp_path / "out")
    gpu_table.keep(tmp_path / "out")
    assert "549.7" not in gpu_table.table() and "2684" in gpu_table.table()


def test_every_figure_is_a_case_of_the_benchmarks():
    text = (HERE / "gpu_bench.c").read_text()
    for name in gpu_table.FIGURES:
        operation, kind, *sizes = name.partition(" by ")[0].split()
        assert operation in text and kind in text, name
        for size in re.findall(r"[0-9]{2,}", " ".join(sizes)):
            assert re.search(r"\b%s\b" % size, text), name


def test_a_trial_run_is_no_record(folder, tmp_path):
    verify(folder, tmp_path / "out", "--small")
    with pytest.raises(SystemExit, match="--small"):
        gpu_table.keep(tmp_path / "out")
