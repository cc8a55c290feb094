"""Training pairs: which query goes with which candidate, as arrays of integers.

Rows of one `group` are parallel or share a sentence, so in one batch they would be false negatives
of each other: a translation of a question, or another question that the same sentence answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.collection import Collection
from bias_bench.datasets.ids import language_of, topic_of
from bias_bench.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Arrays of equal length, one entry a pair; int32 each.

    `query` and `candidate` index `query_texts` and `candidate_texts`; the languages index
    `languages`; `data_set` indexes `data_sets`; `group` numbers parallel groups from 0.
    """

    query: np.ndarray
    candidate: np.ndarray
    query_language: np.ndarray
    candidate_language: np.ndarray
    group: np.ndarray
    data_set: np.ndarray
    query_texts: tuple[str, ...]
    candidate_texts: tuple[str, ...]
    languages: tuple[str, ...]
    data_sets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: np.ndarray) -> Pairs:
        """The pairs of `rows`, in that order; texts and names stay."""
        chosen = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        rest = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in chosen
        }
        return Pairs(**chosen, **rest)


class _Row(NamedTuple):
    query: int
    candidate: int
    query_language: str
    candidate_language: str
    topic: int


def pairs_from_collection(collection: Collection) -> Pairs:
    """Every query of a parallel collection with its topic's candidate in every language.

    Monolingual pairs and all directions of cross-lingual ones; a topic in L languages gives L².
    """
    candidate_row = {candidate.id: row for row, candidate in enumerate(collection.candidates)}
    of_topic: dict[str, list[str]] = {}
    for topic, candidate in collection.relevance:
        of_topic.setdefault(topic, []).append(candidate)
    rows = [
        _Row(
            number,
            candidate_row[candidate],
            language_of(query.id),
            language_of(candidate),
            collection.topic_rows[topic_of(query.id)],
        )
        for number, query in enumerate(collection.queries)
        for candidate in of_topic.get(topic_of(query.id), [])
    ]
    if not rows:
        raise DataError(
            f"{collection.name}: no query has a relevant candidate; nothing to train on"
        )
    candidates = np.array([row.candidate for row in rows], dtype=np.int32)
    code = {language: index for index, language in enumerate(collection.languages)}
    return Pairs(
        query=np.array([row.query for row in rows], dtype=np.int32),
        candidate=candidates,
        query_language=np.array([code[row.query_language] for row in rows], dtype=np.int32),
        candidate_language=np.array([code[row.candidate_language] for row in rows], dtype=np.int32),
        group=linked_groups(np.array([row.topic for row in rows]), candidates),
        data_set=np.zeros(len(rows), dtype=np.int32),
        query_texts=tuple(query.text for query in collection.queries),
        candidate_texts=tuple(candidate.text for candidate in collection.candidates),
        languages=collection.languages,
        data_sets=(collection.name,),
    )


def linked_groups(topics: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """int32 [rows]: the component each row's topic belongs to, when topics that share a candidate
    are linked. Components are numbered in order of their first row.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(topics) == 0:
        return np.zeros(0, dtype=np.int32)
    first_candidate = int(topics.max()) + 1
    size = first_candidate + int(candidates.max()) + 1
    edges = coo_array(
        (np.ones(len(topics), dtype=np.int8), (topics, candidates + first_candidate)),
        shape=(size, size),
    )
    _, labels = connected_components(edges, directed=False)
    _, first, number = np.unique(labels[topics], return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int32)
    order[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return order[number]


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Several sources as one, with groups, texts, languages and data sets renumbered."""
    languages = tuple(sorted({language for part in parts for language in part.languages}))
    arrays: dict[str, list[np.ndarray]] = {
        name: []
        for name in (
            "query", "candidate", "query_language", "candidate_language", "group", "data_set",
        )
    }  # fmt: skip
    queries: list[str] = []
    candidates: list[str] = []
    data_sets: list[str] = []
    groups = 0
    for part in parts:
        code = np.array([languages.index(language) for language in part.languages], dtype=np.int32)
        arrays["query"].append(part.query + len(queries))
        arrays["candidate"].append(part.candidate + len(candidates))
        arrays["query_language"].append(code[part.query_language])
        arrays["candidate_language"].append(code[part.candidate_language])
        arrays["group"].append(part.group + groups)
        arrays["data_set"].append(part.data_set + len(data_sets))
        queries += part.query_texts
        candidates += part.candidate_texts
        data_sets += part.data_sets
        groups += int(part.group.max(initial=-1)) + 1
    joined = {name: np.concatenate(part).astype(np.int32) for name, part in arrays.items()}
    return Pairs(
        **joined,
        query_texts=tuple(queries),
        candidate_texts=tuple(candidates),
        languages=languages,
        data_sets=tuple(data_sets),
    )
