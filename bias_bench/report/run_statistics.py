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

from bias_bench.bias.parallel import parallel_ranks
from bias_bench.bias.rank_distance import rank_distance
from bias_bench.bias.same_language_first import chance, same_language_first
from bias_bench.data.units import Unit, default_unit
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankedQueries, RankTable
from bias_bench.evaluation.settings import ALL, KINDS, parse_setting
from bias_bench.significance.bootstrap import Intervals, bootstrap_means, percentile_intervals
from bias_bench.significance.simultaneous import residuals, simultaneous_intervals, weighted

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
    metric = Metric("AP", table.cutoff or 0)
    columns = []
    for name in table.settings:
        setting, queries = parse_setting(name), table.of(name)
        values = compute(metric, queries.ranks)
        columns.append(_Column(setting.kind, setting.query_language, queries, values))
    parts = parallel_ranks(table).parts
    distances = {}
    for language, ranked in parts.items():
        apart = rank_distance(ranked.least)
        distances[language] = np.sort(apart[~np.isnan(apart)])
        excess = same_language_first(ranked.ranks, ranked.own) - chance(ranked.ranks, ranked.own)
        columns.append(_Column("distance", language, ranked.source, apart))
        columns.append(_Column("excess", language, ranked.source, excess))
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
        distances=distances,
        pools={name: size for name, size in table.pools.items() if name != ALL},
        parallel=all(
            len(ranked.ranks) == means.topics and bool((ranked.ranks > 0).all())
            for ranked in parts.values()
        ),
    )


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
        units, clusters = np.unique([unit_of[name] for name in names], return_inverse=True)
        self.topics, self.units = len(names), len(units)
        self._observed = np.nanmean(values, axis=0)
        self._residuals = residuals(values, clusters)
        enough = self.units >= FEWEST
        self._drawn = bootstrap_means(values, clusters, _REPLICATES, _SEED) if enough else None

    def of(self, group: str) -> list[int]:
        """The columns of a group."""
        return [number for number, column in enumerate(self._columns) if column.group == group]

    def macro(self, group: str, less: str | None = None) -> Estimate:
        """The mean of a group's columns, less that of another group's."""

        def mean(values: np.ndarray) -> np.ndarray:
            means = values[..., self.of(group)].mean(axis=-1, keepdims=True)
            if less is not None:
                means = means - values[..., self.of(less)].mean(axis=-1, keepdims=True)
            return means

        bounds = None
        if self._drawn is not None:
            bounds = percentile_intervals(mean(self._drawn), CONFIDENCE)
        return _estimate(mean(self._observed), bounds, 0)

    def by_language(self, group: str) -> dict[str, Estimate]:
        """Each column of a group with its own interval."""
        columns = self.of(group)
        bounds = None
        if self._drawn is not None and columns:
            bounds = percentile_intervals(self._drawn[:, columns], CONFIDENCE)
        return self._estimates(columns, self._observed[columns], bounds)

    def from_mean(self, group: str) -> dict[str, Estimate]:
        """Each column's difference to the mean of the group, with simultaneous intervals."""
        columns = self.of(group)
        if len(columns) < 2:
            return {}
        values, bounds = self._observed[columns] - self._observed[columns].mean(), None
        if self._drawn is not None:
            weights = np.zeros((len(self._columns), len(columns)))
            weights[columns] = np.eye(len(columns)) - 1 / len(columns)
            differences = weighted(self._residuals, weights)
            bounds = simultaneous_intervals(differences, CONFIDENCE, _REPLICATES, _SEED)
        return self._estimates(columns, values, bounds)

    def _estimates(
        self, columns: Sequence[int], values: np.ndarray, bounds: Intervals | None
    ) -> dict[str, Estimate]:
        return {
            self._columns[column].language: _estimate(values, bounds, place)
            for place, column in enumerate(columns)
        }


def _estimate(values: np.ndarray, bounds: Intervals | None, column: int) -> Estimate:
    """NaN bounds, of a column that only one unit has, are not an interval."""
    value = float(values[column])
    if bounds is None or np.isnan(bounds.low[column]) or np.isnan(bounds.high[column]):
        return Estimate(value)
    return Estimate(value, float(bounds.low[column]), float(bounds.high[column]))
