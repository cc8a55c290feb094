"""What `score` prints: macro averages by kind of setting, and language bias."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bias_bench.cli.output import print_json, print_table
from bias_bench.console import result
from bias_bench.evaluation.metrics import metrics_within
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.settings import KINDS
from bias_bench.report.tables import Column, Table

_KIND_NAMES = {
    "monolingual": "one language",
    "cross_lingual": "two languages",
    "multilingual": "all languages",
}


def print_scores(folder: Path, output_format: Literal["table", "json"]) -> None:
    """The figures of a folder of scored rankings; as JSON, all that metrics.json holds."""
    metrics = Metrics.load(folder)
    if output_format == "json":
        print_json({"run": folder.name, "folder": str(folder), **metrics.dump()})
        return
    print_table(_retrieval(metrics))
    rows = _bias_rows(metrics)
    if rows:
        result("")
        print_table(_table(["language bias, all languages", "value"], rows))


def _retrieval(metrics: Metrics) -> Table:
    kinds = [kind for kind in KINDS if kind in metrics.retrieval]
    names = [str(metric) for metric in metrics_within(metrics.cutoff or 0)]
    rows = []
    for kind in kinds:
        found = metrics.retrieval[kind]
        queries = sum(metrics.counts[name].queries for name in found.per_setting)
        values = [f"{found.macro[name]:.4f}" for name in names]
        rows.append([_KIND_NAMES[kind], str(len(found.per_setting)), f"{queries:,}", *values])
    return _table(["pool", "settings", "queries", *names], rows)


def _bias_rows(metrics: Metrics) -> list[list[str]]:
    """A row for each of the main figures that the rankings have."""
    bias = metrics.bias
    figures = (
        (bias.rank_distance, f"rank distance (at least; rankings end at {metrics.cutoff})", 1),
        (bias.same_language_top1, "same language, top 1", 3),
        (bias.same_language_first, "own language first among parallel candidates", 3),
    )
    return [[label, f"{found.macro:.{digits}f}"] for found, label, digits in figures if found]


def _table(headings: list[str], rows: list[list[str]]) -> Table:
    table = Table([Column(headings[0], "name"), *map(Column, headings[1:])])
    for row in rows:
        table.add_row(*row)
    return table
