"""What fewer than ten units can show: points that stand where the replicates of more units do.

With so few, percentile intervals are far too short: 95 % ones of normal data hold 50, 74, 80 and
84 % of the time with 2, 3, 4 and 5 units. These hold as often as they say: the means of all subsets
of the units, 2^n - 1 of them, cut the line into 2^n parts of equal probability for the truth,
whatever the units' distributions, if they are symmetric about it. So the interval is the set of
differences that all sign flips do not reject; below 6 units there is none at 95 %, as no p lies
below 0.05. With 6 to 9 units 95 % intervals of normal data hold 95-97 % of the time, of data as
skewed as the exponential 90-94 % (percentile intervals: 85-89 % and 82-86 %). Where training seeds
vary too, the points are those of Student's t instead, as many of them.

Sources: Hartigan, JASA 64, 1969 (typical values); Satterthwaite, Biometrics Bulletin 2(6), 1946.
"""

from __future__ import annotations

import numpy as np

from bias_bench.significance.draws import FEW_UNITS
from bias_bench.significance.seeds import SeedResiduals
from bias_bench.significance.sums import cluster_sums


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
    found = np.full((max(len(replicates), 2 ** (FEW_UNITS - 1)), len(units)), np.nan)
    found[: len(replicates)] = replicates
    for column in few:
        present = cells[:, column] > 0
        points = (
            subset_means(sums[present, column], cells[present, column])
            if seeds is None
            else _t_points(seeds, int(column), int(units[column]))
        )
        found[:, column] = np.nan
        found[: len(points), column] = points
    return found


def subset_means(sums: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Means of every subset of units but the empty one, float64 [2^units - 1].

    From each unit's sum float64 [units] and number of values [units], all above 0.
    """
    chosen = (np.arange(1, 2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
    return (chosen @ sums) / (chosen @ cells)


def _t_points(found: SeedResiduals, column: int, units: int) -> np.ndarray:
    """Quantiles of the difference by Student's t, float64 [2^units - 1], evenly apart in level."""
    from scipy.stats import t

    error = float(np.sqrt((found.parts[:, column] ** 2).sum()))
    levels = np.arange(1, 2**units) / 2**units
    freedom = max(float(found.freedom[column]), 1.0)
    points = found.means[column] + error * t.ppf(levels, freedom)
    return np.where(np.abs(points) <= found.rounding[column], 0.0, points)
