"""examples.json: which topics are chosen, and that texts, ranks and hits are the run's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.ids import topic_of
from bias_bench.runs.examples import examples
from tests.support.bias_runs import World, plain_ap, random_world, write_world


def collection_of(world: World) -> Collection:
    """A benchmark of which the world could be a run; texts name what they are."""
    pool = sorted(next(iter(next(iter(world.rankings.values())).values())))
    return Collection(
        name="world",
        languages=world.languages,
        topics=tuple(Topic(name, "p", "a", f"title {name}") for name in world.answers),
        queries=tuple(
            Query(f"{language}:{topic}", f"question {topic} in {language}")
            for language in world.languages
            for topic in sorted(world.rankings[language])
        ),
        candidates=tuple(Candidate(name, f"text of {name}", "") for name in pool),
        relevance=tuple(
            (topic, name) for topic, found in world.answers.items() for name in found.values()
        ),
    )


def chosen(world: World, folder: Path) -> list[dict[str, Any]]:
    write_world(world, folder)
    prepared: Any = SimpleNamespace(collection=collection_of(world))
    content = examples(prepared, folder)
    assert content["schema"] == 1
    return content["examples"]


@pytest.fixture
def world() -> World:
    return random_world(3, topics=30)


def test_texts_ranks_and_hits_are_those_of_the_run(world: World, tmp_path: Path) -> None:
    for found in chosen(world, tmp_path):
        language, topic = found["language"], topic_of(found["query"])
        ranks = world.ranks(language, topic)
        assert found["question"] == f"question {topic} in {language}"
        assert found["english"] == f"question {topic} in en"
        assert found["title"] == f"title {topic}"
        assert {answer["language"]: answer["rank"] for answer in found["answers"]} == ranks
        assert found["ap"] == pytest.approx(plain_ap(list(ranks.values())))
        assert found["rank_distance"] == max(ranks.values()) - min(ranks.values())
        assert [hit["candidate"] for hit in found["hits"]] == world.rankings[language][topic][:3]
        for hit in found["hits"]:
            assert hit["relevant"] == (hit["candidate"] in world.answers[topic].values())
            assert hit["text"] == f"text of {hit['candidate']}"


def test_a_dozen_topics_are_chosen_by_rule_with_query_languages_in_turn(
    world: World, tmp_path: Path
) -> None:
    found = chosen(world, tmp_path)
    assert [one["reason"] for one in found] == ["distance"] * 5 + ["low"] * 5 + ["high"] * 2
    assert len({topic_of(one["query"]) for one in found}) == 12
    languages = [one["language"] for one in found]
    for start in range(0, 12, 4):
        assert len(set(languages[start : start + 4])) == 4
    largest = max(
        max(ranks) - min(ranks)
        for language in world.languages
        for topic in world.topics(language)
        for ranks in [world.ranks(language, topic).values()]
    )
    assert found[0]["rank_distance"] == largest
    assert all(one["ap"] < 0.5 for one in found if one["reason"] == "low")


def test_the_same_run_gives_the_same_examples(world: World, tmp_path: Path) -> None:
    assert chosen(world, tmp_path / "a") == chosen(world, tmp_path / "b")


def test_partly_parallel_topics_are_told_by_their_answers(tmp_path: Path) -> None:
    world = random_world(1, topics=8, partly=True)
    for found in chosen(world, tmp_path):
        answers = world.answers[topic_of(found["query"])]
        assert {answer["candidate"] for answer in found["answers"]} == set(answers.values())
        assert (found["rank_distance"] is None) == (len(answers) < 2)


def test_a_run_without_faults_has_no_bad_examples(tmp_path: Path) -> None:
    perfect = random_world(0, languages=("de", "en"), topics=3)
    for by_topic in perfect.rankings.values():
        for topic, ranking in by_topic.items():
            answers = sorted(perfect.answers[topic].values())
            by_topic[topic] = [*answers, *(name for name in ranking if name not in answers)]
    assert [one["reason"] for one in chosen(perfect, tmp_path)] == ["high", "high"]
