"""The installed libraries, used from C99 and C++ outside the tree: find_package, pkg-config, shared, static."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = {"c": ("gcc", "-std=c99", "-pedantic"), "cpp": ("g++", "-std=c++11", "-pedantic")}
EXPECTED = {"c": "58 64 139 154\n", "cpp": "18\n"}


def run(*command, cwd=None, **env):
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=dict(os.environ, **env), capture_output=True, text=True
    )
    assert result.returncode == 0, "%s\n%s%s" % (command, result.stdout, result.stderr)
    return result.stdout


@pytest.fixture(scope="module")
def prefix(release_build, tmp_path_factory):
    """An installed tree that was moved after installing: nothing in it may remember where it was."""
    first = tmp_path_factory.mktemp("installed") / "first"
    run("cmake", "--install", release_build, "--prefix", first, "--component", "development")
    return Path(shutil.move(first, first.parent / "moved"))


def test_find_package_finds_both_libraries(prefix, tmp_path):
    for name in ("CMakeLists.txt", "consumer.c", "consumer.cpp"):
        shutil.copy(HERE / name, tmp_path)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-G", "Ninja", "-DCMAKE_PREFIX_PATH=%s" % prefix)
    run("cmake", "--build", tmp_path / "build")
    for language in PROGRAMS:
        for kind in ("hunze", "hunze_static"):
            assert run(tmp_path / "build" / ("%s_%s" % (language, kind))) == EXPECTED[language]


@pytest.mark.parametrize("language", sorted(PROGRAMS))
@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_pkg_config_says_how_to_link(prefix, tmp_path, language, static):
    (pc,) = prefix.rglob("hunze.pc")
    words = run(
        "pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "hunze", PKG_CONFIG_PATH=str(pc.parent)
    ).split()
    library = prefix / "lib"
    if static:  # what a distribution without the shared library looks like
        shutil.copy(library / "libhunze.a", tmp_path)
        words = ["-L%s" % tmp_path if word.startswith("-L") else word for word in words]
    program = tmp_path / "program"
    run(*PROGRAMS[language], "-Wall", "-Werror", HERE / ("consumer." + language), "-o", program, *words)
    assert run(program, LD_LIBRARY_PATH="" if static else str(library)) == EXPECTED[language]


def test_the_library_for_blas_works_from_where_it_was_moved_to(prefix):
    (library,) = prefix.rglob("libhunze_blas.so")
    script = """if True:
        import ctypes, sys
        blas, one, c = ctypes.CDLL(sys.argv[1]), ctypes.c_float(1), (ctypes.c_float * 1)()
        a, zero = (ctypes.c_float * 2)(3, 4), ctypes.c_float(0)
        blas.cblas_sgemm(101, 111, 112, 1, 1, 2, one, a, 2, a, 2, zero, c, 1)
        print(c[0])"""
    assert run(sys.executable, "-c", script, library) == "25.0\n"


@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-x", "c", "-std=c99"),
        ("gcc", "-x", "c", "-std=c17"),
        ("g++", "-x", "c++", "-std=c++11"),
        ("g++", "-x", "c++", "-std=c++20"),
        ("clang-19", "-x", "c", "-std=c99"),
        ("clang-19", "-x", "c++", "-std=c++17"),
    ],
    ids=lambda words: " ".join(words),
)
def test_the_header_stands_alone(command):
    if not shutil.which(command[0]):
        pytest.skip(command[0] + " is not here")
    header = HERE.parent.parent / "include" / "hunze.h"
    run(*command, "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", header)
