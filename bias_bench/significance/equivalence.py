"""Equivalence and "no worse than": two one-sided tests (TOST) against a margin.

By the bootstrap, not by permutation: at the edge of the margin the two systems do differ, so their
labels are not exchangeable, and flipping the signs of shifted differences would need them to be
symmetric about the margin, which scores with many ties and a ceiling are not. From the same
replicates as the intervals, the tests can also never contradict them: p <= α where the (1 - 2α)
percentile interval lies within the margin.

Source: Schuirmann 1987; Lakens 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError
from bias_bench.significance.bootstrap import Intervals, percentile_intervals


class Equivalence(NamedTuple):
    """p-values float64 [columns] in (0, 1]; small means shown.

    `equivalent`: the difference lies within ± margin; `no_worse`: it is no worse than the margin
    allows. `interval` has confidence 1 - 2 × level, the one to compare with the margin. Columns
    without an interval have p = 1: nothing is shown.
    """

    equivalent: np.ndarray
    no_worse: np.ndarray
    interval: Intervals


def equivalence(
    means: np.ndarray, margin: float, *, higher_is_better: bool = True, level: float = 0.05
) -> Equivalence:
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
    return Equivalence(
        equivalent=np.maximum(below, above),
        no_worse=below if higher_is_better else above,
        interval=percentile_intervals(means, 1 - 2 * level),
    )
