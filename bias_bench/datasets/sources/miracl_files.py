"""MIRACL's files: topics, judgements, and passages as a stream, shard by shard.

Topics are ``number <tab> question``, judgements ``number <tab> Q0 <tab> docid <tab> grade``, the
corpus is gzipped JSON lines with ``docid``, ``title`` and ``text`` in ``docs-<n>.jsonl.gz``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bias_bench.datasets.readers import read_json_lines, read_table
from bias_bench.errors import DataError

_SHARD = re.compile(r"(?:^|/)docs-(\d{1,9})\.jsonl(?:\.gz)?$")


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

    def first_of(self, passages: Iterable[str]) -> tuple[str, int]:
        """The one of `passages` that the file judges first, and its line."""
        passage = min(passages, key=self.line.__getitem__)
        return passage, self.line[passage]


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
            raise DataError(f"{where}: grade '{grade}' is no whole number")
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
