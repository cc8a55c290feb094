"""Ranks known down to a cut-off: what bias metrics say of rankings that end somewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bias_bench import rank_distance as of_a_frame
from bias_bench.bias import rank_distance, target_removal, worst_rank
from bias_bench.bias.catalogue import measure_bias, query_bias
from bias_bench.bias.parallel import is_ordered, known_ranks, parallel_ranks
from bias_bench.bias.same_language_first import same_language_first
from bias_bench.bias.single_target import single_target
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics import Metric, compute, metrics_within
from bias_bench.evaluation.ranks import RankTable, read_rank_rows, write_ranks
from tests.support.bias_runs import DEPTH, World, random_world, write_world
from tests.support.helpers import rank_rows

SEEDS = range(3)


def _plain_ap(ranking: list[str], relevant: set[str]) -> float:
    hits = [place for place, name in enumerate(ranking, 1) if name in relevant]
    return sum(number / place for number, place in enumerate(hits, 1)) / len(relevant)


def _cut(world: World, folder: Path) -> RankTable:
    """The world's ranks, known down to the depth of its runs."""
    write_world(world, folder)
    return RankTable(folder / "ranks.parquet", cutoff=DEPTH)


def test_a_cut_off_is_written_and_read(tmp_path: Path) -> None:
    rows = [("t", "en:0-0-0", 2), ("t", "de:0-0-0", 5)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en-all", rows)], {}, cutoff=4)
    table = RankTable(tmp_path / "ranks.parquet")
    assert (table.cutoff, table.pools) == (4, {})
    assert table.of("en-all").ranks.tolist() == [[2, 5]]
    assert RankTable(tmp_path / "ranks.parquet", cutoff=1).of("en-all").ranks.tolist() == [[2, 2]]
    with pytest.raises(BiasBenchError, match="ranks are known down to 4 only, not to 9"):
        RankTable(tmp_path / "ranks.parquet", cutoff=9)


def test_exact_ranks_can_be_read_as_known_down_to_a_cut_off(tmp_path: Path) -> None:
    rows = [("t", "en:0-0-0", 2), ("t", "de:0-0-0", 70), ("u", "en:0-0-1", 50)]
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en-all", rows)], {"all": 99})
    assert RankTable(tmp_path / "ranks.parquet").cutoff is None
    found = RankTable(tmp_path / "ranks.parquet", cutoff=10).of("en-all")
    assert found.ranks.tolist() == [[2, 11], [11, 0]]


def test_candidates_past_the_cut_off_have_no_order() -> None:
    ranks = np.array([[1, 5, 5], [5, 5, 5], [5, 0, 5], [0, 5, 0], [3, 0, 5]])
    assert is_ordered(ranks).tolist() == [True, False, False, False, True]
    nan = np.nan
    np.testing.assert_array_equal(
        known_ranks(ranks), [[1, 5, 5], [nan] * 3, [nan] * 3, [nan, 5, nan], [3, nan, 5]]
    )
    np.testing.assert_array_equal(rank_distance.rank_distance(ranks), [4, nan, nan, nan, 2])
    np.testing.assert_array_equal(
        rank_distance.mean_pairwise_distance(ranks), [8 / 3, nan, nan, nan, 2]
    )
    np.testing.assert_array_equal(same_language_first(ranks, 0), [1, nan, nan, nan, 1])
    np.testing.assert_array_equal(worst_rank.worst_rank(ranks), [5, 5, 5, nan, 5])


def _short_and_long(folder: Path) -> Path:
    """A query with 2 results beside one with 30: rankings of another tool, of three languages."""
    rows = []
    for topic, listed, ranks in (
        ("t", 2, (1, 31, 31)),
        ("u", 30, (3, 30, 31)),
        ("v", 0, (31,) * 3),
    ):
        part = rank_rows(
            "en-all",
            [
                (topic, f"{name}:{topic}", rank)
                for name, rank in zip(("de", "en", "fr"), ranks, strict=True)
            ],
        )
        rows.append(part.append_column("listed", pa.array([listed] * 3, pa.int32())))
    write_ranks(folder / "ranks.parquet", rows, {}, cutoff=30)
    return folder / "ranks.parquet"


def test_what_a_short_ranking_lacks_stands_right_behind_it(tmp_path: Path) -> None:
    table = RankTable(_short_and_long(tmp_path))
    found = table.of("en-all")
    assert found.ranks.tolist() == [[1, 31, 31], [3, 30, 31], [31, 31, 31]]
    assert found.least().tolist() == [[1, 3, 3], [3, 30, 31], [1, 1, 1]]
    # AP and what else asks whether a candidate was found take the ranks as they are
    assert compute(Metric("AP", 30), found.ranks)[0] == pytest.approx(1 / 3)
    for name, expected in (
        ("rank_distance", [2, 28]),
        ("mean_pairwise_distance", [4 / 3, 56 / 3]),
        ("worst_rank", [3, 31, 3]),  # never less than the candidates
    ):
        assert query_bias(tmp_path, name).values.tolist() == expected
    summary = worst_rank.summarise(parallel_ranks(table))
    assert summary["complete@10"]["macro"] == summary["complete@20"]["macro"] == 0
    distances = rank_distance.summarise(parallel_ranks(table))
    assert (distances["macro"], distances["not_retrieved"]) == (15, 1)
    assert distances["found"]["share"] == pytest.approx(2 / 3)


def test_a_smaller_cut_off_shortens_longer_rankings_only(tmp_path: Path) -> None:
    table = RankTable(_short_and_long(tmp_path), cutoff=10)
    assert table.of("en-all").least().tolist() == [[1, 3, 3], [3, 11, 11], [1, 1, 1]]
    assert query_bias(tmp_path, "rank_distance", cutoff=10).values.tolist() == [2, 8]


def test_the_rank_distance_of_a_frame_knows_short_rankings(tmp_path: Path) -> None:
    frame = read_rank_rows(_short_and_long(tmp_path)).to_pandas()
    found = of_a_frame(frame, cutoff=30)
    assert found.per_query.dropna().to_dict() == {"en:t": 2, "en:u": 28}


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_are_the_least_that_the_rankings_allow(tmp_path: Path, seed: int) -> None:
    world = random_world(seed, partly=True)
    write_world(world, tmp_path)
    for name in ("rank_distance", "mean_pairwise_distance", "worst_rank"):
        cut, exact = query_bias(tmp_path, name, DEPTH), query_bias(tmp_path, name)
        of = dict(zip(zip(exact.settings, exact.topics, strict=True), exact.values, strict=True))
        for setting, topic, value in zip(cut.settings, cut.topics, cut.values, strict=True):
            assert value <= of[setting, topic]
            if max(world.ranks(setting.split("-")[0], topic).values()) <= DEPTH:
                assert value == of[setting, topic]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_language_is_known_wherever_one_is_retrieved(tmp_path: Path, seed: int) -> None:
    world = random_world(seed)
    write_world(world, tmp_path)
    found = query_bias(tmp_path, "same_language_first", DEPTH)
    values = dict(zip(zip(found.settings, found.topics, strict=True), found.values, strict=True))
    for language in world.rankings:
        for topic in world.topics(language):
            ranks = world.ranks(language, topic)
            first = min(ranks, key=lambda name: ranks[name])
            expected = float(first == language) if ranks[first] <= DEPTH else None
            assert values.get((f"{language}-all", topic)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_removal_and_single_targets_equal_changing_the_rankings_as_cut(seed: int) -> None:
    world = random_world(seed, partly=True)
    for language in world.rankings:
        for topic in world.topics(language):
            answers = world.answers[topic]
            if len(answers) < 2:
                continue
            top = world.rankings[language][topic][:DEPTH]
            exact = np.array([list(world.ranks(language, topic).values())])
            ranks = np.minimum(exact, DEPTH + 1)
            removed = target_removal.ap_without(ranks, DEPTH)[0]
            alone = single_target(ranks, ranks, DEPTH)[0]
            for column, name in enumerate(answers.values()):
                others = set(answers.values()) - {name}
                left = [found for found in top if found != name]
                assert removed[column] == pytest.approx(_plain_ap(left, others))
                rest = [found for found in top if found not in others]
                assert alone[column] == pytest.approx(_plain_ap(rest, {name}))


def test_measures_of_ranks_name_their_cut_off(tmp_path: Path) -> None:
    world = random_world(1)
    found = measure_bias(tmp_path, _cut(world, tmp_path), world.languages)
    whole = measure_bias(tmp_path, RankTable(tmp_path / "ranks.parquet"), world.languages)
    for name in ("rank_distance", "worst_rank", "target_removal", "language_gaps", "friedman"):
        assert found[name]["cutoff"] == DEPTH
        assert "cutoff" not in whole[name]
    assert {key for key in found["worst_rank"] if "@" in key} == {"complete@10"}
    assert found["rank_distance"]["normalised"] == found["rank_distance"]["macro"] / DEPTH
    assert found["same_language_top1"] == whole["same_language_top1"]
    assert found["peer"] == whole["peer"] == {}


def test_nothing_is_said_past_the_depth() -> None:
    names = [[str(metric) for metric in metrics_within(depth)] for depth in (4, 10, 100, 1000)]
    assert names[0] == ["AP@4", "R@1"]
    assert names[1] == ["AP@10", "nDCG@10", "R@1", "R@10", "RR@10"]
    assert names[2] == ["AP@100", "nDCG@10", "R@1", "R@10", "R@100", "RR@10"]
    assert names[3] == ["AP@1000", *names[2]]
