"""Exact ranks in every pool from one score for every candidate, whatever system gives the scores.

Ranks are found by counting, without sorting. Equal scores are ordered by candidate id descending,
as `retrieval.order` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError
from bias_bench.search.order import (
    NO_KEY,
    descending_id_order,
    key_columns,
    key_scores,
    rank_keys,
)

_PRODUCT = 512  # queries scored at a time: 27 MB of scores for 13,000 candidates
_BLOCK = 64  # queries that one thread ranks at a time
_STRIPES = 4


class Order(NamedTuple):
    """All candidates in id-descending order.

    `rows` int64 [candidates] gives each column's row in the collection, which may hold more;
    `columns` maps a language to its slice of columns.
    """

    rows: np.ndarray
    columns: dict[str, slice]

    def columns_of(self, rows: np.ndarray) -> np.ndarray:
        """int64, shaped as `rows`: the column of each row of the collection, -1 where it is -1."""
        column_of_row = np.empty(int(self.rows.max(initial=-1)) + 1, dtype=np.int64)
        column_of_row[self.rows] = np.arange(len(self.rows))
        return np.where(rows >= 0, column_of_row[rows], -1)


class Results(NamedTuple):
    """What a search of one query language found.

    `ranks` int32 [queries, relevant, 2]: rank (from 1) of each relevant candidate in its own
    language's pool and in the pool of all; 0 where there is none. `top` maps a language or "all"
    to (rows int64 [queries, depth], scores float32 [queries, depth]), best first.
    """

    ranks: np.ndarray
    top: dict[str, tuple[np.ndarray, np.ndarray]]


def candidate_order(ids: list[str], language_rows: Mapping[str, tuple[int, int]]) -> Order:
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
    return Order(rows, columns)


def rank(
    score: Callable[[slice], np.ndarray], order: Order, relevant_rows: np.ndarray, depth: int
) -> Results:
    """Rank every pool. `score` gives float32 [queries of a slice, candidates in `order`].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. BiasBenchError for
    scores that are not finite.
    """
    relevant = order.columns_of(relevant_rows)
    blocks: list[_Block] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # numpy lets go of the interpreter lock
        for start in range(0, len(relevant), _PRODUCT):
            scores = score(slice(start, start + _PRODUCT))
            if not np.isfinite(scores).all():
                raise BiasBenchError(
                    "similarity scores hold NaN or infinity; the encoder is broken"
                )
            jobs = [
                threads.submit(
                    _rank_block,
                    scores[row : row + _BLOCK],
                    order.columns,
                    relevant[start + row : start + row + _BLOCK],
                    depth,
                )
                for row in range(0, len(scores), _BLOCK)
            ]
            blocks += [job.result() for job in jobs]
    top = {}
    for name in blocks[0].top:
        keys = np.concatenate([block.top[name] for block in blocks])
        top[name] = (order.rows[key_columns(keys)], key_scores(keys))
    return Results(np.concatenate([block.ranks for block in blocks]), top)


class _Block(NamedTuple):
    ranks: np.ndarray
    top: dict[str, np.ndarray]


def _rank_block(
    scores: np.ndarray, columns: Mapping[str, slice], relevant: np.ndarray, depth: int
) -> _Block:
    top = {language: _largest(scores, part, depth) for language, part in columns.items()}
    merged = np.concatenate(list(top.values()), axis=1)
    top["all"] = np.sort(merged, axis=1)[:, ::-1][:, :depth]
    return _Block(_count_ranks(scores, relevant, columns), top)


def _largest(scores: np.ndarray, part: slice, depth: int) -> np.ndarray:
    """Keys int64 [queries, depth] of the best columns in `part`, best first.

    The depth-th largest of the maxima over stripes of columns is a bound that at least `depth`
    scores reach and few others do; only those get keys, which is most of the saving.
    """
    pool = scores[:, part]
    width = pool.shape[1] // _STRIPES
    if width <= depth:
        return np.sort(rank_keys(pool, np.arange(part.start, part.stop)), axis=1)[:, ::-1][
            :, :depth
        ]
    stripes = [pool[:, n * width : (n + 1) * width] for n in range(_STRIPES)]
    bound = np.partition(np.maximum.reduce(stripes), width - depth, axis=1)[:, width - depth]
    rows, columns = np.divmod(np.flatnonzero(pool >= bound[:, None]), pool.shape[1])
    counts = np.bincount(rows, minlength=len(pool))
    keys = np.full((len(pool), counts.max()), NO_KEY)
    slot = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    keys[rows, slot] = rank_keys(pool[rows, columns], columns + part.start)
    return np.sort(keys, axis=1)[:, ::-1][:, :depth]


def _count_ranks(
    scores: np.ndarray, relevant: np.ndarray, columns: Mapping[str, slice]
) -> np.ndarray:
    """int32 [queries, relevant, 2]: ranks in the own language's pool and in the whole pool.

    A rank is 1 + the higher scores + the equal scores at lower columns.
    """
    ranks = np.zeros((*relevant.shape, 2), dtype=np.int32)
    rows, size = np.arange(len(scores)), scores.shape[1]
    mask = np.zeros((len(scores), -(-size // 8) * 8), dtype=bool)  # whole words, to count bits
    for index in range(relevant.shape[1]):
        column = relevant[:, index]
        present = column >= 0
        score = scores[rows, column][:, None]
        above = np.greater(scores, score, out=mask[:, :size])
        whole = _count(mask)
        own = np.zeros(len(scores), dtype=np.int32)
        for part in columns.values():
            inside = np.flatnonzero(present & (column >= part.start) & (column < part.stop))
            if len(inside):
                own[inside] = np.count_nonzero(above[inside, part], axis=1)
        equal = np.equal(scores, score, out=mask[:, :size])
        tied = np.flatnonzero(present & (_count(mask) > 1))
        before = equal[tied] & (np.arange(size) < column[tied, None])
        whole[tied] += np.count_nonzero(before, axis=1).astype(np.int32)
        for part in columns.values():
            inside = (column[tied] >= part.start) & (column[tied] < part.stop)
            own[tied[inside]] += np.count_nonzero(before[inside, part], axis=1).astype(np.int32)
        ranks[present, index, 0] = 1 + own[present]
        ranks[present, index, 1] = 1 + whole[present]
    return ranks


def _count(mask: np.ndarray) -> np.ndarray:
    """True values per row of bool [rows, a multiple of 8]."""
    return np.bitwise_count(mask.view(np.uint64)).sum(axis=1, dtype=np.int32)
