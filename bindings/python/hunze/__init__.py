"""Hunze: tensor kernels (GEMM, convolution, quantised operations) with the same bits on every CPU.

>>> import numpy as np, hunze as hz
>>> hz.matmul(np.eye(2, dtype="float32"), np.array([[1, 2], [3, 4]], "float32"), activation="relu")
array([[1., 2.],
       [3., 4.]], dtype=float32)

Arrays come in as NumPy arrays, as anything with ``__dlpack__`` or the buffer protocol, or as lists; results are made by
the first operand's library, and where the operands live: on the CPU, or on a CUDA device (``hz.to_device``).
``hz.explain(hz.matmul, a, b)`` says which kernel runs and why.
"""

from . import _hunze, _offload, _settings
from ._devices import DeviceArray, devices, empty_cache, set_device_allocator, stream, to_device
from ._hunze import activate, grouped_matmul, linear, matmul
from ._hunze import version as __version__
from ._library import get_include, get_library_dir, info, test
from ._operations import (
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    dequantize,
    pack,
    quantize,
)
from ._plans import Plan, explain, plan
from ._settings import get_num_threads, meter, options, set_num_threads
from ._weights import PackedWeights, QArray

_hunze._register(QArray, PackedWeights, DeviceArray, _settings._current.get)
_hunze._offload(_offload.choose, _offload.SLICE_BYTES)
_settings.measure_environment()

__all__ = [
    "DeviceArray",
    "PackedWeights",
    "Plan",
    "QArray",
    "__version__",
    "activate",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "dequantize",
    "devices",
    "empty_cache",
    "explain",
    "get_include",
    "get_library_dir",
    "get_num_threads",
    "grouped_matmul",
    "info",
    "linear",
    "matmul",
    "meter",
    "options",
    "pack",
    "plan",
    "quantize",
    "set_device_allocator",
    "set_num_threads",
    "stream",
    "test",
    "to_device",
]
