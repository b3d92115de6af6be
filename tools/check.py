"""Every test, each step with its seconds, ending with the closing lines of ctest and pytest."""

import os
import re
import sys

from steps import NINJA, PYTHON, ROOT, Steps, forget_foreign_cache, run, say
from wheel import install_wheel

SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
CORES = len(os.sched_getaffinity(0))
JOBS = "-j%d" % CORES


def build(steps, preset, what, *targets):
    command = ["cmake", "--build", "build/" + preset, JOBS, *(["--target", *targets] if targets else [])]
    steps.run("%s: build%s, warnings are errors" % (preset, what), *command, quiet=True, progress=NINJA)


def configure_and_build(steps, preset, *targets, options=()):
    """The targets, by default all; options: of the configuration, over the preset's."""
    forget_foreign_cache(ROOT / "build" / preset)
    steps.run("%s: configure" % " ".join([preset, *options]), "cmake", "--preset", preset, *options, quiet=True)
    if preset == "gcc":
        for what, target in ((" the GPU's code", "hunze_device_code"), (" emulated kernels", "hunze_standin")):
            build(steps, preset, what, target)
            steps.count("cuda", steps.done[-1][1])
    build(steps, preset, "", *targets)


def ctest(steps, preset, *selection, env=None):
    """Runs the C tests of a build; the closing lines of ctest."""
    command = ["ctest", "--test-dir", "build/" + preset, "--output-on-failure", "--no-tests=error", JOBS, *selection]
    output = steps.run("%s: C tests %s" % (preset, " ".join(selection)), *command, env=env)
    for name, seconds in re.findall(r"^(cuda) +=\s+([\d.]+) sec\*proc", output, re.M):
        steps.count(name, float(seconds) / CORES)
    lines = output.splitlines()
    first = next((i for i, line in enumerate(lines) if "tests passed" in line), 0)
    return "\n".join(line for line in lines[first:] if line.strip())


def pytest(steps, *selection):
    """Runs the Python tests; pytest's closing line."""
    output = steps.run(
        "Python tests %s" % " ".join(selection), PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selection
    )
    return output.rstrip().splitlines()[-1]


def style(steps):
    steps.run("style: ruff", "ruff", "check", ".", quiet=True)
    files = [
        str(path)
        for folder in ("include", "src", "avx2", "avx512", "cuda", "bindings", "tests", "bench")
        for pattern in ("*.[ch]", "*.[ch]pp", "*.cu", "*.cuh")
        for path in sorted((ROOT / folder).rglob(pattern))
    ]
    steps.run("style: clang-format", "clang-format-19", "--dry-run", "--Werror", *files, quiet=True)


def sanitizers(steps):
    configure_and_build(steps, "asan")
    ctest(steps, "asan", "-LE", "long", env=SANITIZERS)
    configure_and_build(steps, "tsan", "test_threads")
    ctest(steps, "tsan", "-R", "^test_threads$")


def check(steps):
    # What worlds need is installed: none may be left out.  Tests of the other libraries are not among them: those run
    # where make bench has made build/peers, and are skipped elsewhere.
    os.environ["HUNZE_TEST_EVERY_WORLD"] = "1"
    style(steps)
    configure_and_build(steps, "clang")
    ctest(steps, "clang", "-L", "fast")
    sanitizers(steps)
    configure_and_build(steps, "gcc")
    closing = [ctest(steps, "gcc", "-LE", "long")]
    install_wheel(steps, ROOT / "build" / "gcc" / "fatbins")
    closing.append(pytest(steps, "-n", str(CORES), "--dist", "loadfile", "tests"))
    return closing


def check_fast(steps):
    configure_and_build(steps, "gcc")
    closing = [ctest(steps, "gcc", "-L", "fast")]
    install_wheel(steps, ROOT / "build" / "gcc" / "fatbins")
    closing.append(pytest(steps, "-m", "not slow", "-x", "tests/python"))
    return closing


def check_long(steps):
    """What make check has no time for."""
    configure_and_build(steps, "clang", options=["-DHUNZE_CUDA=ON", "-DHUNZE_CUDA_EMULATED_ONLY=ON"])
    closing = [ctest(steps, "clang", "-L", "cuda")]
    configure_and_build(steps, "asan", options=["-DHUNZE_TEST_WORLDS=ON"])
    closing.append(ctest(steps, "asan", "-R", "^own_intrinsics", env=SANITIZERS))
    configure_and_build(steps, "gcc")
    return [*closing, ctest(steps, "gcc", "-L", "long")]


def main():
    steps = Steps()
    goal = {"check": check, "check-fast": check_fast, "check-long": check_long}[sys.argv[1]]
    closing = goal(steps)
    steps.table()
    for lines in closing:
        say(lines)


if __name__ == "__main__":
    run(main)
