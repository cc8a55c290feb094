"""PEER: Kruskal-Wallis per relevance level, its correction, and where it is constant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, kruskal

from bias_bench.bias.parallel import LanguageRanks, Parallel
from bias_bench.bias.peer import equal_rank_p, other_p, relevant_p, summarise
from bias_bench.bias.pooled import PooledRun, read_pooled
from bias_bench.errors import UsageError
from bias_bench.evaluation.ranks import RankedQueries
from tests.support.bias_runs import DEPTH, random_world, ranked
from tests.support.helpers import unhurried

CUTOFF = 20
LANGUAGES = ("de", "en", "th")


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
    assert found == pytest.approx(chi2.sf(languages - 1, languages - 1))
    if languages == 11:
        assert found == pytest.approx(0.4405, abs=5e-5)


def test_nothing_retrieved_or_one_language_is_fair() -> None:
    ranks = np.array([[30, 40], [1, 2], [3, 0]])
    languages = np.array([[0, 1], [1, 1], [0, -1]])
    assert relevant_p(ranks, languages, 2, CUTOFF).tolist() == [1, 1, 1]
    assert other_p(np.array([[1, 1, -1]]), np.array([[False, False, False]]), 2).tolist() == [1]


class Judged(NamedTuple):
    """A query's whole ranking as languages, and rank -> grade of its relevant candidates."""

    ranking: list[int]
    relevant: dict[int, int]


def small(seed: int, grades: tuple[int, ...] = (1,)) -> list[Judged]:
    random = np.random.default_rng(seed)
    queries = []
    for _ in range(12):
        ranking = random.integers(0, 3, 30).tolist()
        places = random.choice(np.arange(1, 31), int(random.integers(2, 8)), replace=False)
        queries.append(Judged(ranking, {int(rank): int(random.choice(grades)) for rank in places}))
    return queries


def parts(queries: Sequence[Judged]) -> tuple[dict[str, PooledRun], Parallel]:
    """The queries as those of one language, with runs of `DEPTH` results."""
    most = max(len(query.relevant) for query in queries)
    ranks, grades = (np.zeros((len(queries), most), dtype=np.int32) for _ in range(2))
    columns = np.full((len(queries), most), -1, dtype=np.int32)
    relevant = np.zeros((len(queries), DEPTH), dtype=bool)
    for row, query in enumerate(queries):
        for place, (rank, grade) in enumerate(query.relevant.items()):
            ranks[row, place], grades[row, place] = rank, grade
            columns[row, place] = query.ranking[rank - 1]
            if rank <= DEPTH:
                relevant[row, rank - 1] = True
    names = [f"t{row}" for row in range(len(queries))]
    source = RankedQueries(names, names, names, names, ranks, columns, list(LANGUAGES), grades)
    part = LanguageRanks("en-all", 1, ranks, ranks, ranks, columns, source, 0)
    top = np.array([query.ranking[:DEPTH] for query in queries])
    run = PooledRun(names, np.zeros_like(top), top, relevant)
    return {"en": run}, Parallel(LANGUAGES, {"en": part}, {}, 0)


@pytest.mark.parametrize("weights", [None, {0: 0.25, 1: 0.5, 2: 0.25}, {3: 1.0}])
@pytest.mark.parametrize("seed", range(3))
def test_levels_are_grades_and_tested_apart(seed: int, weights: dict[int, float] | None) -> None:
    queries = small(seed, grades=(1, 2))
    found = summarise(*parts(queries), weights)

    def level(query: Judged, grade: int) -> float:
        ranks = [rank for rank, own in query.relevant.items() if own == grade]
        languages = [query.ranking[rank - 1] for rank in ranks]
        return slow_relevant(ranks, languages, DEPTH, reference=False) if ranks else 1.0

    def other(query: Judged) -> float:
        groups = defaultdict(list)
        for rank, language in enumerate(query.ranking[:DEPTH], 1):
            if rank not in query.relevant:
                groups[language].append(float(rank))
        return slow_p(list(groups.values()))

    def free(query: Judged) -> bool:
        sizes = Counter((grade, query.ranking[rank - 1]) for rank, grade in query.relevant.items())
        return any(
            max(of.values(), default=0) > 1 and len(of) > 1
            for of in ({k: n for k, n in sizes.items() if k[0] == grade} for grade in (1, 2))
        )

    kept = [query for query in queries if free(query)]
    assert found["left_out"] == len(queries) - len(kept) < len(queries)
    levels = {"0": [other(query) for query in kept]}
    levels |= {str(grade): [level(query, grade) for query in kept] for grade in (1, 2)}
    for name, values in levels.items():
        assert found["levels"][name]["macro"] == pytest.approx(np.mean(values))
    chosen = weights or {1: 0.5, 2: 0.5}
    expected = [
        sum(w * (levels[str(g)][row] if str(g) in levels else 1.0) for g, w in chosen.items())
        for row in range(len(kept))
    ]
    assert found["macro"] == pytest.approx(np.mean(expected))
    assert found["cutoff"] == DEPTH


def test_grades_taken_together_would_be_another_measure() -> None:
    graded = small(4, grades=(1, 2))
    together = [query._replace(relevant=dict.fromkeys(query.relevant, 1)) for query in graded]
    apart, one = (summarise(*parts(queries)) for queries in (graded, together))
    assert apart["levels"].keys() == {"0", "1", "2"}
    assert one["levels"].keys() == {"0", "1"}
    assert apart["macro"] != pytest.approx(one["macro"])


@pytest.mark.parametrize("partly", [False, True])
def test_there_is_no_value_where_no_ranking_could_change_it(tmp_path: Path, partly: bool) -> None:
    """Parallel data: only a failure would move it, and upwards."""
    world = random_world(0, partly=partly)
    parallel = ranked(world, tmp_path)
    assert summarise(read_pooled(tmp_path, parallel), parallel) == {}
    # grades do not help, where a language has one candidate of each
    query = Judged([0, 0, 1, 1] + [2] * 26, {1: 1, 2: 2, 3: 1, 4: 2})
    assert summarise(*parts([query])) == {}
    varied = query._replace(relevant={1: 1, 2: 1, 3: 1, 4: 2})
    assert summarise(*parts([query, varied]))["left_out"] == 1


@pytest.mark.parametrize("weights", [{1: 0.9}, {1: 0.5, 0: 0.4}, {1: 1.5, 0: -0.5}])
def test_weights_that_do_not_sum_to_one_are_refused(weights: dict[int, float]) -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        summarise(*parts(small(0)), weights)
