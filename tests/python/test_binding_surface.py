"""The package as its user meets it: signatures, doctests, stubs, import time, size, the command line."""

import ast
import doctest
import inspect
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import hunze as hz
import numpy as np
import pytest

PUBLIC = [name for name in hz.__all__ if not name.startswith("_")]
PACKAGE = Path(hz.__file__).parent


def run(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


def test_all_is_what_there_is():
    named = {name for name in vars(hz) if not name.startswith("_") and not inspect.ismodule(getattr(hz, name))}
    assert named == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_signature_and_docstring(name):
    thing = getattr(hz, name)
    assert inspect.signature(thing)
    assert len(inspect.getdoc(thing)) > 40


@pytest.mark.parametrize("name", [*PUBLIC, None])
def test_doctests(name):
    thing = hz if name is None else getattr(hz, name)
    text = inspect.getdoc(thing)
    test = doctest.DocTestParser().get_doctest(text, {}, str(name), None, None)
    assert test.examples or name == "Plan", f"{name} has no example"
    report = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert results.failed == 0, "".join(report)


def stub_signature(node):
    """Names, kinds and defaults of a stub's function."""
    arguments, kinds = node.args, []
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for index, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        kind = "POSITIONAL_ONLY" if index < len(arguments.posonlyargs) else "POSITIONAL_OR_KEYWORD"
        kinds.append((argument.arg, kind, ast.literal_eval(default) if default is not None else inspect._empty))
    if arguments.vararg:
        kinds.append((arguments.vararg.arg, "VAR_POSITIONAL", inspect._empty))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        kinds.append(
            (argument.arg, "KEYWORD_ONLY", ast.literal_eval(default) if default is not None else inspect._empty)
        )
    if arguments.kwarg:
        kinds.append((arguments.kwarg.arg, "VAR_KEYWORD", inspect._empty))
    return kinds


def real_signature(thing):
    return [(p.name, p.kind.name, p.default) for p in inspect.signature(thing).parameters.values()]


STUB = ast.parse((PACKAGE / "__init__.pyi").read_text())


def test_stub_has_every_public_name():
    defined = {node.name for node in STUB.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert {name for name in defined if not name.startswith("_")} == set(PUBLIC)
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("node", [n for n in STUB.body if isinstance(n, ast.FunctionDef)], ids=lambda n: n.name)
def test_stub_functions_agree(node):
    assert stub_signature(node) == real_signature(getattr(hz, node.name))


@pytest.mark.parametrize("node", [n for n in STUB.body if isinstance(n, ast.ClassDef)], ids=lambda n: n.name)
def test_stub_classes_agree(node):
    if node.name.startswith("_"):
        pytest.skip("not public")
    cls = getattr(hz, node.name)
    for member in node.body:
        if isinstance(member, ast.FunctionDef):
            found = inspect.getattr_static(cls, member.name)
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in member.decorator_list)
            assert isinstance(found, property) == is_property, member.name
            if not is_property and member.name in ("__init__", "__call__", "dequantize", "explain"):
                assert stub_signature(member) == real_signature(found)
        elif isinstance(member, ast.AnnAssign):
            assert hasattr(cls, member.target.id), member.target.id
    written = {m.name for m in node.body if isinstance(m, ast.FunctionDef)}
    written |= {m.target.id for m in node.body if isinstance(m, ast.AnnAssign)}
    assert {name for name in dir(cls) if not name.startswith("_")} <= written


def test_import_is_quick():
    """After NumPy's own import: 50 ms of CPU time, the median of some processes."""
    script = "import numpy, time; t = time.process_time(); import hunze; print(time.process_time() - t)"
    seconds = statistics.median(float(run("-c", script).stdout) for _ in range(5))
    assert seconds < 0.050, f"{1000 * seconds:.1f} ms"


def test_import_brings_little_and_starts_no_thread():
    script = (
        "import sys, numpy; before = set(sys.modules); import hunze, os; "
        "print(len(os.listdir('/proc/self/task')), sorted(set(sys.modules) - before))"
    )
    environment = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
    threads, names = run("-c", script, env=environment).stdout.split(" ", 1)
    assert threads == "1"
    foreign = [name for name in ast.literal_eval(names) if not name.startswith("hunze")]
    assert not {"onnx", "asyncio", "argparse", "multiprocessing"} & set(foreign), foreign


def test_library_is_small_and_self_contained():
    library = Path(hz.get_library_dir()) / "libhunze.so.1"
    sections = subprocess.run(["readelf", "-SW", library], capture_output=True, text=True, check=True).stdout
    found = re.search(r" \.hunze_fatbin +PROGBITS +\w+ +\w+ +(\w+)", sections)
    fatbins = int(found[1], 16) if found else 0  # code of devices, which a CPU never reads
    assert library.stat().st_size - fatbins <= 3_250_000
    assert fatbins <= 4 << 20
    assert bool(fatbins) == ("built without CUDA" not in str(hz.info()["cuda_reason"]))
    assert (Path(hz.get_include()) / "hunze.h").read_text().count("HUNZE_VERSION")
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libhunze.so" in line}
    assert {Path(path).resolve().name for path in loaded} == {library.resolve().name}


def test_limited_api():
    """The module's name says abi3, and nothing outside the stable ABI of 3.11 is imported."""
    from hunze import _hunze

    path = Path(_hunze.__file__)
    assert path.name == "_hunze.abi3.so"
    symbols = subprocess.run(["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
    private = {name for name in names if name.startswith("_Py") and not name.endswith("_SizeT")}
    assert private <= {"_Py_Dealloc", "_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct"}
    assert not {"PyContextVar_Get", "PyErr_SetInterrupt"} & names


def test_info():
    figures = hz.info()
    assert figures["version"] == hz.__version__
    assert "portable" in figures["allowed"]
    assert "numpy" in repr(figures) and figures._repr_html_().startswith("<table>")
    result = run("-m", "hunze", "info", "--json")
    assert json.loads(result.stdout)["version"] == hz.__version__
    assert "version" in run("-m", "hunze", "info").stdout


def test_command_line_errors():
    for arguments in ((), ("nothing",)):
        result = run("-m", "hunze", *arguments)
        assert result.returncode == 2 and "usage" in result.stderr


def test_self_check():
    assert hz.test(verbose=False) is True
    result = run("-m", "hunze", "test")
    assert result.returncode == 0 and "all right" in result.stdout


def test_first_docstring_example_is_numpys_wrap():
    a = np.array([[100, 100]], "int8")
    assert (a @ a.T)[0, 0] == 32
    assert hz.matmul(a, a.T)[0, 0] == 20000
