"""A matplotlib figure as SVG within a page: it takes the page's font, and its colours in light and in dark."""

import io
import re
from html import escape

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Drawn in these, which no other colour equals; written as the page's own.
NAMES = "ink", "soft", "line", "paper", "river", "clay", "stone", "bad"
COLOURS = {name: "#0a0b%02x" % (0x10 + index) for index, name in enumerate(NAMES)}
INK, SOFT, LINE, PAPER, RIVER, CLAY, STONE, BAD = COLOURS.values()
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hunze",
    "font.family": "DejaVu Sans",  # measured as this, a wide one: what the page takes instead needs less room
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
}


class Drawing:
    """A figure to be drawn into, as the value of a `with`: figure, axes and canvas; then text()."""

    count = 0

    def __init__(self, width, height, words):
        """Inches; `words` say what it shows to who cannot see it."""
        self.size, self.words = (width, height), words

    def __enter__(self):
        self.context = matplotlib.rc_context(SETTINGS)
        self.context.__enter__()
        self.figure = Figure(figsize=self.size, dpi=72, layout="none")
        self.canvas = FigureCanvasAgg(self.figure)
        self.figure.patch.set_visible(False)
        self.axes = self.figure.add_subplot()
        self.axes.patch.set_visible(False)
        return self

    def __exit__(self, *error):
        if error[0] is None:
            file = io.StringIO()
            self.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
            self.svg = inline(file.getvalue(), "f%d-" % Drawing.count, self.words)
            Drawing.count += 1
        self.context.__exit__(*error)

    def margins(self, left, right, bottom, top):
        """Inches around the axes."""
        width, height = self.size
        self.figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)

    def text_size(self, text, points):
        """Width and height in points."""
        width, height, _ = self.canvas.get_renderer().get_text_width_height_descent(
            text, matplotlib.font_manager.FontProperties(size=points), False
        )
        return width, height


def inline(svg, prefix, words):
    """The <svg> element alone, its ids unlike those of other figures, without namespaces and metadata."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    box = re.search(r'viewBox="([^"]*)"', svg).group(1)
    width = float(box.split()[2])
    head = '<svg viewBox="%s" style="max-width: %.0fpx" role="img" aria-label="%s">'
    svg = head % (box, width * 4 / 3, escape(words)) + svg[svg.index(">") + 1 :]
    svg = re.sub(r'\bid="([^"]*)"', r'id="%s\1"' % prefix, svg)
    svg = re.sub(r'(?:xlink:)?href="#([^"]*)"', r'href="#%s\1"' % prefix, svg)
    svg = re.sub(r"url\(#([^)]*)\)", r"url(#%s\1)" % prefix, svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, "var(--%s)" % name)
    return re.sub(r">\s*\n\s*<", ">\n<", svg.strip())


def plain_number(value, _=None):
    """For the ticks of a logarithmic axis."""
    return "%g" % value if value >= 1 or value <= 0 else "1/%g" % round(1 / value) if value < 0.95 else "1"
