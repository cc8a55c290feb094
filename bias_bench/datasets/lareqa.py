"""LAReQA's file form: one SQuAD v1.1 file per language with ``sentence_breaks``.

Relevance (Roy et al. 2020, arXiv:2004.05484): the candidate whose sentence break holds
``answer_start``. Topics are parallel through equal question ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.ids import candidate_id, query_id
from bias_bench.datasets.squad import Paragraph, read_squad
from bias_bench.errors import DataError


class Answer(NamedTuple):
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
    answers: list[Answer]


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
    order = sorted(parts, key=lambda language: language != "en")
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
    answers: list[Answer] = []
    seen: set[str] = set()
    for article_row, article in enumerate(read_squad(path).data):
        for row, paragraph in enumerate(article.paragraphs):
            where = f"{path}: article {article_row}, paragraph {row}"
            sentences, breaks = _sentences(paragraph, where)
            candidates += [
                Candidate(candidate_id(language, article_row, row, index), text, paragraph.context)
                for index, text in enumerate(sentences)
            ]
            for question in paragraph.qas:
                topic = question.id
                if topic in seen:
                    raise DataError(f"{where}: question id '{topic}' occurs twice")
                seen.add(topic)
                start = question.answers[0].answer_start
                sentence = _holding_sentence(breaks, start, f"{where}, question '{topic}'")
                queries.append(Query(query_id(language, topic), question.question))
                candidate = candidate_id(language, article_row, row, sentence)
                answers.append(Answer(topic, candidate, article_row, row, article.title))
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
    for text, (first, last) in zip(sentences, breaks, strict=True):
        if not text.strip():
            raise DataError(f"{where}: empty sentence")
        if not end <= first < last <= len(paragraph.context):
            raise DataError(
                f"{where}: sentence break [{first}, {last}] is empty, outside the context, or "
                "before the end of the one before it"
            )
        end = last
    return sentences, breaks


def _holding_sentence(breaks: Sequence[tuple[int, int]], start: int, where: str) -> int:
    for index, (first, end) in enumerate(breaks):
        if first <= start < end:
            return index
    raise DataError(f"{where}: answer_start {start} lies outside every sentence")
