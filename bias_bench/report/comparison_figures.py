"""Figures of a comparison: forests of differences, and bias against quality."""

from __future__ import annotations

from collections.abc import Sequence

from bias_bench.evaluation.settings import parse_setting
from bias_bench.languages import language_name
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Numbers,
    kinds_of,
    pooled_names,
    settings_of,
)
from bias_bench.report.figure_parts import Figure, colour
from bias_bench.report.forest import (
    Row,
    add_legend,
    axis_label,
    dodge,
    draw_forest,
    draw_points,
    marker_of,
    new_panels,
    shortened,
)
from bias_bench.report.svg import INK, PAPER, as_svg, figure_style
from bias_bench.significance.document import ComparedSystem, ComparisonDocument


def macro_forest(result: ComparisonDocument, numbers: Numbers) -> Figure:
    """Differences of the macro averages, all systems."""
    entries = result.systems
    kinds = kinds_of(entries[0])
    rows = [
        Row(place + dodge(number, len(entries)), entry.groups[kind], number)
        for place, kind in enumerate(kinds)
        for number, entry in enumerate(entries)
    ]
    height = 1.1 + len(kinds) * (0.3 + 0.2 * len(entries))
    with figure_style():
        figure, (axes,) = new_panels(1, height)
        draw_forest(axes, rows, numbers, [KIND_TITLES[kind] for kind in kinds])
        add_legend(figure, axes, [entry.label for entry in entries])
        title = "Differences of the macro averages"
        svg = as_svg(figure, "macro", title, _words(entries, numbers))
    return Figure(title, svg, _caption(result, "the macro averages of the kinds of setting"))


def settings_forest(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, prefix: str
) -> Figure | None:
    """Monolingual and pooled settings of one system by query language; None if it has none."""
    kinds = [kind for kind in ("monolingual", "multilingual") if kind in kinds_of(entry)]
    if not kinds:
        return None
    by_kind = {
        kind: {parse_setting(named.name).query_language: named.cell
               for named in settings_of(entry, kind)}
        for kind in kinds
    }  # fmt: skip
    languages = sorted({language for cells in by_kind.values() for language in cells})
    with figure_style():
        figure, panels = new_panels(len(kinds), 1.2 + 0.26 * len(languages))
        for axes, kind in zip(panels, kinds, strict=True):
            rows = [
                Row(languages.index(language), cell, 0) for language, cell in by_kind[kind].items()
            ]
            draw_forest(axes, rows, numbers, [language_name(name) for name in languages])
            axes.set_title(KIND_TITLES[kind], fontsize=10)
        label = entry.label
        title = f"{label}: differences by query language"
        svg = as_svg(
            figure,
            prefix,
            title,
            "; ".join(
                f"{KIND_TITLES[kind]}: "
                + ", ".join(
                    f"{language_name(name)} {numbers.signed(cell.difference)}"
                    for name, cell in by_kind[kind].items()
                )
                for kind in kinds
            ),
        )
    return Figure(title, svg, _caption(result, f"{label}, by query language"))


def pairs_forest(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, prefix: str
) -> Figure | None:
    """Cross-lingual settings of one system in the order of their differences; None without any."""
    named = sorted(
        settings_of(entry, "cross_lingual"), key=lambda part: part.cell.difference, reverse=True
    )
    if not named:
        return None
    with figure_style():
        figure, (axes,) = new_panels(1, 3.4)
        for shown in (True, False):
            places = [row for row, part in enumerate(named) if numbers.shown(part.cell) == shown]
            cells = [named[row].cell for row in places]
            draw_points(axes, places, cells, 0, numbers, filled=shown, upright=True)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks([])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"{len(named)} pairs of languages, from the largest difference down")
        axes.set_ylabel(axis_label(numbers))
        axes.set_xlim(-1, len(named))
        ends = [*named[:3], *named[-3:]] if len(named) > 6 else named
        label = entry.label
        title = f"{label}: differences of the cross-lingual settings"
        svg = as_svg(
            figure,
            prefix,
            title,
            f"{len(named)} settings, from {named[0].name} "
            f"{numbers.signed(named[0].cell.difference)} to {named[-1].name} "
            f"{numbers.signed(named[-1].cell.difference)}.",
        )
    extremes = ", ".join(f"{part.name} {numbers.signed(part.cell.difference)}" for part in ends)
    caption = _caption(result, f"{label}, cross-lingual settings")
    return Figure(title, svg, f"{caption} The ends: {extremes}.")


def bias_against_quality(result: ComparisonDocument) -> Figure | None:
    """Pooled AP against rank distance, a point per seed; None where a system lacks either."""
    (precision, distance), rows = pooled_names(result), result.overview
    if any(row.precision is None or row.distance is None for row in rows):
        return None
    points = [(row.label, seed.precision, seed.distance) for row in rows for seed in row.seeds]
    with figure_style():
        import seaborn as sns

        figure, (axes,) = new_panels(1, 4.0)
        names = [row.label for row in rows]
        sns.scatterplot(
            x=[point[2] for point in points],
            y=[point[1] for point in points],
            hue=[point[0] for point in points],
            style=[point[0] for point in points],
            hue_order=names,
            style_order=names,
            markers=["h", *(marker_of(number) for number in range(len(names) - 1))],
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
                shortened(row.label),
                (distances[number], row.precision),
                xytext=(-7 if right else 7, 7 if number % 2 == 0 else -13),
                textcoords="offset points",
                horizontalalignment="right" if right else "left",
            )
        axes.margins(0.15)
        axes.set_xlabel(f"{distance} in the pool of all (lower is better)")
        axes.set_ylabel(f"{precision} in the pool (higher is better)")
        title = "Language bias against quality"
        svg = as_svg(
            figure,
            "bias",
            title,
            "; ".join(
                f"{row.label}: {precision} {row.precision:.4f}, {distance} {row.distance:,.1f}"
                for row in rows
            ),
        )
    return Figure(
        title,
        svg,
        f"Bias against quality in the pool of all languages: mean {distance} and {precision}, "
        "macro averages over query languages, a point per seed. Good systems are at the top left. "
        "A system that finds nothing can have a low rank distance, so read one beside the other.",
    )


def _caption(result: ComparisonDocument, what: str) -> str:
    text = f"System minus baseline, {what}; {result.better}."
    if not result.significance:
        return f"{text} Nothing was tested."
    return (
        f"{text} Lines are {result.percent} % intervals that hold for a whole family at once; a "
        f"filled point has an adjusted p below {result.level:g}."
    )


def _words(entries: Sequence[ComparedSystem], numbers: Numbers) -> str:
    return "; ".join(
        f"{entry.label}, {KIND_TITLES[kind]}: {numbers.signed(cell.difference)}, "
        f"interval {numbers.interval(cell.simultaneous)}"
        for entry in entries
        for kind, cell in ((kind, entry.groups[kind]) for kind in kinds_of(entry))
    )
