"""Worst rank: how deep one must read to collect a topic's candidates in all languages.

Per query the largest rank of its parallel relevant candidates in the pool of all languages. Lower
is better; the floor is the number of languages in which the topic is answered, the ceiling the pool
size. Complete@K is the share of queries whose worst rank is K or less: in [0, 1], higher is better,
and 0 by construction where K is below the number of languages. Where ranks are known down to a
cut-off only, a candidate that was not retrieved counts as right behind its query's ranking, so that
the worst rank is a lower bound, and there is no complete@K for a deeper K.

Source: Max@R and Complete@K of Hong et al., arXiv:2604.05684.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, averages, is_parallel, mean_of
from bias_bench.bias.rank_distance import medians

CUTOFFS = (10, 20, 50, 100, 1000)


def worst_rank(ranks: np.ndarray) -> np.ndarray:
    """Largest of each row of int ranks [queries, languages], 0 = absent: float64 [queries].

    At least the number of candidates, where bounds of several are equal. NaN where the topic is
    answered in fewer than two languages.
    """
    largest = np.maximum(ranks.max(axis=1, initial=0), (ranks > 0).sum(axis=1))
    return np.where(is_parallel(ranks), largest.astype(np.float64), np.nan)


def complete(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 where all parallel candidates are in the top k, else 0: float64 [queries], NaN as above."""
    worst = worst_rank(ranks)
    return np.where(np.isnan(worst), np.nan, (worst <= k).astype(np.float64))


def summarise(parallel: Parallel) -> dict[str, Any]:
    """Mean and median worst rank, and complete@K for K in `CUTOFFS`, as far as ranks are known."""
    parts = {language: part.ranks for language, part in parallel.parts.items()}
    worst = {language: worst_rank(part.least) for language, part in parallel.parts.items()}
    summary = averages(worst)
    if not summary:
        return {}
    cutoffs = [k for k in CUTOFFS if not parallel.cutoff or k <= parallel.cutoff]
    return {
        **summary,
        "median": mean_of(medians(worst))["macro"],
        **{
            f"complete@{k}": averages({name: complete(ranks, k) for name, ranks in parts.items()})
            for k in cutoffs
        },
    }
