"""Friedman test over candidate languages, and its form for incomplete blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, friedmanchisquare, rankdata

from bias_bench.bias.friedman import block_ranks, friedman, relative_ranks, summarise
from bias_bench.bias.parallel import parallel_ranks
from tests.bias_runs import random_world, write_world
from tests.helpers import unhurried

NAN = float("nan")
values = st.lists(st.lists(st.integers(1, 6), min_size=4, max_size=4), min_size=2, max_size=12).map(
    lambda rows: np.array(rows, dtype=np.float64)
)


@unhurried
@given(values)
def test_complete_blocks_give_friedman_s_statistic_ties_included(blocks: np.ndarray) -> None:
    assume(any(len(set(row)) > 1 for row in blocks.tolist()))
    found = friedman(blocks)
    expected = friedmanchisquare(*blocks.T)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.degrees, found.blocks) == (3, len(blocks))


def test_incomplete_blocks_give_the_statistic_of_skillings_and_mack() -> None:
    """Their example of 1981: nine blocks, four methods of assembly, four values missing."""
    rows = [
        *[(3.2, 4.1, 3.8, 4.2), (3.1, 3.9, 3.4, 4.0), (4.3, 3.5, 4.6, 4.8)],
        *[(3.5, 3.6, 3.9, 4.0), (3.6, 4.2, 3.7, 3.9), (4.5, 4.7, 3.7, NAN)],
        *[(NAN, 4.2, 3.4, NAN), (4.3, 4.6, 4.4, 4.9), (3.5, NAN, 3.7, 3.9)],
    ]
    found = friedman(np.array(rows))
    assert found.statistic == pytest.approx(15.493, abs=5e-4)
    assert found.p == pytest.approx(chi2.sf(found.statistic, 3))
    assert found.degrees == 3


def test_blocks_with_one_value_say_nothing() -> None:
    rows = np.array([[1.0, 2, 3], [2, 1, 3], [1, 3, 2]])
    more = np.vstack([rows, [[NAN, 5, NAN]]])
    expected = friedman(rows)
    found = friedman(more)
    assert (found.statistic, found.blocks) == (expected.statistic, 3)
    np.testing.assert_array_equal(found.relative_ranks, expected.relative_ranks)


@pytest.mark.parametrize("rows", [[[2.0, 2, 2]] * 3, [[1.0, NAN, NAN]]])
def test_nothing_but_ties_is_no_evidence(rows: list[list[float]]) -> None:
    found = friedman(np.array(rows))
    assert (found.statistic, found.degrees, found.p) == (0, 0, 1)


def test_languages_that_share_no_topics_are_compared_apart() -> None:
    rows = [[1, 2, NAN, NAN]] * 4 + [[NAN, NAN, 7, 3]] * 4
    found = friedman(np.array(rows))
    assert found.degrees == 2
    assert found.statistic == pytest.approx(4 + 4)  # two sign tests of four equal signs
    np.testing.assert_array_equal(found.relative_ranks, [0, 1, 1, 0])


@unhurried
@given(values, st.randoms(use_true_random=False))
def test_statistic_depends_on_order_within_blocks_alone(blocks: np.ndarray, random) -> None:
    rows = [np.exp(row / 7) for row in blocks]
    random.shuffle(rows)
    assert friedman(np.array(rows)).statistic == pytest.approx(friedman(blocks).statistic, abs=1e-9)


@unhurried
@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=4, max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_ranks_within_blocks_equal_scipy_s(rows: list[list[int | None]]) -> None:
    blocks = np.array([[NAN if v is None else v for v in row] for row in rows], dtype=np.float64)
    expected = np.full(blocks.shape, NAN)
    for row, block in zip(expected, blocks, strict=True):
        known = ~np.isnan(block)
        row[known] = rankdata(block[known])
    np.testing.assert_array_equal(block_ranks(blocks), expected)


def test_relative_ranks_go_from_zero_to_one() -> None:
    found = relative_ranks(np.array([[5.0, 9, 1, NAN], [NAN, 3, 2, NAN], [4, NAN, NAN, NAN]]))
    np.testing.assert_array_equal(found, [[0.5, 1, 0, NAN], [NAN, 1, 0, NAN], [NAN, NAN, NAN, NAN]])


@pytest.mark.parametrize("seed", range(2))
def test_summary_of_complete_topics_equals_scipy_s(tmp_path: Path, seed: int) -> None:
    world = random_world(seed, topics=8)
    found = summarise(parallel_ranks(write_world(world, tmp_path), world.languages))
    mean = np.zeros((8, 4))
    for language, result in found["per_language"].items():
        blocks = [
            [world.ranks(language, topic)[name] for name in world.languages]
            for topic in world.topics(language)
        ]
        assert result["statistic"] == pytest.approx(
            friedmanchisquare(*zip(*blocks, strict=True))[0]
        )
        assert result["blocks"] == 8
        places = (rankdata(blocks, axis=1) - 1) / 3
        np.testing.assert_allclose(list(result["relative_ranks"].values()), places.mean(axis=0))
        mean += places
    pooled = found["all_queries"]
    assert pooled["statistic"] == pytest.approx(friedmanchisquare(*np.round(mean, 9).T)[0])
    assert pooled["blocks"] == 8


def test_topics_not_queries_are_the_blocks_of_the_test_over_all_queries(tmp_path: Path) -> None:
    world = random_world(1, topics=8, partly=True)
    found = summarise(parallel_ranks(write_world(world, tmp_path), world.languages))
    assert found["all_queries"]["blocks"] == sum(len(a) > 1 for a in world.answers.values()) == 7
