"""Collection: queries, candidates, relevance and parallel groups of one benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bias_bench.datasets.corpus import StoredCandidates
from bias_bench.datasets.ids import language_of, topic_of
from bias_bench.datasets.items import Candidate, CandidateRange, Query, Topic, kept_languages
from bias_bench.datasets.listed import ListedCandidates
from bias_bench.datasets.validation import validate
from bias_bench.files import digest_texts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Candidate", "CandidateRange", "Collection", "Query", "Topic"]


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
        validate(self)

    @cached_property
    def topic_rows(self) -> dict[str, int]:
        return {topic.id: row for row, topic in enumerate(self.topics)}

    @cached_property
    def _held(self) -> ListedCandidates | StoredCandidates:
        """The candidates, asked in the same way wherever they are."""
        if isinstance(self.candidates, StoredCandidates):
            return self.candidates
        return ListedCandidates(self.candidates)

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
        found: dict[str, set[str]] = {language: set() for language in self.languages}
        for query in self.queries:
            found[language_of(query.id)] |= answers.get(topic_of(query.id), set())
        return {language: frozenset(answered) for language, answered in found.items()}

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
        found: dict[str, list[str]] = {}
        for topic, candidate in self.not_relevant:
            found.setdefault(topic, []).append(candidate)
        return found

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
        kept = kept_languages(self.name, self.languages, languages)
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
            candidates=self._held.keep(kept),
            relevance=tuple(self.relevance[place] for place in places),
            grades=tuple(self.grades[place] for place in places) if self.grades else (),
            not_relevant=tuple(filter(stays, self.not_relevant)),
        )
