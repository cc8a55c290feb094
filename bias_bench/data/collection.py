"""Collection: queries, candidates, relevance and parallel groups of one benchmark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress, groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.data.corpus import Candidate, CandidateRange, StoredCandidates
from bias_bench.data.ids import language_of, topic_of
from bias_bench.data.languages import chosen_languages, language_code
from bias_bench.errors import DataError
from bias_bench.system.files import digest_texts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Candidate", "CandidateRange", "Collection", "Query", "Topic"]

_LANGUAGE = re.compile(r"\w[\w.]{0,62}")  # it stands in names of settings, and so of files


class Query(NamedTuple):
    """A topic in one language."""

    id: str
    text: str


class Topic(NamedTuple):
    """A question's identity across languages, with the clusters it belongs to."""

    id: str
    paragraph: str
    article: str
    title: str = ""


@dataclass(frozen=True)
class Collection:
    """A benchmark: in memory, but for candidates that are too many for it.

    `queries` and `candidates` are grouped by language in the order of `languages`. Candidates on
    disk are in id-descending order in each language; who needs all goes through them one by one.
    `relevance` lists pairs (topic id, candidate id); a parallel topic has one or more per language
    that answers it. `grades` are those of `relevance`, from 1; none means 1 for all. `not_relevant`
    lists pairs judged not to be relevant (grade 0).

    Without `parallel` every topic is asked and answered in one language alone, and candidates of
    another language are not judged for it, so only pools of one language can be searched.
    """

    name: str
    languages: tuple[str, ...]
    topics: tuple[Topic, ...]
    queries: tuple[Query, ...]
    candidates: tuple[Candidate, ...] | StoredCandidates
    relevance: tuple[tuple[str, str], ...]
    grades: tuple[int, ...] = ()
    not_relevant: tuple[tuple[str, str], ...] = ()
    parallel: bool = True

    def __post_init__(self) -> None:
        """DataError for duplicate or malformed ids, empty languages, dangling relevance."""
        _check_languages(self)
        _check_ids(self)
        _check_links(self)

    @cached_property
    def topic_rows(self) -> dict[str, int]:
        return {topic.id: row for row, topic in enumerate(self.topics)}

    @cached_property
    def _held(self) -> _ListedCandidates | StoredCandidates:
        """The candidates, asked in the same way wherever they are."""
        if isinstance(self.candidates, StoredCandidates):
            return self.candidates
        return _ListedCandidates(self.candidates)

    @property
    def pools(self) -> dict[str, CandidateRange]:
        """Candidate rows of each language."""
        return self._held.pools

    def queries_in(self, language: str) -> list[Query]:
        return [query for query in self.queries if language_of(query.id) == language]

    @cached_property
    def answered_in(self) -> dict[str, frozenset[str]]:
        """Of each language, those in which some topic that it asks is answered."""
        answers: dict[str, set[str]] = {}
        for topic, candidate in self.relevance:
            answers.setdefault(topic, set()).add(language_of(candidate))
        answered: dict[str, set[str]] = {language: set() for language in self.languages}
        for query in self.queries:
            answered[language_of(query.id)] |= answers.get(topic_of(query.id), set())
        return {asked: frozenset(languages) for asked, languages in answered.items()}

    @cached_property
    def relevant_rows(self) -> np.ndarray:
        """int32 [topics, most relevant candidates of a topic]: candidate rows, padded with -1."""
        rows = self.candidate_rows([candidate for _, candidate in self.relevance])
        return self._by_topic(rows.tolist(), fill=-1)

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
        of_topic: dict[str, list[str]] = {}
        for topic, candidate in self.not_relevant:
            of_topic.setdefault(topic, []).append(candidate)
        return of_topic

    def query_topics(self, language: str) -> np.ndarray:
        """int32 [queries of the language]: each query's row in `topics`."""
        rows = [self.topic_rows[topic_of(query.id)] for query in self.queries_in(language)]
        return np.array(rows, dtype=np.int32)

    def candidate_ids(self, rows: np.ndarray) -> pa.Array:
        """Strings [n]: the ids of the candidates at `rows` int [n]."""
        return self._held.ids(rows)

    def candidate_rows(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each candidate id, -1 where there is none."""
        return self._held.rows_of(ids)

    def text_parts(self, language: str, with_context: bool) -> list[Sequence[str]]:
        """The texts to encode of a language's candidates, in parts that are encoded together.

        On disk a part is a shard, which is read when it is asked for; in memory all is one part.
        """
        return self._held.text_parts(language, with_context)

    def candidate_texts(self, language: str, with_context: bool) -> list[str]:
        """Texts to encode: the sentence, or the sentence, a space and its paragraph (if any)."""
        return [text for part in self.text_parts(language, with_context) for text in part]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids, texts and relevance: equal only for equal benchmarks."""
        return digest_texts(self._content())

    def _content(self) -> Iterator[str]:
        sizes = [self.languages, self.topics, self.queries, self.candidates, self.relevance]
        yield from (self.name, *(str(len(part)) for part in sizes), *self.languages)
        for item in (*self.topics, *self.queries):
            yield from item
        yield from self._held.content()
        yield from chain.from_iterable(self.relevance)
        if not self.parallel:  # what only some benchmarks have is hashed for those alone
            yield "not parallel"
        if self.relevant_grades is not None:
            yield from ("grades", *map(str, self.grades))
        if self.not_relevant:
            yield "not relevant"
            yield from chain.from_iterable(self.not_relevant)

    def keep(self, languages: Sequence[str]) -> Collection:
        """The part of the benchmark in some of its languages; topics are those still asked in one.

        UsageError for a language that it does not have.
        """
        chosen = chosen_languages(self.name, self.languages, languages)
        if len(chosen) == len(self.languages):
            return self
        queries = tuple(query for query in self.queries if language_of(query.id) in chosen)
        asked = {topic_of(query.id) for query in queries}

        def stays(pair: tuple[str, str]) -> bool:
            return pair[0] in asked and language_of(pair[1]) in chosen

        stay = [stays(pair) for pair in self.relevance]
        return replace(
            self,
            languages=tuple(chosen),
            topics=tuple(topic for topic in self.topics if topic.id in asked),
            queries=queries,
            candidates=self._held.keep(chosen),
            relevance=tuple(compress(self.relevance, stay)),
            grades=tuple(compress(self.grades, stay)),
            not_relevant=tuple(filter(stays, self.not_relevant)),
        )


class _ListedCandidates:
    """Candidates in memory, grouped by language, asked as those on disk are."""

    def __init__(self, candidates: tuple[Candidate, ...]) -> None:
        self._candidates = candidates

    @cached_property
    def pools(self) -> dict[str, CandidateRange]:
        """Rows of each language."""
        pools, start = {}, 0
        for language, group in groupby(self._candidates, lambda item: language_of(item.id)):
            stop = start + sum(1 for _ in group)
            pools[language] = CandidateRange(start, stop)
            start = stop
        return pools

    def keep(self, languages: Sequence[str]) -> tuple[Candidate, ...]:
        """The candidates in some languages."""
        return tuple(item for item in self._candidates if language_of(item.id) in languages)

    @cached_property
    def _ids(self) -> pa.Array:
        import pyarrow as pa

        return pa.array([candidate.id for candidate in self._candidates], pa.string())

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The ids (strings [n]) at `rows` int [n], in that order."""
        import pyarrow as pa

        return self._ids.take(pa.array(rows))

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each id, -1 where there is none."""
        known = {candidate.id: row for row, candidate in enumerate(self._candidates)}
        return np.array([known.get(name, -1) for name in ids], dtype=np.int64)

    def text_parts(self, language: str, with_context: bool) -> list[Sequence[str]]:
        """The texts to encode, in one part: sentences, or each with its paragraph (if any)."""
        return [
            [
                f"{candidate.text} {candidate.context}"
                if with_context and candidate.context
                else candidate.text
                for candidate in self._candidates[slice(*self.pools[language])]
            ]
        ]

    def content(self) -> Iterator[str]:
        """What a fingerprint is taken of."""
        return chain.from_iterable(self._candidates)


def _check_languages(collection: Collection) -> None:
    for language in collection.languages:
        if not _LANGUAGE.fullmatch(language) or language == "all":
            better = language_code(language)
            usable = better not in (language, "all") and _LANGUAGE.fullmatch(better)
            raise DataError(
                f"{collection.name}: '{language}' cannot be a language code (letters, digits, '_' "
                f"and '.' alone; not 'all'){f'; write {better}' if usable else ''}"
            )


def _check_ids(collection: Collection) -> None:
    _check_grouped(collection, "query", [query.id for query in collection.queries])
    candidates = collection.candidates
    if not isinstance(candidates, StoredCandidates):
        _check_grouped(collection, "candidate", [item.id for item in candidates])
        return
    what = f"{collection.name}: candidate"  # whose ids were checked one by one when stored
    if collection.parallel:
        raise DataError(f"{what}s on disk are searched in one language alone, not in parallel ones")
    if tuple(candidates.corpora) != collection.languages:
        raise DataError(f"{what} ids are not grouped by language as listed")
    for language, corpus in candidates.corpora.items():
        if not len(corpus):
            raise DataError(f"{what}: language '{language}' has none at all")


def _check_grouped(collection: Collection, kind: str, ids: Sequence[str]) -> None:
    what = f"{collection.name}: {kind}"
    _require_unique(ids, f"{what} id")
    for identifier in ids:
        if any(character.isspace() for character in identifier):
            raise DataError(f"{what} id '{identifier}' holds white space")
    groups = tuple(language for language, _ in groupby(ids, language_of))
    for language in collection.languages:
        if language not in groups:
            raise DataError(f"{what}: language '{language}' has none at all")
    if groups != collection.languages:
        raise DataError(f"{what} ids are not grouped by language as listed")


def _check_links(collection: Collection) -> None:
    name, topics = collection.name, {topic.id for topic in collection.topics}
    _require_unique([topic.id for topic in collection.topics], f"{name}: topic id")
    for query in collection.queries:
        if topic_of(query.id) not in topics:
            raise DataError(f"{name}: query '{query.id}' belongs to no topic")
    judged = (*collection.relevance, *collection.not_relevant)
    candidates = list(dict.fromkeys(candidate for _, candidate in judged))
    rows = collection.candidate_rows(candidates)
    known = {candidate for candidate, row in zip(candidates, rows, strict=True) if row >= 0}
    _require_unique([" -> ".join(pair) for pair in judged], f"{name}: relevance")
    for topic, candidate in judged:
        if topic not in topics or candidate not in known:
            raise DataError(f"{name}: relevance '{topic}' -> '{candidate}' points to nothing")
    relevant, grades = len(collection.relevance), collection.grades
    if grades and len(grades) != relevant:
        raise DataError(f"{name}: {len(grades)} grades for {relevant} relevant candidates")
    if min(grades, default=1) < 1:
        raise DataError(f"{name}: grade {min(grades)} is not relevant")
    if collection.parallel:
        return
    pairs = [(topic_of(query.id), language_of(query.id)) for query in collection.queries]
    pairs += [(topic, language_of(candidate)) for topic, candidate in judged]
    first: dict[str, str] = {}
    for topic, language in pairs:
        if first.setdefault(topic, language) != language:
            raise DataError(
                f"{name}: topic '{topic}' is in '{first[topic]}' and '{language}', but the "
                "benchmark's topics are not parallel"
            )


def _require_unique(ids: Sequence[str], what: str) -> None:
    for identifier, count in Counter(ids).items():
        if count > 1:
            raise DataError(f"{what} '{identifier}' occurs {count} times")
