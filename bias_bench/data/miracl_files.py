"""MIRACL's files: where they lie, what they hold, and how they are checked and read.

Below one folder, as published: ``miracl-v1.0-<language>/topics/`` and ``/qrels/`` (or all languages
in ``topics/`` and ``qrels/``) and ``miracl-corpus-v1.0-<language>/docs-<n>.jsonl.gz``. Beside the
shards ``SHA256SUMS`` has their checksums, in the form of the program sha256sum.

Topics are ``number <tab> question``, judgements ``number <tab> Q0 <tab> docid <tab> grade``, the
corpus is gzipped JSON lines with ``docid``, ``title`` and ``text``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from bias_bench.data.benchmark import FileCheck, file_problem
from bias_bench.data.readers import read_json_lines, read_lines, read_table
from bias_bench.errors import DataError
from bias_bench.system.files import read_json
from bias_bench.system.yaml_values import package_yaml

SUMS = "SHA256SUMS"
GENERATED = "GENERATED.json"
ELSEWHERE = "these data were generated; fetch MIRACL into another --data-dir"
_SUM = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
_SHARD = re.compile(r"(?:^|/)docs-(\d{1,9})\.jsonl(?:\.gz)?$")
Kind = Literal["topics", "qrels"]


class Language(BaseModel):
    """What one language holds, with the sha256 of its topics and judgements."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    queries: int
    judged: int
    passages: int
    topics: str
    qrels: str


class Repository(BaseModel):
    """A data set repository of the hub at a commit."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hub: str
    revision: str


class Facts(BaseModel):
    """All of ``miracl.yaml``; `shard` is how many passages a file of a corpus holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    annotations: Repository
    corpus: Repository
    shard: int
    languages: dict[str, Language]


class Generated(BaseModel):
    """``GENERATED.json``: says that a folder holds no MIRACL, and what was made up instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    what: str
    seed: int
    passages: dict[str, int]


class Listed(NamedTuple):
    """A file that must be there; `sha256` is None where no checksum is recorded."""

    path: Path
    sha256: str | None


@cache
def miracl_facts() -> Facts:
    """What MIRACL's development part holds and where it comes from."""
    return Facts(**package_yaml("bias_bench.data", "miracl.yaml"))


def annotation_name(language: str, kind: Kind) -> str:
    """The published name of a language's topics or judgements, relative to the folder."""
    return f"miracl-v1.0-{language}/{kind}/{kind}.miracl-v1.0-{language}-dev.tsv"


def annotation_file(folder: Path, language: str, kind: Kind) -> Path:
    """Where a language's topics or judgements lie; the published name where they are missing."""
    published = folder / annotation_name(language, kind)
    flat = folder / kind / published.name
    return flat if flat.is_file() and not published.is_file() else published


def corpus_folder(folder: Path, language: str) -> Path:
    """The folder of a language's shards."""
    return folder / f"miracl-corpus-v1.0-{language}"


def read_generated(folder: Path) -> Generated | None:
    """What is known of generated data; None for any other folder."""
    path = folder / GENERATED
    if not path.is_file():
        return None
    try:
        return Generated.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: {key}: {problem['msg']}; {ELSEWHERE}") from None


def expected_passages(folder: Path, language: str) -> int:
    """How many passages the corpus of a language must hold."""
    generated = read_generated(folder)
    return (
        generated.passages[language] if generated else miracl_facts().languages[language].passages
    )


def expected_shards(folder: Path, language: str) -> list[Listed]:
    """The shards that a corpus must have, by number: those with checksums, else as published."""
    corpus = corpus_folder(folder, language)
    sums = _read_sums(corpus / SUMS)
    if not sums:
        number = -(-expected_passages(folder, language) // miracl_facts().shard)
        sums = {f"docs-{place}.jsonl.gz": "" for place in range(number)}
    ordered = sorted(sums, key=lambda name: (shard_number(name) or 0, name))
    return [Listed(corpus / name, sums[name] or None) for name in ordered]


def _read_sums(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    sums = {}
    for number, line in enumerate(read_lines(path), 1):
        match = _SUM.fullmatch(line)
        if not match or shard_number(match[2]) is None or "/" in match[2]:
            raise DataError(f"{path}: line {number}: expected a sha256 and docs-<n>.jsonl.gz")
        sums[match[2]] = match[1]
    return sums


def languages_in(folder: Path, wanted: Sequence[str] | None) -> list[str]:
    """The languages to read: those wanted, else those generated, else all; in MIRACL's order."""
    generated = read_generated(folder)
    known = generated.passages if generated else miracl_facts().languages
    return [name for name in known if not wanted or name in wanted]


def check_folder(folder: Path, wanted: Sequence[str] | None, deep: bool) -> list[FileCheck]:
    """Every file of the languages; `deep` compares checksums, and unpacks shards that have none."""
    return [
        FileCheck(language, path, _problem(path, sha256, deep))
        for language in languages_in(folder, wanted)
        for path, sha256 in (*annotated_files(folder, language), *expected_shards(folder, language))
    ]


def annotated_files(folder: Path, language: str) -> list[Listed]:
    """Topics and judgements; generated ones have no checksums."""
    facts = miracl_facts().languages[language]
    known = read_generated(folder) is None
    return [
        Listed(annotation_file(folder, language, "topics"), facts.topics if known else None),
        Listed(annotation_file(folder, language, "qrels"), facts.qrels if known else None),
    ]


def _problem(path: Path, sha256: str | None, deep: bool) -> str | None:
    if not path.is_file():
        return "missing"
    if not deep:
        return None
    if sha256 is not None:
        return file_problem(path, None, sha256)
    try:
        for _ in read_lines(path):  # gzip has a checksum of its own
            pass
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


class Passage(NamedTuple):
    """One passage of the corpus, with its place for messages."""

    id: str
    title: str
    text: str
    where: str

    def with_title(self) -> str:
        """The title, a space and the text."""
        return f"{self.title} {self.text}".strip()


class Judgements(NamedTuple):
    """`grades` by topic and passage, in file order (0: judged not relevant, as are grades below 0);
    of each passage the first `line`.
    """

    grades: dict[str, dict[str, int]]
    line: dict[str, int]

    def relevant(self, topic: str) -> list[str]:
        """Passages that answer the topic: grade 1 or more."""
        return [passage for passage, grade in self.grades.get(topic, {}).items() if grade]

    def not_relevant(self, topic: str) -> list[str]:
        """Passages judged not to answer the topic."""
        return [passage for passage, grade in self.grades.get(topic, {}).items() if not grade]

    def require(self, known: Container[str], path: Path, corpus: object, fix: str) -> None:
        """DataError for the first judged passage that is not `known`, so not in the `corpus`.

        `path` is the judgements' file; `fix` ends the message.
        """
        for passage, line in self.line.items():
            if passage not in known:
                raise DataError(
                    f"{path}: line {line}: passage '{passage}' is in no file of {corpus}; {fix}"
                )

    def passages(self, corpus: Iterable[Passage]) -> dict[str, Passage]:
        """The judged passages of a corpus by id, in its order; reading ends with the last."""
        passages: dict[str, Passage] = {}
        for passage in corpus if self.line else ():
            if passage.id not in self.line:
                continue
            if passage.id in passages:
                raise DataError(f"{passage.where}: docid '{passage.id}' occurs twice")
            passages[passage.id] = passage
            if len(passages) == len(self.line):
                break
        return passages


def read_topics(path: Path) -> dict[str, str]:
    """Question of each topic, in file order."""
    questions: dict[str, str] = {}
    for number, (topic, text) in read_table(path, 2):
        if not topic.strip() or not text.strip():
            raise DataError(f"{path}: line {number}: empty id or question")
        if topic in questions:
            raise DataError(f"{path}: line {number}: topic '{topic}' occurs twice")
        questions[topic] = text
    return questions


def read_judgements(path: Path, questions: dict[str, str], topics: Path) -> Judgements:
    """The judgements of `questions`, which were read from `topics`."""
    judged = Judgements({}, {})
    for number, (topic, _, passage, grade) in read_table(path, 4):
        where = f"{path}: line {number}"
        if topic not in questions:
            raise DataError(f"{where}: topic '{topic}' is not in {topics}")
        if not re.fullmatch(r"\s*-?\d{1,9}\s*", grade):
            raise DataError(f"{where}: grade '{grade}' is not a whole number")
        of_topic = judged.grades.setdefault(topic, {})
        if passage in of_topic:
            raise DataError(f"{where}: passage '{passage}' is judged twice for topic '{topic}'")
        of_topic[passage] = max(int(grade), 0)
        judged.line.setdefault(passage, number)
    return judged


def shard_number(name: str) -> int | None:
    """The n of ``docs-<n>.jsonl.gz`` or ``docs-<n>.jsonl``; None for any other file."""
    match = _SHARD.search(name)
    return int(match[1]) if match else None


def read_passages(shard: Path) -> Iterator[Passage]:
    """The passages of one shard, in file order, one in memory at a time."""
    for where, fields in read_json_lines(shard):
        identifier, text = fields.get("docid"), fields.get("text")
        if not isinstance(identifier, str) or not isinstance(text, str):
            raise DataError(f"{where}: no 'docid' and 'text'; expected MIRACL's form")
        if len(identifier.split()) != 1:
            raise DataError(f"{where}: docid '{identifier}' is empty or holds white space")
        yield Passage(identifier, str(fields.get("title") or ""), text, where)
