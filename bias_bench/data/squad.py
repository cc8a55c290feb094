"""The SQuAD file form (v1.1, and v2.0 without its unanswerable questions), with LAReQA's sentences.

A benchmark has one file per language with ``sentence_breaks``. Relevance (Roy et al. 2020,
arXiv:2004.05484): the candidate whose sentence break holds ``answer_start``; the answer's text must
stand there. Training sources may be without sentences; a candidate then is a whole paragraph.
Topics are parallel through equal question ids.
"""

from __future__ import annotations

import unicodedata
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.ids import candidate_id, query_id
from bias_bench.data.languages import base_language
from bias_bench.data.readers import RAISED, Faults
from bias_bench.errors import DataError
from bias_bench.system.console import say

_BEGIN = 20  # characters of a sentence; XQuAD-R has some that differ from the context further on


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Answer(_Form):
    """An answer's text, and where in the context it begins, in characters."""

    answer_start: int
    text: str = ""


class Question(_Form):
    """A question; one that is marked as impossible, or has no answer, is not answerable."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    answers: list[Answer]
    is_impossible: bool = False

    @property
    def answerable(self) -> bool:
        return bool(self.answers) and not self.is_impossible


class Paragraph(_Form):
    """A context with its questions, and LAReQA's sentences as text and as breaks [start, end)."""

    context: str
    qas: list[Question]
    sentences: list[str] | None = None
    sentence_breaks: list[tuple[int, int]] | None = None

    @property
    def answerable(self) -> list[Question]:
        """The questions that the context answers."""
        return [question for question in self.qas if question.answerable]


class Article(_Form):
    """Paragraphs under a title."""

    title: str | None = None
    paragraphs: list[Paragraph]


class SquadFile(_Form):
    """A whole file."""

    data: list[Article]


def read_squad(path: Path) -> SquadFile:
    """Read a file; a DataError names the file, the place in it and what is wrong there.

    Says how many questions are unanswerable, which nobody can retrieve an answer to.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check --data-dir or fetch the data") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        file = SquadFile.model_validate_json(content.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise DataError(_explain(path, error.errors(include_url=False)[0])) from None
    paragraphs = [paragraph for article in file.data for paragraph in article.paragraphs]
    lost = sum(len(paragraph.qas) - len(paragraph.answerable) for paragraph in paragraphs)
    if lost:
        say(f"{path}: {lost:,} question{'s' * (lost > 1)} without an answer left out")
    return file


def _explain(path: Path, problem: Any) -> str:
    """One line for the first thing that is wrong."""
    if problem["type"] == "json_invalid":
        return f"{path}: truncated or not JSON ({problem['ctx']['error']}); fetch it again"
    keys = {"data": "article", "paragraphs": "paragraph", "qas": "question"}
    place, rest = [], list(problem["loc"])
    while len(rest) >= 2 and rest[0] in keys and isinstance(rest[1], int):
        place.append(f"{keys[rest[0]]} {rest[1]}")
        rest = rest[2:]
    field = ".".join(map(str, rest))
    where = f"{path}: {', '.join(place)}" if place else str(path)
    if problem["type"] == "missing":
        return f"{where}: no '{field}'; expected the SQuAD v1.1 form"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{where}: {f'{field!r}: ' if field else ''}{message}; expected the SQuAD v1.1 form"


class Gold(NamedTuple):
    """Where one question of one language is answered; the clusters are those of its candidate."""

    topic: str
    candidate: str
    article: int
    paragraph: int
    title: str


class LanguageFile(NamedTuple):
    """One language's queries, candidates and answers, in file order."""

    queries: list[Query]
    candidates: list[Candidate]
    answers: list[Gold]


def load_lareqa(name: str, files: Mapping[str, Path], faults: Faults = RAISED) -> Collection:
    """Read one file per language into a Collection; raises DataError naming the place.

    Where `faults` are collected, what has none is read, question by question.
    """
    parts: dict[str, LanguageFile] = {}
    for language, path in files.items():
        with faults:
            parts[language] = read_answers(path, language, faults=faults)
    return Collection(
        name=name,
        languages=tuple(parts),
        topics=tuple(read_topics(parts).values()),
        queries=tuple(query for part in parts.values() for query in part.queries),
        candidates=tuple(item for part in parts.values() for item in part.candidates),
        relevance=tuple(
            (answer.topic, answer.candidate) for part in parts.values() for answer in part.answers
        ),
    )


def read_topics(parts: Mapping[str, LanguageFile]) -> dict[str, Topic]:
    """Topics in order of first sight, clustered as in English (else the first language with it)."""
    topics: dict[str, Topic] = {}
    for language in sorted(parts, key=lambda language: base_language(language) != "en"):
        for answer in parts[language].answers:
            article = f"{language}:{answer.article}"
            paragraph = f"{article}-{answer.paragraph}"
            topics.setdefault(answer.topic, Topic(answer.topic, paragraph, article, answer.title))
    return topics


def read_answers(
    path: Path, language: str, whole: bool = False, faults: Faults = RAISED
) -> LanguageFile:
    """Read and check one language's file.

    With `whole`, the candidates of a file that has no sentences at all are its paragraphs, and
    where in them an answer stands is not looked at.
    """
    articles = read_squad(path).data
    paragraphs = [
        (number, row, paragraph)
        for number, article in enumerate(articles)
        for row, paragraph in enumerate(article.paragraphs)
    ]
    cut = any(paragraph.sentence_breaks is not None for *_, paragraph in paragraphs)
    answered = LanguageFile([], [], [])
    seen: set[str] = set()
    for number, row, paragraph in paragraphs:
        with faults:
            where = f"{path}: article {number}, paragraph {row}"
            if whole and cut and paragraph.sentence_breaks is None:
                raise DataError(
                    f"{where}: no 'sentence_breaks', which other paragraphs have; give all "
                    "paragraphs theirs or none"
                )
            if whole and not cut:
                sentences, breaks = [paragraph.context], None
                if paragraph.answerable and not paragraph.context.strip():
                    raise DataError(f"{where}: empty context")
            else:
                sentences, breaks = _sentences(paragraph, where)
            answered.candidates.extend(
                Candidate(candidate_id(language, number, row, index), text, paragraph.context)
                for index, text in enumerate(sentences)
            )
            for question in paragraph.answerable:
                with faults:
                    topic, answer = question.id, question.answers[0]
                    if topic in seen:
                        raise DataError(f"{where}: question id '{topic}' occurs twice")
                    seen.add(topic)
                    sentence = 0
                    if breaks is not None:
                        place = f"{where}, question '{topic}'"
                        _require_text(paragraph.context, answer, place)
                        sentence = _holding_sentence(breaks, answer.answer_start, place)
                    answered.queries.append(Query(query_id(language, topic), question.question))
                    candidate = candidate_id(language, number, row, sentence)
                    title = articles[number].title or ""
                    answered.answers.append(Gold(topic, candidate, number, row, title))
    if not answered.queries:
        raise DataError(f"{path}: no question in this file; language '{language}' would be empty")
    return answered


def _sentences(paragraph: Paragraph, where: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Sentence texts and breaks [start, end) of one paragraph, checked."""
    sentences, breaks = paragraph.sentences, paragraph.sentence_breaks
    if sentences is None or breaks is None:
        raise DataError(
            f"{where}: no 'sentence_breaks' and 'sentences'; plain SQuAD files cannot be a pool"
        )
    if len(breaks) != len(sentences):
        raise DataError(f"{where}: {len(breaks)} sentence breaks for {len(sentences)} sentences")
    end = 0
    for number, (text, (first, last)) in enumerate(zip(sentences, breaks, strict=True)):
        if not text.strip():
            raise DataError(f"{where}: empty sentence")
        if not end <= first < last <= len(paragraph.context):
            raise DataError(
                f"{where}: sentence break [{first}, {last}] is empty, outside the context, or "
                "before the end of the one before it"
            )
        rest, begin = paragraph.context[first:], text[:_BEGIN]
        if begin not in rest and _plain(begin) not in _plain(rest):
            raise DataError(
                f"{where}: sentence {number}, '{_shown(text)}', is not in the context from its "
                f"break at {first} on"
                f"{_other_units(paragraph.context, begin, first) or '; are both in one order?'}"
            )
        end = last
    return sentences, breaks


def _holding_sentence(breaks: Sequence[tuple[int, int]], start: int, where: str) -> int:
    for index, (first, end) in enumerate(breaks):
        if first <= start < end:
            return index
    raise DataError(f"{where}: answer_start {start} lies outside every sentence")


def _require_text(context: str, answer: Answer, where: str) -> None:
    """DataError where another text than the answer's stands at its offset (but for white space)."""
    start, text = answer.answer_start, answer.text
    rest = context[max(start, 0) :]
    if not text or (
        start >= 0 and (rest.startswith(text) or _plain(rest).startswith(_plain(text)))
    ):
        return
    raise DataError(
        f"{where}: the answer '{_shown(text)}' does not stand at answer_start {start}, where the "
        f"context has '{_shown(rest[: len(text)])}'"
        f"{_other_units(context, text, start) or '; correct the offset'}"
    )


def _plain(text: str) -> str:
    """A text in one form of Unicode (NFC), with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _other_units(context: str, text: str, start: int) -> str:
    """The end of a message where the offset fits `text` if other units than characters are counted.

    JavaScript and Java count UTF-16 code units, other tools bytes.
    """
    for encoding, width, name in (("utf-16-le", 2, "UTF-16 code units"), ("utf-8", 1, "bytes")):
        if context.encode(encoding).startswith(text.encode(encoding), width * start):
            return f"; are the offsets counted in {name}? Count characters (Unicode code points)"
    return ""


def _shown(text: str) -> str:
    """A text for a message: one line, cut short."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}…"
