"""Corrections of p-values and Tukey's test against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.significance.corrections import benjamini_hochberg, holm
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.tukey import tukey_hsd
from tests.helpers import unhurried

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
