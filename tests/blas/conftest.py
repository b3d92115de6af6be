"""libhunze_blas.so as programs meet it: loaded before them, or in the place of Debian's libblas.so.3."""

import ctypes

import pytest


@pytest.fixture(scope="session")
def library(release_build):
    return release_build / "libhunze_blas.so"


@pytest.fixture(scope="session")
def loaded(library):
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="session")
def alternative(library, tmp_path_factory):
    """What a program's environment needs to find the library as libblas.so.3."""
    folder = tmp_path_factory.mktemp("alternative")
    (folder / "libblas.so.3").symlink_to(library)
    return {"LD_LIBRARY_PATH": str(folder)}
