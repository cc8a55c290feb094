"""PEER: Kruskal-Wallis per relevance level, its correction, and where it is constant."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, kruskal

from bias_bench.bias.parallel import parallel_ranks
from bias_bench.bias.peer import constant, equal_rank_p, other_p, relevant_p, summarise
from bias_bench.bias.pooled import read_pooled
from bias_bench.datasets.ids import language_of
from bias_bench.errors import UsageError
from tests.bias_runs import DEPTH, random_world, write_world
from tests.helpers import unhurried

CUTOFF = 20


def slow_p(groups: list[list[float]]) -> float:
    """H from the definition, on ranks as given."""
    groups = [group for group in groups if group]
    every = [rank for group in groups for rank in group]
    if len(groups) < 2 or len(set(every)) < 2:
        return 1.0
    mean = sum(every) / len(every)
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in groups)
    within = sum((rank - mean) ** 2 for rank in every)
    return float(chi2.sf((len(every) - 1) * between / within, len(groups) - 1))


def slow_relevant(ranks: list[int], languages: list[int], cutoff: int, reference: bool) -> float:
    missing = sum(rank > cutoff for rank in ranks)
    if missing == len(ranks):
        return 1.0
    last = len(ranks) if reference else cutoff
    groups = defaultdict(list)
    for rank, language in zip(ranks, languages, strict=True):
        groups[language].append(rank if rank <= cutoff else (2 * last + missing + 1) / 2)
    return slow_p(list(groups.values()))


@unhurried
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_ranks_of_everything_give_scipy_s_p_value(languages: list[int], random) -> None:
    assume(len(set(languages)) > 1)
    ranks = list(range(1, len(languages) + 1))
    random.shuffle(ranks)
    groups = [
        [rank for rank, code in zip(ranks, languages, strict=True) if code == language]
        for language in sorted(set(languages))
    ]
    (found,) = equal_rank_p(np.array([ranks]), np.array([languages]), 4)
    assert found == pytest.approx(kruskal(*groups).pvalue)


@unhurried
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 40), st.integers(0, 3)),
            min_size=1,
            max_size=7,
            unique_by=lambda entry: entry[0],
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_relevant_level_equals_a_slow_reference(
    rows: list[list[tuple[int, int]]], reference: bool
) -> None:
    ranks, languages = np.zeros((len(rows), 7), dtype=int), np.full((len(rows), 7), -1)
    for number, row in enumerate(rows):
        ranks[number, : len(row)] = [rank for rank, _ in row]
        languages[number, : len(row)] = [language for _, language in row]
    found = relevant_p(ranks, languages, 4, CUTOFF, reference)
    expected = [
        slow_relevant(
            [rank for rank, _ in row], [language for _, language in row], CUTOFF, reference
        )
        for row in rows
    ]
    np.testing.assert_allclose(found, expected)


def test_missing_candidates_stand_behind_the_cut_off_and_not_before_found_ones() -> None:
    """One language at 15 and 18, the other not retrieved: 21.5 each, by the reference 5.5."""
    ranks, languages = np.array([[15, 18, 21, 400]]), np.array([[0, 0, 1, 1]])
    corrected = slow_p([[15, 18], [21.5, 21.5]])
    repeated = slow_p([[15, 18], [5.5, 5.5]])
    assert relevant_p(ranks, languages, 2, CUTOFF) == pytest.approx(corrected)
    assert relevant_p(ranks, languages, 2, CUTOFF, reference=True) == pytest.approx(repeated)
    assert corrected != pytest.approx(repeated)
    assert corrected == pytest.approx(chi2.sf(3 * 25 / (25 + 4.5), 1))


@unhurried
@given(st.integers(2, 11), st.data())
def test_one_candidate_per_language_gives_a_constant(languages: int, data: st.DataObject) -> None:
    """Whatever the ranks and however many are retrieved, as long as one is."""
    ranks = data.draw(
        st.lists(st.integers(1, 60), unique=True, min_size=languages, max_size=languages)
    )
    assume(min(ranks) <= CUTOFF)
    (found,) = relevant_p(np.array([ranks]), np.arange(languages)[None], 11, CUTOFF)
    assert found == pytest.approx(constant(languages))


@pytest.mark.parametrize(
    ("languages", "value"), [(2, 0.3173), (3, 0.3679), (4, 0.3916), (11, 0.4405)]
)
def test_constants_of_the_benchmarks(languages: int, value: float) -> None:
    assert constant(languages) == pytest.approx(value, abs=5e-5)


def test_nothing_retrieved_or_one_language_is_fair() -> None:
    ranks = np.array([[30, 40], [1, 2], [3, 0]])
    languages = np.array([[0, 1], [1, 1], [0, -1]])
    assert relevant_p(ranks, languages, 2, CUTOFF).tolist() == [1, 1, 1]
    assert other_p(np.array([[1, 1, -1]]), np.array([[False, False, False]]), 2).tolist() == [1]


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_summary_equals_a_slow_reference(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    parallel = parallel_ranks(write_world(world, tmp_path), world.languages)
    runs = read_pooled(tmp_path, parallel)
    found = summarise(runs, parallel, {"relevant": 0.75, "other": 0.25})

    def relevant(language: str, topic: str) -> float:
        ranks = world.ranks(language, topic)
        codes = [world.languages.index(name) for name in ranks]
        return slow_relevant(list(ranks.values()), codes, DEPTH, reference=False)

    def other(language: str, topic: str) -> float:
        groups = defaultdict(list)
        for rank, name in enumerate(world.rankings[language][topic][:DEPTH], 1):
            if name not in world.answers[topic].values():
                groups[language_of(name)].append(float(rank))
        return slow_p(list(groups.values()))

    levels = {"relevant": world.mean(relevant), "other": world.mean(other)}
    for level, expected in levels.items():
        assert found["levels"][level]["per_language"] == pytest.approx(expected)
    assert found["per_language"] == pytest.approx(
        {name: 0.75 * levels["relevant"][name] + 0.25 * levels["other"][name] for name in runs}
    )
    assert found["cutoff"] == DEPTH


def test_summary_says_where_the_value_is_fixed(tmp_path: Path) -> None:
    world = random_world(0)
    parallel = parallel_ranks(write_world(world, tmp_path), world.languages)
    found = summarise(read_pooled(tmp_path, parallel), parallel)
    fixed = found["fixed"]
    assert fixed["share"] == 1
    assert fixed["values"] == {"4": constant(4)}
    assert found["macro"] == pytest.approx(
        fixed["retrieved"] * constant(4) + 1 - fixed["retrieved"]
    )


@pytest.mark.parametrize("weights", [{"relevant": 1.0}, {"relevant": 0.5, "other": 0.4}])
def test_weights_that_do_not_sum_to_one_are_refused(
    tmp_path: Path, weights: dict[str, float]
) -> None:
    world = random_world(0)
    parallel = parallel_ranks(write_world(world, tmp_path), world.languages)
    with pytest.raises(UsageError, match="sum to 1"):
        summarise({}, parallel, weights)
