"""The page of a comparison: tables, forests, matrices of differences, methods. Self-contained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench import __version__
from bias_bench.console import warn
from bias_bench.errors import UsageError
from bias_bench.files import require_writable, write_text
from bias_bench.languages import language_name
from bias_bench.report.comparison_figures import (
    bias_against_quality,
    macro_forest,
    pairs_forest,
    settings_forest,
)
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    KindSummary,
    Named,
    Numbers,
    kinds_of,
    labels,
    pooled_names,
    settings_of,
)
from bias_bench.report.comparison_summary import comparison_sentences
from bias_bench.report.comparison_tables import (
    LanguageMatrices,
    command_of,
    language_matrices,
    pair_matrices,
    search_words,
)
from bias_bench.report.figure_parts import Figure
from bias_bench.report.index_page import INDEX, comparison_entry, run_of_page
from bias_bench.report.render import embeddable, render
from bias_bench.significance.document import ComparedSystem, ComparisonDocument
from bias_bench.significance.document import Pair as TestedPair
from bias_bench.significance.methods import PARAGRAPHS, any_family

LARGEST_PAGE = 2_000_000  # bytes


class Section(NamedTuple):
    """What the page says of one system."""

    entry: ComparedSystem
    summaries: list[KindSummary]
    matrices: LanguageMatrices | None
    figures: list[Figure]
    settings: list[Named]


class Pair(NamedTuple):
    """Two systems and what the test of all pairs says of them, a cell for each kind of setting."""

    name: str
    cells: Sequence[TestedPair]


def check_page(path: Path) -> None:
    """Raise UsageError or BiasBenchError unless a page can be written to `path`."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the page a file name, such as gain.html")
    if path.name == INDEX:
        raise UsageError(f"{path}: is where the index of all pages goes; give another name")
    if run := run_of_page(path):
        raise UsageError(f"{path}: is the page of the run {run}; give the comparison another name")
    require_writable(path.parent)


def write_comparison_page(result: ComparisonDocument, path: Path) -> Path:
    """Write the page of a comparison; returns its path."""
    check_page(path)
    page = render_comparison_page(result)
    size = len(page.encode("utf-8"))
    if size > LARGEST_PAGE:
        warn(f"{path}: {size / 1e6:.1f} MB is large for a page; compare fewer systems in one")
    write_text(path, page)
    return path


def render_comparison_page(result: ComparisonDocument) -> str:
    """The page's HTML; equal results give equal bytes."""
    numbers, (precision, distance) = Numbers(result), pooled_names(result)
    return render(
        "comparison.html.j2",
        result=result,
        numbers=numbers,
        label=labels(result)[result.baseline],
        sentences=comparison_sentences(result, numbers),
        any_family=any_family(result),
        paragraphs=PARAGRAPHS,
        precision=precision,
        distance=distance,
        members=list(zip(result.overview, [result.baseline_system, *result.systems], strict=True)),
        kind_titles=KIND_TITLES,
        kinds_of=kinds_of,
        language_name=language_name,
        macro=macro_forest(result, numbers),
        bias=bias_against_quality(result),
        sections=[
            _section(result, entry, numbers, number) for number, entry in enumerate(result.systems)
        ],
        pairs=_pairs(result),
        pair_matrices=pair_matrices(result, numbers),
        search_words=search_words,
        command=command_of(result),
        version=__version__,
        entry=embeddable(comparison_entry(result)),
        embedded=embeddable(result.as_json()),
    )


def _section(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, number: int
) -> Section:
    figures = [
        settings_forest(result, entry, numbers, f"languages{number}"),
        pairs_forest(result, entry, numbers, f"pairs{number}"),
    ]
    return Section(
        entry=entry,
        summaries=numbers.summaries(entry),
        matrices=language_matrices(entry, numbers),
        figures=[figure for figure in figures if figure],
        settings=[named for kind in kinds_of(entry) for named in settings_of(entry, kind)],
    )


def _pairs(result: ComparisonDocument) -> list[Pair]:
    if not result.tukey:
        return []
    short, found = labels(result), result.tukey.groups
    return [
        Pair(f"{short[cells[0].system]} − {short[cells[0].other]}", cells)
        for cells in zip(*(found[kind] for kind in kinds_of(result.tukey)), strict=True)
    ]
