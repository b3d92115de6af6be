"""hunze_bench as a maintainer calls it: rows, errors, wrong results, libraries that crash."""

import collections
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

hunze = pytest.importorskip("hunze")
ROOT = Path(__file__).resolve().parent.parent.parent
BUILDS = [ROOT / "build" / name for name in ("gcc", "bench")]
BUILD = next((build for build in BUILDS if (build / "hunze_bench").exists()), None)
pytestmark = pytest.mark.skipif(
    BUILD is None and "HUNZE_TEST_EVERY_WORLD" not in os.environ, reason="hunze_bench is not built"
)
PORTABLE = next(row["name"] for row in hunze.info()["kernels"] if row["isa"] == "portable" and "f32" in row["name"])
CHOOSE = {"HUNZE_BROKEN": "choose", "HUNZE_CHOICE": PORTABLE}
SUITE = """# two small rows
id,op,dtype,M,N,K,batch,trans_b,packed_b,source
a1,gemm,f32,24,17,33,1,N,0,here
a2,gemm,u8s8,5,40,64,1,N,1,here
a3,gemm,bf16,5,40,64,1,N,1,here
a4,gemm,w4g32,5,40,64,1,N,1,here
"""
CONV = """id,op,dtype,N,C,H,W,K,R,S,stride,pad,groups,source
b1,conv,f32,1,8,9,7,16,3,3,1,1,1,here
"""


def bench(*arguments, **environment):
    command = [BUILD / "hunze_bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})


@pytest.fixture
def suite(tmp_path):
    """Arguments that measure the small rows, quickly, with this library alone."""
    for name, text in (("small.csv", SUITE), ("smallconv.csv", CONV)):
        (tmp_path / name).write_text(text)
    files = ["--suite", tmp_path / "small.csv", "--suite", tmp_path / "smallconv.csv"]
    return [*files, "--libraries", "hunze", "--rounds", "2", "--sample-seconds", "0.0005"]


@pytest.fixture(scope="session")
def broken(tmp_path_factory):
    """The path of a libhunze that fails as HUNZE_BROKEN says."""
    library = tmp_path_factory.mktemp("broken") / "libbroken.so"
    source = ROOT / "tests" / "bench" / "broken_library.c"
    linked = ["-L%s" % BUILD, "-Wl,--no-as-needed", "-lhunze", "-Wl,-rpath,%s" % BUILD]
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", source, "-o", library, *linked], check=True)
    return library


def test_a_result(suite, tmp_path):
    """Lines of Google Benchmark, and a result with every member that bench/README.md promises."""
    about = {"date": "2026-01-01T00:00:00Z", "revision": "abc", "device": {"name": "here"}}
    (tmp_path / "about.json").write_text(json.dumps(about))
    done = bench(*suite, "--result", tmp_path / "result.json", "--about", tmp_path / "about.json")
    assert done.returncode == 0, done.stderr
    assert "a1/hunze/plan/threads:1" in done.stdout and "of_limit=" in done.stdout and "kernel: gemm_" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["schema"] == 1 and result["revision"] == "abc" and result["device"] == {"name": "here"}
    assert {"f32", "u8s8"} <= {ceiling["name"].split()[0] for ceiling in result["ceilings"]} or not result["ceilings"]
    assert all(ceiling["one"] > 0 and ceiling["all"] > 0 for ceiling in result["ceilings"])
    assert all(ceiling["rates"] == {"1": ceiling["one"]} for ceiling in result["ceilings"])
    rows = {row["id"]: row for row in result["rows"]}
    assert list(rows) == ["a1", "a2", "a3", "a4", "b1"]
    assert rows["a4"]["implementations"] == [] and "w4g32" in rows["a4"]["absent"]["hunze"]
    for row in (rows["a1"], rows["a2"], rows["a3"], rows["b1"]):
        plan = row["implementations"][0]
        assert plan["library"] == "hunze" and plan["way"] == "plan" and plan["explain"]["kernel"]
        assert len(plan["samples"]) == 2 and plan["seconds"] > 0
        assert plan["of_limit"]["low"] <= plan["of_limit"]["median"] <= plan["of_limit"]["high"]
        assert not plan["wrong"] and plan["failed"] is None and plan["checked"] > 0
        assert (plan["joules"] is None) == (plan["joules_reason"] is not None)
        others = [one["way"] for one in row["implementations"][1:]]
        assert set(plan["over"]) == {"hunze " + way for way in others} and any("portable" in way for way in others)
        assert plan["of_limit"]["rounds"] == 2 and all(ratio["verdict"] is None for ratio in plan["over"].values())
    assert rows["a2"]["implementations"][0]["ulp"] == 0
    assert rows["a2"]["implementations"][0]["prepack_seconds"] > 0
    assert {line["library"] for line in result["overhead"]} == {"hunze"}
    assert all(0 < line["p50"] <= line["p99"] for line in result["overhead"])


def test_a_verdict_needs_six_rounds(suite, tmp_path):
    done = bench(*suite, "--rows", "a1", "--rounds", "6", "--result", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "result.json").read_text())["rows"][0]["implementations"][0]
    assert plan["of_limit"]["rounds"] == 6
    for ratio in plan["over"].values():
        assert (ratio["verdict"] in ("faster", "slower", "no difference")) == (ratio["rounds"] == 6), ratio


def test_a_filter_and_chosen_rows(suite, tmp_path):
    done = bench(*suite, "--rows", "a1,b1", "--benchmark_filter=a1/hunze", "--result", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert [bool(row["implementations"]) for row in rows] == [True, False]


def test_a_wrong_result_fails_the_run(suite, broken):
    done = bench(*suite, "--rows", "a1,a2", "--library", broken, HUNZE_BROKEN="wrong")
    assert done.returncode == 1
    assert re.search(r"^WRONG: a1 hunze plan: error of [0-9.]+ bounds, [0-9.]+ ULP$", done.stderr, re.M)
    assert "WRONG: a2 hunze plan: wrong integers, off by up to 4194304\n" in done.stderr


def test_a_result_that_is_no_number_fails_the_run(suite, broken):
    done = bench(*suite, "--rows", "a1", "--library", broken, HUNZE_BROKEN="nan")
    assert done.returncode == 1 and "WRONG: a1 hunze plan: not finite\n" in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("a1/hunze/plan/")]
    assert "WRONG" in line and "error_ulp" not in line


def test_an_interrupted_run_keeps_what_it_has(suite, tmp_path):
    command = [
        BUILD / "hunze_bench",
        *suite,
        "--rows",
        "a1,a2",
        "--sample-seconds",
        "1",
        "--result",
        tmp_path / "r.json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while not run.stderr.readline().startswith("[  1/"):
            pass
        run.send_signal(signal.SIGINT)
        lines, _ = run.communicate(timeout=300)
    assert run.returncode == 2
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert row["id"] == "a1" and all(one["seconds"] is None for one in row["implementations"])
    assert lines.count("ERROR OCCURRED: 'not measured'") == len(row["implementations"]) > 0


@pytest.mark.parametrize("how, said", [("crash", "ended by signal 11 in check"), ("refuse", "the call failed")])
def test_a_library_that_fails_ends_alone(suite, broken, tmp_path, how, said):
    """Its lines say so; the rows after it are measured, the run goes on."""
    done = bench(*suite, "--library", broken, "--result", tmp_path / "result.json", HUNZE_BROKEN=how)
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert [row["id"] for row in rows] == ["a1", "a2", "a3", "a4", "b1"], done.stderr
    assert done.returncode == 1 and "\nFAILED: a1 hunze plan: %s\n" % said in done.stderr
    assert "\nFAILED: overhead hunze: %s\n" % said.replace("check", "overhead") in done.stderr
    for row in rows:
        assert all(one["failed"] for one in row["implementations"])
        assert all(one["joules"] is None and one["joules_reason"] for one in row["implementations"])
        assert not row["implementations"] or row["implementations"][0]["failed"] == said
    assert said in done.stdout


@pytest.mark.parametrize("how", ["", "die", "meter"])
def test_joules(suite, broken, tmp_path, how):
    """A meter that reads a joule for each call, whether it is timed or not; each that was started is stopped."""
    log, result = tmp_path / "log", tmp_path / "result.json"
    preloaded = {"LD_PRELOAD": str(broken), "HUNZE_LOG": str(log), "HUNZE_BROKEN": how}
    bench(*suite, "--rows", "a1,a2", "--library", broken, "--result", result, **preloaded)
    implementations = [one for row in json.loads(result.read_text())["rows"] for one in row["implementations"]]
    assert implementations
    for one in implementations:
        assert (one["joules"] is None) == bool(one["joules_reason"])
        if not how:
            assert one["joules"] == pytest.approx(1, abs=1e-9)
        if how == "meter":
            assert one["joules_reason"] == "the meter gave no figure"
    assert ("ended by signal 11 in run" in [one["failed"] for one in implementations]) == (how == "die")
    lines = log.read_text().split("\n")
    assert lines.count("start") == lines.count("stop") > 0


def worker(library, tmp_path, *requests, copies=1, **environment):
    """Answers of hunze's worker to requests, on a small product whose weights are packed."""
    row = {
        "op": "gemm",
        "id": "t",
        "dtype": "f32",
        "threads": 1,
        "copies": copies,
        "trans_b": False,
        "packed_b": True,
        "every_kernel": False,
    }
    row.update(m=4, n=16, k=16, batch=1, group_size=0)
    operands = {"scales": None}
    for name in "abd":
        (tmp_path / name).write_bytes(bytes(1024 * copies))
        operands[name] = {"file": str(tmp_path / name), "offset": 0, "bytes": 1024 * copies}
    operands["b"]["stride"] = 1024
    lines = [json.dumps(request) for request in ({"do": "prepare", "row": row, "operands": operands}, *requests)]
    command = [BUILD / "hunze_bench", "--worker", "hunze", "--library", library]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, env={**os.environ, **environment})
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_untimed_call_takes_the_last_copy(broken, tmp_path):
    """Then the first timed call finds its own copy in the caches no more than the others do."""

    def addresses(calls, warm):
        """Of the weights in each call."""
        log = tmp_path / ("log%d" % calls)
        run = {"do": "run", "way": 0, "calls": calls, "warm": warm}
        _, answer = worker(broken, tmp_path, run, copies=3, HUNZE_LOG=str(log))
        assert answer["wall"] > 0
        return [int(line.split()[2], 16) for line in log.read_text().splitlines()]

    copies = addresses(3, warm=False)
    untimed, first = addresses(1, warm=True)
    assert untimed - first == copies[2] - copies[0] == 2 * (copies[1] - copies[0]) > 0


def test_weights_that_cannot_be_packed_fail_the_row(suite, broken, tmp_path):
    """They are not measured as they are."""
    done = bench(*suite, "--library", broken, "--result", tmp_path / "result.json", HUNZE_BROKEN="pack")
    rows = {row["id"]: row["implementations"] for row in json.loads((tmp_path / "result.json").read_text())["rows"]}
    assert done.returncode == 1
    assert "\nFAILED: a2 hunze: the weights could not be packed: " in done.stderr
    assert [one["failed"] for one in rows["a1"]].count(None) == len(rows["a1"])
    assert len(rows["a2"]) == len(rows["b1"]) == 1 and rows["a2"][0]["failed"] and rows["b1"][0]["failed"]


def test_a_kernel_is_measured_with_channels_first_unless_the_plan_has_it_there(suite, broken, tmp_path):
    done = bench(*suite, "--rows", "b1", "--library", broken, "--result", tmp_path / "result.json", **CHOOSE)
    (row,) = json.loads((tmp_path / "result.json").read_text())["rows"]
    ways = {one["way"]: one["explain"] for one in row["implementations"]}
    assert done.returncode == 0 and ways["plan, channels last"]["kernel"] == PORTABLE
    assert (PORTABLE in ways) == (ways["plan"]["kernel"] != PORTABLE)


def test_a_missing_library_is_a_line(suite, tmp_path):
    arguments = [argument for argument in suite if argument not in ("--libraries", "hunze")]
    done = bench(*arguments, "--rows", "a1", "--libraries", "hunze,mkl,torch", "--environment", tmp_path)
    assert done.returncode == 0
    assert "mkl            missing:" in done.stderr and "torch          missing: could not be started" in done.stderr


@pytest.mark.parametrize(
    "text, said",
    [
        (SUITE.replace("24,17", "24,x7"), "small.csv:3:16: N is 'x7'; a whole number"),
        (SUITE.replace("bf16", "b16"), "small.csv:5:9: dtype is 'b16'"),
        ("", "small.csv:1:1: the file is empty"),
        (SUITE.partition("a1,")[0], "no row is left to measure: the suites have none"),
        (
            SUITE.partition("a1,")[0] + "a1,gemm,f32,4096,4096,4096,1,N,0,here\n",
            "no row is left to measure; --set full",
        ),
    ],
)
def test_a_malformed_suite(tmp_path, text, said):
    (tmp_path / "small.csv").write_text(text)
    done = bench("--suite", tmp_path / "small.csv")
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_an_id_in_two_suites(tmp_path):
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("# " + SUITE)
    done = bench("--suite", tmp_path / "one.csv", "--suite", tmp_path / "two.csv")
    assert done.returncode == 2
    assert "two.csv:3:1: id 'a1' stands at %s:3:1, too" % (tmp_path / "one.csv") in done.stderr


def test_wrong_arguments(suite, tmp_path):
    for arguments, said in (
        (["--rows", "zz"], "no row has the id 'zz'"),
        (["--rounds", "0"], "--rounds is '0'"),
        (["--rounds", "2.5"], "--rounds is '2.5'; a whole number from 1 to 1000"),
        (["--threads", "100000"], "--threads is '100000'"),
        (["--threads", ""], "--threads is ''; a whole number from 1 to 1024"),
        (["--threads", "1,"], "--threads is ''"),
        (["--threads", "1.7"], "--threads is '1.7'"),
        (["--threads", "1024"], "this process may use"),
        (["--libraries", "hunz"], "no library is called 'hunz'; there are "),
        (["--libraries", "hunze,"], "no library is called ''"),
        (["--benchmark_filter=a1/("], "--benchmark_filter is 'a1/('"),
        (["--set", "half"], "standard or full"),
        (["--result", "/proc/self/result.json"], "cannot be written"),
        (["--result", tmp_path / "none" / "result.json"], "cannot be written: No such file"),
        (["--result", tmp_path], "cannot be written: Is a directory"),
        (["--gate", BUILD / "libhunze.so", "--result", tmp_path], "cannot be written: Is a directory"),
        (["--about", tmp_path / "none.json"], "holds no JSON object"),
        (["--gate", tmp_path / "none.so"], "No such file"),
        (["--worker", "nobody"], "no library is called 'nobody'"),
        (["rest"], "'rest' is no option"),
        (["--nothing"], "--help"),
    ):
        done = bench(*suite, *arguments)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stderr)
        assert not done.stdout and "ceilings" not in done.stderr, "nothing is measured before"
    assert "--sample-seconds" in bench("--help").stdout
    listed = bench("--list", "--set", "full").stdout.splitlines()
    assert len(listed) == 49 and listed[0].split()[:4] == ["g1", "gemm", "f32", "1024x1024x1024"]


@pytest.mark.parametrize(
    "arguments", [["--about", "none.json"], ["--threads", "1024"], ["--library", "none.so"], ["--gate", "none.so"]]
)
def test_nothing_half_written(suite, tmp_path, arguments):
    """A run that ends early leaves no file behind."""
    done = bench(*suite, *arguments, "--result", tmp_path / "result.json")
    assert done.returncode == 2, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.csv", "smallconv.csv"]


def test_the_gate_between_a_build_and_itself(suite, tmp_path):
    """What is compared, and the form of the answer; whether it is slower a test cannot know."""
    library = BUILD / "libhunze.so"
    done = bench(*suite, "--rows", "a1", "--gate", library, "--result", tmp_path / "gate.json")
    result = json.loads((tmp_path / "gate.json").read_text())
    assert done.returncode == (1 if result["losses"] else 0), done.stderr
    ways = {one["way"] for one in result["comparisons"]}
    assert "plan" in ways and any("portable" in way for way in ways)
    for one in result["comparisons"]:
        assert one["ratio"]["low"] <= one["ratio"]["median"] <= one["ratio"]["high"]
        assert len(one["ratios"]) >= 8 and one["state"] in ("no loss", "LOSS", "not settled")
    assert "%d loss" % result["losses"] in done.stdout


def test_a_gate_that_compares_nothing(suite, tmp_path):
    """a3 is of a type that this library does not have."""
    done = bench(*suite, "--rows", "a4", "--gate", BUILD / "libhunze.so", "--result", tmp_path / "gate.json")
    assert done.returncode == 2 and "nothing was compared" in done.stderr
    assert json.loads((tmp_path / "gate.json").read_text())["comparisons"] == []


def first_block(suite, tmp_path, library, other, **environment):
    """What a gate compares and leaves out, and what it prints; it is interrupted after its first block."""
    result = tmp_path / "gate.json"
    command = [BUILD / "hunze_bench", *suite, "--library", library, "--gate", other, "--result", result]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **environment}, **pipes) as run:
        for line in run.stderr:
            if line.startswith("look 1"):
                run.send_signal(signal.SIGINT)
                break
        printed, _ = run.communicate(timeout=300)
    told = json.loads(result.read_text())
    return {one["way"] for one in told["comparisons"]}, told["left_out"], printed


def test_a_gate_compares_kernels_by_name_whatever_the_plans_choose(suite, broken, tmp_path):
    here = [*suite, "--rows", "a1"]
    ways, left_out, _ = first_block(here, tmp_path, BUILD / "libhunze.so", broken, **CHOOSE)
    assert left_out == [] and {"plan", PORTABLE} < ways


def test_a_gate_leaves_out_what_takes_long_in_both_builds(suite, broken, tmp_path):
    here = [*suite, "--rows", "a1"]
    everything, *_ = first_block(here, tmp_path, BUILD / "libhunze.so", BUILD / "libhunze.so")
    for this, other, how in ((broken, broken, "cold"), (broken, BUILD / "libhunze.so", "slow")):
        ways, left_out, _ = first_block(here, tmp_path, this, other, HUNZE_BROKEN=how)
        assert ways == everything and left_out == [], how
    ways, left_out, printed = first_block(here, tmp_path, broken, broken, HUNZE_BROKEN="slow")
    assert not ways and {one["way"] for one in left_out} == everything
    assert re.search(r"^a1     plan +left out: a call takes 1[0-9]{2} ms, over [0-9]+$", printed, re.M), printed


def test_a_gate_says_what_neither_build_does(suite, tmp_path):
    library = BUILD / "libhunze.so"
    ways, left_out, _ = first_block([*suite, "--rows", "a4"], tmp_path, library, library)
    assert not ways and left_out == [{"id": "a4", "way": "", "why": "neither build does it"}]


def test_a_gate_rotates_weights_that_come_from_memory(suite, broken, tmp_path):
    """However short its samples are, each copy has its turn in each."""
    (tmp_path / "large.csv").write_text(SUITE.partition("a1,")[0] + "l1,gemm,f32,1,2048,2048,1,N,0,here\n")
    log = tmp_path / "log"
    here = [*suite, "--suite", tmp_path / "large.csv", "--rows", "l1", "--sample-seconds", "1e-6"]
    first_block(here, tmp_path, broken, broken, HUNZE_LOG=str(log))
    calls = collections.defaultdict(collections.Counter)
    for line in log.read_text().splitlines():
        _, process, weights = line.split()
        calls[process][weights] += 1
    times = sorted(max(calls.values(), key=len).values())
    assert len(times) > 2 and times[0] == times[-3], (
        "but for the first and the last, which are called outside of samples, too"
    )


def test_the_gate_from_python(tmp_path, suite):
    """python -m hunze bench --gate: the installed library against the one of a build folder."""
    quick = '#!/bin/sh\nexec %s --rows g7 --sample-seconds 0.0005 "$@"\n' % (BUILD / "hunze_bench")
    program = tmp_path / "build" / "bench" / "hunze_bench"
    program.parent.mkdir(parents=True)
    program.write_text(quick)
    program.chmod(0o755)
    command = [sys.executable, "-m", "hunze", "bench", "--gate", BUILD]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    kernels = done.stdout.count("gemm_")
    assert kernels and "g7     plan" in done.stdout and "in %d comparisons" % (kernels + 1) in done.stdout
