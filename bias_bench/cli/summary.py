"""What `run` and `score` print: the few numbers that matter, per run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from bias_bench.cli.output import print_json, print_table
from bias_bench.evaluation.metrics import metrics_within
from bias_bench.evaluation.metrics_document import IndexRecall, Metrics
from bias_bench.evaluation.settings import KINDS
from bias_bench.report.tables import Column, Table
from bias_bench.report.wording import MISSING
from bias_bench.system.console import result

_AVERAGED = ("nDCG@10", "R@100")
_POOLS = {
    "monolingual": "one language",
    "cross_lingual": "two languages",
    "multilingual": "all languages",
}


def print_summary(folders: list[Path], output_format: Literal["table", "json"]) -> None:
    """Macro AP per kind of setting and the bias metrics of each run.

    For a benchmark with averages of its own, such as MIRACL, those too; and what approximate
    indexes find of the exact results, on average over pools and at worst.
    """
    rows = [_row(folder) for folder in folders]
    if output_format == "json":
        print_json({"runs": rows})
        return
    averages = list(dict.fromkeys(name for row in rows for name in row["averages"]))
    averaged = [(metric, name) for name in averages for metric in _AVERAGED]
    recalls = list(dict.fromkeys(name for row in rows for name in row["index"]))
    figures = [
        *("AP mono", "AP cross", "AP pool", "rank distance", "same language top 1"),
        *(f"{metric} {name}" for metric, name in averaged),
        *(f"index {name} (lowest)" for name in recalls),
    ]
    table = _table("run", figures)
    for row in rows:
        table.add_row(
            row["run"] if row["metric"] == "AP" else f"{row['run']} ({row['metric']})",
            *(_number(row["AP"][kind], 4) for kind in KINDS),
            _number(row["rank_distance"], 1),
            _number(row["same_language_top1"], 3),
            *(_number(row["averages"].get(name, {}).get(metric), 4) for metric, name in averaged),
            *(_recall(row["index"].get(name)) for name in recalls),
        )
    print_table(table)


def print_scores(folder: Path, output_format: Literal["table", "json"]) -> None:
    """The figures of a folder of scored rankings; as JSON, all that metrics.json holds."""
    metrics = Metrics.load(folder)
    if output_format == "json":
        print_json({"run": folder.name, "folder": str(folder), **metrics.dump()})
        return
    names = [str(metric) for metric in metrics_within(metrics.cutoff or 0)]
    table = _table("pool", ["settings", "queries", *names])
    for kind in (kind for kind in KINDS if kind in metrics.retrieval):
        means = metrics.retrieval[kind]
        queries = sum(metrics.counts[setting].queries for setting in means.per_setting)
        values = (_number(means.macro[name], 4) for name in names)
        table.add_row(_POOLS[kind], str(len(means.per_setting)), f"{queries:,}", *values)
    print_table(table)
    bias, table = metrics.bias, _table("language bias, all languages", ["value"])
    for measured, label, digits in (
        (bias.rank_distance, f"rank distance (at least; rankings end at {metrics.cutoff})", 1),
        (bias.same_language_top1, "same language, top 1", 3),
        (bias.same_language_first, "own language first among parallel candidates", 3),
    ):
        if measured:
            table.add_row(label, _number(measured.macro, digits))
    if table.rows:
        result("")
        print_table(table)


def _table(names: str, figures: list[str]) -> Table:
    return Table([Column(names, "name"), *map(Column, figures)])


def _averages(metrics: Metrics) -> dict[str, dict[str, float]]:
    """The benchmark's own, and that over all languages where each was searched alone."""
    if metrics.retrieval.keys() != {"monolingual"}:
        return {}
    alone = metrics.retrieval["monolingual"]
    named = {name: average.values for name, average in alone.averages.items()}
    return named or {f"all-{len(alone.per_setting)}": alone.macro}


def _index(index: IndexRecall | None) -> dict[str, Any]:
    """By depth, the recall of the run's indexes: the mean over pools, and the lowest."""
    if index is None:
        return {}
    return {
        name: {"macro": value, "lowest": index.lowest[name].dump()}
        for name, value in index.macro.items()
    }


def _recall(recall: dict[str, Any] | None) -> str:
    if recall is None:
        return MISSING
    lowest = recall["lowest"]
    return f"{recall['macro']:.3f} ({lowest['value']:.3f} {lowest['pool']})"


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _row(folder: Path) -> dict[str, Any]:
    metrics = Metrics.load(folder)
    retrieval, metric = metrics.retrieval, metrics.average_precision
    distance, first = metrics.bias.rank_distance, metrics.bias.same_language_top1
    return {
        "run": folder.name,
        "folder": str(folder),
        "metric": metric,
        "AP": {
            kind: retrieval[kind].macro[metric] if kind in retrieval else None for kind in KINDS
        },
        "rank_distance": distance.macro if distance else None,
        "same_language_top1": first.macro if first else None,
        "averages": _averages(metrics),
        "index": _index(metrics.index),
    }
