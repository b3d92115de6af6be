"""What is no product: every name is there, and leads to the function of that name in another BLAS."""

import re
import sys

from blas_library import DOORS, FORWARDS, REFERENCE, run

ERRORS = {"xerbla_", "cblas_xerbla", "RowMajorStrg", "CBLAS_CallFromC"}
DOT = """
import ctypes, sys
blas = ctypes.CDLL(sys.argv[1])
three = (ctypes.c_double * 3)(1, 2, 3)
def dot():
    blas.cblas_ddot.restype = ctypes.c_double
    return blas.cblas_ddot(3, three, 1, three, 1)
def opened():
    return sorted({line.split()[-1] for line in open("/proc/self/maps") if "/libblas" in line})
"""


def symbols(library):
    return set(re.findall(r" [A-Z] (\S+)$", run("nm", "-D", "--defined-only", library).stdout, re.M))


def test_the_library_exports_blas_and_nothing_else(library):
    assert symbols(library) == set(DOORS) | set(FORWARDS) | ERRORS
    assert len(DOORS) == 16 and FORWARDS == sorted(set(FORWARDS))


def test_every_name_of_the_reference_is_there(library):
    assert symbols(REFERENCE) <= symbols(library)


def test_errors_go_through_the_dynamic_linker(library):
    """So that a program's own xerbla_ and RowMajorStrg are used."""
    relocations = run("readelf", "--relocs", "--wide", library).stdout
    bound = set(re.findall(r" (\w+) \+ 0$", relocations, re.M))
    assert {"xerbla_", "cblas_xerbla", "RowMajorStrg", "CBLAS_CallFromC"} <= bound
    assert not bound & (set(FORWARDS) | set(DOORS))


def test_one_file_is_enough_and_stays_loaded(library):
    dynamic = run("readelf", "-d", library).stdout
    assert "[libhunze_blas.so]" in dynamic and "NODELETE" in dynamic
    assert set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", dynamic)) <= {
        "libc",
        "libm",
        "libpthread",
        "libdl",
        "ld-linux-x86-64",
    }
    assert library.stat().st_size <= 3_300_000


def test_the_backing_library_is_opened_when_it_is_needed(library):
    script = """
one, f = (ctypes.c_float * 1)(5), ctypes.c_float
blas.cblas_sgemm(101, 111, 111, 1, 1, 1, f(1), one, 1, one, 1, f(0), one, 1)
print(one[0], opened(), dot(), opened())
"""
    done = run(sys.executable, "-c", DOT + script, library, env={"HUNZE_BLAS_BACKING": str(REFERENCE)})
    assert done.stdout == "25.0 [] 14.0 ['%s']\n" % REFERENCE.resolve(), done.stderr


def test_the_next_blas_of_the_program_is_taken(library, tmp_path):
    """Where nothing else is said and the library was loaded before it: here a copy that no list knows."""
    other = tmp_path / "libblas.so.3"
    other.write_bytes(REFERENCE.read_bytes())
    script = "ctypes.CDLL(sys.argv[2], ctypes.RTLD_GLOBAL)\nprint(dot(), opened())"
    env = {"LD_PRELOAD": str(library), "HUNZE_BLAS_BACKING": ""}
    done = run(sys.executable, "-c", DOT + script, library, other, env=env)
    assert done.stdout == "14.0 ['%s']\n" % other, done.stderr


def refuses(library, env):
    done = run(sys.executable, "-c", DOT + "dot()", library, env=env)
    assert (done.returncode, done.stdout) == (127, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("libhunze_blas.so: cblas_ddot: ")
    return line


def test_a_backing_library_that_cannot_be_is_named(library, alternative, tmp_path):
    own = alternative["LD_LIBRARY_PATH"] + "/libblas.so.3"
    no_blas = next(line.split()[-1] for line in open("/proc/self/maps") if "/libm.so.6" in line)
    assert refuses(library, {"HUNZE_BLAS_BACKING": own}).endswith(own + " is this library itself")
    assert refuses(library, {"HUNZE_BLAS_BACKING": no_blas}).endswith(no_blas + " is no BLAS")
    assert refuses(library, {"HUNZE_BLAS_BACKING": "libblas.so.3"}).endswith("no absolute path")
    assert "/nowhere/libblas.so.3" in refuses(library, {"HUNZE_BLAS_BACKING": "/nowhere/libblas.so.3"})


def test_a_function_that_the_backing_library_lacks_is_named(library, tmp_path):
    small = tmp_path / "small.so"
    run("gcc", "-shared", "-x", "c", "-", "-o", small, input="void daxpy_(void) {}")
    assert refuses(library, {"HUNZE_BLAS_BACKING": str(small)}).endswith("the BLAS behind it has no such function")


ANY_BLAS = """
#define ARGUMENTS(i, d) long i##0, long i##1, long i##2, long i##3, long i##4, long i##5, long i##6, long i##7, \\
    double d##0, double d##1, double d##2, double d##3, double d##4, double d##5, double d##6, double d##7, double d##8
double cblas_ddot(ARGUMENTS(i, d))
{
    return i0 + 10 * i1 + 100 * i2 + 1e3 * i3 + 1e4 * i4 + 1e5 * i5 + 1e6 * i6 + 1e7 * i7 +
           1e8 * (d0 + 10 * d1 + 100 * d2 + 1e3 * d3 + 1e4 * d4 + 1e5 * d5 + 1e6 * d6) + d7 / 16 + d8 / 32;
}
double (*volatile any)(ARGUMENTS(i, d)) = cblas_ddot;
__attribute__((constructor)) static void change_registers(void)
{
    any(9, 9, 9, 9, 9, 9, 9, 9, 99, 99, 99, 99, 99, 99, 99, 99, 99);
}
void daxpy_(void) {}
"""


def test_the_first_call_passes_every_argument_on(library, tmp_path):
    """In registers and on the stack, though the library that is opened meanwhile uses the same registers."""
    backing = tmp_path / "any.so"
    built = run("gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", backing, input=ANY_BLAS)
    assert built.returncode == 0, built.stderr
    script = """
import ctypes, sys
ddot = ctypes.CDLL(sys.argv[1]).cblas_ddot
ddot.restype, ddot.argtypes = ctypes.c_double, [ctypes.c_long] * 8 + [ctypes.c_double] * 9
for _ in range(2):
    print(ddot(1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8) == 765432187654321.75)
"""
    done = run(sys.executable, "-c", script, library, env={"HUNZE_BLAS_BACKING": str(backing)})
    assert done.stdout == "True\nTrue\n"
