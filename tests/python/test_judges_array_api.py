"""array-api-strict arrays in and out: an array library that allows only what the standard says."""

import hunze as hz
import numpy as np
import pytest

xp = pytest.importorskip("array_api_strict")


def test_products_stay_in_the_library():
    a, b = xp.reshape(xp.arange(12, dtype=xp.float32), (3, 4)), xp.ones((4, 5), dtype=xp.float32)
    got = hz.matmul(a, b)
    assert type(got) is type(a)
    assert bool(xp.all(got == xp.matmul(a, b)))
    scalar = hz.matmul(a[0, :], a[1, :])
    assert type(scalar) is type(a) and scalar.shape == () and float(scalar) == float(xp.vecdot(a[0, :], a[1, :]))


def test_views_transposes_and_out():
    a = xp.reshape(xp.arange(24, dtype=xp.float64), (4, 6))
    out = xp.zeros((3, 3), dtype=xp.float64)
    view, other = a[:3, ::2], xp.matrix_transpose(a[:3, ::2])
    assert hz.matmul(view, other, out=out) is out
    assert bool(xp.all(out == xp.matmul(view, other)))


def test_convolution_and_activation():
    x, w = xp.ones((1, 2, 5, 5), dtype=xp.float32), xp.ones((3, 2, 3, 3), dtype=xp.float32)
    got = hz.conv2d(x, w)
    assert type(got) is type(x) and got.shape == (1, 3, 3, 3) and bool(xp.all(got == 18))
    assert bool(xp.all(hz.activate(-x, "relu") == 0))


def test_libraries_do_not_mix_but_lists_do():
    a = xp.ones((2, 2), dtype=xp.float64)
    with pytest.raises(TypeError, match="different libraries"):
        hz.matmul(a, np.ones((2, 2)))
    assert type(hz.matmul(a, [[1.0, 0.0], [0.0, 1.0]])) is type(a)


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_integers_keep_their_dtype(dtype):
    a, b = (xp.astype(xp.reshape(xp.arange(n) - 7, (n // 4, 4)), getattr(xp, dtype)) for n in (12, 20))
    got = hz.linear(a, b)
    assert type(got) is type(a) and got.dtype == a.dtype
    assert bool(xp.all(got == xp.matmul(a, xp.matrix_transpose(b))))


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_other_dtypes_are_refused(dtype):
    a = xp.ones((2, 2), dtype=getattr(xp, dtype))
    with pytest.raises(TypeError, match=f"a is {dtype}.*astype"):
        hz.matmul(a, a)
