"""Collection: queries, candidates, relevance and parallel groups of one benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.ids import language_of, topic_of
from bias_bench.errors import DataError, UsageError, nearest
from bias_bench.files import digest_texts


class Query(NamedTuple):
    """A topic in one language."""

    id: str
    text: str


class Candidate(NamedTuple):
    """A retrievable sentence, with the paragraph it stands in."""

    id: str
    text: str
    context: str


class Topic(NamedTuple):
    """A question's identity across languages, with the clusters it belongs to."""

    id: str
    paragraph: str
    article: str
    title: str = ""


class CandidateRange(NamedTuple):
    """Rows ``start:stop`` of the candidates: the pool of one language."""

    start: int
    stop: int


@dataclass(frozen=True)
class Collection:
    """A benchmark in memory.

    `queries` and `candidates` are grouped by language in the order of `languages`; `relevance`
    lists pairs (topic id, candidate id); a parallel topic has one or more per language that answers
    it. `grades` are those of `relevance`, from 1; none means 1 for all. `not_relevant` lists pairs
    judged not to be relevant (grade 0).

    Without `parallel` every topic is asked and answered in one language alone, and candidates of
    another language are not judged for it, so only pools of one language can be searched.
    """

    name: str
    languages: tuple[str, ...]
    topics: tuple[Topic, ...]
    queries: tuple[Query, ...]
    candidates: tuple[Candidate, ...]
    relevance: tuple[tuple[str, str], ...]
    grades: tuple[int, ...] = ()
    not_relevant: tuple[tuple[str, str], ...] = ()
    parallel: bool = True

    def __post_init__(self) -> None:
        validate(self)

    @cached_property
    def topic_rows(self) -> dict[str, int]:
        return {topic.id: row for row, topic in enumerate(self.topics)}

    @cached_property
    def pools(self) -> dict[str, CandidateRange]:
        """Candidate rows of each language."""
        starts: dict[str, int] = {}
        counts: Counter[str] = Counter()
        for row, candidate in enumerate(self.candidates):
            language = language_of(candidate.id)
            starts.setdefault(language, row)
            counts[language] += 1
        return {
            language: CandidateRange(starts[language], starts[language] + counts[language])
            for language in self.languages
        }

    def queries_in(self, language: str) -> list[Query]:
        return [query for query in self.queries if language_of(query.id) == language]

    @cached_property
    def relevant_rows(self) -> np.ndarray:
        """int32 [topics, most relevant candidates of a topic]: candidate rows, padded with -1."""
        candidate_row = {candidate.id: row for row, candidate in enumerate(self.candidates)}
        rows = [candidate_row[candidate] for _, candidate in self.relevance]
        return self._by_topic(rows, fill=-1)

    @cached_property
    def relevant_grades(self) -> np.ndarray | None:
        """int32, shaped as `relevant_rows`: grades, padded with 0; None where all are 1."""
        return self._by_topic(self.grades, fill=0) if set(self.grades) - {1} else None

    def _by_topic(self, values: Sequence[int], fill: int) -> np.ndarray:
        """int32 [topics, most relevant candidates of a topic], from a value per relevant pair."""
        of_topic: list[list[int]] = [[] for _ in self.topics]
        for (topic, _), value in zip(self.relevance, values, strict=True):
            of_topic[self.topic_rows[topic]].append(value)
        rows = np.full((len(of_topic), max(map(len, of_topic), default=0)), fill, dtype=np.int32)
        for row, relevant in enumerate(of_topic):
            rows[row, : len(relevant)] = relevant
        return rows

    @cached_property
    def not_relevant_of(self) -> dict[str, list[str]]:
        """Ids of the candidates judged not relevant, by topic id."""
        found: dict[str, list[str]] = {}
        for topic, candidate in self.not_relevant:
            found.setdefault(topic, []).append(candidate)
        return found

    def query_topics(self, language: str) -> np.ndarray:
        """int32 [queries of the language]: each query's row in `topics`."""
        rows = [self.topic_rows[topic_of(query.id)] for query in self.queries_in(language)]
        return np.array(rows, dtype=np.int32)

    def candidate_texts(self, language: str, with_context: bool) -> list[str]:
        """Texts to encode: the sentence, or the sentence, a space and its paragraph (if any)."""
        start, stop = self.pools[language]
        return [
            f"{candidate.text} {candidate.context}"
            if with_context and candidate.context
            else candidate.text
            for candidate in self.candidates[start:stop]
        ]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, texts and relevance: equal only for equal benchmarks."""
        sizes = [self.languages, self.topics, self.queries, self.candidates, self.relevance]
        parts = [self.name, *(str(len(part)) for part in sizes), *self.languages]
        for topic in self.topics:
            parts += topic
        for query in self.queries:
            parts += query
        for candidate in self.candidates:
            parts += candidate
        for pair in self.relevance:
            parts += pair
        if not self.parallel:  # what only some benchmarks have is hashed for those alone
            parts.append("not parallel")
        if self.relevant_grades is not None:
            parts += ["grades", *map(str, self.grades)]
        if self.not_relevant:
            parts.append("not relevant")
            for pair in self.not_relevant:
                parts += pair
        return digest_texts(parts)

    def keep(self, languages: Sequence[str]) -> Collection:
        """The part of the benchmark in some of its languages; topics are those still asked in one.

        UsageError for a language that it does not have.
        """
        for language in languages:
            if language not in self.languages:
                raise UsageError(
                    f"{self.name}: no language '{language}': {nearest(language, self.languages)}"
                )
        kept = [language for language in self.languages if language in set(languages)]
        if len(kept) == len(self.languages):
            return self
        queries = tuple(query for query in self.queries if language_of(query.id) in kept)
        asked = {topic_of(query.id) for query in queries}

        def stays(pair: tuple[str, str]) -> bool:
            return pair[0] in asked and language_of(pair[1]) in kept

        places = [place for place, pair in enumerate(self.relevance) if stays(pair)]
        return replace(
            self,
            languages=tuple(kept),
            topics=tuple(topic for topic in self.topics if topic.id in asked),
            queries=queries,
            candidates=tuple(item for item in self.candidates if language_of(item.id) in kept),
            relevance=tuple(self.relevance[place] for place in places),
            grades=tuple(self.grades[place] for place in places) if self.grades else (),
            not_relevant=tuple(filter(stays, self.not_relevant)),
        )


def validate(collection: Collection) -> None:
    """Raise DataError for duplicate or malformed ids, empty languages, dangling relevance."""
    for language in collection.languages:
        if not language or "-" in language or ":" in language or language == "all":
            raise DataError(
                f"{collection.name}: '{language}' cannot be a language code (no '-', ':', 'all')"
            )
    for kind, items in (("query", collection.queries), ("candidate", collection.candidates)):
        _validate_ids(f"{collection.name}: {kind}", collection.languages, [i.id for i in items])
    _require_unique([topic.id for topic in collection.topics], f"{collection.name}: topic id")
    _validate_links(collection)


def _validate_ids(what: str, languages: Sequence[str], ids: Sequence[str]) -> None:
    _require_unique(ids, f"{what} id")
    for identifier in ids:
        if any(character.isspace() for character in identifier):
            raise DataError(f"{what} id '{identifier}' holds white space")
    found = Counter(language_of(identifier) for identifier in ids)
    for language in languages:
        if not found[language]:
            raise DataError(f"{what}: language '{language}' has none at all")
    if [language_of(identifier) for identifier in ids] != [
        language for language in languages for _ in range(found[language])
    ]:
        raise DataError(f"{what} ids are not grouped by language as listed")


def _validate_links(collection: Collection) -> None:
    topics = {topic.id for topic in collection.topics}
    for query in collection.queries:
        if topic_of(query.id) not in topics:
            raise DataError(f"{collection.name}: query '{query.id}' belongs to no topic")
    known = {candidate.id for candidate in collection.candidates}
    judged = (*collection.relevance, *collection.not_relevant)
    _require_unique(
        [f"{topic} -> {candidate}" for topic, candidate in judged],
        f"{collection.name}: relevance",
    )
    for topic, candidate in judged:
        if topic not in topics or candidate not in known:
            raise DataError(
                f"{collection.name}: relevance '{topic}' -> '{candidate}' points to nothing"
            )
    if collection.grades and len(collection.grades) != len(collection.relevance):
        raise DataError(
            f"{collection.name}: {len(collection.grades)} grades for "
            f"{len(collection.relevance)} relevant candidates"
        )
    if min(collection.grades, default=1) < 1:
        raise DataError(f"{collection.name}: grade {min(collection.grades)} is not relevant")
    if not collection.parallel:
        _validate_apart(collection, judged)


def _validate_apart(collection: Collection, judged: Sequence[tuple[str, str]]) -> None:
    """No topic is asked or judged in two languages."""
    language: dict[str, str] = {}
    pairs = [(topic_of(query.id), language_of(query.id)) for query in collection.queries]
    pairs += [(topic, language_of(candidate)) for topic, candidate in judged]
    for topic, found in pairs:
        if language.setdefault(topic, found) != found:
            raise DataError(
                f"{collection.name}: topic '{topic}' is in '{language[topic]}' and '{found}', but "
                "the benchmark's topics are not parallel"
            )


def _require_unique(ids: Sequence[str], what: str) -> None:
    for identifier, count in Counter(ids).items():
        if count > 1:
            raise DataError(f"{what} '{identifier}' occurs {count} times")
