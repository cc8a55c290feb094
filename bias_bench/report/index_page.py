"""reports/index.html: the pages of runs and comparisons beside it, newest first.

Each page carries in its element `entry` what is said of it here, so that the index is made of the
pages alone, whatever folders their runs were in.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.settings import KINDS
from bias_bench.report.comparison_numbers import labels
from bias_bench.report.render import render
from bias_bench.report.run_content import RunContent
from bias_bench.significance.document import ComparisonDocument
from bias_bench.system.files import (
    digest,
    parse_json,
    read_json,
    remove_stale_files,
    shared_folder,
    write_json,
    write_text,
)

INDEX = "index.html"
_OWNERS = ".runs.json"  # which page is of which folder; a page itself says nothing of places
_OPENING, _CLOSING = '<script type="application/json" id="entry">', "</script>"


class Row(NamedTuple):
    """One run: `precision` by kind of setting is macro AP (higher is better).

    None for what was not measured. `cutoff` is down to where AP is known, of rankings that another
    tool made. `note` must stand beside every figure. `folder` is the run's, as seen from here.
    """

    name: str
    benchmark: str
    system: str
    page: str
    precision: dict[str, float | None]
    rank_distance: float | None
    median_rank_distance: float | None
    same_language_top1: float | None
    demonstration: bool
    cutoff: int | None = None
    note: str | None = None
    folder: str | None = None


class ComparisonRow(NamedTuple):
    """One comparison: `baseline` and `systems` are short names; `tested` with significance."""

    benchmark: str
    metric: str
    baseline: str
    systems: list[str]
    tested: bool
    page: str


def run_entry(content: RunContent) -> dict[str, Any]:
    """What the page of a run tells the index: a `Row` but for the page's name."""
    manifest, bias = content.manifest, content.metrics.bias
    distance, first = bias.rank_distance, bias.same_language_top1
    precision = content.precision
    return {
        "name": manifest.name,
        "benchmark": manifest.benchmark,
        "system": manifest.system,
        "precision": {kind: precision[kind].value if kind in precision else None for kind in KINDS},
        "rank_distance": distance.macro if distance else None,
        "median_rank_distance": distance.median if distance else None,
        "same_language_top1": first.macro if first else None,
        "demonstration": manifest.demonstration,
        "cutoff": content.metrics.cutoff,
        "note": manifest.note,
    }


def comparison_entry(result: ComparisonDocument) -> dict[str, Any]:
    """What the page of a comparison tells the index: a `ComparisonRow` but for the page's name."""
    short = labels(result)
    return {
        "benchmark": result.benchmark,
        "metric": result.metric,
        "baseline": short[result.baseline],
        "systems": [entry.label for entry in result.systems],
        "tested": result.significance,
    }


def write_index(reports: Path) -> Path:
    """Write the index of the pages in `reports`; a file that is not such a page is left out.

    One process at a time, so that of several runs the last one finds the pages of all.
    """
    with shared_folder(reports):
        remove_stale_files(reports)
        pages = [path for path in reports.glob("[!.]*.html") if path.name != INDEX]
        newest = sorted(pages, key=lambda path: (-path.stat().st_mtime_ns, path.name))
        owners = _owners(reports)
        rows = [
            row._replace(folder=owners.get(path.name)) if isinstance(row, Row) else row
            for path in newest
            if (row := _row(path.name, _entry(path))) is not None
        ]
        write_text(reports / INDEX, render_index(rows))
    return reports / INDEX


def run_of_page(page: Path) -> str | None:
    """The name of the run whose page this is; None for any other file, or none."""
    entry = _entry(page) if page.is_file() else None
    return entry.get("name") if entry else None


def claim_page(folder: Path, reports: Path) -> Path:
    """Where the page of a run folder goes; from then on that page is the folder's.

    The page has the folder's name. Where that is the page of another folder that is still a run's,
    or of a comparison, eight digits of a hash of the way to the folder follow.
    """
    name, way = folder.resolve().name, os.path.relpath(folder.resolve(), reports.resolve())
    with shared_folder(reports):
        page, owners = reports / f"{name}.html", _owners(reports)
        owner = owners.get(page.name, way)
        entry = _entry(page) if page.is_file() else None
        compares = entry is not None and "name" not in entry
        if compares or (owner != way and (reports / owner / "manifest.json").is_file()):
            page = reports / f"{name}-{digest(way)[:8]}.html"
        write_json(reports / _OWNERS, {**owners, page.name: way})
    return page


def _owners(reports: Path) -> dict[str, str]:
    """The way to the run folder of each page, as far as it is known."""
    try:
        ways = read_json(reports / _OWNERS)
    except BiasBenchError:
        return {}
    pairs = ways.items() if isinstance(ways, dict) else ()
    return {page: way for page, way in pairs if isinstance(way, str)}


def render_index(rows: Sequence[Row | ComparisonRow]) -> str:
    """The index's HTML: comparisons, then runs by benchmark, each in the order given."""
    runs = [row for row in rows if isinstance(row, Row)]
    return render(
        "index.html.j2",
        tables=[
            (name, [row for row in runs if row.benchmark == name])
            for name in dict.fromkeys(row.benchmark for row in runs)
        ],
        comparisons=[row for row in rows if isinstance(row, ComparisonRow)],
        shared={name for name, number in Counter(row.name for row in runs).items() if number > 1},
    )


def _entry(page: Path) -> dict[str, Any] | None:
    """What a page says of itself; None where it is not a page of this package."""
    text = page.read_text(encoding="utf-8", errors="replace")
    _, opening, rest = text.partition(_OPENING)
    try:
        entry = parse_json(rest.partition(_CLOSING)[0]) if opening else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _row(page: str, entry: dict[str, Any] | None) -> Row | ComparisonRow | None:
    """The row of a page; None where its entry is damaged, or of another version."""
    if entry is None:
        return None
    kind: Any = Row if "name" in entry else ComparisonRow
    try:
        row = TypeAdapter(kind).validate_python({**entry, "page": page})
    except ValidationError:
        return None
    return row if kind is ComparisonRow or set(KINDS) <= row.precision.keys() else None
