"""Results as one HTML page that stands alone."""

import sys
from pathlib import Path

import jinja2
import report_bars
import report_markdown
import report_results
import report_roofline
from markupsafe import Markup
from tqdm import tqdm

BESIDE = Path(__file__).resolve().parent


def page(pairs):
    """HTML of [(result, its history)]."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(BESIDE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters.update(
        {name: getattr(report_results, name) for name in ("number", "short", "seconds", "operations", "size", "joules")}
    )
    template = environment.get_template("report_page.html.jinja")
    style = Markup((BESIDE / "report_page.css").read_text(encoding="utf-8"))
    return template.render(
        style=style, said=report_markdown, results=[content(result, past) for result, past in pairs], refusals=refusals
    )


def content(result, past):
    """What the template needs of one result: the figures as SVG."""
    draw = tqdm(disable=None if sys.stderr.isatty() else True, desc="figures", leave=False, unit="")
    with draw:
        return {
            "result": result,
            "sections": [section(result, threads, draw) for threads in result.threads],
            "past": past_of(past, draw),
            "joules": bool(result.each(lambda one: one.joules is not None)),
        }


def section(result, threads, draw):
    rows = result.rows_of(threads)
    roofs = []
    for family in report_roofline.families(result):
        drawn = report_roofline.roofline(result, family, threads)
        draw.update()
        if drawn:
            roofs.append({"family": family, "svg": Markup(drawn[0]), "wide": drawn[1]})
    bars = []
    order = [library["name"] for library in result.libraries]
    found = report_results.best_ways(rows)
    for library in sorted(found, key=lambda name: order.index(name) if name in order else len(order)):
        bars.append({"library": library, "svg": Markup(report_bars.ratios(library, found[library], threads))})
        draw.update()
    return {"threads": threads, "rows": rows, "roofs": roofs, "bars": bars}


def past_of(past, draw):
    """The rows' small figures; none where there is only one result."""
    results = {id(result): result for points in past.values() for result, _ in points}
    order = sorted(results.values(), key=lambda result: result.when)
    places = {id(result): place for place, result in enumerate(order)}
    counts = sorted({threads for *_, threads in past})
    figures = []
    if len(order) > 1:
        rows = {}  # one figure for all numbers of threads
        for (*row, threads), points in past.items():
            rows.setdefault(tuple(row), {})[threads] = [(places[id(one)], interval) for one, interval in points]
        for row, series in rows.items():
            figures.append({"row": row, "svg": Markup(report_bars.past(series, counts, len(order)))})
            draw.update()
    return {"results": order, "figures": figures, "styles": report_bars.styles(counts)}


def refusals(explain):
    """(why, the kernels that were refused for it), in the plan's order."""
    found = {}
    for one in explain.get("refused") or []:
        found.setdefault(one["why"], []).append(one["kernel"])
    return found.items()
