"""Adjusted p-values for a family of tests, from the p-values alone.

Compare an adjusted p-value with the level itself. Max-T (`randomization`) knows how the tests
depend on each other and rejects more; these are for what has no joint null.
"""

from __future__ import annotations

from math import floor

import numpy as np

from bias_bench.errors import BiasBenchError


def holm(p: np.ndarray) -> np.ndarray:
    """Family-wise error under any dependence: float64 [tests] in [0, 1], in the order given.

    The i-th smallest of m times m - i + 1, at most 1, never below a smaller one's. Source: Holm
    1979. Raises BiasBenchError for what is not a p-value.
    """
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    count = len(values)
    adjusted = np.empty(count)
    factors = np.arange(count, 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(values[order] * factors, 1.0))
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """False discovery rate, for independent or positively dependent tests: float64 [tests].

    The i-th smallest of m times m / i, at most 1, never above a larger one's. Source: Benjamini
    and Hochberg 1995. Raises BiasBenchError for what is not a p-value.
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(_checked(p))


def draws_for_holm(tests: int, level: float, sides: int = 1) -> int:
    """The fewest draws whose least p-value, `sides` / (draws + 1), Holm leaves below the level.

    The first of m tests is multiplied by m: 2,200 draws for 110 tests at 0.05.
    """
    return floor(round(tests * sides / level, 6))


def _checked(p: np.ndarray) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise BiasBenchError(f"p-values have shape {values.shape}; give one family [tests]")
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(bad):
        raise BiasBenchError(f"p-value {bad[0]} is {values[bad[0]]}, not in [0, 1]; leave it out")
    return values
