"""What a run's page says of the pool of all languages, by query language."""

from __future__ import annotations

from typing import Any, NamedTuple

from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.report.run_content import RunContent
from bias_bench.report.run_statistics import Estimate
from bias_bench.report.run_summary import main_metric


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
    bias, statistics = content.metrics["bias"], content.statistics
    settings = content.metrics["retrieval"].get("multilingual", {}).get("per_setting", {})
    means = settings.get(str(Setting(language, ALL)), {})
    distance = bias.get("rank_distance") or {}
    none = Estimate(0.0)
    sizes = statistics.pools if statistics else {}
    return PooledRow(
        language=language,
        precision=means.get(main_metric(content)),
        precision_interval=(statistics.precision_by_language if statistics else {}).get(
            language, none
        ),
        recall=means.get("R@10"),
        distance=distance.get("per_language", {}).get(language),
        distance_interval=(statistics.distance_by_language if statistics else {}).get(
            language, none
        ),
        median=distance.get("median_per_language", {}).get(language),
        leads=bias.get("same_language_first", {}).get("per_language", {}).get(language),
        first=bias.get("same_language_top1", {}).get("per_language", {}).get(language),
        ten=bias.get("same_language_top10", {}).get("per_language", {}).get(language),
        pool=sizes[language] / sum(sizes.values()) if language in sizes else None,
    )


def top_ten_shares(bias: dict[str, Any], languages: list[str]) -> dict[str, dict[str, Any]]:
    """Share of each candidate language in the pooled top 10, by query language."""
    shares = (bias.get("same_language_top10") or {}).get("shares", {})
    return {
        row: {column: shares[row].get(column) for column in languages}
        for row in languages
        if row in shares
    }
