"""The wheel that `make wheel` left in dist/: one for every CPython from 3.11 on, on every Linux with glibc 2.34."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def wheel():
    wheels = sorted((ROOT / "dist").glob("hunze-*.whl"))
    assert len(wheels) == 1, "make wheel first"
    return wheels[0]


def test_the_wheel_needs_no_newer_glibc_than_2_34(wheel):
    said = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], check=True, capture_output=True, text=True
    ).stdout
    tag = re.search(r'platform tag:\s+"(?:manylinux_2_(\d+)_x86_64|(\w+))"', " ".join(said.split()))
    assert tag and tag.group(1) and int(tag.group(1)) <= 34, said


def test_the_wheel_is_one_for_all_later_pythons_and_carries_the_library_once(wheel):
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    libraries = [name for name in names if ".so" in name]
    assert sorted(libraries) == ["hunze/_hunze.abi3.so", "hunze/lib/libhunze.so.1"]
    assert {"hunze/include/hunze.h", "hunze/py.typed", "hunze/__init__.pyi"} <= set(names)
    assert not [name for name in names if name.endswith((".c", ".o", ".a"))]


def test_the_module_uses_the_limited_api_alone(wheel, tmp_path):
    """Symbols outside the stable ABI start with an underscore, but for the few that CPython lists as part of it."""
    zipfile.ZipFile(wheel).extract("hunze/_hunze.abi3.so", tmp_path)
    said = subprocess.run(
        ["nm", "-D", "--undefined-only", tmp_path / "hunze" / "_hunze.abi3.so"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    private = set(re.findall(r" U (_Py\w+)", said))
    stable = {"_Py_Dealloc", "_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct", "_Py_NotImplementedStruct"}
    stable |= {"_Py_BuildValue_SizeT", "_PyObject_CallFunction_SizeT", "_PyObject_CallMethod_SizeT"}
    stable |= {"_PyArg_ParseTuple_SizeT"}
    stable |= {"_PyArg_ParseTupleAndKeywords_SizeT"}
    assert private <= stable
