"""Confidence intervals that hold for all columns at once, by flipping the signs of residuals.

A column's mean is m = Σ S_c / N over its clusters' sums S_c, n_c cells each and N in all. Its
clusters' residuals r_c = (S_c - m n_c) / N add up to 0, and s = sqrt(C / (C - 1) Σ r_c²) is its
cluster standard error, from the C clusters that have cells. How far |m - truth| / s may reach is
read off draws: with random signs e_c, the same in all columns, a draw's mean is d = Σ e_c r_c, and
its own residuals e_c r_c - d n_c / N have the sum of squares
q = Σ r_c² - 2 d Σ e_c r_c n_c / N + d² Σ n_c² / N². So u = |d| / sqrt(q + d² / C), at most sqrt(C),
has one scale in all columns however many clusters they have, and in the draw's own standard errors
it is t = u sqrt((C - 1) / (C - u²)). With clusters of one size u is the statistic of
`randomization.sign_flips`. The 1 - α quantile of the largest u of a draw, as t in each column, is
the reach of its interval. Dividing every draw by one s instead, as the plain bootstrap does,
leaves out that s is estimated: with few clusters and many columns such intervals are too short.

Sources: Cameron, Gelbach and Miller, Review of Economics and Statistics 90(3), 2008 (the wild
cluster bootstrap-t with fair signs; here without the null, as for intervals); Westfall and Young
1993 (the largest over columns). `macro` is linearised: its n_c / N is the mean of its columns'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.significance.bootstrap import Intervals, check_confidence
from bias_bench.significance.draws import check_draws, least_p, sign_blocks
from bias_bench.significance.sums import cluster_sums, on_grid

_CONSTANT = 1e-10  # a spread that is this share of the size or less is rounding
_FULL = 1e-9  # as close to sqrt(C) as this share of C, u says that every sign agrees


class Residuals(NamedTuple):
    """Of columns' means: `parts` r_c and `shares` n_c / N, float64 [clusters, columns].

    `means` and `sizes` float64 [columns]: m, and the root of Σ (S_c / N)², the size against which
    parts may be rounding only. A column without shares has an unknown spread.
    """

    means: np.ndarray
    parts: np.ndarray
    shares: np.ndarray
    sizes: np.ndarray


def residuals(values: np.ndarray, clusters: np.ndarray) -> Residuals:
    """Residuals of the means of values float64 [topics, columns], NaN where missing.

    `clusters` int [topics] codes from 0. Raises BiasBenchError for unusable values.
    """
    sums, cells = cluster_sums(values, clusters)
    number = cells.sum(axis=0)
    means = sums.sum(axis=0) / number
    shares = cells / number * ((cells > 0).sum(axis=0) > 1)
    sizes = np.sqrt((sums**2).sum(axis=0)) / number
    return Residuals(means, (sums - means * cells) / number, shares, sizes)


def weighted(spread: Residuals, weights: np.ndarray) -> Residuals:
    """Residuals of sums of means by `weights` float64 [columns, sums]; unknown where a part is."""
    used = np.abs(weights)
    known = spread.shares.any(axis=0)
    shares = _times(spread.shares, used / used.sum(axis=0))
    shares[:, used[~known].any(axis=0)] = 0.0
    return Residuals(
        _times(spread.means[None], weights)[0],
        _times(spread.parts, weights),
        shares,
        _times(spread.sizes[None], used)[0],
    )


def macro(spread: Residuals, groups: Sequence[Sequence[int]]) -> Residuals:
    """Residuals of the mean over each group of columns."""
    weights = np.zeros((len(spread.means), len(groups)))
    for group, columns in enumerate(groups):
        weights[list(columns), group] = 1 / len(columns)
    return weighted(spread, weights)


def simultaneous_intervals(
    spread: Residuals, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Intervals:
    """Mean ± t × cluster standard error; all columns' truths lie within at once.

    All 2^clusters signs are used where there are at most `draws`. A column whose clusters have
    equal means has an interval of no width and leaves the others alone. Bounds are NaN for a
    column with cells in fewer clusters than a sign-flip test needs to reject anything: six at 95 %.

    Raises UsageError for a confidence outside (0, 1), draws < 1 or a negative seed.
    """
    check_confidence(confidence)
    check_draws(draws, seed, "draws")
    count = (spread.shares > 0).sum(axis=0)
    squares = (spread.parts**2).sum(axis=0)
    varies = (np.sqrt(squares) > _CONSTANT * spread.sizes) & (count > 1)
    u = reach_of(_largest(spread, varies, draws, seed), confidence)
    error = np.sqrt(squares * count / np.maximum(count - 1, 1))
    reach = np.where(varies, in_errors(u, count) * error, 0.0)
    reach[least_p(count) > round(1 - confidence, 10)] = np.nan
    return Intervals(spread.means - reach, spread.means + reach)


def reach_of(largest: np.ndarray, confidence: float) -> float:
    """The least of the draws [draws] that at least this share of them do not exceed.

    Nothing between two draws: with five clusters 2 of 32 are beyond every interval.
    """
    return float(np.quantile(largest, confidence, method="inverted_cdf"))


def in_errors(u: float, count: np.ndarray) -> np.ndarray:
    """The t of u, from `count` C float64 [columns] clusters; NaN where u² is C or more."""
    left = count - u**2
    enough = (count > 1) & (left > _FULL * count)
    return np.where(enough, u * np.sqrt((count - 1) / np.where(enough, left, np.inf)), np.nan)


def _largest(spread: Residuals, varies: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """The largest u over the columns that vary, float64 [draws]; 0 without any."""
    parts, shares = spread.parts[:, varies], spread.shares[:, varies]
    # in units of the column's spread, on a grid: no thread or library changes a draw
    scale = np.sqrt((parts**2).sum(axis=0))
    parts = on_grid(parts / scale)
    crossed, squared = on_grid(parts * shares), (shares**2).sum(axis=0)
    inverse = 1 / (shares > 0).sum(axis=0)
    largest = []
    for signs in sign_blocks(draws, len(parts), seed):
        mean = signs @ parts
        left = 1 - 2 * mean * (signs @ crossed) + mean**2 * (squared + inverse)
        # rounding may leave less than the least there can be, where u is sqrt(C)
        square = mean**2 / np.maximum(left, mean**2 * inverse + np.finfo(float).tiny)
        largest.append(np.sqrt(square.max(axis=1, initial=0.0)))
    return np.concatenate(largest)


def _times(left: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The matrix product, whose bits no number of threads changes."""
    return np.einsum("ij,jk->ik", left, weights, optimize=False)
