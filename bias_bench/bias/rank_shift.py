"""MLRS, multilingual rank shift: what ranks gain by being in the query's language.

Each parallel relevant candidate of a query is swapped, by itself, for its version in the query's
language, whose rank r_own in the pool of all languages it then has. Of the most that ranks r can
improve, this is the share that they do:

100 · sum of max(r - r_own, 0) / sum of (r - 1), over the parallel candidates

In percent, [0, 100]: 100 where the query's language is first, 0 where it is last; higher is a
stronger preference for it. Ranks that have nothing to do with language improve too, so `chance`
has the mean over all languages of the topic, each in the place of the query's. A query without a
candidate in its own language has no value. Where ranks are known down to a cut-off only, they are
the least that the rankings allow.

Source: MLRS of Park and Lee, arXiv:2502.11175, who translate all results and rank them again;
here only what has a parallel version is swapped, so that no translator is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, is_ordered, known_ranks, means


def rank_shifts(ranks: np.ndarray) -> np.ndarray:
    """MLRS float64 [queries, languages] with each language in the place of the query's.

    `ranks` int [queries, languages], 0 where a topic is not answered; NaN there, and where nothing
    is known of the order.
    """
    known = np.where(is_ordered(ranks)[:, None], known_ranks(ranks), np.nan)
    gained = np.nansum(np.maximum(known[:, :, None] - known[:, None, :], 0), axis=1)
    most = np.nansum(known - 1, axis=1, keepdims=True)
    return np.where(np.isnan(known), np.nan, 100 * gained / np.where(most > 0, most, 1))


def summarise(parallel: Parallel) -> dict[str, Any]:
    """MLRS, macro and per query language, and what it would be by chance."""
    summary = means(parallel, lambda part: rank_shifts(part.least)[:, part.own])
    if not summary:
        return {}

    def chance(ranks: np.ndarray, own: int) -> np.ndarray:
        shifts = rank_shifts(ranks)
        number = np.maximum((~np.isnan(shifts)).sum(axis=1), 1)
        return np.where(np.isnan(shifts[:, own]), np.nan, np.nansum(shifts, axis=1) / number)

    return {**summary, "chance": means(parallel, lambda part: chance(part.least, part.own))}
