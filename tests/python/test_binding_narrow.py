"""bfloat16 and float16: reproducible, the bits of float32's product, rounded once; what they meet; DLPack both ways."""

import gc
import pickle
import subprocess
import sys
import textwrap
import tracemalloc

import hunze as hz
import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from binding_cases import Exporter
from hypothesis import given, settings
from hypothesis import strategies as st

BF16, F16 = ml_dtypes.bfloat16, np.float16
BOTH = pytest.mark.parametrize("dtype", [BF16, F16], ids=["bfloat16", "float16"])
SHAPES = hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=17, min_side=0)


def random(shape, dtype, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(dtype)


def bits(x):
    return np.asarray(x).view(np.uint16)


def same(got, want):
    """One dtype and shape, and the same bits; any NaN is any NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape
    wide = got.astype("float32"), want.astype("float32")
    both_nan = np.isnan(wide[0]) & np.isnan(wide[1])
    np.testing.assert_array_equal(np.where(both_nan, 0, wide[0]), np.where(both_nan, 0, wide[1]))
    np.testing.assert_array_equal(np.signbit(wide[0]) & ~both_nan, np.signbit(wide[1]) & ~both_nan)


def wide(*arrays):
    return (np.asarray(x).astype("float32") for x in arrays)


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.sampled_from([BF16, F16]))
def test_f32s_product_rounded(shapes, dtype):
    a, b = (random(shape, dtype, index) for index, shape in enumerate(shapes.input_shapes))
    got, exact = hz.matmul(a, b, reproducible=True), np.asarray(hz.matmul(*wide(a, b)))
    assert np.shape(got) == shapes.result_shape
    same(got, exact.astype(dtype))
    # A bundle with an order of its own keeps the bound of a sum of so many products.
    own = np.asarray(hz.matmul(a, b, dtype="float32"))
    bound = 2.0**-23 * (a.shape[-1] + 2) * np.asarray(hz.matmul(*wide(np.abs(a), np.abs(b))))
    assert np.all(np.abs(own - exact) <= bound)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 70), st.integers(0, 1300), st.sampled_from([BF16, F16]), st.booleans(),
    st.booleans(), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 7]), st.sampled_from([0, 1, 2, 3]),
)  # fmt: skip
def test_strides_epilogue_and_threads(m, n, k, dtype, a_columns, b_columns, a_step, b_step, threads, floats):
    a, b = random((m * a_step, k), dtype, 1)[::a_step], random((k, n * b_step), dtype, 2)[:, ::b_step]
    a, b = np.asfortranarray(a) if a_columns else a, np.asfortranarray(b) if b_columns else b
    bias = random((n,), "float32" if floats & 1 else dtype, 3)
    residual = random((m, n), "float32" if floats & 2 else dtype, 4)
    options = {"activation": "gelu", "reproducible": True}
    want = hz.matmul(*wide(a, b), bias=bias.astype("f"), residual=residual.astype("f"), **options)
    out = np.full((m, 2 * n), np.nan, dtype)[:, ::2]
    got = hz.matmul(a, b, bias=bias, residual=residual, out=out, threads=threads, **options)
    assert got is out
    same(got, want.astype(dtype))
    # Without the rounding.
    got = hz.matmul(a, b, bias=bias, residual=residual, dtype="float32", threads=threads, **options)
    np.testing.assert_array_equal(got, want)


@BOTH
def test_the_same_bits_for_batch_packing_and_isa(dtype):
    x, w, bias = random((5, 37, 1100), dtype), random((45, 1100), dtype), random((45,), dtype)
    want = hz.linear(x, w, bias, activation="silu")
    packed = hz.pack(hz.linear, w)
    assert packed.dtype == dtype and packed.nbytes < 1.1 * 2 * 64 * 1100
    for threads in (1, 2, 7):
        same(hz.linear(x, packed, bias, activation="silu", threads=threads), want)
    for row in range(5):
        same(hz.linear(x[row], w, bias, activation="silu"), want[row])
        same(hz.linear(x[row, 3], packed, bias, activation="silu"), want[row, 3])
    plan = hz.plan(hz.linear, x, w, bias)
    same(plan(x, w, bias), hz.linear(x, w, bias))
    same(hz.linear(x, pickle.loads(pickle.dumps(packed)), bias, activation="silu"), want)
    want = hz.linear(x, w, bias, activation="silu", reproducible=True)
    for isa in ("portable", "avx2", "avx512", "avx512bf16"):
        try:
            with hz.options(isa=isa, reproducible=True):
                same(hz.linear(x, w, bias, activation="silu"), want)
                same(hz.linear(x, packed, bias, activation="silu"), want)
        except NotImplementedError:
            assert isa not in hz.info()["found"]


@BOTH
def test_rounding_at_the_edges(dtype):
    info = ml_dtypes.finfo(dtype)
    largest, tiny = float(info.max), float(info.smallest_subnormal)
    half = 2.0 ** -(info.nmant + 1)
    one = np.ones((1, 1), dtype)

    def rounded(value):
        return float(hz.matmul(one, one, bias=np.float32([value - 1]))[0, 0])

    assert rounded(1 + half) == 1 and rounded(1 + 3 * half) == 1 + 4 * half  # ties to even
    assert rounded(1 + half * 1.25) == 1 + 2 * half and rounded(1 + half * 0.75) == 1
    beyond = np.float32([[2.0 ** (info.maxexp - info.nmant - 2)]])  # half of the last place of the largest: a tie
    most = np.full((1, 1), largest, dtype)
    assert float(hz.matmul(most, one, residual=beyond)[0, 0]) == np.inf
    assert float(hz.matmul(-most, one, residual=-beyond)[0, 0]) == -np.inf
    assert float(hz.matmul(most, one, residual=beyond * np.float32(0.75))[0, 0]) == largest
    assert hz.matmul(most, one, residual=beyond, dtype="float32")[0, 0] == np.float32(largest) + beyond[0, 0]
    small = np.full((1, 1), tiny, dtype)
    same(hz.matmul(small, one, reproducible=True), small)  # denormals in and out
    own = dtype is BF16 and "avx512bf16" in hz.info()["found"]
    same(hz.matmul(small, one), small * (0 if own else 1))
    assert float(hz.matmul(small, np.full((1, 1), 0.5, dtype))[0, 0]) == 0  # half of the least: a tie, to zero
    special = np.array([[np.nan, np.inf, -np.inf, -0.0]], dtype).T
    got = hz.matmul(special, one)[:, 0].astype("float32")
    assert np.isnan(got[0]) and got[1] == np.inf and got[2] == -np.inf
    got = hz.matmul(special, one, reproducible=True)
    assert bits(got)[0, 0] == (0x7FC0 if dtype is BF16 else 0x7E00)


@pytest.mark.parametrize("first", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("second", ["bfloat16", "float16", "float32", "float64"])
def test_promotion_is_numpys(first, second):
    a, b = random((6, 9), first), random((9, 4), second, 1)
    if {first, second} == {"bfloat16", "float16"}:  # nor does NumPy
        with pytest.raises(TypeError, match=rf"b is {second} beside a, which is {first}: use b\.astype\('float32'\)"):
            hz.matmul(a, b)
        assert hz.matmul(a, b.astype("float32")).dtype == "float32"
        return
    got, common = hz.matmul(a, b), np.promote_types(a.dtype, b.dtype)
    assert got.dtype == common
    same(got, hz.matmul(a.astype(common), b.astype(common)))
    assert hz.matmul(a, b, dtype=first).dtype == first


@BOTH
@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda a, b, out: hz.matmul(a, b, bias=np.ones(4), out=out), TypeError, r"bias is float64.*bias\.astype\('fl"),
        (lambda a, b, out: hz.matmul(a, b.astype("f"), out=out), TypeError, r"out is .*16; the result is float32"),
        (lambda a, b, out: hz.matmul(a, np.ones((9, 4), "int32"), out=out), TypeError, r"b is int32 beside a, wh"),
        (lambda a, b, out: hz.matmul(a.astype("f"), hz.pack(hz.matmul, b), out=out), TypeError, r"a\.astype\('.*16'\)"),
        (lambda a, b, out: hz.conv1d(a[None], a[None, :, :3], out=out), TypeError, r"x is .*16; conv1d takes fl.*x\.a"),
        (lambda a, b, out: hz.activate(a, "relu", out=out), TypeError, r"x is .*16; activate takes float32.*x\.astype"),
        (lambda a, b, out: hz.pack(hz.conv1d, b[None]), TypeError, r"w is .*16; weights of hz\.conv1d are.*w\.astype"),
        (lambda a, b, out: hz.matmul(a, b, out=a[:, :4]), ValueError, r"d overlaps a"),
    ],
)  # fmt: skip
def test_refused(dtype, call, kind, words):
    a, b, out = random((6, 9), dtype), random((9, 4), dtype), random((6, 4), dtype)
    before, a_before = out.copy(), a.copy()
    with pytest.raises(kind, match=words):
        call(a, b, out)
    np.testing.assert_array_equal(bits(out), bits(before))
    np.testing.assert_array_equal(bits(a), bits(a_before))


@BOTH
def test_lists_are_addends(dtype):
    a, b = random((6, 9), dtype), random((9, 4), dtype)
    bias = [1, 2, 0.1, 4]
    same(hz.matmul(a, b, bias=bias), hz.matmul(a, b, bias=np.float32(bias)))


# ---------------------------------------------------------------- DLPack


class Space:
    """Another library: what it was given stands in `given`."""

    given = None

    @staticmethod
    def from_dlpack(x):
        Space.given = x
        return "taken"


class Taken(Exporter):
    def __array_namespace__(self, api_version=None):
        return Space


@BOTH
@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack_in(dtype, versioned):
    a, b = random((6, 9), dtype), random((9, 4), dtype)
    x, y = Exporter(a, versioned), Exporter(b.T.copy().T, versioned)
    same(hz.matmul(x, y), hz.matmul(a, b))
    assert (x.deleted, y.deleted) == (1, 1)
    same(hz.matmul(Exporter(a), b.astype("float32")), hz.matmul(a, b.astype("float32")))
    same(hz.linear(a, hz.pack(hz.linear, Exporter(b.T))), hz.matmul(a, b))
    out = np.zeros((6, 4), dtype)
    hz.matmul(a, b, out=Exporter(out))
    same(out, hz.matmul(a, b))


@BOTH
def test_dlpack_out(dtype):
    a, b = random((3, 6, 9), dtype), random((9, 4), dtype)
    assert hz.matmul(Taken(a), Taken(b)) == "taken"
    given, Space.given = Space.given, None
    assert given.__dlpack_device__() == (1, 0)
    want = hz.matmul(a, b)
    # The export is an operand again, by either form of capsule.
    eye = np.eye(4, dtype=dtype)
    same(hz.matmul(given, eye), want)

    class Legacy:
        __dlpack_device__ = staticmethod(given.__dlpack_device__)

        def __dlpack__(self):
            return given.__dlpack__()

    same(hz.matmul(Legacy(), eye), want)


def test_an_export_keeps_its_memory_until_it_is_given_back():
    a, b = random((6, 9), BF16), random((9, 4), BF16)
    hz.matmul(Taken(a), Taken(b))
    given, Space.given = Space.given, None
    capsule = given.__dlpack__(max_version=(1, 3))

    class Once:
        __dlpack_device__ = staticmethod(lambda: (1, 0))
        __dlpack__ = staticmethod(lambda **_: capsule)

    del given
    gc.collect()
    same(hz.matmul(Once(), np.eye(4, dtype=BF16)), hz.matmul(a, b))
    with pytest.raises(TypeError, match="no unused DLPack capsule"):
        hz.matmul(Once(), np.eye(4, dtype=BF16))


@pytest.mark.parametrize("taken", ["not at all", "as a capsule", "as an array"])
def test_an_export_leaves_nothing_behind(taken):
    a, eye = random((300, 300), BF16), np.eye(300, dtype=BF16)

    def once():
        hz.matmul(Taken(a), Taken(a))
        given, Space.given = Space.given, None
        if taken == "as a capsule":
            given.__dlpack__()
        elif taken == "as an array":
            hz.matmul(given, eye)

    once()
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(10):
            once()
        gc.collect()
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < a.nbytes and most > a.nbytes  # NumPy's memory is traced


def test_without_ml_dtypes():
    """NumPy lacks bfloat16 then: other libraries' arrays are multiplied and handed back; for an ndarray it says why."""
    code = """
        import sys

        sys.modules["ml_dtypes"] = None
        sys.path.insert(0, %r)
        import numpy as np
        from binding_cases import Exporter
        import hunze as hz

        one = np.full((2, 2), 0x3F80, "uint16")  # 1.0 as bfloat16


        class BFloat16(Exporter):
            def __init__(self, array):
                super().__init__(array)
                self._managed.tensor.code = 4


        class Space:
            from_dlpack = staticmethod(lambda x: x)


        class Taken(BFloat16):
            def __array_namespace__(self, api_version=None):
                return Space


        out = hz.matmul(Taken(one), Taken(one))
        assert "ml_dtypes" not in sys.modules or sys.modules["ml_dtypes"] is None
        print(hz.matmul(out, out, dtype="float32"))
        try:
            hz.matmul(BFloat16(one), BFloat16(one))
        except TypeError as error:
            print(error)
    """
    code = textwrap.dedent(code) % str(__import__("pathlib").Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[[8. 8.]\n [8. 8.]]" in done.stdout and "pip install ml_dtypes" in done.stdout
