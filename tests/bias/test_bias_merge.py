"""Merge ceiling: the best merge of rankings of one language each, and what the pool reaches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias import merge_ceiling
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.evaluation.ranks import RankTable, write_ranks
from tests.support.bias_runs import macro, plain_ap, random_world, write_world
from tests.support.helpers import rank_rows, unhurried


def best_merge(ranks: Sequence[int], cutoff: int = 10**6) -> float:
    """The best AP over every order in which the answers of all languages can be reached.

    To reach one, a merge has to take what stands before it in its own ranking, and nothing else.
    """
    best = 0.0
    for order in permutations(ranks):
        taken = np.cumsum(order)  # every ranking down to its answer
        best = max(best, sum(n / at for n, at in enumerate(taken, 1) if at <= cutoff) / len(ranks))
    return best


@unhurried
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 40))
def test_ceiling_is_the_best_of_all_merges(ranks: list[int], cutoff: int) -> None:
    row = np.array([[*ranks, 0]])
    assert merge_ceiling.merge_ceiling(row) == pytest.approx([best_merge(ranks)])
    within = [rank for rank in ranks if rank <= cutoff]
    expected = best_merge(within, cutoff) * len(within) / len(ranks) if within else 0.0
    assert merge_ceiling.merge_ceiling(row, cutoff) == pytest.approx([expected])


def test_ceiling_of_hand_worked_cases() -> None:
    """1 and 3: the first at once, the second after two others, at 4: (1 + 2/4)/2."""
    ranks = np.array([[3, 1, 0], [1, 1, 1], [5, 0, 0]])
    np.testing.assert_allclose(merge_ceiling.merge_ceiling(ranks), [0.75, 1, 0.2])
    np.testing.assert_allclose(merge_ceiling.merge_ceiling(ranks, 3), [0.5, 1, 0])


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_summary_is_of_the_rankings_of_each_language(
    tmp_path: Path, seed: int, partly: bool
) -> None:
    world = random_world(seed, partly=partly)
    table = write_world(world, tmp_path)
    found = merge_ceiling.summarise(parallel_ranks(table, world.languages), table)

    def ceiling(language: str, topic: str) -> float:
        return best_merge(
            [world.rank_alone(language, topic, name) for name in world.answers[topic]]
        )

    def pooled(language: str, topic: str) -> float:
        return plain_ap(list(world.ranks(language, topic).values()))

    assert found["per_language"] == pytest.approx(world.mean(ceiling))
    assert found["ap"]["per_language"] == pytest.approx(world.mean(pooled))
    assert found["gap"]["macro"] == pytest.approx(found["macro"] - found["ap"]["macro"])
    assert found["reached"] == pytest.approx(macro(world.mean(pooled)) / macro(world.mean(ceiling)))
    assert found["left_out"] == 0
    for language in world.rankings:
        for topic in world.topics(language):
            assert pooled(language, topic) <= ceiling(language, topic) + 1e-12


def table_of(folder: Path, *tables: object) -> RankTable:
    write_ranks(folder / "ranks.parquet", tables, {})
    return RankTable(folder / "ranks.parquet")


def test_queries_that_cannot_be_measured_are_left_out_and_counted(tmp_path: Path) -> None:
    """Topic b has two answers in German; c is not ranked in German alone."""
    pooled = [("a", "de:0-0-0", 2), ("a", "en:0-0-0", 1), ("b", "de:0-0-1", 1)]
    pooled += [("b", "de:0-0-2", 2), ("b", "en:0-0-1", 3), ("c", "de:0-0-3", 1)]
    german = [("a", "de:0-0-0", 1), ("b", "de:0-0-1", 1), ("b", "de:0-0-2", 2)]
    table = table_of(
        tmp_path,
        rank_rows("en-all", pooled),
        rank_rows("en-de", german),
        rank_rows("en", [("a", "en:0-0-0", 1), ("b", "en:0-0-1", 1)]),
    )
    found = merge_ceiling.summarise(parallel_ranks(table), table)
    assert (found["macro"], found["ap"]["macro"], found["left_out"]) == (1.0, 1.0, 2)


def test_there_is_no_ceiling_without_the_pools_of_single_languages(tmp_path: Path) -> None:
    pooled = [("a", "de:0-0-0", 2), ("a", "en:0-0-0", 1)]
    table = table_of(tmp_path, rank_rows("en-all", pooled))
    assert merge_ceiling.summarise(parallel_ranks(table), table) == {}
