"""What a search takes of a memory budget beside what the process holds already.

Blocks and tiles have fixed sizes, so that no result depends on a budget: it decides how many
queries are searched in one pass over the vectors, and whether there is enough to work in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from bias_bench.datasets.collection import Collection
from bias_bench.memory import require_memory
from bias_bench.provenance import resident_memory
from bias_bench.retrieval.blocks import BLOCK
from bias_bench.retrieval.streamed import QUERIES, TILE

_FLOAT, _KEY = 4, 8
_TILE_BYTES = 16  # of a score: itself, a copy, comparisons
_LINE_BYTES = 300  # of a result while its line of the TREC file is made
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
