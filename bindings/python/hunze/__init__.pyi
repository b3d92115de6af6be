from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__version__: str
__all__: list[str]

# Anything with __dlpack__, a buffer, or what np.asarray takes; the result is made by the first operand's library.
Array: TypeAlias = Any
Activation: TypeAlias = (
    Literal["relu", "relu6", "gelu", "gelu_tanh", "silu", "sigmoid", "hardsigmoid", "hardswish", "tanh", "leaky_relu"]
    | tuple[Literal["leaky_relu"], float]
    | tuple[Literal["hardsigmoid"], float, float]
    | tuple[Literal["clip"], float | None, float | None]
)
Padding: TypeAlias = int | Literal["valid", "same", "same_lower"] | Sequence[int] | Sequence[tuple[int, int]]
Layout: TypeAlias = Literal["channels_first", "channels_last", "NCL", "NLC", "NCHW", "NHWC"]
PerAxis: TypeAlias = int | Sequence[int]
# A number as in DLPack, or an object with __cuda_stream__, cuda_stream or ptr.
Stream: TypeAlias = Any
Isa: TypeAlias = Literal["portable", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"]

class _Table(dict[str, Any]):
    def _repr_html_(self) -> str: ...

class DeviceArray:
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    itemsize: int
    device: str
    __cuda_array_interface__: dict[str, Any]
    __array_ufunc__: None
    def __new__(cls) -> DeviceArray: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def T(self) -> DeviceArray: ...
    def numpy(self, stream: Stream | None = None) -> NDArray[Any]: ...
    def copy(self, stream: Stream | None = None) -> DeviceArray: ...
    def to_device(self, device: str, /, *, stream: Stream | None = None) -> DeviceArray | NDArray[Any]: ...
    def astype(self, dtype: DTypeLike, /, *, stream: Stream | None = None) -> DeviceArray: ...
    def transpose(self, *axes: Any) -> DeviceArray: ...
    def reshape(self, *shape: Any) -> DeviceArray: ...
    def __getitem__(self, index: Any) -> DeviceArray: ...
    def __iter__(self) -> Iterator[DeviceArray]: ...
    def __copy__(self) -> DeviceArray: ...
    def __deepcopy__(self, memo: Any) -> DeviceArray: ...
    def __matmul__(self, other: Array | QArray | PackedWeights) -> Any: ...
    def __rmatmul__(self, other: Array | QArray) -> Any: ...
    def __len__(self) -> int: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def _repr_html_(self) -> str: ...

class QArray:
    codes: NDArray[Any] | DeviceArray
    scale: NDArray[np.float32] | DeviceArray | None
    zero_point: NDArray[Any] | DeviceArray | None
    axis: int | None
    def __init__(
        self,
        codes: ArrayLike,
        scale: ArrayLike | None = None,
        zero_point: ArrayLike | None = None,
        axis: int | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def dequantize(self, dtype: DTypeLike = "float32") -> NDArray[Any] | DeviceArray: ...
    def __matmul__(self, other: Array | QArray | PackedWeights) -> Array: ...
    def __rmatmul__(self, other: Array | QArray) -> Array: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...

class PackedWeights:
    op: str
    groups: int
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __matmul__(self, other: Array) -> Array: ...
    def __rmatmul__(self, other: Array | QArray) -> Array: ...
    def __len__(self) -> int: ...
    def _repr_html_(self) -> str: ...

class Plan:
    @property
    def kernel(self) -> str: ...
    @property
    def workspace_bytes(self) -> int: ...
    def prepare(self) -> None: ...
    def explain(self, *, run: tuple[Any, ...] | None = None) -> _Table: ...
    def __call__(self, *operands: Any, out: Array | None = None) -> Array: ...

def matmul(
    a: Array | QArray,
    b: Array | QArray | PackedWeights,
    /,
    *,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    out_scale: ArrayLike | None = None,
    out_zero_point: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def linear(
    x: Array | QArray,
    w: Array | QArray | PackedWeights,
    /,
    bias: Array | None = None,
    *,
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    out_scale: ArrayLike | None = None,
    out_zero_point: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def grouped_matmul(
    a: Array | Sequence[Array],
    b: Array | Sequence[Array | PackedWeights],
    offsets: ArrayLike | None = None,
    /,
    *,
    bias: Array | Sequence[Array | None] | None = None,
    residual: Array | Sequence[Array | None] | None = None,
    activation: Activation | None = None,
    out: Array | Sequence[Array | None] | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    kernel: str | None = None,
) -> Any: ...
def activate(
    x: Array,
    /,
    activation: Activation,
    *,
    out: Array | None = None,
    threads: int | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def conv1d(
    x: Array | QArray,
    w: Array | QArray | PackedWeights,
    /,
    bias: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: Literal["zeros"] = "zeros",
    layout: Layout = "channels_first",
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    out_scale: ArrayLike | None = None,
    out_zero_point: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def conv2d(
    x: Array | QArray,
    w: Array | QArray | PackedWeights,
    /,
    bias: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: Literal["zeros"] = "zeros",
    layout: Layout = "channels_first",
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    out_scale: ArrayLike | None = None,
    out_zero_point: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def conv_transpose1d(
    x: Array,
    w: Array | PackedWeights,
    /,
    bias: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: Layout = "channels_first",
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def conv_transpose2d(
    x: Array,
    w: Array | PackedWeights,
    /,
    bias: Array | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    layout: Layout = "channels_first",
    residual: Array | None = None,
    activation: Activation | None = None,
    out: Array | None = None,
    dtype: DTypeLike | None = None,
    threads: int | None = None,
    reproducible: bool | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> Any: ...
def quantize(
    x: Array,
    dtype: Literal["int8", "uint8"] = "int8",
    /,
    *,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    axis: int | None = None,
    threads: int | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> QArray: ...
def dequantize(
    q: QArray,
    dtype: Literal["float32", "float64"] = "float32",
    /,
    *,
    out: Array | None = None,
    threads: int | None = None,
    kernel: str | None = None,
    device: str | None = None,
    stream: Stream | None = None,
) -> NDArray[Any] | DeviceArray: ...
def pack(
    op: Callable[..., Any],
    w: Array | QArray,
    /,
    *,
    groups: int = 1,
    input_dtype: Literal["int8", "uint8"] = "int8",
) -> PackedWeights: ...
def plan(op: Callable[..., Any], /, *operands: Any, **options: Any) -> Plan: ...
def explain(op: Callable[..., Any], /, *operands: Any, run: bool = False, **options: Any) -> _Table: ...
def to_device(x: Any, /, device: str = "cuda:0", *, stream: Stream | None = None) -> Any: ...
def devices() -> _Table: ...
def empty_cache() -> None: ...
def set_device_allocator(
    alloc: Callable[[int, int, int], int] | None, free: Callable[[int, int, int, int], None] | None, /
) -> None: ...

class stream:
    handle: int
    device: str
    def __new__(cls, s: Stream | None = None, /, *, device: str = "cuda:0") -> stream: ...
    def synchronize(self) -> None: ...
    def __cuda_stream__(self) -> tuple[int, int]: ...
    def __enter__(self) -> stream: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class options:
    threads: int | None
    isa: Isa | None
    reproducible: bool | None
    require_fast: bool | None
    device: str | None
    trust_pointers: bool | None
    providers: str | None
    def __init__(
        self,
        *,
        threads: int | None = None,
        isa: Isa | None = None,
        reproducible: bool | None = None,
        require_fast: bool | None = None,
        device: str | None = None,
        trust_pointers: bool | None = None,
        providers: str | Iterable[str] | None = None,
    ) -> None: ...
    def __enter__(self) -> options: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class meter:
    project: str | None
    def __init__(self, *, project: str | None = None) -> None: ...
    @property
    def figures(self) -> _Table: ...
    def __enter__(self) -> meter: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def __getitem__(self, name: str) -> Any: ...
    def _repr_html_(self) -> str: ...

def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def info() -> _Table: ...
def test(verbose: bool = True) -> bool: ...
def get_include() -> str: ...
def get_library_dir() -> str: ...
