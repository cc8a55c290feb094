"""Rank correlation of parallel queries' rankings."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from bias_bench.bias.parallel import parallel_ranks
from bias_bench.bias.pooled import read_pooled
from bias_bench.bias.rank_correlation import (
    Compare,
    kendall,
    places_of,
    rank_biased_overlap,
    spearman,
    summarise_kendall,
    summarise_overlap,
    summarise_spearman,
)
from tests.support.bias_runs import DEPTH, World, random_world, ranked, write_world
from tests.support.helpers import unhurried

CORRELATIONS = pytest.mark.parametrize(
    ("compare", "oracle"), [(kendall, kendalltau), (spearman, spearmanr)]
)
ranking = st.lists(st.integers(0, 9), unique=True, max_size=6)
pairs = st.lists(st.tuples(ranking, ranking), min_size=1, max_size=5)


def padded(rows: list[list[int]], depth: int = 6) -> np.ndarray:
    return np.array([row + [-1] * (depth - len(row)) for row in rows], dtype=np.int32)


def slow_overlap(first: list, second: list, persistence: float = 0.9) -> float:
    """The long sum of Webber et al. that their equation 32 is the closed form of.

    What the shorter list does not show agrees as much as what it does; past the longer one the
    agreement stays.
    """
    shorter, longer = sorted((first, second), key=len)
    if not shorter:
        return math.nan
    rate = len(set(shorter) & set(longer[: len(shorter)])) / len(shorter)
    agreement = [
        (len(set(shorter[:d]) & set(longer[:d])) + rate * max(d - len(shorter), 0)) / d
        for d in range(1, len(longer) + 1)
    ]
    agreement += [agreement[-1]] * 1000
    return (1 - persistence) * sum(a * persistence**d for d, a in enumerate(agreement))


def slow_correlation(first: list, second: list, correlation: Callable) -> float:
    """scipy's correlation on the union, absent candidates tied at the end."""
    union = sorted({*first, *second})
    if len(union) < 2 or not first or not second:
        return math.nan
    places = [
        [ordered.index(item) if item in ordered else 1000 for item in union]
        for ordered in (first, second)
    ]
    if any(len(set(of)) < 2 for of in places):
        return math.nan
    return float(correlation(*places).statistic)


@unhurried
@given(pairs)
def test_overlap_equals_counting_common_results_at_every_depth(
    rows: list[tuple[list[int], list[int]]],
) -> None:
    first, second = (padded([pair[side] for pair in rows]) for side in (0, 1))
    expected = [slow_overlap(*pair) for pair in rows]
    np.testing.assert_allclose(rank_biased_overlap(first, second), expected)
    np.testing.assert_allclose(rank_biased_overlap(second, first), expected)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ([0, 1], [1, 0], 0.9),  # agreement 0, then 1
        ([0, 1, 2], [0, 1, 2], 1.0),
        ([0, 1, 2], [3, 4, 5], 0.0),
        # X = 1, 1, 2 and half of the shorter's third place: agreement 1, 1/2, 5/6 from there on
        ([0, 1, -1], [0, 2, 1], 0.1 * 1 + 0.09 * 0.5 + 0.81 * 5 / 6),
        ([0, -1, -1], [1, 2, 3], 0.0),
        ([3, -1, -1], [3, 2, 1], 1.0),  # as far as the shorter shows
        ([0, 1], [0, 2], 0.5 * 0.81 + (0.1 / 0.9) * (0.9 + 0.5 * 0.81)),
    ],
)
def test_overlap_of_hand_worked_cases(first: list[int], second: list[int], overlap: float) -> None:
    found = rank_biased_overlap(np.array([first]), np.array([second]))
    assert found == pytest.approx([overlap])


def test_overlap_weights_the_top_more() -> None:
    base = np.arange(10)[None]
    top, bottom = base.copy(), base.copy()
    top[0, :2] = [1, 0]
    bottom[0, -2:] = [9, 8]
    assert rank_biased_overlap(base, top) < rank_biased_overlap(base, bottom) < 1


@CORRELATIONS
@unhurried
@given(rows=pairs)
def test_correlations_equal_scipy_s_on_the_union(
    compare: Compare, oracle: Callable, rows: list[tuple[list[int], list[int]]]
) -> None:
    first, second = (padded([pair[side] for pair in rows]) for side in (0, 1))
    expected = [slow_correlation(*pair, oracle) for pair in rows]
    np.testing.assert_allclose(compare(first, second), expected, atol=1e-12)


@pytest.mark.parametrize("compare", [kendall, spearman])
def test_correlations_of_equal_and_reversed_rankings(compare: Compare) -> None:
    base = np.arange(10)[None]
    assert compare(base, base) == pytest.approx(1)
    assert compare(base, base[:, ::-1]) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("first", "second", "tau", "rho"),
    # each of the 4 cross pairs of 6 is discordant, one pair is tied on either side: -4/5
    [
        (2, 2, -4 / 5, -2 * 2 / 4.5),
        (1, 1, -1.0, -1.0),
        (10, 10, -20 / 29, -500 / 582.5),
        (3, 1, -3 / math.sqrt(6 * 3), -3 / math.sqrt(5 * 3)),
    ],
)
def test_disjoint_rankings_have_the_correlation_that_is_stated(
    first: int, second: int, tau: float, rho: float
) -> None:
    rows = padded([list(range(first)), list(range(20, 20 + second))], 10)
    assert kendall(rows[:1], rows[1:]) == pytest.approx([tau])
    assert spearman(rows[:1], rows[1:]) == pytest.approx([rho])


@unhurried
@given(pairs)
def test_places_are_found_in_the_same_row_only(rows: list[tuple[list[int], list[int]]]) -> None:
    first, second = (padded([pair[side] for pair in rows]) for side in (0, 1))
    expected = [
        [other.index(item) if item in other else 6 for item in items] + [6] * (6 - len(items))
        for items, other in rows
    ]
    assert places_of(first, second).tolist() == expected


@unhurried
@given(pairs, st.permutations(range(10)))
def test_correlations_do_not_depend_on_the_names_of_candidates(
    rows: list[tuple[list[int], list[int]]], names: list[int]
) -> None:
    first, second = (padded([pair[side] for pair in rows]) for side in (0, 1))
    renamed = np.array([*names, -1])
    for compare in (rank_biased_overlap, kendall, spearman):
        np.testing.assert_array_equal(
            compare(renamed[first], renamed[second]), compare(first, second)
        )


def slow_summary(world: World, compare: object, cutoff: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {language: {} for language in world.rankings}
    for a, b in combinations(world.rankings, 2):
        values = [
            compare(world.rankings[a][topic][:cutoff], world.rankings[b][topic][:cutoff])
            for topic in sorted(set(world.rankings[a]) & set(world.rankings[b]))
        ]
        if values:
            found[a][b] = found[b][a] = sum(values) / len(values)
    return found


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_summaries_average_over_topics_asked_in_both_languages(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    runs = read_pooled(tmp_path, ranked(world, tmp_path))

    def correlation(oracle: Callable) -> Callable:
        return lambda first, second: slow_correlation(first, second, oracle)

    for found, expected in (
        (summarise_overlap(runs), slow_summary(world, slow_overlap, DEPTH)),
        (summarise_kendall(runs), slow_summary(world, correlation(kendalltau), 10)),
        (summarise_spearman(runs), slow_summary(world, correlation(spearmanr), 10)),
    ):
        means = {name: sum(row.values()) / len(row) for name, row in expected.items() if row}
        assert found["per_language"] == pytest.approx(means)
        assert found["macro"] == pytest.approx(sum(means.values()) / len(means))
        for a, row in found["pairs"].items():
            for b, value in row.items():
                assert value == pytest.approx(expected[a].get(b))
    assert summarise_overlap(runs)["cutoff"] == DEPTH


def test_equal_rankings_in_every_language_correlate_perfectly(tmp_path: Path) -> None:
    world = random_world(0)
    same = dict.fromkeys(world.languages, world.rankings["en"])
    table = write_world(world._replace(rankings=same), tmp_path)
    runs = read_pooled(tmp_path, parallel_ranks(table, world.languages))
    for summarise in (summarise_overlap, summarise_kendall, summarise_spearman):
        assert summarise(runs)["macro"] == pytest.approx(1)


def test_one_query_language_has_no_correlation(tmp_path: Path) -> None:
    world = random_world(0)
    alone = world._replace(rankings={"en": world.rankings["en"]})
    runs = read_pooled(tmp_path, parallel_ranks(write_world(alone, tmp_path), world.languages))
    for summarise in (summarise_overlap, summarise_kendall, summarise_spearman):
        assert summarise(runs) == {}
