"""Bound calls: prepared once, run often, on their own operands or others like them."""

import hunze as hz
import numpy as np
import pytest
from hunze import _hunze

RNG = np.random.default_rng(5)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def bind(op, *operands, **keywords):
    return op(*operands, kernel=_hunze._PlanRequest(None, True), **keywords)


A, B, W = f32(5, 7), f32(7, 6), f32(8, 4, 3, 3)
X = np.ascontiguousarray(f32(2, 6, 7, 4)).transpose(0, 3, 1, 2)
CASES = {
    "matmul": (hz.matmul, A, (B,), dict(residual=f32(5, 6), bias=f32(6), activation="gelu"), (5, 6)),
    "vector": (hz.matmul, A[0], (B,), {}, (6,)),
    "linear, packed": (hz.linear, A, (hz.pack(hz.linear, B.T),), dict(activation=("clip", -1, 1)), (5, 6)),
    "conv2d": (hz.conv2d, X, (W, f32(8)), dict(padding=1, residual=f32(2, 8, 6, 7)), (2, 8, 6, 7)),
    "conv2d, packed": (hz.conv2d, X, (hz.pack(hz.conv2d, W),), dict(stride=2, activation="relu"), (2, 8, 2, 3)),
    "conv_transpose2d": (hz.conv_transpose2d, X, (f32(4, 3, 2, 2),), dict(stride=2), (2, 3, 12, 14)),
    "activate": (hz.activate, X, ("tanh",), {}, X.shape),
    "large, without the GIL": (hz.matmul, f32(300, 300), (f32(300, 300),), {}, (300, 300)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bound_call_has_the_bits_of_the_call(name):
    op, x, rest, keywords, shape = CASES[name]
    out = np.zeros(shape, np.float32)
    bound = bind(op, x, *rest, out=out, **keywords)
    assert not out.any(), "binding runs nothing"
    assert bound.run() is None
    np.testing.assert_array_equal(out, op(x, *rest, **keywords))
    first = out.copy()
    other, result = -x, np.zeros(shape, np.float32)
    bound.run(other, result)
    np.testing.assert_array_equal(result, op(other, *rest, **keywords))
    np.testing.assert_array_equal(out, first)
    if "residual" in keywords:
        residual = f32(*shape)
        bound.run(None, None, residual)
        np.testing.assert_array_equal(out, op(x, *rest, **{**keywords, "residual": residual}))
    out[:] = 0
    bound.run()  # its own operands again
    np.testing.assert_array_equal(out, first)


def test_quantised_operands():
    q, w = hz.quantize(A, "uint8"), hz.pack(hz.linear, hz.quantize(B.T, axis=0), input_dtype="uint8")
    out = np.empty((5, 6), np.float32)
    bound = bind(hz.linear, q, w, out=out)
    bound.run()
    np.testing.assert_array_equal(out, hz.linear(q, w))
    other = hz.quantize(3 * A + 1, "uint8")
    for name in ("codes", "scale", "zero_point"):  # values are read when it runs
        np.copyto(getattr(q, name), getattr(other, name))
    bound.run()
    np.testing.assert_array_equal(out, hz.linear(other, w))


@pytest.mark.parametrize(
    "x", [f32(5, 8), f32(6, 7), A.astype("float64"), f32(7, 5).T, A[::-1], A.tolist(), A.astype(">f4"), f32(5, 7, 1)]
)
def test_other_operands_are_refused(x):
    out = np.full((5, 6), 9, np.float32)
    bound = bind(hz.matmul, A, B, out=out)
    with pytest.raises(ValueError, match="x of a bound call"):
        bound.run(x)
    frozen = np.zeros((5, 6), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out of a bound call"):
        bound.run(None, frozen)
    with pytest.raises(ValueError, match="residual of a bound call"):
        bound.run(None, None, frozen)
    with pytest.raises(TypeError, match="at most 3"):
        bound.run(None, None, None, None)
    square = f32(4, 4)
    with pytest.raises(ValueError, match="overlaps"):
        bind(hz.matmul, square, B[:4, :4].copy(), out=np.empty((4, 4), np.float32)).run(None, square)
    assert (out == 9).all()
    bound.run()
    np.testing.assert_array_equal(out, hz.matmul(A, B))


def test_what_cannot_be_bound():
    with pytest.raises(TypeError, match="aligned ndarrays"):  # converted for each call
        bind(hz.matmul, A, B.astype("float64"), out=np.empty((5, 6)))
    with pytest.raises(ValueError, match="needs b"):
        bind(hz.matmul, A, A)


def test_operands_live_as_long_as_the_call():
    bound = bind(hz.matmul, A.copy(), B.copy(), out=(out := np.empty((5, 6), np.float32)), bias=f32(6) * 0)
    for _ in range(50):
        f32(5, 7), f32(7, 6)
    bound.run()
    np.testing.assert_array_equal(out, hz.matmul(A, B))
