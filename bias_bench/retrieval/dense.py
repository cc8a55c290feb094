"""Exact dense search: one similarity computation per query language serves all its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bias_bench.retrieval.exact import Order, Results, candidate_order, rank


class Pool(NamedTuple):
    """All candidates, in id-descending order, with the columns of each language.

    `vectors` float32 [candidates, dimensions]; `rows` int64 [candidates] gives each column's row
    in the collection; `columns` maps a language to its slice of columns.
    """

    vectors: np.ndarray
    rows: np.ndarray
    columns: dict[str, slice]


def make_pool(
    ids: list[str], vectors: np.ndarray, language_rows: Mapping[str, tuple[int, int]]
) -> Pool:
    """Order candidates for search. `language_rows` maps a language to its rows start:stop."""
    order = candidate_order(ids, language_rows)
    return Pool(np.ascontiguousarray(vectors[order.rows], dtype=np.float32), *order)


def search(queries: np.ndarray, pool: Pool, relevant_rows: np.ndarray, depth: int) -> Results:
    """Search every pool for `queries` float32 [queries, dimensions].

    `relevant_rows` int [queries, relevant] holds collection rows, -1 for none. Ranks are exact
    over whole pools.
    """
    return rank(
        lambda part: queries[part] @ pool.vectors.T,
        Order(pool.rows, pool.columns),
        relevant_rows,
        depth,
    )
