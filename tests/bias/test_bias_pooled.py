"""Bias metrics from the top of the pooled rankings: reading them, top hits, exposure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from bias_bench.bias import exposure, language_share, top_hit
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.bias.pooled import PooledRun, read_pooled
from bias_bench.data.ids import language_of
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.ranks import RankTable, write_ranks
from bias_bench.evaluation.trec import write_gzip
from tests.support.bias_runs import DEPTH, World, macro, random_world, ranked, write_world
from tests.support.helpers import rank_rows, unhurried

SEEDS = range(3)


def read(world: World, folder: Path, **options: int) -> dict[str, PooledRun]:
    table = write_world(world, folder, **options)
    return read_pooled(folder, parallel_ranks(table, world.languages))


@pytest.mark.parametrize("partly", [False, True])
def test_rankings_come_in_the_order_of_the_ranks_with_languages_and_relevance(
    tmp_path: Path, partly: bool
) -> None:
    world = random_world(1, partly=partly)
    runs = read(world, tmp_path, order=-1)
    assert set(runs) == set(world.rankings)
    numbers: dict[str, int] = {}
    for language, run in runs.items():
        assert run.topics == world.topics(language)
        for row, topic in enumerate(run.topics):
            names = world.rankings[language][topic][:DEPTH]
            assert [world.languages[code] for code in run.languages[row]] == [
                language_of(name) for name in names
            ]
            assert run.relevant[row].tolist() == [
                name in world.answers[topic].values() for name in names
            ]
            for name, number in zip(names, run.candidates[row].tolist(), strict=True):
                assert numbers.setdefault(name, number) == number
    assert len(set(numbers.values())) == len(numbers)


def test_short_rankings_end_in_padding(tmp_path: Path) -> None:
    world = random_world(1, topics=2)
    table = write_world(world, tmp_path)
    first, second = world.rankings["de"]["t1"][:2]
    lines = f"de:t1 Q0 {first} 1 0.5 t\nde:t1 Q0 {second} 2 0.4 t\n"
    write_gzip(tmp_path / "trec" / "multilingual" / "de-all.run.gz", lines.encode())
    run = read_pooled(tmp_path, parallel_ranks(table))["de"]
    codes = [world.languages.index(language_of(name)) for name in (first, second)]
    assert run.languages.tolist() == [[-1, -1], codes]
    assert run.candidates[0].tolist() == [-1, -1]
    assert not run.relevant[0].any()


def require_refused(folder: Path, rows: Sequence[tuple[str, str, int]], message: str) -> None:
    """The runs of a folder do not go with these English ranks."""
    write_ranks(folder / "ranks.parquet", [rank_rows("en-all", rows)], {"all": 36})
    table = RankTable(folder / "ranks.parquet")
    with pytest.raises(BiasBenchError, match=message):
        read_pooled(folder, parallel_ranks(table, ("de", "en", "th", "zh")))


def test_a_run_that_ranks_another_language_there_than_the_ranks_say_is_refused(
    tmp_path: Path,
) -> None:
    world = random_world(3)
    write_world(world, tmp_path)
    ranking = world.rankings["en"]["t0"]
    relevant = world.answers["t0"]["en"]
    place = ranking.index(relevant)
    other = next(
        row
        for row, name in enumerate(ranking[:DEPTH])
        if language_of(name) != "en" and row != place
    )
    rows = [
        (topic, world.answers[topic][name], rank)
        for topic in world.topics("en")
        for name, rank in world.ranks("en", topic).items()
        if (topic, name) != ("t0", "en")
    ]
    rows.append(("t0", relevant, other + 1))
    require_refused(tmp_path, rows, r"en-all.*'en:t0'.*--policy always")


def test_a_query_without_ranks_is_refused(tmp_path: Path) -> None:
    world = random_world(3)
    write_world(world, tmp_path)
    rows = [("t0", world.answers["t0"]["en"], world.ranks("en", "t0")["en"])]
    require_refused(tmp_path, rows, r"'en:t1' is not ranked")


def test_a_candidate_of_an_unknown_language_is_refused(tmp_path: Path) -> None:
    world = random_world(3)
    table = write_world(world, tmp_path)
    parallel = parallel_ranks(table)._replace(languages=("de", "en", "th"))
    with pytest.raises(BiasBenchError, match="'zh'"):
        read_pooled(tmp_path, parallel)


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_shares_of_written_runs_equal_a_slow_reference(tmp_path: Path, seed: int, k: int) -> None:
    world = random_world(seed)
    runs = read(world, tmp_path)
    top = {language: run.languages for language, run in runs.items()}
    found = language_share.summarise(top, world.languages, k)

    def share(language: str, topic: str) -> float:
        names = world.rankings[language][topic][:k]
        return sum(language_of(name) == language for name in names) / k

    assert found["per_language"] == pytest.approx(world.mean(share))


def test_top_hits_fall_into_four_parts() -> None:
    relevant = np.array([[True], [True], [False], [False], [False]])
    languages = np.array([[1], [0], [1], [0], [-1]])
    kinds = top_hit.top_hit(relevant, languages, 1)
    assert [top_hit.PARTS[kind] for kind in kinds[:4]] == list(top_hit.PARTS)
    assert kinds[4] == -1


def test_top_hits_of_empty_rankings_are_none() -> None:
    empty = np.zeros((2, 0), dtype=int)
    assert top_hit.top_hit(empty > 0, empty, 0).tolist() == [-1, -1]


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_top_hit_summary_equals_a_slow_reference(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    found = top_hit.summarise(read(world, tmp_path), world.languages)
    for part in top_hit.PARTS:

        def is_part(language: str, topic: str, part: str = part) -> float:
            name = world.rankings[language][topic][0]
            relevant = name in world.answers[topic].values()
            same = language_of(name) == language
            return float(
                part == f"{'relevant' if relevant else 'other'}_{'same' if same else 'other'}"
            )

        assert found[part]["per_language"] == pytest.approx(world.mean(is_part))
    assert sum(found[part]["macro"] for part in top_hit.PARTS) == pytest.approx(1.0)


def test_attention_falls_from_the_third_rank_on() -> None:
    np.testing.assert_allclose(exposure.attention(4), [1, 1, 1 / math.log2(3), 0.5])


def test_exposure_and_its_measures_of_a_hand_worked_case() -> None:
    """Attention 1, 1, 0.63, 0.5 of languages 0, 1, 1, 0 against uniform."""
    gained = exposure.exposures(np.array([[0, 1, 1, 0]]), 2)
    total = 2.5 + 1 / math.log2(3)
    np.testing.assert_allclose(gained, [[1.5 / total, 1 - 1.5 / total]])
    off = 0.5 - 1.5 / total
    uniform = np.full((1, 2), 0.5)
    np.testing.assert_allclose(exposure.exposure_loss(gained, uniform), [2 * off**2])


def test_exposure_of_an_empty_ranking_is_unknown() -> None:
    gained = exposure.exposures(np.array([[-1, -1], [0, -1]]), 2)
    np.testing.assert_array_equal(gained, [[np.nan, np.nan], [1, 0]])
    assert np.isnan(exposure.awrf(gained, np.full((2, 2), 0.5))[0])


def test_awrf_and_loss_reach_their_bounds() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert exposure.awrf(one, one) == 1
    assert exposure.awrf(one, other) == pytest.approx(1 - math.log(2))
    assert exposure.exposure_loss(one, one) == 0
    assert exposure.exposure_loss(one, other) == 2


@unhurried
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
)
def test_awrf_equals_scipy_s_divergence(languages: list[int], weights: list[int]) -> None:
    target = np.array(weights) / sum(weights)
    gained = exposure.exposures(np.array([languages]), 4)
    assert gained.sum() == pytest.approx(1)
    (found,) = exposure.awrf(gained, target[None])
    assert found == pytest.approx(1 - jensenshannon(gained[0], target) ** 2, abs=1e-9)


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_exposure_summary_equals_a_slow_reference(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    table = write_world(world, tmp_path)
    parallel = parallel_ranks(table, world.languages)
    found = exposure.summarise(read_pooled(tmp_path, parallel), parallel)

    def gained(language: str, topic: str) -> list[float]:
        names = world.rankings[language][topic][:DEPTH]
        attention = [1 / math.log2(max(rank, 2)) for rank in range(1, DEPTH + 1)]
        return [
            sum(a for a, n in zip(attention, names, strict=True) if language_of(n) == wanted)
            / sum(attention)
            for wanted in world.languages
        ]

    def target(topic: str) -> list[float]:
        answers = world.answers[topic]
        return [(wanted in answers) / len(answers) for wanted in world.languages]

    awrf = world.mean(
        lambda language, topic: 1 - jensenshannon(gained(language, topic), target(topic)) ** 2
    )
    loss = world.mean(
        lambda language, topic: math.dist(gained(language, topic), target(topic)) ** 2
    )
    assert found["cutoff"] == DEPTH
    assert found["awrf"]["relevant"]["per_language"] == pytest.approx(awrf)
    assert found["ee_l"]["relevant"]["macro"] == pytest.approx(macro(loss))
    # pools of one size; and no number is given twice
    assert found["same_as"] == (
        {"pool": "uniform"} if partly else {"uniform": "relevant", "pool": "relevant"}
    )
    assert not found["same_as"].keys() & (found["awrf"].keys() | found["ee_l"].keys())
    for number, wanted in enumerate(world.languages):
        shares = world.mean(lambda language, topic, number=number: gained(language, topic)[number])
        assert {name: row[wanted] for name, row in found["shares"].items()} == pytest.approx(shares)


def test_the_pool_s_shares_are_a_target_when_its_sizes_are_known(tmp_path: Path) -> None:
    world = random_world(0)
    parallel = ranked(world, tmp_path)
    runs = read_pooled(tmp_path, parallel)
    uneven = parallel._replace(pools={**parallel.pools, "th": 99})
    found = exposure.summarise(runs, uneven)
    assert (set(found["awrf"]), found["same_as"]) == (
        {"relevant", "pool"},
        {"uniform": "relevant"},
    )
    unknown = exposure.summarise(runs, parallel._replace(pools={"all": 36}))
    assert set(unknown["awrf"]) == {"relevant"}
    assert unknown["anchors"].keys() == {"one_language"}  # what is blind is not known


def test_anchors_of_exposure_are_those_of_blind_and_of_one_language(tmp_path: Path) -> None:
    world = random_world(0)
    parallel = ranked(world, tmp_path)
    found = exposure.summarise(read_pooled(tmp_path, parallel), parallel)["anchors"]
    one, uniform = np.eye(4)[[0]], np.full((1, 4), 1 / 4)
    alone = {"awrf": exposure.awrf(one, uniform), "ee_l": exposure.exposure_loss(one, uniform)}
    random = np.random.default_rng(9)
    orders = np.stack([random.permutation(np.repeat(np.arange(4), 9))[:DEPTH] for _ in range(5000)])
    gained = exposure.exposures(orders, 4)
    goal = np.broadcast_to(uniform, gained.shape)
    blind = {"awrf": exposure.awrf(gained, goal), "ee_l": exposure.exposure_loss(gained, goal)}
    for measure in ("awrf", "ee_l"):
        assert found["one_language"][measure] == {"relevant": pytest.approx(alone[measure][0])}
        expected = blind[measure].mean()
        assert found["blind"][measure] == {"relevant": pytest.approx(expected, abs=0.01)}
    assert found["one_language"]["awrf"]["relevant"] < found["blind"]["awrf"]["relevant"] < 1
