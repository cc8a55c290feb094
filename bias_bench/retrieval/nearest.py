"""The nearest vectors by an approximate index and exactly, and how many the index misses.

What an index finds is scored from the vectors themselves in float32 and ordered as everywhere
(`order`), so an approximate ranking lacks candidates but has no wrong score and no wrong order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from bias_bench.encoders.blocks import VectorBlocks
from bias_bench.errors import BiasBenchError
from bias_bench.retrieval.approximate import Index
from bias_bench.retrieval.order import key_columns, key_scores, rank_keys
from bias_bench.retrieval.settings import HnswIndex

GATHERED = 32_768  # vectors that a thread holds at a time: 50 MB of 384 dimensions
_MORE = 32  # candidates beside the best whose scores may differ in their last bits
_NOTHING = np.iinfo(np.int64).min  # the key of no candidate


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
    asked = min(_asked(index, limit), vectors.shape[0])
    size = max(1, GATHERED // asked)

    def find(start: int) -> np.ndarray:
        import faiss

        faiss.omp_set_num_threads(1)  # of this thread: queries are spread over threads here
        part = np.ascontiguousarray(queries[start : start + size], dtype=np.float32)
        _, found = index.faiss.search(part, asked, params=_parameters(index, limit))
        return _exact_keys(found, vectors, part)[:, :limit]

    return _nearest(_spread(find, len(queries), size))


def exact_nearest(vectors: VectorBlocks, queries: np.ndarray, depth: int) -> Nearest:
    """The `depth` nearest of all `vectors`, scored as `nearest_by_index` scores what it finds."""
    limit = min(depth, vectors.shape[0])
    asked = min(limit + _MORE, vectors.shape[0])
    best = np.full((len(queries), 0), _NOTHING)
    for first, block in vectors:
        scores = queries @ block.T
        _require_finite(scores)
        columns = np.arange(first, first + len(block))
        keys = np.concatenate([best, rank_keys(scores, columns)], axis=1)
        best = np.partition(keys, max(keys.shape[1] - asked, 0), axis=1)[:, -asked:]
    found, size = key_columns(best), max(1, GATHERED // asked)

    def score(start: int) -> np.ndarray:
        part = slice(start, start + size)
        return _exact_keys(found[part], vectors, queries[part])[:, :limit]

    return _nearest(_spread(score, len(queries), size))


def recall(approximate: Nearest, exact: Nearest, k: int) -> np.ndarray:
    """Share float64 [queries] of the exact best `k` that are among the approximate best `k`.

    `k` is at most what the pool holds. 1 is the same set; higher is better.
    """
    pairs = zip(exact.columns[:, :k], approximate.columns[:, :k], strict=True)
    return np.array([np.isin(wanted, found).mean() for wanted, found in pairs])


def _asked(index: Index, limit: int) -> int:
    """How many candidates the index is asked for; more than wanted, since its order is coarse."""
    settings = index.settings
    if isinstance(settings, HnswIndex):
        return max(limit, settings.search)
    return limit * settings.rescore


def _parameters(index: Index, limit: int) -> Any:
    import faiss

    settings = index.settings
    if isinstance(settings, HnswIndex):
        return faiss.SearchParametersHNSW(efSearch=max(limit, settings.search))
    return faiss.SearchParametersIVF(nprobe=min(settings.probes, index.built["lists"]))


def _exact_keys(found: np.ndarray, vectors: VectorBlocks, queries: np.ndarray) -> np.ndarray:
    """Keys int64 [queries, k] of candidates at columns `found` [queries, k] (-1: none), sorted."""
    columns, places = np.unique(found, return_inverse=True)
    gathered = vectors.rows(np.maximum(columns, 0))
    scores = np.empty(found.shape, dtype=np.float32)
    for own, query, place in zip(scores, queries, places.reshape(found.shape), strict=True):
        # each score by itself: equal vectors have equal scores, wherever they stand
        np.vecdot(gathered[place], query, out=own)
    _require_finite(scores)
    keys = np.where(found >= 0, rank_keys(scores, found), _NOTHING)
    return np.sort(keys, axis=1)[:, ::-1]


def _spread(work: Callable[[int], np.ndarray], number: int, size: int) -> np.ndarray:
    """Results of `work` for each start of a part of `size`, in order, from as many threads."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(work, range(0, number, size))))


def _nearest(keys: np.ndarray) -> Nearest:
    """Decode sorted keys [queries, k]."""
    there = keys != _NOTHING
    return Nearest(
        np.where(there, key_columns(keys), -1),
        np.where(there, key_scores(keys), np.float32(-np.inf)),
    )


def _require_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise BiasBenchError("similarity scores hold NaN or infinity; the encoder is broken")
