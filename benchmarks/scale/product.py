"""Exact search against the bare matrix products that it consists of, in processor time."""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from bias_bench.encoders.blocks import ArrayBlocks
from bias_bench.search.streamed import QUERIES, TILE, search_blocks

DEPTH = 100


class Share(NamedTuple):
    """`rate` of bare products in GFLOP per second of one core, and the `share` of it that a search
    of all tiles keeps: the median of pairs, with its extremes.
    """

    dimensions: int
    where: str
    rate: float
    share: float
    lowest: float
    highest: float


def product_share(
    dimensions: int, found: bool, candidates: int = 200_000, queries: int = 1_024, pairs: int = 5
) -> Share:
    """Search random vectors; a query's relevant candidate lies near it if it is to be `found`.

    An encoder that finds little is the worst case: then all scores are compared with that of the
    relevant candidate, not only the few best.
    """
    random = np.random.default_rng(0)
    vectors = _unit(random.standard_normal((candidates, dimensions), dtype=np.float32))
    relevant = random.choice(candidates, (queries, 2), replace=False)
    asked = random.standard_normal((queries, dimensions), dtype=np.float32)
    if found:
        asked = asked / dimensions**0.5 + vectors[relevant].sum(axis=1)
    asked = _unit(asked)
    seconds: list[tuple[float, float]] = []
    for _ in range(pairs):
        start = process_time()
        _products(asked, vectors)
        middle = process_time()
        search_blocks(asked, ArrayBlocks(vectors), relevant, DEPTH)
        seconds.append((middle - start, process_time() - middle))
    shares = [product / search for product, search in seconds]
    work = 2 * dimensions * candidates * queries
    return Share(
        dimensions,
        "near the top" if found else "anywhere",
        work / median(product for product, _ in seconds) / 1e9,
        median(shares),
        min(shares),
        max(shares),
    )


def _products(queries: np.ndarray, vectors: np.ndarray) -> None:
    """All scores by one thread, in products of the shape that is fastest here."""
    scores = np.empty((4 * QUERIES, TILE), dtype=np.float32)
    with threadpool_limits(1, user_api="blas"):
        for first in range(0, len(queries), len(scores)):
            part = queries[first : first + len(scores)]
            for start in range(0, len(vectors), TILE):
                tile = vectors[start : start + TILE]
                np.matmul(part, tile.T, out=scores[: len(part), : len(tile)])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
