"""Reading LAReQA's form: ids, relevance, clusters, and a clear error for every bad input."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.lareqa import load_lareqa
from bias_bench.errors import DataError

MISSING = object()
SENTENCES = ("Bees fly.", "They make honey.", "Bears like it.")


def paragraph(sentences: Sequence[str], *questions: tuple[str, int]) -> dict[str, Any]:
    """A paragraph in LAReQA's form; a question is its id and the sentence that answers it."""
    breaks, start = [], 0
    for sentence in sentences:
        breaks.append([start, start + len(sentence)])
        start += len(sentence) + 1
    return {
        "context": " ".join(sentences),
        "sentences": list(sentences),
        "sentence_breaks": breaks,
        "qas": [question(topic, breaks[index][0]) for topic, index in questions],
    }


def question(topic: str, start: int) -> dict[str, Any]:
    return {"id": topic, "question": f"{topic}?", "answers": [{"answer_start": start, "text": ""}]}


def document(*articles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": list(a)} for a in articles]}


def write(folder: Path, language: str, content: Any, indent: int | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{language}.json"
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent), encoding="utf-8")
    return path


def load(folder: Path, indent: int | None = None, **documents: Any) -> Collection:
    paths = {lang: write(folder, lang, content, indent) for lang, content in documents.items()}
    return load_lareqa("bees", paths)


def good() -> dict[str, Any]:
    """Two articles; the second paragraph of the second one is the last place of the file."""
    return document(
        [paragraph(SENTENCES, ("q1", 1), ("q2", 0))],
        [
            paragraph(["Sun shines."], ("q3", 0)),
            paragraph(["Rain falls.", "Ice melts."], ("q4", 1)),
        ],
    )


def changed(path: Sequence[str | int], value: Any) -> Any:
    """The good document with one place replaced, or deleted with MISSING."""
    content = copy.deepcopy(good())
    if not path:
        return value
    holder: Any = content
    for key in path[:-1]:
        holder = holder[key]
    if value is MISSING:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return content


def error_of(folder: Path, content: Any) -> tuple[str, Path]:
    """The message of the DataError that reading `content` raises, and the file it is about."""
    path = write(folder, "en", content)
    with pytest.raises(DataError) as caught:
        load_lareqa("bees", {"en": path})
    return str(caught.value), path


# --- the form ---------------------------------------------------------------------------------


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


# --- bad input --------------------------------------------------------------------------------

ARTICLE = ("data", 1)
PARAGRAPH = (*ARTICLE, "paragraphs", 1)
QUESTION = (*PARAGRAPH, "qas", 0)
IN_PARAGRAPH = ": article 1, paragraph 1"

BAD_DOCUMENTS = {
    "file is a list": ((), [], ":", "should be an object"),
    "file is null": ((), None, ":", "should be an object"),
    "file is a number": ((), 3, ":", "should be an object"),
    "no data": (("data",), MISSING, ":", "no 'data'"),
    "data is an object": (("data",), {}, ":", "'data': input should be a valid array"),
    "article is a text": (ARTICLE, "bees", ": article", "should be an object"),
    "no paragraphs": ((*ARTICLE, "paragraphs"), MISSING, ": article", "no 'paragraphs'"),
    "paragraphs is a text": (
        (*ARTICLE, "paragraphs"),
        "x",
        ": article",
        "'paragraphs': input should be a valid array",
    ),
    "paragraph is a list": (PARAGRAPH, [], IN_PARAGRAPH, "should be an object"),
    "no sentence_breaks": (
        (*PARAGRAPH, "sentence_breaks"),
        MISSING,
        IN_PARAGRAPH,
        "no 'sentence_breaks'",
    ),
    "no sentences": ((*PARAGRAPH, "sentences"), MISSING, IN_PARAGRAPH, "'sentences'"),
    "sentence_breaks is null": (
        (*PARAGRAPH, "sentence_breaks"),
        None,
        IN_PARAGRAPH,
        "no 'sentence_breaks'",
    ),
    "a break with one number": (
        (*PARAGRAPH, "sentence_breaks", 0),
        [0],
        IN_PARAGRAPH,
        "no 'sentence_breaks.0.1'",
    ),
    "a break of texts": (
        (*PARAGRAPH, "sentence_breaks", 0),
        ["a", "b"],
        IN_PARAGRAPH,
        "'sentence_breaks.0.0': input should be a valid integer",
    ),
    "fewer breaks than sentences": (
        (*PARAGRAPH, "sentence_breaks", 1),
        MISSING,
        IN_PARAGRAPH,
        "1 sentence breaks for 2 sentences",
    ),
    "fewer sentences than breaks": (
        (*PARAGRAPH, "sentences", 1),
        MISSING,
        IN_PARAGRAPH,
        "2 sentence breaks for 1 sentences",
    ),
    "empty sentence": ((*PARAGRAPH, "sentences", 1), "", IN_PARAGRAPH, "empty sentence"),
    "blank sentence": ((*PARAGRAPH, "sentences", 1), " \n", IN_PARAGRAPH, "empty sentence"),
    "sentence is a number": (
        (*PARAGRAPH, "sentences", 1),
        5,
        IN_PARAGRAPH,
        "'sentences.1': input should be a valid string",
    ),
    "empty break": ((*PARAGRAPH, "sentence_breaks", 1), [12, 12], IN_PARAGRAPH, "sentence break"),
    "break before the context": (
        (*PARAGRAPH, "sentence_breaks", 0),
        [-1, 4],
        IN_PARAGRAPH,
        "outside the context",
    ),
    "break behind the context": (
        (*PARAGRAPH, "sentence_breaks", 1),
        [12, 99],
        IN_PARAGRAPH,
        "outside the context",
    ),
    "no qas": ((*PARAGRAPH, "qas"), MISSING, IN_PARAGRAPH, "no 'qas'"),
    "question is a text": (QUESTION, "why?", IN_PARAGRAPH, "question 0: input should be an object"),
    "question is null": (QUESTION, None, IN_PARAGRAPH, "question 0: input should be an object"),
    "no id": ((*QUESTION, "id"), MISSING, IN_PARAGRAPH, "no 'id'"),
    "no question text": ((*QUESTION, "question"), MISSING, IN_PARAGRAPH, "no 'question'"),
    "no answers": ((*QUESTION, "answers"), MISSING, IN_PARAGRAPH, "no 'answers'"),
    "empty answers": (
        (*QUESTION, "answers"),
        [],
        IN_PARAGRAPH,
        "'answers': list should have at least 1",
    ),
    "answers is an object": (
        (*QUESTION, "answers"),
        {},
        IN_PARAGRAPH,
        "'answers': input should be a valid array",
    ),
    "id is a number": ((*QUESTION, "id"), 7, IN_PARAGRAPH, "'id': input should be a valid string"),
    "empty id": ((*QUESTION, "id"), "", IN_PARAGRAPH, "'id': string should have at least 1"),
    "blank question": (
        (*QUESTION, "question"),
        "  ",
        IN_PARAGRAPH,
        "'question': string should match",
    ),
    "answer_start is a text": (
        (*QUESTION, "answers", 0, "answer_start"),
        "12",
        IN_PARAGRAPH,
        "'answers.0.answer_start': input should be a valid integer",
    ),
    "answer_start is a fraction": (
        (*QUESTION, "answers", 0, "answer_start"),
        12.5,
        IN_PARAGRAPH,
        "'answers.0.answer_start': input should be a valid integer",
    ),
    "answer behind the last sentence": (
        (*QUESTION, "answers", 0, "answer_start"),
        22,
        f"{IN_PARAGRAPH}, question 'q4'",
        "answer_start 22 lies outside every sentence",
    ),
    "negative answer_start": (
        (*QUESTION, "answers", 0, "answer_start"),
        -1,
        f"{IN_PARAGRAPH}, question 'q4'",
        "answer_start -1 lies outside every sentence",
    ),
    "question id twice in a file": (
        (*QUESTION, "id"),
        "q1",
        IN_PARAGRAPH,
        "question id 'q1' occurs twice",
    ),
    "paragraph is a number": (PARAGRAPH, 3, IN_PARAGRAPH, "should be an object"),
    "paragraph is null": (PARAGRAPH, None, IN_PARAGRAPH, "should be an object"),
    "paragraph is a text": (
        PARAGRAPH,
        "sentence_breaks sentences",
        IN_PARAGRAPH,
        "should be an object",
    ),
    "sentences is null": ((*PARAGRAPH, "sentences"), None, IN_PARAGRAPH, "sentences"),
    "sentences is a number": ((*PARAGRAPH, "sentences"), 2, IN_PARAGRAPH, "sentences"),
    "sentences is a text": ((*PARAGRAPH, "sentences"), "ab", IN_PARAGRAPH, "sentences"),
    "endless break": (
        (*PARAGRAPH, "sentence_breaks", 1),
        [12, float("inf")],
        IN_PARAGRAPH,
        "sentence",
    ),
    "no context": ((*PARAGRAPH, "context"), MISSING, IN_PARAGRAPH, "no 'context'"),
    "article by its number": ((*ARTICLE, "paragraphs"), MISSING, ": article 1", "'paragraphs'"),
    "break of fractions": (
        (*PARAGRAPH, "sentence_breaks", 0),
        [0.7, 11.2],
        IN_PARAGRAPH,
        "integer",
    ),
    "overlapping breaks": (
        (*PARAGRAPH, "sentence_breaks", 1),
        [5, 20],
        IN_PARAGRAPH,
        "before the end",
    ),
    "answer_start is true": (
        (*QUESTION, "answers", 0, "answer_start"),
        True,
        IN_PARAGRAPH,
        "integer",
    ),
}


@pytest.mark.parametrize(
    ("where", "value", "place", "problem"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS.keys()
)
def test_bad_document_is_one_line_that_names_file_place_and_problem(
    tmp_path: Path, where: tuple[str | int, ...], value: Any, place: str, problem: str
) -> None:
    message, path = error_of(tmp_path, changed(where, value))
    assert message.startswith(f"{path}{place}")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "language"),
    [(document(), "xx"), (document([paragraph(SENTENCES)]), "yy")],
    ids=["no article", "no question"],
)
def test_a_language_without_questions_is_an_error(
    tmp_path: Path, content: Any, language: str
) -> None:
    path = write(tmp_path, language, content)
    with pytest.raises(DataError, match=f"language '{language}' would be empty") as caught:
        load_lareqa("bees", {language: path})
    assert str(caught.value).startswith(f"{path}: ")


def test_missing_file_is_named_with_the_mend(tmp_path: Path) -> None:
    present, absent = write(tmp_path, "en", good()), tmp_path / "de.json"
    with pytest.raises(DataError) as caught:
        load_lareqa("bees", {"en": present, "de": absent})
    assert str(caught.value).startswith(f"{absent}: no such file;")
    assert "--data-dir" in str(caught.value)


def test_a_folder_in_place_of_a_file_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "en.json").mkdir()
    with pytest.raises(DataError, match=r"en\.json: cannot be read"):
        load_lareqa("bees", {"en": tmp_path / "en.json"})


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_truncated_json_is_a_data_error_at_any_length(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path, "en", good())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else 1])
    with pytest.raises(DataError, match="truncated or not JSON") as caught:
        load_lareqa("bees", {"en": path})
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_are_a_data_error(tmp_path: Path) -> None:
    path = write(tmp_path, "en", good())
    path.write_bytes(path.read_bytes().replace(b"Bees", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(DataError, match="truncated or not JSON"):
        load_lareqa("bees", {"en": path})


def test_white_space_in_a_question_id_is_refused(tmp_path: Path) -> None:
    content = document([paragraph(SENTENCES, ("q 1", 0))])
    with pytest.raises(DataError, match="query id 'en:q 1' holds white space"):
        load(tmp_path, en=content)


# --- the collection ---------------------------------------------------------------------------


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
