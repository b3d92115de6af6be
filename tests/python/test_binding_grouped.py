"""grouped_matmul against hz.matmul of each group, bit by bit, with offsets and of lists; offsets as people have them;
what it refuses."""

import sys
import threading
import time

import hunze as hz
import ml_dtypes
import numpy as np
import pytest
from binding_cases import Exporter
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=60, deadline=None)


def random(shape, dtype, seed):
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values * 50).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)


def by_group(a, b, offsets, bias=None, residual=None, **options):
    parts = [
        hz.matmul(
            a[start:end],
            b[group],
            bias=bias[group] if bias is not None and bias.ndim == 2 else bias,
            residual=None if residual is None else residual[start:end],
            **options,
        )
        for group, (start, end) in enumerate(zip(offsets[:-1], offsets[1:], strict=True))
    ]
    return np.concatenate(parts)


@QUICK
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=9), st.integers(1, 40), st.integers(1, 300),
    st.sampled_from(["float32", "float64", "float16"]), st.booleans(), st.sampled_from([1, 2, 3]),
)  # fmt: skip
def test_each_group_has_the_bits_of_a_product_of_its_own(sizes, n, k, dtype, across, threads):
    m, groups = sum(sizes), len(sizes)
    offsets = np.cumsum([0, *sizes])
    a, bias, residual = random((m, k), dtype, 1), random((groups, n), dtype, 2), random((m, n), dtype, 3)
    b = random((groups, n, k), dtype, 4).transpose(0, 2, 1) if across else random((groups, k, n), dtype, 4)
    out = np.full((m, n), np.nan, dtype)
    got = hz.grouped_matmul(a, b, offsets, threads=threads, out=out)
    assert got is out
    np.testing.assert_array_equal(got, by_group(a, b, offsets))
    options = {"residual": residual, "activation": "relu"}
    want = by_group(a, b, offsets, bias=bias, **options)
    np.testing.assert_array_equal(hz.grouped_matmul(a, b, offsets, bias=bias, threads=threads, **options), want)
    one = by_group(a, b, offsets, bias=bias[0])
    np.testing.assert_array_equal(hz.grouped_matmul(a, b, offsets, bias=bias[0]), one)


@pytest.mark.parametrize(("a_dtype", "b_dtype"), [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")])
def test_integers(a_dtype, b_dtype):
    a, b, offsets = random((50, 30), a_dtype, 1), random((3, 30, 20), b_dtype, 2), [0, 7, 7, 50]
    got = hz.grouped_matmul(a, b, offsets)
    assert got.dtype == "int32"
    whole, matrices = a.astype("int32"), b.astype("int32")
    np.testing.assert_array_equal(got, np.concatenate([whole[:7] @ matrices[0], whole[7:] @ matrices[2]]))


@pytest.mark.parametrize("kind", [list, np.int32, np.int64, np.uint8, "strided"])
def test_offsets_of_any_integers(kind):
    a, b = random((6, 4), "float32", 1), random((2, 4, 5), "float32", 2)
    offsets = np.array([0, 2, 6])
    if kind is list:
        offsets = offsets.tolist()
    elif kind == "strided":
        offsets = np.repeat(offsets, 2)[::2]
    else:
        offsets = offsets.astype(kind)
    np.testing.assert_array_equal(hz.grouped_matmul(a, b, offsets), by_group(a, b, [0, 2, 6]))


def test_float_operands_are_promoted_as_in_matmul():
    a, b = random((6, 4), "float32", 1), random((2, 4, 5), "float64", 2)
    got = hz.grouped_matmul(a, b, [0, 2, 6])
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, by_group(a, b, [0, 2, 6]))
    half = hz.grouped_matmul(a.astype("float16"), b.astype("float16"), [0, 2, 6], dtype="float32")
    assert half.dtype == "float32"


def test_matrices_of_groups_without_rows_are_not_read():
    a, b = np.ones((3, 2), "float32"), np.full((3, 2, 2), np.nan, "float32")
    b[1] = 1
    np.testing.assert_array_equal(hz.grouped_matmul(a, b, [0, 0, 3, 3]), np.full((3, 2), 2, "float32"))


def test_plan_and_explain():
    a, b = random((6, 4), "float32", 1), random((2, 4, 5), "float32", 2)
    plan = hz.plan(hz.grouped_matmul, a, b, [0, 2, 6])
    np.testing.assert_array_equal(plan(a, b, [0, 5, 6]), by_group(a, b, [0, 5, 6]))
    explained = hz.explain(hz.grouped_matmul, a, b, [0, 2, 6])
    assert explained["shape"] == {"m": 6, "n": 5, "k": 4, "batch": 1, "groups": 2}
    assert explained["operations"] == 2 * 6 * 5 * 4


@pytest.mark.parametrize(
    ("offsets", "error", "words"),
    [
        ([0, 2, 5], ValueError, r"offsets\[2\], the last, is 5; a has 6 rows"),
        ([0, 7, 6], ValueError, r"offsets\[1\] is 7; a has 6 rows"),
        ([0, 3, 2], ValueError, r"offsets\[2\] is 2 after 3; they ascend"),
        ([1, 2, 6], ValueError, r"offsets\[0\] is 1"),
        ([0, 2, 2**33 + 6], ValueError, r"offsets\[2\] is 8589934598"),
        ([0, 6], ValueError, r"offsets has shape \(2,\)"),
        ([[0, 2, 6]], ValueError, r"offsets has shape \(1, 3\)"),
        ([0.0, 2.0, 6.0], TypeError, "offsets has dtype float64"),
        (["a"], TypeError, "offsets has dtype"),
    ],
)
def test_offsets_that_are_refused(offsets, error, words):
    a, b = random((6, 4), "float32", 1), random((2, 4, 5), "float32", 2)
    out = np.full((6, 5), 7, "float32")
    with pytest.raises(error, match=words):
        hz.grouped_matmul(a, b, offsets, out=out)
    assert np.all(out == 7)


def test_operands_that_are_refused():
    a, b, offsets = random((6, 4), "float32", 1), random((2, 4, 5), "float32", 2), [0, 2, 6]
    with pytest.raises(ValueError, match=r"b has shape \(4, 5\); a \(6, 4\) needs b \(groups, 4, n\)"):
        hz.grouped_matmul(a, b[0], offsets)
    with pytest.raises(ValueError, match=r"b has shape \(2, 5, 4\)"):
        hz.grouped_matmul(a, b.transpose(0, 2, 1), offsets)
    with pytest.raises(ValueError, match=r"a has shape \(1, 6, 4\); grouped_matmul needs \(m, k\)"):
        hz.grouped_matmul(a[None], b, offsets)
    with pytest.raises(ValueError, match=r"bias has shape \(6, 1\); with offsets it needs \(5,\) or \(2, 5\)"):
        hz.grouped_matmul(a, b, offsets, bias=np.ones((6, 1), "float32"))
    with pytest.raises(TypeError, match="grouped_matmul takes plain arrays"):
        hz.grouped_matmul(hz.quantize(a), b, offsets)
    with pytest.raises(TypeError, match="grouped_matmul takes plain arrays"):
        hz.grouped_matmul(a, hz.pack(hz.matmul, b[0]), offsets)
    with pytest.raises(ValueError, match="overlaps"):
        hz.grouped_matmul(a[:, :4], np.ones((2, 4, 4), "float32"), offsets, out=a)


# ---------------------------------------------------------------- lists


def same_list(got, want):
    assert isinstance(got, list)
    for one, other in zip(got, want, strict=True):
        assert type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()


TYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16, "int8", "uint8", "int16"]


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 100), st.sampled_from(TYPES), st.booleans()),
        max_size=7,
    ),
    st.sampled_from([1, 2, 3]),
)
def test_each_item_of_a_list_has_the_bits_of_a_product_of_its_own(products, threads):
    a = [random((m, k), dtype, 1) for m, n, k, dtype, _ in products]
    b = [random((n, k), t, 2).T if across else random((k, n), t, 2) for m, n, k, t, across in products]
    want = [hz.matmul(*pair) for pair in zip(a, b, strict=True)]
    same_list(hz.grouped_matmul(a, b, threads=threads), want)
    out = [np.full_like(one, 7) for one in want]
    got = hz.grouped_matmul(tuple(a), tuple(b), out=out, threads=threads)
    same_list(got, want)
    assert all(one is other for one, other in zip(got, out, strict=True))
    bias = [random((one.shape[1],), one.dtype, 3) if i % 2 else None for i, one in enumerate(want)]
    added = [i % 3 == 0 and one.dtype != "int32" for i, one in enumerate(want)]
    residual = [random(one.shape, one.dtype, 4) if add else None for one, add in zip(want, added, strict=True)]
    out = [one if i % 2 else None for i, one in enumerate(out)]
    options = {"activation": "relu", "reproducible": True}
    want = [hz.matmul(x, y, bias=u, residual=v, **options) for x, y, u, v in zip(a, b, bias, residual, strict=True)]
    same_list(hz.grouped_matmul(a, b, bias=bias, residual=residual, out=out, threads=threads, **options), want)


def test_items_of_a_list_are_what_matmul_takes():
    a = [random((2, 3, 5, 4), "float32", 1), random((4,), "float32", 2), random((4,), "float64", 3), [[1.0, 2, 3, 4]]]
    b = [random((3, 4, 6), "float32", 4), random((4, 2), "float64", 5), random((4,), "float32", 6), np.eye(4)[::-1]]
    bias = [None, [1, 2], None, [0.5, 1, 2, 3]]
    want = [hz.matmul(*items[:2], bias=items[2]) for items in zip(a, b, bias, strict=True)]
    same_list(hz.grouped_matmul(a, b, bias=bias), want)
    half = random((3, 4), "float16", 7)
    (got,) = hz.grouped_matmul([half], [half.T], dtype="float32")
    assert got.dtype == "float32" and got.tobytes() == hz.matmul(half, half.T, dtype="float32").tobytes()
    name = next(row["name"] for row in hz.info()["kernels"] if row["name"].startswith("gemm_f64"))
    same_list(hz.grouped_matmul([np.eye(3)], [np.eye(3)], kernel=name), [hz.matmul(np.eye(3), np.eye(3), kernel=name)])


def test_a_list_with_packed_weights():
    for dtype in ("float32", ml_dtypes.bfloat16, "int8"):
        a, b = random((30, 40), dtype, 1), random((40, 50), dtype, 2)
        want = hz.matmul(a, b)
        same_list(hz.grouped_matmul([a, a, a[:1]], [hz.pack(hz.matmul, b), b, b]), [want, want, want[:1]])


def test_an_empty_list_gives_an_empty_list():
    assert hz.grouped_matmul([], []) == []
    assert hz.grouped_matmul((), (), bias=[], residual=(), out=[], activation="relu") == []
    with pytest.raises(ValueError, match="activation='bend' is not known"):
        hz.grouped_matmul([], [], activation="bend")


E, BIG = np.eye(4, dtype="float32"), np.ones((4, 5), "float32")


@pytest.mark.parametrize(
    ("a", "b", "options", "error", "words"),
    [
        ([E, E], [E], {}, ValueError, "b has 1 items and a has 2; there is one for each product"),
        ([E, E], [E, E], {"bias": [None]}, ValueError, "bias has 1 items and a has 2"),
        (E, [E], {}, TypeError, "a is a <class 'numpy.ndarray'>; grouped_matmul without offsets needs a list"),
        ([E], E, {}, TypeError, "b is a <class 'numpy.ndarray'>; grouped_matmul without offsets"),
        ([E], [E], {"residual": E}, TypeError, "residual is a <class 'numpy.ndarray'>; grouped_matmul without"),
        ([E], [None], {}, TypeError, r"b\[0\] \(a <class 'NoneType'>\) does not make an array of numbers"),
        ([E] * 12, [E] * 11 + [BIG.T], {}, ValueError, r"b\[11\] has shape \(5, 4\); a\[11\] .* b\[11\] \(4, n\)"),
        ([E, E], [E, E[0, 0]], {}, ValueError, r"b\[1\] has no axes"),
        ([E, [["x"]]], [E, E], {}, TypeError, r"a\[1\] has the dtype"),
        ([E, E], [E, E.astype("int8")], {}, TypeError, r"b\[1\] is int8 beside a\[1\], which"),
        ([E, E], [E, E], {"bias": [None, np.ones(4)]}, TypeError, r"bias\[1\] is float64.*use bias\[1\].astype"),
        ([E, E], [E, E], {"bias": [None, E[0, :3]]}, ValueError, r"groups\[1\]: bias has shape \(3,\)"),
        ([E, E], [E, E], {"residual": [None, E > 0]}, TypeError, r"residual\[1\] is bool"),
        ([E, E], [E, BIG], {"dtype": "int8"}, TypeError, "dtype=int8; grouped_matmul of these operands gives float32"),
        ([E, hz.quantize(E)], [E, E], {}, TypeError, r"a\[1\] is quantised; .*hz.matmul for each product"),
        ([E, E], [E, hz.quantize(E)], {}, TypeError, r"b\[1\] is quantised"),
        ([E, E.astype("int8")], [E, hz.pack(hz.matmul, hz.quantize(E))], {}, TypeError, r"b\[1\] is quantised"),
        ([E, E], [E, hz.pack(hz.linear, E)], {}, TypeError, r"b\[1\] was packed for linear.*use hz.pack\(hz.matmul"),
        ([hz.pack(hz.matmul, E)], [E], {}, TypeError, r"a\[0\] may not be a PackedWeights"),
        ([E, E], [E, Exporter(E, device=(2, 0))], {}, NotImplementedError, r"b\[1\] lives on cuda:0, .*hz.matmul"),
        ([E, E], [E, E], {"kernel": "bend"}, NotImplementedError, r"groups\[0\]: no kernel .* \"bend\""),
        ([E, E], [E, E], {"threads": 0}, ValueError, "threads=0"),
    ],
)  # fmt: skip
def test_lists_that_are_refused(a, b, options, error, words):
    out = [np.full((4, 4), 7, "float32"), None, *[None] * 10]
    with pytest.raises(error, match=words):
        hz.grouped_matmul(a, b, out=out[: len(a)], **options)
    assert np.all(out[0] == 7)


def test_out_of_a_list_that_is_refused():
    first, frozen = np.full((4, 4), 7, "float32"), np.zeros((4, 4), "float32")
    frozen.flags.writeable = False
    for second, error, words in (
        (np.zeros((4, 4)), TypeError, r"out\[1\] is float64; the result is float32"),
        (np.zeros((4, 5), "float32"), ValueError, r"out\[1\] has shape \(4, 5\); the result has shape \(4, 4\)"),
        (frozen, ValueError, r"out\[1\] is read-only"),
        ([[0]], TypeError, r"out\[1\] is a <class 'list'>; it must be an array"),
        (np.zeros(65, "u1")[1:].view("float32").reshape(4, 4), ValueError, r"out\[1\] is a view whose elements"),
        (E, ValueError, r"groups\[1\]: d overlaps .* \(d is out"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            hz.grouped_matmul([E, E], [E, E], out=[first, second])
        assert np.all(first == 7) and np.array_equal(E, np.eye(4))
    with pytest.raises(ValueError, match="out has 1 items and a has 2"):
        hz.grouped_matmul([E, E], [E, E], out=[first])


def test_a_list_has_no_plan():
    for function in (hz.plan, hz.explain):
        with pytest.raises(NotImplementedError, match="a list of products has no plan"):
            function(hz.grouped_matmul, [E], [E])
    with pytest.raises(NotImplementedError, match="a list of products has no plan"):
        hz.grouped_matmul([E], [E], kernel=hz.plan(hz.matmul, E, E)._handle)


def test_lists_keep_no_references():
    a, b, bias = [np.eye(4) for _ in range(3)], [np.eye(4) for _ in range(3)], [np.ones(4), None, None]
    held = [*a, *b, bias[0], a, b, bias]
    before = [sys.getrefcount(one) for one in held]
    for _ in range(5):
        hz.grouped_matmul(a, b, bias=bias)
        with pytest.raises(TypeError):
            hz.grouped_matmul(a, b, bias=[*bias[:2], "x"])
    assert [sys.getrefcount(one) for one in held] == before


def test_a_list_runs_without_the_gil():
    """While it runs, another thread puts other arrays into the lists: the call keeps its own."""
    size, moments, done = 900, [], threading.Event()

    def fresh():
        return [np.ones((size, size)) for _ in range(3)]

    (a, b, out), others = (fresh(), fresh(), fresh()), (fresh(), fresh(), fresh())

    def change():
        while not done.is_set():
            moments.append(time.perf_counter())
            a[:], b[:], out[:] = others
            time.sleep(0.001)

    thread = threading.Thread(target=change)
    hz.grouped_matmul(a, b, threads=1)
    start = time.perf_counter()
    thread.start()
    try:
        got = hz.grouped_matmul(a, b, out=out, threads=1)
        end = time.perf_counter()
    finally:
        done.set()
        thread.join()
    edge = 0.1 * (end - start)
    assert sum(start + edge < moment < end - edge for moment in moments) >= 3
    assert all(np.all(one == size) for one in got)
