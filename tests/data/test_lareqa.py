"""Files in LAReQA's form become collections."""

from __future__ import annotations

from pathlib import Path

import pytest

from bias_bench.data.collection import Query, Topic
from tests.support.lareqa_files import (
    SENTENCES,
    document,
    error_of,
    good,
    load,
    paragraph,
    question,
)


def test_queries_and_candidates_carry_language_and_place_in_their_ids(tmp_path: Path) -> None:
    bees = load(tmp_path, en=good())
    assert bees.name == "bees"
    assert bees.languages == ("en",)
    assert bees.queries == tuple(Query(f"en:q{n}", f"q{n}?") for n in (1, 2, 3, 4))
    assert [(item.id, item.text) for item in bees.candidates] == [
        ("en:0-0-0", "Bees fly."),
        ("en:0-0-1", "They make honey."),
        ("en:0-0-2", "Bears like it."),
        ("en:1-0-0", "Sun shines."),
        ("en:1-1-0", "Rain falls."),
        ("en:1-1-1", "Ice melts."),
    ]
    assert {item.context for item in bees.candidates[:3]} == {" ".join(SENTENCES)}
    assert bees.candidates[5].context == "Rain falls. Ice melts."


def test_relevance_is_the_sentence_that_holds_answer_start(tmp_path: Path) -> None:
    assert load(tmp_path, en=good()).relevance == (
        ("q1", "en:0-0-1"),
        ("q2", "en:0-0-0"),
        ("q3", "en:1-0-0"),
        ("q4", "en:1-1-1"),
    )


@pytest.mark.parametrize("start", range(len(" ".join(SENTENCES)) + 1))
def test_every_offset_belongs_to_its_sentence_or_to_none(tmp_path: Path, start: int) -> None:
    """The start of a sentence is inside; the space between two and the very end are not."""
    content = document([paragraph(SENTENCES)])
    content["data"][0]["paragraphs"][0]["qas"] = [question("q", start)]
    owner = [index for index, sentence in enumerate(SENTENCES) for _ in (*sentence, None)]
    last_of_break = [i for sentence in SENTENCES for i in [False] * len(sentence) + [True]]
    if last_of_break[start]:
        message, path = error_of(tmp_path, content)
        assert f"{path}: article 0, paragraph 0, question 'q'" in message
        assert f"answer_start {start} lies outside every sentence" in message
    else:
        assert load(tmp_path, en=content).relevance == (("q", f"en:0-0-{owner[start]}"),)


def test_only_the_first_answer_counts(tmp_path: Path) -> None:
    content = document([paragraph(SENTENCES, ("q", 2))])
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"].append({"answer_start": 0})
    assert load(tmp_path, en=content).relevance == (("q", "en:0-0-2"),)


def test_offsets_count_characters_not_bytes(tmp_path: Path) -> None:
    greek = ["Οι μέλισσες πετούν.", "Φτιάχνουν μέλι.", "蜜蜂🐝飞。"]
    content = document([paragraph(greek, ("second", 1), ("third", 2))])
    relevance = load(tmp_path, el=content).relevance
    assert relevance == (("second", "el:0-0-1"), ("third", "el:0-0-2"))


def test_languages_keep_the_order_given_and_pools_are_contiguous(tmp_path: Path) -> None:
    short = document([paragraph(["Eins."], ("q1", 0))])
    bees = load(tmp_path, de=short, en=good())
    assert bees.languages == ("de", "en")
    assert bees.pools == {"de": (0, 1), "en": (1, 7)}
    assert bees.queries_in("de") == [Query("de:q1", "q1?")]
    assert [query.id for query in bees.queries_in("en")] == ["en:q1", "en:q2", "en:q3", "en:q4"]


def test_clusters_come_from_english_even_when_it_is_not_first(tmp_path: Path) -> None:
    """The same question may stand elsewhere in another language's file."""
    german = document([paragraph(["Nur Text."])], [paragraph(["Honig."], ("q1", 0), ("q9", 0))])
    bees = load(tmp_path, de=german, en=good())
    assert bees.topics == (
        Topic("q1", "en:0-0", "en:0", "t"),
        Topic("q2", "en:0-0", "en:0", "t"),
        Topic("q3", "en:1-0", "en:1", "t"),
        Topic("q4", "en:1-1", "en:1", "t"),
        Topic("q9", "de:1-0", "de:1", "t"),
    )


def test_without_english_clusters_come_from_the_first_language_with_the_topic(
    tmp_path: Path,
) -> None:
    first = document([paragraph(["Honig."], ("q1", 0))])
    second = document([paragraph(["Leer."]), paragraph(["Miel.", "Sol."], ("q1", 0), ("q2", 1))])
    topics = load(tmp_path, de=first, es=second).topics
    assert topics == (Topic("q1", "de:0-0", "de:0", "t"), Topic("q2", "es:0-1", "es:0", "t"))


def test_partly_parallel_topics_have_one_relevant_candidate_per_language_that_answers(
    tmp_path: Path,
) -> None:
    bees = load(
        tmp_path,
        en=document([paragraph(SENTENCES, ("q1", 0), ("q2", 1))]),
        de=document([paragraph(["Sie fliegen.", "Honig."], ("q2", 1), ("q3", 0))]),
    )
    assert bees.relevance == (
        ("q1", "en:0-0-0"),
        ("q2", "en:0-0-1"),
        ("q2", "de:0-0-1"),
        ("q3", "de:0-0-0"),
    )
    assert bees.query_topics("en").tolist() == [0, 1]
    assert bees.query_topics("de").tolist() == [1, 2]
    assert bees.relevant_rows.tolist() == [[0, -1], [1, 4], [3, -1]]
