"""reports/index.html: the runs that have a page, side by side, one table per benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench.evaluation.settings import KINDS
from bias_bench.files import write_text
from bias_bench.manifest import read_manifest
from bias_bench.report.render import render
from bias_bench.report.run_content import RunContent, read_metrics
from bias_bench.report.run_summary import precision_by_kind

INDEX = "index.html"


class Row(NamedTuple):
    """One run: `precision` by kind of setting is macro AP (higher is better).

    None for what was not measured. `cutoff` is down to where AP is known, of rankings that another
    tool made.
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


def write_index(runs: Path, reports: Path) -> Path:
    """Write the index of the complete runs below `runs` that have a page in `reports`."""
    folders = sorted(path.parent for path in runs.glob("*/metrics.json"))
    rows = [_row(folder) for folder in folders if (reports / f"{folder.name}.html").is_file()]
    write_text(reports / INDEX, render_index(rows))
    return reports / INDEX


def render_index(rows: Sequence[Row]) -> str:
    """The index's HTML; benchmarks by name, runs by pooled AP, best first."""
    names = sorted({row.benchmark for row in rows})
    tables = [
        (
            name,
            sorted(
                (row for row in rows if row.benchmark == name),
                key=lambda row: (-(row.precision["multilingual"] or 0.0), row.name),
            ),
        )
        for name in names
    ]
    return render("index.html.j2", tables=tables)


def _row(folder: Path) -> Row:
    content = RunContent(read_manifest(folder), read_metrics(folder))
    manifest, bias = content.manifest, content.metrics["bias"]
    distance = bias.get("rank_distance") or {}
    found = precision_by_kind(content)
    return Row(
        name=folder.name,
        benchmark=manifest["benchmark"],
        system=manifest["system"],
        page=f"{folder.name}.html",
        precision={kind: found[kind].value if kind in found else None for kind in KINDS},
        rank_distance=distance.get("macro"),
        median_rank_distance=distance.get("median"),
        same_language_top1=(bias.get("same_language_top1") or {}).get("macro"),
        demonstration=manifest["demonstration"],
        cutoff=content.metrics.get("cutoff"),
    )
