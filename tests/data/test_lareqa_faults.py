"""Faults in files of LAReQA's form are one line that names the place."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bias_bench.data.squad import load_lareqa
from bias_bench.errors import DataError
from tests.support.lareqa_files import SENTENCES, document, error_of, good, load, paragraph, write

MISSING = object()


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
