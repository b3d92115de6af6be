"""A library beside Hunze in the same process, on the stand-in driver: what PyTorch is on a real one.  It has a current
stream, memory that goes back in the order of a stream, tensors with real DLPack capsules, and from_dlpack."""

import ctypes
import gc
import sys
import types

import hunze as hz
import numpy as np
from binding_cases import _Deleter, _Managed, _new_capsule, _Tensor, _Versioned

CUDA, PINNED, MANAGED = 2, 3, 13
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


class Driver:
    """Functions of the driver by name and version, with the primary context of device 0 current."""

    def __init__(self):
        self.scratch = None
        self._find = ctypes.CDLL("libcuda.so.1").cuGetProcAddress_v2
        self("cuInit", 2000, ctypes.c_uint(0))
        self.context = ctypes.c_void_p()
        self("cuDevicePrimaryCtxRetain", 7000, ctypes.byref(self.context), ctypes.c_int(0))
        self("cuCtxSetCurrent", 4000, self.context)

    def __call__(self, name, version, *arguments):
        function = ctypes.c_void_p()
        assert self._find(name.encode(), ctypes.byref(function), version, ctypes.c_uint64(1), None) == 0, name
        result = ctypes.CFUNCTYPE(ctypes.c_int)(function.value)
        result.argtypes = None
        code = result(*arguments)
        assert code == 0, f"{name}: error {code}"

    def make(self, name, version, *arguments):
        """The handle that such a function returns by its first argument."""
        made = ctypes.c_void_p()
        self(name, version, ctypes.byref(made), *arguments)
        return made.value

    def stream(self):
        return self.make("cuStreamCreate", 2000, ctypes.c_uint(1))  # not blocking, as PyTorch makes them

    def delay(self, stream):
        """So much work that what comes behind it is late."""
        if self.scratch is None:
            self.scratch = self.make("cuMemAlloc", 3020, ctypes.c_size_t(64))
        for _ in range(300):
            self("cuMemsetD8Async", 3020, ctypes.c_uint64(self.scratch), ctypes.c_ubyte(0), ctypes.c_size_t(4),
                 ctypes.c_void_p(stream))  # fmt: skip

    def wait(self, stream, before):
        event = self.make("cuEventCreate", 2000, ctypes.c_uint(2))
        self("cuEventRecord", 2000, ctypes.c_void_p(event), ctypes.c_void_p(before))
        self("cuStreamWaitEvent", 3020, ctypes.c_void_p(stream), ctypes.c_void_p(event), ctypes.c_uint(0))
        self("cuEventDestroy", 4000, ctypes.c_void_p(event))

    def synchronize(self, stream):
        self("cuStreamSynchronize", 2000, ctypes.c_void_p(stream))


class Stream:
    """PyTorch's: a default stream is 0 here."""

    def __init__(self, handle):
        self.cuda_stream = handle


def _properties():
    """CUmemPoolProps: pinned memory of device 0."""
    properties = (ctypes.c_int * 22)()
    properties[0], properties[2] = 1, 1
    return properties


class Library:
    """`legacy`: capsules from before DLPack 1.0.  As "torch" it is found as PyTorch is."""

    def __init__(self, name="another", legacy=False):
        self.driver, self.legacy, self.current, self.deleted = Driver(), legacy, 0, 0
        self.pool = self.driver.make("cuMemPoolCreate", 11020, _properties())
        self.Tensor = type("Tensor", (_Tensor_,), {"library": self, "__module__": name})
        module = types.ModuleType(name)
        module.from_dlpack = self.from_dlpack
        module.cuda = types.SimpleNamespace(current_stream=lambda device: Stream(self.current))
        sys.modules[name] = module

    def tensor(self, values):
        """A tensor with these values, made on the current stream."""
        values = np.ascontiguousarray(values)
        stream = ctypes.c_void_p(self.current)
        pointer = self.driver.make(
            "cuMemAllocFromPoolAsync", 11020, ctypes.c_size_t(values.nbytes), ctypes.c_void_p(self.pool), stream
        )
        self.driver(
            "cuMemcpyHtoDAsync", 3020, ctypes.c_uint64(pointer), ctypes.c_void_p(values.ctypes.data),
            ctypes.c_size_t(values.nbytes), stream,
        )  # fmt: skip
        self.driver.synchronize(self.current)  # the values are a variable of this function
        return self.Tensor(pointer, values.shape, values.dtype, stream=self.current, owned=True)

    def from_dlpack(self, x):
        """A tensor over x's memory, for work on the current stream."""
        capsule = x.__dlpack__(stream=self.current or 1, max_version=None if self.legacy else (1, 0))
        return self.take(capsule)

    def take(self, capsule):
        name = b"dltensor" if self.legacy else b"dltensor_versioned"
        kind = _Managed if self.legacy else _Versioned
        address = _pointer_of(capsule, name)
        managed = kind.from_address(address)
        _rename(capsule, b"used_dltensor" if self.legacy else b"used_dltensor_versioned")
        tensor = managed.tensor
        assert tensor.device[0] == CUDA
        letter = {value: key for key, value in _CODES.items()}[tensor.code]
        return self.Tensor(
            tensor.data + tensor.byte_offset, tuple(tensor.shape[: tensor.ndim]),
            np.dtype(f"{letter}{tensor.bits // 8}"), managed=managed, stream=self.current,
            strides=tuple(tensor.strides[: tensor.ndim]),
        )  # fmt: skip


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Tensor_:
    def __init__(
        self,
        pointer,
        shape,
        dtype,
        *,
        stream=0,
        owned=False,
        managed=None,
        strides=None,
        device=(CUDA, 0),
        read_only=False,
    ):
        self.pointer, self.shape, self.dtype, self.managed, self.owned = pointer, shape, dtype, managed, owned
        self.strides = strides or tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        self.stream, self.device, self.read_only, self.exports = stream, device, read_only, 0

    def __del__(self):
        # As soon as nobody holds it, in the order of its own stream.
        if self.managed is not None and self.managed.deleter:
            self.managed.deleter(ctypes.addressof(self.managed))
        if self.owned:
            self.library.driver("cuMemFreeAsync", 11020, ctypes.c_uint64(self.pointer), ctypes.c_void_p(self.stream))

    def numpy(self):
        """After the current stream's work."""
        values = np.empty(self.shape, self.dtype)
        driver, stream = self.library.driver, ctypes.c_void_p(self.library.current)
        driver(
            "cuMemcpyDtoHAsync", 3020, ctypes.c_void_p(values.ctypes.data), ctypes.c_uint64(self.pointer),
            ctypes.c_size_t(values.nbytes), stream,
        )  # fmt: skip
        driver.synchronize(self.library.current)
        return values

    def fill(self, byte):
        """On the current stream, without a wait."""
        count = int(np.prod(self.shape)) * self.dtype.itemsize
        self.library.driver(
            "cuMemsetD8Async", 3020, ctypes.c_uint64(self.pointer), ctypes.c_ubyte(byte), ctypes.c_size_t(count),
            ctypes.c_void_p(self.library.current),
        )  # fmt: skip

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, **keywords):
        library = self.library
        if library.legacy and keywords:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        self.asked = stream
        if stream not in (None, -1) and stream != (library.current or 1):
            library.driver.wait(0 if stream == 1 else stream, library.current)
        axes = len(self.shape)
        export = types.SimpleNamespace(tensor=self)
        export.extents = (ctypes.c_int64 * (2 * axes + 1))(*self.shape, *self.strides)
        extents = ctypes.cast(export.extents, ctypes.POINTER(ctypes.c_int64))
        strides = ctypes.cast(ctypes.byref(export.extents, 8 * axes), ctypes.POINTER(ctypes.c_int64))
        described = _Tensor(
            self.pointer, (ctypes.c_int32 * 2)(*self.device), axes, _CODES[self.dtype.kind], self.dtype.itemsize * 8,
            1, extents, strides, 0,
        )  # fmt: skip

        def deleter(_address):
            library.deleted += 1
            _running.append(export.deleter)  # this very function, which must not go before it ends
            _alive.pop(id(export)).tensor = None

        _running.clear()
        export.deleter = _Deleter(deleter)
        if library.legacy:
            export.managed = _Managed(described, None, export.deleter)
        else:
            export.managed = _Versioned(1, 0, None, export.deleter, int(self.read_only), described)
        _alive[id(export)] = export  # with the tensor, until the consumer calls the deleter
        name = b"dltensor" if library.legacy else b"dltensor_versioned"
        return _new_capsule(ctypes.addressof(export.managed), name, None)


_alive, _running = {}, []


def settle(library):
    """All work is over, and whoever holds something for it has let it go."""
    library.driver("cuCtxSynchronize", 2000)
    hz.empty_cache()
    _running.clear()
    gc.collect()
    assert not _alive, "tensors are held though all is over"
