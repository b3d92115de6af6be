"""Operands: what is taken, what is refused and in what words, and that a refused call leaves out= alone."""

import array

import hunze as hz
import ml_dtypes
import numpy as np
import pytest
from binding_cases import Exporter

A = np.arange(12, dtype="float32").reshape(3, 4)
B = np.arange(20, dtype="float32").reshape(4, 5)
C = A @ B


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("offset", [0, 8])
def test_dlpack_exporters(versioned, offset):
    a, b = Exporter(A, versioned, offset=offset), Exporter(B, versioned)
    got = hz.matmul(a, b)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, C)
    assert (a.deleted, b.deleted) == (1, 1)


def test_dlpack_without_strides_is_row_major():
    np.testing.assert_array_equal(hz.matmul(Exporter(A, row_major=True), B), C)


def test_dlpack_strides_and_views():
    np.testing.assert_array_equal(hz.matmul(Exporter(A.T.copy().T), Exporter(B[:, ::2])), A @ B[:, ::2])


def test_dlpack_as_out():
    out = np.zeros((3, 5), "float32")
    exporter = Exporter(out)
    assert hz.matmul(A, B, out=exporter) is exporter
    np.testing.assert_array_equal(out, C)
    assert exporter.deleted == 1


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: Exporter(A, read_only=True), ValueError, "read-only"),
        (lambda: Exporter(A, device=(10, 0)), ValueError, "copy it to the CPU"),
        (lambda: Exporter(A, major=2), BufferError, r"DLPack 2\.0"),
        (lambda: Exporter(A, lanes=4), TypeError, "4 lanes"),
    ],
)
def test_dlpack_refused(make, kind, words):
    exporter = make()
    before = A.copy()
    with pytest.raises(kind, match=words):
        if "read-only" in words:
            hz.matmul(np.ones((3, 4), "float32"), np.ones((4, 4), "float32"), out=exporter)
        else:
            hz.matmul(exporter, B)
    np.testing.assert_array_equal(A, before)


def test_a_refused_capsule_is_given_back():
    exporter = Exporter(A, lanes=4)
    with pytest.raises(TypeError):
        hz.matmul(exporter, B)
    assert exporter.deleted == 1


def test_read_only_inputs_are_fine():
    a = A.copy()
    a.flags.writeable = False
    np.testing.assert_array_equal(hz.matmul(a, Exporter(B, read_only=True)), C)


@pytest.mark.parametrize("wrap", [memoryview, lambda x: x.tolist(), lambda x: [list(row) for row in x]])
def test_buffers_and_lists(wrap):
    a, b = wrap(A.astype("float64")), wrap(B.astype("float64"))
    got = hz.matmul(a, b)
    assert type(got) is np.ndarray
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, C)


def test_array_module_and_writable_buffer_as_out():
    row = array.array("f", [1, 2, 3, 4])
    np.testing.assert_array_equal(hz.matmul(row, B), np.array([1, 2, 3, 4], "float32") @ B)
    out = array.array("f", [0] * 5)
    assert hz.matmul(row, B, out=out) is out
    np.testing.assert_array_equal(out, np.array([1, 2, 3, 4], "float32") @ B)


def test_views_of_records_and_unaligned_memory():
    records = np.zeros(3, [("flag", "i1"), ("row", "f4", (4,))])
    records["row"] = A
    np.testing.assert_array_equal(hz.matmul(records["row"], B), C)
    raw = np.frombuffer(b"\0" + A.tobytes(), "u1")[1:].view("f4").reshape(3, 4)
    np.testing.assert_array_equal(hz.matmul(raw, B), C)
    with pytest.raises(ValueError, match="not aligned"):
        hz.matmul(A, np.ones((4, 4), "float32"), out=records["row"])


def test_strides_negative_zero_and_transposed():
    np.testing.assert_array_equal(hz.matmul(A[::-1, ::-1], B[::-1]), A[::-1, ::-1] @ B[::-1])
    np.testing.assert_array_equal(hz.matmul(np.broadcast_to(A[0], (7, 4)), B), np.broadcast_to(A[0], (7, 4)) @ B)
    np.testing.assert_array_equal(hz.matmul(B.T, A.T), C.T)
    wide = np.full((6, 10), np.nan, "float32")
    hz.matmul(A, B, out=wide[::2, ::2])
    np.testing.assert_array_equal(wide[::2, ::2], C)
    assert np.isnan(wide[1::2]).all() and np.isnan(wide[:, 1::2]).all()


def test_memmap_is_an_ndarray(tmp_path):
    mapped = np.memmap(tmp_path / "a", "float32", "w+", shape=(3, 4))
    mapped[:] = A
    assert type(hz.matmul(mapped, B)) is np.ndarray


class Sparse:
    __module__ = "scipy.sparse._csr"


class Gradient(Exporter):
    requires_grad = True


@pytest.mark.parametrize(
    ("operand", "words"),
    [
        (A.astype(">f4"), r"b\.astype\('float32'\)"),
        (A.astype("int32"), r"b is int32 beside a, which is float32: use b\.astype\('float32'\)"),
        (A.astype("complex64"), r"b is complex64"),
        (A.astype(object), r"object.*b\.astype\('float32'\)"),
        (A.astype(ml_dtypes.float8_e4m3fn), r"float8_e4m3fn.*b\.astype\('float32'\)"),
        (A.astype("int16"), r"b is int16 beside a, which is float32: use b\.astype\('float32'\)"),
        (np.ma.masked_array(A, A > 3), r"b\.filled"),
        (Sparse(), r"b\.toarray\(\)"),
        (Gradient(A), r"b\.detach\(\)"),
        (None, r"b \(a <class 'NoneType'>\)"),
        (["x"], r"b has the dtype <U1"),
        (hz.QArray(np.ones((4, 5), "int8"), 1.0), r"QArray.*dequantize"),
    ],
)
def test_refused_dtypes_and_kinds(operand, words):
    out = np.full((3, 5), 7, "float32")
    with pytest.raises(TypeError, match=words):
        hz.matmul(A, operand.T if type(operand) is np.ndarray else operand, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda out: hz.matmul(A, np.ones((5, 6), "f"), out=out),
            ValueError,
            r"b has shape \(5, 6\); a \(3, 4\) needs b \(4, n\)",
        ),
        (
            lambda out: hz.linear(A, np.ones((6, 5), "f"), out=out),
            ValueError,
            r"w has shape \(6, 5\); x \(3, 4\) needs w \(n, 4\)",
        ),
        (
            lambda out: hz.matmul(np.ones((2, 3, 4), "f"), np.ones((3, 4, 5), "f"), out=out),
            ValueError,
            "do not broadcast",
        ),
        (lambda out: hz.matmul(A, np.float32(3), out=out), ValueError, "b has no axes"),
        (
            lambda out: hz.matmul(A, B[:, :4], out=out),
            ValueError,
            r"out has shape \(3, 5\); the result has shape \(3, 4\)",
        ),
        (lambda out: hz.matmul(A.astype("d"), B, out=out), TypeError, r"out is float32; the result is float64"),
        (
            lambda out: hz.matmul(A, B, bias=np.ones(5), out=out),
            TypeError,
            r"bias is float64.*bias\.astype\('float32'\)",
        ),
        (lambda out: hz.matmul(A, B, bias=np.ones(4, "f"), out=out), ValueError, "bias"),
        (lambda out: hz.matmul(A, B, residual=np.ones((2, 5), "f"), out=out), ValueError, "residual"),
        (lambda out: hz.matmul(A, B, activation="rleu", out=out), ValueError, r"'rleu'.*'relu', 'relu6', 'gelu'"),
        (lambda out: hz.matmul(A, B, activation=("clip", 1), out=out), ValueError, "'clip' takes 2 numbers"),
        (lambda out: hz.matmul(A, B, threads=0, out=out), ValueError, "threads=0"),
        (lambda out: hz.matmul(A, B, threads=1.5, out=out), TypeError, "threads=1.5"),
        (lambda out: hz.matmul(A, B, reproducible=1, out=out), TypeError, "reproducible=1"),
        (lambda out: hz.matmul(A, B, kernel="gemm_f99", out=out), Exception, "gemm_f99"),
        (lambda out: hz.matmul(A, B, dtype="int32", out=out), TypeError, "dtype=int32"),
        (lambda out: hz.matmul(A, B, bais=1, out=out), TypeError, "unexpected keyword argument 'bais'"),
        (lambda out: hz.matmul(A, out=out), TypeError, "2 positional arguments but 1"),
        (lambda out: hz.matmul(A, B, out_scale=0.5, out=out), TypeError, "QArrays"),
        (lambda out: hz.matmul(out[:, :4], B, out=out), ValueError, r"d overlaps a.*\(d is out; HUNZE_ERR_ALIAS\)"),
    ],
)
def test_errors_leave_out_alone(call, kind, words):
    out = np.arange(15, dtype="float32").reshape(3, 5)
    before = out.copy()
    with pytest.raises(kind, match=words):
        call(out)
    np.testing.assert_array_equal(out, before)


def test_out_must_be_writable_memory():
    frozen = np.zeros((3, 5), "float32")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        hz.matmul(A, B, out=frozen)
    with pytest.raises(ValueError, match="out is read-only"):
        hz.matmul(np.ones(4, "B"), np.ones((4, 8), "b"), out=memoryview(bytes(32)).cast("i"))
    with pytest.raises(TypeError, match="it must be an array"):
        hz.matmul(A, B, out=[[0.0] * 5] * 3)


def test_libraries_do_not_mix():
    class Other(Exporter):
        def __array_namespace__(self, api_version=None):
            class space:
                from_dlpack = staticmethod(lambda x: ("other", x))

            return space

    kind, got = hz.matmul(Other(A), [[1.0], [0.0], [0.0], [0.0]], dtype="float32")
    assert kind == "other"
    np.testing.assert_array_equal(got, A[:, :1])
    with pytest.raises(TypeError, match="different libraries"):
        hz.matmul(Other(A), B)


def test_float_promotion():
    assert hz.matmul(A, B.astype("float64")).dtype == "float64"
    assert hz.matmul(A, B, dtype="float64").dtype == "float64"
    assert hz.matmul(A.astype("d"), B.astype("d"), dtype=np.float32).dtype == "float32"
    np.testing.assert_array_equal(hz.matmul(A.astype("d"), B.astype("d"), bias=np.ones(5, "f")), C + 1)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    a, b = torch.arange(12.0).reshape(3, 4), torch.arange(20.0).reshape(4, 5)
    got = hz.matmul(a, b)
    assert isinstance(got, torch.Tensor) and torch.equal(got, a @ b)
    with pytest.raises(TypeError, match=r"a\.detach\(\)"):
        hz.matmul(a.requires_grad_(), b)
