"""Training pairs: which query goes with which candidate, as arrays of integers.

Rows of one `group` are parallel or share a sentence, so in one batch they would be false negatives
of each other: a translation of a question, or another question that the same sentence answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of, topic_of
from bias_bench.errors import DataError
from bias_bench.system.files import digest_texts


@dataclass(frozen=True)
class Pairs:
    """Arrays of equal length, one entry a pair; int32 each.

    `query` and `candidate` index `query_texts` and `candidate_texts`; the languages index
    `languages`; `data_set` indexes `data_sets`; `topic` indexes `topic_ids` and `topic_titles`
    (title of the document it comes from, empty where unknown); `group` numbers parallel groups
    from 0 and holds one topic or several that share a candidate.
    """

    query: np.ndarray
    candidate: np.ndarray
    query_language: np.ndarray
    candidate_language: np.ndarray
    group: np.ndarray
    data_set: np.ndarray
    topic: np.ndarray
    query_texts: tuple[str, ...]
    candidate_texts: tuple[str, ...]
    languages: tuple[str, ...]
    data_sets: tuple[str, ...]
    topic_ids: tuple[str, ...]
    topic_titles: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.query)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over arrays and texts."""
        parts = [getattr(self, field.name) for field in fields(self)]
        arrays = b"".join(part.tobytes() for part in parts if isinstance(part, np.ndarray))
        texts = [part for part in parts if not isinstance(part, np.ndarray)]
        named = [sha256(arrays).hexdigest(), *(str(len(part)) for part in texts)]
        return digest_texts([*named, *(text for part in texts for text in part)])

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


class Links(NamedTuple):
    """Who belongs to whom: rows of topics, queries and candidates, int [links] each."""

    topic: np.ndarray
    query: np.ndarray
    candidate: np.ndarray


class Texts(NamedTuple):
    """The texts of one side, and the language of each."""

    texts: tuple[str, ...]
    languages: Sequence[str]


def pairs_from_collection(collection: Collection) -> Pairs:
    """Every query of a parallel collection with its topic's candidate in every language.

    Monolingual pairs and all directions of cross-lingual ones; a topic in L languages gives L².
    """
    relevant = collection.relevant_rows
    topics = [collection.topic_rows[topic_of(query.id)] for query in collection.queries]
    links = np.array(
        [
            (topic, query, candidate)
            for query, topic in enumerate(topics)
            for candidate in relevant[topic]
            if candidate >= 0
        ],
        dtype=np.int32,
    ).reshape(-1, 3)
    if not len(links):
        raise DataError(
            f"{collection.name}: no query has a relevant candidate; nothing to train on"
        )
    queries, candidates = (
        Texts(tuple(item.text for item in items), [language_of(item.id) for item in items])
        for items in (collection.queries, collection.candidates)
    )
    return link_texts(
        collection.name,
        collection.languages,
        queries,
        candidates,
        {topic.id: topic.title for topic in collection.topics},
        Links(*links.T),
    )


def link_texts(
    name: str,
    languages: Sequence[str],
    queries: Texts,
    candidates: Texts,
    titles: Mapping[str, str],
    links: Links,
    equal_questions: bool = False,
) -> Pairs:
    """One pair per link. `titles` are those of the topics' documents (empty where unknown), by id.

    Topics that share a candidate are a group, and with `equal_questions` those that share a query.
    """
    code = {language: index for index, language in enumerate(languages)}
    codes = [
        np.array([code[language] for language in side.languages], dtype=np.int32)
        for side in (queries, candidates)
    ]
    topic, query, candidate = (rows.astype(np.int32) for rows in links)
    topics, texts = [topic], [candidate]
    if equal_questions:  # behind the candidates in the numbering
        topics.append(topic)
        texts.append(query + np.int32(len(candidates.texts)))
    group = linked_groups(np.concatenate(topics), np.concatenate(texts))[: len(topic)]
    return Pairs(
        query=query,
        candidate=candidate,
        query_language=codes[0][query],
        candidate_language=codes[1][candidate],
        group=group,
        data_set=np.zeros(len(topic), dtype=np.int32),
        topic=topic,
        query_texts=queries.texts,
        candidate_texts=candidates.texts,
        languages=tuple(languages),
        data_sets=(name,),
        topic_ids=tuple(titles),
        topic_titles=tuple(titles.values()),
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


_TEXTS = ("query_texts", "candidate_texts", "data_sets", "topic_ids", "topic_titles")


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Several sources as one, with groups, texts, languages and data sets renumbered."""
    languages = tuple(sorted({language for part in parts for language in part.languages}))
    columns: dict[str, list[np.ndarray]] = {
        field.name: [] for field in fields(Pairs) if field.type == "np.ndarray"
    }
    texts: dict[str, tuple[str, ...]] = dict.fromkeys(_TEXTS, ())
    groups = 0
    for part in parts:
        code = np.array([languages.index(language) for language in part.languages], dtype=np.int32)
        columns["query"].append(part.query + len(texts["query_texts"]))
        columns["candidate"].append(part.candidate + len(texts["candidate_texts"]))
        columns["query_language"].append(code[part.query_language])
        columns["candidate_language"].append(code[part.candidate_language])
        columns["group"].append(part.group + groups)
        columns["data_set"].append(part.data_set + len(texts["data_sets"]))
        columns["topic"].append(part.topic + len(texts["topic_ids"]))
        groups += int(part.group.max(initial=-1)) + 1
        for name in _TEXTS:
            texts[name] += getattr(part, name)
    joined: dict[str, Any] = {
        name: np.concatenate(arrays).astype(np.int32) for name, arrays in columns.items()
    }
    return Pairs(**joined, **texts, languages=languages)  # type: ignore[arg-type]
