"""One-node models with drawn attributes, judged by onnxruntime."""

import math

import hunze.onnx
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import helper  # noqa: E402

DRAWN = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def one_node(op, arrays, constant=(), opset=17, **attributes):
    """A model of one node; inputs whose names are in `constant` become initializers."""
    inputs = {f"in{i}": array for i, array in enumerate(arrays) if array is not None}
    names = [f"in{i}" if array is not None else "" for i, array in enumerate(arrays)]
    kind = helper.np_dtype_to_tensor_dtype
    count = 3 if op == "DynamicQuantizeLinear" else 1
    node = helper.make_node(op, names, [f"out{i}" for i in range(count)], name=f"the {op}", **attributes)
    graph = helper.make_graph(
        [node],
        "one node",
        [helper.make_tensor_value_info(n, kind(a.dtype), a.shape) for n, a in inputs.items() if n not in constant],
        [helper.make_empty_tensor_value_info(f"out{i}") for i in range(count)],
        [onnx.numpy_helper.from_array(a, n) for n, a in inputs.items() if n in constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, {n: a for n, a in inputs.items() if n not in constant}


def judge(model, inputs):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
            None, inputs
        )
    except Exception:
        assume(False)  # a form that onnxruntime refuses


def compare(model, inputs, tolerance):
    expected = judge(model, inputs)
    loaded = hunze.onnx.load(model)
    for _ in range(4):  # the first as it comes, the second recorded, the others by the record
        results = loaded.run(inputs)
        for result, reference in zip(results, expected, strict=True):
            assert result.shape == reference.shape and result.dtype == reference.dtype
            if tolerance:
                scale = float(np.abs(reference).max(initial=1))
                np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance * scale)
            else:
                np.testing.assert_array_equal(result, reference)


def values(draw, shape, dtype):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@st.composite
def convolutions(draw, transposed=False):
    spatial = draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, out = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 5))
    if draw(st.booleans()) and not transposed:
        c = out = groups = draw(st.integers(1, 19))  # depthwise
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    extents = [draw(st.integers(1, 12)) for _ in range(spatial)]
    attributes = dict(
        kernel_shape=kernel,
        group=groups,
        strides=[draw(st.integers(1, 3)) for _ in range(spatial)],
        dilations=[draw(st.integers(1, 2)) for _ in range(spatial)],
    )
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto != "NOTSET":
        attributes["auto_pad"] = auto
        if transposed or auto != "VALID":
            attributes["dilations"] = [1] * spatial
    else:
        attributes["pads"] = [draw(st.integers(0, 3)) for _ in range(2 * spatial)]
    if transposed and draw(st.booleans()) and auto == "NOTSET":
        attributes["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in attributes["strides"]]
    spans = [d * (k - 1) + 1 for d, k in zip(attributes["dilations"], kernel)]
    pads = attributes.get("pads", [0] * (2 * spatial))
    if transposed:
        assume(
            all(
                (i - 1) * s + span - a - b > 0
                for i, s, span, a, b in zip(extents, attributes["strides"], spans, pads[:spatial], pads[spatial:])
            )
        )
        assume(all(p < span for p, span in zip(pads, spans * 2)))
        # Where a kernel is smaller than its stride, onnxruntime's "SAME" is not the specified input * stride.
        assume(not auto.startswith("SAME") or all(map(int.__ge__, kernel, attributes["strides"])))
    elif not auto.startswith("SAME"):
        assume(all(i + a + b >= span for i, span, a, b in zip(extents, spans, pads[:spatial], pads[spatial:])))
    w = (c, out // groups, *kernel) if transposed else (out, c // groups, *kernel)
    return (draw(st.integers(1, 3)), c, *extents), w, out, attributes


@DRAWN
@given(st.data())
def test_conv(data):
    x, w, out, attributes = data.draw(convolutions())
    arrays = [values(data.draw, x, np.float32), values(data.draw, w, np.float32)]
    if data.draw(st.booleans()):
        arrays.append(values(data.draw, (out,), np.float32))
    compare(*one_node("Conv", arrays, data.draw(st.sampled_from([(), ("in1",), ("in1", "in2")])), **attributes), 2e-5)


@DRAWN
@given(st.data())
def test_conv_transpose(data):
    x, w, out, attributes = data.draw(convolutions(transposed=True))
    arrays = [values(data.draw, x, np.float32), values(data.draw, w, np.float32)]
    if data.draw(st.booleans()):
        arrays.append(values(data.draw, (out,), np.float32))
    compare(*one_node("ConvTranspose", arrays, data.draw(st.sampled_from([(), ("in1",)])), **attributes), 2e-5)


@DRAWN
@given(st.data())
def test_gemm(data):
    m, n, k = (data.draw(st.integers(1, 40)) for _ in range(3))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    flip_a, flip_b = data.draw(st.booleans()), data.draw(st.booleans())
    arrays = [
        values(data.draw, (k, m) if flip_a else (m, k), dtype),
        values(data.draw, (n, k) if flip_b else (k, n), dtype),
    ]
    c = data.draw(st.sampled_from([None, (), (1,), (n,), (1, n), (m, 1), (m, n)]))
    if c is not None:
        arrays.append(values(data.draw, c, dtype))
    attributes = dict(
        transA=int(flip_a),
        transB=int(flip_b),
        alpha=data.draw(st.sampled_from([1.0, 0.5, -2.0])),
        beta=data.draw(st.sampled_from([1.0, 0.25, 0.0])),
    )
    constant = data.draw(st.sampled_from([(), ("in1",), ("in1", "in2")]))
    compare(*one_node("Gemm", arrays, constant, **attributes), 2e-5)


@DRAWN
@given(st.data())
def test_matmul(data):
    m, n, k = (data.draw(st.integers(1, 33)) for _ in range(3))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    lead = data.draw(st.sampled_from([((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,)), ((2, 3), (2, 3))]))
    arrays = [values(data.draw, (*lead[0], m, k), dtype), values(data.draw, (*lead[1], k, n), dtype)]
    compare(*one_node("MatMul", arrays, data.draw(st.sampled_from([(), ("in1",)]))), 2e-5)


def exact_conv(x, w, zero, attributes):
    """ConvInteger in int64 by its definition; onnxruntime is no judge here: on AVX2 its sums saturate."""
    x, w = x.astype(np.int64) - int(zero[0]), w.astype(np.int64) - int(zero[1])
    kernel = attributes["kernel_shape"]
    pads, count = attributes["pads"], len(kernel)
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:count], pads[count:])])
    stride, dilation, groups = attributes["strides"], attributes["dilations"], attributes["group"]
    extents = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(count)]
    y = np.zeros((x.shape[0], w.shape[0], *extents), np.int64)
    for tap in np.ndindex(*kernel):
        part = x[
            (..., *(slice(t * d, t * d + s * (e - 1) + 1, s) for t, d, s, e in zip(tap, dilation, stride, extents)))
        ]
        part = part.reshape(x.shape[0], groups, -1, math.prod(extents))
        taps = w[(..., *tap)].reshape(groups, -1, w.shape[1])
        y += (taps[None] @ part).reshape(y.shape)
    return y


@DRAWN
@given(st.data())
def test_conv_integer(data):
    x, w, _, attributes = data.draw(convolutions())
    assume("pads" in attributes)
    kinds = data.draw(st.sampled_from([np.uint8, np.int8])), data.draw(st.sampled_from([np.int8, np.uint8]))
    arrays = [values(data.draw, x, kinds[0]), values(data.draw, w, kinds[1])]
    zero = [0, 0]
    if data.draw(st.booleans()):
        zero = [values(data.draw, (), kind) for kind in kinds]
        arrays += zero
    model, inputs = one_node("ConvInteger", arrays, data.draw(st.sampled_from([(), ("in1", "in3")])), **attributes)
    (result,) = hunze.onnx.load(model).run(inputs)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, exact_conv(*arrays[:2], zero, attributes))


@DRAWN
@given(st.data())
def test_matmul_integer(data):
    m, n, k = (data.draw(st.integers(1, 70)) for _ in range(3))
    kinds = data.draw(st.sampled_from([np.uint8, np.int8])), data.draw(st.sampled_from([np.int8, np.uint8]))
    arrays = [values(data.draw, (m, k), kinds[0]), values(data.draw, (k, n), kinds[1])]
    zero = [0, 0]
    if data.draw(st.booleans()):
        zero = [
            values(data.draw, data.draw(st.sampled_from([(), (m,)])), kinds[0]),
            values(data.draw, data.draw(st.sampled_from([(), (n,)])), kinds[1]),
        ]
        arrays += zero
    model, inputs = one_node("MatMulInteger", arrays)
    (result,) = hunze.onnx.load(model).run(inputs)
    a = arrays[0].astype(np.int64) - np.asarray(zero[0], np.int64)[..., None]
    np.testing.assert_array_equal(result, a @ (arrays[1].astype(np.int64) - np.asarray(zero[1], np.int64)))
    assert result.dtype == np.int32


@DRAWN
@given(st.data())
def test_dynamic_quantize_linear(data):
    x = values(data.draw, (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 90))), np.float32)
    x *= np.float32(data.draw(st.sampled_from([1e-3, 1, 1e4])))
    x += np.float32(data.draw(st.sampled_from([0, 3, -3])))
    compare(*one_node("DynamicQuantizeLinear", [x]), 0)


@DRAWN
@given(st.data())
def test_pools(data):
    spatial, kind = data.draw(st.integers(1, 2)), data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(spatial)]
    attributes = dict(
        kernel_shape=kernel,
        strides=[data.draw(st.integers(1, 3)) for _ in range(spatial)],
        ceil_mode=data.draw(st.integers(0, 1)),
    )
    auto = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    if auto == "NOTSET":
        attributes["pads"] = [data.draw(st.integers(0, k - 1)) for k in kernel * 2]
    else:
        attributes |= dict(auto_pad=auto, ceil_mode=0)
    if kind == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    x = values(data.draw, (2, 3, *(data.draw(st.integers(3, 11)) for _ in range(spatial))), np.float32)
    compare(*one_node(kind, [x], **attributes), 1e-6)
