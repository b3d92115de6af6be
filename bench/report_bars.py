"""Bars of hunze over one peer, and the history of one row."""

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from report_markdown import plural
from report_results import number
from report_svg import BAD, CLAY, COLOURS, INK, RIVER, SOFT, STONE, Drawing, plain_number

COLOUR_OF = {"faster": RIVER, "slower": CLAY, "no difference": STONE, "": SOFT}
# Colour, marker and line of a number of threads, by its place in the list of all.
OF_THREADS = ("river", "o", "-"), ("clay", "s", "--"), ("stone", "^", ":"), ("ink", "D", "-.")


def ratios(library, pairs, threads):
    """SVG of the peer's time over hunze's on each (row, way of the peer): a bar from 1, its interval, its figure."""
    low = min(0.5, *(one.ratio.low for _, one in pairs)) / 1.15
    high = max(2, *(one.ratio.high for _, one in pairs)) * 1.15
    words = "hunze over %s, %s: %s" % (library, plural(threads, "thread"), plural(len(pairs), "row"))
    drawing = Drawing(4.4, 0.55 + 0.2 * len(pairs), words)
    with drawing:
        axes = drawing.axes
        drawing.margins(0.8, 0.8, 0.42, 0.1)
        axes.set(xscale="log", xlim=(low, high), ylim=(len(pairs) - 0.4, -0.6))
        axes.xaxis.set_major_locator(FixedLocator(ticks(low, high)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(plain_number))
        axes.grid(True, axis="x")
        for y, (_, one) in enumerate(pairs):
            middle, colour = one.ratio.median, COLOUR_OF[one.verdict]
            filled = {"color": colour, "linewidth": 0}
            if one.wrong or not one.ratio.holds:
                hatch = "/////" if one.wrong else None
                filled = {"hatch": hatch, "facecolor": "none", "edgecolor": colour, "linewidth": 0.8}
            axes.barh(y, middle - 1, 0.66, left=1, zorder=2, **filled)
            if one.ratio.holds:
                axes.plot([one.ratio.low, one.ratio.high], [y, y], color=INK, linewidth=1, zorder=3)
                for end in (one.ratio.low, one.ratio.high):
                    axes.plot([end, end], [y - 0.2, y + 0.2], color=INK, linewidth=1, zorder=3)
            axes.annotate(
                number(middle) + (" wrong" if one.wrong else ""), (1, y), (5, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", fontsize=8.5, color=BAD if one.wrong else INK,
            )  # fmt: skip
        axes.axvline(1, color=INK, linewidth=1.1, zorder=4)
        axes.set_yticks(range(len(pairs)), ["%s %s" % (row.id, row.dtype) for row, _ in pairs], fontsize=8.5)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
    return drawing.svg


def ticks(low, high):
    """Powers of 2, or of 4, 10, 100 where those would be too many."""
    for base in (2, 4, 10, 100):
        found = [base**power for power in range(-20, 21) if low <= base**power <= high]
        if len(found) <= 9:
            break
    return found


def styles(counts):
    """{threads: colour, marker, line} for the lines of all rows and for their key."""
    return {count: OF_THREADS[place % len(OF_THREADS)] for place, count in enumerate(counts)}


def past(series, counts, results):
    """SVG of the part of the limit over recorded results: {threads: [(place by date, interval)]}.

    counts, results: the numbers of threads and how many results there are, over all rows."""
    top = max(1.05, *(1.05 * interval.high for points in series.values() for _, interval in points))
    drawing = Drawing(2.5, 1.25, "part of the limit over %s" % plural(results, "recorded result"))
    with drawing:
        axes = drawing.axes
        drawing.margins(0.32, 0.55, 0.1, 0.08)
        axes.set(xlim=(-0.3, results - 0.7), ylim=(0, top))
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=8)
        axes.xaxis.set_major_locator(NullLocator())
        axes.grid(True, axis="y")
        axes.axhline(1, color=SOFT, linewidth=0.8, zorder=1)
        ends = []
        for threads, points in sorted(series.items()):
            name, marker, line = styles(counts)[threads]
            colour = COLOURS[name]
            places, middles = [place for place, _ in points], [interval.median for _, interval in points]
            for place, interval in points:
                if interval.holds:
                    axes.vlines(place, interval.low, interval.high, color=colour, linewidth=1)
            axes.plot(places, middles, color=colour, marker=marker, markersize=3.5, linestyle=line, linewidth=1.2)
            ends.append((middles[-1], colour))
        previous = -1
        for value, colour in sorted(ends):
            previous = max(value, previous + 0.21 * top)
            axes.annotate(
                number(value), (1, previous), (5, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                va="center", fontsize=8, color=INK, annotation_clip=False,
            )  # fmt: skip
            axes.plot([1.02], [previous], color=colour, transform=axes.get_yaxis_transform(), clip_on=False)
    return drawing.svg
