"""Significance: alignment, joint sign flips with max-T, corrections, Tukey HSD."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from threadpoolctl import threadpool_limits

from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.significance.corrections import benjamini_hochberg, holm
from bias_bench.significance.differences import (
    Observations,
    align,
    difference,
    groups_by_kind,
    macro_values,
)
from bias_bench.significance.draws import blocks, random_signs
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.sums import cluster_sums, on_grid
from bias_bench.significance.tukey import tukey_hsd
from tests.helpers import unhurried

Cells = Mapping[tuple[str, str], float]
HOLE = math.nan


def _observations(cells: Cells, clusters: Mapping[str, str] | None = None) -> Observations:
    topics = [topic for topic, _ in cells]
    return Observations(
        topics,
        [setting for _, setting in cells],
        np.array(list(cells.values()), dtype=np.float64),
        [clusters[topic] for topic in topics] if clusters else None,
    )


def _normal(topics: int, columns: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (topics, columns))


def _with_holes(values: np.ndarray, share: float = 0.2, seed: int = 9) -> np.ndarray:
    """The first row stays whole, so that no column is empty."""
    holes = np.random.default_rng(seed).random(values.shape) < share
    holes[0] = False
    return np.where(holes, np.nan, values)


LEFT = {("t1", "en"): 0.5, ("t2", "en"): 0.25, ("t1", "en-de"): 1.0, ("t3", "en"): 0.0}
RIGHT = {("t2", "en"): 0.75, ("t1", "en"): 0.25, ("t2", "en-de"): 0.5, ("t4", "en"): 1.0}


def test_only_cells_that_all_runs_have_are_compared() -> None:
    aligned = align({"b": {"0": _observations(LEFT)}, "a": {"0": _observations(RIGHT)}})
    assert (aligned.systems, aligned.topics, aligned.settings) == (
        ("a", "b"),
        ("t1", "t2"),
        ("en",),
    )
    assert difference(aligned, "b", "a").values.tolist() == [[0.25], [-0.5]]
    assert aligned.omitted.topics == ("t3", "t4")
    assert aligned.omitted.settings == ("en-de",)
    assert (aligned.omitted.cells, aligned.omitted.missing) == (0, 0)


def test_holes_are_counted_by_whether_any_run_has_the_cell() -> None:
    left = {("t1", "de"): 1.0, ("t1", "en"): 1.0, ("t2", "en"): 1.0, ("t3", "en"): 0.5}
    right = {("t1", "de"): 0.0, ("t1", "en"): 0.0, ("t2", "de"): 0.0, ("t2", "en"): 0.0}
    right |= {("t3", "en"): 0.5}
    aligned = align({"a": {"0": _observations(right)}, "b": {"0": _observations(left)}})
    np.testing.assert_array_equal(
        difference(aligned, "b", "a").values, [[1, 1], [np.nan, 1], [np.nan, 0]]
    )
    np.testing.assert_array_equal(aligned.scores[0][0], [[0, 0], [np.nan, 0], [np.nan, 0.5]])
    assert (aligned.omitted.cells, aligned.omitted.missing) == (1, 1)


def test_settings_are_ordered_by_kind_then_name() -> None:
    names = ["en-all", "en-de", "de-en", "en", "de", "de-all"]
    aligned = align({"a": {"0": _observations({("t", name): 1.0 for name in names})}})
    assert aligned.settings == ("de", "en", "de-en", "en-de", "de-all", "en-all")
    assert groups_by_kind(aligned.settings) == {
        "monolingual": [0, 1],
        "cross_lingual": [2, 3],
        "multilingual": [4, 5],
    }


def test_the_order_of_files_and_rows_changes_nothing() -> None:
    random = Random(0)  # noqa: S311
    settings = ["en", "de", "en-de", "en-all"]
    keys = [(f"t{row}", setting) for row in range(30) for setting in settings]
    clusters = {f"t{row}": f"p{row // 4}" for row in range(30)}
    runs = {
        name: {
            seed: {key: random.random() for key in keys if random.random() < 0.9}
            for seed in ("0", "1", "2")
        }
        for name in ("x", "y")
    }

    def tested(shuffled: bool) -> list[np.ndarray]:
        def rows(cells: dict) -> Observations:
            items = list(cells.items())
            if shuffled:
                random.shuffle(items)
            return _observations(dict(items), clusters)

        step = -1 if shuffled else 1
        aligned = align(
            {
                name: {seed: rows(runs[name][seed]) for seed in list(runs[name])[::step]}
                for name in list(runs)[::step]
            }
        )
        found = difference(aligned, "x", "y")
        return [
            found.system,
            found.values,
            found.clusters,
            *sign_flips(found.values, found.clusters, 99)[:5],
        ]

    for first, second in zip(tested(False), tested(True), strict=True):
        np.testing.assert_array_equal(first, second)


def test_differences_are_of_the_means_over_seeds() -> None:
    runs = {
        "a": {"0": _observations({("t", "en"): 0.2})},
        "b": {
            "0": _observations({("t", "en"): 0.5, ("u", "en"): 1.0}),
            "1": _observations({("t", "en"): 0.7}),
        },
    }
    found = difference(align(runs), "b", "a")
    assert found.system.tolist() == [[[0.5]], [[0.7]]]
    assert found.baseline.tolist() == [[[0.2]]]
    assert found.values.tolist() == [[pytest.approx(0.4)]]
    assert align(runs).omitted.topics == ("u",)


def test_clusters_are_numbered_by_name() -> None:
    cells = {("t1", "en"): 1.0, ("t2", "en"): 1.0, ("t3", "en"): 1.0}
    part = _observations(cells, {"t1": "z", "t2": "a", "t3": "z"})
    aligned = align({"s": {"0": part}})
    assert aligned.cluster_names == ("a", "z")
    assert aligned.clusters.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        ({}, UsageError, "nothing to compare"),
        (
            {"a": _observations({("t1", "en"): 1.0}), "b": _observations({("u1", "en"): 1.0})},
            UsageError,
            r"share no topic in any setting \(a, seed 0: 1 topics such as t1, setting en; b, .*u1",
        ),
        (
            {"a": _observations({("t1", "en"): 1.0}), "b": _observations({("t1", "de"): 1.0})},
            UsageError,
            "share no topic in any setting",
        ),
        ({"a": _observations({})}, UsageError, "no values"),
        (
            {"a": _observations({("t1", "en"): 1.0, ("t2", "en"): HOLE})},
            DataError,
            "a, seed 0: the value of topic t2 in setting en is nan; score the run again",
        ),
        ({"a": _observations({("t1", "en"): math.inf})}, DataError, "t1 in setting en is inf"),
        (
            {"a": Observations(["t", "t"], ["en", "en"], np.array([1.0, 2.0]))},
            DataError,
            "a, seed 0: topic t in setting en has several values",
        ),
        ({"a": Observations(["t"], ["en"], np.ones(2))}, DataError, "differ in number"),
        (
            {"a": Observations(["t", "t"], ["en", "de"], np.ones(2), ["p1", "p2"])},
            DataError,
            "topic t is in cluster p2, elsewhere in p1",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    runs: dict[str, Observations], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        align({name: {"0": part} for name, part in runs.items()})
    assert "\n" not in str(caught.value)


def test_an_unknown_system_is_refused_with_the_nearest_name() -> None:
    aligned = align({"mini-hybrid": {"0": _observations({("t", "en"): 1.0})}})
    with pytest.raises(UsageError, match="unknown system 'mini-hybird': did you mean"):
        difference(aligned, "mini-hybird", "mini-hybrid")


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_pooled_difference_is_that_of_the_macro_averages(share: float) -> None:
    settings = ("de", "en", "de-en", "en-de", "de-all")
    ours, theirs = (_with_holes(_normal(12, 5, seed), share) for seed in (1, 2))
    groups = groups_by_kind(settings)
    pooled = macro_values(ours - theirs, list(groups.values()))
    macro = [
        aggregate(
            {
                name: {"AP": float(np.nanmean(part[:, column]))}
                for column, name in enumerate(settings)
            }
        )
        for part in (ours, theirs)
    ]
    expected = [macro[0][kind]["macro"]["AP"] - macro[1][kind]["macro"]["AP"] for kind in groups]
    np.testing.assert_allclose(np.nanmean(pooled, axis=0), expected, rtol=1e-13)
    for clusters in (np.arange(12), np.arange(12) // 3):
        found = sign_flips(pooled, clusters, 20)
        np.testing.assert_allclose(found.difference, expected, rtol=1e-13)


def test_pooled_values_of_a_full_grid_are_topic_means() -> None:
    values = _normal(7, 4)
    pooled = macro_values(values, [[0, 1, 2, 3], [2]])
    np.testing.assert_allclose(pooled, np.stack([values.mean(axis=1), values[:, 2]], axis=1))


def test_a_topic_without_a_cell_in_the_group_has_no_pooled_value() -> None:
    pooled = macro_values(np.array([[1.0, 3.0], [np.nan, np.nan], [2.0, np.nan]]), [[0, 1]])
    assert np.isnan(pooled[:, 0]).tolist() == [False, True, False]
    assert np.nanmean(pooled) == pytest.approx((1.5 + 3) / 2)


def _scipy_p(values: np.ndarray) -> float:
    """All 2^n sign flips of values [clusters], two-sided."""
    return stats.permutation_test(
        (values,), np.sum, permutation_type="samples", vectorized=False, n_resamples=np.inf
    ).pvalue


@pytest.mark.parametrize("topics", [2, 3, 7, 10])
def test_p_equals_scipy_on_all_sign_flips(topics: int) -> None:
    values = _normal(topics, 4, seed=topics, shift=0.5)
    found = sign_flips(values, np.arange(topics), 2**topics)
    assert found.exact
    assert found.draws == 2**topics
    assert found.p.tolist() == [_scipy_p(part) for part in values.T]


def test_p_of_clusters_equals_scipy_on_their_sums() -> None:
    values, clusters = _with_holes(_normal(30, 5, shift=0.3)), np.arange(30) * 7 % 8
    sums = cluster_sums(values, clusters).sums
    found = sign_flips(values, clusters)
    assert found.p.tolist() == [_scipy_p(part) for part in sums.T]


def test_sampled_p_counts_the_data_among_the_draws() -> None:
    values = _normal(20, 3, shift=0.4)
    found = sign_flips(values, np.arange(20), permutations=250, seed=5)
    signs = np.concatenate([random_signs(5, block, 20) for block in blocks(250, 20)])
    assert signs.shape == (250, 20)
    assert set(np.unique(signs)) == {-1, 1}
    reached = (np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12).sum(axis=0)
    np.testing.assert_allclose(found.p, (1 + reached) / 251, rtol=1e-15)
    assert not found.exact


def test_sampled_p_is_close_to_the_exact_one() -> None:
    values = _normal(13, 6, shift=0.3)
    exact = sign_flips(values, np.arange(13))
    sampled = sign_flips(values, np.arange(13), permutations=8_000)
    assert exact.exact
    assert not sampled.exact
    for column in ("p", "single_step", "step_down"):
        np.testing.assert_allclose(getattr(sampled, column), getattr(exact, column), atol=0.025)


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
    values = _with_holes(_normal(16, 6, seed, shift=0.4))
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


def test_adjusted_p_values_are_ordered() -> None:
    found = sign_flips(_normal(40, 12, shift=0.25), np.arange(40), 500)
    assert (found.p <= found.step_down).all()
    assert (found.step_down <= found.single_step).all()
    assert (found.single_step <= 1).all()
    assert (found.step_down < found.single_step).any()


def test_max_t_of_equal_columns_costs_nothing() -> None:
    values = np.repeat(_normal(25, 1, shift=0.3), 8, axis=1)
    found = sign_flips(values, np.arange(25), 500)
    np.testing.assert_array_equal(found.single_step, found.p)
    np.testing.assert_array_equal(found.step_down, found.p)


def test_statistic_orders_as_student_s_t() -> None:
    values = _normal(15, 5, shift=0.3)
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
    values = _normal(30, 3, shift=1.0)
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
    values = _with_holes(_normal(33, 6, shift=0.2))
    ours, theirs = (sign_flips(part, np.arange(33), 300) for part in (values, -values))
    np.testing.assert_array_equal(ours.difference, -theirs.difference)
    for name in ("p", "single_step", "step_down"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_setting_s_own_p_does_not_depend_on_the_others() -> None:
    values = _normal(33, 6, shift=0.2)
    together = sign_flips(values, np.arange(33), 300).p
    alone = [sign_flips(values[:, [column]], np.arange(33), 300).p[0] for column in range(6)]
    assert together.tolist() == alone


def test_draws_follow_from_the_seed_alone() -> None:
    values = _normal(50, 4, shift=0.1)
    first, again, other = (sign_flips(values, np.arange(50), 2_500, seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.p != other.p).any()


def test_threads_change_no_bit() -> None:
    values = _normal(700, 60, shift=0.02) / 3
    scores = np.stack([values, values * 0.9 + 0.01, values[::-1]])[:, :, :9]
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            flips = sign_flips(values, np.arange(700), 2_000)
            results.append([*flips, tukey_hsd(scores, np.arange(700) // 7, 200).p])
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
    with pytest.raises(UsageError, match=message):
        tukey_hsd(np.ones((2, 3, 1)), np.arange(3), permutations, seed)


p_values = st.lists(st.floats(0, 1), max_size=12)


@given(p_values)
def test_holm_equals_its_definition(p: list[float]) -> None:
    """H_i is rejected at a level when all hypotheses with smaller p are, and p_i allows it."""
    adjusted, before = [0.0] * len(p), 0.0
    for place, test in enumerate(sorted(range(len(p)), key=lambda test: p[test])):
        before = adjusted[test] = max(before, min(1.0, (len(p) - place) * p[test]))
    assert holm(np.array(p)).tolist() == adjusted


@given(p_values.filter(len))
def test_benjamini_hochberg_equals_scipy(p: list[float]) -> None:
    expected = stats.false_discovery_control(p, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(np.array(p)), expected, rtol=1e-14)


def test_published_example_of_both_corrections() -> None:
    """Benjamini and Hochberg 1995, section 4: Holm rejects 3 and BH 4 of these 15 at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (holm(np.array(p)) <= 0.05).sum() == 3
    assert (benjamini_hochberg(np.array(p)) <= 0.05).sum() == 4


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_keep_floor_ceiling_and_single_tests(correct: object) -> None:
    assert callable(correct)
    assert correct(np.array([])).tolist() == []
    assert correct(np.array([0.03])).tolist() == [0.03]
    assert correct(np.array([1.0, 0.0, 0.9])).tolist()[:2] == [1.0, 0.0]
    for bad in ([0.1, np.nan], [1.1], [-0.1], [[0.1]]):
        with pytest.raises(BiasBenchError, match="p-value"):
            correct(np.array(bad))


@pytest.mark.parametrize("permutations", [2**9, 200])
def test_tukey_of_two_systems_is_the_sign_flip_test(permutations: int) -> None:
    scores = np.random.default_rng(1).random((2, 27, 4))
    clusters = np.arange(27) // 3
    found = tukey_hsd(scores, clusters, permutations)
    expected = sign_flips(scores[0] - scores[1], clusters).p
    assert found.exact == (permutations == 2**9)
    if found.exact:
        assert found.p[:, 0, 1].tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(found.p[:, 0, 1], expected, atol=0.12)


def test_tukey_equals_permuting_systems_within_clusters() -> None:
    scores = np.random.default_rng(2).random((3, 8, 2)) + np.array([0, 0, 0.3])[:, None, None]
    clusters = np.arange(8) // 2
    found = tukey_hsd(scores, clusters)
    assert found.exact
    assert found.draws == 6**4
    np.testing.assert_allclose(found.means, scores.mean(axis=1).T)
    observed = np.abs(found.means[:, :, None] - found.means[:, None])
    reached = np.zeros_like(observed)
    for assigned in itertools.product(itertools.permutations(range(3)), repeat=4):
        permuted = np.stack([scores[list(assigned[clusters[row]]), row] for row in range(8)], 1)
        means = permuted.mean(axis=1)
        span = means.max(axis=0) - means.min(axis=0)
        reached += span[:, None, None] >= observed - 1e-12
    np.testing.assert_allclose(found.p, reached / 6**4, rtol=1e-14)


def test_tukey_finds_the_system_that_differs() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(0, 0.2, (4, 40, 1)) + random.normal(0, 1, (40, 1))
    scores[2] += 0.3
    p = tukey_hsd(scores, np.arange(40), 500).p[0]
    others = [0, 1, 3]
    assert (p[2, others] <= 0.01).all()
    assert (p[np.ix_(others, others)] > 0.05).all()
    np.testing.assert_array_equal(p, p.T)


def test_tukey_counts_the_data_among_the_draws() -> None:
    scores = np.stack([np.zeros((40, 1)), np.full((40, 1), 0.1), np.full((40, 1), 0.3)])
    p = tukey_hsd(scores, np.arange(40), 199).p[0]
    assert p[0, 2] == p[2, 0] == 1 / 200
    assert p[0, 1] > 1 / 200


@unhurried
@given(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=1, max_size=6))
def test_tukey_ties_as_the_sign_flip_test_does(rows: list[list[int]]) -> None:
    """Tenths, whose equal sums differ in their last bits."""
    whole = np.array(rows, dtype=np.float64).T[:, :, None]
    topics = np.arange(len(rows))
    expected = sign_flips(whole[0] - whole[1], topics).p
    assert tukey_hsd(whole * 0.1, topics).p[:, 0, 1].tolist() == expected.tolist()


def test_tukey_of_identical_systems_is_one() -> None:
    scores = np.repeat(np.random.default_rng(4).random((1, 30, 2)), 3, axis=0)
    assert (tukey_hsd(scores, np.arange(30), 100).p == 1).all()
    assert (tukey_hsd(scores[:, :1], np.arange(1)).p == 1).all()


def test_tukey_counts_holes_that_all_systems_share() -> None:
    scores = np.random.default_rng(5).random((2, 9, 1))
    scores[:, 4] = np.nan
    whole = np.delete(scores, 4, axis=1)
    kept = np.array([0, 1, 2, 3, 5, 6, 7, 8])
    np.testing.assert_array_equal(tukey_hsd(scores, np.arange(9)).p, tukey_hsd(whole, kept, 2**9).p)
    scores[0, 2] = np.nan
    with pytest.raises(BiasBenchError, match="lack different cells"):
        tukey_hsd(scores, np.arange(9))


def test_tukey_needs_two_systems() -> None:
    with pytest.raises(UsageError, match="at least two systems, not 1"):
        tukey_hsd(np.ones((1, 4, 1)), np.arange(4))
