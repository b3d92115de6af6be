"""make gpu-folder: what a machine with a GPU needs to prove Hunze, without installing anything, in build/gpu-folder.

Library, tests, images and the Python package, built here for glibc 2.34 and later; `sh verify.sh` there runs them."""

import json
import re
import shutil
import subprocess
import zipfile

from check import configure_and_build
from steps import ROOT, Steps, output, run, say, stop
from wheel import build_wheel

FOLDER = ROOT / "build" / "gpu-folder"
BYTES_MOST = 50 * 2**20
GLIBC = (2, 34)


def about(build):
    """What a record says of the build that it is of."""
    revision = output("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M).group(1)
    nvcc = re.search(r"^HUNZE_NVCC:\w+=(.*)$", (build / "CMakeCache.txt").read_text(), re.M).group(1)
    return {
        "revision": revision + ("+" if changed else ""),
        "compiler": output(compiler, "--version").splitlines()[0],
        "nvcc": output(nvcc, "--version").splitlines()[-1],
    }


def glibc_of(path):
    """The newest glibc that a program or library asks for."""
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", output("objdump", "-T", path))
    return max(((int(major), int(minor)) for major, minor in versions), default=(0, 0))


def make(build, wheel, folder):
    """Fills the folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    command = ["cmake", "--install", build, "--component", "gpu", "--prefix", folder]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        stop(done.stdout + done.stderr)
    zipfile.ZipFile(wheel).extractall(folder / "python")
    shutil.copy(wheel, folder)
    (folder / "about.json").write_text(json.dumps(about(build)) + "\n")
    for path in folder.rglob("*"):
        if path.is_file() and path.read_bytes()[:4] == b"\x7fELF" and glibc_of(path) > GLIBC:
            stop("%s needs glibc %d.%d" % (path, *glibc_of(path)))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > BYTES_MOST:
        stop("%s has %d bytes, more than %d" % (folder, size, BYTES_MOST))
    return size


def main():
    steps = Steps()
    build = ROOT / "build" / "gcc"
    configure_and_build(steps, "gcc")
    size = make(build, build_wheel(steps, build / "fatbins"), FOLDER)
    say("%s: %.1f MiB. Copy it to the machine, there: sh verify.sh" % (FOLDER.relative_to(ROOT), size / 2**20))
    say("Back here: python tools/gpu_table.py --record results/ --write")


if __name__ == "__main__":
    run(main)
