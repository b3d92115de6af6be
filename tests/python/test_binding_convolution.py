"""conv1d, conv2d and their transposes against windows in longer floats; padding and layout forms; errors."""

import hunze as hz
import numpy as np
import pytest
from binding_cases import UNIT, convolve, gamma
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def geometries(draw):
    spatial = draw(st.sampled_from([1, 2]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    dilation = [draw(st.integers(1, 2)) for _ in range(spatial)]
    pads = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(spatial)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    extent = [max(draw(st.integers(1, 12)), r - sum(p)) for r, p in zip(reach, pads, strict=True)]
    return {
        "groups": groups,
        "stride": [draw(st.integers(1, 3)) for _ in range(spatial)],
        "dilation": dilation,
        "pads": pads,
        "x": (draw(st.integers(1, 2)), groups * draw(st.integers(1, 5)), *extent),
        "out": groups * draw(st.integers(1, 6)),
        "kernel": kernel,
        "depthwise": draw(st.booleans()),
        "last": draw(st.booleans()),
    }


def arrays(g, dtype="float32"):
    random = np.random.default_rng(7)
    channels = g["x"][1]
    groups = channels if g["depthwise"] else g["groups"]
    out = channels if g["depthwise"] else g["out"]
    shapes = g["x"], (out, channels // groups, *g["kernel"])
    if np.dtype(dtype).kind == "f":
        return groups, *(random.standard_normal(shape).astype(dtype) for shape in shapes)
    limits = np.iinfo(dtype)
    x = random.integers(limits.min, limits.max, shapes[0], dtype, endpoint=True)
    return groups, x, random.integers(-128, 127, shapes[1], "int8", endpoint=True)


def last(x):
    return np.moveaxis(x, 1, -1)


@settings(max_examples=200, deadline=None)
@given(geometries(), st.sampled_from(["float32", "float64"]))
def test_convolution(g, dtype):
    groups, x, w = arrays(g, dtype)
    convolution = hz.conv1d if len(g["kernel"]) == 1 else hz.conv2d
    options = {"stride": g["stride"], "dilation": g["dilation"], "padding": g["pads"], "groups": groups}
    want, size = convolve(x.astype("longdouble"), w.astype("longdouble"), g["stride"], g["dilation"], g["pads"], groups)
    got = convolution(x, w, **options)
    assert got.shape == want.shape and got.dtype == dtype
    assert np.all(abs(got - want) <= gamma(w[0].size + 2, UNIT[dtype]) * size)
    # Layout, memory order, packing, threads: the same bits.
    np.testing.assert_array_equal(last(got), convolution(last(x).copy(), w, layout="channels_last", **options))
    np.testing.assert_array_equal(got, convolution(np.moveaxis(last(x).copy(), -1, 1), w, threads=3, **options))
    np.testing.assert_array_equal(got, convolution(x, hz.pack(convolution, w, groups=groups), **options))
    bias, residual = w.reshape(len(w), -1)[:, 0].copy(), got[::-1].copy()
    fused = convolution(x, w, bias, residual=residual, activation="hardswish", **options)
    summed = (got + bias.reshape(-1, *[1] * len(g["kernel"]))) + residual
    np.testing.assert_array_equal(fused, hz.activate(summed, "hardswish"))


@settings(max_examples=100, deadline=None)
@given(geometries(), st.sampled_from(["uint8", "int8"]))
def test_integer_convolution_is_exact(g, dtype):
    groups, x, w = arrays(g, dtype)
    convolution = hz.conv1d if len(g["kernel"]) == 1 else hz.conv2d
    options = {"stride": g["stride"], "dilation": g["dilation"], "padding": g["pads"], "groups": groups}
    want, _ = convolve(x.astype("int64"), w.astype("int64"), g["stride"], g["dilation"], g["pads"], groups)
    got = convolution(x, w, **options)
    assert got.dtype == "int32"
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(last(got), convolution(last(x).copy(), w, layout="channels_last", **options))
    np.testing.assert_array_equal(
        got, convolution(x, hz.pack(convolution, w, groups=groups, input_dtype=dtype), **options)
    )


@settings(max_examples=100, deadline=None)
@given(geometries(), st.integers(0, 2))
def test_transposed_convolution_is_the_adjoint(g, extra):
    """<conv(x, w), y> = <x, conv_transpose(y, w)> for the shapes that meet, term by term within the bound."""
    groups, x, w = arrays(g)
    one = len(g["kernel"]) == 1
    forward, backward = (hz.conv1d, hz.conv_transpose1d) if one else (hz.conv2d, hz.conv_transpose2d)
    options = {"stride": g["stride"], "dilation": g["dilation"], "padding": g["pads"], "groups": groups}
    y = np.random.default_rng(3).standard_normal(forward(x, w, **options).shape).astype("float32")
    output_padding = [
        i - ((o - 1) * s - sum(p) + d * (k - 1) + 1)
        for i, o, s, p, d, k in zip(
            x.shape[2:], y.shape[2:], g["stride"], g["pads"], g["dilation"], g["kernel"], strict=True
        )
    ]
    got = backward(y, w, output_padding=output_padding, **options)
    assert got.shape == x.shape
    wide = {key: value for key, value in options.items()}
    lhs = float(np.sum(forward(x.astype("d"), w.astype("d"), **wide) * y))
    size = float(np.sum(forward(abs(x).astype("d"), abs(w).astype("d"), **wide) * abs(y)))
    assert abs(lhs - float(np.sum(x.astype("d") * got))) <= gamma(w.size + 2, UNIT["float32"]) * size + 1e-30
    packed = hz.pack(backward, w, groups=groups)
    np.testing.assert_array_equal(got, backward(y, packed, output_padding=output_padding, **options))
    from_last = backward(last(y).copy(), w, output_padding=output_padding, layout="channels_last", **options)
    np.testing.assert_array_equal(last(got), from_last)


X = np.arange(2 * 3 * 7 * 9, dtype="float32").reshape(2, 3, 7, 9)
W = np.ones((4, 3, 3, 2), "float32")


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (1, [(1, 1), (1, 1)]),
        ((1, 0), [(1, 1), (0, 0)]),
        ([(1, 0), (0, 2)], [(1, 0), (0, 2)]),
        (np.array([[1, 0], [0, 2]]), [(1, 0), (0, 2)]),
        ("valid", [(0, 0), (0, 0)]),
        ("same", [(1, 1), (0, 1)]),
        ("same_lower", [(1, 1), (1, 0)]),
    ],
)
def test_padding_forms(padding, pairs):
    want, _ = convolve(X.astype("d"), W.astype("d"), [1, 1], [1, 1], pairs)
    np.testing.assert_allclose(hz.conv2d(X, W, padding=padding), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (
            {"padding": [1, 1, 1, 1]},
            ValueError,
            r"\(before, after\) pair per spatial axis as in \[\(1, 2\), \(1, 2\)\]",
        ),
        ({"padding": "full"}, ValueError, "'valid', 'same' or 'same_lower'"),
        ({"padding": -1}, ValueError, "padding=-1"),
        ({"padding": [(1, 2, 3), (1, 2)]}, ValueError, "pair"),
        ({"stride": 0}, ValueError, "stride=0"),
        ({"stride": (1, 2, 3)}, ValueError, "stride="),
        ({"stride": 1.5}, TypeError, "stride=1.5"),
        ({"groups": 2}, ValueError, "3 channels, which groups=2 does not divide"),
        ({"layout": "NCL"}, ValueError, "NCHW"),
        ({"padding_mode": "reflect"}, ValueError, "np.pad"),
        ({"bias": np.ones(3, "f")}, ValueError, "bias"),
        ({"dilation": 4}, ValueError, "leaves no output"),
        ({"activation": "swish"}, ValueError, "'silu'"),
        ({"out": np.zeros((2, 4, 5, 7), "f")}, ValueError, r"the result has shape \(2, 4, 5, 8\)"),
    ],
)
def test_wrong_arguments(options, kind, words):
    with pytest.raises(kind, match=words):
        hz.conv2d(X, W, **options)


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"x has shape \(3, 7, 9\); conv2d needs 4 axes \(n, c, h, w\)"):
        hz.conv2d(X[0], W)
    with pytest.raises(
        ValueError, match=r"w has shape \(4, 2, 3, 2\); x .* groups=1 needs w \(out, 3, kernel_h, kernel_w\)"
    ):
        hz.conv2d(X, W[:, :2])
    with pytest.raises(ValueError, match=r"needs w \(3, out/groups, kernel_h, kernel_w\)"):
        hz.conv_transpose2d(X, W)


def test_no_images():
    assert hz.conv2d(X[:0], W).shape == (0, 4, 5, 8)
