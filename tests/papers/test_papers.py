"""Every example in the papers runs, every table is that of the code, and every file that they name is there."""

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(paper, language):
    return re.findall(r"^```%s\n(.*?)^```" % language, (ROOT / paper).read_text(), re.M | re.S)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_what_a_paper_points_at_exists(paper):
    text = paper.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (paper.parent / link).exists()]
    files = re.findall(r"`((?:src|include|avx2|avx512|tests|tools|docs|bindings|bench|demo|examples)/[\w./-]*)`", text)
    missing += [name for name in files if not (ROOT / name).exists() and not name.startswith("demo/report")]
    assert not missing


def test_the_table_of_kernels_is_that_of_the_code():
    import kernel_table

    text = (ROOT / "README.md").read_text()
    assert text == kernel_table.replaced(text), "run tools/kernel_table.py --write"


def test_the_table_of_worlds_has_the_rows_of_the_code():
    sys.path.insert(0, str(ROOT / "tests" / "worlds"))
    import table

    lines = re.findall(r"^\| (\w+_\w+) \| (\w+) \|(.*)\|$", (ROOT / "docs" / "worlds.md").read_text(), re.M)
    assert [(row, needs) for row, needs, _ in lines] == [(row, bundle.lower()) for row, bundle in table.table_rows()]
    for row, needs, cells in lines:
        proved = [column for column, cell in zip(table.COLUMNS, cells.split(" | ")) if "cases" in cell]
        assert len(proved) >= 2 and "FAILED" not in cells, (row, proved)
        assert needs == "portable" or "own intrinsics" in proved, row


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_python_examples_run(paper):
    for block in blocks(paper, "python"):
        exec(compile(block, str(paper), "exec"), {})


def test_the_c_example_runs(release_build, tmp_path):
    (block,) = blocks("README.md", "c")
    source = tmp_path / "example.c"
    source.write_text(
        "#include <hunze.h>\n#include <stdio.h>\n"
        "int main(void) {\n"
        "float x[] = {1, 2, 3, 4, 5, 6}, w[] = {7, 8, 9, 10, 11, 12}, y[4];\n"
        "hunze_context *context;\nhunze_context_create(NULL, &context);\n%s"
        'printf("%%g %%g %%g %%g\\n", y[0], y[1], y[2], y[3]);\nreturn 0;\n}\n' % block
    )
    program = tmp_path / "example"
    command = ["gcc", "-std=c99", "-Wall", "-Werror", "-I%s" % (ROOT / "include"), source, "-o", program]
    subprocess.run([*command, "-L%s" % release_build, "-lhunze"], check=True)
    env = dict(os.environ, LD_LIBRARY_PATH=str(release_build))
    assert subprocess.run([program], env=env, check=True, capture_output=True, text=True).stdout == "58 64 139 154\n"


def test_the_kernel_of_the_architecture_paper_compiles(tmp_path):
    """As the file that it would be; and its row has functions and a layout that exist."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    (block,) = re.findall(r"^   ```c\n(.*?)^   ```", text, re.M | re.S)
    (name,) = re.findall(r"void (hunze_\w+)\(", block)
    source = tmp_path / (name.removeprefix("hunze_") + ".c")
    source.write_text(block.replace('#include "', '#include "%s/avx2/' % ROOT))
    flags = [
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-mavx2",
        "-mfma",
        "-mf16c",
        "-I%s" % (ROOT / "include"),
    ]
    subprocess.run(["gcc", *flags, "-c", source, "-o", tmp_path / "kernel.o"], check=True)
    symbols = subprocess.run(["nm", tmp_path / "kernel.o"], check=True, capture_output=True, text=True).stdout
    assert " T %s\n" % name in symbols
    (row,) = re.findall(r"HUNZE_GEMM_FLOAT\(.*?\)\n", text, re.S)
    known = (ROOT / "src" / "kernels.def").read_text()
    words = set(re.findall(r"\b(?:hunze_|HUNZE_LAYOUT)\w+|\.\w+(?= =)", row))
    assert words - set(re.findall(r"[.\w]+", known)) == {name}


def test_every_source_has_a_part_in_the_architecture_paper():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    patterns = [pattern.removeprefix("src/") for pattern in re.findall(r"`([\w/*]+\.c)`", text)]
    sources = [path.name for path in (ROOT / "src").glob("*.c")]
    assert not [name for name in sources if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def pairs():
    text = (ROOT / "docs" / "coming-from.md").read_text()
    return re.findall(r"^\| (NumPy|PyTorch|ONNX) \| `(.+?)` \| `(.+?)` \|$", text, re.M)


def operands():
    random = np.random.default_rng(5)
    f32 = {
        "a": (3, 5),
        "b": (5, 4),
        "v": (4, 5),
        "e": (2, 5, 4),
        "bias": (4,),
        "x": (2, 3, 8, 9),
        "k": (4, 3, 3, 3),
        "kt": (3, 4, 2, 2),
    }
    names = {name: random.standard_normal(shape).astype("float32") for name, shape in f32.items()}
    names["q"] = random.integers(0, 256, (3, 5)).astype("uint8")
    names["w8"] = random.integers(-128, 128, (5, 4)).astype("int8")
    names["q4"] = random.integers(0, 256, (2, 3, 8, 9)).astype("uint8")
    names["k8"] = random.integers(-128, 128, (4, 3, 3, 3)).astype("int8")
    names["scale"], names["zero_point"] = np.float32(0.02), np.uint8(128)
    return names


def onnx_operator(operator):
    """A function that runs one ONNX operator in the reference evaluator; the first output."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    def run(*arrays):
        inputs = ["i%d" % i for i in range(len(arrays))]
        outputs = ["o0", "o1", "o2"] if operator == "DynamicQuantizeLinear" else ["o0"]
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), None)
            for name, array in zip(inputs, arrays)
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([helper.make_node(operator, inputs, outputs)], "one", values, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
        return ReferenceEvaluator(model).run(None, {n: np.asarray(a) for n, a in zip(inputs, arrays)})[0]

    return run


def torch_functions():
    """F.linear, F.gelu, F.conv2d and F.conv_transpose2d as PyTorch documents them, written out in float64."""
    from math import erf

    def conv2d(x, k, stride=1, padding=0):
        x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        return np.einsum("nchwrs,ocrs->nohw", windows, k)

    def conv_transpose2d(x, k, stride=1):
        n, _, h, w = x.shape
        y = np.zeros((n, k.shape[1], (h - 1) * stride + k.shape[2], (w - 1) * stride + k.shape[3]))
        for i in range(h):
            for j in range(w):
                rows = slice(i * stride, i * stride + k.shape[2])
                columns = slice(j * stride, j * stride + k.shape[3])
                y[:, :, rows, columns] += np.einsum("nc,cors->nors", x[:, :, i, j], k)
        return y

    class Functions:
        linear = staticmethod(lambda x, w, bias: x @ w.T + bias)
        gelu = staticmethod(lambda x: x / 2 * (1 + np.vectorize(erf)(x / np.sqrt(2))))

    Functions.conv2d, Functions.conv_transpose2d = staticmethod(conv2d), staticmethod(conv_transpose2d)
    return Functions


def test_there_are_twelve_pairs():
    assert len(pairs()) == 12


@pytest.mark.parametrize("origin, left, right", pairs())
def test_both_lines_of_a_pair_give_the_same(origin, left, right):
    import hunze as hz

    names = operands()
    known = {
        name: x.astype("float64") if x.dtype == np.float32 and origin != "ONNX" else x for name, x in names.items()
    }
    known.update(np=np, F=torch_functions())
    for operator in ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger"):
        known[operator] = onnx_operator(operator)
    expected, got = eval(left, known), eval(right, dict(names, hz=hz))
    lists = (got, expected) if isinstance(got, list) else ([got], [expected])
    for one, other in zip(*lists, strict=True):
        assert one.shape == other.shape
        if one.dtype == np.float32:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, other)
