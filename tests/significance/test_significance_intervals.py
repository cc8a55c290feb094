"""Significance: bootstrap intervals, seeds × topics, equivalence, effect sizes, t and Wilcoxon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.significance.bootstrap import (
    bootstrap_means,
    bootstrap_p,
    equivalence,
    macro_replicates,
    percentile_intervals,
)
from bias_bench.significance.draws import Stream, blocks, resampled_counts
from bias_bench.significance.effects import effects
from bias_bench.significance.parametric import t_test, wilcoxon_test
from bias_bench.significance.seeds import seed_means
from tests.support.helpers import unhurried


def _normal(*shape: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, shape)


def _counts(replicates: int, clusters: int, seed: int) -> np.ndarray:
    return np.concatenate(
        [
            resampled_counts(seed, Stream.CLUSTERS, block, clusters)
            for block in blocks(replicates, clusters)
        ]
    )


def test_resampling_draws_as_many_clusters_as_there_are() -> None:
    counts = _counts(3_000, 40, 1)
    assert counts.shape == (3_000, 40)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.1)
    assert counts.var() == pytest.approx(39 / 40, rel=0.05)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_replicates_are_means_of_the_drawn_clusters_topics(size: int, holes: float) -> None:
    random = np.random.default_rng(0)
    values = np.where(random.random((24, 3)) < holes, np.nan, random.random((24, 3)))
    clusters = random.permutation(24) // size
    found = bootstrap_means(values, clusters, 50, seed=2)
    for replicate, counts in zip(found, _counts(50, 24 // size, 2), strict=True):
        drawn = np.repeat(values, counts[clusters].astype(int), axis=0)
        np.testing.assert_allclose(replicate, np.nanmean(drawn, axis=0), rtol=1e-11)


def _coverage(found: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    return float(((found[0] <= truth) & (truth <= found[1])).mean())


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_cover_the_truth_as_often_as_they_say(skewed: bool) -> None:
    """Each column is a data set of its own: 60 articles of 1 to 5 topics that share noise."""
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(60), np.arange(60) % 5 + 1)
    shared = random.exponential(1, (60, 1_000)) if skewed else random.normal(1, 1, (60, 1_000))
    values = shared[clusters] + random.normal(0, 0.5, (len(clusters), 1_000))
    by_article = percentile_intervals(bootstrap_means(values, clusters, 1_000))
    assert 0.915 <= _coverage(by_article[:2], 1.0) <= 0.97
    alone = percentile_intervals(bootstrap_means(values, np.arange(len(values)), 1_000))
    assert _coverage(alone[:2], 1.0) < 0.85  # what taking topics as independent would claim
    narrow = percentile_intervals(bootstrap_means(values, clusters, 1_000), confidence=0.8)
    assert 0.75 <= _coverage(narrow[:2], 1.0) <= 0.84


def test_macro_replicates_average_the_settings() -> None:
    values = np.where(np.arange(40)[:, None] % np.array([50, 3, 4]) == 1, np.nan, _normal(40, 3))
    means = bootstrap_means(values, np.arange(40) // 2, 20)
    np.testing.assert_allclose(
        macro_replicates(means, [[0, 1, 2], [1]]),
        np.stack([means.sum(axis=1) / 3, means[:, 1]], axis=1),
    )


def test_a_constant_difference_has_an_interval_without_width() -> None:
    values = np.full((9, 2), 0.3)
    values[:, 1] = 0
    means = bootstrap_means(values, np.arange(9) // 2, 50)
    found = percentile_intervals(means)
    assert found.low == pytest.approx([0.3, 0.0], abs=1e-12)
    assert found.high == pytest.approx([0.3, 0.0], abs=1e-12)


def test_one_cluster_has_no_interval() -> None:
    values = np.array([[0.1, 0.2], [0.3, np.nan], [0.5, np.nan]])
    means = bootstrap_means(values, np.arange(3), 40)
    found = percentile_intervals(means)
    assert np.isnan([found.low[1], found.high[1]]).all()
    assert np.isnan(means[:, 1]).all()
    assert found.low[0] < 0.3 < found.high[0]
    assert np.isnan(bootstrap_means(values, np.zeros(3, dtype=int), 40)).all()


def test_replicates_without_a_cell_are_left_out() -> None:
    values = np.full((8, 2), np.nan)
    values[:, 0], values[:2, 1] = 1.0, [0.0, 1.0]
    means = bootstrap_means(values, np.arange(8), 1_000)
    found = percentile_intervals(means)
    assert not np.isnan(means[:, 0]).any()
    assert np.isnan(means[:, 1]).sum() == pytest.approx(1_000 * (6 / 8) ** 8, rel=0.3)
    assert (found.low[1], found.high[1]) == (0.0, 1.0)


def test_bootstrap_follows_from_the_seed_and_not_from_threads() -> None:
    values = _normal(600, 50) / 7
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            results.append(bootstrap_means(values, np.arange(600), 1_500, seed=8))
            several = _normal(3, 600, 50) / 7
            seeds = seed_means(several, several[:2], np.arange(600) // 3, 200, seed=8)
            results[-1] = np.concatenate([results[-1], seeds])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0][:1_500] != bootstrap_means(values, np.arange(600), 1_500, seed=9)).all()


def test_bootstrap_p_agrees_with_the_interval() -> None:
    means = bootstrap_means(_normal(60, 40, shift=0.25), np.arange(60), 999)
    p = bootstrap_p(means)
    found = percentile_intervals(means)
    clear = np.abs(p - 0.05) > 0.005
    excluded = (found.low > 0) | (found.high < 0)
    np.testing.assert_array_equal((p <= 0.05)[clear], excluded[clear])
    assert 0 < excluded.sum() < 40
    assert bootstrap_p(np.zeros((99, 1))).tolist() == [1.0]
    assert bootstrap_p(np.ones((99, 1))).tolist() == [0.02]
    assert bootstrap_p(np.full((99, 1), np.nan)).tolist() == [1.0]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, np.nan])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="confidence must lie between 0 and 1"):
        percentile_intervals(np.zeros((5, 1)), confidence)


def test_impossible_replicates_are_refused() -> None:
    with pytest.raises(UsageError, match="replicates must be at least 1, not 0"):
        bootstrap_means(np.ones((3, 1)), np.arange(3), 0)
    with pytest.raises(UsageError, match="replicates must be at least 1, not 0"):
        seed_means(np.ones((1, 3, 1)), np.ones((1, 3, 1)), np.arange(3), 0)


def test_one_seed_each_is_the_bootstrap_over_topics() -> None:
    system, baseline = _normal(1, 30, 4), _normal(1, 30, 4, seed=1)
    system[:, 3, 1] = baseline[:, 3, 1] = np.nan
    found = seed_means(system, baseline, np.arange(30) // 2, 60, seed=4)
    expected = bootstrap_means(system[0] - baseline[0], np.arange(30) // 2, 60, seed=4)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(2, 2), (3, 1), (6, 4)])
def test_spread_of_seeds_has_the_variance_of_their_means(ours: int, theirs: int) -> None:
    """Topics do not matter here: a seed moves all topics alike, as strongly as it does."""
    system, baseline = (
        np.repeat(_normal(seeds, 1, 1, seed=seeds), 10, axis=1) for seeds in (ours, theirs)
    )
    found = seed_means(system, baseline, np.arange(10), 20_000)
    expected = sum(
        part[:, 0, 0].var(ddof=1) / len(part) for part in (system, baseline) if len(part) > 1
    )
    assert found.mean() == pytest.approx(system.mean() - baseline.mean(), abs=0.02)
    assert found.var() == pytest.approx(expected, rel=0.05)


def test_seeds_and_topics_add_up() -> None:
    """95 % intervals hold when both matter; those that take the checkpoints as given do not."""
    truth, covered, fixed = 0.1, [], []
    random = np.random.default_rng(6)
    for seed in range(250):
        topics = random.normal(0, 0.2, (40, 1))
        system = truth + random.normal(0, 0.06, (6, 1, 1)) + topics / 2
        baseline = random.normal(0, 0.06, (6, 1, 1)) - topics / 2
        means = seed_means(system, baseline, np.arange(40), 300, seed)
        covered.append(_coverage(percentile_intervals(means)[:2], truth))
        values = system.mean(axis=0) - baseline.mean(axis=0)
        means = bootstrap_means(values, np.arange(40), 300, seed)
        fixed.append(_coverage(percentile_intervals(means)[:2], truth))
    assert 0.89 <= np.mean(covered) <= 0.985
    assert np.mean(fixed) < 0.85


def test_seeds_must_share_their_cells() -> None:
    system = np.ones((2, 3, 1))
    system[1, 0] = np.nan
    with pytest.raises(BiasBenchError, match="seeds lack different cells"):
        seed_means(system, np.ones((1, 3, 1)), np.arange(3))
    with pytest.raises(BiasBenchError, match="no seeds"):
        seed_means(np.ones((0, 3, 1)), np.ones((1, 3, 1)), np.arange(3))


def test_equivalence_is_shown_where_the_interval_lies_within_the_margin() -> None:
    values = _normal(100, 60) * 0.1 + np.linspace(-0.08, 0.08, 60)
    means = bootstrap_means(values, np.arange(100), 1_999)
    found = equivalence(means, 0.05)
    within = (found.interval.low > -0.05) & (found.interval.high < 0.05)
    clear = np.abs(found.equivalent - 0.05) > 0.003
    np.testing.assert_array_equal((found.equivalent <= 0.05)[clear], within[clear])
    assert 0 < within.sum() < 60
    ninety = percentile_intervals(means, 0.9)
    np.testing.assert_array_equal(found.interval.low, ninety.low)


def test_no_worse_depends_on_the_direction() -> None:
    means = bootstrap_means(_normal(50, 1) * 0.01 + 0.2, np.arange(50), 199)
    better, worse = (equivalence(means, 0.1, higher_is_better=way) for way in (True, False))
    assert better.no_worse.tolist() == [1 / 200]
    assert worse.no_worse.tolist() == [1.0]
    assert better.equivalent.tolist() == worse.equivalent.tolist() == [1.0]


def test_identical_systems_are_equivalent_within_any_margin() -> None:
    found = equivalence(bootstrap_means(np.zeros((5, 1)), np.arange(5), 99), 1e-6)
    assert found.equivalent.tolist() == found.no_worse.tolist() == [0.01]


def test_nothing_known_shows_no_equivalence() -> None:
    found = equivalence(bootstrap_means(np.zeros((1, 1)), np.arange(1), 99), 1.0)
    assert found.equivalent.tolist() == found.no_worse.tolist() == [1.0]


@pytest.mark.parametrize("margin", [0.0, -0.1, np.inf, np.nan])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(UsageError, match="margin must be positive"):
        equivalence(np.zeros((5, 1)), margin)


def test_an_impossible_level_is_refused() -> None:
    with pytest.raises(UsageError, match="the level must lie between 0 and"):
        equivalence(np.zeros((5, 1)), 0.1, level=0.5)


def test_effect_sizes_of_a_small_example() -> None:
    values = np.array([[0.4, -1.0], [0.1, np.nan], [0.0, -1.0], [-0.2, -1.0], [0.3, -1.0]])
    found = effects(values, np.arange(5))
    assert found.difference == pytest.approx([0.12, -1.0])
    assert found.d_z == pytest.approx([0.12 / np.std(values[:, 0], ddof=1), -np.inf])
    assert found.rank_biserial == pytest.approx([(4 + 1 + 3 - 2) / 10, -1.0])
    assert (found.wins.tolist(), found.ties.tolist()) == ([3, 0], [1, 0])
    assert (found.losses.tolist(), found.units.tolist()) == ([1, 4], [5, 4])


def test_direction_swaps_wins_and_losses_alone() -> None:
    values = _normal(20, 3, shift=0.2)
    higher, lower = (effects(values, np.arange(20), higher_is_better=way) for way in (True, False))
    assert higher.wins.tolist() == lower.losses.tolist()
    assert higher.losses.tolist() == lower.wins.tolist()
    assert higher.d_z.tolist() == lower.d_z.tolist()
    assert higher.rank_biserial.tolist() == lower.rank_biserial.tolist()


def test_rank_biserial_follows_from_scipy_s_rank_sums() -> None:
    values = np.round(_normal(40, 1, shift=0.3), 1)
    used = values[values != 0]
    total = len(used) * (len(used) + 1) / 2
    positive = stats.wilcoxon(used, alternative="greater").statistic
    assert effects(values, np.arange(40)).rank_biserial[0] == pytest.approx(
        (2 * positive - total) / total
    )


@pytest.mark.parametrize(
    ("values", "d_z"),
    [
        ([0.0, 0.0, 0.0], 0.0),
        ([0.1, 0.1, 0.1], np.inf),
        ([0.3 - 0.2, 0.1, 0.2 - 0.1], np.inf),
        ([-0.1, -0.1], -np.inf),
        ([0.4], np.nan),
    ],
)
def test_d_z_without_variance(values: list[float], d_z: float) -> None:
    found = effects(np.array(values)[:, None], np.arange(len(values)))
    np.testing.assert_array_equal(found.d_z, [d_z])


def test_rounding_is_neither_won_nor_lost() -> None:
    found = effects(np.array([[0.1 + 0.2 - 0.3], [0.5], [0.0]]), np.arange(3))
    assert (found.wins[0], found.ties[0], found.losses[0]) == (1, 2, 0)


@unhurried
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(-10, 10, width=16)), min_size=1, max_size=12)
)
def test_effect_sizes_keep_their_ranges_and_the_sign_of_the_difference(
    rows: list[tuple[int, float]],
) -> None:
    """Units of unequal size: d_z weighs them as the difference does, so the two never disagree."""
    clusters = np.unique([row[0] for row in rows], return_inverse=True)[1]
    values = np.array([row[1] for row in rows])
    found = effects(values[:, None], clusters)
    assert found.wins[0] + found.ties[0] + found.losses[0] == len(values)
    assert found.units[0] == clusters.max() + 1
    assert -1 - 1e-12 <= found.rank_biserial[0] <= 1 + 1e-12
    assert found.difference[0] == pytest.approx(values.mean())
    if not np.isnan(found.d_z[0]):
        assert np.sign(found.d_z[0]) == np.sign(found.difference[0])


def test_d_z_weighs_units_by_their_topics() -> None:
    """One large article is worse, two small ones are better: the mean over topics is worse."""
    values = np.array([-0.2] * 8 + [0.3, 0.1])[:, None]
    found = effects(values, np.array([0] * 8 + [1, 2]))
    shares, means = np.array([0.8, 0.1, 0.1]), np.array([-0.2, 0.3, 0.1])
    difference = shares @ means
    spread = np.sqrt(shares @ (means - difference) ** 2 / (1 - shares @ shares))
    assert found.difference[0] == pytest.approx(-0.12)
    assert found.d_z[0] == pytest.approx(difference / spread)
    assert means.mean() > 0 > found.d_z[0]
    assert (found.wins[0], found.ties[0], found.losses[0]) == (2, 0, 8)


def test_d_z_of_equal_units_is_that_of_their_means() -> None:
    values = _normal(40, 3, shift=0.3)
    means = values.reshape(10, 4, 3).mean(axis=1)
    found = effects(values, np.arange(40) // 4)
    np.testing.assert_allclose(found.d_z, means.mean(axis=0) / means.std(axis=0, ddof=1))


@pytest.mark.parametrize("measure", [effects, t_test])
def test_an_empty_column_is_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(BiasBenchError, match="column 1 has no values"):
        measure(np.array([[1.0, np.nan], [0.5, np.nan]]), np.arange(2))


def test_t_and_wilcoxon_equal_scipy() -> None:
    ours, theirs = _normal(40, 3, shift=0.4), _normal(40, 3, seed=1)
    values = ours - theirs
    values[5, 2] = np.nan
    t, wilcoxon = (test(values, np.arange(40)) for test in (t_test, wilcoxon_test))
    for column in range(3):
        kept = ~np.isnan(values[:, column])
        pair = ours[kept, column], theirs[kept, column]
        for found, expected in ((t, stats.ttest_rel(*pair)), (wilcoxon, stats.wilcoxon(*pair))):
            assert found.statistic[column] == pytest.approx(expected.statistic)
            assert found.p[column] == pytest.approx(expected.pvalue)
    assert t.flags == wilcoxon.flags == ((), (), ())


def _flags(values: np.ndarray, clusters: np.ndarray | None = None) -> tuple[str, str]:
    topics = np.arange(len(values)) if clusters is None else clusters
    return tuple(  # type: ignore[return-value]
        "; ".join(test(values[:, None], topics).flags[0]) for test in (t_test, wilcoxon_test)
    )


def test_clusters_are_flagged_in_both_tests() -> None:
    for flags in _flags(_normal(20), np.arange(20) // 2):
        assert flags == "20 topics in 10 clusters are not independent"


def test_many_zeros_and_ties_are_flagged_in_wilcoxon() -> None:
    t, wilcoxon = _flags(np.array([0.0] * 12 + [0.5, -0.5, 0.25, -0.25] * 5))
    assert t == ""
    assert "38% of the differences are 0 and dropped" in wilcoxon
    assert "90% of the other differences are tied in size" in wilcoxon


def test_skew_is_flagged_in_both_tests() -> None:
    t, wilcoxon = _flags(np.exp(_normal(60) * 1.5) - 1)
    assert "is too large for 60 topics" in t
    assert "not symmetric" in wilcoxon
    large, _ = _flags(np.random.default_rng(0).exponential(1, 2_000) - 1)
    assert large == ""  # t is robust with many topics


@pytest.mark.parametrize(
    ("values", "t", "wilcoxon", "flag"),
    [
        ([0.0] * 5, 1.0, 1.0, "the systems are identical"),
        ([0.25] * 8, np.nan, 2 / 2**8, "zero variance"),
        ([0.3], np.nan, 1.0, "one topic has no variance"),
        ([0.0], 1.0, 1.0, "identical"),
    ],
)
def test_tests_without_variance_say_so(
    values: list[float], t: float, wilcoxon: float, flag: str
) -> None:
    column = np.array(values)[:, None]
    found = t_test(column, np.arange(len(values)))
    np.testing.assert_allclose(found.p, [t])
    assert flag in found.flags[0][0]
    np.testing.assert_allclose(wilcoxon_test(column, np.arange(len(values))).p, [wilcoxon])
