"""Exact dense search against a slow reference that sorts whole pools.

Vectors hold whole numbers or short fractions, so that float32 products and sums are exact and the
reference can demand equal scores and equal ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest

from bias_bench.errors import BiasBenchError
from bias_bench.search.dense import Pool, make_pool, search
from bias_bench.search.exact import Results
from tests.support.helpers import canonical_order

DEPTH = 10
SIZES = {"en": 23, "de": 17, "zh": 31}


class Problem(NamedTuple):
    """Candidates by id, queries, and the relevant candidates of each query ("" for none)."""

    ids: list[str]
    vectors: np.ndarray
    spans: dict[str, tuple[int, int]]
    queries: np.ndarray
    relevant: list[list[str]]

    @property
    def relevant_rows(self) -> np.ndarray:
        row = {name: place for place, name in enumerate(self.ids)}
        return np.array([[row.get(name, -1) for name in names] for names in self.relevant])

    def pool(self) -> Pool:
        return make_pool(self.ids, self.vectors, self.spans)


def _vectors(rng: np.random.Generator, count: int, kind: str) -> np.ndarray:
    if kind == "tied":
        return rng.integers(-1, 2, size=(count, 4)).astype(np.float32)
    return (rng.integers(-128, 129, size=(count, 8)) / 128).astype(np.float32)


def _problem(
    seed: int, kind: str, queries: int = 20, sizes: Mapping[str, int] | None = None
) -> Problem:
    rng = np.random.default_rng(seed)
    sizes = sizes or SIZES
    ids: list[str] = []
    spans = {}
    for language, size in sizes.items():
        spans[language] = (len(ids), len(ids) + size)
        ids += [f"{language}:{number // 5}-{number % 5}-0" for number in range(size)]
    relevant = []
    for _ in range(queries):
        names = [ids[rng.integers(start, stop)] for start, stop in spans.values()]
        relevant.append([name if rng.random() < 0.7 else "" for name in names])
    vectors = _vectors(rng, len(ids), kind)
    return Problem(ids, vectors, spans, _vectors(rng, queries, kind), relevant)


def _slow_rankings(problem: Problem, query: np.ndarray) -> dict[str, list[tuple[str, float]]]:
    """Every pool sorted whole, in plain Python numbers."""
    scores = {
        name: sum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
        for name, vector in zip(problem.ids, problem.vectors, strict=True)
    }
    pools = {language: problem.ids[start:stop] for language, (start, stop) in problem.spans.items()}
    pools["all"] = problem.ids
    return {
        pool: [(name, scores[name]) for name in canonical_order({n: scores[n] for n in names})]
        for pool, names in pools.items()
    }


def _names(problem: Problem, results: Results) -> dict[str, list[list[str]]]:
    return {
        pool: [[problem.ids[row] for row in query] for query in rows.tolist()]
        for pool, (rows, _) in results.top.items()
    }


def _assert_as_slow(problem: Problem, results: Results, depth: int) -> None:
    names = _names(problem, results)
    for row, query in enumerate(problem.queries):
        slow = _slow_rankings(problem, query)
        assert set(names) == set(slow)
        for pool, ranking in slow.items():
            assert names[pool][row] == [name for name, _ in ranking[:depth]]
            assert results.top[pool][1][row].tolist() == [score for _, score in ranking[:depth]]
        place = {
            pool: {name: rank for rank, (name, _) in enumerate(ranking, start=1)}
            for pool, ranking in slow.items()
        }
        expected = [
            (place[name.split(":")[0]][name], place["all"][name]) if name else (0, 0)
            for name in problem.relevant[row]
        ]
        assert [tuple(ranks) for ranks in results.ranks[row].tolist()] == expected


@pytest.mark.parametrize("kind", ["random", "tied"])
@pytest.mark.parametrize("seed", range(4))
def test_search_equals_sorting_whole_pools(seed: int, kind: str) -> None:
    problem = _problem(seed, kind)
    results = search(problem.queries, problem.pool(), problem.relevant_rows, DEPTH)
    _assert_as_slow(problem, results, DEPTH)


def test_search_returns_float32_scores_and_int32_ranks() -> None:
    problem = _problem(0, "random", queries=3)
    results = search(problem.queries, problem.pool(), problem.relevant_rows, DEPTH)
    assert results.ranks.dtype == np.int32
    assert {scores.dtype for _, scores in results.top.values()} == {np.dtype(np.float32)}


def test_equal_scores_everywhere_rank_by_id_alone() -> None:
    problem = _problem(0, "tied", queries=2)
    still = problem._replace(queries=np.zeros_like(problem.queries))
    results = search(still.queries, still.pool(), still.relevant_rows, DEPTH)
    descending = sorted(still.ids, reverse=True)
    assert _names(still, results)["all"] == [descending[:DEPTH]] * 2
    _assert_as_slow(still, results, DEPTH)


@pytest.mark.parametrize("kind", ["random", "tied"])
@pytest.mark.parametrize("seed", range(3))
def test_order_of_candidates_and_of_languages_changes_nothing(seed: int, kind: str) -> None:
    problem = _problem(seed, kind)
    rng = np.random.default_rng(seed + 100)
    rows: list[int] = []
    spans = {}
    for language in reversed(problem.spans):
        start, stop = problem.spans[language]
        spans[language] = (len(rows), len(rows) + stop - start)
        rows += (start + rng.permutation(stop - start)).tolist()
    shuffled = problem._replace(
        ids=[problem.ids[row] for row in rows], vectors=problem.vectors[rows], spans=spans
    )
    before = search(problem.queries, problem.pool(), problem.relevant_rows, DEPTH)
    after = search(shuffled.queries, shuffled.pool(), shuffled.relevant_rows, DEPTH)
    np.testing.assert_array_equal(after.ranks, before.ranks)
    assert _names(shuffled, after) == _names(problem, before)
    for pool, (_, scores) in before.top.items():
        np.testing.assert_array_equal(after.top[pool][1], scores)


def test_pools_smaller_than_the_depth_are_returned_whole() -> None:
    problem = _problem(1, "random", queries=5, sizes={"en": 3, "de": 12, "zh": 1})
    results = search(problem.queries, problem.pool(), problem.relevant_rows, DEPTH)
    widths = {pool: rows.shape[1] for pool, (rows, _) in results.top.items()}
    assert widths == {"en": 3, "de": DEPTH, "zh": 1, "all": DEPTH}
    _assert_as_slow(problem, results, DEPTH)


def test_depth_beyond_all_candidates_returns_all_of_them() -> None:
    problem = _problem(2, "tied", queries=4, sizes={"en": 3, "de": 4})
    results = search(problem.queries, problem.pool(), problem.relevant_rows, 50)
    assert results.top["all"][0].shape == (4, 7)
    _assert_as_slow(problem, results, 50)


def test_ranks_reach_past_the_depth() -> None:
    problem = _problem(3, "random")
    shallow = search(problem.queries, problem.pool(), problem.relevant_rows, 1)
    assert shallow.ranks.max() > DEPTH
    deep = search(problem.queries, problem.pool(), problem.relevant_rows, 1000)
    np.testing.assert_array_equal(shallow.ranks, deep.ranks)


def test_padding_of_relevant_rows_has_rank_zero() -> None:
    problem = _problem(4, "random", queries=3)
    rows = np.array([[5, -1, -1], [-1, -1, -1], [-1, 30, 2]])
    ranks = search(problem.queries, problem.pool(), rows, DEPTH).ranks
    np.testing.assert_array_equal(ranks > 0, np.stack([rows >= 0, rows >= 0], axis=2))


@pytest.mark.parametrize("count", [127, 128, 129, 300])
def test_blocks_of_queries_join_without_a_seam(count: int) -> None:
    problem = _problem(5, "tied", queries=count, sizes={"en": 12, "de": 9})
    rows = problem.relevant_rows
    together = search(problem.queries, problem.pool(), rows, 5)
    assert together.ranks.shape == (count, 2, 2)
    for query in {0, 126, count - 1}:
        part = slice(query, query + 1)
        alone = search(problem.queries[part], problem.pool(), rows[part], 5)
        np.testing.assert_array_equal(together.ranks[part], alone.ranks)
        for pool, (found, scores) in alone.top.items():
            np.testing.assert_array_equal(together.top[pool][0][part], found)
            np.testing.assert_array_equal(together.top[pool][1][part], scores)


def test_more_queries_than_a_block_equal_the_slow_reference() -> None:
    problem = _problem(6, "random", queries=150, sizes={"en": 8, "de": 7})
    results = search(problem.queries, problem.pool(), problem.relevant_rows, 4)
    _assert_as_slow(problem, results, 4)


@pytest.mark.parametrize("kind", ["random", "tied"])
def test_scaling_every_query_by_its_own_factor_keeps_all_ranks(kind: str) -> None:
    problem = _problem(7, kind)
    factors = 2.0 ** np.random.default_rng(7).integers(-8, 9, size=len(problem.queries))
    scaled = problem.queries * factors[:, None].astype(np.float32)
    before = search(problem.queries, problem.pool(), problem.relevant_rows, DEPTH)
    after = search(scaled, problem.pool(), problem.relevant_rows, DEPTH)
    np.testing.assert_array_equal(after.ranks, before.ranks)
    for pool, (rows, _) in before.top.items():
        np.testing.assert_array_equal(after.top[pool][0], rows)


@pytest.mark.parametrize("where", ["queries", "vectors"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_vectors_are_refused(where: str, value: float) -> None:
    problem = _problem(8, "random", queries=140)
    broken = getattr(problem, where).copy()
    broken[-1, 0] = value
    changed = problem._replace(**{where: broken})
    with np.errstate(invalid="ignore"), pytest.raises(BiasBenchError, match="NaN or infinity"):
        search(changed.queries, changed.pool(), changed.relevant_rows, DEPTH)


@pytest.mark.parametrize(
    "spans",
    [{"de": (0, 2), "en": (2, 4)}, {"de": (0, 4), "en": (4, 4)}],
    ids=["scattered", "empty"],
)
def test_candidates_of_a_language_must_stand_together_in_id_order(
    spans: dict[str, tuple[int, int]],
) -> None:
    ids = ["de:0-0-0", "en:0-0-0", "de:1-0-0", "en:1-0-0"]
    with pytest.raises(BiasBenchError, match="are not contiguous in id order"):
        make_pool(ids, np.zeros((4, 2), dtype=np.float32), spans)
