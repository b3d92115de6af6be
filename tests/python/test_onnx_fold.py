"""What hunze.onnx folds into products, what it must leave alone, and how it uses memory."""

import threading

import hunze.onnx
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(7)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"{op} {output}", **attributes)


def build(nodes, constants, outputs=("y",), shape=(2, 4, 6, 5), opset=13):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(model, steps, x=None, tolerance=2e-6, **options):
    """Loads, runs, compares with onnxruntime, and returns the operators of the steps that are left."""
    x = f32(2, 4, 6, 5) if x is None else x
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    loaded = hunze.onnx.load(model, **options)
    for _ in range(2):
        for result, expected in zip(loaded(x), session.run(None, {"x": x}), strict=True):
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert [record.op for record in loaded.nodes] == steps
    return loaded


CONV = node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1])
W = f32(4, 4, 3, 3)
ERF = [node("Div", ["b", "root"], "d"), node("Erf", ["d"], "e"), node("Add", ["e", "one"], "a")]
GELU = dict(root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5))
BN = dict(gamma=f32(4), beta=f32(4), mean=f32(4), variance=np.abs(f32(4)) + 0.1)


@pytest.mark.parametrize(
    "name, nodes, constants",
    [
        ("bias", [node("Add", ["c", "k"], "y")], dict(k=f32(1, 4, 1, 1))),
        ("bias first", [node("Add", ["k", "c"], "y")], dict(k=f32(4, 1, 1))),
        ("scalar bias", [node("Add", ["c", "k"], "y")], dict(k=np.float32(0.75))),
        ("two biases", [node("Add", ["c", "k"], "b"), node("Add", ["b", "k"], "y")], dict(k=f32(1, 4, 1, 1))),
        ("batch norm", [node("BatchNormalization", ["c", *BN], "y", epsilon=1e-3)], BN),
        (
            "bias, batch norm, relu",
            [node("Add", ["c", "k"], "b"), node("BatchNormalization", ["b", *BN], "n"), node("Relu", ["n"], "y")],
            dict(k=f32(1, 4, 1, 1), **BN),
        ),
        ("residual", [node("Add", ["c", "x"], "y")], {}),
        ("residual, relu", [node("Add", ["x", "c"], "b"), node("Relu", ["b"], "y")], {}),
        ("hardsigmoid", [node("HardSigmoid", ["c"], "y", alpha=0.3, beta=0.4)], {}),
        ("hardswish", [node("HardSigmoid", ["c"], "h", alpha=1 / 6, beta=0.5), node("Mul", ["h", "c"], "y")], {}),
        ("silu", [node("Sigmoid", ["c"], "h"), node("Mul", ["c", "h"], "y")], {}),
        ("leaky relu", [node("LeakyRelu", ["c"], "y", alpha=0.2)], {}),
        (
            "gelu, half last",
            [node("Add", ["c", "k"], "b"), *ERF, node("Mul", ["b", "a"], "m"), node("Mul", ["m", "half"], "y")],
            dict(k=f32(1, 4, 1, 1), **GELU),
        ),
        (
            "gelu, half first",
            [node("Add", ["c", "k"], "b"), *ERF, node("Mul", ["b", "half"], "h"), node("Mul", ["h", "a"], "y")],
            dict(k=f32(1, 4, 1, 1), **GELU),
        ),
    ],
)
def test_folded_into_one_step(name, nodes, constants):
    loaded = check(build([CONV, *nodes], dict(w=W, **constants)), ["Conv"])
    assert len(loaded.nodes[0].folded) >= len(nodes)


def test_folded_through_a_view():
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Squeeze", ["c", "axis"], "s"),
        node("BatchNormalization", ["s", *BN], "n"),
        node("HardSigmoid", ["n"], "h", alpha=1 / 6, beta=0.5),
        node("Mul", ["h", "n"], "y"),
    ]
    model = build(nodes, dict(w=f32(4, 4, 6, 1), axis=np.int64([2]), **BN))
    check(model, ["Conv", "Squeeze"])


def test_folded_behind_matmul_gemm_and_transposed_convolution():
    nodes = [node("MatMul", ["x", "w"], "c"), node("Add", ["c", "k"], "b"), node("Relu", ["b"], "y")]
    check(build(nodes, dict(w=f32(5, 7), k=f32(7))), ["MatMul"])
    nodes = [node("Gemm", ["x", "w"], "c", transB=1), node("Add", ["c", "k"], "b"), node("Sigmoid", ["b"], "y")]
    check(build(nodes, dict(w=f32(7, 5), k=f32(7)), shape=(3, 5)), ["Gemm"], f32(3, 5))
    for out in (1, 6):
        nodes = [
            node("ConvTranspose", ["x", "w"], "c", strides=[2, 2]),
            node("Add", ["c", "k"], "b"),
            node("Sigmoid", ["b"], "y"),
        ]
        for kernel in (2, 3):
            check(build(nodes, dict(w=f32(4, out, kernel, kernel), k=f32(1, out, 1, 1))), ["ConvTranspose"])


@pytest.mark.parametrize(
    "nodes, constants, outputs, steps",
    [
        # a value that the model returns, or that something else reads, stays as it is
        ([node("Relu", ["c"], "y")], {}, ("c", "y"), ["Conv", "Relu"]),
        ([node("Relu", ["c"], "r"), node("Mul", ["r", "c"], "y")], {}, ("y",), ["Conv", "Relu", "Mul"]),
        # nothing behind an activation
        ([node("Relu", ["c"], "r"), node("Add", ["r", "k"], "y")], dict(k=f32(1, 4, 1, 1)), ("y",), ["Conv", "Add"]),
        # a bias along another axis is no bias
        ([node("Add", ["c", "k"], "y")], dict(k=f32(1, 1, 6, 1)), ("y",), ["Conv"]),
        # other constants make no GELU
        (
            [node("Add", ["c", "k"], "b"), *ERF, node("Mul", ["b", "a"], "m"), node("Mul", ["m", "half"], "y")],
            dict(k=f32(1, 4, 1, 1), root=np.float32(1.4), one=np.float32(1), half=np.float32(0.5)),
            ("y",),
            ["Conv", "Div", "Erf", "Add", "Mul", "Mul"],
        ),
        (
            [node("HardSigmoid", ["c"], "h", alpha=0.2, beta=0.5), node("Mul", ["h", "c"], "y")],
            {},
            ("y",),
            ["Conv", "HardSigmoid", "Mul"],
        ),
    ],
)
def test_left_alone(nodes, constants, outputs, steps):
    check(build([CONV, *nodes], dict(w=W, **constants), outputs), steps)


def test_an_addition_that_broadcasts_is_done_behind_the_product():
    nodes = [node("Conv", ["x", "w"], "c", strides=[9, 9]), node("Add", ["c", "x"], "b"), node("Relu", ["b"], "y")]
    check(build(nodes, dict(w=f32(4, 4, 1, 1))), ["Conv"])


def test_int8_weights_are_constants_or_codes():
    codes, scale = RNG.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8), np.abs(f32(4, 1, 1, 1)) / 50
    nodes = [
        node("Cast", ["codes"], "f", to=TensorProto.FLOAT),
        node("Mul", ["f", "scale"], "w"),
        CONV,
        node("BatchNormalization", ["c", *BN], "n"),
        node("Relu", ["n"], "y"),
    ]
    model = build(nodes, dict(codes=codes, scale=scale, **BN))
    check(model, ["Conv"])
    loaded = hunze.onnx.load(model, integer=True)
    x = f32(2, 4, 6, 5)
    (result,) = loaded(x)
    assert loaded.integer_products == 1 and [r.op for r in loaded.nodes] == ["DynamicQuantizeLinear", "ConvInteger"]
    # The same by definition: x quantised as ONNX says, then everything in float64.
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / step), 0, 255)
    real = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * np.float64(step)
    padded = np.pad(real, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, codes * scale.astype(np.float64))
    gamma, beta, mean, variance = (v.reshape(1, -1, 1, 1).astype(np.float64) for v in BN.values())
    y = np.maximum((y - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)
    np.testing.assert_allclose(result, y, rtol=1e-5, atol=1e-5 * np.abs(y).max())


def test_buffers_are_reused_and_results_are_not():
    names = [f"v{i}" for i in range(30)]
    nodes = [node("Add", [a, "k"], b) for a, b in zip(["x", *names], names)] + [node("Mul", [names[-1], "x"], "y")]
    model = hunze.onnx.load(build(nodes, dict(k=f32(2, 4, 6, 5))))
    first, second = f32(2, 4, 6, 5), f32(2, 4, 6, 5)
    (y,) = model(first)
    kept = y.copy()
    model(second)
    np.testing.assert_array_equal(y, kept)
    (lane,) = model._lanes
    assert lane.arena.bytes <= 6 * (first.nbytes + 64)


def test_inputs_are_not_written():
    model = hunze.onnx.load(build([node("Add", ["x", "k"], "a"), node("Relu", ["a"], "y")], dict(k=f32(2, 4, 6, 5))))
    x = f32(2, 4, 6, 5)
    copy = x.copy()
    x.flags.writeable = False
    model(x)
    np.testing.assert_array_equal(x, copy)


def test_one_model_from_several_threads():
    nodes = [CONV, node("Relu", ["c"], "r"), node("Mul", ["r", "x"], "m"), node("Add", ["m", "c"], "y")]
    model = hunze.onnx.load(build(nodes, dict(w=W)))
    inputs = [f32(2, 4, 6, 5) for _ in range(4)]
    expected = [model(x)[0] for x in inputs]
    wrong = []

    def work(x, want):
        for _ in range(30):
            if not np.array_equal(model(x)[0], want):
                wrong.append(1)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_channels_last_memory_gives_the_same_bits():
    model = hunze.onnx.load(
        build(
            [CONV, node("MaxPool", ["c"], "p", kernel_shape=[2, 2]), node("Concat", ["p", "p"], "y", axis=1)], dict(w=W)
        )
    )
    x = f32(2, 4, 6, 5)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model(x)[0], model(last)[0])


def test_explain_shows_every_step():
    model = hunze.onnx.load(build([CONV, node("Relu", ["c"], "r"), node("Mul", ["r", "r"], "y")], dict(w=W)))
    model(f32(2, 4, 6, 5))
    conv, product = model.nodes
    assert conv.operations == 2 * 2 * 4 * 6 * 5 * 4 * 9 and conv.seconds > 0 and conv.shape == (2, 4, 6, 5)
    assert conv.kernel != "NumPy" and conv.why and product.kernel == "NumPy"
    text = str(model.explain())
    assert "Conv+Relu" in text and conv.kernel in text and "2 steps" in text
    assert "<table>" in model.explain()._repr_html_()
