"""The sentences of one run's page, and the figures of a run that they and the tables share."""

from __future__ import annotations

from typing import Any, NamedTuple

from bias_bench.evaluation.metrics_document import RankDistanceMeans
from bias_bench.evaluation.settings import ALL, KINDS, parse_setting
from bias_bench.report import summary
from bias_bench.report.run_content import RunContent
from bias_bench.report.run_statistics import Estimate, RunStatistics
from bias_bench.report.run_tables import average_rows


class Curve(NamedTuple):
    """Training as it was logged: `evaluations` are steps with their validation losses."""

    rows: list[dict[str, Any]]
    evaluations: list[tuple[int, float]]

    @property
    def steps(self) -> int:
        return int(self.rows[-1]["step"])


def training_curve(content: RunContent) -> Curve | None:
    """The log of training, where there was any."""
    rows = content.training
    if not rows:
        return None
    found = [(int(row["step"]), float(row["validation"])) for row in rows if "validation" in row]
    return Curve(rows, found)


def precision_by_kind(content: RunContent) -> dict[str, Estimate]:
    """Macro AP of each kind of setting, with its interval where the ranks are at hand."""
    if content.statistics is not None:
        return content.statistics.precision
    retrieval, metric = content.metrics.retrieval, content.metrics.average_precision
    return {kind: Estimate(retrieval[kind].macro[metric]) for kind in KINDS if kind in retrieval}


def sentences(content: RunContent) -> list[str]:
    """What the page says of the run first; only of what was measured."""
    metric = content.metrics.average_precision
    found = [summary.retrieval(precision_by_kind(content), len(languages_of(content)), metric)]
    found += [summary.average(*row) for row in average_rows(content.metrics) if row.values]
    if content.metrics.index:
        found.append(summary.index_recall(content.metrics.index))
    statistics = content.statistics
    if statistics and statistics.crossing:
        found.append(summary.crossing(statistics.crossing, statistics.parallel))
    found += _bias_sentences(content)
    if statistics and statistics.precision_by_language:
        found.append(
            summary.query_languages(
                statistics.precision_by_language, statistics.precision_from_mean
            )
        )
    bias = content.metrics.bias
    # with BM25 the order of what it does not find is that of the ids
    if bias.friedman and unmatched(content) is None:
        found.append(summary.candidate_languages(bias.friedman.all_queries, bias.friedman.unit))
    if bias.language_probe:
        found.append(summary.language_probe(bias.language_probe))
    robustness = content.metrics.robustness
    if robustness:
        worst = summary.robustness(robustness.perturbations, searched_ap(content))
        found += [worst] if worst else []
    curve = training_curve(content)
    if curve:
        found.append(summary.training(curve.steps, curve.evaluations))
    if statistics:
        known = any(estimate.known for estimate in statistics.precision.values())
        found.append(summary.basis(statistics.topics, statistics.unit, statistics.units, known))
    return [text.replace(" %", "\N{NO-BREAK SPACE}%") for text in found]


def unmatched(content: RunContent) -> str | None:
    """For a lexical run: how much it finds at all, and what that means for ranks."""
    found = content.metrics.found
    if not found:
        return None
    shares: dict[str, list[float]] = {}
    for setting, share in found.items():
        shares.setdefault(parse_setting(setting).kind, []).append(share)
    means = {kind: sum(values) / len(values) for kind, values in shares.items()}
    return summary.unmatched(means).replace(" %", "\N{NO-BREAK SPACE}%")


def searched_ap(content: RunContent) -> str:
    """What AP is called of the pool that robustness is measured in."""
    return "pooled AP" if "multilingual" in content.metrics.retrieval else "AP"


def languages_of(content: RunContent) -> list[str]:
    """The languages of the benchmark, by code."""
    if content.manifest.languages is not None:
        return sorted(content.manifest.languages)
    kinds = content.metrics.retrieval.values()
    settings = [parse_setting(name) for kind in kinds for name in kind.per_setting]
    return sorted({language for setting in settings for language in setting} - {ALL})


def _bias_sentences(content: RunContent) -> list[str]:
    bias, statistics = content.metrics.bias, content.statistics
    languages = languages_of(content)
    measured = bias.rank_distance
    found = []
    if statistics and statistics.distance and measured:
        known = statistics.parallel and measured.cutoff is None
        floor = len(languages) - 1 if known else None
        found.append(
            summary.distance(
                statistics.distance,
                measured.median,
                floor,
                _ceiling(measured, statistics),
                measured.found.share if measured.found else None,
                measured.cutoff,
            )
        )
    first = bias.same_language_first
    if first:
        excess = statistics.first_excess if statistics else None
        found.append(summary.preference(first.macro, first.chance.macro, excess))
    if bias.same_language_top1:
        parts = {name: part.macro for name, part in bias.top_hit.items() if part}
        share = 1 / len(languages) if statistics and statistics.pools else None
        found.append(summary.first_results(bias.same_language_top1.macro, share, parts))
    return found


def _ceiling(measured: RankDistanceMeans, statistics: RunStatistics) -> int | None:
    """The largest rank distance that could be measured, where it is known."""
    if measured.cutoff is not None:
        return measured.cutoff
    return sum(statistics.pools.values()) - 1 if statistics.pools else None
