"""Small pieces of HTML and SVG, and the style sheet of the report."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b2430;--soft:#5a6675;--line:#d8dee6;--wash:#f4f6f9;
  --river:#0b6e8f;--reed:#5b7f2a;--clay:#b4532a;--stone:#8b97a6;--slate:#5d6a79;--bad:#a3161f;--badwash:#fbe3e4;
  --good:#2c6e2f}
@media (prefers-color-scheme:dark){:root{--paper:#11161c;--ink:#e3e9f0;--soft:#9aa7b5;--line:#2c3641;--wash:#19212a;
  --river:#4fb3d3;--reed:#9cc46a;--clay:#e08a5f;--stone:#8592a0;--slate:#5b6773;--bad:#ff9aa0;--badwash:#45181c;
  --good:#8fd08f}}*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:64rem;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:2rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.3rem;margin:3rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h2 b{color:var(--river);font-weight:600;margin-right:.4rem}h3{font-size:1rem;margin:1.5rem 0 .5rem}
p{margin:.5rem 0;max-width:46rem}.soft{color:var(--soft)}.small{font-size:.875rem}
.facts{display:flex;flex-wrap:wrap;gap:.25rem 2rem;margin:1rem 0;padding:0;list-style:none}
.facts li{font-size:.9rem}.facts b{font-weight:600}
.notice{border-left:4px solid var(--clay);background:var(--wash);padding:.6rem 1rem;margin:1rem 0}
.big{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0;padding:0;list-style:none}
.big li{flex:1 1 11rem;background:var(--wash);border-radius:.5rem;padding:.75rem 1rem}
.big b{display:block;font-size:1.4rem;line-height:1.4;white-space:nowrap;font-variant-numeric:tabular-nums}
.big span{color:var(--soft);font-size:.875rem}figure{margin:1rem 0}
figcaption{color:var(--soft);font-size:.875rem;margin-top:.4rem}svg{max-width:100%;height:auto;display:block}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.8rem}td.n,th.n{text-align:right;white-space:nowrap}
details table{font-size:.8rem;line-height:1.35}details td:nth-child(4){min-width:15rem}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.85em}
pre{background:var(--wash);padding:.75rem 1rem;overflow-x:auto;border-radius:.5rem;font-size:.85rem;
  white-space:pre-wrap}
.text{border:1px solid var(--line);border-radius:.5rem;margin:.75rem 0;overflow:hidden;break-inside:avoid}
.text>div{padding:.5rem .75rem;background:#fff}.text img{display:block;max-width:100%;height:2rem}
.text td{padding:.25rem .75rem;border-bottom:none}.text tr+tr td{border-top:1px solid var(--line)}
.text td:first-child{width:9rem;white-space:nowrap;color:var(--soft);font-size:.8rem}.text td.n{width:4.5rem}
.text .mono{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.875rem}
mark{background:var(--badwash);color:var(--bad);border-radius:2px;text-decoration:none}
mark.missing{border-bottom:2px solid var(--bad)}.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}
details{margin:.75rem 0}summary{cursor:pointer;padding:.3rem 0;font-weight:600}
.key{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;font-size:.85rem;margin:.5rem 0}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.35rem;vertical-align:-1px}
@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--wash:#f4f4f4;--river:#0b6e8f;--reed:#5b7f2a;
  --clay:#b4532a;--stone:#8b97a6;--slate:#5d6a79;--bad:#a3161f;--badwash:#fbe3e4;--good:#2c6e2f}
main{max-width:none;padding:0}body{font-size:11pt}h2{break-after:avoid}tr,figure{break-inside:avoid}
.scroll{overflow:visible}details td:nth-child(4){min-width:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def table(columns, rows, numeric=(), wide=True) -> str:
    """A table; cells are HTML, columns are text.  `numeric` are the columns that are set right."""

    def cell(tag, index, content):
        return f'<{tag} class="n">{content}</{tag}>' if index in numeric else f"<{tag}>{content}</{tag}>"

    head = "".join(cell("th", i, escape(name)) for i, name in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(cell("td", i, content) for i, content in enumerate(row)) + "</tr>\n" for row in rows
    )
    result = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    return f'<div class="scroll">{result}</div>' if wide else result


def big(figures) -> str:
    """Large figures, each with what it says: (figure, words)."""
    return (
        '<ul class="big">'
        + "".join(f"<li><b>{escape(b)}</b><span>{escape(words)}</span></li>" for b, words in figures)
        + "</ul>"
    )


def picture_data(picture, longest=1600) -> str:
    """A picture as a data URI: PNG if it is small, else JPEG."""
    picture = picture.copy()
    picture.thumbnail((longest, longest))
    file, form = io.BytesIO(), "png" if picture.width * picture.height < 250_000 else "jpeg"
    if form == "png" and np.ptp(np.asarray(picture), axis=2).max(initial=0) == 0:
        picture = picture.convert("L")
    picture.save(file, form.upper(), **({"quality": 85} if form == "jpeg" else {"optimize": True}))
    return f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"


def page_figure(picture, boxes) -> str:
    """The page with a numbered outline around each line."""
    width, height = picture.size
    unit = max(width, height) / 500
    shapes = []
    for number, box in enumerate(boxes, 1):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in box.corners)
        x, y = box.corners[1]
        shapes.append(
            f'<polygon points="{points}" fill="#0b6e8f" fill-opacity=".10" stroke="#0b6e8f" '
            f'stroke-width="{unit * 0.8:.2f}"/>'
        )
        shapes.append(
            f'<circle cx="{min(x, width - 4 * unit):.1f}" cy="{y:.1f}" r="{5.5 * unit:.1f}" fill="#0b6e8f"/><text '
            f'x="{min(x, width - 4 * unit):.1f}" '
            f'y="{y + 2.6 * unit:.1f}" font-size="{7.5 * unit:.1f}" text-anchor="middle" fill="#fff" '
            f'font-family="system-ui,sans-serif">{number}</text>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{max(width, min(2 * width, 960))}" role="img" aria-label="the '
        f'page with {len(boxes)} lines marked">'
        f'<image href="{picture_data(picture)}" width="{width}" height="{height}"/>{"".join(shapes)}</svg>'
    )


def bars(rows, unit="ms") -> str:
    """Stacked horizontal bars: rows of (label, [(value, colour, what)])."""
    longest = max((sum(value for value, *_ in parts) for _, parts in rows), default=0) or 1
    left, room, step = 300, 560, 30
    shapes = []
    for index, (label, parts) in enumerate(rows):
        y, x = index * step, float(left)
        shapes.append(f'<text x="{left - 10}" y="{y + 19}" text-anchor="end" fill="var(--ink)">{escape(label)}</text>')
        for value, colour, what in parts:
            width = room * value / longest
            shapes.append(
                f'<rect x="{x:.1f}" y="{y + 5}" width="{max(width, 0.5):.1f}" height="20" fill="var(--{colour})">'
                f"<title>{escape(what)}: {value:.2f} {unit}</title></rect>"
            )
            x += width
        total = sum(value for value, *_ in parts)
        shapes.append(f'<text x="{x + 8:.1f}" y="{y + 19}" fill="var(--soft)">{total:.1f} {unit}</text>')
    return (
        f'<svg viewBox="0 0 960 {len(rows) * step + 4}" width="960" role="img" aria-label="bars of time" '
        'font-size="14" '
        f'font-family="system-ui,sans-serif">{"".join(shapes)}</svg>'
    )


def key(entries) -> str:
    """The meaning of colours."""
    return (
        '<div class="key">'
        + "".join(f'<span><i style="background:var(--{c})"></i>{escape(words)}</span>' for c, words in entries)
        + "</div>"
    )
