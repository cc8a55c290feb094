"""scores.parquet: every scorer's value of every metric for every query of every setting.

Columns: setting, query, topic, paragraph, article, scorer (exact, ranx, trec_eval), metric
(dictionaries) and value (float64).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bias_bench.evaluation.metrics import Metric
from bias_bench.evaluation.ranks import RankedQueries
from bias_bench.system.files import atomic_path, read_parquet

SCORERS = ("exact", "ranx", "trec_eval")
AGREEMENT_LIMIT = 1e-4
_TEXT = ("setting", "query", "topic", "paragraph", "article", "scorer", "metric")


class SettingScores(NamedTuple):
    """Values [queries] of one setting, scorer by scorer; queries as in `queries`."""

    setting: str
    queries: RankedQueries
    values: dict[str, dict[Metric, np.ndarray]]


class Agreement(NamedTuple):
    """The largest difference between scorers over all values that two of them share."""

    max_abs_difference: float
    compared: int
    worst: str


def agreement(scores: Sequence[SettingScores]) -> Agreement:
    """Compare every scorer with the exact one, value by value."""
    largest, compared, worst = 0.0, 0, "none"
    for scored in scores:
        for scorer, by_metric in scored.values.items():
            if scorer == "exact":
                continue
            for metric, values in by_metric.items():
                exact = scored.values["exact"][metric]
                difference = np.nan_to_num(np.abs(values - exact), nan=np.inf)
                compared += len(values)
                row = int(difference.argmax())
                if difference[row] > largest:
                    largest = float(difference[row])
                    worst = (
                        f"{metric} of {scored.queries.queries[row]} in {scored.setting}: "
                        f"{scorer} {values[row]:.6f}, exact {exact[row]:.6f}"
                    )
    return Agreement(largest, compared, worst)


def write_scores(path: Path, scores: Sequence[SettingScores]) -> None:
    """Write all values in long form, ordered by setting, scorer, metric and query."""
    columns: dict[str, list[pa.Array]] = {name: [] for name in (*_TEXT, "value")}
    for scored in scores:
        of_query = {
            "query": pa.array(scored.queries.queries),
            "topic": pa.array(scored.queries.topics),
            "paragraph": pa.array(scored.queries.paragraphs),
            "article": pa.array(scored.queries.articles),
        }
        for scorer in SCORERS:
            for metric, values in scored.values[scorer].items():
                length = len(values)
                for name, array in of_query.items():
                    columns[name].append(array)
                for name, text in (("setting", scored.setting), ("scorer", scorer)):
                    columns[name].append(pa.repeat(text, length))
                columns["metric"].append(pa.repeat(str(metric), length))
                columns["value"].append(pa.array(values, pa.float64()))
    arrays = {
        name: pa.chunked_array(columns[name]).dictionary_encode()
        if name != "value"
        else pa.chunked_array(columns[name])
        for name in columns
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(arrays).combine_chunks(), temporary, compression="zstd")


def mean_scores(path: Path) -> dict[str, dict[str, float]]:
    """The exact scorer's mean over queries, per setting and metric."""
    table = read_exact(path, ["setting", "metric", "value"])
    text = {name: table[name].cast(pa.string()) for name in ("setting", "metric")}
    grouped = pa.table({**text, "value": table["value"]}).group_by(
        ["setting", "metric"], use_threads=False
    )
    means: dict[str, dict[str, float]] = {}
    for row in grouped.aggregate([("value", "mean")]).to_pylist():
        means.setdefault(row["setting"], {})[row["metric"]] = row["value_mean"]
    return means


def count_queries(path: Path) -> dict[str, int]:
    """Queries with a relevant candidate, per setting."""
    table = read_exact(path, ["setting", "metric"])
    if not len(table):
        return {}
    metrics = table["metric"].cast(pa.string())  # every metric has every query
    chosen = table["setting"].filter(pc.equal(metrics, metrics[0]))
    counts = pc.value_counts(chosen.cast(pa.string()))
    return {row["values"]: row["counts"] for row in counts.to_pylist()}


def read_exact(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The exact scorer's rows of scores.parquet; DataError where it is absent or damaged."""
    return read_parquet(path, columns, [("scorer", "=", "exact")])
