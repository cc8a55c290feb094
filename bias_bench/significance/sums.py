"""Sums per cluster, and a grid on which any order of adding them up gives the same bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError

_BITS = 52  # of a float64's 53, one is left to the grid's own rounding


class ClusterSums(NamedTuple):
    """`sums` float64 and `cells` int64, both [clusters, columns]: sum and number of values."""

    sums: np.ndarray
    cells: np.ndarray


def cluster_sums(values: np.ndarray, clusters: np.ndarray) -> ClusterSums:
    """Add up values [topics, columns], NaN where missing, by cluster codes [topics] from 0.

    Raises BiasBenchError for infinite values, for a column without a value and for no topics.
    """
    if values.ndim != 2 or clusters.shape != values.shape[:1]:
        raise BiasBenchError(
            f"values have shape {values.shape} and clusters {clusters.shape}; "
            "give [topics, columns] and [topics]"
        )
    if np.isinf(values).any():
        raise BiasBenchError("a value is infinite; score the runs again")
    present = ~np.isnan(values)
    empty = np.flatnonzero(~present.any(axis=0))
    if len(empty):
        raise BiasBenchError(f"column {empty[0]} has no values; leave it out")
    shape = (int(clusters.max(initial=-1)) + 1, values.shape[1])
    slots, size = (clusters[:, None] * shape[1] + np.arange(shape[1]))[present], shape[0] * shape[1]
    sums = np.bincount(slots, values[present], size)
    return ClusterSums(sums.reshape(shape), np.bincount(slots, minlength=size).reshape(shape))


def on_grid(sums: np.ndarray) -> np.ndarray:
    """Round float64 [clusters, columns] so that resampled sums are exact.

    Each column becomes a multiple of its own power of two, so that every partial sum with integer
    weights whose absolute values add up to at most the number of clusters (signs, bootstrap
    counts) fits float64's 53 bits. Rounding never happens then, and a matrix product has the same
    bits whatever the number of threads, the library or the processor. The grid's step is below
    clusters × 2^-51 of the column's largest value: 5e-13 for 1,190 clusters.
    """
    largest = np.abs(sums).max(axis=0, initial=0.0) * len(sums)
    shift = _BITS - np.frexp(largest)[1]
    return np.ldexp(np.rint(np.ldexp(sums, shift)), -shift)
