"""Forests: differences with their intervals, drawn by matplotlib in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bias_bench.report.comparison_numbers import Numbers
from bias_bench.report.figure_parts import WIDTH, colour
from bias_bench.report.svg import INK, PAPER
from bias_bench.significance.document import Cell

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
_LONGEST = 28  # characters of a name


class Row(NamedTuple):
    """One line of a forest: `place` counts from the top, `system` numbers the colour."""

    place: float
    cell: Cell
    system: int


def new_panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """A figure with panels side by side, all with one vertical axis."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(WIDTH, round(height, 2)), layout="constrained")
    return figure, list(figure.subplots(1, count, sharey=count > 1, squeeze=False)[0])


def draw_forest(axes: Any, rows: Sequence[Row], numbers: Numbers, places: Sequence[str]) -> None:
    """Differences with their intervals, the first row on top."""
    for system in sorted({row.system for row in rows}):
        for shown in (True, False):
            part = [
                row for row in rows if row.system == system and numbers.shown(row.cell) == shown
            ]
            cells = [row.cell for row in part]
            draw_points(axes, [row.place for row in part], cells, system, numbers, filled=shown)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(places)), places)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(axis_label(numbers))


def draw_points(
    axes: Any,
    places: Sequence[float],
    cells: Sequence[Cell],
    system: int,
    numbers: Numbers,
    *,
    filled: bool,
    upright: bool = False,
) -> None:
    """Points, filled where significant, and simultaneous intervals where there are any."""
    if not cells:
        return
    own = colour(system)
    known = [row for row, cell in enumerate(cells) if cell.simultaneous[0] is not None]
    bounds = [cells[row].simultaneous for row in known]
    if bounds:
        lines = axes.vlines if upright else axes.hlines
        lines([places[row] for row in known], *zip(*bounds, strict=True), color=own, linewidth=1.3)
    differences = [cell.difference for cell in cells]
    x, y = (places, differences) if upright else (differences, places)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker_of(system),
        markersize=4 if upright else 6,
        markerfacecolor=own if filled or not numbers.result.significance else PAPER,
        markeredgecolor=own,
        clip_on=False,
        zorder=3,
    )


def add_legend(figure: Any, axes: Any, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        return
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour(row), marker=marker_of(row), label=shortened(label))
        for row, label in enumerate(labels)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(4, len(labels)), frameon=False
    )
    axes.set_axisbelow(True)


def marker_of(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def dodge(number: int, count: int) -> float:
    """The offset of a system's point from the middle of its row, in rows."""
    return 0.6 * ((number + 0.5) / count - 0.5)


def shortened(label: str) -> str:
    """A name that fits a figure; $ would begin a formula."""
    text = label if len(label) <= _LONGEST else f"{label[:12]}…{label[-14:]}"
    return text.replace("$", r"\$")


def axis_label(numbers: Numbers) -> str:
    name, direction = numbers.measure.name, numbers.measure.direction
    return f"difference in {name}" + (f" ({direction} is better)" if direction != "none" else "")
