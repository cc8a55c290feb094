"""Tables of a run's page: shaded matrices, quantiles, the list of all bias metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.evaluation.metrics_document import (
    Bias,
    KindMeans,
    Metrics,
    PerturbationEffect,
    Perturbed,
)
from bias_bench.evaluation.settings import Kind, Setting
from bias_bench.report.summary import perturbation_name
from bias_bench.yaml_values import package_yaml

MISSING = "–"
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_LARGEST_LOG = 24  # rows of the table of training


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


class BiasRow(NamedTuple):
    """A bias metric: its value as text, and how to read it."""

    name: str
    value: str
    reading: str


class NamedValues(NamedTuple):
    """Metrics of a language with so many queries, or of a set of so many languages."""

    name: str
    number: int
    values: dict[str, float]


class PerturbedRow(NamedTuple):
    """What a perturbation does in the mean over languages, and by query language."""

    kind: str
    strength: str
    macro: PerturbationEffect
    per_language: dict[str, PerturbationEffect]


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
    for kind, part in retrieval.items():
        means |= part.per_setting if kind != "multilingual" else {}
    if not means:
        return None
    return rising(
        {
            row: {
                column: means.get(str(Setting(row, column)), {}).get(metric) for column in languages
            }
            for row in languages
        }
    )


def language_rows(metrics: Metrics) -> list[NamedValues]:
    """Each language's metrics where every language was searched alone; else empty."""
    if metrics.retrieval.keys() != {"monolingual"}:
        return []
    number = {name: counts.queries for name, counts in metrics.counts.items()}
    return [
        NamedValues(language, number.get(language, 0), values)
        for language, values in metrics.retrieval["monolingual"].per_setting.items()
    ]


def average_rows(metrics: Metrics) -> list[NamedValues]:
    """The benchmark's averages over named sets of languages."""
    alone = metrics.retrieval.get("monolingual")
    return [
        NamedValues(name, len(found.languages), found.values)
        for name, found in (alone.averages if alone else {}).items()
    ]


def signed(value: float, digits: int) -> str:
    """With its sign, as a true minus; zero without one."""
    text = f"{value:+,.{digits}f}"
    return text[1:] if not float(text.replace(",", "")) else text.replace("-", "−")


def quantiles(distances: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Observed rank distances at `QUANTILES` and the largest, by query language and of all."""
    every = {**distances, "": np.concatenate(list(distances.values()))}
    return {
        language: [
            int(value) for value in np.quantile(values, (*QUANTILES, 1.0), method="inverted_cdf")
        ]
        for language, values in every.items()
        if len(values)
    }


def log_rows(rows: Sequence[Mapping[str, Any]]) -> list[LogRow]:
    """Training in a few lines: one per evaluation, or evenly spaced ones."""
    ends = [place for place, row in enumerate(rows) if "validation" in row]
    if len(ends) < 2 or len(ends) > _LARGEST_LOG:
        wanted = min(len(rows), _LARGEST_LOG if ends else 10)
        ends = sorted({round((place + 1) * len(rows) / wanted) - 1 for place in range(wanted)})
    elif ends[-1] != len(rows) - 1:
        ends.append(len(rows) - 1)
    observed = observations(rows)
    found = []
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        part, last = rows[start : end + 1], rows[end]
        found.append(
            LogRow(
                step=int(last["step"]),
                loss=float(np.mean([row["loss"] for row in part])),
                terms={
                    name: float(np.mean([row["terms"].get(name, 0.0) for row in part]))
                    for name in sorted({name for row in part for name in row.get("terms", {})})
                },
                observed={
                    name: float(np.mean(values[start : end + 1]))
                    for name, values in observed.items()
                },
                validation=last.get("validation"),
                learning_rate=float(last["learning_rate"]),
            )
        )
    return found


def observations(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What terms observed at every step, such as the discriminator's accuracy, by name."""
    names = {
        (term, name)
        for row in rows
        for term, found in row.get("observed", {}).items()
        for name in found
    }
    found: dict[str, list[float]] = {}
    for term, name in sorted(names):
        values = [row.get("observed", {}).get(term, {}).get(name) for row in rows]
        if all(isinstance(value, int | float) for value in values):
            found[f"{term.replace('_', ' ')}: {name.replace('_', ' ')}"] = values
    return found


def robustness_rows(perturbations: Mapping[str, Mapping[str, Perturbed]]) -> list[PerturbedRow]:
    """Each perturbation that was measured."""
    return [
        PerturbedRow(kind, strength, summary.macro, summary.per_language)
        for kind, strengths in perturbations.items()
        for strength, summary in strengths.items()
        if summary.macro
    ]


def robustness_matrix(
    perturbations: Mapping[str, Mapping[str, Perturbed]], languages: Sequence[str]
) -> Matrix:
    """AP lost by query language (rows) and perturbation (columns)."""
    rows = robustness_rows(perturbations)
    return diverging(
        {
            language: {
                f"{perturbation_name(row.kind)}, {row.strength}": found.loss
                if (found := row.per_language.get(language))
                else None
                for row in rows
            }
            for language in languages
        },
        digits=3,
    )


def bias_rows(bias: Bias) -> list[BiasRow]:
    """Every bias metric of the catalogue that the run has, as one number with its reading."""
    rows, measured = [], bias.dump()
    for row in package_yaml("bias_bench.report", "bias_readings.yaml"):
        value: Any = measured
        for key in row["path"].split("/"):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            written = f"{value:,.{row['digits']}f}".replace("-", "−")
            rows.append(BiasRow(row["name"], written, row["reading"]))
    return rows
