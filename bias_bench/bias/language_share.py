"""Language share: whose candidates stand at the top of the pooled ranking.

The share of the top k that is in the query's language, and the share of every language. With
parallel candidates a system without preference gives each language about its share of the pool;
1 means that it only ever returns the query's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench.datasets.ids import language_of
from bias_bench.evaluation.score_run import run_file
from bias_bench.evaluation.settings import ALL, Setting
from bias_bench.evaluation.trec import read_run

CUTOFFS = (1, 10)


def language_shares(languages: np.ndarray, number: int, k: int) -> np.ndarray:
    """Share float64 [languages] of each language in the top k, averaged over queries.

    `languages` int [queries, depth] holds the language index of each result, best first; -1 past
    the end of a shorter ranking.
    """
    top = languages[:, :k]
    counts = (top[:, :, None] == np.arange(number)).sum(axis=1)
    found = counts[(top >= 0).any(axis=1)]
    return (found / found.sum(axis=1, keepdims=True)).sum(axis=0) / max(len(found), 1)


def top_languages(folder: Path, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Per query language the language indexes int [queries, 10] of a run's pooled results."""
    top = {}
    for language in languages:
        rankings = read_run(run_file(folder, Setting(language, ALL)))
        queries = rankings.queries.dictionary_encode().indices.to_numpy()
        codes = np.array(
            [languages.index(language_of(name)) for name in rankings.candidates.to_pylist()]
        )
        starts = np.flatnonzero(np.diff(queries, prepend=-1))
        place = np.arange(len(codes)) - starts[queries]
        top[language] = np.full((len(starts), max(CUTOFFS)), -1)
        first = place < max(CUTOFFS)
        top[language][queries[first], place[first]] = codes[first]
    return top


def summarise(top: dict[str, np.ndarray], language_names: Sequence[str]) -> dict[str, Any]:
    """Same-language share per cut-off, macro and per query language, and the full share table.

    `top` maps a query language to result languages int [queries, depth] in the pool of all.
    """
    summary: dict[str, Any] = {}
    for k in CUTOFFS:
        shares = {
            language: language_shares(results, len(language_names), k)
            for language, results in top.items()
        }
        same = {
            language: float(share[language_names.index(language)])
            for language, share in shares.items()
        }
        summary[f"same_language_top{k}"] = {
            "macro": float(np.mean(list(same.values()))),
            "per_language": same,
            "shares": {
                language: dict(zip(language_names, share.tolist(), strict=True))
                for language, share in shares.items()
            },
        }
    return summary
