"""Effect sizes: how large a difference is, whatever its p-value says.

All of them weigh topics alike, as the difference does, which is the mean over topics: a unit of
resampling counts with as many topics as it has. So none points another way than the difference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.significance.sums import cluster_sums

# Relative to a column's largest difference; what lies beyond is rounding, neither win nor loss.
ROUNDING_DIGITS = 12


class Effects(NamedTuple):
    """Arrays [columns]; all but the counts have the sign of system minus baseline.

    `difference`, the mean over topics, in the metric's unit. `d_z` = difference / standard
    deviation of the units' mean differences, each weighted by its share w of the topics, with
    Σ w (m - difference)² / (1 - Σ w²) for the variance, which is that of n - 1 where units have
    equal size (Cohen 1988; 0.2 is small); 0 for identical systems, ±inf for a constant difference,
    NaN for one unit. Over topics: `wins`, `ties` and `losses` count them, and `rank_biserial` in
    [-1, 1] = (R+ - R-) / (R+ + R-) has the rank sums of positive and negative differences by size,
    zeros left out (Kerby 2014), 0 without any. `units` is the number of units.
    """

    difference: np.ndarray
    d_z: np.ndarray
    rank_biserial: np.ndarray
    wins: np.ndarray
    ties: np.ndarray
    losses: np.ndarray
    units: np.ndarray


def effects(values: np.ndarray, clusters: np.ndarray, *, higher_is_better: bool = True) -> Effects:
    """Effect sizes of values float64 [topics, columns] of system minus baseline, NaN where missing.

    Columns are settings, or groups by `macro_values`; `clusters` int [topics] are the units, codes
    from 0. The direction decides what a win is and nothing else. Raises BiasBenchError for a
    column without a value.
    """
    sums, cells = cluster_sums(values, clusters)
    d_z = [_standardised(*column) for column in zip(sums.T, cells.T, strict=True)]
    of_topics = [_of_topics(column_values[~np.isnan(column_values)]) for column_values in values.T]
    biserial, positive, negative = np.array(of_topics).T.reshape(3, -1)
    topics, units = cells.sum(axis=0), (cells > 0).sum(axis=0)
    positive, negative = positive.astype(np.int64), negative.astype(np.int64)
    wins, losses = (positive, negative) if higher_is_better else (negative, positive)
    difference = sums.sum(axis=0) / topics
    return Effects(difference, np.array(d_z), biserial, wins, topics - wins - losses, losses, units)


def _standardised(sums: np.ndarray, cells: np.ndarray) -> float:
    """`Effects.d_z` from each unit's sum float64 and number of values [units]."""
    sums, cells = sums[cells > 0], cells[cells > 0]
    if len(sums) < 2:
        return float("nan")
    shares, means = cells / cells.sum(), sums / cells
    difference = float(sums.sum() / cells.sum())
    if is_constant(means):
        return float(np.sign(difference) * np.inf) if np.any(means) else 0.0
    variance = (shares @ (means - difference) ** 2) / (1 - shares @ shares)
    return difference / float(np.sqrt(variance))


def _of_topics(values: np.ndarray) -> tuple[float, int, int]:
    """Rank-biserial, and the numbers of positive and of negative values [topics]."""
    from scipy.stats import rankdata

    signed = comparable(values)
    positive, negative = int((signed > 0).sum()), int((signed < 0).sum())
    ranks = rankdata(np.abs(signed[signed != 0]))
    total = float(ranks.sum())
    biserial = float((ranks * np.sign(signed[signed != 0])).sum()) / total if total else 0.0
    return biserial, positive, negative


def comparable(values: np.ndarray) -> np.ndarray:
    """Values [any] over the largest size, without the last bits, so that equal ones are equal."""
    largest = np.abs(values).max(initial=0.0)
    return np.round(values / largest, ROUNDING_DIGITS) if largest else values


def is_constant(values: np.ndarray) -> bool:
    """Whether values [any] differ by no more than rounding."""
    return bool(np.ptp(comparable(values)) <= 2 * 10.0**-ROUNDING_DIGITS)
