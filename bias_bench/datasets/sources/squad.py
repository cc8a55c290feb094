"""Form ``squad``: SQuAD files, one per language, parallel through equal question ids.

With LAReQA's ``sentence_breaks`` the candidate is the sentence that holds ``answer_start``;
without them it is the whole paragraph.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.lareqa import read_language
from bias_bench.datasets.sources.build import (
    LoadedSource,
    TextTable,
    TopicName,
    crossed,
    make_pairs,
)
from bias_bench.datasets.sources.source import Options, Source
from bias_bench.datasets.squad import SquadFile, read_squad
from bias_bench.errors import DataError


class Answered(NamedTuple):
    """A question with the text that answers it and the title of its article."""

    topic: str
    question: str
    candidate: str
    title: str


def load_squad(source: Source) -> LoadedSource:
    """Every question with its answer in every language that has it: L² pairs for L languages."""
    source.takes("files")
    files = source.spec.files
    languages = source.keep_languages(source.options(Options).languages, files)
    parts = [read_answers(source.place.file(files[language]), language) for language in languages]
    # titles as in English where English has the topic, as the benchmarks have them
    by_title = sorted(range(len(languages)), key=lambda index: languages[index] != "en")
    topics: dict[str, TopicName] = {}
    for index in by_title:
        for answer in parts[index]:
            topics.setdefault(answer.topic, TopicName(answer.topic, answer.title))
    row = {topic: number for number, topic in enumerate(topics)}
    queries, candidates = TextTable(), TextTable()
    query_rows = np.full((len(topics), len(languages)), -1, dtype=np.int32)
    candidate_rows = query_rows.copy()
    for column, (language, part) in enumerate(zip(languages, parts, strict=True)):
        for answer in part:
            place = row[answer.topic], column
            query_rows[place] = queries.row(language, answer.question)
            candidate_rows[place] = candidates.row(language, answer.candidate)
    links = crossed(query_rows, candidate_rows)
    return LoadedSource(
        make_pairs(source.name, queries, candidates, tuple(topics.values()), links), None
    )


def read_answers(path: Path, language: str) -> list[Answered]:
    """One language's questions in file order; DataError names the place of a fault."""
    file = read_squad(path)
    broken = [
        (article_row, row, paragraph.sentence_breaks is not None)
        for article_row, article in enumerate(file.data)
        for row, paragraph in enumerate(article.paragraphs)
    ]
    if not any(has_breaks for _, _, has_breaks in broken):
        return _read_paragraphs(path, file)
    for article_row, row, has_breaks in broken:
        if not has_breaks:
            raise DataError(
                f"{path}: article {article_row}, paragraph {row}: no 'sentence_breaks', which "
                "other paragraphs have; give all paragraphs theirs or none"
            )
    part = read_language(path, language)
    sentences = {candidate.id: candidate.text for candidate in part.candidates}
    return [
        Answered(answer.topic, query.text, sentences[answer.candidate], answer.title)
        for query, answer in zip(part.queries, part.answers, strict=True)
    ]


def _read_paragraphs(path: Path, file: SquadFile) -> list[Answered]:
    """The same for a file without sentences; where in the paragraph an answer stands is unused."""
    answers: dict[str, Answered] = {}
    for article_row, article in enumerate(file.data):
        for row, paragraph in enumerate(article.paragraphs):
            where = f"{path}: article {article_row}, paragraph {row}"
            if paragraph.answerable and not paragraph.context.strip():
                raise DataError(f"{where}: empty context")
            for question in paragraph.answerable:
                if question.id in answers:
                    raise DataError(f"{where}: question id '{question.id}' occurs twice")
                answers[question.id] = Answered(
                    question.id, question.question, paragraph.context, article.title or ""
                )
    if not answers:
        raise DataError(f"{path}: no question in this file; nothing to train on")
    return list(answers.values())
