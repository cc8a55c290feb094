"""Confidence intervals by resampling whole clusters with replacement, the same in all columns.

A replicate's mean is the sum of its values over their number (a ratio, when clusters differ in
size or cells are missing), as the mean itself is. Everything else reads the replicates: intervals
of one column, of macro averages, and equivalence (`equivalence`). Intervals of all columns at once
are in `simultaneous`.

Sources: Efron and Tibshirani 1993, chapters 6 and 13; Davison and Hinkley 1997, section 3.8
(clusters). With few clusters percentile intervals are too short: about 94 % instead of 95 % with 48
clusters, 91 % with 12. Below `draws.FEW_UNITS` of them `few` takes their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError
from bias_bench.significance.draws import Stream, blocks, check_draws, resampled_counts
from bias_bench.significance.sums import cluster_sums, on_grid

_WHOLE = 1e-9  # what rounding may take from a whole number


class Intervals(NamedTuple):
    """`low` and `high` float64 [columns] in the metric's unit, `undefined` int [columns].

    `undefined` counts replicates without any cell of the column, which are left out. Bounds are
    NaN for a column with cells in fewer than two clusters: nothing is known of its spread.
    """

    low: np.ndarray
    high: np.ndarray
    undefined: np.ndarray


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
    return Intervals(low, high, len(means) - defined)


def bootstrap_p(means: np.ndarray) -> np.ndarray:
    """Two-sided p-values float64 [columns] of "no difference": the interval test turned around.

    2 (1 + the smaller of #{replicate <= 0} and #{replicate >= 0}) / (1 + replicates), at most 1,
    and 1 where nothing is defined. Prefer `sign_flips`, which is exact; this one is for what it
    cannot resample, such as seeds.
    """
    count = (~np.isnan(means)).sum(axis=0)
    fewer = np.minimum((means <= 0).sum(axis=0), (means >= 0).sum(axis=0))
    return np.minimum(2 * (fewer + 1) / (count + 1), 1.0)


def check_confidence(confidence: float) -> float:
    """The confidence; UsageError unless it lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, not {confidence}; 0.95 is usual")
    return confidence
