"""Search through approximate indexes, one for each pool, and how many of the nearest they miss.

What an index finds is scored from the vectors themselves in float32 and ordered as everywhere
(`order`), so an approximate ranking lacks candidates but has no wrong score and no wrong order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.config.index import ApproximateIndex, HnswIndex
from bias_bench.encoders.blocks import BLOCK, VectorBlocks
from bias_bench.errors import BiasBenchError
from bias_bench.search.approximate import Check, Index, cached_index
from bias_bench.search.exact import Order, Results
from bias_bench.search.order import NO_KEY, key_columns, key_scores, rank_keys
from bias_bench.search.streamed import search_blocks

ALL = "all"
GATHERED = 32_768  # vectors that a thread holds at a time: 50 MB of 384 dimensions
_MORE = 32  # candidates beside the best whose scores may differ in their last bits
_AT = 10  # recall is measured there, and at the depth


class IndexedPool(NamedTuple):
    """All candidates in id-descending order, with an index of each language and of all.

    Of one language there is no other index of all; it serves as that too.
    """

    vectors: VectorBlocks
    order: Order
    indexes: dict[str, Index]

    def columns(self, pool: str) -> slice:
        """The columns of a pool: of a language, or of all."""
        return slice(0, self.vectors.shape[0]) if pool == ALL else self.order.columns[pool]

    def vectors_of(self, pool: str) -> VectorBlocks:
        """The vectors of a pool, in the order of its columns."""
        part, whole = self.columns(pool), self.columns(ALL)
        return self.vectors if part == whole else BlockSlice(self.vectors, part)


@dataclass(frozen=True)
class BlockSlice(VectorBlocks):
    """Blocks of some of the columns of others, which begin at 0 again."""

    whole: VectorBlocks
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors of how many dimensions."""
        return self.columns.stop - self.columns.start, self.whole.shape[1]

    def block(self, start: int) -> np.ndarray:
        """The vectors of one block, copied."""
        return self.rows(np.arange(start, min(start + BLOCK, self.shape[0])))

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors at `columns`."""
        return self.whole.rows(columns + self.columns.start)


def index_pools(
    vectors: VectorBlocks,
    order: Order,
    settings: ApproximateIndex,
    seed: int,
    folder: Path,
    use_cached: bool = True,
    check: Check = lambda *_: None,
) -> IndexedPool:
    """Open the index of every pool, building those that `folder` lacks, after a `check`."""
    names = list(order.columns)
    pool = IndexedPool(vectors, order, {})
    for name in [*names, *([ALL] if len(names) > 1 else [])]:
        pool.indexes[name] = cached_index(
            pool.vectors_of(name), settings, seed, folder, name, use_cached, check
        )
    return pool


def search_indexed(
    queries: np.ndarray, pool: IndexedPool, relevant_rows: np.ndarray, depth: int
) -> Results:
    """Search every pool for `queries` float32 [queries, dimensions].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. A relevant candidate
    that is not among the best `depth` has the rank depth + 1. Where fewer are found, rows are -1
    and scores -inf past the end.
    """
    relevant = pool.order.columns_of(relevant_rows)
    ranks = np.zeros((*relevant.shape, 2), dtype=np.int32)
    top = {}
    for name, index in pool.indexes.items():
        part = pool.columns(name)
        found = nearest_by_index(index, pool.vectors_of(name), queries, depth)
        columns = np.where(found.columns >= 0, found.columns + part.start, -1)
        inside = (relevant >= part.start) & (relevant < part.stop)
        listed = _ranks(columns, np.where(inside, relevant, -1), depth)
        if name != ALL:
            ranks[inside, 0] = listed[inside]
        if name == ALL or len(pool.indexes) == 1:
            ranks[inside, 1] = listed[inside]
        top[name] = (np.where(columns >= 0, pool.order.rows[columns], -1), found.scores)
    top.setdefault(ALL, next(iter(top.values())))
    return Results(ranks, top)


def measure_recall(pool: IndexedPool, queries: np.ndarray, depth: int) -> dict[str, dict[str, Any]]:
    """By pool, what share of the exact results for `queries` the index finds, on average.

    Of the first 10 and the first `depth` results, or of the whole pool where that is smaller; in
    [0, 1], 1 where nothing is missed. `vectors` are those in the pool.
    """
    measured = {}
    for name, index in pool.indexes.items():
        vectors = pool.vectors_of(name)
        approximate = nearest_by_index(index, vectors, queries, depth)
        exact = exact_nearest(vectors, queries, depth)
        number = vectors.shape[0]
        measured[name] = {
            "vectors": number,
            "queries": len(queries),
            **{
                f"recall@{k}": float(recall(approximate, exact, min(k, number)).mean())
                for k in sorted({min(_AT, depth), depth})
            },
        }
    return measured


def _ranks(found: np.ndarray, relevant: np.ndarray, depth: int) -> np.ndarray:
    """int32, shaped as `relevant`: the place from 1 of each among `found` [queries, k], or past it.

    Both hold columns, -1 for none.
    """
    ranks = np.full(relevant.shape, depth + 1, dtype=np.int32)
    for place in range(relevant.shape[1]):
        queries, places = np.nonzero(found == relevant[:, place, None])
        ranks[queries, place] = places + 1
    return ranks


class Nearest(NamedTuple):
    """The best candidates of each query in one pool, best first.

    `columns` int64 [queries, k], -1 past the end of what was found; `scores` float32 likewise.
    """

    columns: np.ndarray
    scores: np.ndarray


def nearest_by_index(
    index: Index, vectors: VectorBlocks, queries: np.ndarray, depth: int
) -> Nearest:
    """What the index finds of the `depth` nearest `vectors` to `queries` float32 [queries, d].

    The same whatever number of threads there is. BiasBenchError for scores that are not finite.
    """
    limit = min(depth, vectors.shape[0])
    asked, parameters = _asked(index, limit)
    asked = min(asked, vectors.shape[0])

    def find(part: slice) -> np.ndarray:
        import faiss

        faiss.omp_set_num_threads(1)  # of this thread: queries are spread over threads here
        some = np.ascontiguousarray(queries[part], dtype=np.float32)
        _, columns = index.faiss.search(some, asked, params=parameters)
        return _exact_keys(columns, vectors, some)[:, :limit]

    return _nearest(find, len(queries), asked)


def exact_nearest(vectors: VectorBlocks, queries: np.ndarray, depth: int) -> Nearest:
    """The `depth` nearest of all `vectors`, scored as `nearest_by_index` scores what it finds."""
    limit = min(depth, vectors.shape[0])
    relevant = np.empty((len(queries), 0), dtype=np.int64)
    columns = search_blocks(queries, vectors, relevant, limit + _MORE).columns

    def score(part: slice) -> np.ndarray:
        return _exact_keys(columns[part], vectors, queries[part])[:, :limit]

    return _nearest(score, len(queries), columns.shape[1])


def recall(approximate: Nearest, exact: Nearest, k: int) -> np.ndarray:
    """Share float64 [queries] of the exact best `k` that are among the approximate best `k`.

    `k` is at most what the pool holds. 1 is the same set; higher is better.
    """
    pairs = zip(exact.columns[:, :k], approximate.columns[:, :k], strict=True)
    return np.array([np.isin(best, found).mean() for best, found in pairs])


def _asked(index: Index, limit: int) -> tuple[int, Any]:
    """How many candidates the index is asked for, more than `limit` as its order is coarse, and the
    parameters of its search.
    """
    import faiss

    settings = index.settings
    if isinstance(settings, HnswIndex):
        seen = max(limit, settings.search)
        return seen, faiss.SearchParametersHNSW(efSearch=seen)
    probes = min(settings.probes, index.built["lists"])
    return limit * settings.rescore, faiss.SearchParametersIVF(nprobe=probes)


def _exact_keys(columns: np.ndarray, vectors: VectorBlocks, queries: np.ndarray) -> np.ndarray:
    """Keys int64 [queries, k] of candidates at `columns` [queries, k] (-1: none), best first."""
    distinct, places = np.unique(columns, return_inverse=True)
    gathered = vectors.rows(np.maximum(distinct, 0))
    scores = np.empty(columns.shape, dtype=np.float32)
    for row, query, place in zip(scores, queries, places.reshape(columns.shape), strict=True):
        # each score by itself: equal vectors have equal scores, wherever they stand
        np.vecdot(gathered[place], query, out=row)
    if not np.isfinite(scores).all():
        raise BiasBenchError("similarity scores hold NaN or infinity; the encoder is broken")
    keys = np.where(columns >= 0, rank_keys(scores, columns), NO_KEY)
    return np.sort(keys, axis=1)[:, ::-1]


def _nearest(work: Callable[[slice], np.ndarray], number: int, asked: int) -> Nearest:
    """Sorted keys that `work` gives for slices of `number` queries, decoded; by all threads."""
    size = max(1, GATHERED // asked)
    slices = [slice(start, start + size) for start in range(0, number, size)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        keys = np.concatenate(list(threads.map(work, slices)))
    present = keys != NO_KEY
    return Nearest(
        np.where(present, key_columns(keys), -1),
        np.where(present, key_scores(keys), np.float32(-np.inf)),
    )
