"""Friedman test over candidate languages, and its form for incomplete blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, friedmanchisquare, rankdata

from bias_bench.bias.friedman import (
    block_means,
    block_ranks,
    friedman,
    relative_ranks,
    summarise,
)
from bias_bench.bias.parallel import LanguageRanks, Parallel
from bias_bench.data.units import default_unit
from bias_bench.evaluation.ranks import RankedQueries
from tests.support.bias_runs import random_world, ranked
from tests.support.helpers import unhurried

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
    found = summarise(ranked(world, tmp_path))
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
    found = summarise(ranked(world, tmp_path))
    assert found["all_queries"]["blocks"] == sum(len(a) > 1 for a in world.answers.values()) == 7


LANGUAGES = ("de", "en", "th", "zh")


def clustered(seed: int, paragraphs: int, dependence: float, per_article: int = 2) -> Parallel:
    """One query language whose system prefers none; five topics of a paragraph are alike by a share
    of `dependence`: what its translations happen to be is common to them.
    """
    random = np.random.default_rng(seed)
    common = random.normal(size=(paragraphs, 1, len(LANGUAGES))) * np.sqrt(dependence)
    own = random.normal(size=(paragraphs, 5, len(LANGUAGES))) * np.sqrt(1 - dependence)
    ranks = (common + own).reshape(-1, len(LANGUAGES)).argsort(axis=1).argsort(axis=1) + 1
    topics = [f"t{number}" for number in range(len(ranks))]
    columns = np.broadcast_to(np.arange(len(LANGUAGES)), ranks.shape)
    source = RankedQueries(
        [f"en:{topic}" for topic in topics],
        topics,
        [f"p{number // 5}" for number in range(len(ranks))],
        [f"a{number // (5 * per_article)}" for number in range(len(ranks))],
        ranks,
        columns,
        list(LANGUAGES),
    )
    part = LanguageRanks("en-all", 1, ranks, ranks, ranks, columns, source, 0)
    return Parallel(LANGUAGES, {"en": part}, {}, 0)


def test_the_test_keeps_its_level_where_topics_of_a_paragraph_are_alike() -> None:
    worlds = [clustered(seed, 60, 0.3) for seed in range(300)]
    by_topic = [friedman(world.parts["en"].ranks.astype(float)).p for world in worlds]
    by_unit = [summarise(world)["all_queries"]["p"] for world in worlds]
    assert np.mean(np.array(by_topic) < 0.05) > 0.2  # topics are not independent
    assert np.mean(np.array(by_unit) < 0.05) < 0.08


def test_blocks_are_articles_where_there_are_20_else_paragraphs_else_topics() -> None:
    for paragraphs, per_article, unit, blocks in (
        (40, 2, "article", 20), (38, 2, "paragraph", 38), (1, 1, "topic", 5),
    ):  # fmt: skip
        world = clustered(1, paragraphs, 0.1, per_article)
        found = summarise(world)
        assert found["unit"] == unit
        assert (found["all_queries"]["blocks"], found["per_language"]["en"]["blocks"]) == (
            blocks, blocks,
        )  # fmt: skip
        # the effect is one of topics, whatever stands for itself
        places = relative_ranks(world.parts["en"].ranks.astype(float)).mean(axis=0)
        np.testing.assert_allclose(
            list(found["all_queries"]["relative_ranks"].values()), places, atol=1e-12
        )


def test_the_unit_is_one_in_which_every_topic_has_its_place() -> None:
    known = {"article": [(f"t{n}", f"a{n // 2}") for n in range(40)], "paragraph": []}
    assert default_unit(lambda unit: known[unit]) == "article"
    for spoilt in (("t1", "a9"), ("t99", "")):  # in two articles, in none that is known
        pairs = {"article": [*known["article"], spoilt], "paragraph": [("t1", "p"), ("t2", "p")]}
        assert default_unit(lambda unit, pairs=pairs: pairs[unit]) == "topic"
    few = {
        "article": known["article"][:38],
        "paragraph": [(f"t{n}", f"p{n % 2}") for n in range(9)],
    }
    assert default_unit(lambda unit: few[unit]) == "paragraph"


def test_means_of_blocks_leave_out_what_is_absent() -> None:
    found = block_means(np.array([[1.0, NAN], [3.0, NAN], [5.0, 2.0]]), ["b", "b", "a"])
    np.testing.assert_array_equal(found, [[5.0, 2.0], [2.0, NAN]])
