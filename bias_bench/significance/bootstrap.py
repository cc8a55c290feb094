"""Confidence intervals by resampling whole clusters with replacement, the same in all columns.

A replicate's mean is the sum of its values over their number (a ratio, when clusters differ in
size or cells are missing), as the mean itself is. Everything else reads the replicates: intervals
of one column, of macro averages, and equivalence. Intervals of all columns at once are in
`simultaneous`.

With few clusters percentile intervals are too short: about 94 % instead of 95 % with 48 clusters,
91 % with 12, and of normal data 84, 80, 74 and 50 % with 5, 4, 3 and 2. So with fewer than ten
(`draws.FEW_UNITS`) other points stand where the replicates of more do. These hold as often as they
say: the means of all subsets of the units, 2^n - 1 of them, cut the line into 2^n parts of equal
probability for the truth, whatever the units' distributions, if they are symmetric about it. So the
interval is the set of differences that all sign flips do not reject; below 6 units there is none at
95 %, as no p lies below 0.05. With 6 to 9 units 95 % intervals of normal data hold 95-97 % of the
time, of data as skewed as the exponential 90-94 % (percentile intervals: 85-89 % and 82-86 %).
Where training seeds vary too, there are as many points of Student's t instead.

Equivalence and "no worse than" are two one-sided tests (TOST) against a margin by the bootstrap,
not by permutation: at the edge of the margin the two systems do differ, so their labels are not
exchangeable, and flipping the signs of shifted differences would need them to be symmetric about
the margin, which scores with many ties and a ceiling are not. From the same replicates as the
intervals, the tests can also never contradict them: p <= α where the (1 - 2α) percentile interval
lies within the margin.

Sources: Efron and Tibshirani 1993, chapters 6 and 13; Davison and Hinkley 1997, section 3.8
(clusters); Hartigan, JASA 64, 1969 (typical values); Satterthwaite, Biometrics Bulletin 2(6), 1946;
Schuirmann 1987 and Lakens 2017 (equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.errors import UsageError
from bias_bench.significance.draws import (
    FEW_UNITS,
    Stream,
    blocks,
    check_draws,
    resampled_counts,
)
from bias_bench.significance.sums import cluster_sums, on_grid

if TYPE_CHECKING:
    from bias_bench.significance.seeds import SeedResiduals

_WHOLE = 1e-9  # what rounding may take from a whole number


class Intervals(NamedTuple):
    """`low` and `high` float64 [columns] in the metric's unit.

    NaN for a column with cells in fewer than two clusters: nothing is known of its spread.
    """

    low: np.ndarray
    high: np.ndarray


class MarginTests(NamedTuple):
    """p-values float64 [columns] in (0, 1]; small means shown.

    `equivalent`: the difference lies within ± margin; `no_worse`: it is no worse than the margin
    allows. `interval` has confidence 1 - 2 × level, the one to compare with the margin. Columns
    without an interval have p = 1: nothing is shown.
    """

    equivalent: np.ndarray
    no_worse: np.ndarray
    interval: Intervals


class Divisors:
    """The number of values in each column of a replicate; few patterns, so few products."""

    def __init__(self, cells: np.ndarray) -> None:
        """From cells int [clusters, columns]."""
        patterns, column = np.unique(cells, axis=1, return_inverse=True)
        self._column = column.reshape(-1)
        self._patterns = patterns.astype(np.float64)
        self._fixed = bool((patterns == patterns[0]).all())
        self._unknown = (cells > 0).sum(axis=0) < 2

    def means(self, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Divide sums [draws, columns] of counts [draws, clusters]; NaN where undefined."""
        if self._fixed:
            divisor = (self._patterns[0] * len(self._patterns))[self._column]
        else:
            divisor = (counts @ self._patterns)[:, self._column]
        means = np.full(sums.shape, np.nan)
        np.divide(sums, divisor, out=means, where=(divisor > 0) & ~self._unknown)
        return means


def bootstrap_means(
    values: np.ndarray, clusters: np.ndarray, replicates: int = 10_000, seed: int = 0
) -> np.ndarray:
    """Means of resampled clusters: float64 [replicates, columns].

    `values` float64 [topics, columns], NaN where missing: differences, or one system's scores;
    `clusters` int [topics] codes from 0. NaN in a replicate that holds no cell of the column, and
    throughout where a column has cells in fewer than two clusters.

    Raises UsageError for replicates < 1 or a negative seed, BiasBenchError for unusable values.
    """
    check_draws(replicates, seed, "replicates")
    raw, cells = cluster_sums(values, clusters)
    sums, divisors = on_grid(raw), Divisors(cells)
    means = np.empty((replicates, values.shape[1]))
    for block in blocks(replicates, len(sums), "bootstrap"):
        counts = resampled_counts(seed, Stream.CLUSTERS, block, len(sums))
        means[block.start : block.stop] = divisors.means(counts, counts @ sums)
    return means


def macro_replicates(means: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Macro averages of replicates [replicates, settings]: float64 [replicates, groups].

    The mean over the group's settings of each replicate's per-setting means; NaN where one is.
    """
    return np.stack([means[:, list(columns)].mean(axis=1) for columns in groups], axis=1)


def percentile_intervals(means: np.ndarray, confidence: float = 0.95) -> Intervals:
    """Each column's own interval, from replicates float64 [replicates, columns], NaN left out.

    From the k-th smallest to the k-th largest of N, where k is the whole part of (N + 1) times the
    tail: so no p of the same replicates contradicts it. NaN where they are too few for a tail
    (k < 1): fewer than 39 for 95 %.

    Raises UsageError for a confidence outside (0, 1).
    """
    tail = (1 - check_confidence(confidence)) / 2
    ordered = np.sort(means, axis=0)  # NaN comes last
    defined = (~np.isnan(means)).sum(axis=0)
    place = np.floor((defined + 1) * tail + _WHOLE).astype(int)
    columns, known = np.arange(means.shape[1]), place > 0
    low = np.where(known, ordered[np.maximum(place - 1, 0), columns], np.nan)
    high = np.where(known, ordered[defined - np.maximum(place, 1), columns], np.nan)
    return Intervals(low, high)


def bootstrap_p(means: np.ndarray) -> np.ndarray:
    """Two-sided p-values float64 [columns] of "no difference": the interval test turned around.

    2 (1 + the smaller of #{replicate <= 0} and #{replicate >= 0}) / (1 + replicates), at most 1,
    and 1 where nothing is defined. Prefer `sign_flips`, which is exact; this one is for what it
    cannot resample, such as seeds.
    """
    count = (~np.isnan(means)).sum(axis=0)
    fewer = np.minimum((means <= 0).sum(axis=0), (means >= 0).sum(axis=0))
    return np.minimum(2 * (fewer + 1) / (count + 1), 1.0)


def equivalence(
    means: np.ndarray, margin: float, *, higher_is_better: bool = True, level: float = 0.05
) -> MarginTests:
    """Test replicates float64 [replicates, columns] of system minus baseline against a margin.

    `means` comes from `bootstrap_means`, `macro_replicates` or `seed_means`; `margin` > 0 in the
    metric's unit, chosen beforehand. Each one-sided p = (1 + #{replicates at or beyond the
    margin}) / (1 + replicates); `equivalent` is the larger of the two.

    Raises UsageError for a margin that is not positive and finite or a level outside (0, 0.5).
    """
    if not 0 < margin < np.inf:
        raise UsageError(f"the margin must be positive, not {margin}; give it in the metric's unit")
    if not 0 < level < 0.5:
        raise UsageError(f"the level must lie between 0 and 0.5, not {level}; 0.05 is usual")
    defined = (~np.isnan(means)).sum(axis=0)
    beyond = [(means <= -margin).sum(axis=0), (means >= margin).sum(axis=0)]
    below, above = ((count + 1) / (defined + 1) for count in beyond)
    return MarginTests(
        equivalent=np.maximum(below, above),
        no_worse=below if higher_is_better else above,
        interval=percentile_intervals(means, 1 - 2 * level),
    )


def with_few_units(
    replicates: np.ndarray, values: np.ndarray, clusters: np.ndarray, seeds: SeedResiduals | None
) -> np.ndarray:
    """The replicates [replicates, columns], but other points where a column has few units.

    `values` float64 [topics, columns] of differences, NaN where missing; `clusters` int [topics];
    `seeds` how the means vary with clusters and seeds, None with one seed of each system. Columns
    end in NaN where they have fewer points. Read all of it as replicates of the bootstrap: with n
    units no p lies below 1 / 2^n (one-sided).
    """
    sums, cells = cluster_sums(values, clusters)
    units = (cells > 0).sum(axis=0)
    few = np.flatnonzero(units < FEW_UNITS)
    if not len(few):
        return replicates
    points_of = np.full((max(len(replicates), 2 ** (FEW_UNITS - 1)), len(units)), np.nan)
    points_of[: len(replicates)] = replicates
    for column in few:
        present = cells[:, column] > 0
        if seeds is None:  # the means of every subset of units but the empty one
            number = int(units[column])
            chosen = (np.arange(1, 2**number)[:, None] >> np.arange(number)) & 1
            points = (chosen @ sums[present, column]) / (chosen @ cells[present, column])
        else:
            points = _t_points(seeds, int(column), int(units[column]))
        points_of[:, column] = np.nan
        points_of[: len(points), column] = points
    return points_of


def check_confidence(confidence: float) -> float:
    """The confidence; UsageError unless it lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is usual")
    return confidence


def _t_points(spread: SeedResiduals, column: int, units: int) -> np.ndarray:
    """Quantiles of the difference by Student's t, float64 [2^units - 1], evenly apart in level."""
    from scipy.stats import t

    error = float(np.sqrt((spread.parts[:, column] ** 2).sum()))
    levels = np.arange(1, 2**units) / 2**units
    freedom = max(float(spread.freedom[column]), 1.0)
    points = spread.means[column] + error * t.ppf(levels, freedom)
    return np.where(np.abs(points) <= spread.rounding[column], 0.0, points)
