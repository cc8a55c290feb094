"""How sure a run's figures are: bootstrap intervals over articles, from the exact ranks.

A run alone supports no claim that it is better than another (`biasbench compare` does that), but
its own means have a spread. Whole articles are resampled, or what `default_unit` says, with all
queries of all their topics in all settings: translations of one question are one observation, and
questions on one text are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.bias.parallel import LanguageRanks, parallel_ranks
from bias_bench.bias.rank_distance import rank_distance
from bias_bench.bias.same_language_first import chance, same_language_first
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankedQueries, RankTable
from bias_bench.evaluation.settings import ALL, KINDS, parse_setting
from bias_bench.significance.bootstrap import (
    bootstrap_means,
    percentile_intervals,
)
from bias_bench.significance.simultaneous import residuals, simultaneous_intervals, weighted
from bias_bench.units import Unit, default_unit

CONFIDENCE = 0.95
FEWEST = 20  # units, below which percentile intervals are far too short to be shown
_REPLICATES = 2_000
_SEED = 0


class Estimate(NamedTuple):
    """A mean and its interval; None where there are too few units for one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below 0, else 0; 0 without an interval."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


class RunStatistics(NamedTuple):
    """Means of a run with intervals, and what figures need of its ranks.

    `unit` names what was resampled, and `units` says how many of them there are.
    `precision` is macro AP by kind of setting and `crossing` monolingual less cross-lingual AP;
    `precision_by_language` is pooled AP, `precision_from_mean` its difference to the mean of all
    query languages, with intervals that hold for all languages at once. `first_excess` is same
    language first less its chance. `distances` holds the rank distance of each query [queries] by
    query language, `pools` the sizes of the pools. `parallel` says that every topic is asked and
    answered in every language.
    """

    topics: int
    unit: Unit
    units: int
    precision: dict[str, Estimate]
    crossing: Estimate | None
    precision_by_language: dict[str, Estimate]
    precision_from_mean: dict[str, Estimate]
    distance: Estimate | None
    distance_by_language: dict[str, Estimate]
    first_excess: Estimate | None
    distances: dict[str, np.ndarray]
    pools: dict[str, int]
    parallel: bool


class _Column(NamedTuple):
    """Values of one setting's queries [queries], no two of one topic."""

    group: str
    language: str
    source: RankedQueries
    values: np.ndarray


def run_statistics(table: RankTable) -> RunStatistics:
    """Resample the units of ranks.parquet; equal ranks give equal intervals.

    Where ranks are known down to a cut-off only, AP is AP at that cut-off.
    """
    queries = {name: table.of(name) for name in table.settings}
    metric = Metric("AP", table.cutoff or 0)
    columns = [
        _Column(
            parse_setting(name).kind,
            parse_setting(name).query_language,
            found,
            compute(metric, found.ranks),
        )
        for name, found in queries.items()
    ]
    parts = parallel_ranks(table).parts
    for language, part in parts.items():
        excess = same_language_first(part.ranks, part.own) - chance(part.ranks, part.own)
        columns.append(_Column("distance", language, part.source, rank_distance(part.least)))
        columns.append(_Column("excess", language, part.source, excess))
    means = _Means([column for column in columns if not np.isnan(column.values).all()])
    kinds = [kind for kind in KINDS if means.of(kind)]
    both = {"monolingual", "cross_lingual"} <= set(kinds)
    return RunStatistics(
        topics=means.topics,
        unit=means.unit,
        units=means.units,
        precision={kind: means.macro(kind) for kind in kinds},
        crossing=means.macro("monolingual", less="cross_lingual") if both else None,
        precision_by_language=means.by_language("multilingual"),
        precision_from_mean=means.from_mean("multilingual"),
        distance=means.macro("distance") if means.of("distance") else None,
        distance_by_language=means.by_language("distance"),
        first_excess=means.macro("excess") if means.of("excess") else None,
        distances={language: _known(rank_distance(part.least)) for language, part in parts.items()},
        pools={name: size for name, size in table.pools.items() if name != ALL},
        parallel=all(_is_complete(part, means.topics) for part in parts.values()),
    )


def _known(values: np.ndarray) -> np.ndarray:
    return np.sort(values[~np.isnan(values)])


def _is_complete(part: LanguageRanks, topics: int) -> bool:
    return len(part.ranks) == topics and bool((part.ranks > 0).all())


def _pairs(columns: Sequence[_Column], unit: Unit) -> Iterator[tuple[str, str]]:
    """Every topic of the columns with what it belongs to."""
    for column in columns:
        source = column.source
        groups = {"article": source.articles, "paragraph": source.paragraphs}
        yield from zip(source.topics, groups.get(unit, source.topics), strict=True)


class _Means:
    """Means of columns, and of the same columns when whole units are resampled."""

    def __init__(self, columns: Sequence[_Column]) -> None:
        self._columns = columns
        self.unit = default_unit(lambda unit: _pairs(columns, unit))
        unit_of = dict(_pairs(columns, self.unit))
        names = sorted(unit_of)
        row = {name: number for number, name in enumerate(names)}
        values = np.full((len(names), len(columns)), np.nan)
        for number, column in enumerate(columns):
            values[[row[topic] for topic in column.source.topics], number] = column.values
        found, clusters = np.unique([unit_of[name] for name in names], return_inverse=True)
        self.topics, self.units = len(names), len(found)
        self._observed = np.nanmean(values, axis=0)
        self._residuals = residuals(values, clusters)
        enough = self.units >= FEWEST
        self._drawn = bootstrap_means(values, clusters, _REPLICATES, _SEED) if enough else None

    def of(self, group: str) -> list[int]:
        """The columns of a group."""
        return [number for number, column in enumerate(self._columns) if column.group == group]

    def macro(self, group: str, less: str | None = None) -> Estimate:
        """The mean of a group's columns, less that of another group's."""
        value = float(self._observed[self.of(group)].mean())
        drawn = None if self._drawn is None else self._drawn[:, self.of(group)].mean(axis=1)
        if less is not None:
            value -= float(self._observed[self.of(less)].mean())
            if drawn is not None and self._drawn is not None:
                drawn = drawn - self._drawn[:, self.of(less)].mean(axis=1)
        if drawn is None:
            return Estimate(value)
        found = percentile_intervals(drawn[:, None], CONFIDENCE)
        return _estimate(value, found.low[0], found.high[0])

    def by_language(self, group: str) -> dict[str, Estimate]:
        """Each column of a group with its own interval."""
        columns = self.of(group)
        if self._drawn is None or not columns:
            return {self._language(c): Estimate(float(self._observed[c])) for c in columns}
        found = percentile_intervals(self._drawn[:, columns], CONFIDENCE)
        return self._estimates(columns, self._observed[columns], found.low, found.high)

    def from_mean(self, group: str) -> dict[str, Estimate]:
        """Each column's difference to the mean of the group, with simultaneous intervals."""
        columns = self.of(group)
        if len(columns) < 2:
            return {}
        values = self._observed[columns] - self._observed[columns].mean()
        if self._drawn is None:
            return {
                self._language(c): Estimate(float(v)) for c, v in zip(columns, values, strict=True)
            }
        weights = np.zeros((len(self._columns), len(columns)))
        weights[columns] = np.eye(len(columns)) - 1 / len(columns)
        differences = weighted(self._residuals, weights)
        found = simultaneous_intervals(differences, CONFIDENCE, _REPLICATES, _SEED)
        return self._estimates(columns, values, found.low, found.high)

    def _estimates(
        self, columns: Sequence[int], values: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> dict[str, Estimate]:
        return {
            self._language(column): _estimate(float(values[place]), low[place], high[place])
            for place, column in enumerate(columns)
        }

    def _language(self, column: int) -> str:
        return self._columns[column].language


def _estimate(value: float, low: float, high: float) -> Estimate:
    """NaN bounds, of a column that only one unit has, are no interval."""
    if np.isnan(low) or np.isnan(high):
        return Estimate(value)
    return Estimate(value, float(low), float(high))
