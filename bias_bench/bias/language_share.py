"""Language share: whose candidates stand at the top of the pooled ranking.

The share of the top k that is in the query's language, and the share of every language. With
parallel candidates a system without preference gives each language about its share of the pool;
1 means that it only ever returns the query's language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench.bias.parallel import column_means, mean_of
from bias_bench.bias.pooled import weighted_shares


def language_shares(languages: np.ndarray, number: int, k: int) -> np.ndarray:
    """Share float64 [languages] of each language in the top k, averaged over queries.

    `languages` int [queries, depth] holds the language index of each result, best first; -1 past
    the end of a shorter ranking. NaN where nothing is found.
    """
    top = languages[:, :k]
    return column_means(weighted_shares(top, number, np.ones(top.shape[1])))


def summarise(
    top: Mapping[str, np.ndarray], language_names: Sequence[str], k: int
) -> dict[str, Any]:
    """Share of the query's language in the top k, macro and per query language, and all shares.

    `top` maps a query language to result languages int [queries, depth] in the pool of all; one
    without a single result is left out.
    """
    shares = {
        language: language_shares(results, len(language_names), k)
        for language, results in top.items()
        if (results >= 0).any()
    }
    if not shares:
        return {}
    same = {name: float(share[language_names.index(name)]) for name, share in shares.items()}
    return {
        **mean_of(same),
        "shares": {
            language: dict(zip(language_names, share.tolist(), strict=True))
            for language, share in shares.items()
        },
    }
