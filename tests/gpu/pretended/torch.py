"""What peers.py uses of PyTorch, over NumPy: it must run through where nobody has a GPU."""

import time
from types import SimpleNamespace

import numpy as np

__version__ = "pretended"
version = SimpleNamespace(cuda="0.0")
float32, float64, int8, int32 = map(np.dtype, ("float32", "float64", "int8", "int32"))
float16 = bfloat16 = np.dtype("float16")
channels_last = contiguous_format = "memory format"
qint8 = "quantized"
backends = SimpleNamespace(
    cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)),
    cudnn=SimpleNamespace(allow_tf32=False, benchmark=False),
)


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return (end.at - self.at) * 1e3


cuda = SimpleNamespace(
    Event=Event,
    is_available=lambda: True,
    get_device_properties=lambda device: SimpleNamespace(L2_cache_size=1 << 20),
    synchronize=lambda: None,
)


class Tensor(np.ndarray):
    def t(self):
        return self.T

    def to(self, dtype=None, memory_format=None):
        return self if dtype is None else self.astype(dtype)

    def clone(self):
        return self.copy()

    def copy_(self, other):
        self[...] = other

    def norm(self):
        return np.sqrt((np.asarray(self) ** 2).sum())

    def int_repr(self):
        return self

    def dequantize(self):
        return self.astype(float32)


def rand(*shape, device, dtype):
    return np.random.default_rng(1).random(shape, dtype).view(Tensor)


def randint(low, high, shape, dtype, device):
    return np.random.default_rng(2).integers(low, high, shape, dtype).view(Tensor)


def empty(shape, dtype, device):
    return np.empty(shape, dtype).view(Tensor)


def empty_like(tensor, memory_format=None):
    return np.empty(tensor.shape, tensor.dtype).view(Tensor)


def matmul(a, b, out):
    if a.dtype == float64:
        raise RuntimeError("f64 is refused here")
    out[...] = np.asarray(a).astype(float64) @ np.asarray(b).astype(float64)


def quantize_per_tensor(x, scale, zero_point, dtype):
    return np.clip(np.rint(np.asarray(x) / scale), -128, 127).astype(int8).view(Tensor)


def conv2d(x, w, padding, groups):
    x = np.pad(np.asarray(x), ((0, 0), (0, 0), (padding, padding), (padding, padding))).astype(float64)
    n, channels, height, width = x.shape
    outputs, inputs, taps = w.shape[:3]
    out = np.zeros((n, outputs, height - taps + 1, width - taps + 1))
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(taps):
            for j in range(taps):
                part = x[:, first : first + inputs, i : i + out.shape[2], j : j + out.shape[3]]
                out[:, o] += np.einsum("nchw,c->nhw", part, np.asarray(w)[o, :, i, j])
    return out.astype(w.dtype).view(Tensor)


nn = SimpleNamespace(functional=SimpleNamespace(conv2d=conv2d, silu=lambda x: x / (1 + np.exp(-x))))
