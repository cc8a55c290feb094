"""What a run's page says of the pool of all languages, by query language."""

from __future__ import annotations

from typing import NamedTuple

from bias_bench.evaluation.metrics_document import Average, Bias, LanguageTable
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.report.run_content import RunContent
from bias_bench.report.run_statistics import Estimate


class PooledRow(NamedTuple):
    """One query language in the pool of all languages; None for what was not measured.

    `leads` is the share of queries whose own-language answer is before its translations, `first`
    and `ten` are the shares of the query's language in the top 1 and top 10, `pool` is its share of
    the candidates.
    """

    language: str
    precision: float | None
    precision_interval: Estimate
    recall: float | None
    distance: float | None
    distance_interval: Estimate
    median: float | None
    leads: float | None
    first: float | None
    ten: float | None
    pool: float | None


def pooled_row(content: RunContent, language: str) -> PooledRow:
    bias, statistics = content.metrics.bias, content.statistics
    pooled = content.metrics.retrieval.get("multilingual")
    means = pooled.per_setting.get(str(Setting(language, ALL)), {}) if pooled else {}
    distance = bias.rank_distance
    none = Estimate(0.0)
    sizes = statistics.pools if statistics else {}
    return PooledRow(
        language=language,
        precision=means.get(content.metrics.average_precision),
        precision_interval=(statistics.precision_by_language if statistics else {}).get(
            language, none
        ),
        recall=means.get("R@10"),
        distance=_of(distance, language),
        distance_interval=(statistics.distance_by_language if statistics else {}).get(
            language, none
        ),
        median=distance.median_per_language.get(language) if distance else None,
        leads=_of(bias.same_language_first, language),
        first=_of(bias.same_language_top1, language),
        ten=_of(bias.same_language_top10, language),
        pool=sizes[language] / sum(sizes.values()) if language in sizes else None,
    )


def _of(measured: Average | None, language: str) -> float | None:
    return measured.per_language.get(language) if measured else None


def top_ten_shares(bias: Bias, languages: list[str]) -> LanguageTable:
    """Share of each candidate language in the pooled top 10, by query language."""
    shares = bias.same_language_top10.shares if bias.same_language_top10 else {}
    return {
        row: {column: shares[row].get(column) for column in languages}
        for row in languages
        if row in shares
    }
