"""The paired randomization test: the signs of whole clusters, flipped for all columns at once.

If two systems do not differ, a topic's differences could as well have had the other sign, together
in all settings, as the settings share the topic. One draw of signs gives every column's null value,
so the largest over columns has its true dependence (max-T).

Sources: Fisher 1935; Smucker, Allan, Carterette, CIKM 2007 (retrieval); Westfall and Young 1993,
algorithms 2.5 and 2.8 (single-step and step-down max-T); Boytsov, Belova, Westfall, SIGIR 2013.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.significance.draws import all_signs_fit, check_draws, least_p, sign_blocks
from bias_bench.significance.sums import cluster_sums, on_grid

# In units of the statistic, whose standard deviation is 1. What comes this close to the observed
# value counts as reaching it: equal sums of decimal fractions differ in their last bits.
TIE = 1e-9


class SignFlips(NamedTuple):
    """Arrays are float64 [columns]; p-values lie in (0, 1], are two-sided and never 0.

    `difference` is the mean over topics, `statistic` the same in standard deviations under the
    null, with the sign of the difference. `p` is each column's own; `single_step` and `step_down`
    are adjusted over all columns (family-wise error); step-down is never the larger one.
    """

    difference: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    single_step: np.ndarray
    step_down: np.ndarray


def sign_flips(
    values: np.ndarray, clusters: np.ndarray, permutations: int = 10_000, seed: int = 0
) -> SignFlips:
    """Test whether each column's mean difference is 0.

    `values` float64 [topics, columns], NaN where missing, of system minus baseline: one column
    per setting, or `macro_values` for the pooled test; `clusters` int [topics] codes from 0. The
    test does not care which direction is better.

    The statistic is u = |Σ S_c| / sqrt(Σ S_c²) over the clusters' sums S_c. The denominator is
    the standard deviation of Σ ±S_c, so no flip changes it and columns of any spread and number
    of cells weigh the same in max-T. A column's own p is that of its mean. With topics as
    clusters, u orders draws as Student's t does: t = u sqrt((n - 1) / (n - u²)).

    Where clusters are few or `permutations` many (`all_signs_fit`), all 2^n sign vectors are used
    and p = # / 2^n, the data's own among them; else p = (1 + #) / (permutations + 1), but no less
    than all flips of the clusters that differ could reach. A column of zeros has p = 1.

    Raises UsageError for permutations < 1 or a negative seed, BiasBenchError for unusable values.
    """
    check_draws(permutations, seed)
    raw, cells = cluster_sums(values, clusters)
    sums = on_grid(raw)
    spread = np.sqrt((sums**2).sum(axis=0))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    count = len(sums)
    exact = all_signs_fit(count, permutations)
    draws = 2**count if exact else permutations
    observed = np.abs(sums.sum(axis=0)) * scale
    order = np.argsort(-observed, kind="stable")
    threshold = observed - TIE
    reached = np.zeros((3, len(observed)), dtype=np.int64)
    for signs in sign_blocks(permutations, count, seed):
        drawn = np.abs(signs @ sums) * scale
        # of each column and all that were observed no larger: the successive maxima
        largest = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
        reached[0] += (drawn >= threshold).sum(axis=0)
        reached[1] += (largest[:, :1] >= threshold).sum(axis=0)
        reached[2, order] += (largest >= threshold[order]).sum(axis=0)
    p = reached / draws if exact else (reached + 1) / (draws + 1)
    p = np.maximum(p, least_p((sums != 0).sum(axis=0)))
    p[2, order] = np.maximum.accumulate(p[2, order])
    difference = raw.sum(axis=0) / cells.sum(axis=0)
    return SignFlips(difference, np.sign(difference) * observed, *p)
