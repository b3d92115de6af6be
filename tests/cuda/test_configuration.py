"""What CMake decides about CUDA, by the nvcc that it finds: nothing is compiled here."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def configure(tmp_path):
    """configure(version, options…): exit status, what CMake said, and whether sources are compiled with CUDA."""

    def run(version, *options):
        nvcc = tmp_path / "nvcc"
        nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 1.0, V%s'\n" % version)
        nvcc.chmod(0o755)
        build = tmp_path / "build"
        command = ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", "-DHUNZE_NVCC=%s" % nvcc, *options]
        env = {key: value for key, value in os.environ.items() if not key.startswith("CMAKE_")}
        done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True)
        rules = build / "build.ninja"
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr), "HUNZE_WITH_CUDA" in rules.read_text()

    return run


def test_an_old_nvcc_leaves_cuda_out(configure):
    status, said, with_cuda = configure("12.9.41")
    assert status == 0 and "Without CUDA:" in said and "is 12.9.41, and 13 is needed" in said and not with_cuda


def test_who_asks_for_cuda_gets_it_or_an_error(configure, tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "build.ninja").touch()
    status, said, _ = configure("12.9.41", "-DHUNZE_CUDA=ON")
    assert status != 0 and "HUNZE_CUDA=ON, but" in said and "is 12.9.41, and 13 is needed" in said


def test_tests_need_no_nvcc(configure):
    status, said, with_cuda = configure("12.9.41", "-DHUNZE_BUILD_TESTS=ON")
    assert status == 0 and "CUDA: no machine code, for the stand-in driver" in said and with_cuda


def test_cuda_can_be_left_out(configure):
    status, said, with_cuda = configure("13.0.88", "-DHUNZE_CUDA=OFF")
    assert status == 0 and "CUDA" not in said and not with_cuda


def test_a_new_nvcc_is_used(configure):
    status, said, with_cuda = configure("13.0.88")
    assert status == 0 and "CUDA: nvcc 13.0.88" in said and with_cuda
