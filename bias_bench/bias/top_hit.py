"""The top hit in four parts: relevant or not, in the query's language or not.

Shares of queries, which sum to 1, in the pool of all languages. `relevant_same` and
`relevant_other` are successes; `other_same` is the failure of language bias (a wrong candidate,
preferred for its language), `other_other` any other failure. Each in [0, 1].

Source: after the four-way decomposition of MLAIRE, arXiv:2605.07249.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import averages
from bias_bench.bias.pooled import PooledRun

PARTS = ("relevant_same", "relevant_other", "other_same", "other_other")


def top_hit(relevant: np.ndarray, languages: np.ndarray, own: int) -> np.ndarray:
    """Which of `PARTS` each query's first result is: int [queries], -1 where nothing is found.

    `relevant` bool and `languages` int (-1 past the end) are [queries, depth], best first; `own` is
    the number of the query's language.
    """
    if not languages.shape[1]:
        return np.full(len(languages), -1)
    kind = 2 * ~relevant[:, 0] + (languages[:, 0] != own)
    return np.where(languages[:, 0] >= 0, kind, -1)


def summarise(runs: Mapping[str, PooledRun], languages: tuple[str, ...]) -> dict[str, Any]:
    """Macro and per-language share of each part, over all queries with a relevant candidate."""
    kinds = {
        language: top_hit(run.relevant, run.languages, languages.index(language))
        for language, run in runs.items()
    }
    return {
        name: averages(
            {
                language: np.where(kind >= 0, (kind == number).astype(np.float64), np.nan)
                for language, kind in kinds.items()
            }
        )
        for number, name in enumerate(PARTS)
    }
