"""NumPy as its wheel comes, with libhunze_blas.so loaded before it."""

import re
import sys

import pytest
from blas_library import run

BITS = """
import hunze as hz
import numpy as np
rng = np.random.default_rng(2)
for dtype in ("float32", "float64"):
    a, b = rng.standard_normal((70, 3000)).astype(dtype), rng.standard_normal((3000, 50)).astype(dtype)
    assert np.array_equal(a @ b, hz.matmul(a, b))
    assert np.array_equal(a.T[:90] @ b.T[:, :70].T[:70], hz.matmul(a.T[:90], b.T[:, :70].T[:70]))
    assert np.array_equal(np.dot(np.asfortranarray(a), b), hz.matmul(a, b))
print("alike")
"""


def bindings(folder):
    """The products that NumPy's module was bound to, by the library they are in."""
    text = "".join(path.read_text() for path in folder.glob("bindings.*"))
    found = re.findall(r"_multiarray_umath\S+ \[0\] to (\S+) \[0\]: normal symbol `(scipy_cblas_[sd]gemm64_)'", text)
    return {name: file for file, name in found}


@pytest.fixture
def preloaded(library, tmp_path):
    return {"LD_PRELOAD": str(library), "LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")}


def test_numpys_products_have_hunzes_bits(preloaded, tmp_path, library):
    done = run(sys.executable, "-c", BITS, env=preloaded)
    assert (done.returncode, done.stdout) == (0, "alike\n"), done.stderr
    assert bindings(tmp_path) == dict.fromkeys(("scipy_cblas_sgemm64_", "scipy_cblas_dgemm64_"), str(library))


def test_numpys_own_tests_of_linalg_pass(preloaded, tmp_path, library):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "numpy.linalg"]
    done = run(sys.executable, *command, cwd=tmp_path, env=preloaded)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 400
    assert set(bindings(tmp_path).values()) == {str(library)}
