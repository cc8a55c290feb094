"""A benchmark's vectors, in memory or on disk, and the search of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from bias_bench.data.collection import Collection
from bias_bench.data.corpus import StoredCandidates
from bias_bench.encoders.blocks import ArrayBlocks, VectorBlocks, array_of, joined
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.runs.graph import Work
from bias_bench.runs.memory import queries_at_once
from bias_bench.runs.task import Prepared, Search
from bias_bench.search.dense import (
    BlockPool,
    Pool,
    make_block_pool,
    make_pool,
    search,
    search_pool,
)
from bias_bench.search.exact import Order, Results
from bias_bench.system.console import progress
from bias_bench.system.processes import ALONE, Processes

_SHOWN_AFTER = 5.0  # seconds


class Encoded(NamedTuple):
    """Vectors: of the candidates and queries of each language, and of `more` requests.

    Candidates are in the order of the collection, in memory or on disk as they are there; the
    others are float32 [texts, dimensions].
    """

    candidates: list[VectorBlocks]
    queries: list[np.ndarray]
    more: list[np.ndarray]


def encoded(
    prepared: Prepared, source: Embeds, work: Work, more: Sequence[Request] = ()
) -> Encoded:
    """Vectors of the benchmark's requests and of `more`, of which some may be empty.

    All processes that share the work call this at the same time.
    """
    collection, requests = prepared.collection, prepared.requests()
    vectors = source.vectors(
        [*requests, *(request for request in more if request.texts)],
        again=work.again,
        processes=work.processes,
        memory=work.memory,
    )
    left = iter(vectors)
    parts = [len(collection.text_parts(language, False)) for language in collection.languages]
    candidates = [joined([*islice(left, number)]) for number in parts]
    queries = [array_of(next(left)) for _ in collection.languages]
    others = [array_of(next(left)) if request.texts else queries[0][:0] for request in more]
    return Encoded(candidates, queries, others)


def how_much(
    source: Callable[[], Embeds], requests: Sequence[Request], changed: Sequence[str]
) -> str:
    """How many texts a dry run would encode and, where that is known, how many are cached."""
    number = sum(len(request.texts) for request in requests)
    if {"train", "audit"} & {*changed}:
        return f"{number:,} texts"
    texts = source().texts(requests)
    number = sum(part.number for part in texts)
    return f"{number:,} texts, {sum(part.number for part in texts if part.cached):,} cached"


class Searcher:
    """Search of what `encoded` has, for a query language at a time.

    The pool is that of all candidates, or the language's own where topics are not parallel.
    """

    def __init__(self, collection: Collection, candidates: Sequence[VectorBlocks]) -> None:
        self._collection = collection
        self._whole: Pool | None = None
        self._own: dict[str, BlockPool] = {}
        if collection.parallel:
            ids = [candidate.id for candidate in collection.candidates]
            vectors = np.concatenate([block for part in candidates for _, block in part])
            self._whole = make_pool(ids, vectors, dict(collection.pools))
            return
        for (language, (start, stop)), part in zip(
            collection.pools.items(), candidates, strict=True
        ):
            if isinstance(collection.candidates, StoredCandidates):
                self._own[language] = BlockPool(language, part, start, None)
            else:
                ids = [candidate.id for candidate in collection.candidates[start:stop]]
                vectors = array_of(part)
                self._own[language] = make_block_pool(language, ids, vectors, start)

    def pool(self, language: str) -> tuple[VectorBlocks, Order]:
        """What a language's queries are searched in, and its order."""
        if self._whole is not None:
            return ArrayBlocks(self._whole.vectors), self._whole.order
        own = self._own[language]
        number = own.vectors.shape[0]
        rows = np.arange(number) if own.order is None else own.order
        return own.vectors, Order(rows + own.start, {language: slice(0, number)})

    def search(
        self,
        language: str,
        queries: np.ndarray,
        topics: np.ndarray,
        depth: int,
        at_once: int | None = None,
        processes: Processes = ALONE,
    ) -> Results:
        """Of `queries` float32 [queries, dimensions], which ask for `topics` int [queries]."""
        relevant = self._collection.relevant_rows[topics]
        if self._whole is not None:
            return search(queries, self._whole, relevant, depth)
        pool = self._own[language]
        passes = -(-len(queries) // at_once) if at_once else 1
        total = passes * -(-pool.vectors.shape[0] // processes.number)
        with progress(f"search {language}", total, "candidates", after=_SHOWN_AFTER) as advance:
            return search_pool(queries, pool, relevant, depth, at_once, advance, processes)


def vector_search(
    prepared: Prepared,
    encoded: Encoded,
    memory: int | None = None,
    processes: Processes = ALONE,
) -> Search:
    """Dense search within `memory` bytes (None: no limit); see `Searcher`."""
    collection, depth = prepared.collection, prepared.experiment.retrieval.depth
    at_once = queries_at_once(memory, collection, encoded.queries, depth)
    if not collection.parallel:  # all processes must search the same queries in a pass
        at_once = int(processes.of_first(np.array([at_once or 0]))[0]) or None
    searcher = Searcher(collection, encoded.candidates)
    queries = dict(zip(collection.languages, encoded.queries, strict=True))

    def find(language: str) -> Results:
        topics = collection.query_topics(language)
        return searcher.search(language, queries[language], topics, depth, at_once, processes)

    return find
