"""TLR@20: recall of relevant candidates in languages other than the query's.

Share of a query's relevant candidates in other languages that are in the top 20 of the pool of all
languages. In [0, 1], higher is better; 20 results hold at most 20 of them. A query whose topic is
answered in its own language only has no value. Where ranks are known down to less than 20 there is
none at all.

Source: TLR@20 of SHIFT, arXiv:2606.18801.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, means

CUTOFF = 20


def other_language_recall(
    ranks: np.ndarray, languages: np.ndarray, own: int, k: int = CUTOFF
) -> np.ndarray:
    """Recall float64 [queries] at `k` of candidates in other languages than `own`.

    `ranks` int [queries, relevant], 0 past the end, and the column of each candidate's language
    likewise in `languages`. NaN where all are in the own language.
    """
    others = (ranks > 0) & (languages != own)
    number = others.sum(axis=1)
    retrieved = (others & (ranks <= k)).sum(axis=1)
    return np.where(number > 0, retrieved / np.maximum(number, 1), np.nan)


def summarise(parallel: Parallel) -> dict[str, Any]:
    """Recall at 20 in other languages, macro and per query language."""
    if parallel.cutoff and parallel.cutoff < CUTOFF:
        return {}
    return means(
        parallel,
        lambda part: other_language_recall(part.relevant, part.relevant_languages, part.own),
    )
