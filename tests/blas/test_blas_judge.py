"""The test programs of the reference BLAS (Debian's libblas-test), all of them, on libhunze_blas.so."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from blas_library import DEBIAN, run

PROGRAMS = {
    "xblat%d%s" % (level, kind): (level, "%sblat%d.in" % (kind, level)) for level in (1, 2, 3) for kind in "sdcz"
}
PROGRAMS |= {"x%scblat%d" % (kind, level): (level, "%sin%d" % (kind, level)) for level in (1, 2, 3) for kind in "sdcz"}
PRODUCTS = {"xblat3s": "sgemm_", "xblat3d": "dgemm_", "xscblat3": "cblas_sgemm", "xdcblat3": "cblas_dgemm"}
SIZES = "0 1 7 16 17 31 48 64 65"


def judge(program, given, env, folder):
    """What the program reports; it says neither by its exit status."""
    folder.mkdir()
    done = run(DEBIAN / program, env=env, cwd=folder, input=given)
    said = done.stdout + done.stderr + "".join(path.read_text() for path in folder.glob("*.out"))
    assert done.returncode == 0, said
    assert "PASS" in said and not re.search(r"fail|\*\*|incorrect", said, re.I), said
    return said


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_every_program_reports_what_it_does_on_the_reference(program, alternative, tmp_path):
    level, name = PROGRAMS[program]
    given = "" if level == 1 else (DEBIAN / name).read_text()
    reference = judge(program, given, {"LD_LIBRARY_PATH": str(DEBIAN)}, tmp_path / "reference")
    assert judge(program, given, alternative, tmp_path / "hunze") == reference


def only_products(given):
    """The program's input, for its products alone and for sizes around those of tiles."""
    given = re.sub(r"^6( +NUMBER OF VALUES OF N)\n[\d ]+", r"9\1\n%s " % SIZES, given, flags=re.M)
    others = re.compile(r"^(?!\w*gemm)(\w+ +)T( PUT F)", re.M | re.I)
    return others.sub(r"\1F\2", given)


@pytest.fixture(scope="module")
def reports(alternative, tmp_path_factory):
    """Of the programs of sgemm and dgemm: they take seconds, so all at once."""
    folder = tmp_path_factory.mktemp("edges")

    def report(program):
        return judge(program, only_products((DEBIAN / PROGRAMS[program][1]).read_text()), alternative, folder / program)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(PRODUCTS, pool.map(report, PRODUCTS)))


@pytest.mark.parametrize("program", PRODUCTS)
def test_products_at_the_edges_of_tiles(program, reports):
    calls = 9**3 * 3 * 3 * 3 * 3  # sizes, transposes, alpha, beta
    passed = r"GEMM +PASSED THE [A-Z -]*COMPUTATIONAL TESTS \( *%d CALLS\)" % calls
    assert len(re.findall(passed, reports[program], re.I)) == (2 if "cblat" in program else 1)
    assert len(re.findall(r"PASSED THE TESTS OF ERROR-EXITS", reports[program])) == 1


@pytest.mark.parametrize("program", PRODUCTS)
def test_a_program_gets_the_doors_where_the_library_is_loaded_before_it(program, library, tmp_path):
    env = {"LD_PRELOAD": str(library), "LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")}
    judge(program, (DEBIAN / PROGRAMS[program][1]).read_text(), env, tmp_path / "run")
    (log,) = tmp_path.glob("bindings.*")
    bound = r"file \S*%s \[0\] to %s \[0\]: normal symbol `%s'" % (program, library, PRODUCTS[program])
    assert re.search(bound, log.read_text())
