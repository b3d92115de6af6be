"""Rooflines: what a row reaches against operations per byte, under the limits measured."""

from math import atan2, cos, degrees, hypot, log10, sin

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from report_markdown import plural
from report_results import rate
from report_svg import BAD, CLAY, INK, PAPER, RIVER, SOFT, Drawing

AROUND = [(x * d, y * d) for d in (1, 1.9, 2.9) for x, y in
          ((1, 0), (-1, 0), (0, 1), (0, -1), (0.75, 0.75), (-0.75, 0.75), (0.75, -0.75), (-0.75, -0.75))]  # fmt: skip


def families(result):
    """The kinds of arithmetic that rows were measured in."""
    order = [one["name"].split()[0] for one in result.ceilings]
    found = {row.family for row in result.rows if any(one.seconds for one in row.implementations)}
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


def points_of(rows):
    """(row, operations per byte, hunze's rate, the fastest peer's rate); None for what is not there."""
    points = []
    for row in rows:
        plan, best = row.plan, row.best
        ours = row.operations / plan.seconds if plan and plan.seconds and not plan.failed else None
        theirs = row.operations / best.seconds if best else None
        if row.bytes and (ours or theirs):
            points.append((row, row.operations / row.bytes, ours, theirs))
    return points


def roofline(result, family, threads):
    """SVG; None where nothing was measured."""
    points = points_of([row for row in result.rows_of(threads) if row.family == family])
    if not points:
        return None
    side = "one" if threads == 1 else "all"
    roofs = {one["name"]: one[side] for one in result.ceilings if one["name"].split()[0] == family}
    read = next((one[side] for one in result.ceilings if one["name"] == "read"), None)
    rates = [value for _, _, ours, theirs in points for value in (ours, theirs) if value]
    left = min(x for _, x, _, _ in points) / 2.5
    right = max(x for _, x, _, _ in points) * 2.5
    top = max([*rates, *roofs.values()]) * 1.8
    bottom = min(rates) / 2.5
    if read and roofs:  # where they meet is always seen
        left = min(left, 0.2 * min(roofs.values()) / read)
        right = max(right, 5 * max(roofs.values()) / read)
    wide = len(points) > 8
    words = "Roofline of %s, %s: %s" % (family, plural(threads, "thread"), plural(len(points), "row"))
    drawing = Drawing(*((11.6, 5.6) if wide else (6.6, 4.4)), words)
    with drawing:
        axes = drawing.axes
        drawing.margins(0.75, 1.6, 0.5, 0.15)
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
        axes.set_xlabel("operations per byte")
        axes.set_ylabel("operations/s")
        axes.grid(True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "%g" % value))
        axes.yaxis.set_major_formatter(FuncFormatter(thousands))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if log10(top / bottom) < 2.5 else (1,), numticks=16))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        draw_roofs(axes, roofs, read, left, right)
        for _, x, ours, theirs in points:
            if ours and theirs:
                axes.plot([x, x], [ours, theirs], color=SOFT, linewidth=0.7, zorder=2)
        style = {"linestyle": "none", "zorder": 3}
        axes.plot(*series(points, 3), marker="D", markersize=6, mfc=PAPER, mec=CLAY, mew=1.3, **style)
        axes.plot(*series(points, 2), marker="o", markersize=5.5, mfc=RIVER, mec=PAPER, mew=0.6, **style)
        wrong = [point for point in points if point[0].plan and point[0].plan.wrong]
        axes.plot(*series(wrong, 2), marker="x", markersize=9, mec=BAD, mew=1.6, **style)
        label(drawing, points, len(roofs) + bool(read))
    return drawing.svg, wide


def series(points, which):
    chosen = [point for point in points if point[which]]
    return [point[1] for point in chosen], [point[which] for point in chosen]


def draw_roofs(axes, roofs, read, left, right):
    """Lines of the limits; their names stand beside the axes, apart from each other."""
    names = []
    highest = max(roofs.values(), default=None)
    if read:
        end = min(right, highest / read if highest else right)
        axes.plot([left, end], [left * read, end * read], color=INK, linewidth=1.1, zorder=1)
        if not highest:
            names.append((end * read, "read, " + rate(read, "bytes/s")))
        else:
            x, turn = max(left, axes.get_ylim()[0] / read), slope(axes)
            beside = 14 * cos(turn) - 4 * sin(turn), 14 * sin(turn) + 4 * cos(turn)
            axes.annotate(
                "read, " + rate(read, "bytes/s"), (x, x * read), beside, textcoords="offset points",
                rotation_mode="anchor", rotation=degrees(turn), fontsize=8, color=INK, zorder=1,
            )  # fmt: skip
    for name, value in roofs.items():
        axes.plot([value / read if read else left, right], [value, value], color=INK, linewidth=1.1, zorder=1)
        names.append((value, "%s, %s" % (name, rate(value, ""))))
    previous = None
    for value, name in sorted(names):
        height = axes.transData.transform((right, value))[1]
        previous = height if previous is None else max(height, previous + 11)
        axes.annotate(
            name, (right, value), (6, previous - height), textcoords="offset points", va="center",
            fontsize=8, color=INK, annotation_clip=False,
        )  # fmt: skip


def thousands(value, _=None):
    """1e9 as 1 G, for the ticks."""
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return "%g %s" % (value / factor, letter)
    return "%g" % value


def slope(axes):
    """The angle of a line on which y grows as x."""
    (x0, y0), (x1, y1) = axes.transData.transform([(1, 1), (10, 10)])
    return atan2(y1 - y0, x1 - x0)


def label(drawing, points, roofs):
    """Each row's id beside its point, where it covers no marker, no other id and none of the `roofs` first lines."""
    axes = drawing.axes
    taken, places = [], []
    for line in axes.get_lines()[:roofs]:
        (x0, y0), (x1, y1) = axes.transData.transform(line.get_xydata()[[0, -1]])
        for step in range(101):
            x, y = x0 + (x1 - x0) * step / 100, y0 + (y1 - y0) * step / 100
            taken.append((x - 1, y - 1, x + 1, y + 1))
    for row, x, ours, theirs in points:
        for value in (ours, theirs):
            if value:
                px, py = axes.transData.transform((x, value))
                taken.append((px - 4, py - 4, px + 4, py + 4))
        places.append((row, *axes.transData.transform((x, ours or theirs))))
    inside = axes.get_window_extent()
    for row, px, py in sorted(places, key=lambda place: -place[2]):
        width, height = drawing.text_size(row.id, 8)
        best = None
        for dx, dy in AROUND:
            cx, cy = px + dx * (width / 2 + 7), py + dy * (height / 2 + 6)
            box = cx - width / 2 - 1, cy - height / 2, cx + width / 2 + 1, cy + height / 2
            out = box[0] < inside.x0 or box[2] > inside.x1 or box[1] < inside.y0 or box[3] > inside.y1
            cost = sum(overlap(box, other) for other in taken) + 1000 * out + hypot(dx, dy)
            if best is None or cost < best[0]:
                best = cost, cx, cy, box, hypot(dx, dy)
        _, cx, cy, box, far = best
        taken.append(box)
        axes.annotate(
            row.id, (px, py), (cx, cy), xycoords="figure pixels", textcoords="figure pixels", ha="center", va="center",
            fontsize=8, color=INK, zorder=4,
            arrowprops=dict(arrowstyle="-", color=SOFT, linewidth=0.5, shrinkA=0, shrinkB=3) if far > 1.2 else None,
        )  # fmt: skip


def overlap(a, b):
    """Area that two boxes share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
