"""Figures of a comparison: forests of differences, and bias against quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bias_bench.evaluation.settings import parse_setting
from bias_bench.languages import language_name
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Cell,
    Numbers,
    kinds_of,
    settings_of,
)
from bias_bench.report.svg import INK, PAPER, as_svg, figure_style

_WIDTH = 7.6  # inches
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


class Figure(NamedTuple):
    """`svg` is an element with title and description, `caption` says how to read it."""

    svg: str
    caption: str


class _Row(NamedTuple):
    """One line of a forest: `place` counts from the top, `system` numbers the colour."""

    place: float
    cell: Cell
    system: int


def macro_forest(result: dict[str, Any], numbers: Numbers) -> Figure:
    """Differences of the macro averages, all systems."""
    entries = result["systems"]
    kinds = kinds_of(entries[0])
    rows = [
        _Row(place + _dodge(number, len(entries)), entry["groups"][kind], number)
        for place, kind in enumerate(kinds)
        for number, entry in enumerate(entries)
    ]
    height = 1.1 + len(kinds) * (0.3 + 0.2 * len(entries))
    with figure_style():
        figure, (axes,) = _panels(1, height)
        _draw_forest(axes, rows, numbers, [KIND_TITLES[kind] for kind in kinds])
        _legend(figure, axes, [entry["label"] for entry in entries])
        svg = as_svg(figure, "macro", "Differences of the macro averages", _words(entries, numbers))
    return Figure(svg, _caption(result, numbers, "the macro averages of the kinds of setting"))


def settings_forest(
    result: dict[str, Any], entry: dict[str, Any], numbers: Numbers, prefix: str
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
        figure, panels = _panels(len(kinds), 1.2 + 0.26 * len(languages))
        for axes, kind in zip(panels, kinds, strict=True):
            rows = [
                _Row(languages.index(language), cell, 0) for language, cell in by_kind[kind].items()
            ]
            _draw_forest(axes, rows, numbers, [language_name(name) for name in languages])
            axes.set_title(KIND_TITLES[kind], fontsize=10)
        label = entry["label"]
        svg = as_svg(
            figure,
            prefix,
            f"{label}: differences by query language",
            "; ".join(
                f"{KIND_TITLES[kind]}: "
                + ", ".join(
                    f"{language_name(name)} {numbers.signed(cell['difference'])}"
                    for name, cell in by_kind[kind].items()
                )
                for kind in kinds
            ),
        )
    return Figure(svg, _caption(result, numbers, f"{label}, by query language"))


def pairs_forest(
    result: dict[str, Any], entry: dict[str, Any], numbers: Numbers, prefix: str
) -> Figure | None:
    """Cross-lingual settings of one system in the order of their differences; None without any."""
    named = sorted(
        settings_of(entry, "cross_lingual"), key=lambda part: part.cell["difference"], reverse=True
    )
    if not named:
        return None
    with figure_style():
        figure, (axes,) = _panels(1, 3.4)
        for shown in (True, False):
            places = [row for row, part in enumerate(named) if numbers.shown(part.cell) == shown]
            cells = [named[row].cell for row in places]
            _points(axes, places, cells, 0, numbers, filled=shown, upright=True)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks([])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"{len(named)} pairs of languages, from the largest difference down")
        axes.set_ylabel(_axis_label(numbers))
        axes.set_xlim(-1, len(named))
        ends = [*named[:3], *named[-3:]] if len(named) > 6 else named
        label = entry["label"]
        svg = as_svg(
            figure,
            prefix,
            f"{label}: differences of the cross-lingual settings",
            f"{len(named)} settings, from {named[0].name} "
            f"{numbers.signed(named[0].cell['difference'])} to {named[-1].name} "
            f"{numbers.signed(named[-1].cell['difference'])}.",
        )
    extremes = ", ".join(f"{part.name} {numbers.signed(part.cell['difference'])}" for part in ends)
    caption = _caption(result, numbers, f"{label}, cross-lingual settings")
    return Figure(svg, f"{caption} The ends: {extremes}.")


def bias_against_quality(result: dict[str, Any]) -> Figure | None:
    """Pooled AP against rank distance, a point per seed; None where a system lacks either."""
    rows = result["overview"]
    if any(row["AP"] is None or row["rank_distance"] is None for row in rows):
        return None
    points = [(row["label"], seed) for row in rows for seed in row["seeds"]]
    with figure_style():
        import seaborn as sns

        figure, (axes,) = _panels(1, 4.0)
        names = [row["label"] for row in rows]
        sns.scatterplot(
            x=[seed["rank_distance"] for _, seed in points],
            y=[seed["AP"] for _, seed in points],
            hue=[name for name, _ in points],
            style=[name for name, _ in points],
            hue_order=names,
            style_order=names,
            markers=["h", *(_marker(number) for number in range(len(names) - 1))],
            palette=[INK, *_palette(len(names) - 1)],
            s=70,
            edgecolor=PAPER,
            clip_on=False,
            legend=False,
            ax=axes,
        )
        for number, row in enumerate(rows):
            axes.annotate(
                _short(row["label"]),
                (row["rank_distance"], row["AP"]),
                xytext=(7, 7 if number % 2 == 0 else -13),
                textcoords="offset points",
            )
        axes.margins(0.15)
        axes.set_xlabel("rank distance in the pool of all (lower is better)")
        axes.set_ylabel("AP in the pool (higher is better)")
        svg = as_svg(
            figure,
            "bias",
            "Language bias against quality",
            "; ".join(
                f"{row['label']}: AP {row['AP']:.4f}, rank distance {row['rank_distance']:,.1f}"
                for row in rows
            ),
        )
    return Figure(
        svg,
        "Bias against quality in the pool of all languages: mean rank distance and AP, macro "
        "averages over query languages, a point per seed. Good systems are at the top left. A "
        "system that finds nothing can have a low rank distance, so read one beside the other.",
    )


def _panels(count: int, height: float) -> tuple[Any, list[Any]]:
    """A figure with panels side by side, all with one vertical axis."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(_WIDTH, round(height, 2)), layout="constrained")
    return figure, list(figure.subplots(1, count, sharey=count > 1, squeeze=False)[0])


def _draw_forest(axes: Any, rows: Sequence[_Row], numbers: Numbers, places: Sequence[str]) -> None:
    """Differences with their intervals, the first row on top."""
    for system in sorted({row.system for row in rows}):
        for shown in (True, False):
            part = [
                row for row in rows if row.system == system and numbers.shown(row.cell) == shown
            ]
            cells = [row.cell for row in part]
            _points(axes, [row.place for row in part], cells, system, numbers, filled=shown)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(places)), places)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(_axis_label(numbers))


def _points(
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
    colour = _palette(system + 1)[system]
    known = [row for row, cell in enumerate(cells) if cell["simultaneous"][0] is not None]
    bounds = [cells[row]["simultaneous"] for row in known]
    if bounds:
        lines = axes.vlines if upright else axes.hlines
        lines(
            [places[row] for row in known], *zip(*bounds, strict=True), color=colour, linewidth=1.3
        )
    differences = [cell["difference"] for cell in cells]
    x, y = (places, differences) if upright else (differences, places)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=_marker(system),
        markersize=4 if upright else 6,
        markerfacecolor=colour if filled or not numbers.result["significance"] else PAPER,
        markeredgecolor=colour,
        clip_on=False,
        zorder=3,
    )


def _legend(figure: Any, axes: Any, labels: Sequence[str]) -> None:
    if len(labels) < 2:
        return
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=_marker(row), label=_short(label))
        for row, (colour, label) in enumerate(zip(_palette(len(labels)), labels, strict=True))
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(4, len(labels)), frameon=False
    )
    axes.set_axisbelow(True)


def _palette(count: int) -> list[Any]:
    """Colours that differ for every kind of colour vision, and on light and dark paper."""
    import seaborn as sns

    return list(sns.color_palette("colorblind", max(count, 1)))


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def _dodge(number: int, count: int) -> float:
    """The offset of a system's point from the middle of its row, in rows."""
    return 0.6 * ((number + 0.5) / count - 0.5)


def _axis_label(numbers: Numbers) -> str:
    name, direction = numbers.measure.name, numbers.measure.direction
    return f"difference in {name}" + (f" ({direction} is better)" if direction != "none" else "")


def _caption(result: dict[str, Any], numbers: Numbers, what: str) -> str:
    text = f"System minus baseline, {what}; {result['better']}."
    if not result["significance"]:
        return f"{text} Nothing was tested."
    return (
        f"{text} Lines are {numbers.percent} % intervals that hold for all members of a family at "
        f"once; a filled point has an adjusted p below {numbers.level:g}."
    )


def _words(entries: Sequence[dict[str, Any]], numbers: Numbers) -> str:
    return "; ".join(
        f"{entry['label']}, {KIND_TITLES[kind]}: {numbers.signed(cell['difference'])}, "
        f"interval {numbers.interval(cell['simultaneous'])}"
        for entry in entries
        for kind, cell in ((kind, entry["groups"][kind]) for kind in kinds_of(entry))
    )


def _short(label: str) -> str:
    """A name that fits a figure; $ would begin a formula."""
    text = label if len(label) <= 28 else f"{label[:12]}…{label[-14:]}"
    return text.replace("$", r"\$")
