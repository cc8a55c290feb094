"""All bias metrics of a run folder at once: shape, invariances, values per query."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.bias.catalogue import METRICS, QUERY_METRICS, QueryValues, measure_bias, query_bias
from bias_bench.data.ids import language_of
from bias_bench.evaluation.ranks import RankTable, write_ranks
from bias_bench.system.files import json_text
from tests.support.bias_runs import World, random_world, write_world
from tests.support.helpers import rank_rows


def per_query(folder: Path) -> dict[str, QueryValues]:
    return {name: query_bias(folder, name) for name in QUERY_METRICS}


WORLDS = pytest.mark.parametrize("partly", [False, True], ids=["parallel", "partly parallel"])


def measured(world: World, folder: Path, **options: Any) -> dict[str, Any]:
    return measure_bias(folder, write_world(world, folder, **options), world.languages)


def flat(summary: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(summary, dict):
        return {path: summary}
    return {
        key: value
        for name, part in summary.items()
        for key, value in flat(part, f"{path}/{name}").items()
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    a, b = flat(found), flat(expected)
    numbers = {name for name, value in b.items() if isinstance(value, float)}
    assert {name: a.get(name) for name in b.keys() - numbers} == {
        name: b[name] for name in b.keys() - numbers
    }
    assert {name: a[name] for name in numbers} == pytest.approx(
        {name: b[name] for name in numbers}, rel=1e-9, abs=1e-12
    )


@WORLDS
def test_every_metric_is_there_and_can_be_written(tmp_path: Path, partly: bool) -> None:
    found = measured(random_world(0, partly=partly), tmp_path)
    assert set(found) == set(METRICS)
    # one relevant candidate a language leaves PEER no value
    assert [name for name, values in found.items() if not values] == ["peer"]
    json_text(found)  # refuses NaN
    for name in ("rank_distance", "same_language_top1", "same_language_top10", "worst_rank"):
        assert set(found[name]) >= {"macro", "per_language"}
        assert set(found[name]["per_language"]) <= {"de", "en", "th", "zh"}


@WORLDS
def test_metrics_do_not_depend_on_the_order_of_rows(tmp_path: Path, partly: bool) -> None:
    world = random_world(1, partly=partly)
    assert_same(
        measured(world, tmp_path / "backwards", order=-1), measured(world, tmp_path / "forwards")
    )


@WORLDS
def test_metrics_do_not_depend_on_scores_beyond_their_order(tmp_path: Path, partly: bool) -> None:
    world = random_world(2, partly=partly)
    transformed = measured(world, tmp_path / "b", scores=lambda scores: np.exp(3 * scores) - 7)
    assert transformed == measured(world, tmp_path / "a")


@WORLDS
def test_metrics_do_not_depend_on_the_names_of_topics_and_candidates(
    tmp_path: Path, partly: bool
) -> None:
    world = random_world(3, partly=partly)
    random = np.random.default_rng(3)
    pool = sorted({name for row in world.rankings.values() for r in row.values() for name in r})
    places = random.permutation(1000)[: len(pool)]
    names = {
        name: f"{language_of(name)}:9-9-{place}" for name, place in zip(pool, places, strict=True)
    }
    topics = {
        topic: f"x{place}"
        for topic, place in zip(world.answers, random.permutation(50), strict=False)
    }
    renamed = World(
        world.languages,
        {
            language: {
                topics[topic]: [names[name] for name in ranking]
                for topic, ranking in by_topic.items()
            }
            for language, by_topic in world.rankings.items()
        },
        {
            topics[topic]: {language: names[name] for language, name in answers.items()}
            for topic, answers in world.answers.items()
        },
    )
    assert_same(measured(renamed, tmp_path / "renamed"), measured(world, tmp_path / "world"))


def test_a_system_without_language_preference_is_measured_as_such(tmp_path: Path) -> None:
    """All parallel candidates on top, in an order that turns with topic and query language."""
    languages = ("de", "en", "th", "zh")
    answers = {f"t{n}": {name: f"{name}:0-0-{n}" for name in languages} for n in range(8)}
    pool = [f"{name}:0-0-{n}" for n in range(9) for name in languages]
    rankings: dict[str, dict[str, list[str]]] = {name: {} for name in languages}
    for name in languages:
        for number, (topic, found) in enumerate(answers.items()):
            top = [found[languages[(number + turn) % 4]] for turn in range(4)]
            rankings[name][topic] = [*top, *(other for other in pool if other not in top)]
    found = measured(World(languages, rankings, answers), tmp_path)
    assert found["rank_distance"]["macro"] == found["rank_distance"]["median"] == 3
    assert found["worst_rank"]["macro"] == 4
    assert found["worst_rank"]["complete@10"]["macro"] == 1
    assert found["same_language_first"]["macro"] == 0.25
    assert found["top_hit"]["relevant_same"]["macro"] == 0.25
    assert found["top_hit"]["relevant_other"]["macro"] == 0.75
    assert found["single_target"]["macro"] == 0
    assert found["target_removal"]["macro"] == pytest.approx(0)
    assert found["language_gaps"]["query"]["gini"] == 0
    assert found["friedman"]["all_queries"]["statistic"] == pytest.approx(0)
    assert found["rank_biased_overlap"]["macro"] == pytest.approx(1)
    assert found["kendall@10"]["macro"] == pytest.approx(1)
    assert found["mrc@10"]["macro"] == pytest.approx(1)
    assert found["mlrs"]["macro"] == pytest.approx(found["mlrs"]["chance"]["macro"])
    assert found["tlr@20"]["macro"] == 1
    assert found["merge_ceiling"]["macro"] == found["merge_ceiling"]["reached"] == 1


def test_a_system_that_keeps_to_the_query_s_language_is_measured_as_such(tmp_path: Path) -> None:
    languages = ("de", "en", "th")
    answers = {f"t{n}": {name: f"{name}:0-0-{n}" for name in languages} for n in range(6)}
    rankings = {
        own: {
            topic: [
                f"{name}:0-0-{(number + step) % 9}"
                for name in (own, *(other for other in languages if other != own))
                for step in range(9)
            ]
            for number, topic in enumerate(answers)
        }
        for own in languages
    }
    found = measured(World(languages, rankings, answers), tmp_path)
    assert found["same_language_first"]["macro"] == 1
    assert found["same_language_top1"]["macro"] == 1
    assert found["top_hit"]["relevant_same"]["macro"] == 1
    assert found["rank_distance"]["macro"] == found["worst_rank"]["macro"] - 1 == 18
    assert found["rank_distance"]["found"]["led"] == 1
    assert found["single_target"]["same"]["macro"] == 1
    assert found["target_removal"]["macro"] > 0
    assert found["mlrs"]["macro"] == 100 > found["mlrs"]["chance"]["macro"]
    assert found["lang_ndcg@20"]["own_only"]["macro"] == 1
    assert found["merge_ceiling"]["macro"] == 1  # every language has its answer first
    assert found["merge_ceiling"]["gap"]["macro"] == pytest.approx(1 - (1 + 2 / 10 + 3 / 19) / 3)
    own = found["exposure"]["shares"]["de"]
    assert own["de"] > own["en"] + own["th"]


def test_one_language_alone_has_no_parallel_metrics(tmp_path: Path) -> None:
    world = random_world(0, languages=("en",))
    found = measured(world, tmp_path)
    for name in ("rank_distance", "worst_rank", "same_language_first", "target_removal",
                 "single_target", "friedman", "rank_biased_overlap", "kendall@10"):  # fmt: skip
        assert found[name] == {}
    assert found["same_language_top1"]["macro"] == 1
    json_text(found)


def test_ranks_without_pooled_settings_have_no_bias_metrics(tmp_path: Path) -> None:
    write_ranks(tmp_path / "ranks.parquet", [rank_rows("en", [("t", "en:0-0-0", 1)])], {"all": 1})
    table = RankTable(tmp_path / "ranks.parquet")
    found = measure_bias(tmp_path, table, ["en"])
    assert not any(found[name] for name in METRICS if name != "top_hit")
    assert all(len(long.values) == 0 for long in per_query(tmp_path).values())


@WORLDS
def test_values_per_query_are_long_and_keyed(tmp_path: Path, partly: bool) -> None:
    world = random_world(6, partly=partly)
    write_world(world, tmp_path)
    found = per_query(tmp_path)
    expected = {
        (f"{language}-all", f"{language}:{topic}", topic): world.ranks(language, topic)
        for language in world.rankings
        for topic in world.topics(language)
        if len(world.answers[topic]) > 1
    }
    for long in found.values():
        assert list(zip(long.settings, long.queries, long.topics, strict=True)) == list(expected)
        assert long.paragraphs == [f"paragraph-{topic}" for topic in long.topics]
        assert long.articles == [f"article-{topic}" for topic in long.topics]
        assert long.values.shape == (len(expected),)
    distances = [max(ranks.values()) - min(ranks.values()) for ranks in expected.values()]
    assert found["rank_distance"].values.tolist() == distances
    np.testing.assert_allclose(
        found["log_rank_distance"].values, [math.log(value) for value in distances]
    )
    assert found["worst_rank"].values.tolist() == [max(r.values()) for r in expected.values()]
    assert found["same_language_first"].values.tolist() == [
        float(min(ranks, key=lambda name: ranks[name]) == language_of(query))
        for (_, query, _), ranks in expected.items()
    ]


@WORLDS
def test_means_of_values_per_query_are_the_summaries(tmp_path: Path, partly: bool) -> None:
    world = random_world(7, partly=partly)
    table = write_world(world, tmp_path)
    summary = measure_bias(tmp_path, table, world.languages)
    found = per_query(tmp_path)
    for name in ("rank_distance", "worst_rank", "same_language_first", "target_removal"):
        settings = np.array(found[name].settings)
        means = {
            str(setting).removesuffix("-all"): found[name].values[settings == setting].mean()
            for setting in dict.fromkeys(found[name].settings)
        }
        assert summary[name]["per_language"] == pytest.approx(means)
