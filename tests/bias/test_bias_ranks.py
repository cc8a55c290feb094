"""Bias metrics from the exact ranks by language: distance statistics, preference, worst rank."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias import rank_distance, same_language_first, worst_rank
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.ranks import RankTable, write_ranks
from tests.support.bias_runs import macro, padded, random_world, ranked, write_world
from tests.support.helpers import rank_rows, unhurried

SEEDS = range(3)
rows_of_ranks = st.lists(
    st.lists(st.integers(1, 60), unique=True, min_size=0, max_size=5), min_size=1, max_size=6
)


def test_ranks_are_laid_out_by_candidate_language(tmp_path: Path) -> None:
    rows = [("t2", "zh:0-0-0", 7), ("t2", "de:0-0-0", 3), ("t1", "de:0-0-1", 9)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("de-all", rows)], {"all": 9})
    found = parallel_ranks(RankTable(tmp_path / "ranks.parquet"), ("zh", "en", "de"))
    part = found.parts["de"]
    assert part.source.topics == ["t1", "t2"]
    assert part.ranks.tolist() == [[0, 0, 9], [7, 0, 3]]
    assert (part.own, part.setting) == (2, "de-all")


def test_the_best_of_several_candidates_stands_for_a_language(tmp_path: Path) -> None:
    rows = [("t", "de:0-0-0", 8), ("t", "de:0-0-1", 2), ("t", "en:0-0-0", 5)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en-all", rows)], {"all": 9})
    found = parallel_ranks(RankTable(tmp_path / "ranks.parquet"))
    assert found.languages == ("de", "en")
    assert found.parts["en"].ranks.tolist() == [[2, 5]]
    assert found.parts["en"].relevant.tolist() == [[8, 2, 5]]
    assert found.parts["en"].relevant_languages.tolist() == [[0, 0, 1]]


def test_candidates_of_one_language_are_not_parallel(tmp_path: Path) -> None:
    rows = [("t", "de:0-0-0", 8), ("t", "de:0-0-1", 2)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("de-all", rows)], {"all": 9})
    found = parallel_ranks(RankTable(tmp_path / "ranks.parquet"))
    assert rank_distance.summarise(found) == {}
    assert worst_rank.summarise(found) == {}
    assert same_language_first.summarise(found) == {}


def test_a_language_that_the_benchmark_lacks_is_named(tmp_path: Path) -> None:
    table = write_world(random_world(0), tmp_path)
    with pytest.raises(BiasBenchError, match="'zh'"):
        parallel_ranks(table, ("de", "en", "th"))


@unhurried
@given(rows_of_ranks)
def test_mean_pairwise_distance_equals_comparing_every_pair(rows: list[list[int]]) -> None:
    found = rank_distance.mean_pairwise_distance(padded(rows))
    expected = []
    for row in rows:
        pairs = [abs(a - b) for a, b in combinations(row, 2)]
        expected.append(sum(pairs) / len(pairs) if pairs else math.nan)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("number", [2, 3, 11])
def test_mean_pairwise_distance_is_least_when_candidates_follow_one_another(number: int) -> None:
    (found,) = rank_distance.mean_pairwise_distance(np.arange(7, 7 + number)[None])
    assert found == pytest.approx((number + 1) / 3)


def test_log_rank_distance_is_the_logarithm() -> None:
    found = rank_distance.log_rank_distance(np.array([[1, 2], [4, 104], [3, 0]]))
    np.testing.assert_allclose(found, [0, math.log(100), math.nan])


def test_signed_differences_of_a_hand_worked_case() -> None:
    ranks = np.array([[1, 4, 9], [2, 8, 0]])
    np.testing.assert_array_equal(
        rank_distance.signed_differences(ranks), [[0, -4.5, -8], [4.5, 0, -5], [8, 5, 0]]
    )


def test_signed_differences_need_a_common_topic() -> None:
    found = rank_distance.signed_differences(np.array([[1, 4, 0], [2, 0, 5]]))
    assert np.isnan(found[1, 2])
    assert np.isnan(found[2, 1])
    assert found[0, 2] == -3


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_distance_summary_equals_a_slow_reference(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    found = rank_distance.summarise(ranked(world, tmp_path))

    def distance(language: str, topic: str) -> float | None:
        ranks = world.ranks(language, topic).values()
        return max(ranks) - min(ranks) if len(ranks) > 1 else None

    def among_found(language: str, topic: str) -> float | None:
        near = min(world.ranks(language, topic).values()) <= 10
        return distance(language, topic) if near else None

    def is_found(language: str, topic: str) -> float | None:
        ranks = world.ranks(language, topic).values()
        return float(min(ranks) <= 10) if len(ranks) > 1 else None

    def logarithm(language: str, topic: str) -> float | None:
        value = distance(language, topic)
        return None if value is None else math.log(value)

    assert found["per_language"] == pytest.approx(world.mean(distance))
    assert found["log"]["per_language"] == pytest.approx(world.mean(logarithm))
    assert found["found"]["per_language"] == pytest.approx(world.mean(among_found))
    assert found["found"]["share"] == pytest.approx(macro(world.mean(is_found)))
    asked = sum(len(topics) for topics in world.rankings.values())
    alone = sum(len(answers) < 2 for answers in world.answers.values())
    assert found["left_out"] == (alone if partly else 0)
    assert asked > found["left_out"]


@pytest.mark.parametrize("partly", [False, True])
def test_difference_matrices_equal_a_slow_reference(tmp_path: Path, partly: bool) -> None:
    world = random_world(5, partly=partly)
    found = rank_distance.summarise(ranked(world, tmp_path))
    matrices = found["signed_differences"]
    for a in world.languages:
        for b in world.languages:

            def difference(language: str, topic: str, a: str = a, b: str = b) -> float | None:
                ranks = world.ranks(language, topic)
                return ranks[a] - ranks[b] if a in ranks and b in ranks else None

            means = world.mean(difference)
            assert matrices["candidate_languages"][a][b] == pytest.approx(
                macro(means) if means else None
            )
            own = world.mean(lambda language, topic: difference(language, topic, b=language))
            assert matrices["to_query_language"].get(b, {}).get(a) == pytest.approx(own.get(b))


def test_same_language_first_of_hand_worked_cases() -> None:
    ranks = np.array([[3, 1, 2], [1, 5, 9], [7, 0, 8], [0, 2, 3], [4, 0, 0]])
    found = same_language_first.same_language_first(ranks, 0)
    np.testing.assert_array_equal(found, [0, 1, 1, np.nan, np.nan])
    np.testing.assert_allclose(
        same_language_first.chance(ranks, 0), [1 / 3, 1 / 3, 1 / 2, np.nan, np.nan]
    )


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_preference_summary_equals_a_slow_reference(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    parallel = ranked(world, tmp_path)
    found = same_language_first.summarise(parallel)

    def first(language: str, topic: str, wanted: str) -> float | None:
        ranks = world.ranks(language, topic)
        if wanted not in ranks or len(ranks) < 2:
            return None
        return float(min(ranks, key=lambda name: ranks[name]) == wanted)

    expected = world.mean(lambda language, topic: first(language, topic, language))
    assert found["per_language"] == pytest.approx(expected)
    assert found["macro"] == pytest.approx(macro(expected))
    for wanted in world.languages:
        means = world.mean(lambda language, topic, wanted=wanted: first(language, topic, wanted))
        assert {name: row[wanted] for name, row in found["first"].items()} == pytest.approx(
            {name: means.get(name) for name in world.rankings}
        )


def test_preference_is_at_chance_on_average_when_languages_are_exchangeable() -> None:
    """Over all orders of four languages each one is first equally often."""
    orders = np.array([np.random.default_rng(seed).permutation(4) + 1 for seed in range(2000)])
    found = same_language_first.same_language_first(orders, 2).mean()
    assert found == pytest.approx(0.25, abs=0.04)


def test_worst_rank_and_complete_of_hand_worked_cases() -> None:
    ranks = np.array([[3, 10, 2], [1, 0, 11], [7, 0, 0]])
    np.testing.assert_array_equal(worst_rank.worst_rank(ranks), [10, 11, np.nan])
    np.testing.assert_array_equal(worst_rank.complete(ranks, 10), [1, 0, np.nan])
    np.testing.assert_array_equal(worst_rank.complete(ranks, 11), [1, 1, np.nan])


@pytest.mark.parametrize("partly", [False, True])
def test_worst_rank_summary_equals_a_slow_reference(tmp_path: Path, partly: bool) -> None:
    world = random_world(2, partly=partly)
    found = worst_rank.summarise(ranked(world, tmp_path))

    def worst(language: str, topic: str) -> float | None:
        ranks = world.ranks(language, topic).values()
        return max(ranks) if len(ranks) > 1 else None

    def within(language: str, topic: str) -> float | None:
        value = worst(language, topic)
        return None if value is None else float(value <= 20)

    assert found["per_language"] == pytest.approx(world.mean(worst))
    assert found["complete@20"]["per_language"] == pytest.approx(world.mean(within))
    assert found["complete@1000"]["macro"] == 1.0


@unhurried
@given(rows_of_ranks)
def test_worst_rank_is_rank_distance_above_the_best_rank(rows: list[list[int]]) -> None:
    ranks = padded(rows)
    best = np.array([min(row, default=0) for row in rows])
    np.testing.assert_array_equal(
        worst_rank.worst_rank(ranks), rank_distance.rank_distance(ranks) + best
    )
