"""Randomised Tukey HSD: all pairs of several systems at once, by permuting systems in clusters.

If no system differs, a topic's scores could belong to the systems in any order, in all settings
alike. The largest minus the smallest mean of the permuted systems bounds every pair's difference,
so the p-values are adjusted over all pairs of a column.

Source: Carterette, ACM TOIS 30(1), 2012, section 5.2; Sakai, Laboratory Experiments in IR, 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations as orderings
from math import factorial
from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.significance.draws import Stream, blocks, check_draws, generator
from bias_bench.significance.randomization import TIE
from bias_bench.significance.sums import cluster_sums, on_grid


class Tukey(NamedTuple):
    """`means` float64 [columns, systems]; `p` float64 [columns, systems, systems].

    `p` is symmetric with ones on the diagonal, in (0, 1], two-sided, adjusted over the pairs of
    a column, not over columns. `draws` permutations were used, all there are where `exact`.
    """

    means: np.ndarray
    p: np.ndarray
    draws: int
    exact: bool


def tukey_hsd(
    scores: np.ndarray, clusters: np.ndarray, permutations: int = 10_000, seed: int = 0
) -> Tukey:
    """Compare all pairs of systems in every column.

    `scores` float64 [systems, topics, columns], NaN where missing, and then for every system;
    columns are settings or `macro_values`; `clusters` int [topics] codes from 0. With two systems
    it is the sign-flip test. p = # / all permutations when they are at most `permutations`, else
    (1 + #) / (permutations + 1).

    Raises UsageError for fewer than two systems, permutations < 1 or a negative seed,
    BiasBenchError for unusable scores.
    """
    check_draws(permutations, seed)
    systems = len(scores)
    if systems < 2:
        raise UsageError(f"Tukey HSD compares at least two systems, not {systems}")
    missing = np.isnan(scores)
    if (missing != missing[0]).any():
        raise BiasBenchError("systems lack different cells; align them first")
    centred = scores - scores.mean(axis=0)  # the range under permutation stays the same
    parts = [cluster_sums(part, clusters) for part in centred]
    count, columns = parts[0].sums.shape
    stacked = np.stack([part.sums for part in parts], axis=1)
    rows = on_grid(stacked.reshape(count * systems, columns))
    exact = factorial(systems) ** count <= permutations
    draws = factorial(systems) ** count if exact else permutations
    totals = rows.reshape(count, systems, columns).sum(axis=0).T
    observed = np.abs(totals[:, :, None] - totals[:, None])
    spread = np.sqrt((rows**2).sum(axis=0))
    threshold = observed - TIE * spread[:, None, None]
    reached = np.zeros(observed.shape, dtype=np.int64)
    for assignment in _assignments(draws, count, systems, seed, exact):
        permuted = np.stack([_one_hot(assignment, place) @ rows for place in range(systems)])
        span = permuted.max(axis=0) - permuted.min(axis=0)
        reached += (span[:, :, None, None] >= threshold).sum(axis=0)
    p = reached / draws if exact else (reached + 1) / (draws + 1)
    return Tukey(np.nanmean(scores, axis=1).T, p, draws, exact)


def _assignments(
    draws: int, clusters: int, systems: int, seed: int, exact: bool
) -> Iterator[np.ndarray]:
    """Blocks of int [draws, clusters, systems]: whose scores each system gets in each cluster."""
    every = np.array(list(orderings(range(systems))) if exact else range(systems), dtype=np.int8)
    for block in blocks(draws, clusters * systems, "Tukey HSD"):
        if exact:
            codes = np.arange(block.start, block.stop)[:, None]
            yield every[codes // len(every) ** np.arange(clusters) % len(every)]
        else:
            random = generator(seed, Stream.SYSTEMS, block)
            yield random.permuted(np.tile(every, (block.size, clusters, 1)), axis=2)


def _one_hot(assignment: np.ndarray, place: int) -> np.ndarray:
    """Float64 [draws, clusters × systems]: 1 for the row of scores that `place` gets."""
    chosen = assignment[:, :, place, None] == np.arange(assignment.shape[2], dtype=np.int8)
    return chosen.reshape(len(assignment), -1).astype(np.float64)
