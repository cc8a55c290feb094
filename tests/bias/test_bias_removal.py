"""LAReQA's analyses: target removal, single targets, gaps between languages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias import language_gaps, single_target, target_removal
from bias_bench.bias.language_gaps import gaps, gini
from tests.support.bias_runs import World, macro, padded, plain_ap, random_world, ranked
from tests.support.helpers import unhurried

SEEDS = range(3)
rows_of_ranks = st.lists(
    st.lists(st.integers(1, 60), unique=True, min_size=0, max_size=5), min_size=1, max_size=6
)


def without(world: World, language: str, topic: str, removed: set[str]) -> float:
    """AP after taking candidates out of the ranking itself."""
    ranking = [name for name in world.rankings[language][topic] if name not in removed]
    relevant = set(world.answers[topic].values()) - removed
    return plain_ap([ranking.index(name) + 1 for name in relevant])


@unhurried
@given(rows_of_ranks)
def test_ap_without_a_candidate_equals_ranking_without_it(rows: list[list[int]]) -> None:
    ranks = padded(rows)
    expected = np.full(ranks.shape, np.nan)
    for number, row in enumerate(rows):
        for column, removed in enumerate(row):
            left = [rank - (rank > removed) for rank in row if rank != removed]
            if left:
                expected[number, column] = plain_ap(left)
    np.testing.assert_allclose(target_removal.ap_without(ranks), expected)


def test_removal_of_a_hand_worked_case() -> None:
    """Ranks 1 (own), 3, 9: AP (1 + 2/3 + 3/9)/3 = 2/3.

    Without the own: ranks 2 and 8, AP 3/8; without the others: (1 + 2/8)/2 and (1 + 2/3)/2.
    """
    ap, same, other = target_removal.removal_effects(np.array([[3, 1, 9]]), 1)[0]
    assert ap == pytest.approx(2 / 3)
    assert same == pytest.approx(2 / 3 - 3 / 8)
    assert other == pytest.approx(2 / 3 - (5 / 8 + 5 / 6) / 2)


def test_removal_needs_the_own_language_and_another() -> None:
    found = target_removal.removal_effects(np.array([[0, 1, 9], [4, 0, 0]]), 0)
    assert np.isnan(found).all()


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_removal_summary_equals_removing_from_the_rankings(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    found = target_removal.summarise(ranked(world, tmp_path))

    def same(language: str, topic: str) -> float | None:
        answers = world.answers[topic]
        if len(answers) < 2:
            return None
        whole = without(world, language, topic, set())
        return whole - without(world, language, topic, {answers[language]})

    def other(language: str, topic: str) -> float | None:
        answers = world.answers[topic]
        if len(answers) < 2:
            return None
        whole = without(world, language, topic, set())
        lost = [
            whole - without(world, language, topic, {answer})
            for name, answer in answers.items()
            if name != language
        ]
        return sum(lost) / len(lost)

    assert found["same"]["per_language"] == pytest.approx(world.mean(same))
    assert found["other"]["per_language"] == pytest.approx(world.mean(other))
    assert found["macro"] == pytest.approx(macro(world.mean(same)) - macro(world.mean(other)))


def test_single_targets_of_a_hand_worked_case() -> None:
    ranks = np.array([[3, 1, 9], [2, 0, 7]])
    np.testing.assert_allclose(
        single_target.single_target(ranks, ranks), [[1 / 2, 1, 1 / 7], [1 / 2, np.nan, 1 / 6]]
    )


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_single_target_summary_equals_removing_from_the_rankings(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    found = single_target.summarise(ranked(world, tmp_path))

    def target(language: str, topic: str, wanted: str) -> float | None:
        answers = world.answers[topic]
        if wanted not in answers:
            return None
        removed = {answer for name, answer in answers.items() if name != wanted}
        return without(world, language, topic, removed)

    def difference(language: str, topic: str) -> float | None:
        answers = world.answers[topic]
        if len(answers) < 2:
            return None
        values = {name: target(language, topic, name) for name in answers}
        own = values.pop(language)
        return own - sum(values.values()) / len(values)

    assert found["per_language"] == pytest.approx(world.mean(difference))
    assert found["macro"] == pytest.approx(found["same"]["macro"] - found["other"]["macro"])
    for wanted in world.languages:
        means = world.mean(lambda language, topic, wanted=wanted: target(language, topic, wanted))
        assert {name: row[wanted] for name, row in found["table"].items()} == pytest.approx(
            {name: means.get(name) for name in world.rankings}
        )


@pytest.mark.parametrize(
    ("values", "coefficient"),
    [([1, 1, 1], 0), ([0, 0, 3], 2 / 3), ([1, 3], 0.25), ([0, 0], 0), ([0.4], 0)],
)
def test_gini_of_hand_worked_cases(values: list[float], coefficient: float) -> None:
    assert gini(np.array(values, dtype=np.float64)) == pytest.approx(coefficient)


@unhurried
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8), st.floats(0.1, 10))
def test_gini_is_relative_and_bounded(values: list[float], factor: float) -> None:
    found = gini(np.array(values))
    assert 0 <= found <= 1 - 1 / len(values) + 1e-12
    assert gini(np.array(values) * factor) == pytest.approx(found, abs=1e-12)


def test_gaps_name_the_worst_language() -> None:
    found = gaps({"de": 0.5, "en": 0.8, "th": 0.2})
    assert found["worst"] == {"language": "th", "value": 0.2}
    assert found["range"] == pytest.approx(0.6)
    assert found["macro"] == pytest.approx(0.5)
    assert found["gini"] == pytest.approx((0.3 + 0.3 + 0.6) * 2 / (2 * 9 * 0.5))


@pytest.mark.parametrize("partly", [False, True])
def test_gaps_are_of_ap_by_query_language_and_single_targets_by_candidate_language(
    tmp_path: Path, partly: bool
) -> None:
    world = random_world(4, partly=partly)
    parallel = ranked(world, tmp_path)
    found = language_gaps.summarise(parallel)
    ap = world.mean(lambda language, topic: without(world, language, topic, set()))
    assert found["query"]["per_language"] == pytest.approx(ap)
    table = single_target.summarise(parallel)["table"]
    for wanted, value in found["candidate"]["per_language"].items():
        known = [row[wanted] for row in table.values() if row[wanted] is not None]
        assert value == pytest.approx(sum(known) / len(known))
