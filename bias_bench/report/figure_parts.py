"""What the figures of all pages share: their size, their colours, their labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bias_bench.report.svg import figure_style

WIDTH = 7.6  # inches
_LONGEST = 40  # characters of a label
STEPS = 160  # points of a curve, so that a page stays small whatever the number of queries


class Figure(NamedTuple):
    """`svg` is an element with a title and a description; `caption` says how to read it."""

    title: str
    svg: str
    caption: str


@contextmanager
def drawing(height: float) -> Iterator[Any]:
    """An empty figure in the pages' style."""
    from matplotlib.figure import Figure as Canvas

    with figure_style():
        yield Canvas(figsize=(WIDTH, round(height, 2)), layout="constrained")


def plain(text: str) -> str:
    """Text that is not read as a formula, in a length that fits."""
    return (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…").replace("$", r"\$")


def colour(number: int) -> Any:
    """Colours that differ for every kind of colour vision, and on light and dark paper."""
    import seaborn as sns

    palette = sns.color_palette("colorblind")
    return palette[number % len(palette)]
