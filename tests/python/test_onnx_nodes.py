"""hunze.onnx against the ONNX package's own node tests: what is claimed must be right, what is not there must be
refused."""

import re
import warnings

import hunze.onnx
import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
loader = pytest.importorskip("onnx.backend.test.loader")

# Operators claimed, as the names of ONNX's cases begin.
CLAIMED = re.compile(
    r"test_(basic_conv|conv_with|convinteger|convtranspose|gemm|matmul|matmulinteger|dynamicquantizelinear|add|sub|mul|div|relu"
    r"|leakyrelu|sigmoid|hardsigmoid|hardswish|gelu|erf|tanh|exp|sqrt|abs|neg|pow|clip|softmax|concat|squeeze|unsqueeze|transpose"
    r"|reshape|flatten|shape|slice|reduce_mean|globalaveragepool|averagepool|maxpool|batchnorm|resize|cast|identity)(_|$)"
)
# Forms of them that are not there: these must raise, when the model is loaded or at the latest when it runs.
REFUSED = re.compile(
    r"conv\w*_3d|with_argmax|training_mode|resize_\w*(linear|cubic|crop|axes|not_larger|not_smaller)"
    r"|BFLOAT16|FLOAT4|FLOAT8|INT2|INT4|e8m0|identity_(opt|sequence)"
)


def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            case.name: case
            for case in loader.load_model_tests(kind="node")
            if CLAIMED.match(case.name) and "_expanded" not in case.name
        }  # these try other operators
    return [pytest.param(case, id=case.name) for case in found.values()]


def array(item):
    return item if isinstance(item, np.ndarray | np.generic) else onnx.numpy_helper.to_array(item)


def run(case):
    model = hunze.onnx.load(case.model)
    # Three times: as it comes, recorded, and by the record.
    return [
        (model(*map(array, inputs)), [array(item) for item in expected])
        for inputs, expected in case.data_sets
        for _ in range(3)
    ]


@pytest.mark.parametrize("case", cases())
def test_node(case):
    if REFUSED.search(case.name):
        with pytest.raises(hunze.onnx.ModelError):
            run(case)
        return
    for results, expected in run(case):
        assert len(results) == len(expected)
        for result, reference in zip(results, expected):
            assert result.shape == reference.shape and result.dtype == reference.dtype
            np.testing.assert_allclose(result, reference, rtol=float(case.rtol), atol=float(case.atol))
