"""Tables of a run's page: shaded matrices, quantiles, the list of all bias metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.evaluation.metrics_document import (
    Average,
    Bias,
    KindMeans,
    LanguageTable,
    Metrics,
    PerturbationEffect,
    Perturbed,
)
from bias_bench.evaluation.settings import ALL, KINDS, Kind, Setting
from bias_bench.report.run_content import RunContent, TrainingRow
from bias_bench.report.run_statistics import Estimate
from bias_bench.report.wording import perturbation_name, signed
from bias_bench.system.yaml_values import package_yaml

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_LARGEST_LOG = 24  # rows of the table of training

NamedValues = tuple[str, int, dict[str, float]]  # a name, a size, and values by metric


class Shaded(NamedTuple):
    """A cell of a matrix: `share` in [0, 1] is the depth of its shade.

    `fall` marks the other side of a diverging scale. `star` marks what is significant; None where
    nothing of the table was tested. `notes` stand below the text.
    """

    text: str
    share: float
    fall: bool = False
    star: bool | None = None
    notes: tuple[str, ...] = ()


class Matrix(NamedTuple):
    """Rows by columns of shaded cells; None where a cell has no value."""

    rows: list[str]
    columns: list[str]
    cells: list[list[Shaded | None]]


class LogRow(NamedTuple):
    """A line of the table of training: validation and learning rate are as of `step`, the rest
    are means since the line before. `observed` is what terms saw, such as an accuracy.
    """

    step: int
    loss: float
    terms: dict[str, float]
    observed: dict[str, float]
    validation: float | None
    learning_rate: float


def rising(values: Mapping[str, Mapping[str, float | None]], digits: int = 3) -> Matrix:
    """A matrix shaded from its smallest value to its largest."""
    known = [value for row in values.values() for value in row.values() if value is not None]
    lowest, highest = min(known, default=0.0), max(known, default=0.0)
    span = (highest - lowest) or 1.0

    def shade(value: float) -> Shaded:
        return Shaded(f"{value:.{digits}f}", round((value - lowest) / span, 3))

    return _matrix(values, shade)


def diverging(values: Mapping[str, Mapping[str, float | None]], digits: int = 0) -> Matrix:
    """A matrix shaded by distance from 0, the two sides in two colours; `fall` is above 0."""
    known = [value for row in values.values() for value in row.values() if value is not None]
    largest = max(map(abs, known), default=0.0) or 1.0

    def shade(value: float) -> Shaded:
        return Shaded(signed(value, digits), round(abs(value) / largest, 3), value > 0)

    return _matrix(values, shade)


def _matrix(
    values: Mapping[str, Mapping[str, float | None]], shade: Callable[[float], Shaded]
) -> Matrix:
    columns = list(dict.fromkeys(name for row in values.values() for name in row))
    cells = [
        [None if (value := row.get(name)) is None else shade(value) for name in columns]
        for row in values.values()
    ]
    return Matrix(list(values), columns, cells)


def precision_matrix(
    retrieval: Mapping[Kind, KindMeans], languages: Sequence[str], metric: str
) -> Matrix | None:
    """AP for each query language (rows) and language of the candidates (columns).

    None where only the pool of all languages was searched.
    """
    means: dict[str, dict[str, float]] = {}
    for kind, of_kind in retrieval.items():
        means |= of_kind.per_setting if kind != "multilingual" else {}
    rows = {
        row: {column: means.get(str(Setting(row, column)), {}).get(metric) for column in languages}
        for row in languages
    }
    return rising(rows) if means else None


def language_rows(metrics: Metrics) -> list[NamedValues]:
    """Each language's queries and metrics where every language was searched alone; else empty."""
    if metrics.retrieval.keys() != {"monolingual"}:
        return []
    per_language = metrics.retrieval["monolingual"].per_setting
    counts = {name: count.queries for name, count in metrics.counts.items()}
    return [(name, counts.get(name, 0), values) for name, values in per_language.items()]


def average_rows(metrics: Metrics) -> list[NamedValues]:
    """The benchmark's averages over named sets of languages, with the sizes of the sets."""
    alone = metrics.retrieval.get("monolingual")
    averages = alone.averages if alone else {}
    return [(name, len(average.languages), average.values) for name, average in averages.items()]


def pooled_rows(content: RunContent) -> list[dict[str, Any]]:
    """The pool of all languages by query language; None for what was not measured.

    `leads` is the share of queries whose own-language answer is before its translations, `first`
    and `ten` are the shares of the query's language in the top 1 and top 10, `pool` is its share of
    the candidates.
    """
    bias, statistics = content.metrics.bias, content.statistics
    pooled, distance = content.metrics.retrieval.get("multilingual"), bias.rank_distance
    sizes = statistics.pools if statistics else {}
    precision = statistics.precision_by_language if statistics else {}
    distances = statistics.distance_by_language if statistics else {}

    def of(measured: Average | None, language: str) -> float | None:
        return measured.per_language.get(language) if measured else None

    rows = []
    for language in content.languages:
        means = pooled.per_setting.get(str(Setting(language, ALL)), {}) if pooled else {}
        rows.append(
            {
                "language": language,
                "precision": means.get(content.metrics.average_precision),
                "precision_interval": precision.get(language, Estimate(0.0)),
                "recall": means.get("R@10"),
                "distance": of(distance, language),
                "distance_interval": distances.get(language, Estimate(0.0)),
                "median": distance.median_per_language.get(language) if distance else None,
                "leads": of(bias.same_language_first, language),
                "first": of(bias.same_language_top1, language),
                "ten": of(bias.same_language_top10, language),
                "pool": sizes[language] / sum(sizes.values()) if language in sizes else None,
            }
        )
    return rows


def top_ten_shares(bias: Bias, languages: list[str]) -> LanguageTable:
    """Share of each candidate language in the pooled top 10, by query language."""
    shares = bias.same_language_top10.shares if bias.same_language_top10 else {}
    return {
        row: {column: shares[row].get(column) for column in languages}
        for row in languages
        if row in shares
    }


def quantiles(distances: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Observed rank distances at `QUANTILES` and the largest, by query language and of all."""
    every = {**distances, "": np.concatenate([[], *distances.values()])}
    return {
        language: [
            int(value) for value in np.quantile(values, (*QUANTILES, 1.0), method="inverted_cdf")
        ]
        for language, values in every.items()
        if len(values)
    }


def log_rows(rows: Sequence[TrainingRow]) -> list[LogRow]:
    """Training in a few lines: one per evaluation, or evenly spaced ones."""
    ends = [place for place, row in enumerate(rows) if row.validation is not None]
    if len(ends) < 2 or len(ends) > _LARGEST_LOG:
        number = min(len(rows), _LARGEST_LOG if ends else 10)
        ends = sorted({round((place + 1) * len(rows) / number) - 1 for place in range(number)})
    elif ends[-1] != len(rows) - 1:
        ends.append(len(rows) - 1)
    observed = observations(rows)
    lines = []
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        since, last = rows[start : end + 1], rows[end]
        lines.append(
            LogRow(
                step=last.step,
                loss=float(np.mean([row.loss for row in since])),
                terms={
                    name: float(np.mean([row.terms.get(name, 0.0) for row in since]))
                    for name in sorted({name for row in since for name in row.terms})
                },
                observed={
                    name: float(np.mean(values[start : end + 1]))
                    for name, values in observed.items()
                },
                validation=last.validation,
                learning_rate=last.learning_rate,
            )
        )
    return lines


def observations(rows: Sequence[TrainingRow]) -> dict[str, list[float]]:
    """What terms observed at every step, such as the discriminator's accuracy, by name."""
    steps = [
        {(term, name): value for term, seen in row.observed.items() for name, value in seen.items()}
        for row in rows
    ]
    curves: dict[str, list[float]] = {}
    for term, name in sorted({key for step in steps for key in step}):
        values = [step.get((term, name)) for step in steps]
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) == len(values):
            curves[f"{term}: {name}".replace("_", " ")] = numbers
    return curves


def robustness_rows(
    perturbations: Mapping[str, Mapping[str, Perturbed]],
) -> list[tuple[str, str, PerturbationEffect, dict[str, PerturbationEffect]]]:
    """Kind, strength, mean effect and effect by query language of what was measured."""
    return [
        (kind, strength, measured.macro, measured.per_language)
        for kind, strengths in perturbations.items()
        for strength, measured in strengths.items()
        if measured.macro
    ]


def robustness_matrix(
    perturbations: Mapping[str, Mapping[str, Perturbed]], languages: Sequence[str]
) -> Matrix:
    """AP lost by query language (rows) and perturbation (columns)."""
    rows = robustness_rows(perturbations)
    return diverging(
        {
            language: {
                f"{perturbation_name(kind)}, {strength}": effects[language].loss
                if language in effects
                else None
                for kind, strength, _, effects in rows
            }
            for language in languages
        },
        digits=3,
    )


def bias_rows(bias: Bias) -> list[dict[str, str]]:
    """`name`, `value` and `reading` of every bias metric of the catalogue that the run has."""
    rows, measured = [], bias.dump()
    for row in package_yaml("bias_bench.report", "bias_readings.yaml"):
        value: Any = measured
        for key in row["path"].split("/"):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            rows.append({**row, "value": f"{value:,.{row['digits']}f}".replace("-", "−")})
    return rows


def published_figures(benchmark: str) -> dict[str, Any] | None:
    """What papers report on a benchmark, beside which measured figures are shown, if anything.

    `figures` are macro averages of one system each, None where its source gives none; `recipe` is
    that here which is trained alike. `averages` over named sets of languages are `averaged` in
    whole: their names and metrics. `sources` say by key where figures come from.
    """
    content: dict[str, Any] = package_yaml("bias_bench.report", "published.yaml")
    none: dict[str, Any] = {**dict.fromkeys((*KINDS, "rank_distance", "recipe")), "averages": {}}
    figures = [none | row for row in content["benchmarks"].get(benchmark, ())]
    if not figures:
        return None
    used = {row["source"] for row in figures}
    return {
        "figures": figures,
        "averaged": list(
            dict.fromkeys(
                (name, metric)
                for row in figures
                for name, values in row["averages"].items()
                for metric in values
            )
        ),
        "sources": {key: value for key, value in content["sources"].items() if key in used},
    }
