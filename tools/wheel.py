"""Builds dist/hunze-*.whl and installs it into .venv.  Incremental: build/wheel keeps the objects."""

import os
import shutil

from steps import NINJA, PYTHON, ROOT, VENV, Steps, forget_foreign_cache, run, stop, wanted


def cuda(fatbins):
    """CMake's HUNZE_CUDA.  Where nobody says CUDA=1 or CUDA=0, a wheel carries CUDA if nvcc is here or has been."""
    if fatbins or wanted("CUDA"):
        return "ON"
    return "OFF" if os.environ.get("CUDA") else "AUTO"


def build_wheel(steps, fatbins):
    """The path of the wheel just built.  It takes the place of the one before only when it is whole."""
    dist, fresh = ROOT / "dist", ROOT / "build" / "wheel-new"
    dist.mkdir(exist_ok=True)
    shutil.rmtree(fresh, ignore_errors=True)
    forget_foreign_cache(ROOT / "build" / "wheel")
    steps.run(
        "wheel",
        PYTHON,
        "-m",
        "pip",
        "wheel",
        "-v",
        "--no-build-isolation",
        "--no-deps",
        "--wheel-dir",
        fresh,
        "--config-settings=build-dir=build/wheel",
        "--config-settings=cmake.define.HUNZE_CUDA=%s" % cuda(fatbins),
        "--config-settings=cmake.define.HUNZE_CUDA_FATBINS=%s" % (fatbins or ""),
        ".",
        quiet=True,
        progress=NINJA,
    )
    wheels = sorted(fresh.glob("hunze-*.whl"))
    if len(wheels) != 1:
        stop("expected one wheel in %s, found %d" % (fresh, len(wheels)))
    for old in dist.glob("hunze-*.whl"):
        old.unlink()
    return wheels[0].replace(dist / wheels[0].name)


def install(steps, wheel, environment):
    """Puts the wheel into a virtual environment, in the place of what was there."""
    command = [environment / "bin" / "python", "-m", "pip", "install", "--no-deps", "--force-reinstall", wheel]
    steps.run("install %s into %s" % (wheel.name, environment.relative_to(ROOT)), *command, quiet=True)


def install_wheel(steps, fatbins=None):
    """Builds the wheel and installs it into .venv; its path.  `fatbins`: of these sources, from another build."""
    wheel = build_wheel(steps, fatbins)
    install(steps, wheel, VENV)
    return wheel


if __name__ == "__main__":
    run(lambda: install_wheel(Steps()))
