"""matmul and linear against longer floats and exact integers: any shape, stride, batch, epilogue, threads, ISA."""

import hunze as hz
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from binding_cases import UNIT, assert_product, gamma
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=17, min_side=0)
QUICK = settings(max_examples=150, deadline=None)


def random(shape, dtype, seed=0):
    values = np.random.default_rng(seed + sum(shape)).standard_normal(shape)
    return values.astype(dtype)


@QUICK
@given(SHAPES, st.sampled_from(["float32", "float64"]))
def test_broadcasting_as_numpy(shapes, dtype):
    a, b = (random(shape, dtype, index) for index, shape in enumerate(shapes.input_shapes))
    got = np.asarray(hz.matmul(a, b))
    want = np.matmul(a, b)
    assert got.shape == want.shape == shapes.result_shape
    assert got.dtype == want.dtype
    bound = gamma(a.shape[-1] + 2, UNIT[dtype]) * np.matmul(abs(a).astype("longdouble"), abs(b).astype("longdouble"))
    assert np.all(abs(got - np.matmul(a.astype("longdouble"), b.astype("longdouble"))) <= bound)


@QUICK
@given(SHAPES, st.sampled_from(["uint8", "int8"]), st.sampled_from(["uint8", "int8"]))
def test_integers_are_exact(shapes, a_dtype, b_dtype):
    a, b = (
        np.random.default_rng(index).integers(np.iinfo(d).min, np.iinfo(d).max, shape, d, endpoint=True)
        for index, (shape, d) in enumerate(zip(shapes.input_shapes, (a_dtype, b_dtype), strict=True))
    )
    got = hz.matmul(a, b)
    np.testing.assert_array_equal(got, np.matmul(a.astype("int32"), b.astype("int32")))
    assert got.dtype == "int32"


WRAPPING = ["int16", "int32", "int64", "uint16", "uint32", "uint64"]


def integers(shape, dtype, seed=0):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


@QUICK
@given(SHAPES, st.sampled_from(WRAPPING), st.sampled_from([*WRAPPING, "int8", "uint8"]))
def test_wide_integers_wrap_as_numpy(shapes, a_dtype, b_dtype):
    a, b = (
        integers(shape, d, i) for i, (shape, d) in enumerate(zip(shapes.input_shapes, (a_dtype, b_dtype), strict=True))
    )
    dtype = np.result_type(a, b)
    for x, y in ((a, b), (b, a)) if a.ndim == b.ndim == 1 else ((a, b),):
        if dtype.kind == "f":  # of uint64 and signed ones
            with pytest.raises(TypeError, match="int.* beside .*astype"):
                hz.matmul(x, y)
            continue
        got, want = hz.matmul(x, y), np.matmul(x, y)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype


@pytest.mark.parametrize("dtype", WRAPPING)
@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_wide_integers_through_the_blocks(dtype, isa):
    if isa not in hz.info()["found"]:
        pytest.skip(f"this CPU has no {isa}")
    with hz.options(isa=isa):
        for m, n, k in ((70, 133, 610), (5, 300, 1030), (1, 70, 33)):
            a, b, bias = integers((m, k), dtype), integers((k, n), dtype, 1), integers(n, dtype, 2)
            residual, want = integers((m, 1), dtype, 3), np.matmul(a, b)
            np.testing.assert_array_equal(hz.matmul(a[:, ::-1], np.asfortranarray(b[::-1])), want)
            got = hz.matmul(a, hz.pack(hz.matmul, b), bias=bias, residual=residual, threads=2)
            np.testing.assert_array_equal(got, want + bias + residual)
            out = np.zeros((n, m), dtype).T
            assert hz.linear(a, b.T, bias, out=out) is out
            np.testing.assert_array_equal(out, want + bias)
            if dtype.startswith("i"):
                np.testing.assert_array_equal(hz.matmul(a, b, activation=("clip", -99.5, 500)), np.clip(want, -99, 500))


def test_wide_integers_and_their_errors():
    a, u, out = integers((3, 4), "int32"), integers((3, 4), "uint32"), np.zeros((3, 3), "int32")
    packed = hz.pack(hz.matmul, a.T.astype("int16"))
    np.testing.assert_array_equal(hz.matmul(a, a.T, dtype="int64"), np.matmul(a, a.T, dtype="int64"))
    for call, error, words in (
        (lambda: hz.matmul(a, a.T, dtype="int16", out=out), TypeError, "dtype=int16; matmul of these .* gives int32"),
        (lambda: hz.matmul(a, a.T, activation="gelu", out=out), NotImplementedError, "of s32 takes relu or clip"),
        (lambda: hz.matmul(u, u.T, activation="relu"), NotImplementedError, "a result of u32 takes none"),
        (lambda: hz.matmul(a, a.T, bias=np.zeros(3, "int64"), out=out), TypeError, r"bias\.astype\('int32'\)"),
        (lambda: hz.matmul(a, packed, out=out), TypeError, "b is packed as int16 beside int32"),
        (lambda: hz.matmul(a > 0, a.T, out=out), TypeError, "a is bool; .* and integers: use a.astype"),
        (lambda: hz.conv1d(a[None], a[None]), TypeError, "x is int32; conv1d takes float32, float64, int8 and uint8"),
        (lambda: hz.pack(hz.conv1d, a[None]), TypeError, "w is int32; weights of hz.conv1d are"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            call()
    assert not out.any()


@QUICK
@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 700), st.sampled_from(["float32", "float64"]),
    st.booleans(), st.booleans(), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 3, 7]),
)  # fmt: skip
def test_strides_epilogue_and_threads(m, n, k, dtype, a_columns, b_columns, a_step, b_step, threads):
    a = random((m * a_step, k), dtype, 1)[::a_step]
    b = random((k, n * b_step), dtype, 2)[:, ::b_step]
    a, b = np.asfortranarray(a) if a_columns else a, np.asfortranarray(b) if b_columns else b
    bias, residual = random((n,), dtype, 3), random((m, n), dtype, 4)
    assert_product(hz.matmul(a, b, threads=threads), a, b)
    out = np.full((m, n), np.nan, dtype)
    got = hz.matmul(a, b, bias=bias, residual=residual, activation="relu", out=out, threads=threads)
    assert got is out
    # The contract: one rounding per step, in this order.
    np.testing.assert_array_equal(got, np.maximum((hz.matmul(a, b) + bias) + residual, 0))


def test_the_same_bits_for_threads_batch_packing_and_isa():
    a, w, bias = random((5, 37, 600), "float32"), random((45, 600), "float32"), random((45,), "float32")
    want = hz.linear(a, w, bias, activation="gelu", reproducible=True)
    packed = hz.pack(hz.linear, w)
    for threads in (1, 2, 3, 7):
        np.testing.assert_array_equal(
            hz.linear(a, w, bias, activation="gelu", reproducible=True, threads=threads), want
        )
        np.testing.assert_array_equal(hz.linear(a, packed, bias, activation="gelu", threads=threads), want)
    for row in range(5):
        np.testing.assert_array_equal(hz.linear(a[row], w, bias, activation="gelu"), want[row])
        np.testing.assert_array_equal(hz.linear(a[row, 3], packed, bias, activation="gelu"), want[row, 3])
    for isa in ("portable", "avx2", "avx512"):
        try:
            with hz.options(isa=isa, reproducible=True):
                np.testing.assert_array_equal(hz.linear(a, w, bias, activation="gelu"), want)
                np.testing.assert_array_equal(hz.linear(a, packed, bias, activation="gelu"), want)
        except NotImplementedError:
            assert isa not in hz.info()["found"]


@pytest.mark.parametrize("vector", ["a", "b", "both"])
def test_addends_follow_vectors(vector):
    a, b = random((6, 9), "float32"), random((9, 4), "float32")
    a, b = a[0] if vector != "b" else a, b[:, 0] if vector != "a" else b
    plain = hz.matmul(a, b)
    addend = np.full(np.shape(plain), 2, "float32") if np.shape(plain) else np.float32(2)
    np.testing.assert_array_equal(hz.matmul(a, b, residual=addend), plain + np.float32(2))
    np.testing.assert_array_equal(hz.matmul(a, b, bias=addend), plain + np.float32(2))


def test_addends_of_a_vector_and_a_batch():
    a, b, residual = random((9,), "float32"), random((3, 9, 4), "float32"), random((3, 4), "float32")
    np.testing.assert_array_equal(hz.matmul(a, b, residual=residual), hz.matmul(a, b) + residual)
    b = np.moveaxis(b, 1, 2)
    np.testing.assert_array_equal(hz.matmul(b, a, residual=residual), hz.matmul(b, a) + residual)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_small_plain_products_are_those_of_the_general_way(dtype):
    """threads=1 is an option, which the short way for small plain matrices leaves to the other."""
    wide = random((9, 14), dtype, 1)
    record = np.zeros(6, [("pad", "i1"), ("x", dtype)])["x"].reshape(2, 3)
    record[:] = random((2, 3), dtype, 5)
    views = [wide[:3, :5], wide[::2, 3:8], wide[5:8, ::-2][:, :5], wide.T[:5, :4].T, wide[:0, :5], wide[:1, :5]]
    for a in [*views, record]:
        for b in (random((a.shape[1], 4), dtype, 2), random((4, a.shape[1]), dtype, 3).T, wide[: a.shape[1], 1::3]):
            want = hz.matmul(a, b, threads=1)
            assert want.tobytes() == hz.matmul(a, b).tobytes()
            out = np.full((2 * want.shape[0], want.shape[1]), 7, dtype)[::2]
            assert hz.matmul(a, b, out=out) is out and out.tobytes() == want.tobytes()
            assert hz.matmul(a, b, out=None).tobytes() == want.tobytes()
            for transposed in (np.empty(want.shape[::-1], dtype).T, np.empty(want.shape, dtype, "F")):
                assert hz.matmul(a, b, out=transposed).tobytes() == want.tobytes()


def test_small_plain_products_are_refused_as_others():
    a, b, good = random((4, 4), "f4"), random((4, 4), "f4", 1), np.full((4, 4), 7, "f4")
    frozen = good.copy()
    frozen.flags.writeable = False
    swapped = a.astype(">f4")
    wrong = [
        ((a, b[:3]), good),
        ((a, swapped), good),
        ((a, b), frozen),
        ((a, b), good[:3]),
        ((a, b), good.astype("f8")),
        ((a, b), good.astype(">f4")),
        ((a, b), np.broadcast_to(good[:1], (4, 4))),
        ((a, b), [[1.0]]),
        ((a, b), a),
        ((a, b), b.T),
    ]
    for operands, out in wrong:
        said = []
        for more in ({}, {"threads": 1}):
            before = np.array(out)
            with pytest.raises((TypeError, ValueError)) as refused:
                hz.matmul(*operands, out=out, **more)
            said.append((type(refused.value), str(refused.value)))
            assert np.array_equal(before, out), "out is untouched"
        assert said[0] == said[1]


def test_residual_broadcasts_over_a_batch():
    a, b, residual = random((3, 2, 5, 8), "float32"), random((8, 6), "float32"), random((2, 1, 6), "float32")
    np.testing.assert_array_equal(hz.matmul(a, b, residual=residual), hz.matmul(a, b) + residual)


def test_nan_and_infinity_pass_through():
    a = np.ones((3, 5), "float32")
    a[0, 1], a[1, 2] = np.nan, np.inf
    got = hz.matmul(a, np.ones((5, 20), "float32"), activation="relu")
    assert np.isnan(got[0]).all() and np.isinf(got[1]).all() and (got[2] == 5).all()


def test_empty_products():
    np.testing.assert_array_equal(hz.matmul(np.ones((3, 0), "f"), np.ones((0, 2), "f"), bias=[1.0, 2.0]), [[1, 2]] * 3)
    assert hz.matmul(np.ones((0, 4), "f"), np.ones((4, 2), "f")).shape == (0, 2)
    assert hz.matmul(np.ones((3, 4), "f"), np.ones((4, 0), "f")).shape == (3, 0)


ACTIVATIONS = {
    "relu": lambda x: np.where(x < 0, 0, x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    ("leaky_relu", 0.3): lambda x: np.where(x < 0, 0.3 * x, x),
    ("clip", -1.5, 2): lambda x: np.clip(x, -1.5, 2),
    ("clip", None, 1): lambda x: np.minimum(x, 1),
    ("hardsigmoid", 0.2, 0.4): lambda x: np.clip(0.2 * x + 0.4, 0, 1),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(activation, dtype):
    x = np.linspace(-9, 9, 1001, dtype=dtype)
    want = ACTIVATIONS[activation](x.astype("float64"))
    got = hz.activate(x, activation)
    assert got.dtype == dtype
    # Constants of an activation are float32.
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=4e-7)
    # Fused, the same bits.
    np.testing.assert_array_equal(hz.matmul(x[:, None], np.ones((1, 1), dtype), activation=activation)[:, 0], got)
    assert hz.activate(x, activation=activation, out=x) is x
    np.testing.assert_array_equal(x, got)


def test_gelu_is_the_erf_form():
    from math import erf

    x = np.linspace(-6, 6, 501, dtype="float32")
    want = [0.5 * float(v) * (1 + erf(float(v) / 2**0.5)) for v in x]
    np.testing.assert_allclose(hz.activate(x, "gelu"), want, rtol=4e-6, atol=2e-7)


def test_activation_refuses_integers():
    with pytest.raises(TypeError, match=r"x\.astype\('float32'\)"):
        hz.activate(np.arange(3), "relu")
