"""What the libraries promise to whoever links them: symbols, SONAME, dependencies, size, instructions."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BASELINE = Path(__file__).resolve().parent / "libhunze.so.1.abi"


def output(*command):
    return subprocess.run([str(word) for word in command], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def version_script():
    text = (ROOT / "cmake" / "hunze.map").read_text()
    return set(re.findall(r"^\s+(hunze_\w+);", text, re.M))


def test_the_header_declares_what_the_version_script_exports(version_script):
    declared = re.findall(r"^HUNZE_API [^;(]*?\**(hunze_\w+)\(", (ROOT / "include" / "hunze.h").read_text(), re.M)
    assert set(declared) == version_script


def test_the_shared_library_exports_the_version_script(release_build, version_script):
    symbols = re.findall(r" [A-Z] (\S+)$", output("nm", "-D", "--defined-only", release_build / "libhunze.so"), re.M)
    assert {name for name in symbols if name != "HUNZE_1"} == {name + "@@HUNZE_1" for name in version_script}


def test_the_static_library_is_one_object_with_the_same_symbols(release_build, version_script):
    archive = release_build / "libhunze.a"
    assert output("ar", "t", archive).split() == ["hunze.o"]
    assert set(re.findall(r" [A-Z] (\S+)$", output("nm", "-g", "--defined-only", archive), re.M)) == version_script


def test_the_shared_library_has_a_soname_and_stays_loaded(release_build):
    dynamic = output("readelf", "-d", release_build / "libhunze.so")
    assert "[libhunze.so.1]" in dynamic
    assert "NODELETE" in dynamic
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"}


def test_the_shared_library_calls_its_own_functions(release_build):
    """Not those of another version that the program has loaded before: structures inside differ."""
    relocations = output("readelf", "--relocs", "--wide", release_build / "libhunze.so")
    assert "JUMP_SLO" in relocations or "GLOB_DAT" in relocations
    assert not re.findall(r" (hunze_\w+)", relocations)


def test_the_shared_library_is_small_and_runs_on_glibc_2_34(release_build):
    library = release_build / "libhunze.so"
    section = re.search(r" \.hunze_fatbin +PROGBITS +\w+ \w+ (\w+)", output("readelf", "-SW", library))
    device_code = int(section.group(1), 16) if section else 0
    assert device_code <= 4 * 2**20
    assert library.stat().st_size - device_code <= 3_250_000
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", output("objdump", "-T", library))
    assert max((int(major), int(minor)) for major, minor in versions) <= (2, 34)


def library_with_debug_information():
    build = ROOT / "build" / "abi"
    output("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DHUNZE_OPTIMIZE=-O0 -g", "-DHUNZE_CUDA_EMULATED_ONLY=ON")
    output("cmake", "--build", build, "--target", "hunze")
    return build / "libhunze.so"


def test_the_abi_is_that_of_the_baseline():
    """Additions pass, changes and removals do not.  `python tests/abi/test_abi.py` records anew, after a release."""
    command = [
        "abidiff",
        "--headers-dir2",
        "include",
        "--drop-private-types",
        "--no-added-syms",
        BASELINE,
        library_with_debug_information(),
    ]
    result = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


if __name__ == "__main__":
    output(
        "abidw",
        "--headers-dir",
        "include",
        "--drop-private-types",
        "--no-corpus-path",
        "--no-comp-dir-path",
        "--no-show-locs",
        "--out-file",
        BASELINE,
        library_with_debug_information(),
    )
