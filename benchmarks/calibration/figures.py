"""The rates as two figures: standing alone, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.calibration.errors import (
    BH,
    BONFERRONI,
    ERROR,
    FWER,
    HOLM,
    HOLM_T,
    POOLED,
    POWER,
    QUERY_T,
    STEP_DOWN,
)
from benchmarks.calibration.estimates import LEVEL, Row, find
from benchmarks.calibration.worlds import UNITS, WORLDS
from bias_bench.report.figures import INK, PAPER, colour, drawing, drawn

# the pages' own colours, which a file that stands alone has to bring along
_COLOURS = """<style>
svg { --ink: #1a1a1a; --paper: #fdfdfb; --line: #c9c9c2; background: var(--paper); }
@media (prefers-color-scheme: dark) { svg { --ink: #ececec; --paper: #16181a; --line: #44484c; } }
</style>"""
_MARKERS = ("o", "s", "D", "^", "v")
_WHICH = {"topic": "topics", "paragraph": "paragraphs", "article": "articles"}


class _Line(NamedTuple):
    """One line of the figure of errors: what it is called and where its rate stands."""

    label: str
    cluster: str
    method: str
    quantity: str


_LINES = (
    *(_Line(f"max-T by {cluster}", cluster, STEP_DOWN, FWER) for cluster in UNITS),
    *(_Line(f"Holm by {cluster}", cluster, HOLM, FWER) for cluster in UNITS),
    *(_Line(f"macro average by {cluster}", cluster, POOLED, ERROR) for cluster in UNITS),
    _Line("Holm over t-tests of topics", "topic", HOLM_T, FWER),
    _Line("pooled t-test of queries", "query", QUERY_T, ERROR),
)


def error_figure(table: Sequence[Row]) -> str:
    """SVG: errors of tests where nothing differs, by what is independent in the data."""
    with drawing(4.6) as figure:
        panels = figure.subplots(1, len(UNITS), sharex=True, sharey=True)
        for axes, unit in zip(panels, UNITS, strict=True):
            for number, world in enumerate(WORLDS):
                _draw_errors(axes, table, world, unit, number)
            axes.axvline(100 * LEVEL, color=INK, linewidth=0.9, linestyle="--")
            axes.set_title(f"independent: {_WHICH[unit]}", fontsize=10)
            axes.set_yticks(range(len(_LINES)), [line.label for line in _LINES])
            axes.set_ylim(len(_LINES) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
        panels[0].set_xlim(left=0)  # of all panels, when all have their points
        panels[1].set_xlabel("error in % (dashed: the nominal 5 %), with 95 % simulation intervals")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
        return standing_alone(
            figure,
            "calibration-errors",
            "How often tests find a difference where there is none",
            "Error rates of max-T, Holm, the test of the macro average and t-tests, in three "
            "panels by whether topics, paragraphs or articles are independent in the simulated "
            "data. The numbers are in the tables of calibration.md.",
        )


def power_figure(table: Sequence[Row]) -> str:
    """SVG: share of shifted settings found, by size of shift and number of shifted settings."""
    part = [row for row in table if row.part == "power"]
    by_article = [row for row in part if row.unit == "article"]
    counts = sorted({row.shifted for row in by_article}, reverse=True)
    with drawing(6.4) as figure:
        panels = list(figure.subplots(2, 2, sharey=True, sharex=True).flat)
        methods = (STEP_DOWN, HOLM, BONFERRONI, BH, POOLED)
        for axes, shifted in zip(panels, counts, strict=False):
            here = [row for row in by_article if row.shifted == shifted]
            for number, method in enumerate(methods):
                _draw_power(axes, here, number, method, "article", method)
            axes.set_title(f"{_settings(shifted)} shifted, articles independent", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
        by_topic = [row for row in part if row.unit == "topic"]
        for number, cluster in enumerate(UNITS):
            _draw_power(panels[3], by_topic, number, STEP_DOWN, cluster, f"max-T by {cluster}")
        panels[3].set_title(
            f"{_settings(by_topic[0].shifted)} shifted, topics independent", fontsize=10
        )
        panels[3].legend(frameon=False, fontsize=8)
        for axes in panels:
            axes.set_ylim(-3, 103)
            axes.set_xlim(left=0)
        for axes in panels[2:]:
            axes.set_xlabel("true difference")
        for axes in (panels[0], panels[2]):
            axes.set_ylabel("found, %")
        return standing_alone(
            figure,
            "calibration-power",
            "How often tests find a difference that is there",
            "Share of shifted settings found by each method, against the size of the shift, in "
            "panels by how many settings are shifted, and by the unit of max-T where topics are "
            "independent. The numbers are in the tables of calibration.md.",
        )


def _draw_errors(axes: Any, table: Sequence[Row], world: str, unit: str, number: int) -> None:
    for place, line in enumerate(_LINES):
        row = find(
            table, part="errors", world=world, unit=unit, cluster=line.cluster,
            method=line.method, quantity=line.quantity,
        )  # fmt: skip
        if row is None:
            continue
        height = place + 0.3 * (number - 0.5)
        axes.hlines(height, 100 * row.low, 100 * row.high, color=colour(number), linewidth=1.3)
        axes.plot(
            100 * row.value,
            height,
            linestyle="none",
            marker=_MARKERS[number],
            markersize=5,
            markerfacecolor=colour(number) if number == 0 else PAPER,
            markeredgecolor=colour(number),
            label=f"{world} units" if place == 0 else None,
            zorder=3,
        )


def _draw_power(
    axes: Any, table: Sequence[Row], number: int, method: str, cluster: str, label: str
) -> None:
    part = [
        row for row in table if (row.method, row.cluster, row.quantity) == (method, cluster, POWER)
    ]
    shifts = [row.shift for row in part]
    own = colour(number)
    lows, highs = [100 * row.low for row in part], [100 * row.high for row in part]
    axes.fill_between(shifts, lows, highs, color=own, alpha=0.2, linewidth=0)
    axes.plot(
        shifts,
        [100 * row.value for row in part],
        color=own,
        marker=_MARKERS[number],
        markersize=4.5,
        label=label,
    )


def _settings(count: int) -> str:
    return "1 setting" if count == 1 else f"{count} settings"


def standing_alone(figure: Any, prefix: str, title: str, description: str) -> str:
    """SVG of a figure outside of any page, with colours of its own."""
    svg = drawn(figure, prefix, title, description, caption="").svg
    return svg.replace("</desc>", f"</desc>\n{_COLOURS}", 1) + "\n"
