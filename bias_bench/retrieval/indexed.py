"""Search through approximate indexes, one for each pool, in the form of the exact search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.encoders.blocks import BLOCK, VectorBlocks
from bias_bench.retrieval.approximate import Check, Index, cached_index
from bias_bench.retrieval.exact import Order, Results
from bias_bench.retrieval.nearest import exact_nearest, nearest_by_index, recall
from bias_bench.retrieval.settings import ApproximateIndex

ALL = "all"
_AT = 10  # recall is measured there, and at the depth


class IndexedPool(NamedTuple):
    """All candidates in id-descending order, with an index of each language and of all.

    Of one language there is no other index of all; it serves as that too.
    """

    vectors: VectorBlocks
    order: Order
    indexes: dict[str, Index]

    def part(self, pool: str) -> slice:
        """The columns of a pool: of a language, or of all."""
        return slice(0, self.vectors.shape[0]) if pool == ALL else self.order.columns[pool]


@dataclass(frozen=True)
class PartOfBlocks(VectorBlocks):
    """Blocks of some of the columns of others, which begin at 0 again."""

    whole: VectorBlocks
    part: slice

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors of how many dimensions."""
        return self.part.stop - self.part.start, self.whole.shape[1]

    def block(self, start: int) -> np.ndarray:
        """The vectors of one block, copied."""
        return self.rows(np.arange(start, min(start + BLOCK, self.shape[0])))

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors at `columns`."""
        return self.whole.rows(columns + self.part.start)


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
            _vectors_of(pool, name), settings, seed, folder, name, use_cached, check
        )
    return pool


def search_indexed(
    queries: np.ndarray, pool: IndexedPool, relevant_rows: np.ndarray, depth: int
) -> Results:
    """Search every pool for `queries` float32 [queries, dimensions].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. A relevant candidate
    that is not among the best `depth` has the rank depth + 1. Where less
    than that is found, rows are -1 and scores -inf past the end.
    """
    relevant = pool.order.columns_of(relevant_rows)
    ranks = np.zeros((*relevant.shape, 2), dtype=np.int32)
    top = {}
    for name, index in pool.indexes.items():
        part = pool.part(name)
        found = nearest_by_index(index, _vectors_of(pool, name), queries, depth)
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
    found = {}
    for name, index in pool.indexes.items():
        vectors = _vectors_of(pool, name)
        approximate = nearest_by_index(index, vectors, queries, depth)
        exact = exact_nearest(vectors, queries, depth)
        number = vectors.shape[0]
        found[name] = {
            "vectors": number,
            "queries": len(queries),
            **{
                f"recall@{k}": float(recall(approximate, exact, min(k, number)).mean())
                for k in sorted({min(_AT, depth), depth})
            },
        }
    return found


def _vectors_of(pool: IndexedPool, name: str) -> VectorBlocks:
    part = pool.part(name)
    whole = part == slice(0, pool.vectors.shape[0])
    return pool.vectors if whole else PartOfBlocks(pool.vectors, part)


def _ranks(found: np.ndarray, relevant: np.ndarray, depth: int) -> np.ndarray:
    """int32, shaped as `relevant`: the place from 1 of each among `found` [queries, k], or past it.

    Both hold columns, -1 for none.
    """
    ranks = np.full(relevant.shape, depth + 1, dtype=np.int32)
    for place in range(relevant.shape[1]):
        queries, places = np.nonzero(found == relevant[:, place, None])
        ranks[queries, place] = places + 1
    return ranks
