"""NumPy's own tests of matmul, run on hunze.matmul."""

import hunze as hz
import numpy as np
from numpy._core.tests.test_multiarray import MatmulCommon


def matmul(a, b):
    """hunze.matmul; booleans, which it refuses, by the way that its error names."""
    if np.asarray(a).dtype == bool:
        return np.asarray(hz.matmul(np.asarray(a).astype("float32"), np.asarray(b).astype("float32"))).astype(bool)[()]
    return hz.matmul(a, b)


class TestMatmul(MatmulCommon):
    """types: those that hunze.matmul keeps; '?' comes first because MatmulCommon skips its first in places."""

    matmul = staticmethod(matmul)
    types = "?fd"
