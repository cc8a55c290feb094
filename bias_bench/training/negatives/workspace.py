"""How mining divides its work: block shapes, and how many queries and cores the budget allows.

A matrix product is always of `QUERIES` by `CANDIDATES`, but for the last of each: rounding can
depend on the shape, and so it does not depend on the budget.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from bias_bench.config.mining import MiningSettings
from bias_bench.data.pairs import Pairs
from bias_bench.errors import UsageError

QUERIES, CANDIDATES = 1024, 2048
_MOST_QUERIES = 4 * QUERIES  # of one block: more gains nothing and leaves cores without work
_MEGABYTE = 1 << 20


class Workspace(NamedTuple):
    """`queries` of a block, which one of `threads` threads mines at a time.

    Each product of matrices is to take one thread of its own.
    """

    queries: int
    threads: int


def make_workspace(pairs: Pairs, dimensions: int, settings: MiningSettings) -> Workspace:
    """As many threads as matrix products are set to use, and as the budget allows.

    UsageError when the budget is too small for a single block.
    """
    fixed, of_query = _bytes(pairs, dimensions, settings)
    least = fixed + QUERIES * of_query
    budget = settings.memory_mb * _MEGABYTE
    if budget < least:
        raise UsageError(
            f"training.negatives.memory_mb = {settings.memory_mb} is too little; mining these "
            f"vectors takes at least {-(-least // _MEGABYTE)}"
        )
    threads = min(_product_threads(), budget // least)
    blocks = (budget // threads - fixed) // of_query // QUERIES
    return Workspace(min(blocks * QUERIES, _MOST_QUERIES), threads)


def _bytes(pairs: Pairs, dimensions: int, settings: MiningSettings) -> tuple[int, int]:
    """What a thread needs for itself, and for each query of its block."""
    languages = len(pairs.languages)
    kept = settings.number + settings.first_rank - 1
    positives = -(-len(pairs) // max(1, len(pairs.query_texts)))
    fixed = (
        2 * CANDIDATES * dimensions * 8  # a block's vectors and the last one's, perhaps cast
        + 3 * 4096 * dimensions * 4  # vectors of positives
        + QUERIES * CANDIDATES * 6  # scores, a mask
        + QUERIES * max(32, kept) * 5 * 64  # candidates looked at while no bound is known
        + QUERIES * languages * kept * 64  # choosing
    )
    return fixed, 8 * dimensions + languages * (8 * kept + 40) + 40 * positives


def _product_threads() -> int:
    """The number that environment and affinity leave to matrix products."""
    from threadpoolctl import threadpool_info

    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(blas, default=os.cpu_count() or 1)
