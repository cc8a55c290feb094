"""Significance: what holds for all settings at once, over clusters and over seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from bias_bench.errors import UsageError
from bias_bench.significance.bootstrap import bootstrap_means
from bias_bench.significance.differences import macro_values
from bias_bench.significance.draws import sign_blocks
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.seeds import SeedResiduals, seed_residuals, seeds_at_once
from bias_bench.significance.simultaneous import (
    in_errors,
    macro,
    residuals,
    simultaneous_intervals,
    weighted,
)


def _uneven(columns: int, topics: int = 70, holes: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Values with missing cells, half a column without any, and clusters of 1 to 8 topics."""
    random = np.random.default_rng(5)
    clusters = np.repeat(np.arange(topics), np.arange(topics) % 8 + 1)[:topics]
    values = random.normal(0.1, 1, (topics, columns)) + random.normal(0, 1, (topics, 1))
    values[random.random(values.shape) < holes] = np.nan
    values[clusters < clusters.max() // 2, 1] = np.nan
    return values, clusters


class _OneMean:
    """A ratio mean with its cluster standard error, by loops."""

    def __init__(self, sums: Iterable[float], cells: Iterable[int]) -> None:
        pairs = [(float(s), int(n)) for s, n in zip(sums, cells, strict=True) if n]
        self.count, self.cells = len(pairs), [n for _, n in pairs]
        self.mean = sum(s for s, _ in pairs) / sum(self.cells)
        self.left = [s - self.mean * n for s, n in pairs]
        square = sum(part**2 for part in self.left) * self.count / (self.count - 1)
        self.error = square**0.5 / sum(self.cells)


def _by_loops(
    values: np.ndarray, clusters: np.ndarray, confidence: float, draws: int, seed: int
) -> tuple[list[float], list[float]]:
    """The wild cluster bootstrap-t, one draw, column and cluster after the other."""
    codes = range(int(clusters.max()) + 1)
    columns = [
        _OneMean(
            [np.nansum(part[clusters == code]) for code in codes],
            [(~np.isnan(part[clusters == code])).sum() for code in codes],
        )
        for part in values.T
    ]
    held = [[bool((~np.isnan(part[clusters == code])).any()) for code in codes]
            for part in values.T]  # fmt: skip
    largest = []
    for signs in np.concatenate(list(sign_blocks(draws, len(codes), seed))):
        sizes = []
        for column, has in zip(columns, held, strict=True):
            turned = [s * r for s, r in zip(signs[has], column.left, strict=True)]
            drawn = _OneMean(turned, column.cells)
            t = drawn.mean / drawn.error
            sizes.append((t**2 * drawn.count / (drawn.count - 1 + t**2)) ** 0.5)
        largest.append(max(sizes))
    u = np.quantile(largest, confidence, method="inverted_cdf")
    reach = [c.error * u * ((c.count - 1) / (c.count - u**2)) ** 0.5 for c in columns]
    pairs = list(zip(columns, reach, strict=True))
    return [c.mean - r for c, r in pairs], [c.mean + r for c, r in pairs]


@pytest.mark.parametrize(("topics", "draws"), [(70, 300), (40, 2_048)])
def test_simultaneous_intervals_equal_their_definition(topics: int, draws: int) -> None:
    """With clusters of all sizes, missing cells, and random signs or all of 11 clusters."""
    values, clusters = _uneven(4, topics)
    assert (2 ** len(set(clusters)) <= draws) == (topics == 40)
    low, high = _by_loops(values, clusters, 0.9, draws, 3)
    found = simultaneous_intervals(residuals(values, clusters), 0.9, draws, 3)
    np.testing.assert_allclose(found.low, low, rtol=1e-9)
    np.testing.assert_allclose(found.high, high, rtol=1e-9)


def test_clusters_of_one_size_have_the_statistic_of_the_sign_flips() -> None:
    values = np.random.default_rng(0).normal(0.2, 1, (31, 1))
    values -= values.mean()
    sums = values[:, 0]
    drawn = np.concatenate(list(sign_blocks(999, 31, 0))) @ sums / np.sqrt((sums**2).sum())
    u = np.quantile(np.abs(drawn), 0.95, method="inverted_cdf")
    found = simultaneous_intervals(residuals(values, np.arange(31)), 0.95, 999)
    t = u * np.sqrt(30 / (31 - u**2))
    assert found.high[0] == pytest.approx(t * stats.sem(sums), rel=1e-9)


def _all_held(low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((low <= 0) & (high >= 0)).all())


def test_simultaneous_intervals_hold_with_few_clusters() -> None:
    """Those that divide each bootstrap replicate by one standard error do not."""
    held, fixed = [], []
    clusters = np.repeat(np.arange(24), np.arange(24) % 4 + 1)
    for seed in range(250):
        random = np.random.default_rng(seed)
        values = random.normal(size=(24, 40))[clusters] + random.normal(size=(len(clusters), 40))
        found = simultaneous_intervals(residuals(values, clusters), 0.95, 499, seed)
        held.append(_all_held(found.low, found.high))
        means, mean = bootstrap_means(values, clusters, 499, seed), values.mean(axis=0)
        error = means.std(axis=0)
        reach = np.quantile((np.abs(means - mean) / error).max(axis=1), 0.95) * error
        fixed.append(_all_held(mean - reach, mean + reach))
    assert 0.91 <= np.mean(held) <= 0.99
    assert np.mean(fixed) < 0.85


def test_macro_residuals_are_those_of_the_macro_average() -> None:
    values, clusters = _uneven(3, holes=0)
    values = np.random.default_rng(1).normal(size=values.shape)
    of_topics = residuals(macro_values(values, [[0, 2], [1]]), clusters)
    found = macro(residuals(values, clusters), [[0, 2], [1]])
    for one, other in zip(found[:3], of_topics[:3], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-15)


def test_sums_of_means_have_the_spread_of_their_linear_form() -> None:
    """With missing cells each column keeps its own mean, as the bootstrap of the sum does."""
    values, clusters = _uneven(3, topics=600)
    weights = np.array([[1.0, 0.5], [-1.0, 0.5], [0.0, 0.0]])
    found = weighted(residuals(values, clusters), weights)
    means = bootstrap_means(values, clusters, 4_000) @ weights
    np.testing.assert_allclose(found.means, np.nanmean(values, axis=0) @ weights, atol=1e-12)
    np.testing.assert_allclose(np.sqrt((found.parts**2).sum(axis=0)), means.std(axis=0), rtol=0.06)
    np.testing.assert_allclose(found.parts.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.shares.sum(axis=0), 1)


def test_a_constant_setting_has_no_width_and_leaves_the_others_alone() -> None:
    values = np.random.default_rng(0).normal(size=(31, 3))
    constant = np.column_stack([values, np.full(31, 1 / 3), np.zeros(31)])
    clusters = np.arange(31) // 2
    together, alone = (
        simultaneous_intervals(residuals(part, clusters), 0.95, 200) for part in (constant, values)
    )
    np.testing.assert_allclose(together.low[:3], alone.low, rtol=1e-12)
    np.testing.assert_allclose(together.low[3:], [1 / 3, 0], rtol=1e-12)
    np.testing.assert_allclose(together.high[3:], [1 / 3, 0], rtol=1e-12)
    nothing = simultaneous_intervals(residuals(constant[:, 3:], clusters), 0.95, 20)
    np.testing.assert_allclose(nothing.low, [1 / 3, 0], rtol=1e-12)


def test_too_few_clusters_have_no_interval_and_leave_the_others_alone() -> None:
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[1:, 1] = np.nan
    values[2:, 2] = np.nan
    found = simultaneous_intervals(residuals(values, np.arange(40)), 0.95, 500)
    assert found.low[0] < values[:, 0].mean() < found.high[0]
    assert np.isnan([*found.low[1:], *found.high[1:]]).all()
    alone = simultaneous_intervals(residuals(values[:, :2], np.arange(40)), 0.95, 500)
    assert alone.high[0] <= found.high[0] < 2 * alone.high[0]
    with_one = macro(residuals(values, np.arange(40)), [[0, 1], [0, 2]])
    assert np.isnan(simultaneous_intervals(with_one, 0.95, 500).low).tolist() == [True, False]
    one = simultaneous_intervals(residuals(values[:, :1], np.zeros(40, dtype=int)), 0.95, 500)
    assert np.isnan([one.low[0], one.high[0]]).all()


def test_draws_follow_from_the_seed_and_not_from_threads() -> None:
    values, clusters = _uneven(60, topics=700)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            spread = macro(residuals(values, clusters), [range(60), *([c] for c in range(60))])
            found.append(simultaneous_intervals(spread, 0.95, 1_500, 8))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].low, other.low)
        np.testing.assert_array_equal(found[0].high, other.high)
    assert (simultaneous_intervals(spread, 0.95, 1_500, 9).low != found[0].low).all()


def _seeds(
    random: np.random.Generator, clusters: int, columns: int, seeds: int, noise: float
) -> SeedResiduals:
    """Two systems that do not differ; a seed moves all topics of a column alike."""
    shared = random.normal(size=(clusters, 1)) / 2 + random.normal(size=(clusters, columns))
    scores = [
        noise * random.normal(size=(seeds, 1, columns)) + side * shared[None]
        for side in (0.5, -0.5)
    ]
    difference = scores[0].mean(axis=0) - scores[1].mean(axis=0)
    spread = residuals(difference, np.arange(clusters))
    return seed_residuals(spread, [part.mean(axis=1) for part in scores], 1e-12)


def test_all_settings_at_once_keep_their_level_over_seeds_too() -> None:
    """5 seeds, 30 clusters, 30 settings, seeds a fifth of the variance."""
    wrong, held = [], []
    for seed in range(250):
        spread = _seeds(np.random.default_rng(seed), 30, 30, 5, 0.15)
        found = seeds_at_once(spread, 0.95, 499, seed)
        wrong.append((found.step_down <= 0.05).any())
        held.append(_all_held(found.intervals.low, found.intervals.high))
    assert 0.01 <= np.mean(wrong) <= 0.09
    assert 0.91 <= np.mean(held) <= 0.99


def test_a_difference_beyond_clusters_and_seeds_is_found() -> None:
    spread = _seeds(np.random.default_rng(0), 60, 6, 5, 0.1)
    moved = spread._replace(means=spread.means + np.array([2.0, -2.0, 0, 0, 0, 0]))
    found = seeds_at_once(moved, 0.95, 999)
    assert (found.step_down[:2] == 1 / 1_000).all()
    assert (found.step_down[2:] > 0.05).all()
    assert found.intervals.low[0] > 0 > found.intervals.high[1]


def test_step_down_over_seeds_equals_its_definition() -> None:
    spread = _seeds(np.random.default_rng(2), 20, 5, 3, 0.3)
    spread = spread._replace(means=spread.means + np.linspace(0, 1, 5))
    found = seeds_at_once(spread, 0.9, 199, 4)
    error = np.sqrt((spread.parts**2).sum(axis=0))
    drawn = np.abs(np.concatenate(list(sign_blocks(199, 26, 4))) @ spread.parts / error)
    t, f = np.abs(spread.means) / error, spread.freedom
    sizes = t * np.sqrt((f + 1) / (f + t**2))
    expected, left, largest = np.ones(5), list(range(5)), 0.0
    while left:
        strongest = max(left, key=lambda column: sizes[column])
        reached = (drawn[:, left].max(axis=1) >= sizes[strongest]).sum()
        largest = expected[strongest] = max(largest, (1 + reached) / 200)
        left.remove(strongest)
    assert found.step_down == pytest.approx(expected)
    u = np.quantile(drawn.max(axis=1), 0.9, method="inverted_cdf")
    reach = u * np.sqrt(f / (f + 1 - u**2)) * error
    np.testing.assert_allclose(found.intervals.high - spread.means, reach, rtol=1e-9)


def test_squared_errors_of_clusters_and_seeds_add_up() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(30, 1))
    several = random.normal(size=(4, 1))
    spread = residuals(values, np.arange(30))
    both, clusters = (seed_residuals(spread, seeds, 0) for seeds in ([several], []))
    of_clusters, of_seeds = stats.sem(values)[0] ** 2, stats.sem(several)[0] ** 2
    assert (clusters.parts**2).sum() == pytest.approx(of_clusters)
    assert clusters.freedom[0] == pytest.approx(29)
    assert (both.parts**2).sum() == pytest.approx(of_clusters + of_seeds)
    welch = (of_clusters + of_seeds) ** 2 / (of_clusters**2 / 29 + of_seeds**2 / 3)
    assert both.freedom[0] == pytest.approx(welch)


def test_seeds_without_spread_or_knowledge() -> None:
    values = np.column_stack([np.zeros(6), np.full(6, 0.5), [0.5, *[np.nan] * 5]])
    spread = seed_residuals(residuals(values, np.arange(6)), [np.zeros((3, 3))], 1e-12)
    found = seeds_at_once(spread, 0.95, 99)
    assert found.step_down.tolist() == [1, 1 / 513, 1]
    np.testing.assert_allclose(found.intervals.low, [0, 0.5, np.nan], atol=1e-12)


def test_few_seeds_that_are_most_of_the_noise_show_nothing() -> None:
    spread = _seeds(np.random.default_rng(1), 200, 30, 2, 5.0)
    found = seeds_at_once(spread, 0.95, 999)
    assert np.isnan(found.intervals.low).mean() > 0.5
    assert (found.step_down > 0.05).all()


def test_more_draws_than_signs_reach_no_further_than_all_agreeing() -> None:
    assert np.isnan(in_errors(2.0, np.array([1, 4, 0]))).all()
    assert in_errors(2.0, np.array([5, 10**9])) == pytest.approx([4, 2])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, np.nan])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    spread = residuals(np.arange(5.0)[:, None], np.arange(5))
    with pytest.raises(UsageError, match="confidence must lie between 0 and 1"):
        simultaneous_intervals(spread, confidence)
    with pytest.raises(UsageError, match="confidence must lie between 0 and 1"):
        seeds_at_once(seed_residuals(spread, [], 0), confidence)


def test_impossible_draws_are_refused() -> None:
    spread = residuals(np.arange(5.0)[:, None], np.arange(5))
    with pytest.raises(UsageError, match="draws must be at least 1, not 0"):
        simultaneous_intervals(spread, 0.95, 0)


def test_p_and_intervals_agree() -> None:
    """Both take the signs of whole clusters: what is clear by one is clear by the other."""
    values = np.random.default_rng(4).normal(0, 1, (60, 20)) + np.linspace(0, 1, 20)
    found = simultaneous_intervals(residuals(values, np.arange(60)), 0.95, 1_999)
    p = sign_flips(values, np.arange(60), 1_999).single_step
    excluded = (found.low > 0) | (found.high < 0)
    clear = np.abs(p - 0.05) > 0.03
    np.testing.assert_array_equal((p <= 0.05)[clear], excluded[clear])
    assert 0 < excluded.sum() < 20
