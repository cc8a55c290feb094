"""Single target: the pool of all languages with one language's relevant candidate alone.

All other relevant candidates of the query are taken out, so that AP is 1/rank of the one that stays
among everything irrelevant. A query language × candidate language table of means, each in (0, 1],
higher is better; `macro` is the mean of the query's own language less that of the others: 0 without
bias, higher is stronger preference for the query's language. Where ranks are known down to a
cut-off only, a target past it counts 0. (A pool of one language only is the monolingual and
cross-lingual settings.)

Source: LAReQA (arXiv:2004.05484), section 5, "limit to one target".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import (
    LanguageRanks,
    Parallel,
    as_table,
    averages,
    column_means,
    is_parallel,
)


def single_target(ranks: np.ndarray, relevant: np.ndarray, cutoff: int = 0) -> np.ndarray:
    """1/rank without the other relevant candidates: float64 [queries, languages], NaN = absent.

    `ranks` int [queries, languages] are those of the targets, `relevant` int [queries, most
    relevant] those of all relevant candidates; 0 = absent in both. A target whose rank is past
    `cutoff` counts 0; a `cutoff` of 0 is none.
    """
    above = ((relevant[:, None, :] < ranks[:, :, None]) & (relevant[:, None, :] > 0)).sum(axis=2)
    past = (ranks > cutoff) if cutoff else np.zeros(ranks.shape, dtype=bool)
    value = np.where(past, 0.0, 1 / np.maximum(ranks - above, 1))
    return np.where(ranks > 0, value, np.nan)


def _values(part: LanguageRanks) -> np.ndarray:
    return single_target(part.ranks, part.relevant, part.cutoff)


def own_and_others(part: LanguageRanks) -> np.ndarray:
    """The own language's value and the mean of the others': float64 [queries, 2].

    NaN where the query's own language or all others are absent.
    """
    values = _values(part)
    others = np.delete(values, part.own, axis=1)
    count = (~np.isnan(others)).sum(axis=1)
    mean = np.nansum(others, axis=1) / np.maximum(count, 1)
    defined = is_parallel(part.ranks) & (part.ranks[:, part.own] > 0)
    return np.where(defined[:, None], np.stack([values[:, part.own], mean], axis=1), np.nan)


def table(parallel: Parallel) -> np.ndarray:
    """Mean [query languages, candidate languages]; NaN where no topic is answered there."""
    return np.stack([column_means(_values(part)) for part in parallel.parts.values()])


def summarise(parallel: Parallel) -> dict[str, Any]:
    """The difference of both parts, and the parts, macro and per query language, and the table."""
    values = {language: own_and_others(part) for language, part in parallel.parts.items()}
    summary = averages({name: both[:, 0] - both[:, 1] for name, both in values.items()})
    if not summary:
        return {}
    return {
        **summary,
        "same": averages({name: both[:, 0] for name, both in values.items()}),
        "other": averages({name: both[:, 1] for name, both in values.items()}),
        "table": as_table(table(parallel), list(parallel.parts), parallel.languages),
    }
