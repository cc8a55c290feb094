"""Exact lexical search: BM25 in every pool, each with an index of its own.

A pool's index knows its own candidates alone: document frequencies and the average length are those
of one language in its pool, and of all languages together in the pool of all. Candidates are
analysed by the analyzer of their language, queries by that of theirs, so across languages a query
finds what both analyzers leave alike: numbers, names in one script, and stems that happen to agree.

A candidate that shares no term with the query is not found by BM25. It has the score 0, less than
any other, and among its like the order of all ties, candidate id descending, which says nothing
about it. So every candidate has a rank, and a ranking goes on where BM25 ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bias_bench.kinds import LexicalOptions
from bias_bench.retrieval.analysis import analyse
from bias_bench.retrieval.bm25 import Index, Part, cached_index
from bias_bench.retrieval.exact import Order, Results, rank

NOT_FOUND = 0.0  # the score of a candidate that shares no term with the query


class Indexes(NamedTuple):
    """An index for each language's pool, and one for the pool of all where that is searched.

    Rows of an index are those of the collection, from its first; candidates stand in `order`.
    """

    own: dict[str, Index]
    whole: Index | None
    order: Order


class LexicalResults(NamedTuple):
    """`found` bool [queries, relevant, 2]: whether a relevant candidate has a term of the query, in
    its own language's pool and in the pool of all.
    """

    results: Results
    found: np.ndarray


def make_indexes(
    parts: Sequence[Part],
    order: Order,
    options: LexicalOptions,
    folder: Path,
    use_cached: bool = True,
    pooled: bool = True,
) -> Indexes:
    """Indexes of all pools, from `folder` where it has them; that of all if they are `pooled`.

    `parts` are the candidates of each language, in the order of the collection's rows.
    """
    own = {part.language: cached_index([part], options, folder, use_cached) for part in parts}
    whole = cached_index(parts, options, folder, use_cached) if pooled else None
    return Indexes(own, whole, order)


def search_lexical(
    queries: Sequence[str], language: str, indexes: Indexes, relevant_rows: np.ndarray, depth: int
) -> LexicalResults:
    """Search every pool for texts of one language; as `dense.search`, with scores of BM25."""
    tokens, order = analyse(queries, language), indexes.order
    relevant = order.columns_of(relevant_rows)
    found = np.zeros((*relevant.shape, 2), dtype=bool)

    def note(part: slice, pool: int, scores: np.ndarray) -> np.ndarray:
        columns = relevant[part]
        of_relevant = np.take_along_axis(scores, np.maximum(columns, 0), axis=1)
        found[part, :, pool] = (of_relevant > NOT_FOUND) & (columns >= 0)
        return scores

    def score_own(part: slice) -> np.ndarray:
        scores = np.empty((len(tokens[part]), len(order.rows)), dtype=np.float32)
        for name, columns in order.columns.items():
            rows = order.rows[columns]
            scores[:, columns] = indexes.own[name].scores(tokens[part])[:, rows - rows.min()]
        return note(part, 0, scores)

    own = rank(score_own, order, relevant_rows, depth)
    whole = indexes.whole
    if whole is None:
        return LexicalResults(own, found)
    pooled = rank(
        lambda part: note(part, 1, whole.scores(tokens[part])[:, order.rows]),
        order,
        relevant_rows,
        depth,
    )
    ranks = np.stack([own.ranks[..., 0], pooled.ranks[..., 1]], axis=-1)
    return LexicalResults(Results(ranks, {**own.top, "all": pooled.top["all"]}), found)
