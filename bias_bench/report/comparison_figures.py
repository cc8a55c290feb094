"""Figures of a comparison: forests of differences, and bias against quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bias_bench.data.languages import language_name
from bias_bench.evaluation.settings import parse_setting
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Numbers,
    kinds_of,
    pooled_names,
    settings_of,
)
from bias_bench.report.figures import INK, PAPER, Figure, colour, drawing, drawn, name_rows
from bias_bench.significance.document import Cell, ComparedSystem, ComparisonDocument

_MARKERS = "osD^vPX*"
_LONGEST = 28  # characters of a name


def macro_forest(result: ComparisonDocument, numbers: Numbers) -> Figure:
    """Differences of the macro averages, all systems."""
    entries, kinds = result.systems, kinds_of(result.systems[0])
    with drawing(1.1 + len(kinds) * (0.3 + 0.2 * len(entries))) as figure:
        axes = figure.subplots()
        for number, entry in enumerate(entries):
            offset = 0.6 * ((number + 0.5) / len(entries) - 0.5)  # from the middle of the row
            rows = [(place + offset, entry.groups[kind]) for place, kind in enumerate(kinds)]
            _draw_rows(axes, rows, number, numbers)
        _finish_forest(axes, numbers, [KIND_TITLES[kind] for kind in kinds])
        if len(entries) > 1:
            _add_legend(figure, [entry.label for entry in entries])
            axes.set_axisbelow(True)
        title = "Differences of the macro averages"
        described = "; ".join(
            f"{entry.label}, {KIND_TITLES[kind]}: {numbers.signed(entry.groups[kind].difference)}, "
            f"interval {numbers.interval(entry.groups[kind].simultaneous)}"
            for entry in entries
            for kind in kinds_of(entry)
        )
        caption = _caption(result, "the macro averages of the kinds of setting")
        return drawn(figure, "macro", title, described, caption)


def settings_forest(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, prefix: str
) -> Figure | None:
    """Monolingual and pooled settings of one system by query language; None if it has none."""
    by_kind = {
        kind: {
            parse_setting(named.name).query_language: named.cell
            for named in settings_of(entry, kind)
        }
        for kind in ("monolingual", "multilingual")
        if kind in kinds_of(entry)
    }
    if not by_kind:
        return None
    languages = sorted({language for cells in by_kind.values() for language in cells})
    title = f"{entry.label}: differences by query language"
    with drawing(1.2 + 0.26 * len(languages)) as figure:
        panels = figure.subplots(1, len(by_kind), sharey=len(by_kind) > 1, squeeze=False)[0]
        for axes, (kind, cells) in zip(panels, by_kind.items(), strict=True):
            rows = [(languages.index(language), cell) for language, cell in cells.items()]
            _draw_rows(axes, rows, 0, numbers)
            _finish_forest(axes, numbers, [language_name(name) for name in languages])
            axes.set_title(KIND_TITLES[kind], fontsize=10)
        described = "; ".join(
            f"{KIND_TITLES[kind]}: "
            + ", ".join(
                f"{language_name(name)} {numbers.signed(cell.difference)}"
                for name, cell in cells.items()
            )
            for kind, cells in by_kind.items()
        )
        caption = _caption(result, f"{entry.label}, by query language")
        return drawn(figure, prefix, title, described, caption)


def pairs_forest(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, prefix: str
) -> Figure | None:
    """Cross-lingual settings of one system in the order of their differences; None without any."""
    named = sorted(
        settings_of(entry, "cross_lingual"), key=lambda item: item.cell.difference, reverse=True
    )
    if not named:
        return None
    written = [f"{item.name} {numbers.signed(item.cell.difference)}" for item in named]
    title = f"{entry.label}: differences of the cross-lingual settings"
    with drawing(3.4) as figure:
        axes = figure.subplots()
        rows = [(row, item.cell) for row, item in enumerate(named)]
        _draw_rows(axes, rows, 0, numbers, upright=True)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks([])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"{len(named)} pairs of languages, from the largest difference down")
        axes.set_ylabel(_axis_label(numbers))
        axes.set_xlim(-1, len(named))
        described = f"{len(named)} settings, from {written[0]} to {written[-1]}."
        ends = ", ".join([*written[:3], *written[-3:]] if len(written) > 6 else written)
        caption = _caption(result, f"{entry.label}, cross-lingual settings")
        return drawn(figure, prefix, title, described, f"{caption} The ends: {ends}.")


def bias_against_quality(result: ComparisonDocument) -> Figure | None:
    """Pooled AP against rank distance, a point per seed; None where a system lacks either."""
    (precision, distance), rows = pooled_names(result), result.overview
    if any(row.precision is None or row.distance is None for row in rows):
        return None
    points = [(row.label, seed) for row in rows for seed in row.seeds]
    title = "Language bias against quality"
    with drawing(4.0) as figure:
        import seaborn as sns

        axes = figure.subplots()
        names, labels = [row.label for row in rows], [label for label, _ in points]
        sns.scatterplot(
            x=[seed.distance for _, seed in points],
            y=[seed.precision for _, seed in points],
            hue=labels,
            style=labels,
            hue_order=names,
            style_order=names,
            markers=["h", *(_marker(number) for number in range(len(names) - 1))],
            palette=[INK, *map(colour, range(len(names) - 1))],
            s=70,
            edgecolor=PAPER,
            clip_on=False,
            legend=False,
            ax=axes,
        )
        distances = [row.distance or 0.0 for row in rows]
        middle = (min(distances) + max(distances)) / 2
        for number, row in enumerate(rows):
            right = distances[number] > middle
            axes.annotate(
                _shortened(row.label),
                (distances[number], row.precision),
                xytext=(-7 if right else 7, 7 if number % 2 == 0 else -13),
                textcoords="offset points",
                horizontalalignment="right" if right else "left",
            )
        axes.margins(0.15)
        axes.set_xlabel(f"{distance} in the pool of all (lower is better)")
        axes.set_ylabel(f"{precision} in the pool (higher is better)")
        described = "; ".join(
            f"{row.label}: {precision} {row.precision:.4f}, {distance} {row.distance:,.1f}"
            for row in rows
        )
        caption = (
            f"Bias against quality in the pool of all languages: mean {distance} and {precision}, "
            "macro averages over query languages, a point per seed. Good systems are at the top "
            "left. A system that finds nothing can have a low rank distance, so read one beside "
            "the other."
        )
        return drawn(figure, "bias", title, described, caption)


def _caption(result: ComparisonDocument, what: str) -> str:
    text = f"System minus baseline, {what}; {result.better}."
    if not result.significance:
        return f"{text} Nothing was tested."
    return (
        f"{text} Lines are {result.percent} % intervals that hold for a whole family at once; a "
        f"filled point has an adjusted p below {result.level:g}."
    )


def _draw_rows(
    axes: Any,
    rows: Sequence[tuple[float, Cell]],
    system: int,
    numbers: Numbers,
    *,
    upright: bool = False,
) -> None:
    """One system's points, filled where significant, and simultaneous intervals where known.

    A row is its place, from the top or, `upright`, from the left, and its numbers.
    """
    ink = colour(system)
    for shown in (True, False):
        points = [(place, cell) for place, cell in rows if numbers.shown(cell) == shown]
        if not points:
            continue
        bounds = [(place, *cell.simultaneous) for place, cell in points]
        if known := [bound for bound in bounds if bound[1] is not None]:
            lines = axes.vlines if upright else axes.hlines
            lines(*zip(*known, strict=True), color=ink, linewidth=1.3)
        places, differences = zip(
            *((place, cell.difference) for place, cell in points), strict=True
        )
        axes.plot(
            *((places, differences) if upright else (differences, places)),
            linestyle="none",
            marker=_marker(system),
            markersize=4 if upright else 6,
            markerfacecolor=ink if shown or not numbers.result.significance else PAPER,
            markeredgecolor=ink,
            clip_on=False,
            zorder=3,
        )


def _finish_forest(axes: Any, numbers: Numbers, names: Sequence[str]) -> None:
    axes.axvline(0, color=INK, linewidth=0.9)
    name_rows(axes, names)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(_axis_label(numbers))


def _add_legend(figure: Any, labels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour(row), marker=_marker(row), label=_shortened(label))
        for row, label in enumerate(labels)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(4, len(labels)), frameon=False
    )


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def _shortened(label: str) -> str:
    """A name that fits a figure; $ would begin a formula."""
    text = label if len(label) <= _LONGEST else f"{label[:12]}…{label[-14:]}"
    return text.replace("$", r"\$")


def _axis_label(numbers: Numbers) -> str:
    name, direction = numbers.measure.name, numbers.measure.direction
    return f"difference in {name}" + (f" ({direction} is better)" if direction != "none" else "")
