"""All bias metrics of a run folder, and their values per query.

Everything follows from ranks.parquet and the pooled TREC files; no encoder is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.bias import (
    exposure,
    friedman,
    hubness,
    lang_ndcg,
    language_gaps,
    language_share,
    merge_ceiling,
    other_language_recall,
    peer,
    rank_correlation,
    rank_distance,
    rank_shift,
    same_language_first,
    single_target,
    target_removal,
    top_hit,
    worst_rank,
)
from bias_bench.bias.parallel import LanguageRanks, Parallel, parallel_ranks
from bias_bench.bias.pooled import PooledRun, first_results, read_pooled
from bias_bench.data.ids import language_of
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import parse_setting


class Pooled(NamedTuple):
    """What the metrics read: exact ranks by language, and the top of the pooled rankings.

    `table` has the ranks of all settings.
    """

    parallel: Parallel
    runs: dict[str, PooledRun]
    table: RankTable


class QueryValues(NamedTuple):
    """A metric's values in long form: columns of equal length, a row per query that has a value."""

    settings: list[str]
    queries: list[str]
    topics: list[str]
    paragraphs: list[str]
    articles: list[str]
    values: np.ndarray


def _share(pooled: Pooled, k: int) -> dict[str, Any]:
    top = {language: run.languages for language, run in pooled.runs.items()}
    return language_share.summarise(top, pooled.parallel.languages, k)


METRICS: dict[str, Callable[[Pooled], dict[str, Any]]] = {
    "rank_distance": lambda pooled: rank_distance.summarise(pooled.parallel),
    "worst_rank": lambda pooled: worst_rank.summarise(pooled.parallel),
    "same_language_top1": lambda pooled: _share(pooled, 1),
    "same_language_top10": lambda pooled: _share(pooled, 10),
    "same_language_first": lambda pooled: same_language_first.summarise(pooled.parallel),
    "top_hit": lambda pooled: top_hit.summarise(pooled.runs, pooled.parallel.languages),
    "exposure": lambda pooled: exposure.summarise(pooled.runs, pooled.parallel),
    "rank_biased_overlap": lambda pooled: rank_correlation.summarise_overlap(pooled.runs),
    "kendall@10": lambda pooled: rank_correlation.summarise_kendall(pooled.runs),
    "target_removal": lambda pooled: target_removal.summarise(pooled.parallel),
    "single_target": lambda pooled: single_target.summarise(pooled.parallel),
    "language_gaps": lambda pooled: language_gaps.summarise(pooled.parallel),
    "friedman": lambda pooled: friedman.summarise(pooled.parallel),
    "peer": lambda pooled: peer.summarise(pooled.runs, pooled.parallel),
    "lang_ndcg@20": lambda pooled: lang_ndcg.summarise(pooled.parallel),
    "tlr@20": lambda pooled: other_language_recall.summarise(pooled.parallel),
    "mlrs": lambda pooled: rank_shift.summarise(pooled.parallel),
    "mrc@10": lambda pooled: rank_correlation.summarise_spearman(pooled.runs),
    "merge_ceiling": lambda pooled: merge_ceiling.summarise(pooled.parallel, pooled.table),
    "hubness": lambda pooled: hubness.summarise(pooled.runs, pooled.parallel),
}

# Metrics that say less of ranks known down to a cut-off only; it is then recorded with them.
_OF_RANKS = (
    "rank_distance", "worst_rank", "same_language_first", "target_removal", "single_target",
    "language_gaps", "friedman", "mlrs", "merge_ceiling",
)  # fmt: skip

# Per query; lower is less bias but for same_language_first (neutral: 1/languages) and
# target_removal (neutral: 0).
QUERY_METRICS: dict[str, Callable[[LanguageRanks], np.ndarray]] = {
    "rank_distance": lambda part: rank_distance.rank_distance(part.least),
    "log_rank_distance": lambda part: rank_distance.log_rank_distance(part.least),
    "mean_pairwise_distance": lambda part: rank_distance.mean_pairwise_distance(part.least),
    "worst_rank": lambda part: worst_rank.worst_rank(part.least),
    "same_language_first": lambda part: same_language_first.same_language_first(
        part.ranks, part.own
    ),
    "target_removal": lambda part: target_removal.preference(part.ranks, part.own, part.cutoff),
}
# Of the first result, so from the pooled TREC files; neutral: the language's share of the pool.
FIRST_RESULT = "same_language_top1"


def measure_bias(folder: Path, table: RankTable, languages: Sequence[str]) -> dict[str, Any]:
    """The `bias` part of metrics.json: every metric of `METRICS`, empty where it has no value.

    `table` holds the ranks of the run folder, `languages` are those of the benchmark. Where ranks
    are known down to a cut-off only, metrics of ranks have it as `cutoff`.
    """
    parallel = parallel_ranks(table, languages)
    pooled = Pooled(parallel, read_pooled(folder, parallel), table)
    measured = {name: metric(pooled) for name, metric in METRICS.items()}
    for name in _OF_RANKS if table.cutoff else ():
        if measured[name]:
            measured[name]["cutoff"] = table.cutoff
    return measured


def query_bias(folder: Path, name: str, cutoff: int | None = None) -> QueryValues:
    """One metric of a run folder per query: of `QUERY_METRICS`, or `FIRST_RESULT`.

    Ranks are taken as known down to `cutoff` only; None: as far as the folder knows them.
    """
    long = QueryValues([], [], [], [], [], np.zeros(0))
    for part in parallel_ranks(RankTable(folder / "ranks.parquet", cutoff)).parts.values():
        if name == FIRST_RESULT:
            values = _own_language_first_result(folder, part)
        else:
            values = QUERY_METRICS[name](part)
        rows = np.flatnonzero(~np.isnan(values))
        long.settings.extend([part.setting] * len(rows))
        for column in ("queries", "topics", "paragraphs", "articles"):
            texts = getattr(part.source, column)
            getattr(long, column).extend(texts[row] for row in rows)
        long = long._replace(values=np.append(long.values, values[rows]))
    return long


def _own_language_first_result(folder: Path, part: LanguageRanks) -> np.ndarray:
    """1 where the first result is in the query's language, else 0, NaN without results."""
    own = parse_setting(part.setting).query_language
    return np.array(
        [
            np.nan if name is None else float(language_of(name) == own)
            for name in first_results(folder, part)
        ]
    )
