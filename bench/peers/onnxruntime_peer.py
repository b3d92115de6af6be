"""ONNX Runtime on the CPU: one model of one node per row, its operands and result bound to the memory of the row.

Weights that may be packed are initialisers, so that the session packs them; `prepack_seconds` is then the session's
making. Inner threads only, and they do not spin.
"""

from functools import partial

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from row import Way, packed

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.int32): TensorProto.INT32,
}
# (op, dtype): ways, each a name, the node's operator and options: "only" 2d (no batch), "level" of graph optimisation,
# "accuracy_level". Convolutions whose result is 8 bits (QLinearConv) do not give what a row asks for: s32.
WAYS = {
    ("gemm", "f32"): [("MatMul", "MatMul", {}), ("Gemm", "Gemm", {"only": "2d"})],
    ("gemm", "f64"): [("MatMul", "MatMul", {}), ("Gemm", "Gemm", {"only": "2d"})],
    ("gemm", "u8s8"): [("MatMulInteger", "MatMulInteger", {})],
    ("gemm", "s8s8"): [("MatMulInteger", "MatMulInteger", {})],
    ("gemm", "w4"): [
        ("MatMulNBits accuracy_level=4", "MatMulNBits", {"accuracy_level": 4}),
        ("MatMulNBits accuracy_level=0", "MatMulNBits", {"accuracy_level": 0}),
    ],
    ("gemm", "w8"): [
        ("MatMulNBits accuracy_level=4", "MatMulNBits", {"accuracy_level": 4}),
        ("MatMulNBits accuracy_level=0", "MatMulNBits", {"accuracy_level": 0}),
    ],
    ("conv", "f32"): [("Conv", "Conv", {}), ("Conv NCHW", "Conv", {"level": "extended"})],
    ("conv", "u8s8"): [("ConvInteger", "ConvInteger", {})],
    ("conv", "s8s8"): [("ConvInteger", "ConvInteger", {})],
}
LEVELS = {
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,  # without the layout NCHWc
}
CONTRIB = "com.microsoft"
intra_threads = 1


def load(threads):
    """Version and folder."""
    global intra_threads
    intra_threads = threads
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime.__version__, onnxruntime.__path__[0]


def session(node, inputs, initialisers, output, level="all"):
    """A session of one node; inputs and output as arrays by name, initialisers as arrays by name."""
    tensors = [
        helper.make_tensor(name, TYPES[array.dtype], array.shape, np.ascontiguousarray(array).tobytes(), raw=True)
        for name, array in initialisers.items()
    ]
    values = [helper.make_tensor_value_info(name, TYPES[array.dtype], array.shape) for name, array in inputs.items()]
    result = [helper.make_tensor_value_info(name, TYPES[array.dtype], array.shape) for name, array in output.items()]
    model = helper.make_model(
        helper.make_graph([node], "row", values, result, tensors),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(CONTRIB, 1)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = intra_threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def bound(made, inputs, output):
    """A call without arguments of a session, on the arrays themselves."""
    binding = made.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    for name, array in output.items():
        binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    return partial(made.run_with_iobinding, binding)


def nbits(case, b):
    """The weights of MatMulNBits from codes (n, k): (n, blocks, bytes of a block); 4 bits: the low half first."""
    blocks = case.scales.shape[1]
    codes = np.full((case.n, blocks * case.group_size), 8 if case.kind == "w4" else 128, np.uint8)
    codes[:, : case.k] = b
    if case.kind == "w4":
        codes = codes[:, 0::2] | codes[:, 1::2] << 4
    return codes.reshape(case.n, blocks, -1)


def make(case, operator, options, b):
    """Session and inputs of a way for one copy of b."""
    inputs, initialisers, attributes, domain = {"a": case.a}, {}, {}, ""
    weight = b
    if operator == "MatMulNBits":
        domain = CONTRIB
        attributes = {"K": case.k, "N": case.n, "bits": int(case.kind[1:]), "block_size": case.group_size}
        attributes["accuracy_level"] = options["accuracy_level"]
        weight = nbits(case, b)
        initialisers["scales"] = case.scales.reshape(-1)
    elif case.op == "conv":
        attributes = {"group": case.groups, "strides": [case.stride] * 2, "pads": [case.pad] * 4}
        attributes["kernel_shape"] = [case.kernel_height, case.kernel_width]
    elif operator == "Gemm":
        attributes = {"transB": int(case.trans_b)}
    elif case.trans_b and operator == "MatMul":
        operator, domain, attributes = "FusedMatMul", CONTRIB, {"transB": 1}
    elif case.trans_b:
        weight = np.swapaxes(b, -1, -2)
    if case.packed_b:
        initialisers["b"] = weight
    else:
        inputs["b"] = weight
    names = ["a", "b"] + (["scales"] if "scales" in initialisers else [])
    node = helper.make_node(operator, names, ["d"], domain=domain, **attributes)
    return session(node, inputs, initialisers, {"d": case.d}, options.get("level", "all")), inputs


def prepare(case):
    """One way per operator; the result is written into d by the session."""
    table = WAYS.get((case.op, case.kind), [])
    if not table:
        return [], "no %s kernel of %s for the CPU" % (case.op, case.dtype)
    if case.dtype in ("u8s8", "s8s8") and case.trans_b and not case.packed_b:
        return [], "MatMulInteger takes b as (k, n) only"
    ways, reasons = [], []
    for name, operator, options in table:
        if options.get("only") == "2d" and case.batch != 1:
            continue
        try:
            made, took = packed(partial(make, case, operator, options), case.b)
        except Exception as error:  # the session says that it has no such kernel
            reasons.append("%s: %s" % (name, str(error).splitlines()[0][:160]))
            continue
        calls = [bound(one, inputs, {"d": case.d}) for one, inputs in made]
        d_dtype = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}.get(case.d.dtype, "s32")
        ways.append(Way(name, calls, d_dtype=d_dtype, prepack_seconds=took if case.packed_b else 0.0))
    return ways, "; ".join(reasons)


def overhead(a, b, d):
    """d = a @ b, (4, 4) f32, operands and result bound."""
    inputs, output = {"a": a, "b": b}, {"d": d}
    made = session(helper.make_node("MatMul", ["a", "b"], ["d"]), inputs, {}, output)
    return [("MatMul", bound(made, inputs, output))]
