"""Target removal: how much AP hangs on the candidate in the query's own language.

One parallel relevant candidate is removed from the pool of all languages and from the relevant
ones; those below it move up by one rank. `same` is AP less AP without the query language's
candidate, `other` the same for another language's, averaged over those. Each in (-1, 1); `macro` is
same - other: 0 without bias, higher is stronger preference for the query's language. `ap` is the AP
of the same queries, to put the losses in proportion. Where ranks are known down to a cut-off only,
AP is AP down to there: what is past it adds 0, with or without the removed candidate.

Source: LAReQA (arXiv:2004.05484), section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, averages, is_parallel
from bias_bench.evaluation.metrics import Metric, compute


def ap_without(ranks: np.ndarray, cutoff: int = 0) -> np.ndarray:
    """AP after the removal of each candidate: float64 [queries, languages].

    `ranks` int [queries, languages], 0 = absent; NaN there, and where no other candidate is left.
    Those past `cutoff` add nothing; 0 is none.
    """
    absent = np.iinfo(np.int64).max
    known = np.where(ranks > 0, ranks.astype(np.int64), absent)
    order = np.argsort(known, axis=1, kind="stable")
    ordered = np.take_along_axis(known, order, axis=1)
    present = ordered < absent
    within = ordered <= (cutoff or absent - 1)
    place = np.arange(1, ranks.shape[1] + 1)
    before = np.where(within, place / ordered, 0.0)
    # below a removed candidate both the count of relevant ones and the rank are one less
    after = np.where(within, (place - 1) / np.maximum(ordered - 1, 1), 0.0)
    above = before.cumsum(axis=1) - before
    below = after[:, ::-1].cumsum(axis=1)[:, ::-1] - after
    left = present.sum(axis=1, keepdims=True) - 1
    value = np.where(present & (left > 0), (above + below) / np.maximum(left, 1), np.nan)
    result = np.empty_like(value)
    np.put_along_axis(result, order, value, axis=1)
    return result


def removal_effects(ranks: np.ndarray, own: int, cutoff: int = 0) -> np.ndarray:
    """AP, and what removing the own language's candidate or another's takes: float64 [queries, 3].

    `ranks` int [queries, languages], 0 = absent. NaN where the query's own language or all others
    are absent. AP is AP@`cutoff`; 0 is none.
    """
    defined = is_parallel(ranks) & (ranks[:, own] > 0)
    effects = np.full((len(ranks), 3), np.nan)
    whole = compute(Metric("AP", cutoff), ranks[defined])
    lost = whole[:, None] - ap_without(ranks[defined], cutoff)
    others = np.delete(lost, own, axis=1)
    effects[defined, 0] = whole
    effects[defined, 1] = lost[:, own]
    effects[defined, 2] = np.nansum(others, axis=1) / (~np.isnan(others)).sum(axis=1)
    return effects


def preference(ranks: np.ndarray, own: int, cutoff: int = 0) -> np.ndarray:
    """AP lost with the own language's candidate less that lost with another's: [queries]."""
    effects = removal_effects(ranks, own, cutoff)
    return effects[:, 1] - effects[:, 2]


def summarise(parallel: Parallel) -> dict[str, Any]:
    """The difference of both parts, and the parts, macro and per query language."""
    effects = {
        name: removal_effects(part.ranks, part.own, part.cutoff)
        for name, part in parallel.parts.items()
    }
    summary = averages({name: values[:, 1] - values[:, 2] for name, values in effects.items()})
    if not summary:
        return {}
    return {
        **summary,
        **{
            part: averages({name: values[:, column] for name, values in effects.items()})
            for column, part in enumerate(("ap", "same", "other"))
        },
    }
