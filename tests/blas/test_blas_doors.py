"""The sixteen names of sgemm and dgemm: values, errors, threads, fork, memory that overlaps."""

import ctypes
import re
import sys
import threading

import numpy as np
import pytest
from blas_library import DOORS, REFERENCE, run

ROWS, COLUMNS = 101, 102
TRANSPOSE = {"N": 111, "T": 112, "C": 113}


class Door:
    """One name, called as from C: rows or columns, transposes as letters, matrices as arrays."""

    def __init__(self, library, name):
        self.fortran = "cblas" not in name
        self.function = getattr(library, name)
        self.function.restype = None
        self.integer = ctypes.c_int64 if "64" in name else ctypes.c_int32
        letter = re.search(r"([sd])gemm", name)[1]
        self.real, self.dtype = (ctypes.c_double, np.float64) if letter == "d" else (ctypes.c_float, np.float32)
        self.orders = [COLUMNS] if self.fortran else [ROWS, COLUMNS]
        self.routine = "%sGEMM" % letter.upper() if self.fortran else "cblas_%sgemm" % letter

    def __call__(self, order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        i, r, p = self.integer, self.real, lambda array: ctypes.c_void_p(array.ctypes.data)
        if self.fortran:
            assert order == COLUMNS
            by = ctypes.byref
            self.function(
                ta.encode(),
                tb.encode(),
                by(i(m)),
                by(i(n)),
                by(i(k)),
                by(r(alpha)),
                p(a),
                by(i(lda)),
                p(b),
                by(i(ldb)),
                by(r(beta)),
                p(c),
                by(i(ldc)),
                ctypes.c_size_t(1),
                ctypes.c_size_t(1),
            )
        else:
            self.function(
                order,
                TRANSPOSE.get(ta.upper(), 0),
                TRANSPOSE.get(tb.upper(), 0),
                i(m),
                i(n),
                i(k),
                r(alpha),
                p(a),
                i(lda),
                p(b),
                i(ldb),
                r(beta),
                p(c),
                i(ldc),
            )


@pytest.fixture(params=DOORS)
def door(request, loaded):
    return Door(loaded, request.param)


def stored(values, order, gap, poison):
    """A matrix in memory, `gap` elements behind each line of it: the array, leading dimension, view of the matrix."""
    lines = values if order == ROWS else values.T
    memory = np.full((lines.shape[0], max(lines.shape[1], 1) + gap), poison, values.dtype)
    view = memory[:, : lines.shape[1]]
    view[...] = lines
    return memory, memory.shape[1], view if order == ROWS else view.T


def small_integers(rng, *shape):
    return rng.integers(-4, 5, shape).astype(float)


@pytest.mark.parametrize("ta", "NTc")
@pytest.mark.parametrize("tb", "ntC")
def test_products_of_integers_are_exact(door, ta, tb):
    rng = np.random.default_rng(5)
    for order in door.orders:
        for alpha, beta in ((1, 0), (-2, 0), (1, 1), (3, -2), (0, 2), (0, 0)):
            m, n, k = (int(size) for size in rng.choice([1, 2, 5, 17, 33], 3))
            k = k if alpha != 3 else 0
            a, b, c = (small_integers(rng, *shape).astype(door.dtype) for shape in ((m, k), (k, n), (m, n)))
            want = alpha * (a @ b) + beta * c
            if alpha == 0:
                a[...] = b[...] = np.nan  # not read
            if beta == 0:
                c[...] = np.nan
            memory_a, lda, _ = stored(a if ta in "Nn" else a.T, order, 3, np.nan)
            memory_b, ldb, _ = stored(b if tb in "Nn" else b.T, order, 0, np.nan)
            memory_c, ldc, view = stored(c, order, 2, 77)
            door(order, ta, tb, m, n, k, alpha, memory_a, lda, memory_b, ldb, beta, memory_c, ldc)
            assert np.array_equal(view, want), (order, alpha, beta, m, n, k)
            assert (memory_c[:, ldc - 2 :] == 77).all()


def test_nothing_is_done_where_there_is_nothing_to_do(door):
    for m, n, k, alpha, beta in ((0, 2, 2, 1, 0), (2, 0, 2, 1, 0), (2, 2, 0, 1, 1), (2, 2, 2, 0, 1)):
        c = np.array([[np.nan, -0.0], [1, np.inf]], door.dtype)
        before = c.tobytes()
        door(COLUMNS, "N", "N", m, n, k, alpha, c, 2, c, 2, beta, c, 2)
        assert c.tobytes() == before


def test_integers_of_64_bits_are_read_whole(loaded):
    for name in (name for name in DOORS if "64" in name):
        door = Door(loaded, name)
        c = np.zeros(3, door.dtype)
        door(COLUMNS, "N", "N", 3, 1, 1, 2, np.arange(3, dtype=door.dtype), 2**32, c[:1] + 5, 2**33, 0, c, 2**32)
        assert c.tolist() == [0, 10, 20], name


# For rows and columns: what is wrong, and which number the C function and the Fortran one give it.
WRONG = [
    ({"ta": "X"}, 2, 1),
    ({"tb": "X"}, 3, 2),
    ({"m": -1}, 4, 3),
    ({"n": -1}, 5, 4),
    ({"k": -1}, 6, 5),
    ({"lda": 4}, 9, 8),
    ({"ldb": 4}, 11, 10),
    ({"ldc": 4}, 14, 13),
    ({"k": 0, "lda": 0}, 9, 8),
    ({"k": 0, "n": 0, "ldb": 0}, 11, 10),
    ({"m": 0, "n": 0, "ldc": 0}, 14, 13),
]


@pytest.mark.parametrize("wrong, number, fortran", WRONG, ids=[str(wrong) for wrong, _, _ in WRONG])
def test_an_argument_that_is_wrong_is_named_and_nothing_written(door, wrong, number, fortran, capfd):
    for order in door.orders:
        for transpose in "NT":
            a, b, c = np.ones((5, 5), door.dtype), np.ones((5, 5), door.dtype), np.full((5, 5), np.nan, door.dtype)
            before = c.tobytes()
            arguments = {"order": order, "ta": transpose, "tb": transpose, "m": 5, "n": 5, "k": 5, "alpha": 1, "a": a,
                         "lda": 5, "b": b, "ldb": 5, "beta": 0, "c": c, "ldc": 5}  # fmt: skip
            door(**{**arguments, **wrong})
            said = capfd.readouterr().err
            expected = "Parameter %d to routine %s was incorrect\n" % (
                fortran if door.fortran else number,
                door.routine,
            )
            assert said.startswith(expected)
            assert len(said.splitlines()) == (2 if "X" in wrong.values() and not door.fortran else 1)
            assert c.tobytes() == before


def test_an_unknown_order_is_named(loaded, capfd):
    for name in ("cblas_sgemm", "scipy_cblas_dgemm64_"):
        door = Door(loaded, name)
        one = np.ones(1, door.dtype)
        door(103, "N", "N", 1, 1, 1, 1, one, 1, one, 1, 5, one, 1)
        assert capfd.readouterr().err == (
            "Parameter 1 to routine %s was incorrect\nIllegal layout setting, 103\n" % door.routine
        )
        assert one[0] == 1


def test_numbers_of_arguments_by_rows_are_those_of_the_reference(loaded, capfd):
    """cblas_xerbla of the reference ends the process, so each of its calls is a child."""
    names = "sgemm csymm zhemm dtrmm strsm dgemv cgbmv sger zgerc cher2 zhpr2 cher2k cherk dsyr2 dtbsv ssyrk"
    routines = ["cblas_" + name for name in names.split()]
    script = """
import ctypes, os, sys
blas = ctypes.CDLL(sys.argv[1])
ctypes.c_int.in_dll(blas, "RowMajorStrg").value = 1
for routine in sys.argv[2:]:
    for number in range(1, 15):
        if not os.fork():
            blas.cblas_xerbla(number, routine.encode(), b"")
        os.wait()
"""
    reference = run(sys.executable, "-c", script, REFERENCE, *routines).stderr
    order = ctypes.c_int.in_dll(loaded, "RowMajorStrg")
    order.value = 1
    for routine in routines:
        for number in range(1, 15):
            loaded.cblas_xerbla(number, routine.encode(), b"")
    order.value = 0
    assert capfd.readouterr().err == reference
    assert len(reference.splitlines()) == len(routines) * 14


def test_c_may_be_what_is_multiplied(door):
    """BLAS leaves open what then happens; where every element is read before it is written, it is the product."""
    a = np.arange(1, 6, dtype=door.dtype)
    door(COLUMNS, "N", "N", 5, 1, 1, 2, a, 5, np.full(1, 10, door.dtype), 1, 1, a, 5)
    assert a.tolist() == [21, 42, 63, 84, 105]


def test_many_threads_at_once(loaded):
    doors = [Door(loaded, each) for each in DOORS]
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            door = doors[rng.integers(len(doors))]
            m, n, k = (int(size) for size in rng.integers(1, 90, 3))
            a, b = small_integers(rng, k, m).astype(door.dtype), small_integers(rng, n, k).astype(door.dtype)
            c = np.empty((n, m), door.dtype)
            door(COLUMNS, "N", "N", m, n, k, 1, a, m, b, k, 0, c, m)
            if not np.array_equal(c, b @ a):
                wrong.append((seed, door.routine, m, n, k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


MULTIPLY = """
import ctypes, os, sys
blas = ctypes.CDLL(sys.argv[1])
size, one, zero = ctypes.c_int(500), ctypes.c_double(1), ctypes.c_double(0)
a = (ctypes.c_double * 500**2)(*(i % 7 for i in range(500**2)))
def product():
    c = (ctypes.c_double * 500**2)()
    at = ctypes.byref
    blas.dgemm_(b"N", b"T", at(size), at(size), at(size), at(one), a, at(size), a, at(size), at(zero), c, at(size))
    return bytes(c)
"""


@pytest.mark.parametrize(
    "variables, threads",
    [
        ({"HUNZE_NUM_THREADS": "1"}, 1),
        ({"HUNZE_NUM_THREADS": "2"}, 2),
        ({"HUNZE_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
        ({"HUNZE_NUM_THREADS": "", "OMP_NUM_THREADS": "1"}, 1),
        ({"HUNZE_NUM_THREADS": "", "OMP_NUM_THREADS": "2,1"}, 2),
    ],
    ids=str,
)
def test_variables_say_how_many_threads(library, variables, threads):
    script = MULTIPLY + "product(); print(len(os.listdir('/proc/self/task')))"
    assert run(sys.executable, "-c", script, library, env=variables).stdout == "%d\n" % threads


def test_a_variable_that_is_wrong_is_not_read(library):
    script = MULTIPLY + "print(product()[:8].hex(), product()[-8:].hex())"
    wrong = {"HUNZE_NUM_THREADS": "many", "HUNZE_ISA": "abacus"}
    right = run(sys.executable, "-c", script, library)
    done = run(sys.executable, "-c", script, library, env=wrong)
    assert (done.returncode, done.stdout, done.stderr) == (0, right.stdout, "")


def test_a_child_after_fork_multiplies(library):
    script = (
        MULTIPLY
        + """
before = product()
child = os.fork()
if not child:
    os._exit(0 if product() == before else 1)
print(os.waitpid(child, 0)[1], product() == before)
"""
    )
    assert run(sys.executable, "-c", script, library, env={"HUNZE_NUM_THREADS": "2"}).stdout == "0 True\n"
