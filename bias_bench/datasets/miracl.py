"""MIRACL (Zhang et al. 2023, TACL): monolingual retrieval of Wikipedia passages in 18 languages.

``miracl`` searches whole corpora, ``miracl-judged`` the judged passages alone. Topics of two
languages are different questions, even where their numbers are equal, so the topic ``7`` of
Swahili is ``sw:7`` here, and only pools of one language are searched: a passage of another language
may well answer it, but nobody judged that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bias_bench.console import progress
from bias_bench.datasets.benchmark import BenchmarkSpec, Content, Reader, Size
from bias_bench.datasets.collection import Candidate, Collection, Query, Topic
from bias_bench.datasets.ids import query_id
from bias_bench.datasets.miracl_download import fetch_folder
from bias_bench.datasets.miracl_folder import (
    annotated_files,
    check_folder,
    corpus_folder,
    expected_passages,
    expected_shards,
    languages_in,
    miracl_facts,
    read_generated,
)
from bias_bench.datasets.sources.miracl_files import (
    Judgements,
    Passage,
    read_judgements,
    read_passages,
    read_topics,
)
from bias_bench.errors import DataError
from bias_bench.files import sha256_file

JUDGED_NOTE = (
    "The pool of each language is its judged passages alone, not its corpus: figures are far "
    "higher than MIRACL's and must not be set beside those."
)
GENERATED_NOTE = "The data were generated, they are not MIRACL: the figures say nothing about it."
_NOT_IN_THE_PAPER = ("de", "en", "yo")
_STEP = 1_000  # passages between two signs of life
_SHOWN_AFTER = 5.0  # seconds

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
    """One language's part of the benchmark; candidates in the order of the corpus."""

    questions: dict[str, str]
    judged: Judgements
    candidates: list[Candidate]
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
        raise DataError(f"{folder}: holds none of {', '.join(languages or ())}; generate them too")
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
        candidates=tuple(item for part in parts.values() for item in part.candidates),
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


def stream_corpus(folder: Path, language: str, sha256: dict[str, str]) -> Iterator[Passage]:
    """A language's passages, shard by shard, in a fixed order; one is in memory at a time.

    Each shard is checked before it is read, and its checksum goes into `sha256`. DataError for a
    missing or damaged shard, and at the end for another number of passages than there must be.
    """
    number = 0
    for path, expected in expected_shards(folder, language):
        sha256[f"{path.parent.name}/{path.name}"] = _checked(folder, language, path, expected)
        for passage in read_passages(path):
            number += 1
            yield passage
    wanted = expected_passages(folder, language)
    if number != wanted:
        raise DataError(
            f"{corpus_folder(folder, language)}: {number:,} passages, expected {wanted:,}; "
            f"{_mend(folder, language)}"
        )


def _read_language(folder: Path, language: str, judged_only: bool) -> LanguagePart:
    sha256: dict[str, str] = {}
    paths = []
    for path, expected in annotated_files(folder, language):
        sha256[path.name] = _checked(folder, language, path, expected)
        paths.append(path)
    topics_path, qrels_path = paths
    questions = read_topics(topics_path)
    judged = read_judgements(qrels_path, questions, topics_path)
    candidates: list[Candidate] = []
    titles: dict[str, str] = {}
    seen: set[str] = set()
    total = expected_passages(folder, language)
    with progress(f"read {language}", total, "passages", after=_SHOWN_AFTER) as advance:
        for number, passage in enumerate(stream_corpus(folder, language, sha256), 1):
            if number % _STEP == 0 or number == total:
                advance(number % _STEP or _STEP)
            is_judged = passage.id in judged.line
            if judged_only and not is_judged:
                continue
            if passage.id in seen:
                raise DataError(f"{passage.where}: docid '{passage.id}' occurs twice")
            seen.add(passage.id)
            if is_judged:
                titles[passage.id] = passage.title
            candidates.append(Candidate(f"{language}:{passage.id}", passage.with_title(), ""))
            if judged_only and len(titles) == len(judged.line):
                break
    if len(titles) < len(judged.line):
        lost, line = judged.first_of(judged.line.keys() - titles.keys())
        raise DataError(
            f"{qrels_path}: line {line}: passage '{lost}' is in no file of "
            f"{corpus_folder(folder, language)}; {_mend(folder, language)}"
        )
    return LanguagePart(questions, judged, candidates, titles, sha256)


def _checked(folder: Path, language: str, path: Path, expected: str | None) -> str:
    """The sha256 of a file; DataError where it is missing or differs from the one expected."""
    if not path.is_file():
        raise DataError(f"{path}: missing; {_mend(folder, language)}")
    actual = sha256_file(path)
    if expected and actual != expected:
        raise DataError(
            f"{path}: damaged: sha256 {actual[:12]}… differs; {_mend(folder, language)}"
        )
    return actual


def _mend(folder: Path, language: str) -> str:
    if read_generated(folder):
        return "generate the data again"
    return f"run `biasbench data fetch miracl --language {language} --data-dir {folder.parent}`"
