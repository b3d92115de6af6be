"""Hunze on the GPU with the arrays of another library: `interop.py numpy|torch|cupy|jax`.

Each case must have the bits that it has on the CPU.  Exit status 77: the library is not here, or sees no GPU.
"""

import importlib.util
import sys

if importlib.util.find_spec("numpy") is None:
    print("no NumPy")
    sys.exit(77)

import hunze as hz  # noqa: E402
import numpy as np  # noqa: E402


class NumPy:
    """Arrays of the CPU, computed on the device."""

    options = {"device": "cuda"}
    stream = None

    def to(self, array):
        return array

    def back(self, array):
        return np.asarray(array)


class Torch:
    options = {}

    def __init__(self):
        import torch

        if not torch.cuda.is_available():
            raise ImportError("torch sees no GPU")
        self.torch = torch
        self.stream = torch.cuda.Stream()

    def to(self, array):
        made = self.torch.from_numpy(array.copy()).cuda()
        self.torch.cuda.synchronize()
        return made

    def back(self, array):
        return self.torch.from_dlpack(array).cpu().numpy()


class CuPy:
    options = {}

    def __init__(self):
        import cupy

        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise ImportError("cupy sees no GPU") from error
        self.cupy = cupy
        self.stream = cupy.cuda.Stream(non_blocking=True)

    def to(self, array):
        made = self.cupy.asarray(array)
        self.cupy.cuda.Device().synchronize()
        return made

    def back(self, array):
        return self.cupy.asnumpy(self.cupy.from_dlpack(array))


class Jax:
    options = {}
    stream = None
    skips = "f64"  # jax makes f32 of it unless told otherwise

    def __init__(self):
        import jax

        try:
            self.device = jax.devices("gpu")[0]
        except RuntimeError as error:
            raise ImportError("jax sees no GPU") from error
        self.jax = jax

    def to(self, array):
        return self.jax.device_put(array, self.device).block_until_ready()

    def back(self, array):
        return np.asarray(self.jax.dlpack.from_dlpack(array))


LIBRARIES = {"numpy": NumPy, "torch": Torch, "cupy": CuPy, "jax": Jax}


def cases(rng):
    """(name, call, operands)."""

    def floats(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    def codes(dtype, *shape):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)

    yield "matmul f32", hz.matmul, (floats(37, 70), floats(70, 41))
    yield "matmul f64", hz.matmul, (floats(37, 70).astype(np.float64), floats(70, 41).astype(np.float64))
    yield "matmul u8 s8", hz.matmul, (codes(np.uint8, 37, 70), codes(np.int8, 70, 41))
    yield "conv2d f32", hz.conv2d, (floats(2, 5, 9, 11), floats(7, 5, 3, 3))
    yield "activate f32", lambda x, **options: hz.activate(x, "gelu", **options), (floats(100, 33),)


def main(name):
    try:
        library = LIBRARIES[name]()
    except ImportError as error:
        print(error)
        return 77
    wrong = 0
    for case, call, operands in cases(np.random.default_rng(5)):
        if case.endswith(getattr(library, "skips", "nothing")):
            continue
        with hz.options(reproducible=True):
            want = call(*operands)
            there = [library.to(operand) for operand in operands]
            results = {"": call(*there, **library.options)}
            if library.stream is not None:
                results[" on a stream"] = call(*there, stream=library.stream, **library.options)
                library.stream.synchronize()
        for how, got in results.items():
            same = np.array_equal(library.back(got), want)
            wrong += not same
            print("%s%s: %s" % (case, how, "the CPU's bits" if same else "WRONG"))
    print('RESULT {"library": "%s", "wrong": %d}' % (name, wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
