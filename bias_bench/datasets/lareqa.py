"""LAReQA's file form: one SQuAD v1.1 file per language with ``sentence_breaks``.

Relevance (Roy et al. 2020, arXiv:2004.05484): the candidate whose sentence break holds
``answer_start``. Topics are parallel through equal question ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.ids import candidate_id, query_id
from bias_bench.errors import DataError


class Answer(NamedTuple):
    """Where one question of one language is answered."""

    topic: str
    candidate: str
    article: int
    paragraph: int


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
            topics.setdefault(answer.topic, Topic(answer.topic, paragraph, article))
    return tuple(topics.values())


def read_language(path: Path, language: str) -> LanguageFile:
    """Read and check one language's file."""
    queries: list[Query] = []
    candidates: list[Candidate] = []
    answers: list[Answer] = []
    seen: set[str] = set()
    for article_row, article in enumerate(_items(_parse(path), "data", str(path))):
        for row, paragraph in enumerate(_items(article, "paragraphs", f"{path}: article")):
            where = f"{path}: article {article_row}, paragraph {row}"
            context, sentences, breaks = _sentences(paragraph, where)
            candidates += [
                Candidate(candidate_id(language, article_row, row, index), text, context)
                for index, text in enumerate(sentences)
            ]
            for question in _items(paragraph, "qas", where):
                topic, text, start = _question(question, where)
                if topic in seen:
                    raise DataError(f"{where}: question id '{topic}' occurs twice")
                seen.add(topic)
                sentence = _holding_sentence(breaks, start, f"{where}, question '{topic}'")
                queries.append(Query(query_id(language, topic), text))
                candidate = candidate_id(language, article_row, row, sentence)
                answers.append(Answer(topic, candidate, article_row, row))
    if not queries:
        raise DataError(f"{path}: no question in this file; language '{language}' would be empty")
    return LanguageFile(queries, candidates, answers)


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check --data-dir or fetch the data") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: truncated or not JSON ({error}); fetch it again") from None


def _items(holder: Any, key: str, where: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, list):
        raise DataError(f"{where}: no list '{key}'; expected the SQuAD v1.1 form")
    return value


def _sentences(paragraph: Any, where: str) -> tuple[str, list[str], list[tuple[int, int]]]:
    """Context, sentence texts and breaks [start, end) of one paragraph, checked."""
    if "sentence_breaks" not in paragraph or "sentences" not in paragraph:
        raise DataError(
            f"{where}: no 'sentence_breaks' and 'sentences'; plain SQuAD files cannot be a pool"
        )
    context, sentences = paragraph.get("context"), paragraph["sentences"]
    try:
        breaks = [(int(start), int(end)) for start, end in paragraph["sentence_breaks"]]
    except (TypeError, ValueError):
        raise DataError(f"{where}: 'sentence_breaks' must hold pairs [start, end]") from None
    if not isinstance(context, str) or len(breaks) != len(sentences):
        raise DataError(f"{where}: {len(breaks)} sentence breaks for {len(sentences)} sentences")
    for text, (start, end) in zip(sentences, breaks, strict=True):
        if not isinstance(text, str) or not text.strip() or not 0 <= start < end <= len(context):
            raise DataError(f"{where}: empty sentence or sentence break outside the context")
    return context, sentences, breaks


def _question(question: Any, where: str) -> tuple[str, str, int]:
    """Id, text and answer start of one question."""
    try:
        topic, text = question["id"], question["question"]
        start = question["answers"][0]["answer_start"]
    except (KeyError, IndexError, TypeError):
        raise DataError(f"{where}: a question lacks id, text or answer_start") from None
    valid = isinstance(topic, str) and isinstance(text, str) and isinstance(start, int)
    if not valid or not topic or not text.strip():
        raise DataError(f"{where}: a question has an empty id or text, or no whole answer_start")
    return topic, text, start


def _holding_sentence(breaks: Sequence[tuple[int, int]], start: int, where: str) -> int:
    for index, (first, end) in enumerate(breaks):
        if first <= start < end:
            return index
    raise DataError(f"{where}: answer_start {start} lies outside every sentence")
