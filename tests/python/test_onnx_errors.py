"""What hunze.onnx says of files, models and inputs that it cannot take."""

import hunze.onnx
import numpy as np
import pytest
from hunze.onnx import ModelError, UnsupportedOperatorError
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402


def model_of(nodes, inputs=(("x", [None, 4]),), outputs=("y",), initializers=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


RELU = model_of([helper.make_node("Relu", ["x"], ["y"])])


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n not a model", b"plain text\n", RELU.SerializeToString()[:-7]]
)
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "page.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="page.onnx is no ONNX model"):
        hunze.onnx.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.onnx"):
        hunze.onnx.load(tmp_path / "none.onnx")


def test_unsupported_operator_names_itself_and_its_node_before_work():
    model = model_of(
        [
            helper.make_node("Relu", ["x"], ["r"], name="first"),
            helper.make_node("Det", ["r"], ["y"], name="the determinant"),
        ]
    )
    with pytest.raises(UnsupportedOperatorError, match=r"Det \(node 'the determinant'\)"):
        hunze.onnx.load(model)
    with pytest.raises(NotImplementedError):
        hunze.onnx.load(model)


def test_unsupported_form_names_its_node():
    w = onnx.numpy_helper.from_array(np.zeros((1, 1, 2, 2, 2), np.float32), "w")
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="volume")], [("x", [1, 1, 4, 4, 4])], initializers=[w]
    )
    with pytest.raises(UnsupportedOperatorError, match=r"Conv \(node 'volume'\): 3 spatial axes"):
        hunze.onnx.load(model)


def test_custom_domain_is_refused():
    node = helper.make_node("FusedGelu", ["x"], ["y"], name="n", domain="com.example")
    with pytest.raises(UnsupportedOperatorError, match=r"com.example.FusedGelu \(node 'n'\)"):
        hunze.onnx.load(model_of([node]))


def test_dangling_input_is_refused():
    with pytest.raises(ModelError, match="'ghost', which nothing produces"):
        hunze.onnx.load(model_of([helper.make_node("Add", ["x", "ghost"], ["y"])]))


def test_inputs_are_checked():
    model = hunze.onnx.load(RELU)
    x = np.ones((2, 4), np.float32)
    with pytest.raises(ModelError, match=r"'x' is float64.*astype\('float32'\)"):
        model(x.astype(np.float64))
    with pytest.raises(ModelError, match=r"shape \(2, 5\); the model takes \(any, 4\)"):
        model(np.ones((2, 5), np.float32))
    with pytest.raises(ModelError, match="1 inputs"):
        model(x, x)
    with pytest.raises(ModelError, match="'x' is missing"):
        model.run({"z": x})
    with pytest.raises(ModelError, match="no input 'z'"):
        model.run({"x": x, "z": x})
    with pytest.raises(ModelError, match="not run yet"):
        model.explain()
    with pytest.raises(ModelError, match="no value 'nowhere'"):
        hunze.onnx.load(RELU, outputs=["nowhere"])
    np.testing.assert_array_equal(model(x)[0], x)


def test_a_failed_run_leaves_the_model_usable():
    w = onnx.numpy_helper.from_array(np.ones((3, 2, 1, 1), np.float32), "w")
    model = hunze.onnx.load(
        model_of(
            [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Conv", ["r", "w"], ["y"], name="c")],
            [("x", [None, None, None, None])],
            initializers=[w],
        )
    )
    with pytest.raises(ValueError):
        model(np.ones((1, 5, 4, 4), np.float32))
    np.testing.assert_array_equal(model(np.ones((1, 2, 4, 4), np.float32))[0], np.full((1, 3, 4, 4), 2, np.float32))


W = onnx.numpy_helper.from_array(np.ones((2, 4, 3, 3), np.float32), "w")
THREE = onnx.numpy_helper.from_array(np.ones(3, np.float32), "three")
SCALES = onnx.numpy_helper.from_array(np.ones(4, np.float32), "scales")


def one(op, names="x", **attributes):
    node = helper.make_node(op, names.split(" "), ["y"], name="the node", **attributes)
    return model_of([node], [("x", [1, 4, 8, 8])], initializers=[W, THREE, SCALES])


@pytest.mark.parametrize(
    "model, words",
    [
        (one("Conv"), "input size 1 not in range"),
        (one("Conv", "x w", strides=[0, 1]), r"strides=\[0, 1\]"),
        (one("Conv", "x w", strides=[1]), r"strides=\[1\]; weights of shape \(2, 4, 3, 3\) need 2"),
        (one("Conv", "x w", pads=[1, 1]), r"pads=\[1, 1\]"),
        (one("Conv", "x w", pads=[0, 0, 0, -1]), r"pads=\[0, 0, 0, -1\]"),
        (one("Conv", "x w", strides="two"), "strides'. Expected: 'INTS'"),
        (one("Conv", "x w", group=3), "group=3 does not divide"),
        (one("Conv", "x w", group=0), "group=0"),
        (one("Conv", "x w", auto_pad="SOME"), "auto_pad='SOME'"),
        (one("Conv", "x w", kernel_shape=[5, 5]), r"kernel_shape=\[5, 5\]; the weights have shape"),
        (one("Conv", "x w three"), r"the bias has shape \(3,\); .* need \(2,\)"),
        (one("Conv", "x w", colour=1), "colour"),
        (one("Relu", "x x"), "input size 2"),
        (one("Relu", ""), "empty string"),
        (one("Add", "x"), "input size 1"),
        (one("Identity", "x x"), "input size 2"),
        (one("Concat", "x x"), "'axis' is missing"),
        (one("Cast"), "'to' is missing"),
        (one("Cast", to=99), "to=99 is no element type"),
        (one("MaxPool"), "'kernel_shape' is missing"),
        (one("MaxPool", kernel_shape=[2, 2], strides=[1]), "different numbers of spatial axes"),
        (one("AveragePool", kernel_shape=[2, 0]), r"kernel_shape=\[2, 0\]"),
        (one("Resize", "x  scales", nearest_mode="odd"), "nearest_mode 'odd' is not there"),
        (one("Resize", "x  scales", mode="cubic"), "mode 'cubic' is not there"),
        (one("Resize"), "neither scales nor sizes"),
        (one("BatchNormalization"), "input size 1"),
    ],
)
def test_forms_that_cannot_be_are_refused_before_work(model, words):
    with pytest.raises(ModelError, match=rf"\(node 'the node'\): .*{words}"):
        hunze.onnx.load(model)


def test_graphs_that_cannot_be():
    twice = model_of([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"], name="again")])
    with pytest.raises(ModelError, match=r"Neg \(node 'again'\) makes 'y', which is there already"):
        hunze.onnx.load(twice)
    circle = model_of([helper.make_node("Add", ["x", "y"], ["a"], name="A"), helper.make_node("Relu", ["a"], ["y"])])
    with pytest.raises(ModelError, match=r"Add \(node 'A'\) reads 'y', which nothing produces"):
        hunze.onnx.load(circle)
    newer = model_of([helper.make_node("Relu", ["x"], ["y"])])
    newer.opset_import[0].version = 999
    with pytest.raises(ModelError, match="operator set 999"):
        hunze.onnx.load(newer)
    untyped = model_of([helper.make_node("Relu", ["x"], ["y"])])
    untyped.graph.input[0].type.tensor_type.elem_type = 77
    with pytest.raises(ModelError, match="input 'x' has the element type 77"):
        hunze.onnx.load(untyped)
    for source in (5, None):
        with pytest.raises(TypeError, match="load takes a path"):
            hunze.onnx.load(source)


@pytest.mark.parametrize(
    "nodes, words",
    [
        ([helper.make_node("Conv", ["x", "w"], ["y"], name="the node")], r"x \(1, 4, 2, 2\)|leaves no output"),
        ([helper.make_node("Add", ["x", "three"], ["y"], name="the node")], "broadcast"),
        ([helper.make_node("MatMul", ["x", "three"], ["y"], name="the node")], "fit|needs"),
        ([helper.make_node("Concat", ["x", "three"], ["y"], name="the node", axis=1)], "no axis 1 joins shapes"),
        ([helper.make_node("Transpose", ["x"], ["y"], name="the node", perm=[0, 1])], "axes"),
    ],
)
def test_operands_that_do_not_fit_name_the_node(nodes, words):
    model = hunze.onnx.load(model_of(nodes, [("x", None)], initializers=[W, THREE]))
    for _ in range(3):
        with pytest.raises(ModelError, match=rf"\(node 'the node'\): .*({words})"):
            model(np.ones((1, 4, 2, 2), np.float32))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_models_raise_nothing_else(data):
    """Bytes changed or cut off: the model loads and runs, or ModelError says why not."""
    content = bytearray(DAMAGED)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    try:
        model = hunze.onnx.load(bytes(content))
        shapes = [tuple(3 if extent is None else min(extent, 8) for extent in v.shape or (3,)) for v in model.inputs]
        model(*(np.ones(shape, v.dtype) for shape, v in zip(shapes, model.inputs)))
    except ModelError:
        pass


DAMAGED = model_of(
    [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["m"], name="m", kernel_shape=[2, 2]),
        helper.make_node("Concat", ["m", "m"], ["j"], name="j", axis=1),
        helper.make_node("Transpose", ["j"], ["t"], name="t", perm=[0, 2, 3, 1]),
        helper.make_node("Softmax", ["t"], ["y"], name="s", axis=-1),
    ],
    [("x", [1, 4, 8, 8])],
    initializers=[W],
).SerializeToString()
