"""PyTorch on the CPU: its functions, and those that its compiler calls with weights packed by oneDNN, MKL or FBGEMM.

Functions without `out=` allocate their result, as they do for their users. The engines for 8 bits give f32 (all scales
are 1): it is brought to s32 when it is checked.
"""

import sys
import warnings
from functools import partial

import torch
from row import Way, packed

TYPES = {"bf16": torch.bfloat16}  # stored as uint16; other dtypes are NumPy's own
ops = torch.ops


def load(threads):
    """Version and folder."""
    warnings.filterwarnings("ignore")  # arrays that may not be written, and what is deprecated
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch.__version__, torch.__path__[0]


def tensor(array, dtype=None):
    """A tensor in the memory of an array."""
    made = torch.from_numpy(array)
    return made.view(dtype) if dtype else made


class Product:
    """A gemm row as tensors: a (batch, m, k), b[copy] (batch, k, n), d (batch, m, n); each 2-d where batch is 1."""

    def __init__(self, case):
        dtype = TYPES.get(case.dtype)
        self.case, self.a = case, tensor(case.a, dtype)
        self.b = [tensor(b, dtype) for b in case.b]
        self.as_linear = [b if case.trans_b else b.mT for b in self.b]  # (…, n, k)
        if case.trans_b:
            self.b = [b.mT for b in self.b]
        self.d = tensor(case.result("u2"), dtype) if dtype else tensor(case.d)
        self.d_dtype = "s32" if case.dtype in ("u8s8", "s8s8") else case.dtype

    def finish(self, result):
        """The result, f32 also for integers, in d."""
        self.d.copy_(result.reshape(self.d.shape))

    def into(self, function, name):
        """function(a, b, out=d)."""
        return Way(name, [partial(function, self.a, b, out=self.d) for b in self.b], d_dtype=self.d_dtype)

    def linear(self, name, pack, call):
        """call(weights) of weights that pack(b (n, k)) has made; its result is allocated."""
        weights, took = packed(lambda b: pack(b.contiguous()), self.as_linear)
        return Way(name, [call(w) for w in weights], self.finish, d_dtype=self.d_dtype, prepack_seconds=took)


def mm(product):
    """torch.mm, or torch.bmm."""
    batch = product.case.batch
    return product.into(torch.mm if batch == 1 else torch.bmm, "mm" if batch == 1 else "bmm")


def matmul(product):
    """torch.matmul, which chooses among them."""
    return product.into(torch.matmul, "matmul")


def onednn_linear(product):
    """A linear layer with weights in the layout that oneDNN wants for this m."""
    if product.case.dtype == "bf16" and not ops.mkldnn._is_mkldnn_bf16_supported():
        raise ValueError("oneDNN has no bf16 on this CPU")

    def pack(b):
        return ops.mkldnn._reorder_linear_weight(b, product.case.m)

    def call(weights):
        return partial(ops.mkldnn._linear_pointwise.default, product.a, weights, None, "none", [], "")

    return product.linear("onednn packed", pack, call)


def mkl_linear(product):
    """A linear layer with weights packed by MKL for this m."""
    rows = product.case.m

    def pack(b):
        return ops.mkl._mkl_reorder_linear_weight(b, rows), b

    def call(weights):
        return partial(ops.mkl._mkl_linear.default, product.a, *weights, None, rows)

    return product.linear("mkl packed", pack, call)


def int_mm(product):
    """torch._int_mm: s8 x s8, s32."""
    return product.into(torch._int_mm, "_int_mm")


def onednn_qlinear(product):
    """A quantised linear layer of oneDNN, scales 1, zero points 0, result f32."""
    one, zero = torch.ones(product.case.n), torch.zeros(product.case.n, dtype=torch.int32)

    def pack(b):
        return ops.onednn.qlinear_prepack(b, [product.case.m, product.case.k])

    def call(weights):
        return partial(
            ops.onednn.qlinear_pointwise.default,
            *(product.a, 1.0, 0, weights, one, zero, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )

    return product.linear("onednn quantised, f32 result", pack, call)


def fbgemm_dynamic(product):
    """A dynamically quantised linear layer of FBGEMM: a in f32, brought to u8 with scale 1 in the call; result f32."""
    torch.backends.quantized.engine = "fbgemm"
    activations = product.a.to(torch.float32)

    def pack(b):
        return ops.quantized.linear_prepack(torch._make_per_tensor_quantized_tensor(b, 1.0, 0), None)

    def call(weights):
        return partial(ops.quantized.linear_dynamic.default, activations, weights, False)

    return product.linear("fbgemm dynamic, f32 in and out", pack, call)


def int4_linear(product, dtype, name):
    """Weights of 4 bits with a scale per group, activations and result of `dtype`; scales are of that type too."""
    case = product.case
    if case.k % case.group_size or case.n % 16:
        raise ValueError("int4 needs whole groups, and n a multiple of 16")
    activations = product.a.to(dtype)
    scales = tensor(case.scales.copy()).t()
    scales = torch.stack([scales, torch.zeros_like(scales)], 2).to(dtype).contiguous()  # (groups, n, 2): scale, zero

    def pack(b):
        return ops.aten._convert_weight_to_int4pack_for_cpu(b.to(torch.int32), 2)

    def call(weights):
        return partial(ops.aten._weight_int4pack_mm_for_cpu.default, activations, weights, case.group_size, scales)

    weights, took = packed(pack, [tensor(b) for b in case.b])
    return Way(name, [call(w) for w in weights], product.finish, prepack_seconds=took)


class Convolution:
    """A conv row as tensors: x, w[copy], d in the shapes of peer.h."""

    def __init__(self, case):
        dtype = TYPES.get(case.dtype)
        self.case, self.x = case, tensor(case.a, dtype)
        self.w = [tensor(b, dtype) for b in case.b]
        self.d = tensor(case.result("u2"), dtype) if dtype else tensor(case.d)
        self.d_dtype = "s32" if case.dtype in ("u8s8", "s8s8") else case.dtype
        self.places = [case.stride] * 2, [case.pad] * 2, [1, 1]  # stride, padding, dilation

    def way(self, name, pack, call):
        """call(x, weights) of weights that pack(w) has made; its result is allocated."""
        weights, took = packed(pack, self.w)
        return Way(name, [call(w) for w in weights], self.d.copy_, d_dtype=self.d_dtype, prepack_seconds=took)


def conv2d(row, memory_format, name):
    """torch.conv2d on operands of a memory format; the result is of it too."""
    x = row.x.contiguous(memory_format=memory_format)

    def call(w):
        return partial(torch.conv2d, x, w, None, *row.places, row.case.groups)

    return row.way(name, lambda w: w.contiguous(memory_format=memory_format), call)


def onednn_conv(row, memory_format, name):
    """Weights in the layout that oneDNN wants for this shape."""
    if row.case.dtype == "bf16" and not ops.mkldnn._is_mkldnn_bf16_supported():
        raise ValueError("oneDNN has no bf16 on this CPU")
    x = row.x.contiguous(memory_format=memory_format)
    stride, pad, dilation = row.places

    def pack(w):
        dense = w.contiguous(memory_format=memory_format)
        return ops.mkldnn._reorder_convolution_weight(dense, pad, stride, dilation, row.case.groups, list(x.shape))

    def call(w):
        rest = pad, stride, dilation, row.case.groups, "none", [], ""
        return partial(ops.mkldnn._convolution_pointwise.default, x, w, None, *rest)

    return row.way(name, pack, call)


def onednn_qconv(row):
    """A quantised convolution of oneDNN, channels last, scales 1, zero points 0, result f32."""
    x = row.x.contiguous(memory_format=torch.channels_last)
    one, zero = torch.ones(row.case.filters), torch.zeros(row.case.filters, dtype=torch.int32)
    stride, pad, dilation = row.places

    def pack(w):
        return ops.onednn.qconv_prepack(w, one, 1.0, 0, stride, pad, dilation, row.case.groups, list(x.shape))

    def call(w):
        return partial(
            ops.onednn.qconv_pointwise.default,
            *(x, 1.0, 0, w, one, zero, None, stride, pad, dilation, row.case.groups),
            *(1.0, 0, torch.float32, "none", [], ""),
        )

    return row.way("onednn quantised channels_last, f32 result", pack, call)


CONV2D = [
    partial(conv2d, memory_format=torch.contiguous_format, name="contiguous"),
    partial(conv2d, memory_format=torch.channels_last, name="channels_last"),
]
PACKED_CONV = [
    partial(onednn_conv, memory_format=torch.contiguous_format, name="onednn packed"),
    partial(onednn_conv, memory_format=torch.channels_last, name="onednn packed channels_last"),
]
# (op, dtype): ways for any row, ways that need packed weights and no batch
WAYS = {
    ("gemm", "f32"): ([mm, matmul], [onednn_linear, mkl_linear]),
    ("gemm", "f64"): ([mm, matmul], []),
    ("gemm", "bf16"): ([mm, matmul], [onednn_linear]),
    ("gemm", "u8s8"): ([], [onednn_qlinear, fbgemm_dynamic]),
    ("gemm", "s8s8"): ([int_mm], [onednn_qlinear]),
    ("gemm", "w4"): (
        [],
        [
            partial(int4_linear, dtype=torch.bfloat16, name="int4, bf16 activations"),
            partial(int4_linear, dtype=torch.float32, name="int4, f32 activations"),
        ],
    ),
    ("conv", "f32"): (CONV2D, PACKED_CONV),
    ("conv", "bf16"): (CONV2D, PACKED_CONV),
    ("conv", "u8s8"): ([], [onednn_qconv]),
    ("conv", "s8s8"): ([], [onednn_qconv]),
}


def prepare(case):
    """The ways of the table that this build of PyTorch has on this CPU."""
    if (case.op, case.kind) not in WAYS:
        return [], "no %s of %s that the CPU runs" % (case.op, case.dtype)
    plain, with_packed = WAYS[case.op, case.kind]
    row = Product(case) if case.op == "gemm" else Convolution(case)
    plain = plain if not (case.op == "gemm" and case.kind == "s8s8" and case.batch != 1) else []
    makers = plain + (with_packed if case.packed_b and (case.op == "conv" or case.batch == 1) else [])
    ways, reasons = [], []
    for make in makers:
        try:
            ways.append(make(row))
        except (RuntimeError, ValueError, NotImplementedError) as error:  # not built, or not for this CPU or shape
            reasons.append(str(error).splitlines()[0][:160])
            print("torch, %s: %s" % (case.dtype, reasons[-1]), file=sys.stderr)
    return ways, "; ".join(reasons) or "it needs packed weights, without a batch"


def overhead(a, b, d):
    """d = a @ b, (4, 4) f32."""
    a, b, d = tensor(a), tensor(b), tensor(d)
    return [(name, partial(f, a, b, out=d)) for name, f in (("mm", torch.mm), ("matmul", torch.matmul))]
