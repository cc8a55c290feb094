"""Collections: consistency, fingerprints, rows of relevance, candidate texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.errors import DataError
from tests.support.lareqa_files import good, load


def collection(**changes: Any) -> Collection:
    """Two languages; topic `a` is answered in both, `b` in English only, `c` nowhere."""
    fields: dict[str, Any] = {
        "name": "bees",
        "languages": ("en", "de"),
        "topics": (Topic("a", "p1", "x"), Topic("b", "p2", "x"), Topic("c", "p2", "x")),
        "queries": (
            Query("en:a", "A?"),
            Query("en:b", "B?"),
            Query("de:a", "A!"),
            Query("de:c", "C"),
        ),
        "candidates": (
            Candidate("en:0-0-0", "one", "one two"),
            Candidate("en:0-0-1", "two", "one two"),
            Candidate("de:0-0-0", "eins", "eins zwei"),
        ),
        "relevance": (("a", "de:0-0-0"), ("a", "en:0-0-1"), ("b", "en:0-0-0")),
    }
    return Collection(**{**fields, **changes})


BASE = collection()


INVALID = {
    "duplicate query": (
        {"queries": (*BASE.queries, BASE.queries[-1])},
        "bees: query id 'de:c' occurs 2 times",
    ),
    "duplicate candidate": (
        {"candidates": (*BASE.candidates, BASE.candidates[-1])},
        "bees: candidate id 'de:0-0-0' occurs 2 times",
    ),
    "duplicate topic": (
        {"topics": (*BASE.topics, Topic("a", "p9", "y"))},
        "bees: topic id 'a' occurs 2 times",
    ),
    "space in a query id": (
        {"queries": (*BASE.queries, Query("de:b b", "?"))},
        "query id 'de:b b' holds white space",
    ),
    "tab in a candidate id": (
        {"candidates": (*BASE.candidates, Candidate("de:0\t1", "x", "x"))},
        "candidate id 'de:0\t1' holds white space",
    ),
    "no-break space in a candidate id": (
        {"candidates": (*BASE.candidates, Candidate("de:0\u00a01", "x", "x"))},
        "holds white space",
    ),
    "relevance of an unknown topic": (
        {"relevance": (("z", "en:0-0-0"),)},
        "relevance 'z' -> 'en:0-0-0' points to nothing",
    ),
    "relevance of an unknown candidate": (
        {"relevance": (("a", "en:9-9-9"),)},
        "relevance 'a' -> 'en:9-9-9' points to nothing",
    ),
    "query of an unknown topic": (
        {"topics": BASE.topics[:2]},
        "query 'de:c' belongs to no topic",
    ),
    "language without queries": (
        {"queries": BASE.queries[:2]},
        "bees: query: language 'de' has none at all",
    ),
    "language without candidates": (
        {"candidates": BASE.candidates[:2], "relevance": ()},
        "bees: candidate: language 'de' has none at all",
    ),
    "queries not grouped by language": (
        {"queries": (BASE.queries[2], *BASE.queries[:2], BASE.queries[3])},
        "bees: query ids are not grouped by language",
    ),
    "candidates in another order than the languages": (
        {"candidates": (BASE.candidates[2], *BASE.candidates[:2])},
        "bees: candidate ids are not grouped by language",
    ),
    "language that is not listed": (
        {"queries": (*BASE.queries, Query("fr:a", "A?"))},
        "bees: query ids are not grouped by language",
    ),
    "id without a language": (
        {"queries": (*BASE.queries, Query("a", "A?"))},
        "bees: query ids are not grouped by language",
    ),
    "language listed twice": ({"languages": ("en", "de", "de")}, "not grouped by language"),
}


@pytest.mark.parametrize(("changes", "problem"), INVALID.values(), ids=INVALID.keys())
def test_inconsistent_collection_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        collection(**changes)
    assert problem in str(caught.value)


@pytest.mark.parametrize("code", ["zh-CN", "en:us", "", "all"])
def test_language_codes_that_would_blur_setting_names_are_refused(code: str) -> None:
    with pytest.raises(DataError, match=f"bees: '{code}' cannot be a language code"):
        collection(
            languages=(code,),
            queries=(Query(f"{code}:a", "A?"),),
            candidates=(Candidate(f"{code}:0-0-0", "one", "one"),),
            relevance=(),
        )


FINGERPRINT_CHANGES: dict[str, dict[str, Any]] = {
    "name": {"name": "wasps"},
    "query text": {"queries": (Query("en:a", "A??"), *BASE.queries[1:])},
    "candidate text": {
        "candidates": (Candidate("en:0-0-0", "One", "one two"), *BASE.candidates[1:])
    },
    "context": {"candidates": (Candidate("en:0-0-0", "one", "one  two"), *BASE.candidates[1:])},
    "border of text and context": {
        "candidates": (Candidate("en:0-0-0", "oneone", " two"), *BASE.candidates[1:])
    },
    "cluster": {"topics": (Topic("a", "p2", "x"), *BASE.topics[1:])},
    "article": {"topics": (Topic("a", "p1", "y"), *BASE.topics[1:])},
    "relevance": {"relevance": (("a", "de:0-0-0"), ("a", "en:0-0-0"), ("b", "en:0-0-0"))},
    "fewer relevant": {"relevance": BASE.relevance[:2]},
    "query id": {"queries": (*BASE.queries[:3], Query("de:b", "C"))},
    "order of queries": {"queries": (BASE.queries[1], BASE.queries[0], *BASE.queries[2:])},
}


def test_fingerprint_is_that_of_the_content_only(tmp_path: Path) -> None:
    assert BASE.fingerprint == collection().fingerprint
    compact = load(tmp_path / "one", en=good())
    indented = load(tmp_path / "two", indent=2, en=good())
    assert compact.fingerprint == indented.fingerprint


@pytest.mark.parametrize("changes", FINGERPRINT_CHANGES.values(), ids=FINGERPRINT_CHANGES.keys())
def test_fingerprint_changes_with_every_part_of_the_content(changes: dict[str, Any]) -> None:
    assert collection(**changes).fingerprint != BASE.fingerprint


def test_relevant_rows_are_candidate_rows_padded_with_minus_one() -> None:
    rows = BASE.relevant_rows
    assert rows.dtype == np.int32
    assert rows.tolist() == [[2, 1], [0, -1], [-1, -1]]


def test_relevant_rows_without_any_relevance_have_no_column() -> None:
    assert collection(relevance=()).relevant_rows.shape == (3, 0)


def test_query_topics_are_rows_of_topics_in_query_order() -> None:
    assert BASE.query_topics("en").tolist() == [0, 1]
    assert BASE.query_topics("de").tolist() == [0, 2]
    assert BASE.query_topics("de").dtype == np.int32


@pytest.mark.parametrize(
    ("language", "with_context", "texts"),
    [
        ("en", False, ["one", "two"]),
        ("en", True, ["one one two", "two one two"]),
        ("de", False, ["eins"]),
        ("de", True, ["eins eins zwei"]),
    ],
)
def test_candidate_text_is_the_sentence_and_with_context_its_paragraph_too(
    language: str, with_context: bool, texts: list[str]
) -> None:
    assert BASE.candidate_texts(language, with_context) == texts
