"""The page of one run: macro table, language matrix, bias, provenance. Self-contained HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics import FULL_METRICS, SHARED_METRICS
from bias_bench.evaluation.settings import ALL, KINDS, Setting
from bias_bench.files import json_text, read_json, write_text
from bias_bench.languages import language_name
from bias_bench.manifest import read_manifest
from bias_bench.report.render import render

METRICS_SCHEMA = 1
_KIND_NAMES = {
    "monolingual": "Monolingual",
    "cross_lingual": "Cross-lingual",
    "multilingual": "Multilingual pool",
}


class Cell(NamedTuple):
    """A shaded number: `share` in [0, 1] is its place between the table's extremes."""

    value: float
    share: float


def write_run_page(folder: Path, reports: Path) -> Path:
    """Render a complete run folder to ``<reports>/<run>.html``; returns the page's path."""
    manifest, metrics = read_manifest(folder), read_metrics(folder)
    page = reports / f"{folder.resolve().name}.html"
    write_text(page, render_run_page(manifest, metrics))
    return page


def read_metrics(folder: Path) -> dict[str, Any]:
    """A run folder's metrics.json; BiasBenchError when absent or from a newer version."""
    path = folder / "metrics.json"
    if not path.is_file():
        raise BiasBenchError(f"{folder}: holds no metrics.json; finish it with `biasbench run`")
    metrics = read_json(path)
    if metrics.get("schema") != METRICS_SCHEMA:
        raise BiasBenchError(
            f"{path}: schema {metrics.get('schema')} is not known to this version of biasbench; "
            "update it"
        )
    return metrics


def render_run_page(manifest: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The page's HTML; equal input gives equal bytes."""
    languages = list(metrics["bias"]["rank_distance"]["per_language"])
    return render(
        "run.html.j2",
        manifest=manifest,
        metrics=metrics,
        languages=languages,
        language_name=language_name,
        kinds=[(kind, _KIND_NAMES[kind]) for kind in KINDS if kind in metrics["retrieval"]],
        metric_names=_metric_names(metrics),
        matrix_rows=_matrix(metrics, languages, "AP"),
        share_rows=_shares(metrics, languages),
        pools={language: str(Setting(language, ALL)) for language in languages},
        embedded=json_text(metrics).replace("<", "\\u003c"),
    )


def _metric_names(metrics: dict[str, Any]) -> list[str]:
    """The metrics of the run in the order in which the package lists them."""
    known = [str(metric) for metric in (*FULL_METRICS, *SHARED_METRICS)]
    return [name for name in known if name in metrics["retrieval"]["monolingual"]["macro"]]


def _matrix(metrics: dict[str, Any], languages: list[str], metric: str) -> list[list[Cell]]:
    """A metric for each query language (rows) and pool language (columns)."""
    values: dict[str, float] = {}
    for kind in ("monolingual", "cross_lingual"):
        for name, means in metrics["retrieval"].get(kind, {}).get("per_setting", {}).items():
            values[name] = means[metric]
    rows = [[values[str(Setting(row, column))] for column in languages] for row in languages]
    return _shaded(rows)


def _shares(metrics: dict[str, Any], languages: list[str]) -> list[list[Cell]]:
    """Share of each candidate language (columns) in the pooled top 10, by query language."""
    shares = metrics["bias"]["same_language_top10"]["shares"]
    return _shaded([[shares[row][column] for column in languages] for row in languages])


def _shaded(rows: list[list[float]]) -> list[list[Cell]]:
    lowest, highest = min(map(min, rows)), max(map(max, rows))
    span = (highest - lowest) or 1.0
    return [[Cell(value, round((value - lowest) / span, 3)) for value in row] for row in rows]
