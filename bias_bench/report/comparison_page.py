"""The page of a comparison: tables, forests, matrices of differences, methods. Self-contained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.console import warn
from bias_bench.errors import UsageError
from bias_bench.evaluation.settings import Setting, parse_setting
from bias_bench.files import json_text, require_writable, write_text
from bias_bench.languages import language_name
from bias_bench.report.comparison_figures import (
    Figure,
    bias_against_quality,
    macro_forest,
    pairs_forest,
    settings_forest,
)
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Cell,
    KindSummary,
    Named,
    Numbers,
    kinds_of,
    labels,
    settings_of,
)
from bias_bench.report.render import render

LARGEST_PAGE = 2_000_000  # bytes


class Shaded(NamedTuple):
    """A cell of a matrix. `share` in [0, 1] is the difference's size over the table's largest.

    `gain` says whether it is an improvement (an increase, for a metric without direction).
    """

    text: str
    share: float
    gain: bool
    shown: bool


class Matrix(NamedTuple):
    """Differences of one system: query languages (rows) by candidate languages (columns)."""

    languages: list[str]
    rows: list[list[Shaded | None]]


class Section(NamedTuple):
    """What the page says of one system."""

    entry: dict[str, Any]
    summaries: list[KindSummary]
    matrix: Matrix | None
    figures: list[Figure]
    settings: list[Named]


class Pair(NamedTuple):
    """Two systems and what Tukey HSD says of them, a cell for each kind of setting."""

    name: str
    cells: list[dict[str, Any]]


def check_page(path: Path) -> None:
    """Raise UsageError or BiasBenchError unless a page can be written to `path`."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the page a file name, such as gain.html")
    require_writable(path.parent)


def write_comparison_page(result: dict[str, Any], path: Path) -> Path:
    """Write the page of a comparison; returns its path."""
    check_page(path)
    page = render_comparison_page(result)
    size = len(page.encode("utf-8"))
    if size > LARGEST_PAGE:
        warn(f"{path}: {size / 1e6:.1f} MB is large for a page; compare fewer systems in one")
    write_text(path, page)
    return path


def render_comparison_page(result: dict[str, Any]) -> str:
    """The page's HTML; equal results give equal bytes."""
    numbers = Numbers(result)
    return render(
        "comparison.html.j2",
        result=result,
        numbers=numbers,
        label=labels(result)[result["baseline"]],
        members=list(
            zip(result["overview"], [result["baseline_system"], *result["systems"]], strict=True)
        ),
        kind_titles=KIND_TITLES,
        kinds_of=kinds_of,
        language_name=language_name,
        macro=macro_forest(result, numbers),
        bias=bias_against_quality(result),
        sections=[
            _section(result, entry, numbers, number)
            for number, entry in enumerate(result["systems"])
        ],
        pairs=_pairs(result),
        embedded=json_text(result).replace("<", "\\u003c"),
    )


def _section(
    result: dict[str, Any], entry: dict[str, Any], numbers: Numbers, number: int
) -> Section:
    figures = [
        settings_forest(result, entry, numbers, f"languages{number}"),
        pairs_forest(result, entry, numbers, f"pairs{number}"),
    ]
    return Section(
        entry=entry,
        summaries=numbers.summaries(entry),
        matrix=_matrix(entry, numbers),
        figures=[figure for figure in figures if figure],
        settings=[named for kind in kinds_of(entry) for named in settings_of(entry, kind)],
    )


def _matrix(entry: dict[str, Any], numbers: Numbers) -> Matrix | None:
    """Differences of the settings of one and of two languages; None without the latter."""
    if "cross_lingual" not in entry["groups"]:
        return None
    cells: dict[Setting, Cell] = {
        parse_setting(named.name): named.cell
        for kind in ("monolingual", "cross_lingual")
        for named in settings_of(entry, kind)
    }
    languages = sorted({language for setting in cells for language in setting})
    largest = max(abs(cell["difference"]) for cell in cells.values()) or 1.0
    rows = [
        [
            _shaded(cells.get(Setting(query, pool)), numbers, largest)
            for pool in languages
        ]
        for query in languages
    ]  # fmt: skip
    return Matrix(languages, rows)


def _shaded(cell: Cell | None, numbers: Numbers, largest: float) -> Shaded | None:
    if cell is None:
        return None
    return Shaded(
        numbers.signed(cell["difference"]),
        round(abs(cell["difference"]) / largest, 3),
        numbers.gain(cell) >= 0,
        numbers.shown(cell),
    )


def _pairs(result: dict[str, Any]) -> list[Pair]:
    if "tukey" not in result:
        return []
    short, found = labels(result), result["tukey"]["groups"]
    return [
        Pair(f"{short[cells[0]['system']]} − {short[cells[0]['other']]}", list(cells))
        for cells in zip(*(found[kind] for kind in kinds_of(result["tukey"])), strict=True)
    ]
