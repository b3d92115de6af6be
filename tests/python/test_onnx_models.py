"""The real OCR models: intermediate tensors against onnxruntime, and the integer form."""

import doctest
import inspect

import hunze as hz
import hunze.onnx
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("PIL")
from hunze.demo import data, image, ocr  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402


@pytest.mark.parametrize("name", ["load", "Model"])
def test_doctests(name):
    thing = getattr(hunze.onnx, name)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing), {}, name, None, None)
    report = []
    assert test.examples and inspect.signature(thing)
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)


EVERY = 9  # one of so many values is compared


@pytest.fixture(scope="module")
def tiny():
    try:
        return data.fetch(data.default_folder(), data.TINY, say=lambda line: None)
    except data.DataError as error:
        pytest.skip(f"the models are not there: {error}")


def values_of(proto):
    """Names of float values of the model, spread over it, its outputs included."""
    alias = {n.output[0] for n in proto.graph.node if n.op_type in ("Identity", "Cast")}
    constant = {i.name for i in proto.graph.initializer}
    names = []
    for node in proto.graph.node:
        if node.op_type in ("Constant", *alias) or all(name in constant for name in node.input):
            constant.update(node.output)
        elif node.op_type != "Shape":
            names.append(node.output[0])
    return names[::EVERY] + names[-3:]


@pytest.mark.parametrize("which, shape", [("detector", (1, 3, 96, 160)), ("recogniser", (2, 3, 48, 200))])
def test_intermediates(tiny, which, shape):
    content = data.member(tiny, getattr(data.MODELS[0], which))
    proto = onnx.load_from_string(content)
    names = values_of(proto)
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    results = hunze.onnx.load(content, outputs=names)(x)
    assert len(names) > 15
    for name, result, reference in zip(names, results, expected, strict=True):
        assert result.shape == reference.shape, name
        error = np.abs(result - reference).max() / max(
            np.abs(reference).max(), 0.1
        )  # the last values are probabilities
        assert error < 3e-5, f"{name}: {error:.2e} of the largest value"
    # Folded, the model gives the same result.
    (whole,) = hunze.onnx.load(content)(x)
    np.testing.assert_allclose(
        whole,
        hunze.onnx.load(content, outputs=[onnx.load_from_string(content).graph.output[0].name, names[0]])(x)[0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_everything_is_folded(tiny):
    ops = {}
    for which in ("detector", "recogniser"):
        model = hunze.onnx.load(data.member(tiny, getattr(data.MODELS[0], which)))
        ops[which] = {step.node.op for step in model.steps}
    assert not {"Erf", "BatchNormalization", "Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Cast", "Div"} & (
        ops["detector"] | ops["recogniser"]
    )


def test_integer_form_is_close_and_keeps_its_bits(tiny):
    recogniser, letters = ocr.without_softmax(data.member(tiny, data.MODELS[0].recogniser))
    f32, whole = hunze.onnx.load(recogniser), hunze.onnx.load(recogniser, integer=True)
    assert whole.integer_products == 39
    line = Image.new("RGB", (400, 48), "white")
    ImageDraw.Draw(line).text((8, 0), "to the northern sea", fill="black", font=ImageFont.load_default(36))
    x = image.channels_first(np.asarray(line, np.float32) / 127.5 - 1)
    a, b = f32(x)[0], whole(x)[0]
    assert a.shape[2] == len(letters)
    assert np.linalg.norm(a - b) < 0.25 * np.linalg.norm(a)
    assert ocr.decode(a[0], letters) == ocr.decode(b[0], letters) == "to the northern sea"
    with hz.options(isa="portable", threads=2, reproducible=True):
        (portable,) = hunze.onnx.load(recogniser, integer=True)(x)
    with hz.options(threads=1, reproducible=True):
        np.testing.assert_array_equal(portable, hunze.onnx.load(recogniser, integer=True)(x)[0])
