"""QArray and packed weights: quantize, dequantize, products of QArrays, requantising, pickling."""

import copy
import pickle

import hunze as hz
import numpy as np
import pytest
from binding_cases import convolve
from hypothesis import given, settings
from hypothesis import strategies as st

RANDOM = np.random.default_rng(5)


def saturate(x, dtype):
    limits = np.iinfo(dtype)
    return np.clip(x, limits.min, limits.max).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), st.sampled_from(["int8", "uint8"]), st.floats(1e-3, 10), st.integers(-100, 100))
def test_quantize_is_onnx_quantize_linear(n, dtype, scale, zero_point):
    zero_point = zero_point + 128 if dtype == "uint8" else zero_point
    x = (RANDOM.standard_normal(n) * 100).astype("float32")
    q = hz.quantize(x, dtype, scale=scale, zero_point=zero_point)
    np.testing.assert_array_equal(q.codes, saturate(np.rint(x / np.float32(scale)) + zero_point, dtype))
    want = (q.codes.astype("int32") - zero_point).astype("float32") * np.float32(scale)
    np.testing.assert_array_equal(q.dequantize(), want)
    assert q.dequantize("float64").dtype == "float64"


def test_ties_go_to_even_before_the_zero_point():
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], "float32")
    np.testing.assert_array_equal(hz.quantize(x, scale=1.0, zero_point=1).codes, [-1, -1, 1, 1, 3, 3])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dynamic_quantize(axis, dtype):
    x = RANDOM.standard_normal((5, 9)).astype("float32")
    x[2] = 0
    q = hz.quantize(x, dtype, axis=axis)
    other = None if axis is None else (1 if axis % 2 == 0 else 0)
    if dtype == "int8":
        amax = abs(x).max(other)
        scale = np.where(amax == 0, np.float32(1), amax / np.float32(127)).astype("float32")
        np.testing.assert_array_equal(q.scale, scale)
        assert q.zero_point is None
        assert q.codes.min() >= -127
    else:
        low, high = np.minimum(x.min(other), 0), np.maximum(x.max(other), 0)
        scale = np.where(high == low, np.float32(1), (high - low) / np.float32(255)).astype("float32")
        np.testing.assert_allclose(q.scale, scale, rtol=2e-7)
        np.testing.assert_array_equal(q.zero_point, saturate(np.rint((0 - low) / q.scale), "uint8"))
    wide = q.scale if axis is None else np.expand_dims(q.scale, other)
    assert np.all(abs(q.dequantize() - x) <= 0.5001 * wide)


def test_dynamic_quantize_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        hz.quantize(np.array([1, np.nan], "float32"))


def quantized(shape, dtype, axis=None, zero=True):
    limits = np.iinfo(dtype)
    size = () if axis is None else (shape[axis],)
    codes = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    scale = RANDOM.uniform(0.01, 0.1, size).astype("float32")
    zero_point = RANDOM.integers(limits.min, limits.max, size, dtype, endpoint=True) if zero else None
    return hz.QArray(codes, scale, zero_point, axis)


def reals(q):
    """The QArray's numbers in float64, exactly."""
    spread = [1] * q.ndim
    if q.axis is not None:
        spread[q.axis] = -1
    zero = 0 if q.zero_point is None else q.zero_point.astype("d").reshape(spread)
    return (q.codes - zero) * q.scale.astype("d").reshape(spread)


@pytest.mark.parametrize("x_dtype", ["int8", "uint8"])
@pytest.mark.parametrize("w_dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("packed", [False, True])
def test_linear_of_qarrays(x_dtype, w_dtype, axis, packed):
    x, w = quantized((7, 65), x_dtype), quantized((33, 65), w_dtype, axis)
    bias = RANDOM.standard_normal(33).astype("float32")
    weights = hz.pack(hz.linear, w, input_dtype=x_dtype) if packed else w
    got = hz.linear(x, weights, bias)
    want = reals(x) @ reals(w).T + bias
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(hz.linear(x, weights, bias, activation="relu"), np.maximum(got, 0))


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("packed", [False, True])
def test_matmul_of_qarrays(axis, packed):
    a, b = quantized((7, 65), "uint8"), quantized((65, 20), "int8", axis)
    b_given = hz.pack(hz.matmul, b, input_dtype="uint8") if packed else b
    np.testing.assert_allclose(hz.matmul(a, b_given), reals(a) @ reals(b), rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(a @ b_given, hz.matmul(a, b))


def test_plain_integers_with_zero_points_are_exact():
    """ONNX MatMulInteger: zero points without scales."""
    a = hz.QArray(RANDOM.integers(0, 255, (6, 40), "uint8"), zero_point=200)
    b = hz.QArray(RANDOM.integers(-128, 127, (40, 9), "int8"), zero_point=RANDOM.integers(-9, 9, 9, "int8"), axis=1)
    got = hz.matmul(a, b)
    want = (a.codes.astype("int32") - 200) @ (b.codes.astype("int32") - b.zero_point.astype("int32"))
    assert got.dtype == "int32"
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(
        hz.matmul(a.codes, b.codes.astype("uint8") ^ 0), a.codes.astype("i4") @ b.codes.astype("u1").astype("i4")
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("packed", [False, True])
def test_conv_of_qarrays_pads_with_the_zero_point(dtype, packed):
    x, w = quantized((2, 3, 8, 9), dtype), quantized((5, 3, 3, 3), "int8", 0, zero=False)
    weights = hz.pack(hz.conv2d, w, input_dtype=dtype) if packed else w
    got = hz.conv2d(x, weights, padding=1, stride=2)
    want, _ = convolve(reals(x), reals(w), [2, 2], [1, 1], [(1, 1), (1, 1)])
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_requantised_results(dtype):
    x, w = quantized((7, 65), "uint8"), quantized((33, 65), "int8", 0, zero=False)
    real = hz.linear(x, w, np.ones(33, "float32"))
    zero_point = np.array(3, dtype)
    q = hz.linear(x, w, np.ones(33, "float32"), out_scale=0.25, out_zero_point=zero_point)
    assert isinstance(q, hz.QArray) and q.dtype == dtype
    np.testing.assert_array_equal(q.codes, saturate(np.rint(real / np.float32(0.25)) + 3, dtype))
    again = hz.linear(x, w, np.ones(33, "float32"), out_scale=0.25, out_zero_point=3, out_dtype=dtype)
    np.testing.assert_array_equal(again.codes, q.codes)


def test_qarray_is_an_operand_and_no_array():
    q = quantized((2, 3), "int8")
    with pytest.raises(TypeError, match=r"\.dequantize\(\)"):
        np.asarray(q)
    with pytest.raises(TypeError):
        np.add(np.ones((2, 3)), q)
    assert q.shape == (2, 3) and q.ndim == 2 and len(q) == 2 and q.nbytes == 6 + 4 + 1
    assert "<code>QArray(" in q._repr_html_()
    loaded = pickle.loads(pickle.dumps(q))
    np.testing.assert_array_equal(loaded.dequantize(), q.dequantize())


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((np.ones(3, "float32"),), TypeError, "int8, uint8 or int32"),
        ((np.ones((3, 4), "int8"), np.ones(3), None, 1), ValueError, r"scale has shape \(3,\); it needs shape \(4,\)"),
        ((np.ones((3, 4), "int8"), np.ones(4)), ValueError, "axis="),
        ((np.ones((3, 4), "int8"), 1.0, np.uint8(3)), TypeError, r"zero_point is uint8.*astype\('int8'\)"),
        ((np.ones((3, 4), "int8"), 1.0, 300), ValueError, "zero_point=300 is not in -128"),
        ((np.ones((3, 4), "int8"), 1.0, None, 2), ValueError, "axis=2"),
    ],
)
def test_wrong_qarrays(arguments, kind, words):
    with pytest.raises(kind, match=words):
        hz.QArray(*arguments)


def test_mixing_is_refused_in_words():
    q = quantized((4, 4), "int8")
    with pytest.raises(TypeError, match=r"hz\.quantize\(a\) or b\.dequantize\(\)"):
        hz.matmul(np.ones((4, 4), "float32"), q)
    with pytest.raises(TypeError, match="has a scale and b has none"):
        hz.matmul(q, np.ones((4, 4), "int8"))
    with pytest.raises(TypeError, match="out_scale"):
        hz.matmul(q, q, out_dtype="int8")


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda w: pickle.loads(pickle.dumps(w))])
def test_packed_weights_are_copied_by_their_source(copied):
    w = RANDOM.standard_normal((9, 40)).astype("float32")
    packed = hz.pack(hz.linear, w)
    x = RANDOM.standard_normal((3, 40)).astype("float32")
    np.testing.assert_array_equal(hz.linear(x, copied(packed)), hz.linear(x, w))


def test_packed_weights_do_not_follow_their_source():
    w = np.ones((3, 3), "float32")
    packed = hz.pack(hz.linear, w)
    w[:] = 5
    np.testing.assert_array_equal(hz.linear(np.eye(3, dtype="f"), packed), np.ones((3, 3)))
    np.testing.assert_array_equal(hz.linear(np.eye(3, dtype="f"), copy.deepcopy(packed)), np.ones((3, 3)))


def test_packed_for_another_function():
    packed = hz.pack(hz.linear, np.ones((4, 3), "float32"))
    with pytest.raises(TypeError, match=r"packed for linear, not for matmul: use hz\.pack\(hz\.matmul"):
        hz.matmul(np.ones((2, 3), "float32"), packed)
    with pytest.raises(TypeError, match="packed as float32"):
        hz.linear(np.ones((2, 3)), packed)
    with pytest.raises(ValueError, match=r"w has shape \(4, 3\)"):
        hz.linear(np.ones((2, 4), "float32"), packed)
    with pytest.raises(TypeError, match="PackedWeights are no array"):
        np.asarray(packed)
    with pytest.raises(ValueError, match="hz.matmul, hz.linear"):
        hz.pack(np.matmul, np.ones((4, 3), "float32"))
