"""Lang-nDCG, recall in other languages, and what ranks gain by the query's language."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias import lang_ndcg, other_language_recall, rank_shift
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankTable, write_ranks
from tests.support.bias_runs import World, random_world, ranked, write_world
from tests.support.helpers import rank_rows, unhurried

SEEDS = range(3)
parallel_rows = st.lists(st.integers(1, 60), unique=True, min_size=2, max_size=6)


def slow_gain(world: World, language: str, topic: str, gain: float) -> float | None:
    """Lang-nDCG@20 from the definition."""
    ranks = world.ranks(language, topic)
    if language not in ranks:
        return None
    gains = {name: 1.0 if name == language else gain for name in ranks}
    best = sum(g / math.log2(place + 1) for place, g in enumerate(sorted(gains.values())[::-1], 1))
    gained = [gains[name] / math.log2(r + 1) for name, r in ranks.items() if r <= 20]
    return sum(gained) / best


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_lang_ndcg_equals_a_slow_reference(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    found = lang_ndcg.summarise(ranked(world, tmp_path))
    expected = world.mean(lambda language, topic: slow_gain(world, language, topic, 0.5))
    assert found["per_language"] == pytest.approx(expected)
    alone = world.mean(lambda language, topic: slow_gain(world, language, topic, 0.0))
    assert found["own_only"]["per_language"] == pytest.approx(alone)
    assert found["gain_of_others"] == 0.5


def test_lang_ndcg_of_hand_worked_cases() -> None:
    """Ranks 1 and 3: 1 + 0.5/2 of the best 1 + 0.5/log2(3), and the other way round."""
    ranks, languages = np.array([[1, 3], [3, 1], [2, 0], [1, 2]]), np.array([[0, 1]] * 4)
    best = 1 + 0.5 / math.log2(3)
    expected = [1.25 / best, (0.5 + 0.5) / best, 1 / math.log2(3), 1]
    np.testing.assert_allclose(lang_ndcg.lang_ndcg(ranks, languages, 0, 0.5), expected)
    assert np.isnan(lang_ndcg.lang_ndcg(np.array([[0, 1]]), languages[:1], 0, 0.5)).all()


@unhurried
@given(parallel_rows)
def test_lang_ndcg_with_one_gain_for_all_languages_is_ndcg(ranks: list[int]) -> None:
    row, languages = np.array([ranks]), np.arange(len(ranks))[None]
    found = lang_ndcg.lang_ndcg(row, languages, 0, 1.0)
    np.testing.assert_allclose(found, compute(Metric("nDCG", 20), row))


@unhurried
@given(parallel_rows, st.floats(0, 0.99))
def test_lang_ndcg_is_highest_with_the_own_language_first(ranks: list[int], gain: float) -> None:
    ordered, languages = np.array([sorted(ranks)]), np.arange(len(ranks))[None]
    by_own = [
        lang_ndcg.lang_ndcg(ordered, languages, own, gain, k=100)[0] for own in range(len(ranks))
    ]
    assert (np.diff(by_own) < 0).all()
    assert 0 <= min(by_own) <= max(by_own) <= 1 + 1e-12


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_recall_in_other_languages_equals_a_slow_reference(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    parallel = ranked(world, tmp_path)

    def share(language: str, topic: str) -> float | None:
        others = [rank for name, rank in world.ranks(language, topic).items() if name != language]
        return sum(rank <= 20 for rank in others) / len(others) if others else None

    found = other_language_recall.summarise(parallel)
    assert found["per_language"] == pytest.approx(world.mean(share))


def test_recall_in_other_languages_counts_every_candidate_of_them() -> None:
    ranks, languages = np.array([[1, 5, 20, 21], [1, 0, 0, 0]]), np.array([[0, 1, 1, 2], [0] * 4])
    found = other_language_recall.other_language_recall(ranks, languages, 0)
    np.testing.assert_allclose(found, [2 / 3, np.nan])
    assert other_language_recall.other_language_recall(ranks, languages, 2)[0] == 1


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_rank_shift_equals_swapping_one_candidate_at_a_time(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)

    def shift(language: str, topic: str, target: str) -> float | None:
        answers, ranking = world.answers[topic], world.rankings[language][topic]
        if len(answers) < 2 or target not in answers:
            return None
        gained = most = 0
        for answer in answers.values():
            before = ranking.index(answer) + 1
            swapped = [name for name in ranking if name != answer]
            after = before if answer == answers[target] else swapped.index(answers[target]) + 1
            gained, most = gained + max(before - after, 0), most + before - 1
        return 100 * gained / most

    def chance(language: str, topic: str) -> float | None:
        shifts = [shift(language, topic, target) for target in world.answers[topic]]
        known = [value for value in shifts if value is not None]
        return sum(known) / len(known) if known else None

    found = rank_shift.summarise(ranked(world, tmp_path))
    expected = world.mean(lambda language, topic: shift(language, topic, language))
    assert found["per_language"] == pytest.approx(expected)
    assert found["chance"]["per_language"] == pytest.approx(world.mean(chance))


@unhurried
@given(parallel_rows)
def test_rank_shift_is_least_for_the_last_language_and_falls_with_the_rank(
    ranks: list[int],
) -> None:
    (found,) = rank_shift.rank_shifts(np.array([[*ranks, 0]]))
    assert np.isnan(found[-1])
    by_rank = found[np.argsort(ranks)]
    assert (np.diff(by_rank) <= 0).all()
    assert by_rank[-1] == 0
    assert by_rank[0] <= 100
    assert (min(ranks) > 1) or by_rank[0] == pytest.approx(100)


def test_nothing_is_said_of_results_past_the_cut_off_of_a_run(tmp_path: Path) -> None:
    """Ranks known down to 10 tell no recall at 20; ranks of what was not retrieved are bounds."""
    world = random_world(0)
    write_world(world, tmp_path)
    table = RankTable(tmp_path / "ranks.parquet", cutoff=10)
    parallel = parallel_ranks(table, world.languages)
    assert lang_ndcg.summarise(parallel) == other_language_recall.summarise(parallel) == {}
    assert rank_shift.summarise(parallel)["macro"] >= 0


def test_one_language_alone_has_no_shift(tmp_path: Path) -> None:
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en-all", [("t", "en:0-0-0", 3)])], {})
    parallel = parallel_ranks(RankTable(tmp_path / "ranks.parquet"))
    assert rank_shift.summarise(parallel) == other_language_recall.summarise(parallel) == {}
    assert lang_ndcg.summarise(parallel)["macro"] == pytest.approx(0.5)
