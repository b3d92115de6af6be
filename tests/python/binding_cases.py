"""Shared by the tests: references in longer floats, bounds (docs/NUMERICS.md), a DLPack exporter in pure Python."""

import ctypes

import numpy as np

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def gamma(n, unit):
    """γ_n: the relative error that n roundings may leave."""
    return n * unit / (1 - n * unit)


def assert_product(got, a, b, extra=2):
    """got is a @ b within the bound of a sum in any order, against the longest float that NumPy has."""
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    bound = gamma(a.shape[-1] + extra, UNIT[str(got.dtype)]) * (abs(wide_a) @ abs(wide_b))
    error = abs(got - wide_a @ wide_b)
    assert np.all(error <= bound), f"largest error / bound: {np.max(error / np.maximum(bound, 1e-300))}"


def convolve(x, w, stride, dilation, pads, groups=1):
    """(sum, sum of magnitudes) of a channels-first convolution, by windows in x's own dtype."""
    spatial = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, 2 + spatial)))
    pick = (
        (slice(None),) * 2 + tuple(slice(None, None, s) for s in stride) + tuple(slice(None, None, d) for d in dilation)
    )
    windows = windows[pick]
    spec = {1: "nchr,kcr->nkh", 2: "nchwrs,kcrs->nkhw"}[spatial]
    sums, sizes = [], []
    for part, taps in zip(np.split(windows, groups, 1), np.split(w, groups, 0), strict=True):
        sums.append(np.einsum(spec, part, taps))
        sizes.append(np.einsum(spec, abs(part), abs(taps)))
    return np.concatenate(sums, 1), np.concatenate(sizes, 1)


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("manager", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Exporter:
    """An array of another library, as DLPack sees it: versioned or legacy, with a count of the deleter's calls."""

    def __init__(
        self, array, versioned=True, read_only=False, device=(1, 0), major=1, lanes=1, offset=0, row_major=False
    ):
        self.array, self.versioned, self.device, self.deleted = array, versioned, device, 0
        axes = array.ndim
        self._shape = (ctypes.c_int64 * max(axes, 1))(*array.shape)
        self._strides = (ctypes.c_int64 * max(axes, 1))(*(s // array.itemsize for s in array.strides))
        code = 4 if array.dtype.name == "bfloat16" else {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}[array.dtype.kind]
        tensor = _Tensor(
            array.ctypes.data - offset,
            (ctypes.c_int32 * 2)(*device),
            axes,
            code,
            array.itemsize * 8,
            lanes,
            ctypes.cast(self._shape, ctypes.POINTER(ctypes.c_int64)),
            None if row_major else ctypes.cast(self._strides, ctypes.POINTER(ctypes.c_int64)),
            offset,
        )
        self._deleter = _Deleter(self._delete)
        if versioned:
            self._managed = _Versioned(major, 0, None, self._deleter, 1 if read_only else 0, tensor)
        else:
            self._managed = _Managed(tensor, None, self._deleter)

    def _delete(self, _pointer):
        self.deleted += 1

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, **keywords):
        if keywords and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return _new_capsule(ctypes.addressof(self._managed), name, None)
