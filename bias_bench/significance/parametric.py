"""Student's t and Wilcoxon's signed-rank test, on request, with warnings where they do not hold.

Neither knows of clusters or of other settings, and Wilcoxon tests symmetry about 0 rather than the
mean; on large query sets it is too often significant (Ihemelandu and Ekstrand, SIGIR 2023,
arXiv:2305.02461). Prefer `sign_flips`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.significance.draws import least_p
from bias_bench.significance.effects import comparable, is_constant

LEAST = 0.05  # a p that can be no smaller shows nothing
MANY_ZEROS = 0.1  # share of zero differences from which Wilcoxon is flagged
MANY_TIES = 0.5  # share of tied sizes among the others, likewise
ASYMMETRY = 3.29  # standard errors of skewness: p < 0.001 under a normal distribution
COCHRAN = 25.0  # t needs n > 25 skewness² (Cochran, Sampling Techniques, 1977, section 2.15)


class Parametric(NamedTuple):
    """`statistic` and `p` float64 [columns]; `flags` lists warnings per column.

    p-values are two-sided, in [0, 1], not adjusted; 1 for identical systems, NaN where the test
    does not exist: one unit, or for t a constant difference.
    """

    statistic: np.ndarray
    p: np.ndarray
    flags: tuple[tuple[str, ...], ...]


def t_test(values: np.ndarray, clusters: np.ndarray) -> Parametric:
    """Paired t-test of values float64 [topics, columns] of system minus baseline.

    NaN where missing; `clusters` int [topics] serves the warnings only. Source: Student 1908,
    through scipy. Raises BiasBenchError for a column without a value.
    """
    return _by_column(values, clusters, _t)


def wilcoxon_test(values: np.ndarray, clusters: np.ndarray) -> Parametric:
    """Wilcoxon's signed-rank test, arguments as for `t_test`; zeros are dropped.

    p is never below what flipping all signs can reach. Source: Wilcoxon 1945, through scipy (exact
    for at most 50 differences without ties, else a normal approximation, which knows no such
    bound). Raises BiasBenchError for a column without a value.
    """
    return _by_column(values, clusters, _wilcoxon)


def _by_column(
    values: np.ndarray,
    clusters: np.ndarray,
    test: Callable[[np.ndarray], tuple[float, float, list[str]]],
) -> Parametric:
    statistics, p, flags = [], [], []
    for column, column_values in enumerate(values.T):
        present = ~np.isnan(column_values)
        known = column_values[present]
        if not len(known):
            raise BiasBenchError(f"column {column} has no values; leave it out")
        statistic, value, warnings = test(known)
        groups = len(np.unique(clusters[present]))
        if groups < len(known):
            warnings.append(f"{len(known)} topics in {groups} clusters are not independent")
        statistics.append(statistic)
        p.append(value)
        flags.append(tuple(warnings))
    return Parametric(np.array(statistics), np.array(p), tuple(flags))


def _t(values: np.ndarray) -> tuple[float, float, list[str]]:
    from scipy.stats import skew, ttest_1samp

    if not values.any():
        return 0.0, 1.0, ["the systems are identical"]
    if len(values) < 2:
        return float("nan"), float("nan"), ["one topic has no variance"]
    if is_constant(values):
        return float("nan"), float("nan"), ["the difference is constant: zero variance"]
    result = ttest_1samp(values, 0.0)
    skewness = float(skew(values))
    warnings = []
    if len(values) <= COCHRAN * skewness**2:
        warnings.append(f"skewness {skewness:.1f} is too large for {len(values)} topics")
    return float(result.statistic), float(result.pvalue), warnings


def _wilcoxon(values: np.ndarray) -> tuple[float, float, list[str]]:
    from scipy.stats import skew, wilcoxon

    scaled = comparable(values)  # ranks stay the same
    used = scaled[scaled != 0]
    if not len(used):
        return 0.0, 1.0, ["the systems are identical"]
    result = wilcoxon(used)
    warnings = []
    zeros = 1 - len(used) / len(values)
    if zeros >= MANY_ZEROS:
        warnings.append(f"{zeros:.0%} of the differences are 0 and dropped")
    tied = 1 - len(np.unique(np.abs(used))) / len(used)
    if tied >= MANY_TIES:
        warnings.append(f"{tied:.0%} of the other differences are tied in size")
    skewness = 0.0 if is_constant(used) else float(skew(used))
    if abs(skewness) > ASYMMETRY * np.sqrt(6 / len(used)):
        warnings.append(f"skewness {skewness:.1f}: the differences are not symmetric")
    least = float(least_p(len(used)))
    if least >= LEAST:
        warnings.append(f"{len(used)} differences: no p below {least:.3g} is possible")
    return float(result.statistic), max(float(result.pvalue), least), warnings
