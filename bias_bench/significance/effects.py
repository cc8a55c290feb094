"""Effect sizes: how large a difference is, whatever its p-value says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.significance.sums import cluster_sums

# Relative to a column's largest difference; what lies beyond is rounding, neither win nor loss.
ROUNDING_DIGITS = 12


class Effects(NamedTuple):
    """Arrays [columns]; all but the counts have the sign of system minus baseline.

    `difference` in the metric's unit; `d_z` = mean / standard deviation (n - 1) of the
    differences (Cohen 1988; 0.2 is small), 0 for identical systems, ±inf for a constant
    difference, NaN for one unit; `rank_biserial` in [-1, 1] = (R+ - R-) / (R+ + R-), the rank
    sums of positive and negative differences by size, zeros left out (Kerby 2014), 0 without any.
    `wins + ties + losses = units`.
    """

    difference: np.ndarray
    d_z: np.ndarray
    rank_biserial: np.ndarray
    wins: np.ndarray
    ties: np.ndarray
    losses: np.ndarray
    units: np.ndarray


def effects(values: np.ndarray, *, higher_is_better: bool = True) -> Effects:
    """Effect sizes of values float64 [units, columns] of system minus baseline, NaN where missing.

    Units are topics as a rule, with `macro_values` for groups, or `unit_means` for paragraphs and
    articles. The direction decides what a win is and nothing else. Raises BiasBenchError for a
    column without a value.
    """
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty) or not len(values):
        raise BiasBenchError(f"column {empty[0] if len(empty) else 0} has no values; leave it out")
    found = [_of_column(part[~np.isnan(part)]) for part in values.T]
    difference, d_z, biserial, positive, negative, units = np.array(found).T.reshape(6, -1)
    wins, losses = (positive, negative) if higher_is_better else (negative, positive)
    counts = (wins, units - wins - losses, losses, units)
    return Effects(difference, d_z, biserial, *(part.astype(np.int64) for part in counts))


def unit_means(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Each cluster's mean: float64 [clusters, columns] from [topics, columns], NaN where missing.

    Their plain mean weighs clusters alike, unlike the mean over topics.
    """
    sums, cells = cluster_sums(values, clusters)
    return np.divide(sums, cells, out=np.full(sums.shape, np.nan), where=cells > 0)


def _of_column(values: np.ndarray) -> tuple[float, float, float, int, int, int]:
    """Difference, d_z, rank-biserial, positive, negative and all values."""
    from scipy.stats import rankdata

    signed = comparable(values)
    positive, negative = int((signed > 0).sum()), int((signed < 0).sum())
    ranks = rankdata(np.abs(signed[signed != 0]))
    total = float(ranks.sum())
    biserial = float((ranks * np.sign(signed[signed != 0])).sum()) / total if total else 0.0
    units = len(values)
    return float(values.mean()), standardised(values), biserial, positive, negative, units


def comparable(values: np.ndarray) -> np.ndarray:
    """Values [units] over the largest size, without the last bits, so that equal ones are equal."""
    largest = np.abs(values).max(initial=0.0)
    return np.round(values / largest, ROUNDING_DIGITS) if largest else values


def standardised(values: np.ndarray) -> float:
    """The mean over the standard deviation (n - 1) of values [units], as `Effects.d_z`."""
    if len(values) < 2:
        return float("nan")
    mean = float(values.mean())
    if is_constant(values):
        return float(np.sign(mean) * np.inf) if np.any(values) else 0.0
    return mean / float(values.std(ddof=1))


def is_constant(values: np.ndarray) -> bool:
    """Whether values [units] differ by no more than rounding."""
    return bool(np.ptp(comparable(values)) <= 2 * 10.0**-ROUNDING_DIGITS)
