"""Exact dense search: one similarity computation per query language serves all its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.retrieval.order import (
    descending_id_order,
    key_columns,
    key_scores,
    rank_keys,
)

_BLOCK = 128  # queries per block: scores and keys of 13,000 candidates stay within 20 MB


class Pool(NamedTuple):
    """All candidates, in id-descending order, with the columns of each language.

    `vectors` float32 [candidates, dimensions]; `rows` int64 [candidates] gives each column's row
    in the collection; `columns` maps a language to its slice of columns.
    """

    vectors: np.ndarray
    rows: np.ndarray
    columns: dict[str, slice]


class Results(NamedTuple):
    """What a search of one query language found.

    `ranks` int32 [queries, relevant, 2]: rank (from 1) of each relevant candidate in its own
    language's pool and in the pool of all; 0 where there is none. `top` maps a language or "all"
    to (rows int64 [queries, depth], scores float32 [queries, depth]), best first.
    """

    ranks: np.ndarray
    top: dict[str, tuple[np.ndarray, np.ndarray]]


def make_pool(
    ids: list[str], vectors: np.ndarray, language_rows: Mapping[str, tuple[int, int]]
) -> Pool:
    """Order candidates for search. `language_rows` maps a language to its rows start:stop.

    Ids begin with their language, so id order keeps each language's candidates together.
    """
    rows = descending_id_order(ids)
    columns = {}
    for language, (start, stop) in language_rows.items():
        places = np.flatnonzero((rows >= start) & (rows < stop))
        if not len(places) or places[-1] - places[0] + 1 != len(places):
            raise BiasBenchError(f"candidates of '{language}' are not contiguous in id order")
        columns[language] = slice(int(places[0]), int(places[-1]) + 1)
    return Pool(np.ascontiguousarray(vectors[rows], dtype=np.float32), rows, columns)


def search(queries: np.ndarray, pool: Pool, relevant_rows: np.ndarray, depth: int) -> Results:
    """Search every pool for `queries` float32 [queries, dimensions].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. Ranks are exact
    over whole pools, found by counting, without sorting.
    """
    column_of_row = np.empty(len(pool.rows), dtype=np.int64)
    column_of_row[pool.rows] = np.arange(len(pool.rows))
    relevant = np.where(relevant_rows >= 0, column_of_row[relevant_rows], -1)
    blocks = [
        _search_block(
            queries[start : start + _BLOCK], pool, relevant[start : start + _BLOCK], depth
        )
        for start in range(0, len(queries), _BLOCK)
    ]
    top = {}
    for name in blocks[0].top:
        keys = np.concatenate([block.top[name] for block in blocks])
        top[name] = (pool.rows[key_columns(keys)], key_scores(keys))
    return Results(np.concatenate([block.ranks for block in blocks]), top)


class _Block(NamedTuple):
    ranks: np.ndarray
    top: dict[str, np.ndarray]


def _search_block(queries: np.ndarray, pool: Pool, relevant: np.ndarray, depth: int) -> _Block:
    scores = queries @ pool.vectors.T
    if not np.isfinite(scores).all():
        raise BiasBenchError("similarity scores hold NaN or infinity; the encoder is broken")
    keys = rank_keys(scores)
    ranks = _count_ranks(keys, relevant, pool.columns)
    top = {language: _largest(keys[:, part], depth) for language, part in pool.columns.items()}
    top["all"] = _largest(np.concatenate(list(top.values()), axis=1), depth)
    return _Block(ranks, top)


def _count_ranks(
    keys: np.ndarray, relevant: np.ndarray, columns: Mapping[str, slice]
) -> np.ndarray:
    """int32 [queries, relevant, 2]: ranks in the own language's pool and in the whole pool."""
    ranks = np.zeros((*relevant.shape, 2), dtype=np.int32)
    rows = np.arange(len(keys))
    for index in range(relevant.shape[1]):
        column = relevant[:, index]
        present = column >= 0
        above = keys > keys[rows, column][:, None]
        whole = np.zeros(len(keys), dtype=np.int32)
        for part in columns.values():
            count = np.count_nonzero(above[:, part], axis=1)
            whole += count.astype(np.int32)
            own = present & (column >= part.start) & (column < part.stop)
            ranks[own, index, 0] = 1 + count[own]
        ranks[present, index, 1] = 1 + whole[present]
    return ranks


def _largest(keys: np.ndarray, depth: int) -> np.ndarray:
    """The `depth` largest keys of each row, in descending order."""
    if keys.shape[1] > depth:
        keys = np.partition(keys, keys.shape[1] - depth, axis=1)[:, -depth:]
    return np.sort(keys, axis=1)[:, ::-1]
