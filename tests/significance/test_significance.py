"""Randomization tests against scipy, slow definitions and simulations."""

from __future__ import annotations

import itertools
import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.significance.draws import all_signs_fit, blocks, random_signs
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.sums import cluster_sums, on_grid
from tests.support.helpers import unhurried
from tests.support.significance_data import normal, with_holes


def _scipy_p(values: np.ndarray) -> float:
    """All 2^n sign flips of values [clusters], two-sided."""
    return stats.permutation_test(
        (values,), np.sum, permutation_type="samples", vectorized=False, n_resamples=np.inf
    ).pvalue


@pytest.mark.parametrize("topics", [2, 3, 7, 10])
def test_p_equals_scipy_on_all_sign_flips(topics: int) -> None:
    values = normal(topics, 4, seed=topics, shift=0.5)
    found = sign_flips(values, np.arange(topics), 2**topics)
    assert found.p.tolist() == [_scipy_p(part) for part in values.T]


def test_p_of_clusters_equals_scipy_on_their_sums() -> None:
    values, clusters = with_holes(normal(30, 5, shift=0.3)), np.arange(30) * 7 % 8
    sums = cluster_sums(values, clusters).sums
    found = sign_flips(values, clusters)
    assert found.p.tolist() == [_scipy_p(part) for part in sums.T]


def test_sampled_p_counts_the_data_among_the_draws() -> None:
    values = normal(20, 3, shift=0.4)
    found = sign_flips(values, np.arange(20), permutations=250, seed=5)
    signs = np.concatenate([random_signs(5, block, 20) for block in blocks(250, 20)])
    assert signs.shape == (250, 20)
    assert set(np.unique(signs)) == {-1, 1}
    reached = (np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12).sum(axis=0)
    np.testing.assert_allclose(found.p, (1 + reached) / 251, rtol=1e-15)


def test_sampled_p_is_close_to_the_exact_one() -> None:
    values = normal(13, 6, shift=0.3)
    exact = sign_flips(values, np.arange(13))
    sampled = sign_flips(values, np.arange(13), permutations=4_000)
    assert (all_signs_fit(13, 10_000), all_signs_fit(13, 4_000)) == (True, False)
    for column in ("p", "single_step", "step_down"):
        np.testing.assert_allclose(getattr(sampled, column), getattr(exact, column), atol=0.03)


def _direct_max_t(sums: np.ndarray) -> tuple[list[float], list[float]]:
    """Single-step and step-down p-values over all sign vectors, by the definitions.

    Single-step: the largest statistic of all. Step-down (Westfall and Young): the largest of the
    columns that were observed no larger; then no smaller than the p-value of the one before.
    """

    def statistics(signs: tuple[int, ...]) -> list[float]:
        found = []
        for part in sums.T:
            spread = math.sqrt(math.fsum(value**2 for value in part))
            total = math.fsum(s * value for s, value in zip(signs, part, strict=True))
            found.append(abs(total) / spread if spread else 0.0)
        return found

    draws = [statistics(signs) for signs in itertools.product((1, -1), repeat=len(sums))]
    observed, columns = draws[0], range(len(draws[0]))

    def p(column: int, family: list[int]) -> float:
        hits = [max(draw[i] for i in family) >= observed[column] - 1e-9 for draw in draws]
        return sum(hits) / len(draws)

    single = [p(column, list(columns)) for column in columns]
    order = sorted(columns, key=lambda column: -observed[column])
    step_down, before = [0.0] * len(order), 0.0
    for place, column in enumerate(order):
        before = step_down[column] = max(before, p(column, order[place:]))
    return single, step_down


@pytest.mark.parametrize("seed", range(4))
def test_max_t_equals_its_definition(seed: int) -> None:
    values = with_holes(normal(16, 6, seed, shift=0.4))
    clusters = np.arange(16) // 2
    found = sign_flips(values, clusters)
    single, step_down = _direct_max_t(cluster_sums(values, clusters).sums)
    assert found.single_step.tolist() == single
    assert found.step_down.tolist() == step_down


@unhurried
@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=6))
def test_max_t_equals_its_definition_with_ties(rows: list[list[int]]) -> None:
    """Tenths, whose equal sums differ in their last bits."""
    found = sign_flips(np.array(rows) * 0.1, np.arange(len(rows)))
    single, step_down = _direct_max_t(np.array(rows, dtype=np.float64))
    assert found.single_step.tolist() == single
    assert found.step_down.tolist() == step_down


def test_equal_sums_of_fractions_count_as_ties() -> None:
    values = np.array([[0.1], [0.2], [-0.3], [0.3]])
    assert sign_flips(values, np.arange(4)).p[0] == sign_flips(10 * values, np.arange(4)).p[0]
    assert sign_flips(values, np.arange(4)).p[0] == _scipy_p(np.array([1, 2, -3, 3]))


@pytest.mark.parametrize("clusters", [2, 3, 5, 9])
@pytest.mark.parametrize("permutations", [1, 10, 10_000])
def test_no_p_lies_below_what_all_flips_can_reach(clusters: int, permutations: int) -> None:
    found = sign_flips(normal(clusters, 3, shift=9.0), np.arange(clusters), permutations)
    for p in (found.p, found.single_step, found.step_down):
        assert p.tolist() == [1 / 2 ** (clusters - 1)] * 3


def test_a_column_of_few_clusters_among_many_has_no_smaller_p_either() -> None:
    values = normal(40, 2, shift=9.0)
    values[3:, 1] = np.nan
    values[4:, 0] = 0.0
    for seed in range(20):
        found = sign_flips(values, np.arange(40), 999, seed)
        assert (found.p >= [1 / 2**3, 1 / 2**2]).all()
        assert (found.step_down >= [1 / 2**3, 1 / 2**2]).all()


def test_random_draws_never_undercut_all_flips() -> None:
    for clusters, permutations in ((10, 512), (11, 1_500), (12, 4_095), (12, 300)):
        found = sign_flips(normal(clusters, 1, shift=9.0), np.arange(clusters), permutations)
        least = max(1 / 2 ** (clusters - 1), 1 / (permutations + 1))
        every = all_signs_fit(clusters, permutations)
        assert found.p[0] == (1 / 2 ** (clusters - 1) if every else least)


def test_adjusted_p_values_are_ordered() -> None:
    found = sign_flips(normal(40, 12, shift=0.25), np.arange(40), 500)
    assert (found.p <= found.step_down).all()
    assert (found.step_down <= found.single_step).all()
    assert (found.single_step <= 1).all()
    assert (found.step_down < found.single_step).any()


def test_max_t_of_equal_columns_costs_nothing() -> None:
    values = np.repeat(normal(25, 1, shift=0.3), 8, axis=1)
    found = sign_flips(values, np.arange(25), 500)
    np.testing.assert_array_equal(found.single_step, found.p)
    np.testing.assert_array_equal(found.step_down, found.p)


def test_statistic_orders_as_student_s_t() -> None:
    values = normal(15, 5, shift=0.3)
    statistic = sign_flips(values, np.arange(15), 10).statistic
    t = stats.ttest_1samp(values, 0).statistic
    np.testing.assert_allclose(statistic * np.sqrt(14 / (15 - statistic**2)), t, rtol=1e-12)


def test_identical_systems_have_p_one() -> None:
    for topics in (1, 5, 40):
        found = sign_flips(np.zeros((topics, 3)), np.arange(topics), 200)
        for p in (found.p, found.single_step, found.step_down):
            assert p.tolist() == [1.0] * 3
        assert found.difference.tolist() == [0.0] * 3


def test_an_identical_setting_beside_others_has_p_one() -> None:
    values = normal(30, 3, shift=1.0)
    values[:, 1] = 0
    found = sign_flips(values, np.arange(30), 500)
    assert found.p[1] == found.single_step[1] == found.step_down[1] == 1.0
    assert found.p[0] < 0.05


def test_one_topic_shows_nothing() -> None:
    assert sign_flips(np.array([[0.7, -0.2]]), np.array([0])).p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("constant", [0.25, 0.1, -1 / 3])
def test_a_constant_difference_is_as_significant_as_can_be(constant: float) -> None:
    exact = sign_flips(np.full((10, 1), constant), np.arange(10))
    assert exact.p.tolist() == [2 / 2**10]
    sampled = sign_flips(np.full((60, 1), constant), np.arange(60), 999)
    assert sampled.p.tolist() == [1 / 1000]


def test_p_values_are_never_zero_and_reach_one() -> None:
    values = np.stack([np.ones(50), np.tile([1.0, -1.0], 25)], axis=1)
    found = sign_flips(values, np.arange(50), 99)
    assert found.p.tolist() == [1 / 100, 1.0]
    assert found.single_step.tolist() == [1 / 100, 1.0]


def test_swapping_the_systems_changes_only_the_sign() -> None:
    values = with_holes(normal(33, 6, shift=0.2))
    ours, theirs = (sign_flips(part, np.arange(33), 300) for part in (values, -values))
    np.testing.assert_array_equal(ours.difference, -theirs.difference)
    for name in ("p", "single_step", "step_down"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_setting_s_own_p_does_not_depend_on_the_others() -> None:
    values = normal(33, 6, shift=0.2)
    together = sign_flips(values, np.arange(33), 300).p
    alone = [sign_flips(values[:, [column]], np.arange(33), 300).p[0] for column in range(6)]
    assert together.tolist() == alone


def test_draws_follow_from_the_seed_alone() -> None:
    values = normal(50, 4, shift=0.1)
    first, again, other = (sign_flips(values, np.arange(50), 2_500, seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.p != other.p).any()


def test_threads_change_no_bit() -> None:
    values = normal(700, 60, shift=0.02) / 3
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            flips = sign_flips(values, np.arange(700), 2_000)
            results.append(flips)
    for found in results[1:]:
        for one, two in zip(results[0], found, strict=True):
            np.testing.assert_array_equal(one, two)


@unhurried
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_sums_on_the_grid_are_exact_in_any_order(column: list[float], random: Random) -> None:
    rows = len(column)
    grid = on_grid(np.array(column)[:, None])[:, 0]
    np.testing.assert_allclose(grid, column, rtol=0, atol=1e-13 * rows * max(map(abs, column)))
    counts = [0] * rows
    for _ in range(rows):
        counts[random.randrange(rows)] += 1
    for weights in (counts, [random.choice((-1, 1)) for _ in column]):
        terms = [weight * value for weight, value in zip(weights, grid.tolist(), strict=True)]
        exact = math.fsum(terms)
        random.shuffle(terms)
        assert sum(terms) == exact
        assert float(np.array(terms) @ np.ones(rows)) == exact


def test_family_wise_error_of_max_t_is_controlled() -> None:
    """No system differs; topics share noise across settings and within articles."""
    random = np.random.default_rng(0)
    clusters = np.arange(60) // 3
    hits = 0
    for seed in range(400):
        article, topic = random.normal(size=(20, 1))[clusters], random.normal(size=(60, 1))
        values = article + topic + random.normal(size=(60, 8))
        hits += sign_flips(values, clusters, 199, seed).step_down.min() <= 0.05
    assert 0.02 <= hits / 400 <= 0.085


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        (np.ones(3), np.arange(3), r"give \[topics, columns\]"),
        (np.ones((3, 1)), np.arange(2), r"give \[topics, columns\]"),
        (np.array([[1.0, np.nan]]), np.arange(1), "column 1 has no values"),
        (np.ones((0, 2)), np.arange(0), "column 0 has no values"),
        (np.array([[np.inf]]), np.arange(1), "infinite"),
    ],
)
def test_unusable_values_are_refused(
    values: np.ndarray, clusters: np.ndarray, message: str
) -> None:
    with pytest.raises(BiasBenchError, match=message):
        sign_flips(values, clusters)


@pytest.mark.parametrize(
    ("permutations", "seed", "message"),
    [(0, 0, "permutations must be at least 1, not 0"), (10, -1, "must not be negative")],
)
def test_impossible_draws_are_refused(permutations: int, seed: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sign_flips(np.ones((3, 1)), np.arange(3), permutations, seed)
