"""Seeds × topics: what a difference is worth when training again would change it too.

A test on topics alone speaks of the checkpoints at hand. Here seeds and clusters are resampled
independently of each other, each system's seeds on their own, since seed 0 of one recipe has
nothing to do with seed 0 of another.

Sources: Owen, Annals of Applied Statistics 1(2), 2007 (crossed factors); Rao and Wu, JASA 83,
1988 (the rescaling); Satterthwaite, Biometrics Bulletin 2(6), 1946 (degrees of freedom). Where
seeds are the main source of noise, percentile intervals from a few of them stay too short: 95 %
ones hold about 77 % of the time with 2 seeds of each system, 89 % with 3 and 93 % with 5. What
holds for all columns at once does not have that fault until seeds are most of the noise: with 80 %
of the variance, intervals of 30 settings hold 70, 86 and 92 % of the time with 2, 3 and 5 seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.significance.bootstrap import Divisors, Intervals, check_confidence
from bias_bench.significance.draws import (
    Block,
    Stream,
    blocks,
    check_draws,
    resampled_counts,
    sign_blocks,
)
from bias_bench.significance.randomization import TIE
from bias_bench.significance.simultaneous import Residuals, in_errors, reach_of
from bias_bench.significance.sums import cluster_sums, on_grid


def seed_means(
    system: np.ndarray,
    baseline: np.ndarray,
    clusters: np.ndarray,
    replicates: int = 10_000,
    seed: int = 0,
) -> np.ndarray:
    """Mean differences under resampling of clusters and seeds: float64 [replicates, columns].

    `system` and `baseline` float64 [seeds, topics, columns] with the same missing cells (NaN);
    the numbers of seeds may differ; `clusters` int [topics] codes from 0. A system with a single
    seed is taken as it is, as nothing is known of its spread. Read the result with
    `percentile_intervals`, `macro_replicates` or `bootstrap_p`.

    Of k seeds, the bootstrap's variance is (k - 1) / k of what it should be; weights are moved
    away from 1 / k by sqrt(k / (k - 1)) to make up for it.

    Raises UsageError for replicates < 1 or a negative seed, BiasBenchError for unusable values.
    """
    check_draws(replicates, seed, "replicates")
    if not len(system) or not len(baseline):
        raise BiasBenchError("a system has no seeds; give [seeds, topics, columns]")
    missing = np.isnan(system[0])
    if any((np.isnan(part) != missing).any() for part in (*system, *baseline)):
        raise BiasBenchError("seeds lack different cells; align them first")
    sums = [[cluster_sums(part, clusters) for part in parts] for parts in (system, baseline)]
    grids = [[on_grid(part.sums) for part in parts] for parts in sums]
    divisors, count = Divisors(sums[0][0].cells), len(grids[0][0])
    streams = (Stream.SYSTEM_SEEDS, Stream.BASELINE_SEEDS)
    means = np.empty((replicates, system.shape[2]))
    for block in blocks(replicates, count, "bootstrap of seeds"):
        counts = resampled_counts(seed, Stream.CLUSTERS, block, count)
        ours, theirs = (
            _weighted(counts, grid, _weights(seed, stream, block, len(grid)))
            for grid, stream in zip(grids, streams, strict=True)
        )
        means[block.start : block.stop] = divisors.means(counts, ours - theirs)
    return means


class SeedResiduals(NamedTuple):
    """How means [columns] of differences vary with clusters and seeds.

    `parts` float64 [clusters + seeds, columns]: independent parts that each add up to 0 within the
    clusters and within a system's seeds, and whose squares add up to the squared standard error.
    `freedom` float64 [columns] is its degrees of freedom (Satterthwaite 1946), 0 where the spread
    is not known. What is below `rounding` [columns] is rounding.
    """

    means: np.ndarray
    parts: np.ndarray
    freedom: np.ndarray
    rounding: np.ndarray


class AllAtOnce(NamedTuple):
    """`step_down` p-values float64 [columns], and `intervals` that hold for all columns at once."""

    step_down: np.ndarray
    intervals: Intervals


def seed_residuals(
    clusters: Residuals, seeds: Sequence[np.ndarray], rounding: float
) -> SeedResiduals:
    """From the residuals of the difference of mean scores, and the means of each seed.

    `seeds` has float64 [seeds, columns] for each system with two seeds or more; what is below
    `rounding` is rounding.
    """
    count = (clusters.shares > 0).sum(axis=0)
    known = count > 1
    groups = [clusters.parts * np.sqrt(count / np.maximum(count - 1, 1))]
    freedoms = [np.maximum(count - 1, 1)]
    for means in seeds:
        number = len(means)
        groups.append((means - means.mean(axis=0)) / np.sqrt(number * (number - 1)))
        freedoms.append(np.full(len(count), number - 1))
    squares = np.stack([(part**2).sum(axis=0) for part in groups])
    least = (squares**2 / np.stack(freedoms)).sum(axis=0)
    freedom = np.ones(len(count))
    np.divide(squares.sum(axis=0) ** 2, least, out=freedom, where=least > 0)
    return SeedResiduals(
        clusters.means,
        np.concatenate(groups),
        np.where(known, freedom, 0.0),
        np.full(len(count), rounding),
    )


def seeds_at_once(
    spread: SeedResiduals, confidence: float = 0.95, draws: int = 10_000, seed: int = 0
) -> AllAtOnce:
    """Test all columns for "no difference" at once, by random signs of clusters and of seeds.

    As `simultaneous_intervals`, but with seeds as units beside the clusters: u = |Σ ± parts| /
    sqrt(Σ parts²), the same signs in all columns, and t = u sqrt(f / (f + 1 - u²)) with f degrees
    of freedom. `step_down` is (1 + #{largest u over the columns not yet rejected >= the observed
    one}) / (1 + draws), and 1 where nothing is known or nothing differs. Where seeds are few and
    most of the noise, no reach is enough: the bounds are NaN.

    Raises UsageError for a confidence outside (0, 1), draws < 1 or a negative seed.
    """
    check_confidence(confidence)
    check_draws(draws, seed, "draws")
    known, count = spread.freedom > 0, spread.freedom + 1
    error = np.sqrt((spread.parts**2).sum(axis=0))
    varies = known & (error > spread.rounding)
    differs = known & (np.abs(spread.means) > spread.rounding)
    t = np.divide(np.abs(spread.means), error, out=np.zeros(len(error)), where=varies)
    ratio = np.divide(count, spread.freedom + t**2, out=np.zeros(len(error)), where=varies)
    observed = t * np.sqrt(ratio)
    observed[differs & ~varies] = np.inf
    order = np.argsort(-observed, kind="stable")
    scale = np.divide(1.0, error, out=np.zeros(len(error)), where=varies)
    parts = on_grid(spread.parts * scale)
    reached, largest = np.zeros(len(error), dtype=np.int64), []
    for signs in sign_blocks(draws, len(parts), seed):
        drawn = np.abs(signs @ parts)[:, order[::-1]]
        drawn = np.maximum.accumulate(drawn, axis=1)[:, ::-1]
        reached += (drawn >= observed[order] - TIE).sum(axis=0)
        largest.append(drawn[:, 0])
    every = np.concatenate(largest)
    p = np.empty(len(error))
    p[order] = np.maximum.accumulate((reached + 1) / (len(every) + 1))
    u = reach_of(every, confidence)
    reach = np.where(varies, in_errors(u, count) * error, np.where(known, 0.0, np.nan))
    bounds = (spread.means - reach, spread.means + reach)
    return AllAtOnce(np.where(observed > 0, p, 1.0), Intervals(*bounds))


def _weights(seed: int, stream: Stream, block: Block, seeds: int) -> np.ndarray:
    """Each seed's weight in each draw, float64 [draws, seeds]; rows sum to 1."""
    if seeds == 1:
        return np.ones((block.size, 1))
    counts = resampled_counts(seed, stream, block, seeds)
    return 1 / seeds + np.sqrt(seeds / (seeds - 1)) * (counts - 1) / seeds


def _weighted(counts: np.ndarray, grid: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Sums [draws, columns] of one system: exact within a seed, then added in the seeds' order."""
    total = np.zeros((len(counts), grid[0].shape[1]))
    for number, part in enumerate(grid):
        total += weights[:, number, None] * (counts @ part)
    return total
