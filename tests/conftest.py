"""What several folders of tests share."""

import fcntl
import signal
import subprocess
from pathlib import Path

import pytest

# Who runs the tests in the background has interrupts ignored, and every program started here would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def release_build():
    """build/gcc, up to date: the libraries as they are installed, and the tests; one process at a time builds."""
    build = ROOT / "build" / "gcc"
    build.mkdir(parents=True, exist_ok=True)
    with open(build / "pytest.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["cmake", "--preset", "gcc"], ["cmake", "--build", "build/gcc"]):
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert result.returncode == 0, result.stdout + result.stderr
    return build
