"""MIRACL (Zhang et al. 2023, TACL): monolingual retrieval of Wikipedia passages in 18 languages.

``miracl`` searches whole corpora, which are kept on disk, ``miracl-judged`` the judged passages
alone. Topics of two
languages are different questions, even where their numbers are equal, so the topic ``7`` of
Swahili is ``sw:7`` here, and only pools of one language are searched: a passage of another language
may well answer it, but nobody judged that.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.benchmark import BenchmarkSpec, Content, Reader, Size
from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.corpus import StoredCandidates, StoredCorpus
from bias_bench.datasets.ids import query_id
from bias_bench.datasets.miracl_corpus import checked_file, mend, shown_corpus, store_corpus
from bias_bench.datasets.miracl_download import fetch_folder
from bias_bench.datasets.miracl_folder import (
    ELSEWHERE,
    annotated_files,
    check_folder,
    corpus_folder,
    languages_in,
    miracl_facts,
    read_generated,
)
from bias_bench.datasets.sources.miracl_files import (
    Judgements,
    Passage,
    read_judgements,
    read_topics,
)
from bias_bench.errors import DataError

JUDGED_NOTE = (
    "The pool of each language is its judged passages alone, not its corpus: figures are far "
    "higher than MIRACL's and must not be set beside those."
)
GENERATED_NOTE = "The data were generated, they are not MIRACL: the figures say nothing about it."
_NOT_IN_THE_PAPER = ("de", "en", "yo")

_CITATION = """\
@article{zhang-etal-2023-miracl,
  title   = {{MIRACL}: A Multilingual Retrieval Dataset Covering 18 Diverse Languages},
  author  = {Zhang, Xinyu and Thakur, Nandan and Ogundepo, Odunayo and Kamalloo, Ehsan and
             Alfonso-Hermelo, David and Li, Xiaoguang and Liu, Qun and Rezagholizadeh, Mehdi and
             Lin, Jimmy},
  journal = {Transactions of the Association for Computational Linguistics},
  volume  = {11},
  year    = {2023},
  pages   = {1114--1131},
  doi     = {10.1162/tacl_a_00595},
  note    = {arXiv:2210.09984}
}
"""


class LanguagePart(NamedTuple):
    """One language's part of the benchmark; `titles` are those of judged passages that have one.

    Candidates are on disk, or a list in the order of the corpus.
    """

    questions: dict[str, str]
    judged: Judgements
    candidates: list[Candidate] | StoredCorpus
    titles: dict[str, str]
    sha256: dict[str, str]


def miracl_benchmarks() -> dict[str, BenchmarkSpec]:
    """The specs of ``miracl`` and ``miracl-judged``, which read the same files."""
    return {
        "miracl": _spec(
            "MIRACL: 13,495 questions to 18 Wikipedias, one language at a time", judged_only=False
        ),
        "miracl-judged": _spec(
            "MIRACL's questions to its judged passages alone, which is not MIRACL's task",
            judged_only=True,
        ),
    }


def _spec(title: str, judged_only: bool) -> BenchmarkSpec:
    languages = miracl_facts().languages
    paper = tuple(language for language in languages if language not in _NOT_IN_THE_PAPER)
    return BenchmarkSpec(
        title=title,
        licence="Apache 2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        terms="Credit the authors. The passages are from Wikipedia (CC BY-SA).",
        training={"sources": ["mlqa-r", "ntrex-128"]},
        averages={f"all-{len(languages)}": tuple(languages), f"paper-{len(paper)}": paper},
        note=JUDGED_NOTE if judged_only else None,
        sizes={
            name: Size(
                queries=facts.queries, candidates=facts.judged if judged_only else facts.passages
            )
            for name, facts in languages.items()
        },
        data="miracl",
        reader=Reader(
            load=partial(_load, judged_only), check=check_folder, fetch=fetch_folder, note=_note
        ),
        citation=_CITATION,
    )


def _note(folder: Path) -> str | None:
    return GENERATED_NOTE if read_generated(folder) else None


def _load(judged_only: bool, name: str, folder: Path, languages: Sequence[str] | None) -> Content:
    """All languages wanted; the name of generated data says that they are."""
    generated = read_generated(folder)
    parts = {
        language: _read_language(folder, language, judged_only)
        for language in languages_in(folder, languages)
    }
    if not parts:
        raise DataError(f"{folder}: holds none of {', '.join(languages or ())}; {ELSEWHERE}")
    return Content(
        collection=_collection(f"{name}-generated" if generated else name, parts),
        sha256={file: sha256 for part in parts.values() for file, sha256 in part.sha256.items()},
    )


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
    return Collection(
        name=name,
        languages=tuple(parts),
        topics=tuple(topics),
        queries=tuple(queries),
        candidates=_candidates([part.candidates for part in parts.values()]),
        relevance=tuple(relevance),
        grades=tuple(grades),
        not_relevant=tuple(not_relevant),
        parallel=False,
    )


def _candidates(
    parts: Sequence[list[Candidate] | StoredCorpus],
) -> tuple[Candidate, ...] | StoredCandidates:
    stored = [part for part in parts if isinstance(part, StoredCorpus)]
    if stored:
        return StoredCandidates(stored)
    return tuple(item for part in parts for item in part)


def _topic(topic: str, language: str, relevant: Sequence[str], titles: dict[str, str]) -> Topic:
    """A topic belongs to the passage and the article of the first answer that was judged."""
    if not relevant:
        return Topic(topic, topic, topic)
    first = relevant[0]
    article = first.partition("#")[0]
    return Topic(topic, f"{language}:{first}", f"{language}:{article}", titles[first])


def _read_language(folder: Path, language: str, judged_only: bool) -> LanguagePart:
    sha256: dict[str, str] = {}
    paths = []
    for path, expected in annotated_files(folder, language):
        sha256[path.name] = checked_file(folder, language, path, expected)
        paths.append(path)
    topics_path, qrels_path = paths
    questions = read_topics(topics_path)
    judged = read_judgements(qrels_path, questions, topics_path)
    if judged_only:
        held = _judged_candidates(folder, language, judged, sha256)
        titles = {name: passage.title for name, passage in held.items()}
        _require_found(folder, language, qrels_path, judged, titles)
        candidates = [
            Candidate(f"{language}:{name}", passage.with_title(), "")
            for name, passage in held.items()
        ]
        return LanguagePart(questions, judged, candidates, titles, sha256)
    corpus = store_corpus(folder, language, sha256)
    names = list(judged.line)
    rows = corpus.rows_of([f"{language}:{name}" for name in names])
    place = {name: row for name, row in zip(names, rows.tolist(), strict=True) if row >= 0}
    _require_found(folder, language, qrels_path, judged, place)
    first = [relevant[0] for topic in questions if (relevant := judged.relevant(topic))]
    named = corpus.titles_and_texts(np.array([place[name] for name in first], dtype=np.int64))
    titles = {name: title for name, (title, _) in zip(first, named, strict=True)}
    return LanguagePart(questions, judged, corpus, titles, sha256)


def _judged_candidates(
    folder: Path, language: str, judged: Judgements, sha256: dict[str, str]
) -> dict[str, Passage]:
    """The judged passages by docid, in the order of the corpus; reading ends with the last."""
    found: dict[str, Passage] = {}
    for passage in shown_corpus(folder, language, sha256):
        if passage.id not in judged.line:
            continue
        if passage.id in found:
            raise DataError(f"{passage.where}: docid '{passage.id}' occurs twice")
        found[passage.id] = passage
        if len(found) == len(judged.line):
            break
    return found


def _require_found(
    folder: Path, language: str, qrels: Path, judged: Judgements, found: Container[str]
) -> None:
    """DataError for a judged passage that the corpus lacks."""
    missing = [name for name in judged.line if name not in found]
    if missing:
        lost, line = judged.first_of(missing)
        raise DataError(
            f"{qrels}: line {line}: passage '{lost}' is in no file of "
            f"{corpus_folder(folder, language)}; {mend(folder, language)}"
        )
