"""MIRACL (Zhang et al. 2023, TACL): monolingual retrieval of Wikipedia passages in 18 languages.

``miracl`` searches whole corpora, which are kept on disk, ``miracl-judged`` the judged passages
alone. Topics of two languages are different questions, even where their numbers are equal, so the
topic ``7`` of Swahili is ``sw:7`` here, and only pools of one language are searched: a passage of
another language may well answer it, but nobody judged that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.data.benchmark import Content, Reader, Size
from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.data.corpus import StoredCandidates, StoredCorpus
from bias_bench.data.corpus_store import StoredPassage, stored_corpus
from bias_bench.data.ids import query_id
from bias_bench.data.miracl_download import fetch_folder
from bias_bench.data.miracl_files import (
    ELSEWHERE,
    Judgements,
    Listed,
    Passage,
    annotated_files,
    check_folder,
    corpus_folder,
    expected_passages,
    expected_shards,
    languages_in,
    miracl_facts,
    read_generated,
    read_judgements,
    read_passages,
    read_topics,
    shard_number,
)
from bias_bench.errors import DataError
from bias_bench.system.console import progress
from bias_bench.system.files import digest, sha256_file

GENERATED_NOTE = "The data were generated, they are not MIRACL: the figures say nothing about it."
_FORM = 1  # of stored corpora; raise it when passages are read differently
_STEP = 1_000  # passages between two signs of life


class LanguagePart(NamedTuple):
    """One language's part of the benchmark; `titles` are those of judged passages that have one.

    Candidates are on disk, or a list in the order of the corpus.
    """

    questions: dict[str, str]
    judged: Judgements
    candidates: list[Candidate] | StoredCorpus
    titles: dict[str, str]


def miracl_sizes(judged_only: bool) -> dict[str, Size]:
    """What each language holds."""
    return {
        name: Size(
            queries=facts.queries, candidates=facts.judged if judged_only else facts.passages
        )
        for name, facts in miracl_facts().languages.items()
    }


def miracl_reader(judged_only: bool) -> Reader:
    """Of whole corpora, or of the judged passages alone."""
    return Reader(
        load=partial(_load, judged_only),
        check=check_folder,
        fetch=fetch_folder,
        note=lambda folder: GENERATED_NOTE if read_generated(folder) else None,
    )


def _load(judged_only: bool, name: str, folder: Path, languages: Sequence[str] | None) -> Content:
    """All languages wanted; the name of generated data says that they are."""
    sha256: dict[str, str] = {}
    parts = {
        language: _read_language(folder, language, judged_only, sha256)
        for language in languages_in(folder, languages)
    }
    if not parts:
        raise DataError(f"{folder}: holds none of {', '.join(languages or ())}; {ELSEWHERE}")
    if read_generated(folder):
        name += "-generated"
    return Content(_collection(name, parts), sha256)


def _collection(name: str, parts: dict[str, LanguagePart]) -> Collection:
    topics: list[Topic] = []
    queries: list[Query] = []
    relevance: list[tuple[str, str]] = []
    grades: list[int] = []
    not_relevant: list[tuple[str, str]] = []
    for language, part in parts.items():
        for number, question in part.questions.items():
            topic = f"{language}:{number}"
            queries.append(Query(query_id(language, topic), question))
            relevant = part.judged.relevant(number)
            topics.append(_topic(topic, language, relevant, part.titles))
            relevance += [(topic, f"{language}:{passage}") for passage in relevant]
            grades += [part.judged.grades[number][passage] for passage in relevant]
            not_relevant += [
                (topic, f"{language}:{passage}") for passage in part.judged.not_relevant(number)
            ]
    candidates = [part.candidates for part in parts.values()]
    stored = [corpus for corpus in candidates if isinstance(corpus, StoredCorpus)]
    return Collection(
        name=name,
        languages=tuple(parts),
        topics=tuple(topics),
        queries=tuple(queries),
        candidates=StoredCandidates(stored) if stored else tuple(chain.from_iterable(candidates)),
        relevance=tuple(relevance),
        grades=tuple(grades),
        not_relevant=tuple(not_relevant),
        parallel=False,
    )


def _topic(topic: str, language: str, relevant: Sequence[str], titles: dict[str, str]) -> Topic:
    """A topic belongs to the passage and the article of the first answer that was judged."""
    if not relevant:
        return Topic(topic, topic, topic)
    first = relevant[0]
    article = first.partition("#")[0]
    return Topic(topic, f"{language}:{first}", f"{language}:{article}", titles[first])


def _read_language(
    folder: Path, language: str, judged_only: bool, sha256: dict[str, str]
) -> LanguagePart:
    """One language; the checksums of its files go into `sha256`."""
    topics_path, qrels_path = (
        _checked(folder, language, listed, sha256) for listed in annotated_files(folder, language)
    )
    questions = read_topics(topics_path)
    judged = read_judgements(qrels_path, questions, topics_path)
    where = qrels_path, corpus_folder(folder, language), _fix(folder, language)
    if judged_only:
        held = judged.passages(stream_corpus(folder, language, sha256))
        judged.require(held, *where)
        candidates = [
            Candidate(f"{language}:{name}", passage.with_title(), "")
            for name, passage in held.items()
        ]
        titles = {name: passage.title for name, passage in held.items()}
        return LanguagePart(questions, judged, candidates, titles)
    corpus = _store_corpus(folder, language, sha256)
    names = list(judged.line)
    rows = corpus.rows_of([f"{language}:{name}" for name in names])
    row_of = {name: row for name, row in zip(names, rows.tolist(), strict=True) if row >= 0}
    judged.require(row_of, *where)
    first = [relevant[0] for topic in questions if (relevant := judged.relevant(topic))]
    named = corpus.titles_and_texts(np.array([row_of[name] for name in first], dtype=np.int64))
    titles = {name: title for name, (title, _) in zip(first, named, strict=True)}
    return LanguagePart(questions, judged, corpus, titles)


def stream_corpus(folder: Path, language: str, sha256: dict[str, str]) -> Iterator[Passage]:
    """A language's passages, shard by shard, in a fixed order; one is in memory at a time.

    Each shard is checked before it is read, and its checksum goes into `sha256`. DataError for a
    missing or damaged shard, and at the end for another number of passages than there must be.
    """
    total, number = expected_passages(folder, language), 0
    with progress(f"read {language}", total, "passages", after=5.0) as advance:
        for shard in expected_shards(folder, language):
            for passage in read_passages(_checked(folder, language, shard, sha256)):
                number += 1
                if number % _STEP == 0 or number == total:
                    advance(number % _STEP or _STEP)
                yield passage
    _require_number(folder, language, number)


def _store_corpus(folder: Path, language: str, sha256: dict[str, str]) -> StoredCorpus:
    """The whole corpus on disk, made where the cache lacks it; checks and records every shard."""
    shards: dict[str, str] = {}
    for shard in expected_shards(folder, language):
        _checked(folder, language, shard, shards)
    sha256.update(shards)
    key = digest({"form": _FORM, "language": language, "shards": list(shards.values())})

    def passages() -> Iterator[StoredPassage]:
        for passage in stream_corpus(folder, language, {}):
            name, text = f"{language}:{passage.id}", passage.with_title()
            yield StoredPassage(name, passage.title, text, passage.where)

    corpus = stored_corpus(key, language, passages)
    _require_number(folder, language, len(corpus))
    return corpus


def _require_number(folder: Path, language: str, number: int) -> None:
    expected = expected_passages(folder, language)
    if number != expected:
        raise DataError(
            f"{corpus_folder(folder, language)}: {number:,} passages, expected {expected:,}; "
            f"{_fix(folder, language)}"
        )


def _checked(folder: Path, language: str, listed: Listed, sha256: dict[str, str]) -> Path:
    """The path of a file whose checksum is as expected, and goes into `sha256`; else DataError."""
    path, expected = listed
    if not path.is_file():
        raise DataError(f"{path}: missing; {_fix(folder, language)}")
    actual = sha256_file(path)
    if expected and actual != expected:
        raise DataError(f"{path}: damaged: sha256 {actual[:12]}… differs; {_fix(folder, language)}")
    is_shard = shard_number(path.name) is not None
    sha256[f"{path.parent.name}/{path.name}" if is_shard else path.name] = actual
    return path


def _fix(folder: Path, language: str) -> str:
    if read_generated(folder):
        return ELSEWHERE
    return f"run `biasbench data fetch miracl --language {language} --data-dir {folder.parent}`"
