"""Rank distance: how far apart a system ranks parallel relevant candidates.

Of one query in the pool of all languages: the largest minus the smallest rank of its parallel
relevant candidates. Lower is better; the floor is the number of languages minus 1, the ceiling the
pool size minus 1. Where the best of them stands first it is the worst rank minus 1 (`found.led` is
the share of such queries, most of them in a good system): it measures the hardest translation, not
which language is preferred, which same-language preference does. A system that finds nothing can
have a low one, so it is read beside AP, and `found` repeats it for the queries whose best parallel
candidate is in the top 10. Where ranks are known down to a cut-off only, it is the least that the
rankings allow, at most the cut-off, and has no value where no parallel candidate was retrieved.

Sources: arXiv:2408.10536, footnote 6, after Huang et al. 2023; the other statistics and the
matrices of signed differences are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import (
    LanguageRanks,
    Parallel,
    absent_last,
    as_table,
    averages,
    column_means,
    is_ordered,
    is_parallel,
    known_ranks,
    mean_of,
    means,
)

FOUND_WITHIN = 10


def rank_distance(ranks: np.ndarray) -> np.ndarray:
    """Max - min over each row of int ranks [queries, relevant]; 0 marks "no candidate".

    Returns float64 [queries], NaN where fewer than two candidates are ranked, or none of them was
    retrieved.
    """
    distance = ranks.max(axis=1, initial=0) - absent_last(ranks).min(axis=1)
    return np.where(is_ordered(ranks), distance.astype(np.float64), np.nan)


def log_rank_distance(ranks: np.ndarray) -> np.ndarray:
    """Natural logarithm of the rank distance [queries], for tests and means: it is heavy-tailed.

    Lower is better; from 0, since two candidates are at least one rank apart.
    """
    return np.log(rank_distance(ranks))


def mean_pairwise_distance(ranks: np.ndarray) -> np.ndarray:
    """Mean |rank a - rank b| over the pairs of each row of int ranks [queries, relevant].

    Lower is better; m candidates give (m + 1)/3 at least, when they follow one another. float64
    [queries], NaN where the rank distance is. In ascending order, the i-th of m ranks is the larger
    of i - 1 pairs and the smaller of m - i.
    """
    number = (ranks > 0).sum(axis=1)
    absent = np.iinfo(np.int64).max
    ordered = np.sort(np.where(ranks > 0, ranks.astype(np.int64), absent), axis=1)
    weight = 2 * np.arange(1, ranks.shape[1] + 1) - number[:, None] - 1
    total = np.where(ordered < absent, weight * np.where(ordered < absent, ordered, 0), 0).sum(1)
    pairs = number * (number - 1) // 2
    return np.where(is_ordered(ranks), total / np.maximum(pairs, 1), np.nan)


def signed_differences(ranks: np.ndarray) -> np.ndarray:
    """Mean of rank a - rank b [languages, languages] over rows of int ranks [queries, languages].

    Above 0: a is ranked worse than b. Antisymmetric; NaN where no topic is answered in both.
    """
    known = known_ranks(ranks)
    return np.stack([column_means(known[:, [column]] - known) for column in range(known.shape[1])])


def differences_to_own(part: LanguageRanks) -> np.ndarray:
    """Mean of a language's rank - the query language's [languages]; 0 for the query language."""
    known = known_ranks(part.least)
    return column_means(known - known[:, [part.own]])


def medians(distances: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Median of distances [queries] by query language, without NaN and languages that have none."""
    return {
        language: float(np.nanmedian(values))
        for language, values in distances.items()
        if not np.isnan(values).all()
    }


def summarise(parallel: Parallel) -> dict[str, Any]:
    """Rank distance, mean and median per query language and their means over languages.

    `left_out` counts the queries of topics answered in fewer than two languages and, where ranks
    are known down to a cut-off only, `not_retrieved` those without a parallel candidate above it.
    `normalised` divides by the pool size minus 1, or by the cut-off, so it lies in [0, 1]; it is
    absent where neither is known. `signed_differences` are rows minus columns: between candidate
    languages, and of candidate languages to the query's own.
    """
    parts = {language: part.least for language, part in parallel.parts.items()}
    distances = {language: rank_distance(ranks) for language, ranks in parts.items()}
    summary = averages(distances)
    if not summary:
        return {}
    of_languages = medians(distances)
    ceiling = parallel.cutoff or parallel.pools.get("all", 1) - 1
    answered = sum(int(is_parallel(ranks).sum()) for ranks in parts.values())
    measured = sum(int((~np.isnan(values)).sum()) for values in distances.values())
    asked = sum(len(ranks) for ranks in parts.values())
    return {
        **summary,
        "median": mean_of(of_languages)["macro"],
        **({"normalised": summary["macro"] / ceiling} if ceiling else {}),
        "median_per_language": of_languages,
        "left_out": asked - answered,
        **({"not_retrieved": answered - measured} if parallel.cutoff else {}),
        "log": means(parallel, lambda part: log_rank_distance(part.least)),
        "mean_pairwise": means(parallel, lambda part: mean_pairwise_distance(part.least)),
        "found": _found(parallel, distances),
        "signed_differences": _matrices(parallel),
    }


def _found(parallel: Parallel, distances: dict[str, np.ndarray]) -> dict[str, Any]:
    """The distance of queries with a parallel candidate in the top 10, and their share.

    `led` is the share of those with one in first place, whose distance is the worst rank - 1.
    """
    best = {name: absent_last(part.ranks).min(axis=1) for name, part in parallel.parts.items()}
    near = {name: np.where(best[name] <= FOUND_WITHIN, distances[name], np.nan) for name in best}

    def share(within: int) -> float:
        shares = {
            name: (best[name] <= within)[is_parallel(part.ranks)].astype(np.float64)
            for name, part in parallel.parts.items()
        }
        return float(averages(shares)["macro"])

    return {
        **averages(near),
        "share": share(FOUND_WITHIN),
        "within": FOUND_WITHIN,
        "led": share(1),
    }


def _matrices(parallel: Parallel) -> dict[str, Any]:
    names = parallel.languages
    tables = np.stack([signed_differences(part.least) for part in parallel.parts.values()])
    between = column_means(tables.reshape(len(tables), -1)).reshape(len(names), len(names))
    to_own = np.stack([differences_to_own(part) for part in parallel.parts.values()])
    return {
        "candidate_languages": as_table(between, names, names),
        "to_query_language": as_table(to_own, list(parallel.parts), names),
    }
