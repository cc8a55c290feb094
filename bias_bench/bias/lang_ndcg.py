"""Lang-nDCG: nDCG that gains more from the query's language.

nDCG at 20 of the relevant candidates in the pool of all languages, with gain 1 for one in the
query's language and 1/2 for one in another (`gain_of_others`), discount 1/log2(rank + 1), divided
by that of the best order: all in the query's language first, then the others. In [0, 1], higher is
better: relevance and the query's language both count, so it is not a measure of bias alone.
`own_only` has gain 0 for other languages: nDCG of the query's language in the pool of all. A query
without a relevant candidate in its own language has no value. Where ranks are known down to less
than 20 there is none at all.

Source: MLAIRE, arXiv:2605.07249, which names the measure; the gain of 1/2 is this project's choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import LanguageRanks, Parallel, means
from bias_bench.evaluation.metrics import graded_ndcg

CUTOFF = 20
GAIN_OF_OTHERS = 0.5


def lang_ndcg(
    ranks: np.ndarray, languages: np.ndarray, own: int, gain: float, k: int = CUTOFF
) -> np.ndarray:
    """Lang-nDCG float64 [queries] at `k`, with `gain` for languages other than `own`.

    `ranks` int [queries, relevant], 0 past the end, and the column of each candidate's language
    likewise in `languages`. NaN where none is in the own language.
    """
    defined = ((ranks > 0) & (languages == own)).any(axis=1)
    gains = np.where(languages == own, 1.0, gain)
    value = np.full(len(ranks), np.nan)
    value[defined] = graded_ndcg(ranks[defined].astype(np.int64), k, gains[defined])
    return value


def summarise(parallel: Parallel) -> dict[str, Any]:
    """Lang-nDCG at 20, and the same with the query's language alone."""
    if parallel.cutoff and parallel.cutoff < CUTOFF:
        return {}

    def values(part: LanguageRanks, gain: float) -> np.ndarray:
        return lang_ndcg(part.relevant, part.relevant_languages, part.own, gain)

    summary = means(parallel, lambda part: values(part, GAIN_OF_OTHERS))
    if not summary:
        return {}
    own_only = means(parallel, lambda part: values(part, 0.0))
    return {**summary, "gain_of_others": GAIN_OF_OTHERS, "own_only": own_only}
