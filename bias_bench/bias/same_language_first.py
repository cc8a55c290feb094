"""Same-language preference: the query's language first among the parallel relevant candidates.

Share of queries whose own-language candidate is ranked before those of all other languages in
which the topic is answered. In [0, 1]; no preference is chance, 1/m with m languages: above it a
system prefers the query's language, below it other languages.

Source: after the language preference rate of MLAIRE, arXiv:2605.07249.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import (
    Parallel,
    absent_last,
    as_table,
    column_means,
    is_ordered,
    means,
)


def same_language_first(ranks: np.ndarray, own: int) -> np.ndarray:
    """1 where the query language's rank is the smallest, else 0: float64 [queries].

    `ranks` int [queries, languages], 0 where a topic is not answered; `own` is the query language's
    column. NaN where that one is absent, all others are, or none was retrieved.
    """
    first = first_language(ranks)
    defined = is_ordered(ranks) & (ranks[:, own] > 0)
    return np.where(defined, (first == own).astype(np.float64), np.nan)


def first_language(ranks: np.ndarray) -> np.ndarray:
    """Column int [queries] of the smallest rank in int ranks [queries, languages], 0 = absent."""
    return absent_last(ranks).argmin(axis=1)


def chance(ranks: np.ndarray, own: int) -> np.ndarray:
    """1/m of each query [queries], NaN where `same_language_first` is."""
    defined = is_ordered(ranks) & (ranks[:, own] > 0)
    return np.where(defined, 1 / np.maximum((ranks > 0).sum(axis=1), 1), np.nan)


def summarise(parallel: Parallel) -> dict[str, Any]:
    """The preference, what chance gives, and per query language each language's share of firsts.

    A cell of `first` is over the queries whose topic is answered in the candidate language.
    """
    summary = means(parallel, lambda part: same_language_first(part.ranks, part.own))
    if not summary:
        return {}
    firsts = np.stack([column_means(_firsts(part.ranks)) for part in parallel.parts.values()])
    return {
        **summary,
        "chance": means(parallel, lambda part: chance(part.ranks, part.own)),
        "first": as_table(firsts, list(parallel.parts), parallel.languages),
    }


def _firsts(ranks: np.ndarray) -> np.ndarray:
    """1 where a language is first, 0 where not, NaN without an answer: [queries, languages]."""
    is_first = first_language(ranks)[:, None] == np.arange(ranks.shape[1])
    known = (ranks > 0) & is_ordered(ranks)[:, None]
    return np.where(known, is_first.astype(np.float64), np.nan)
