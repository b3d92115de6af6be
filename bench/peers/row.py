"""A row of a suite with its operands, as a peer module gets it, and what the module makes of it."""

import collections
import dataclasses
import mmap
import time

import numpy as np

# dtype of a row: how a, b and d are stored. Names that NumPy lacks: bf16 as its bits.
STORED = {
    "f32": (np.float32, np.float32, np.float32),
    "f64": (np.float64, np.float64, np.float64),
    "bf16": (np.uint16, np.uint16, np.float32),
    "u8s8": (np.uint8, np.int8, np.int32),
    "s8s8": (np.int8, np.int8, np.int32),
    "w4": (np.float32, np.uint8, np.float32),
    "w8": (np.float32, np.uint8, np.float32),
}

GEMM = ("m", "n", "k", "batch")
CONV = (
    ("images", "channels", "height", "width", "filters", "kernel_height", "kernel_width")
    + ("stride", "pad", "groups", "out_height", "out_width")
)  # fmt: skip


@dataclasses.dataclass
class Way:
    """One way in which a library does a row: another function, layout, kernel or level of accuracy.

    calls[i] takes no argument and does the product with copy i of b; what it returns goes to `finish`, which is not
    timed and leaves the result in d, in the layout of peer.h. None: the call has written d.
    """

    name: str
    calls: list
    finish: collections.abc.Callable = None
    d_dtype: str = "f32"
    prepack_seconds: float = 0.0  # of one copy of b
    isa: str = ""
    explain: object = None


class Case:
    """A row with its operands as NumPy arrays.

    gemm: a (batch, m, k), b[copy] (batch, k, n) or (batch, n, k) where trans_b, d (batch, m, n); without the batch
    where it is 1. conv: a (images, channels, height, width), b[copy] (filters, channels/groups, kernel_height,
    kernel_width), d (images, filters, out_height, out_width). Weight-only: b[copy] (n, k) codes,
    scales (n, ceil(k / group_size)). bf16 stands as uint16; the members of the row stand under their own names.
    """

    def __init__(self, row, operands):
        self.op, self.dtype, self.threads, self.copies = row["op"], row["dtype"], row["threads"], row["copies"]
        if self.op not in ("gemm", "conv"):
            raise ValueError("op %r is not gemm or conv" % self.op)
        for name in GEMM if self.op == "gemm" else CONV:
            setattr(self, name, int(row[name]))
        self.group_size = int(row.get("group_size") or 0)
        self.kind = self.dtype.partition("g")[0] if self.group_size else self.dtype  # "w4" of "w4g32"
        if self.kind not in STORED:
            raise ValueError("dtype %r is unknown" % self.dtype)
        a_type, b_type, d_type = STORED[self.kind]
        if self.op == "gemm":
            self.trans_b, self.packed_b = bool(row["trans_b"]), bool(row["packed_b"])
            lead = () if self.batch == 1 else (self.batch,)
            a_shape, d_shape = (*lead, self.m, self.k), (*lead, self.m, self.n)
            transposed = self.trans_b or self.group_size
            b_shape = (*lead, self.n, self.k) if transposed else (*lead, self.k, self.n)
        else:
            self.trans_b, self.packed_b = False, True
            a_shape = self.images, self.channels, self.height, self.width
            b_shape = self.filters, self.channels // self.groups, self.kernel_height, self.kernel_width
            d_shape = self.images, self.filters, self.out_height, self.out_width
        self.a = view(operands["a"], a_type, a_shape)
        stride = int(operands["b"].get("stride") or 0)
        whole = mapped(operands["b"])
        self.b = [view(operands["b"], b_type, b_shape, whole, copy * stride) for copy in range(self.copies)]
        self.scales = None
        if self.group_size:
            self.scales = view(operands["scales"], np.float32, (self.n, -(-self.k // self.group_size)))
        self.d_bytes = mapped(operands["d"], write=True)[int(operands["d"]["offset"]) :]
        self.d_shape = d_shape
        self.d = self.result(d_type)

    def result(self, dtype):
        """d as an array of another element type: (batch, m, n) or (images, filters, out_height, out_width)."""
        return view({"offset": 0}, dtype, self.d_shape, self.d_bytes)


def mapped(operand, write=False):
    """The whole file of an operand as bytes, shared with whoever made it."""
    with open(operand["file"], "r+b" if write else "rb") as file:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, access), np.uint8)


def view(operand, dtype, shape, whole=None, skip=0):
    """An operand as an array of `shape`; `skip` bytes behind its offset."""
    whole = mapped(operand) if whole is None else whole
    count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    start = int(operand["offset"]) + skip
    if start + count > whole.size:
        raise ValueError("an operand of shape %s needs %d bytes; its file has %d" % (shape, start + count, whole.size))
    return whole[start : start + count].view(dtype).reshape(shape)


def timed(make, *arguments):
    """What `make` returns, and the seconds that it took."""
    start = time.perf_counter()
    return make(*arguments), time.perf_counter() - start


def packed(make, copies):
    """[make(b) for b in copies], and the seconds that one took, the least disturbed of all."""
    made = [timed(make, copy) for copy in copies]
    return [result for result, _ in made], min(took for _, took in made)
