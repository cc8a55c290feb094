"""Exact dense search: one similarity computation per query language serves all its settings.

Pools of several languages are in memory; a pool of one language may be read block by block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bias_bench.encoders.blocks import ArrayBlocks, VectorBlocks
from bias_bench.search.exact import Order, Results, candidate_order, rank
from bias_bench.search.order import descending_id_order, key_columns, key_scores
from bias_bench.search.streamed import QUERIES, search_blocks
from bias_bench.system.console import Advance
from bias_bench.system.processes import ALONE, Processes


class Pool(NamedTuple):
    """All candidates, in `order`: their `vectors` float32 [candidates, dimensions]."""

    vectors: np.ndarray
    order: Order


def make_pool(
    ids: list[str], vectors: np.ndarray, language_rows: Mapping[str, tuple[int, int]]
) -> Pool:
    """Order candidates for search. `language_rows` maps a language to its rows start:stop."""
    order = candidate_order(ids, language_rows)
    return Pool(np.ascontiguousarray(vectors[order.rows], dtype=np.float32), order)


def search(queries: np.ndarray, pool: Pool, relevant_rows: np.ndarray, depth: int) -> Results:
    """Search every pool for `queries` float32 [queries, dimensions].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. Ranks are exact
    over whole pools.
    """
    return rank(lambda part: queries[part] @ pool.vectors.T, pool.order, relevant_rows, depth)


class BlockPool(NamedTuple):
    """The candidates of one language, rows `start` and on of the collection.

    `order` int64 [candidates] gives each column's row, from 0; None where it is the column itself.
    """

    language: str
    vectors: VectorBlocks
    start: int
    order: np.ndarray | None


def make_block_pool(language: str, ids: list[str], vectors: np.ndarray, start: int) -> BlockPool:
    """A pool of vectors in memory, float32 [candidates, dimensions]."""
    order = descending_id_order(ids)
    return BlockPool(language, ArrayBlocks(np.ascontiguousarray(vectors[order])), start, order)


def search_pool(
    queries: np.ndarray,
    pool: BlockPool,
    relevant_rows: np.ndarray,
    depth: int,
    at_once: int | None = None,
    advance: Advance = lambda _: None,
    processes: Processes = ALONE,
) -> Results:
    """As `search`, in the one pool there is, which is also that of all.

    `at_once` queries (None: all) are searched in one pass over the vectors, which decides nothing
    but memory and time. `advance` hears of candidates, in each pass.
    """
    step = max(QUERIES, (at_once or len(queries)) // QUERIES * QUERIES) if len(queries) else QUERIES
    columns = np.where(relevant_rows >= 0, relevant_rows - pool.start, -1)
    if pool.order is not None:
        columns = Order(pool.order, {}).columns_of(columns)
    passes = [
        search_blocks(
            queries[first : first + step],
            pool.vectors,
            columns[first : first + step],
            depth,
            advance,
            processes,
        )
        for first in range(0, max(len(queries), 1), step)
    ]
    keys, ranks = map(np.concatenate, zip(*passes, strict=True))
    rows = key_columns(keys) if pool.order is None else pool.order[key_columns(keys)]
    top = (rows + pool.start, key_scores(keys))
    return Results(np.repeat(ranks[:, :, None], 2, axis=2), {pool.language: top, "all": top})
