"""Brings a fresh Debian with git, make, gcc and python3 to where `make demo`, `make bench` or `make check` can run.

    python3 tools/bootstrap.py demo|bench|check

CUDA=1 brings nvcc too, as wheels; check always does.
Missing system packages are installed by apt as root; a plain user gets the one line to run.
Python packages, CMake and Ninja among them, come as pinned wheels into .venv.
Only the standard library, and syntax that an old Python can read."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile

if sys.version_info < (3, 11):
    sys.exit(
        "Hunze needs Python 3.11 or later; %s is %d.%d. Try: make PYTHON=/path/to/python3.11"
        % ((sys.executable,) + sys.version_info[:2])
    )

from steps import (  # noqa: E402  (after the version check)
    PYTHON,
    ROOT,
    VENV,
    environment,
    install_requirements,
    run,
    say,
    stop,
    wanted,
)

# The interpreter itself, also where this runs inside a virtual environment.
INTERPRETER = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
STAMP = VENV / "hunze.json"
REQUIREMENTS = {
    "demo": ["build", "demo"],
    "bench": ["build", "demo", "bench"],
    "check": ["build", "demo", "bench", "check", "cuda"],
}


def requirements(goal):
    """The lists of pinned wheels that a goal needs."""
    lists = REQUIREMENTS[goal]
    return [*lists, "cuda"] if wanted("CUDA") and "cuda" not in lists else lists


def compiles(program, *flags, language="c"):
    """Whether the compiler takes the program."""
    with tempfile.TemporaryDirectory() as folder:
        command = [os.environ.get("CC", "gcc"), "-x", language, "-", "-o", os.path.join(folder, "out")] + list(flags)
        try:
            return (
                subprocess.run(
                    command, input=program.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ).returncode
                == 0
            )
        except OSError:
            return False


def missing_packages(goal):
    """Debian packages whose content this machine lacks, found by trying what they are for."""
    missing = []
    if not shutil.which(os.environ.get("CC", "gcc").split()[0]):
        missing.append("gcc")
    if not compiles('#include <stdio.h>\n#include <pthread.h>\nint main(void) { return puts("") < 0; }'):
        missing.append("libc6-dev")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append("python3-venv")
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        missing.append("python3-dev")
    if not shutil.which("g++") and (goal == "bench" or "cuda" in requirements(goal)):
        missing.append("g++")
    if goal in ("bench", "check"):
        for header, package in (
            ("benchmark/benchmark.h", "libbenchmark-dev"),
            ("nlohmann/json.hpp", "nlohmann-json3-dev"),
        ):
            if not compiles("#include <%s>" % header, "-E", language="c++"):
                missing.append(package)
    if goal == "check":
        for program, package in (
            ("clang-19", "clang-19"),
            ("clang-format-19", "clang-format-19"),
            ("llvm-mca-19", "llvm-19"),
            ("qemu-x86_64", "qemu-user"),
            ("abidiff", "abigail-tools"),
            ("pkg-config", "pkg-config"),
            ("file", "file"),
        ):
            if not shutil.which(program):
                missing.append(package)
        if not os.path.exists("/usr/lib/%s-linux-gnu/blas/xblat3s" % os.uname().machine):
            missing.append("libblas-test")  # and the BLAS that it needs
        if not compiles(
            "#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <cmocka.h>\n"
            "int main(void) { return 0; }",
            "-lcmocka",
        ):
            missing.append("libcmocka-dev")
    return missing


def apt_line(packages):
    return "apt-get install -y --no-install-recommends " + " ".join(packages)


def apt_install(packages):
    """Installs Debian packages, as root; whether that went well."""
    say("== system packages: " + " ".join(packages))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    commands = [["apt-get", "update", "-q"], apt_line(packages).split()]
    return all(subprocess.run(command, env=env).returncode == 0 for command in commands)


def blis():
    """BLIS, the one library of the benchmark that comes from the system; without it the others are still measured."""
    if compiles("int main(void) { return 0; }", "-l:libblis.so.4"):
        return
    packages = ["libblis4-openmp"]
    if not shutil.which("apt-get") or os.geteuid() != 0:
        say("BLIS will be missing; on Debian this line installs it:\n  sudo " + apt_line(packages))
    elif not apt_install(packages):
        say("BLIS will be missing: apt-get could not install %s" % packages[0])


def system_packages(goal):
    missing = missing_packages(goal)
    if not missing:
        return
    if not shutil.which("apt-get"):
        stop(
            "This machine lacks, by their Debian names: %s. Install them, then run make %s again."
            % (" ".join(missing), goal)
        )
    if os.geteuid() != 0:
        stop("Missing system packages. Run this line, then make %s again:\n  sudo %s" % (goal, apt_line(missing)))
    if not apt_install(missing):
        stop("apt-get could not install: %s" % " ".join(missing))
    still = missing_packages(goal)
    if still:
        stop("Still missing after apt-get install: %s (this Python is %s)" % (" ".join(still), sys.executable))


def interpreter():
    """What a .venv must have been made by, and for which place."""
    return {"python": INTERPRETER, "version": "%d.%d.%d" % sys.version_info[:3], "path": str(VENV)}


def virtual_environment():
    """Makes .venv, again if it belongs to another interpreter or was copied here.  Returns what is recorded in it."""
    recorded = {}
    if VENV.exists():
        try:
            recorded = json.loads(STAMP.read_text())
        except (OSError, ValueError):
            pass
        works = (
            subprocess.run(
                [str(PYTHON), "-m", "pip", "--version"],
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ).returncode
            == 0
            if PYTHON.exists()
            else False
        )
        if works and recorded.get("interpreter") == interpreter():
            return recorded
        if not recorded and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
            stop("%s is no virtual environment; move it away" % VENV)
        say("== .venv is unfinished, of another Python, or from another place: making it again")
        shutil.rmtree(str(VENV))
    say("== .venv with %s" % INTERPRETER)
    VENV.mkdir()
    STAMP.write_text(json.dumps({"unfinished": True}))  # until all packages are in it
    if subprocess.run([INTERPRETER, "-m", "venv", str(VENV)], env=environment()).returncode:
        stop("python -m venv failed")
    return {"interpreter": interpreter()}


def python_packages(goal, recorded):
    """Installs the pinned wheels of the goal, where their list is not installed yet."""
    files = [ROOT / "requirements" / (name + ".txt") for name in requirements(goal)]
    installed = recorded.setdefault("requirements", {})
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if all(installed.get(name) == digest for name, digest in digests.items()):
        return
    say("== Python packages into .venv: " + ", ".join(digests))
    install_requirements(PYTHON, list(digests))
    installed.update(digests)
    STAMP.write_text(json.dumps(recorded, indent=1))


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in REQUIREMENTS:
        stop("usage: bootstrap.py demo|bench|check")
    goal = sys.argv[1]
    system_packages(goal)
    if goal == "bench":
        blis()
    python_packages(goal, virtual_environment())


if __name__ == "__main__":
    run(main)
