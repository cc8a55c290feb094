"""What ids mean: the language of queries and candidates, and the topic of queries.

Rankings of other tools name them as they like, so both come from a table (TSV, plain or gzip) or
from a pattern; the default patterns read this project's own ids, ``{language}:{topic}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bias_bench.data.languages import language_code
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import ALL
from bias_bench.evaluation.trec import read_content

LANGUAGE_PATTERN = "^(?P<language>[^:]+):"
TOPIC_PATTERN = "^(?:[^:]*:)?(?P<topic>.+)$"
_LANGUAGE = re.compile(r"\w[\w.]*")


class Clusters(NamedTuple):
    """A query's topic, and the paragraph and article of the topic; empty where not known."""

    topic: str
    paragraph: str = ""
    article: str = ""


class Names(NamedTuple):
    """A property of ids: looked up in a table, else what `group` of a pattern finds in the id.

    `source` says where the table is from.
    """

    table: Mapping[str, str] | None
    source: str
    pattern: re.Pattern[str] | None
    group: str

    def of(self, identifier: str) -> str:
        """The property; empty where it is not known."""
        if self.table is not None and identifier in self.table:
            return self.table[identifier]
        match = self.pattern.search(identifier) if self.pattern else None
        return (match[self.group] or "") if match else ""

    @property
    def why_not(self) -> str:
        """Why an id has none."""
        reasons = [f"{self.source} lacks it"] if self.table is not None else []
        if self.pattern:
            reasons.append(f"the pattern '{self.pattern.pattern}' does not find it")
        return " and ".join(reasons)


class Labels(NamedTuple):
    """The language of every id, and the topic of every query, which may have `clusters`."""

    languages: Names
    topics: Names
    clusters: Mapping[str, Clusters]

    def language(self, identifier: str, default: str = "") -> str:
        """The language of a query or candidate, empty where it cannot be used.

        `default` is that of ids which neither table nor pattern knows.
        """
        language = language_code(self.languages.of(identifier) or default)
        return language if is_language(language) else ""

    def why_no_language(self, identifier: str) -> str:
        """What is wrong with an id that has no language."""
        language = self.languages.of(identifier)
        return (
            f"has {_unusable(language)}"
            if language
            else (f"has no language: {self.languages.why_not}")
        )

    def of_query(self, query: str) -> Clusters:
        """Topic, paragraph and article of a query; an empty topic where it is not known."""
        return self.clusters.get(query) or Clusters(self.topics.of(query))


def is_language(name: str) -> bool:
    """Whether `name` can be a language in the name of a setting."""
    return bool(_LANGUAGE.fullmatch(name)) and name != ALL


def _unusable(language: str) -> str:
    return (
        f"language '{language}', which cannot stand in the name of a setting; use letters, digits, "
        "'_' and '.', for example zh_CN"
    )


def read_labels(
    languages: Path | None = None,
    language_pattern: str | None = None,
    topics: Path | None = None,
    topic_pattern: str | None = None,
    known: Mapping[str, Clusters] | None = None,
) -> Labels:
    """Labels from tables and patterns; a pattern is asked for what its table lacks.

    Without a table the default pattern stands in for one that is not given. `known` are the
    clusters of queries where no table of topics is given.
    """
    clusters = read_topics(topics) if topics else dict(known or {})
    of_topics = {query: names.topic for query, names in clusters.items()}
    return Labels(
        Names(
            read_languages(languages) if languages else None,
            str(languages),
            _pattern(language_pattern or (None if languages else LANGUAGE_PATTERN), "language"),
            "language",
        ),
        Names(
            of_topics if topics else None,
            str(topics),
            _pattern(topic_pattern or (None if topics else TOPIC_PATTERN), "topic"),
            "topic",
        ),
        clusters,
    )


def read_languages(path: Path) -> dict[str, str]:
    """A table ``id <tab> language`` of queries and candidates; an id may be there once."""
    table: dict[str, str] = {}
    for number, (identifier, language) in _rows(path, (2,), ("id", "language")):
        if identifier in table:
            raise DataError(f"{path}, line {number}: id '{identifier}' occurs twice; keep one line")
        if not is_language(language_code(language)):
            raise DataError(f"{path}, line {number}: {_unusable(language)}")
        table[identifier] = language
    return table


def read_topics(path: Path) -> dict[str, Clusters]:
    """A table ``query <tab> topic``, or with ``<tab> paragraph <tab> article``, of queries."""
    table: dict[str, Clusters] = {}
    first: dict[str, Clusters] = {}
    for number, (query, *names) in _rows(path, (2, 4), ("query", "topic")):
        clusters = Clusters(*names)
        if query in table:
            raise DataError(f"{path}, line {number}: query '{query}' occurs twice; keep one line")
        if first.setdefault(clusters.topic, clusters) != clusters:
            raise DataError(
                f"{path}, line {number}: topic '{clusters.topic}' has another paragraph or article "
                "than before; give each topic one"
            )
        table[query] = clusters
    return table


def _rows(
    path: Path, widths: tuple[int, ...], heading: tuple[str, ...]
) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and fields of each line; blank lines and a heading are passed over."""
    try:
        text = read_content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {number}: not UTF-8 text") from None
    expected = " or ".join(map(str, widths))
    for number, line in enumerate(text.split("\n"), start=1):
        fields = [field.strip() for field in line.split("\t")]
        if not line.strip() or (number == 1 and tuple(fields[: len(heading)]) == heading):
            continue
        if len(fields) not in widths:
            raise DataError(
                f"{path}, line {number}: {len(fields)} field{'s' * (len(fields) > 1)}, expected "
                f"{expected} separated by tabs"
            )
        if not all(fields):
            raise DataError(f"{path}, line {number}: field {fields.index('') + 1} is empty")
        yield number, fields


def _pattern(text: str | None, group: str) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"'{text}' is not a regular expression ({error})") from None
    if group not in pattern.groupindex:
        raise UsageError(f"'{text}' has no group named {group}; write (?P<{group}>…) into it")
    return pattern
