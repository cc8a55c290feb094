"""What a search, or an index for it, takes of a memory budget beside what the process holds.

Blocks and tiles have fixed sizes, so that no result depends on a budget: it decides how many
queries are searched in one pass over the vectors, and whether there is enough to work in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench.data.collection import Collection
from bias_bench.encoders.blocks import BLOCK
from bias_bench.search.indexed import GATHERED
from bias_bench.search.streamed import QUERIES, TILE
from bias_bench.system.memory import require_memory
from bias_bench.system.provenance import resident_memory

SAMPLED = 500  # queries that the recall of an index is measured on, in each pool
_FLOAT, _KEY = 4, 8
_TILE_BYTES = 16  # of a score: itself, a copy, comparisons
_LINE_BYTES = 300  # of a result while its line of the TREC file is made
_SAMPLE_COPIES = 3  # it, its part that faiss takes, and what is left of it beside centroids
_FIXED = 64 * 1024**2  # tables, threads, and what the allocator keeps


def queries_at_once(
    budget: int | None, collection: Collection, queries: Sequence[np.ndarray], depth: int
) -> int | None:
    """How many queries to search in one pass over the vectors; None for all.

    UsageError, with the least budget that works, where not even one tile's fit.
    """
    if budget is None:
        return None
    dimensions, most = queries[0].shape[1], max(map(len, queries))
    if collection.parallel:  # all pools in memory: another copy, and scores of all candidates
        scores = 3 * _FLOAT * QUERIES * len(collection.candidates)
        copies = 2 * _FLOAT * dimensions * len(collection.candidates)
        require_memory(budget, scores + copies + most * depth * _LINE_BYTES + _FIXED, "search")
        return None
    blocks = 3 * _FLOAT * BLOCK * dimensions
    tiles = (os.cpu_count() or 1) * QUERIES * TILE * _TILE_BYTES
    held = most * depth * (_LINE_BYTES + 3 * _KEY)
    per_query = 3 * _FLOAT * dimensions + 6 * _KEY * depth
    more = blocks + tiles + held + _FIXED
    require_memory(budget, more + QUERIES * per_query, "search")
    return max(QUERIES, (budget - resident_memory() - more) // per_query)


def require_index_memory(
    budget: int | None, built: Mapping[str, Any], shape: tuple[int, int]
) -> None:
    """UsageError, with the least budget that works, where an index cannot be built in it.

    `built` is what decides the index, `shape` how many vectors of how many dimensions it has.
    """
    number, dimensions = shape
    vector, block = _FLOAT * dimensions, _FLOAT * BLOCK * dimensions
    if built["kind"] == "hnsw":  # all vectors, and their links twice as many in the lowest layer
        index = number * (vector + 2 * _FLOAT * built["links"] + 2 * _KEY)
        sample = 0
    else:
        index = number * (built["code_bytes"] + _KEY) + built["lists"] * vector
        sample = _SAMPLE_COPIES * built["trained_on"] * vector
    recall = 4 * _KEY * SAMPLED * BLOCK + (os.cpu_count() or 1) * 2 * GATHERED * vector
    # what grows is copied once to have more room
    require_memory(budget, max(2 * index, sample, recall) + 3 * block + _FIXED, "build an index")
