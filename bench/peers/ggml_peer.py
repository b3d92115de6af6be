"""ggml, of the shared libraries inside the wheel of pywhispercpp: mul_mat on its CPU backend, through its C ABI.

A graph of one product is built once per copy of the weights and computed per call. Its weights are (n, k). 4- and
8-bit codes become its blocks of 32 without a change, Q4_0 and Q8_0; the scale of a block is f16 there, so scales are
rounded to 11 bits, and a group of 64 or more is several blocks with one scale. Activations are rounded to 8 bits.
"""

import ctypes
import glob
import importlib.metadata
import os
import sysconfig
from ctypes import c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p

import numpy as np
from row import Way, packed

F32, BF16, Q4_0, Q8_0 = 0, 30, 2, 8  # enum ggml_type
WEIGHTS = 1  # GGML_BACKEND_BUFFER_USAGE_WEIGHTS
# dtype of a row without its group: type of the weights, and what the name of a way says about it
WAYS = {"f32": (F32, "f32"), "bf16": (BF16, "bf16"), "w4": (Q4_0, "Q4_0, f16 scales"), "w8": (Q8_0, "Q8_0, f16 scales")}
BLOCK = 32

FUNCTIONS = {
    "ggml_init": (c_void_p, None),
    "ggml_free": (None, [c_void_p]),
    "ggml_version": (c_char_p, []),
    "ggml_new_tensor_4d": (c_void_p, [c_void_p, c_int, c_int64, c_int64, c_int64, c_int64]),
    "ggml_mul_mat": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "ggml_nbytes": (c_size_t, [c_void_p]),
    "ggml_new_graph": (c_void_p, [c_void_p]),
    "ggml_build_forward_expand": (None, [c_void_p, c_void_p]),
    "ggml_backend_cpu_init": (c_void_p, []),
    "ggml_backend_cpu_set_n_threads": (None, [c_void_p, c_int]),
    "ggml_backend_cpu_buffer_from_ptr": (c_void_p, [c_void_p, c_size_t]),
    "ggml_backend_cpu_buffer_type": (c_void_p, []),
    "ggml_backend_cpu_reg": (c_void_p, []),
    "ggml_backend_reg_dev_get": (c_void_p, [c_void_p, c_size_t]),
    "ggml_backend_reg_get_proc_address": (c_void_p, [c_void_p, c_char_p]),
    "ggml_backend_buft_name": (c_char_p, [c_void_p]),
    "ggml_backend_buft_get_alloc_size": (c_size_t, [c_void_p, c_void_p]),
    "ggml_backend_buft_alloc_buffer": (c_void_p, [c_void_p, c_size_t]),
    "ggml_backend_buffer_get_base": (c_void_p, [c_void_p]),
    "ggml_backend_buffer_set_usage": (None, [c_void_p, c_int]),
    "ggml_backend_buffer_free": (None, [c_void_p]),
    "ggml_backend_tensor_alloc": (c_int, [c_void_p, c_void_p, c_void_p]),
    "ggml_backend_tensor_set": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_backend_dev_supports_op": (c_bool, [c_void_p, c_void_p]),
    "ggml_backend_graph_compute": (c_int, [c_void_p, c_void_p]),
}


class InitParams(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


class Library:
    """The functions of FUNCTIONS without `ggml_`, a backend, and the buffer types that weights may stand in."""

    def __init__(self, folder, threads):
        found = [sorted(glob.glob(os.path.join(folder, "libggml%s-*.so*" % part))) for part in ("-base", "-cpu", "")]
        paths = [
            next((path for path in part if os.path.basename(path).count("-") == dashes), None)
            for part, dashes in zip(found, (2, 2, 1))
        ]
        if None in paths:
            raise ImportError("no libggml in %s" % folder)
        for path in glob.glob(os.path.join(folder, "libgomp*")):
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        libraries = [ctypes.CDLL(path, ctypes.RTLD_GLOBAL) for path in paths]
        self.place = paths[1]
        for name, (result, arguments) in FUNCTIONS.items():
            function = next(getattr(library, name) for library in libraries if hasattr(library, name))
            function.restype, function.argtypes = result, [InitParams] if arguments is None else arguments
            setattr(self, name[5:], function)
        self.backend = self.backend_cpu_init()
        self.backend_cpu_set_n_threads(self.backend, threads)
        register = self.backend_cpu_reg()
        self.device = self.backend_reg_dev_get(register, 0)
        self.kinds = []  # (buffer type, name): forms of the library's own first, such as CPU_REPACK
        extra = self.backend_reg_get_proc_address(register, b"ggml_backend_dev_get_extra_bufts")
        if extra:
            kinds = ctypes.CFUNCTYPE(ctypes.POINTER(c_void_p), c_void_p)(extra)(self.device)
            for kind in iter_until_null(kinds):
                self.kinds.append((kind, self.backend_buft_name(kind).decode()))
        self.kinds.append((self.backend_cpu_buffer_type(), ""))


def iter_until_null(pointers):
    """The pointers of an array that ends with NULL."""
    at = 0
    while pointers and pointers[at]:
        yield pointers[at]
        at += 1


library = None


def load(threads):
    """Version and file of libggml-cpu. The wheel is not imported: its Python part is of no use here."""
    global library
    version = importlib.metadata.version("pywhispercpp")
    library = Library(os.path.join(sysconfig.get_paths()["platlib"], "pywhispercpp.libs"), threads)
    return "%s (pywhispercpp %s)" % (library.version().decode(), version), library.place


def blocks(codes, scales, group, bits):
    """Codes (n, k) and scales (n, k / group) as Q4_0 (bits 4) or Q8_0 blocks of 32, as bytes."""
    n, k = codes.shape
    split = codes.reshape(n, k // BLOCK, BLOCK)
    halves = np.repeat(scales.astype(np.float16), group // BLOCK, axis=1)[:, : k // BLOCK, None]
    if bits == 4:  # element i in the low half of byte i, element 16 + i in the high half
        body = split[..., : BLOCK // 2] | split[..., BLOCK // 2 :] << 4
    else:
        body = split ^ 0x80  # code - 128 as s8
    return np.ascontiguousarray(np.concatenate([halves.view(np.uint8), body], axis=2))


class Product:
    """d = a @ b.T for one copy of the weights: a (batch, m, k) f32 or bf16, b as `data`, d (batch, m, n) f32."""

    def __init__(self, kind, weight_type, a, a_type, data, d, extents):
        m, n, k, batch = extents
        self.keep = a, d
        self.context = library.init(InitParams(1 << 20, None, True))
        self.buffers = []
        weights = library.new_tensor_4d(self.context, weight_type, k, n, batch, 1)
        activations = library.new_tensor_4d(self.context, a_type, k, m, batch, 1)
        result = library.mul_mat(self.context, weights, activations)
        size = library.backend_buft_get_alloc_size(kind, weights)
        buffer = library.backend_buft_alloc_buffer(kind, size)
        self.buffers.append(buffer)
        library.backend_buffer_set_usage(buffer, WEIGHTS)
        library.backend_tensor_alloc(buffer, weights, library.backend_buffer_get_base(buffer))
        self.place(activations, a)
        self.place(result, d)
        self.supported = library.backend_dev_supports_op(library.device, result)
        if not self.supported:
            return
        library.backend_tensor_set(weights, data.ctypes.data, 0, data.nbytes)
        self.graph = library.new_graph(self.context)
        library.build_forward_expand(self.graph, result)

    def place(self, tensor, array):
        """Lets a tensor stand in the memory of an array."""
        buffer = library.backend_cpu_buffer_from_ptr(array.ctypes.data, library.nbytes(tensor))
        self.buffers.append(buffer)
        library.backend_tensor_alloc(buffer, tensor, array.ctypes.data)

    def __call__(self):
        status = library.backend_graph_compute(library.backend, self.graph)
        if status:
            raise RuntimeError("ggml_backend_graph_compute: status %d" % status)

    def __del__(self):
        for buffer in self.buffers:
            library.backend_buffer_free(buffer)
        library.free(self.context)


def prepare(case):
    """One way per buffer type that takes the weights: as they are, and in forms of the library's own."""
    if case.op != "gemm":
        return [], "only mul_mat is measured"
    if case.kind not in WAYS:
        return [], "no product of %s" % case.dtype
    if case.group_size and (case.group_size % BLOCK or case.k % BLOCK):
        return [], "its blocks have 32 codes"
    if not (case.group_size or case.trans_b or case.packed_b):
        return [], "its weights are (n, k)"
    weight_type, text = WAYS[case.kind]
    a_type = BF16 if case.kind == "bf16" else F32
    extents = case.m, case.n, case.k, case.batch

    def make(kind, b):
        if case.group_size:
            data = blocks(b, case.scales, case.group_size, int(case.kind[1:]))
        else:
            data = np.ascontiguousarray(b if case.trans_b else np.swapaxes(b, -1, -2))
        return Product(kind, weight_type, case.a, a_type, data, case.d, extents)

    ways = []
    for kind, name in library.kinds:
        if name and not repacks(kind, name, weight_type, extents):
            continue
        products, took = packed(lambda b, kind=kind: make(kind, b), case.b)
        if products[0].supported:
            ways.append(Way(text + (", " + name if name else ""), products, prepack_seconds=took))
    return ways, "the CPU backend does not take it"


def repacks(kind, name, weight_type, extents):
    """Whether a buffer type brings such weights into another form; it must not be given any other."""
    m, n, k, _ = extents
    return name == "CPU_REPACK" and weight_type == Q4_0 and n % 8 == 0


def overhead(a, b, d):
    """(4, 4) f32."""
    data = np.ascontiguousarray(b.T)
    return [("f32", Product(library.kinds[-1][0], F32, a, F32, data, d, (4, 4, 4, 1)))]
