"""Form ``miracl``: MIRACL's training topics and judgements, monolingual in each language.

The published layout, below ``path``: ``miracl-v1.0-<language>/topics/…-train.tsv``,
``miracl-v1.0-<language>/qrels/…-train.tsv``, ``miracl-corpus-v1.0-<language>/docs-*.jsonl.gz``.
Equal topic numbers of two languages are different questions. Only the training part is read: the
development part is what others evaluate on.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

import numpy as np
from pydantic import Field

from bias_bench.datasets.sources.build import (
    Links,
    LoadedSource,
    TextTable,
    TopicName,
    make_pairs,
)
from bias_bench.datasets.sources.place import Place
from bias_bench.datasets.sources.readers import read_json_lines, read_table
from bias_bench.datasets.sources.source import Options, Source
from bias_bench.errors import DataError

_TOPICS = re.compile(r"(?:^|/)miracl-v1\.0-([a-z]+)/topics/topics\.miracl-v1\.0-\1-train\.tsv$")


class MiraclOptions(Options):
    """`max_negatives`: at most so many for a pair; `title`: passages begin with their title.

    `corpus_hub` and `corpus_revision` say where the passages are when they are in another
    repository of the hub than topics and judgements.
    """

    max_negatives: int | None = Field(default=None, ge=0)
    title: bool = True
    corpus_hub: str | None = None
    corpus_revision: str | None = None


class Passage(NamedTuple):
    """A judged passage."""

    title: str
    text: str


class Judgements(NamedTuple):
    """Passages that answer each topic (grade 1 or more), and those that do not (grade 0)."""

    positives: dict[str, list[str]]
    negatives: dict[str, list[str]]
    line: dict[str, int]


def load_miracl(source: Source) -> LoadedSource:
    """Every topic with each passage judged relevant; those judged not relevant are its negatives.

    The corpus is streamed, and only judged passages stay in memory.
    """
    source.takes("path")
    options = source.options(MiraclOptions)
    root = posixpath.normpath(source.spec.path)
    matches = (_TOPICS.search(name) for name in source.place.names(root))
    known = {match[1] for match in matches if match}
    languages = source.keep_languages(options.languages, known)
    if not languages:
        raise DataError(
            f"{source.spec.path}: no miracl-v1.0-<language>/topics/ with a train.tsv "
            f"({source.where}); check path"
        )
    queries, candidates = TextTable(), TextTable()
    topics: list[TopicName] = []
    links: list[tuple[int, int, int]] = []
    negatives: dict[int, tuple[str, ...]] = {}
    for language in languages:
        questions, judged, passages = _read_language(source, options, root, language)
        for topic, positives in judged.positives.items():
            not_relevant = judged.negatives.get(topic, [])[: options.max_negatives]
            texts = tuple(_text(passages[passage], options) for passage in not_relevant)
            query = queries.row(language, questions[topic])
            for passage in positives:
                if texts:
                    negatives[len(links)] = texts
                text = _text(passages[passage], options)
                links.append((len(topics), query, candidates.row(language, text)))
            topics.append(TopicName(f"{language}:{topic}", passages[positives[0]].title))
    rows = np.array(links, dtype=np.int32).reshape(-1, 3)
    return LoadedSource(
        make_pairs(source.name, queries, candidates, topics, Links(*rows.T)), negatives
    )


def _text(passage: Passage, options: MiraclOptions) -> str:
    return f"{passage.title} {passage.text}".strip() if options.title else passage.text


def _read_language(
    source: Source, options: MiraclOptions, root: str, language: str
) -> tuple[dict[str, str], Judgements, dict[str, Passage]]:
    folder = posixpath.normpath(posixpath.join(root, f"miracl-v1.0-{language}"))
    stem = f"miracl-v1.0-{language}-train.tsv"
    topics_path = source.place.file(f"{folder}/topics/topics.{stem}")
    questions: dict[str, str] = {}
    for number, (topic, text) in read_table(topics_path, 2):
        if not topic.strip() or not text.strip():
            raise DataError(f"{topics_path}: line {number}: empty id or question")
        questions[topic] = text
    qrels_path = source.place.file(f"{folder}/qrels/qrels.{stem}")
    positives: dict[str, list[str]] = {}
    negatives: dict[str, list[str]] = {}
    line: dict[str, int] = {}
    for number, (topic, _, passage, grade) in read_table(qrels_path, 4):
        if topic not in questions:
            raise DataError(f"{qrels_path}: line {number}: topic '{topic}' is not in {topics_path}")
        if not grade.strip().isdecimal():
            raise DataError(f"{qrels_path}: line {number}: grade '{grade}' is no whole number")
        side = positives if int(grade) > 0 else negatives
        side.setdefault(topic, []).append(passage)
        line.setdefault(passage, number)
    judged = Judgements(positives, negatives, line)
    place = source.place
    if options.corpus_hub:
        place = place.at(options.corpus_hub, options.corpus_revision)
        root = "."
    corpus = posixpath.normpath(posixpath.join(root, f"miracl-corpus-v1.0-{language}"))
    passages = _read_passages(place, corpus, judged)
    if len(passages) < len(line):
        lost = min(line.keys() - passages.keys(), key=line.__getitem__)
        raise DataError(
            f"{qrels_path}: line {line[lost]}: passage '{lost}' is in no file of {corpus}; fetch "
            "all its parts"
        )
    return questions, judged, passages


def _read_passages(place: Place, corpus: str, judged: Judgements) -> dict[str, Passage]:
    """The judged passages by id; reading ends with the last of them."""
    parts = [name for name in place.names(corpus) if re.search(r"/docs-\d+\.jsonl(\.gz)?$", name)]
    if not parts:
        raise DataError(f"{corpus}: holds no docs-*.jsonl.gz (training source '{place.source}')")
    passages: dict[str, Passage] = {}
    for name in parts:
        if len(passages) == len(judged.line):
            break
        for where, fields in read_json_lines(place.file(name)):
            identifier, text = fields.get("docid"), fields.get("text")
            if not isinstance(identifier, str) or not isinstance(text, str):
                raise DataError(f"{where}: no 'docid' and 'text'; expected MIRACL's form")
            if identifier in judged.line and not text.strip():
                raise DataError(f"{where}: passage '{identifier}' has an empty text")
            if identifier in judged.line:
                passages[identifier] = Passage(str(fields.get("title") or ""), text)
    return passages
