"""What several folders of tests share."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def release_build():
    """build/gcc, up to date: the libraries as they are installed, and the tests."""
    for command in (["cmake", "--preset", "gcc"], ["cmake", "--build", "build/gcc"]):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    return ROOT / "build" / "gcc"
