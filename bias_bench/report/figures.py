"""Figures as inline SVG: byte-stable, accessible, in the page's own size, colours and style.

Text stays text; ids get a prefix, since all figures of matplotlib use the same ones; the colours
`INK`, `LINE` and `PAPER` become the page's variables, so that a figure follows light and dark mode.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

from bias_bench.system.library_caches import direct_library_caches

STEPS = 160  # points of a curve, so that a page stays small whatever the number of queries
INK, LINE, PAPER = "#010203", "#040506", "#070809"
_WIDTH = 7.6  # inches
_LONGEST = 40  # characters of a label
_VARIABLES = {INK: "var(--ink)", LINE: "var(--line)", PAPER: "var(--paper)"}
_STYLE = {
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "biasbench",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Figure(NamedTuple):
    """`svg` is an element with a title and a description; `caption` says how to read it."""

    title: str
    svg: str
    caption: str


@contextmanager
def drawing(height: float) -> Iterator[Any]:
    """An empty figure, to be drawn and saved inside this block.

    Nothing warns of signs that matplotlib's font lacks: the browser draws the text.
    """
    direct_library_caches()
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure as Canvas

    style = {**sns.axes_style("whitegrid"), **_STYLE}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Canvas(figsize=(_WIDTH, round(height, 2)), layout="constrained")


def plain(text: str) -> str:
    """Text that is not read as a formula, in a length that fits."""
    return (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…").replace("$", r"\$")


def colour(number: int) -> Any:
    """Colours that differ for every kind of colour vision, and on light and dark paper."""
    import seaborn as sns

    palette = sns.color_palette("colorblind")
    return palette[number % len(palette)]


def name_rows(axes: Any, names: Sequence[str]) -> None:
    """A row for each name, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def drawn(canvas: Any, prefix: str, title: str, description: str, caption: str) -> Figure:
    """What was drawn, as an SVG element with a title and a description; equal ones are equal text.

    `prefix` is unique on the page and becomes part of every id.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas.savefig(stream, format="svg", metadata=metadata)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
    width, height = canvas.get_size_inches() * 96  # pixels of CSS
    box = re.search(r'viewBox="[^"]+"', svg)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width:.0f}" height="{height:.0f}" {box[0] if box else ""} '
        f'role="img" aria-labelledby="{prefix}-title {prefix}-desc">\n'
        f'<title id="{prefix}-title">{escape(title)}</title>\n'
        f'<desc id="{prefix}-desc">{escape(description)}</desc>'
    )
    return Figure(title, head + svg[svg.index(">") + 1 :].rstrip(), caption)
