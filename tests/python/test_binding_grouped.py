"""grouped_matmul against hz.matmul of each group, bit by bit; offsets as people have them; what it refuses."""

import hunze as hz
import numpy as np
import pytest
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
