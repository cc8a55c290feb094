"""LAReQA's file form: one SQuAD v1.1 file per language with ``sentence_breaks``.

Relevance (Roy et al. 2020, arXiv:2004.05484): the candidate whose sentence break holds
``answer_start``; the answer's text must stand there. Topics are parallel through equal question
ids.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.ids import candidate_id, query_id
from bias_bench.datasets.squad import Answer, Paragraph, read_squad
from bias_bench.errors import DataError
from bias_bench.languages import base_language

_BEGIN = 20  # characters of a sentence; XQuAD-R has some that differ from the context further on


class Gold(NamedTuple):
    """Where one question of one language is answered."""

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


def load_lareqa(name: str, files: Mapping[str, Path]) -> Collection:
    """Read one file per language into a Collection; raises DataError naming the place."""
    parts = {language: read_language(path, language) for language, path in files.items()}
    return Collection(
        name=name,
        languages=tuple(files),
        topics=_topics(parts),
        queries=tuple(query for part in parts.values() for query in part.queries),
        candidates=tuple(item for part in parts.values() for item in part.candidates),
        relevance=tuple(
            (answer.topic, answer.candidate) for part in parts.values() for answer in part.answers
        ),
    )


def _topics(parts: Mapping[str, LanguageFile]) -> tuple[Topic, ...]:
    """Topics in order of first sight, clustered as in English (else the first language with it)."""
    order = sorted(parts, key=lambda language: base_language(language) != "en")
    topics: dict[str, Topic] = {}
    for language in order:
        for answer in parts[language].answers:
            article = f"{language}:{answer.article}"
            paragraph = f"{article}-{answer.paragraph}"
            topics.setdefault(answer.topic, Topic(answer.topic, paragraph, article, answer.title))
    return tuple(topics.values())


def read_language(path: Path, language: str) -> LanguageFile:
    """Read and check one language's file."""
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[Gold] = []
    seen: set[str] = set()
    for article_row, article in enumerate(read_squad(path).data):
        for row, paragraph in enumerate(article.paragraphs):
            where = f"{path}: article {article_row}, paragraph {row}"
            sentences, breaks = _sentences(paragraph, where)
            candidates += [
                Candidate(candidate_id(language, article_row, row, index), text, paragraph.context)
                for index, text in enumerate(sentences)
            ]
            for question in paragraph.answerable:
                topic = question.id
                if topic in seen:
                    raise DataError(f"{where}: question id '{topic}' occurs twice")
                seen.add(topic)
                answer, place = question.answers[0], f"{where}, question '{topic}'"
                _require_text(paragraph.context, answer, place)
                sentence = _holding_sentence(breaks, answer.answer_start, place)
                queries.append(Query(query_id(language, topic), question.question))
                candidate = candidate_id(language, article_row, row, sentence)
                answers.append(Gold(topic, candidate, article_row, row, article.title or ""))
    if not queries:
        raise DataError(f"{path}: no question in this file; language '{language}' would be empty")
    return LanguageFile(queries, candidates, answers)


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
