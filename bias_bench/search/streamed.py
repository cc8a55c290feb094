"""Exact dense search of one pool that is read block by block, for all queries in one pass.

Scores are computed tile by tile, each a matrix product of one shape by one thread, so that they
depend on nothing but the two vectors: not on the number of threads, processes or passes. The
products are torch's: with OpenBLAS, numpy's, the last bit of a score depends on the place of the
two vectors in a tile, where its kernels for Haswell run. While a
tile is in the processor's cache, what can enter a ranking is picked out of it, and the candidates
above each relevant one are counted. The scores of relevant candidates are computed first and put
in place of the tiles', so ranks and rankings agree bit for bit.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import NamedTuple

import numpy as np

from bias_bench.encoders.blocks import VectorBlocks, block_starts
from bias_bench.errors import BiasBenchError
from bias_bench.search.order import NO_KEY, key_columns, key_scores, rank_keys
from bias_bench.system.console import Advance
from bias_bench.system.processes import ALONE, Processes

QUERIES, TILE = 512, 2_048  # of a tile, whose scores take 4 MB; constants, for equal last bits
_WORD = 8  # columns whose comparisons are looked at together
_LARGEST = 1e38  # what products of vectors may come to in float32


class Ranked(NamedTuple):
    """`keys` int64 [queries, depth], best first (`retrieval.order`); `ranks` int32 [queries,
    relevant], from 1, 0 where there is none.
    """

    keys: np.ndarray
    ranks: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """int64 [queries, depth]: the columns found, best first."""
        return key_columns(self.keys)


def search_blocks(
    queries: np.ndarray,
    vectors: VectorBlocks,
    relevant: np.ndarray,
    depth: int,
    advance: Advance = lambda _: None,
    processes: Processes = ALONE,
) -> Ranked:
    """The best of a pool for `queries` float32 [queries, dimensions], and exact ranks.

    `relevant` int [queries, relevant] holds columns, -1 for none. `advance` hears of candidates.
    Of several processes each searches its share of the blocks, and the first has the result; what
    the others return is of their share. BiasBenchError for vectors whose products are not finite.
    """
    length = _length(queries)
    order = np.argsort(-_used(relevant), kind="stable")  # so that few rows are padding
    depth = min(depth, vectors.shape[0])
    groups = [
        _Group(queries[rows], relevant[rows], depth)
        for rows in np.split(order, range(QUERIES, len(order), QUERIES))
    ]
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with _one_thread_each(), ThreadPoolExecutor(threads) as pool:
        for group in groups:
            group.score_relevant(vectors, processes)
        for start, block in _read_ahead(vectors, processes):
            if not length * _length(block) < _LARGEST:  # so no score is larger
                raise BiasBenchError(
                    "vectors hold NaN or infinity, or are too large; the encoder is broken"
                )
            _search_block(pool, 2 * (threads or 1), groups, start, block)
            advance(len(block))
    return _result(groups, order, processes)


class _Hits(NamedTuple):
    """Of a tile: the candidates `above` each relevant one, int [queries, relevant]; and `keys`
    int64 [n] that may be among the best of the queries `rows` int [n].
    """

    above: np.ndarray
    rows: np.ndarray
    keys: np.ndarray


class _Group:
    """Up to `QUERIES` queries, and what is found for them so far."""

    def __init__(self, queries: np.ndarray, relevant: np.ndarray, depth: int) -> None:
        self.number = len(queries)
        self.queries = _padded(queries, QUERIES)
        self.relevant = relevant
        self.above = np.zeros(relevant.shape, dtype=np.int64)
        self.best = np.full((len(queries), depth), NO_KEY)
        self.bound = np.full(len(queries), -np.inf, dtype=np.float32)
        self._used = _used(relevant)
        self._hits: list[_Hits] = []
        rows, places = np.nonzero(relevant >= 0)
        by_column = np.argsort(relevant[rows, places], kind="stable")
        self._rows, self._places = rows[by_column], places[by_column]
        self._columns = relevant[self._rows, self._places]
        self._scores = np.zeros(len(self._columns), dtype=np.float32)
        self._thresholds = np.full(relevant.shape, np.inf, dtype=np.float32)

    def score_relevant(self, vectors: VectorBlocks, processes: Processes) -> None:
        """Compute the scores of the relevant candidates, to use wherever they stand."""
        columns, column_of = np.unique(self._columns, return_inverse=True)
        for start in range(0, len(columns), TILE):
            tile = vectors.rows(columns[start : start + TILE])
            scores = _products(self.queries, _padded(tile, TILE))
            here = np.flatnonzero((column_of >= start) & (column_of < start + TILE))
            self._scores[here] = scores[self._rows[here], column_of[here] - start]
        self._scores = processes.of_first(self._scores)
        self._thresholds[self._rows, self._places] = self._scores

    def search(self, tile: np.ndarray, start: int, width: int) -> _Hits:
        """Score `tile` float32 [TILE, dimensions], whose first `width` rows are the candidates at
        columns `start` and on.
        """
        scores = _products(self.queries, tile)[: self.number, :width]
        first, last = np.searchsorted(self._columns, (start, start + width))
        rows, columns = self._rows[first:last], self._columns[first:last] - start
        scores[rows, columns] = self._scores[first:last]
        highest = scores.max(axis=1)
        above = self._count(scores, highest, start)
        for row, place, column in zip(rows, self._places[first:last], columns, strict=True):
            above[row, place] += np.count_nonzero(scores[row, :column] == scores[row, column])
        return _Hits(above, *self._pick(scores, highest, start))

    def _count(self, scores: np.ndarray, highest: np.ndarray, start: int) -> np.ndarray:
        """int64 [queries, relevant]: higher scores, and equal ones of a tile before the relevant's.

        Equal scores of the relevant candidate's own tile are not counted.
        """
        above = np.zeros(self.relevant.shape, dtype=np.int64)
        behind = self.relevant < start + scores.shape[1]
        least = np.where(
            behind, np.nextafter(self._thresholds, np.float32(np.inf)), self._thresholds
        )
        for place in range(self.relevant.shape[1]):
            bound = least[: np.count_nonzero(self._used > place), place]
            rows = np.flatnonzero(highest[: len(bound)] >= bound)
            if 2 * len(rows) > len(bound):  # a copy of this many rows would take longer
                rows = np.arange(len(bound))
            mask = _compared(np.greater_equal, scores, rows, bound)
            above[rows, place] = np.bitwise_count(mask.view(np.uint64)).sum(axis=1, dtype=np.int64)
        return above

    def _pick(
        self, scores: np.ndarray, highest: np.ndarray, start: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and keys of the scores above the lowest of the best so far.

        Those are of earlier columns, so an equal score comes after them. (Tiles are searched, and
        their hits taken, in the order of columns.)
        """
        compare: np.ufunc = np.greater
        bound, depth = self.bound, self.best.shape[1]
        if scores.shape[1] >= depth and np.isneginf(bound).all():  # nothing is known yet
            compare, bound = np.greater_equal, np.partition(scores, -depth, axis=1)[:, -depth]
        rows = np.flatnonzero(compare(highest, bound))
        if 2 * len(rows) > len(bound):
            rows = np.arange(len(bound))
        words = _compared(compare, scores, rows, bound).reshape(-1, _WORD)
        some = np.flatnonzero(words.view(np.uint64) != 0)  # of bool, which is quick
        word, bit = np.nonzero(words[some])
        picked, columns = np.divmod(some[word] * _WORD + bit, TILE)
        rows = rows[picked]
        return rows, rank_keys(scores[rows, columns], start + columns)

    def take(self, hits: _Hits) -> None:
        """Add what a tile gave; the best are put in order once enough is waiting."""
        self.above += hits.above
        self._hits.append(hits)
        if sum(len(hits.rows) for hits in self._hits) > self.best.size // 2:
            self.settle()

    def settle(self) -> None:
        """Keep the best of all that was taken."""
        if not self._hits:
            return
        rows = np.concatenate([hits.rows for hits in self._hits])
        by_row = np.argsort(rows, kind="stable")
        rows, keys = rows[by_row], np.concatenate([hits.keys for hits in self._hits])[by_row]
        counts = np.bincount(rows, minlength=self.number)
        place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        waiting = np.full((self.number, counts.max(initial=0)), NO_KEY)
        waiting[rows, place] = keys
        self.best = _highest(np.concatenate([self.best, waiting], axis=1), self.best.shape[1])
        lowest = self.best.min(axis=1)
        self.bound = np.where(lowest > NO_KEY, key_scores(lowest), np.float32(-np.inf))
        self._hits = []


def _search_block(
    pool: ThreadPoolExecutor, most: int, groups: list[_Group], start: int, block: np.ndarray
) -> None:
    """Search a block, with at most `most` results of tiles waiting at any time."""
    running: deque[tuple[_Group, Future[_Hits]]] = deque()
    for first in range(0, len(block), TILE):
        tile = block[first : first + TILE]
        padded = _padded(tile, TILE)
        for group in groups:
            job = pool.submit(group.search, padded, start + first, len(tile))
            running.append((group, job))
            if len(running) >= most:
                _take(running)
    while running:
        _take(running)


def _take(running: deque[tuple[_Group, Future[_Hits]]]) -> None:
    group, job = running.popleft()
    group.take(job.result())


def _read_ahead(vectors: VectorBlocks, share: Processes) -> Iterator[tuple[int, np.ndarray]]:
    """The process's share of the blocks, of which the next is read while one is searched."""
    starts = block_starts(vectors)[share.rank :: share.number]
    with ThreadPoolExecutor(1) as reader:
        jobs = [reader.submit(vectors.block, start) for start in starts[:1]]
        for place, start in enumerate(starts):
            current = jobs.pop()
            jobs += [reader.submit(vectors.block, later) for later in starts[place + 1 : place + 2]]
            yield start, current.result()


def _result(groups: list[_Group], order: np.ndarray, processes: Processes) -> Ranked:
    """Everything put together, for all queries in their own order."""
    for group in groups:
        group.settle()
    best = np.concatenate([group.best for group in groups])
    above = processes.total(np.concatenate([group.above for group in groups]))
    if processes.number > 1:
        gathered = processes.gathered(best)
        if gathered:
            best = _highest(np.concatenate(gathered, axis=1), best.shape[1])
    present = np.concatenate([group.relevant for group in groups]) >= 0
    back = np.argsort(order)
    ranks = np.where(present, above + 1, 0).astype(np.int32)
    return Ranked(np.sort(best, axis=1)[:, ::-1][back], ranks[back])


class _Buffers(local):
    """A thread's own room for a tile, since fresh memory costs as much as the work on it."""

    def __init__(self) -> None:
        self.scores = np.empty((QUERIES, TILE), dtype=np.float32)
        self.mask = np.zeros((QUERIES, TILE), dtype=bool)


_buffers = _Buffers()  # threading.local: every thread sees its own


def _products(queries: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """float32 [QUERIES, TILE]: inner products. The next call of this thread overwrites them."""
    import torch

    torch.mm(
        torch.from_numpy(queries),
        torch.from_numpy(tile).T,
        out=torch.from_numpy(_buffers.scores),
    )
    return _buffers.scores


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """While it lasts, a product takes one thread: its bits depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compared(
    compare: np.ufunc, scores: np.ndarray, rows: np.ndarray, bound: np.ndarray
) -> np.ndarray:
    """Bool [rows, TILE]: the scores of `rows` compared with `bound`, which is of the first rows.

    False after the last column. The next call of this thread overwrites it.
    """
    mask, width = _buffers.mask[: len(rows)], scores.shape[1]
    whole = len(rows) == len(bound)
    compared = scores[: len(rows)] if whole else scores[rows]
    compare(compared, bound[:, None] if whole else bound[rows, None], out=mask[:, :width])
    mask[:, width:] = False
    return mask


def _highest(keys: np.ndarray, number: int) -> np.ndarray:
    """The highest keys of each row, in any order."""
    if not number or keys.shape[1] <= number:
        return keys
    return np.partition(keys, -number, axis=1)[:, -number:]


def _used(relevant: np.ndarray) -> np.ndarray:
    """How many columns, int [queries], hold all relevant candidates of each row."""
    columns = np.arange(1, relevant.shape[1] + 1)
    return np.where(relevant >= 0, columns, 0).max(axis=1, initial=0)


def _padded(vectors: np.ndarray, number: int) -> np.ndarray:
    """`number` rows, zero after the vectors'; writeable, as torch wants it."""
    if len(vectors) == number:
        return np.require(vectors, np.float32, ["C", "W"])
    padded = np.zeros((number, vectors.shape[1]), dtype=np.float32)
    padded[: len(vectors)] = vectors
    return padded


def _length(vectors: np.ndarray) -> float:
    """Root of the sum of all squares, which no vector is longer than; NaN where there is one."""
    flat = vectors.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # whoever asks looks at the result
        return float(np.sqrt(np.dot(flat, flat)))
