"""The most similar allowed candidates of each query, kept up to date block by block.

Only what beats a query's present last place is looked at, so a block of scores costs little more
than reading it once. Keys are those of `retrieval.order`: score descending, then candidate
ascending, so that no two tie and the order of blocks changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.search.order import key_scores, rank_keys

EMPTY = np.iinfo(np.int64).min
_FIRST_WIDTH = 32


class Nearest(NamedTuple):
    """Of n queries in one language.

    `keys` int64 [n, kept], best first, `EMPTY` where there is none: candidates within the limit.
    `above` int32 [n]: how many allowed candidates lie above the limit; from `last_rank` on no
    candidate is in the window, and counting stops. `bound` float32 [n]: lower scores do not matter.
    """

    keys: np.ndarray
    above: np.ndarray
    bound: np.ndarray

    def part(self, rows: slice) -> Nearest:
        """A view of some queries."""
        return Nearest(*(array[rows] for array in self))


class Side(NamedTuple):
    """The queries of a block: `family` int32 [n], `limit` float32 [n]."""

    family: np.ndarray
    limit: np.ndarray


class Block(NamedTuple):
    """`scores` float32 [n, m] of candidates `ids` int [m], ascending, with `family` int32 [m]."""

    scores: np.ndarray
    ids: np.ndarray
    family: np.ndarray


def nothing_yet(queries: int, kept: int) -> Nearest:
    return Nearest(
        np.full((queries, kept), EMPTY),
        np.zeros(queries, dtype=np.int32),
        np.full(queries, -np.inf, dtype=np.float32),
    )


def update(nearest: Nearest, side: Side, block: Block, last_rank: int) -> None:
    """Take in a block. Blocks of one language come in order of their ids.

    The first block is taken in ever wider pieces: the first few columns give a bound to the rest.
    """
    width = block.scores.shape[1]
    piece = width
    if np.isneginf(nearest.bound).any():
        piece = max(_FIRST_WIDTH, nearest.keys.shape[1])
    start = 0
    while start < width:
        columns = slice(start, min(start + piece, width))
        _update(nearest, side, Block(*(array[..., columns] for array in block)), last_rank)
        start, piece = columns.stop, piece * 4


def _update(nearest: Nearest, side: Side, block: Block, last_rank: int) -> None:
    promising = np.flatnonzero(block.scores > nearest.bound[:, None])
    rows, columns = np.divmod(promising, block.scores.shape[1])
    allowed = side.family[rows] != block.family[columns]
    rows, columns = rows[allowed], columns[allowed]
    scores = block.scores[rows, columns]
    high = scores > side.limit[rows]
    nearest.above[:] += np.bincount(rows[high], minlength=len(nearest.above)).astype(np.int32)
    rows, columns, scores = rows[~high], columns[~high], scores[~high]
    if len(rows):
        _merge(nearest, rows, rank_keys(scores, block.ids[columns]))
    nearest.bound[nearest.above >= last_rank] = np.inf


def _merge(nearest: Nearest, rows: np.ndarray, keys: np.ndarray) -> None:
    """Put `keys` [new] in their `rows` [new], ascending, and raise the bounds."""
    counts = np.bincount(rows)
    changed = np.flatnonzero(counts)
    counts = counts[changed]
    kept = nearest.keys.shape[1]
    table = np.full((len(changed), kept + counts.max()), EMPTY)
    table[:, :kept] = nearest.keys[changed]
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[np.repeat(np.arange(len(changed)), counts), kept + place] = keys
    table.sort(axis=1)
    best = table[:, : -kept - 1 : -1]
    nearest.keys[changed] = best
    last = best[:, -1]
    nearest.bound[changed] = np.where(last == EMPTY, -np.inf, key_scores(last))
