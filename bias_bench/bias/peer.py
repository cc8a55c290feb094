"""PEER: the probability that candidates of all languages have equal expected rank.

Per query and relevance level the p-value of a Kruskal-Wallis test over languages on the ranks down
to a cut-off; PEER is their weighted sum (default: the relevant level alone). In [0, 1], higher is
fairer; 1 where fewer than two languages are ranked or nothing is retrieved.

On one relevant candidate per language it is constant, whatever a system does. With m groups of one,
every group mean is its only rank, r̄_i = r_i1, so that H = (N - 1) Σ n_i (r̄_i - r̄)² / ΣΣ (r_ij - r̄)²
has the same sum above and below: H = N - 1 = m - 1, and p = P(χ²_{m-1} > m - 1) whatever the
ranks are (once they are not all tied: nothing retrieved). XQuAD-R: m = 11, p = 0.4405 for every
query of every system; MLQA-R: 0.3173, 0.3679 or 0.3916 for 2, 3 or 4 languages. `fixed` says for
how many queries that holds. The irrelevant level (`other`) is not so bound; the Friedman test over
topics is the alternative for the relevant one.

A relevant candidate below the cut-off X is not retrieved; the u of them share the mean of the ranks
X + 1 … X + u. (The authors' program, at commit cb6fb77, puts them behind the number of documents of
the level instead, and so before retrieved ones; `reference=True` repeats that.)

Source: Yang, Jänich, Mayfield and Lawrie, SIGIR 2024 (arXiv:2405.00978).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, averages
from bias_bench.bias.pooled import PooledRun
from bias_bench.errors import UsageError

CUTOFF = 20
WEIGHTS = {"relevant": 1.0, "other": 0.0}


def equal_rank_p(ranks: np.ndarray, groups: np.ndarray, number: int) -> np.ndarray:
    """p-value [queries] of Kruskal-Wallis on ranks as given, 1 where there is nothing to compare.

    `ranks` float [queries, documents] and their `groups` int from 0 below `number`, -1 = none.
    """
    from scipy.stats import chi2

    known = groups >= 0
    rows, places = np.nonzero(known)
    cell = rows * number + groups[rows, places]
    size = np.bincount(cell, minlength=len(ranks) * number).reshape(-1, number)
    total = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, ranks, 0.0).sum(axis=1, keepdims=True) / total
    centred = np.where(known, ranks - mean, 0.0)
    sums = np.bincount(cell, centred[rows, places], len(ranks) * number).reshape(-1, number)
    between = (np.square(sums) / np.maximum(size, 1)).sum(axis=1)
    within = np.square(centred).sum(axis=1)
    present = (size > 0).sum(axis=1)
    defined = (present >= 2) & (within > 0)
    statistic = (total[:, 0] - 1) * between / np.where(defined, within, 1.0)
    return np.where(defined, chi2.sf(statistic, np.maximum(present - 1, 1)), 1.0)


def relevant_p(
    ranks: np.ndarray, languages: np.ndarray, number: int, cutoff: int, reference: bool = False
) -> np.ndarray:
    """p-value [queries] of the relevant level, from exact ranks.

    `ranks` int [queries, relevant], 0 past the end, with `languages` alike, -1 past the end.
    """
    known = ranks > 0
    found = known & (ranks <= cutoff)
    missing = (known & ~found).sum(axis=1, keepdims=True)
    last = known.sum(axis=1, keepdims=True) if reference else cutoff
    placed = np.where(found, ranks, (2 * last + missing + 1) / 2)
    p = equal_rank_p(placed, np.where(known, languages, -1), number)
    return np.where(found.any(axis=1), p, 1.0)


def other_p(languages: np.ndarray, relevant: np.ndarray, number: int) -> np.ndarray:
    """p-value [queries] of the irrelevant level, from rankings cut at the cut-off.

    `languages` int [queries, cutoff], -1 past the end; `relevant` bool alike.
    """
    ranks = np.broadcast_to(np.arange(1.0, languages.shape[1] + 1), languages.shape)
    return equal_rank_p(ranks, np.where(relevant, -1, languages), number)


def constant(languages: int) -> float:
    """The value of every query with one relevant candidate in each of so many languages."""
    from scipy.stats import chi2

    return float(chi2.sf(languages - 1, languages - 1))


def summarise(
    runs: Mapping[str, PooledRun],
    parallel: Parallel,
    weights: Mapping[str, float] = WEIGHTS,
    reference: bool = False,
) -> dict[str, Any]:
    """PEER at 20 (or the runs' depth: `cutoff`), its levels, and where its value is fixed.

    `weights` of the levels sum to 1; `reference` repeats the authors' ranks of what is missing.
    """
    if set(weights) != set(WEIGHTS) or abs(sum(weights.values()) - 1) > 1e-9:
        raise UsageError(f"PEER needs weights of {' and '.join(WEIGHTS)} that sum to 1")
    if not runs:
        return {}
    number = len(parallel.languages)
    cutoff = min(CUTOFF, max(run.languages.shape[1] for run in runs.values()))
    levels: dict[str, dict[str, np.ndarray]] = {
        "relevant": {
            name: relevant_p(part.relevant, part.relevant_languages, number, cutoff, reference)
            for name, part in parallel.parts.items()
        },
        "other": {
            name: other_p(run.languages[:, :cutoff], run.relevant[:, :cutoff], number)
            for name, run in runs.items()
        },
    }
    combined = {
        name: weights["relevant"] * levels["relevant"][name] + weights["other"] * other
        for name, other in levels["other"].items()
    }
    return {
        **averages(combined),
        "cutoff": cutoff,
        "weights": dict(weights),
        "levels": {level: averages(values) for level, values in levels.items()},
        "fixed": _fixed(parallel, cutoff),
    }


def _fixed(parallel: Parallel, cutoff: int) -> dict[str, Any]:
    """What leaves the relevant level no choice.

    `share` of queries have one relevant candidate per language: their value is that of `values`
    for so many languages, or 1 if none is retrieved. `retrieved` is the share of all queries with
    a relevant candidate down to the cut-off; where `share` is 1, that alone moves the mean.
    """
    numbers = np.concatenate([(part.ranks > 0).sum(axis=1) for part in parallel.parts.values()])
    every = np.concatenate([(part.relevant > 0).sum(axis=1) for part in parallel.parts.values()])
    single = (numbers == every) & (numbers >= 2)
    found = {
        language: np.where(((part.relevant > 0) & (part.relevant <= cutoff)).any(axis=1), 1.0, 0.0)
        for language, part in parallel.parts.items()
    }
    return {
        "share": float(single.mean()),
        "retrieved": averages(found)["macro"],
        "values": {str(number): constant(int(number)) for number in np.unique(numbers[single])},
    }
