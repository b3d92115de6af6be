"""Runs by a record: the same bits as a first run, for other inputs, shapes, settings and threads."""

import threading

import hunze as hz
import hunze.onnx
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from hunze.onnx import program  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(11)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=f"{op} {output}", **attributes)


def build(nodes, constants=(), outputs="y", inputs=(("x", TensorProto.FLOAT, (None, 4, None, None)),), opset=13):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


W = dict(w=f32(4, 4, 3, 3), v=f32(4, 4, 1, 1), b=f32(4))
SAME = dict(pads=[1] * 4)
MODELS = {
    "squeeze and excite": build(
        [
            node("Conv", "x w b", "c", **SAME),
            node("GlobalAveragePool", "c", "m"),
            node("Conv", "m v", "s"),
            node("HardSigmoid", "s", "h"),
            node("Mul", "c h", "g"),
            node("Add", "g x", "y"),
        ],
        W,
    ),
    "pools, joined": build(
        [
            node("MaxPool", "x", "m", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
            node("AveragePool", "x", "a", kernel_shape=[3, 3], **SAME),
            node("Conv", "x w", "c", **SAME),
            node("Concat", "m a c x", "y", axis=1),
        ],
        W,
    ),
    "views and a Softmax": build(
        [
            node("Conv", "x v", "c"),
            node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
            node("Reshape", "t r", "f"),
            node("Softmax", "f", "s", axis=1),
            node("MatMul", "s k", "y"),
        ],
        {**W, "r": np.array([0, -1, 4]), "k": f32(4, 5)},
    ),
    "resized, a residual that broadcasts": build(
        [
            node("Resize", "x  scales", "z", mode="nearest", coordinate_transformation_mode="asymmetric",
                 nearest_mode="floor"),
            node("Conv", "z v", "c"),
            node("GlobalAveragePool", "z", "m"),
            node("Add", "c m", "a"),
            node("Relu", "a", "y"),
        ],
        {**W, "scales": np.array([1, 1, 2, 3], np.float32)},
    ),
    "transposed": build(
        [node("ConvTranspose", "x u b", "a", strides=[2, 2]), node("ConvTranspose", "a w", "y", strides=[1, 1])],
        {**W, "u": f32(4, 4, 2, 2)},
    ),
    "transposed, few taps, of pixels that lie apart": build(
        [node("Slice", "x zero end axis two", "s"), node("ConvTranspose", "s u", "y", strides=[2, 2])],
        {"u": f32(4, 1, 2, 2)} | {name: np.array([i]) for name, i in dict(zero=0, end=99, axis=3, two=2).items()},
    ),
    "outputs: an input, a constant, a value that is read, a view": build(
        [node("Conv", "x v", "c"), node("Relu", "c", "r"), node("Unsqueeze", "c a", "y")],
        {**W, "a": np.array([0])},
        outputs="x b c r y",
    ),
    "Gemm with a computed C, integers": build(
        [
            node("Shape", "x", "n"),
            node("GlobalAveragePool", "x", "m"),
            node("Flatten", "m", "f"),
            node("Gemm", "f g f", "h", alpha=0.5, beta=2.0),
            node("Cast", "n", "i", to=TensorProto.FLOAT),
            node("Add", "h i", "y"),
        ],
        {"g": f32(4, 4)},
    ),
}  # fmt: skip
MODELS["resized, a residual that broadcasts"].graph.node[0].input[:] = ["x", "", "scales"]


def replayed(model) -> int:
    return sum(isinstance(known, program.Program) for lane in model._lanes for known in lane.known.values())


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("name", MODELS)
def test_every_run_has_the_bits_of_a_first_run(name, last):
    model = hunze.onnx.load(MODELS[name])
    kept = []
    for turn in range(5):
        for shape in ((1, 4, 6, 5), (3, 4, 7, 9)):
            x = f32(*shape)
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else x
            x.flags.writeable = False
            before = x.copy()
            results, expected = model(x), hunze.onnx.load(MODELS[name])(x)
            for result, reference in zip(results, expected, strict=True):
                assert result.dtype == reference.dtype and result.shape == reference.shape
                np.testing.assert_array_equal(result, reference, err_msg=f"turn {turn}")
            np.testing.assert_array_equal(x, before)
            kept += [(result, reference.copy()) for result, reference in zip(results, expected)]
    assert replayed(model) == 2
    for result, reference in kept:  # no run wrote into what an earlier one gave away
        np.testing.assert_array_equal(result, reference)


def test_integer_products():
    codes = RNG.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8)
    nodes = [
        node("Cast", "q", "f", to=TensorProto.FLOAT),
        node("Mul", "f scale", "w"),
        node("Conv", "x w b", "c", **SAME),
        node("Relu", "c", "r"),
        node("Conv", "r w", "y"),
    ]
    proto = build(nodes, dict(q=codes, scale=np.float32(0.01), b=W["b"]))
    model = hunze.onnx.load(proto, integer=True)
    assert model.integer_products == 2
    for _ in range(4):
        x = f32(1, 4, 8, 8)
        np.testing.assert_array_equal(model(x)[0], hunze.onnx.load(proto, integer=True)(x)[0])
    assert replayed(model) == 1
    x[0, 1, 2, 3] = np.nan
    for candidate in (model, hunze.onnx.load(proto, integer=True)):
        with pytest.raises(hunze.onnx.ModelError, match="NaN"):
            candidate(x)


def test_shapes_that_depend_on_values_are_never_recorded():
    proto = build(
        [node("Reshape", "x s", "y")], inputs=[("x", TensorProto.FLOAT, (2, 6)), ("s", TensorProto.INT64, (2,))]
    )
    model, x = hunze.onnx.load(proto), f32(2, 6)
    for shape in ((3, 4), (4, 3), (3, 4), (12, 1), (6, 2), (1, 12)):
        assert model(x, np.array(shape))[0].shape == shape
    assert replayed(model) == 0


def test_settings_have_records_of_their_own():
    proto = MODELS["squeeze and excite"]
    model, x = hunze.onnx.load(proto), f32(1, 4, 6, 5)
    (expected,) = hunze.onnx.load(proto)(x)
    for _ in range(4):
        np.testing.assert_array_equal(model(x)[0], expected)
        with hz.options(isa="portable", reproducible=True), hz.meter() as meter:
            np.testing.assert_array_equal(model(x)[0], expected)
        assert meter["operations"] >= sum(record.operations for record in model.nodes) > 0
    assert replayed(model) == 2


def test_records_say_what_ran():
    model, x = hunze.onnx.load(MODELS["squeeze and excite"]), f32(1, 4, 6, 5)
    model(x)
    first = [(r.op, r.text, r.kernel, r.operations) for r in model.nodes]
    for _ in range(3):
        model(x)
        assert [(r.op, r.text, r.kernel, r.operations) for r in model.nodes] == first
        assert all(r.seconds >= 0 for r in model.nodes) and sum(r.seconds for r in model.nodes) > 0


def test_threads_run_one_model_at_once():
    model = hunze.onnx.load(MODELS["pools, joined"])
    inputs = [f32(1, 4, 20, 20) for _ in range(4)]
    expected = [hunze.onnx.load(MODELS["pools, joined"])(x)[0] for x in inputs]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(model(inputs[i])[0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_shapes_are_forgotten_in_turn():
    model = hunze.onnx.load(MODELS["transposed"])
    for width in range(1, 100):
        model(f32(1, 4, 2, width))
    (lane,) = model._lanes
    assert len(lane.known) == lane.PROGRAMS
