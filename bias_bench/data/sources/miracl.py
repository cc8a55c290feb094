"""Form ``miracl``: MIRACL's training topics and judgements, monolingual in each language.

The published layout, below ``path``: ``miracl-v1.0-<language>/topics/…-train.tsv``,
``miracl-v1.0-<language>/qrels/…-train.tsv``, ``miracl-corpus-v1.0-<language>/docs-*.jsonl.gz``.
Equal topic numbers of two languages are different questions. Only the training part is read: the
development part is what others evaluate on.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from pydantic import Field

from bias_bench.data.miracl_files import (
    Judgements,
    Passage,
    read_judgements,
    read_passages,
    read_topics,
    shard_number,
)
from bias_bench.data.pairs import Links
from bias_bench.data.sources.build import (
    LoadedSource,
    TextTable,
    make_pairs,
)
from bias_bench.data.sources.source import Options, Place, Source
from bias_bench.errors import DataError

_TOPICS = re.compile(r"(?:^|/)miracl-v1\.0-([a-z]+)/topics/topics\.miracl-v1\.0-\1-train\.tsv$")


class MiraclOptions(Options):
    """`max_negatives`: at most this many for a pair; `title`: passages begin with their title.

    `corpus_hub` and `corpus_revision` say where the passages are when they are in another
    repository of the hub than topics and judgements.
    """

    max_negatives: int | None = Field(default=None, ge=0)
    title: bool = True
    corpus_hub: str | None = None
    corpus_revision: str | None = None


def load_miracl(source: Source) -> LoadedSource:
    """Every topic with each passage judged relevant; those judged not relevant are its negatives.

    The corpus is streamed, and only judged passages stay in memory.
    """
    options = source.options(MiraclOptions)
    queries, candidates = TextTable(), TextTable()
    titles: dict[str, str] = {}
    links: list[tuple[int, int, int]] = []
    negatives: dict[int, tuple[str, ...]] = {}
    for files in _files(source):
        language = files.language
        questions, judged, passages = _read_language(source, files)
        for topic in judged.grades:
            positives = judged.relevant(topic)
            if not positives:
                continue
            not_relevant = judged.not_relevant(topic)[: options.max_negatives]
            texts = tuple(_text(passages[passage], options) for passage in not_relevant)
            query = queries.row(language, questions[topic])
            for passage in positives:
                if texts:
                    negatives[len(links)] = texts
                text = _text(passages[passage], options)
                links.append((len(titles), query, candidates.row(language, text)))
            titles[f"{language}:{topic}"] = passages[positives[0]].title
    rows = np.array(links, dtype=np.int32).reshape(-1, 3)
    return LoadedSource(
        make_pairs(source.name, queries, candidates, titles, Links(*rows.T)), negatives
    )


def _text(passage: Passage, options: MiraclOptions) -> str:
    return passage.with_title() if options.title else passage.text


class _Files(NamedTuple):
    """Names of one language's files; those of the corpus have their own place."""

    language: str
    topics: str
    judgements: str
    place: Place
    corpus: str
    shards: list[str]


def miracl_files(source: Source) -> list[tuple[Place, str]]:
    """Topics, judgements and all shards of the corpora."""
    return [
        named
        for files in _files(source)
        for named in (
            (source.place, files.topics),
            (source.place, files.judgements),
            *((files.place, name) for name in files.shards),
        )
    ]


def _files(source: Source) -> Iterator[_Files]:
    """The files of each language to read."""
    source.takes("path")
    options = source.options(MiraclOptions)
    root = below = posixpath.normpath(source.spec.path)
    matches = map(_TOPICS.search, source.place.names(root))
    languages = source.keep_languages(options.languages, {match[1] for match in matches if match})
    if not languages:
        raise DataError(
            f"{source.spec.path}: no miracl-v1.0-<language>/topics/ with a train.tsv "
            f"({source.where}); check path"
        )
    place = source.place
    if options.corpus_hub:
        place, below = place.at(options.corpus_hub, options.corpus_revision), "."
    for language in languages:
        folder = posixpath.normpath(posixpath.join(root, f"miracl-v1.0-{language}"))
        stem = f"miracl-v1.0-{language}-train.tsv"
        corpus = posixpath.normpath(posixpath.join(below, f"miracl-corpus-v1.0-{language}"))
        shards = [name for name in place.names(corpus) if shard_number(name) is not None]
        if not shards:
            raise DataError(f"{corpus}: holds no docs-*.jsonl.gz ({source.where})")
        topics, judgements = f"{folder}/topics/topics.{stem}", f"{folder}/qrels/qrels.{stem}"
        yield _Files(language, topics, judgements, place, corpus, shards)


def _read_language(
    source: Source, files: _Files
) -> tuple[dict[str, str], Judgements, dict[str, Passage]]:
    topics_path = source.place.file(files.topics)
    questions = read_topics(topics_path)
    qrels_path = source.place.file(files.judgements)
    judged = read_judgements(qrels_path, questions, topics_path)
    shards = map(files.place.file, files.shards)
    passages = judged.passages(chain.from_iterable(map(read_passages, shards)))
    for passage in passages.values():
        if not passage.text.strip():
            raise DataError(f"{passage.where}: passage '{passage.id}' has an empty text")
    judged.require(passages, qrels_path, files.corpus, "fetch all its parts")
    return questions, judged, passages
