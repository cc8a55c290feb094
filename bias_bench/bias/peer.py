"""PEER: the probability that candidates of all languages have equal expected rank.

Per query and relevance level (grade) the p-value of a Kruskal-Wallis test over languages on the
ranks down to a cut-off; PEER is the weighted sum over levels (default: all grades above 0 alike,
nothing for the others, `0`). In [0, 1], higher is fairer; 1 where fewer than two languages are
ranked or nothing of the level is retrieved.

On one candidate per language and level it is constant, whatever a system does. With m groups of 1,
every group mean is its only rank, r̄_i = r_i1, so that H = (N - 1) Σ n_i (r̄_i - r̄)² / ΣΣ (r_ij - r̄)²
has the same sum above and below: H = N - 1 = m - 1, and p = P(χ²_{m-1} > m - 1) whatever the ranks
are: 0.4405 for 11 languages. Only a failure moves it, and up: to 1 where nothing is retrieved. So
queries without two languages and two candidates of a language in a level are left out, and there is
no value where all are, as on parallel data (XQuAD-R, MLQA-R); the Friedman test is the alternative.

A relevant candidate below the cut-off X is not retrieved; the u of them share the mean of the ranks
X + 1 … X + u. (The authors' program, at commit cb6fb77, puts them behind the number of documents of
the level instead, and so before retrieved ones; `reference=True` repeats that.)

Source: Yang, Jänich, Mayfield and Lawrie, SIGIR 2024 (arXiv:2405.00978).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import LanguageRanks, Parallel, averages
from bias_bench.bias.pooled import PooledRun
from bias_bench.errors import UsageError

CUTOFF = 20


def equal_rank_p(ranks: np.ndarray, groups: np.ndarray, number: int) -> np.ndarray:
    """p-value [queries] of Kruskal-Wallis on ranks as given, 1 where there is nothing to compare.

    `ranks` float [queries, documents] and their `groups` int from 0 below `number`, -1 = none.
    """
    from scipy.stats import chi2

    known = groups >= 0
    rows, places = np.nonzero(known)
    cell = rows * number + groups[rows, places]
    size = np.bincount(cell, minlength=len(ranks) * number).reshape(-1, number)
    total = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, ranks, 0.0).sum(axis=1, keepdims=True) / total
    centred = np.where(known, ranks - mean, 0.0)
    sums = np.bincount(cell, centred[rows, places], len(ranks) * number).reshape(-1, number)
    between = (np.square(sums) / np.maximum(size, 1)).sum(axis=1)
    within = np.square(centred).sum(axis=1)
    present = (size > 0).sum(axis=1)
    defined = (present >= 2) & (within > 0)
    statistic = (total[:, 0] - 1) * between / np.where(defined, within, 1.0)
    return np.where(defined, chi2.sf(statistic, np.maximum(present - 1, 1)), 1.0)


def relevant_p(
    ranks: np.ndarray, languages: np.ndarray, number: int, cutoff: int, reference: bool = False
) -> np.ndarray:
    """p-value [queries] of one relevant level, from exact ranks.

    `ranks` int [queries, relevant], 0 past the end, with `languages` alike, -1 past the end.
    """
    known = ranks > 0
    found = known & (ranks <= cutoff)
    missing = (known & ~found).sum(axis=1, keepdims=True)
    last = known.sum(axis=1, keepdims=True) if reference else cutoff
    placed = np.where(found, ranks, (2 * last + missing + 1) / 2)
    p = equal_rank_p(placed, np.where(known, languages, -1), number)
    return np.where(found.any(axis=1), p, 1.0)


def other_p(languages: np.ndarray, relevant: np.ndarray, number: int) -> np.ndarray:
    """p-value [queries] of the irrelevant level, from rankings cut at the cut-off.

    `languages` int [queries, cutoff], -1 past the end; `relevant` bool alike.
    """
    ranks = np.broadcast_to(np.arange(1.0, languages.shape[1] + 1), languages.shape)
    return equal_rank_p(ranks, np.where(relevant, -1, languages), number)


def says_something(languages: np.ndarray, number: int) -> np.ndarray:
    """Whether `relevant_p` depends on the ranks: bool [queries].

    `languages` as there: it takes two of them, and two candidates of one.
    """
    sizes = (languages[:, :, None] == np.arange(number)).sum(axis=1)
    return ((sizes > 0).sum(axis=1) >= 2) & (sizes.max(axis=1, initial=0) >= 2)


def summarise(
    runs: Mapping[str, PooledRun],
    parallel: Parallel,
    weights: Mapping[int, float] | None = None,
    reference: bool = False,
) -> dict[str, Any]:
    """PEER at 20 (or the runs' depth: `cutoff`) and its levels; empty where all values are fixed.

    `weights` by grade, 0 for candidates that are not relevant, sum to 1; by default all grades
    above 0 that occur weigh alike. `reference` repeats the authors' ranks of what is missing.
    `left_out` counts the queries whose value no ranking could change, `retrieved` is the share of
    the others with a relevant candidate down to the cut-off.
    """
    grades = {language: _grades(part) for language, part in parallel.parts.items()}
    levels = sorted({int(grade) for of in grades.values() for grade in np.unique(of)} - {0})
    if weights is None:
        weights = {0: 0.0, **dict.fromkeys(levels, 1 / max(len(levels), 1))}
    elif abs(sum(weights.values()) - 1) > 1e-9 or min(weights.values()) < 0:
        raise UsageError("PEER needs weights of grades from 0 that sum to 1")
    number = len(parallel.languages)
    cutoff = min(CUTOFF, max((run.languages.shape[1] for run in runs.values()), default=CUTOFF))
    free: dict[str, np.ndarray] = {}
    retrieved: dict[str, np.ndarray] = {}
    p: dict[str, dict[int, np.ndarray]] = {}
    for language, run in runs.items():
        part, of = parallel.parts[language], grades[language]
        columns = {grade: np.where(of == grade, part.relevant_languages, -1) for grade in levels}
        says = [says_something(at, number) for at in columns.values()]
        free[language] = np.sum(says, axis=0) > 0
        p[language] = {
            grade: relevant_p(
                np.where(of == grade, part.relevant, 0), at, number, cutoff, reference
            )
            for grade, at in columns.items()
        }
        p[language][0] = other_p(run.languages[:, :cutoff], run.relevant[:, :cutoff], number)
        found = (part.relevant > 0) & (part.relevant <= cutoff)
        retrieved[language] = (found.sum(axis=1) > 0).astype(np.float64)
    if not any(rows.any() for rows in free.values()):
        return {}

    def of_free(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return averages({name: np.where(free[name], each, np.nan) for name, each in values.items()})

    def weighted(by_grade: Mapping[int, float]) -> dict[str, Any]:
        values: dict[str, np.ndarray] = {}
        for language, of in p.items():
            absent = np.ones_like(of[0])
            terms = [weight * of.get(grade, absent) for grade, weight in by_grade.items()]
            values[language] = np.sum(terms, axis=0)
        return of_free(values)

    return {
        **weighted(weights),
        "cutoff": cutoff,
        "weights": {str(grade): weight for grade, weight in sorted(weights.items())},
        "levels": {str(grade): weighted({grade: 1.0}) for grade in (0, *levels)},
        "left_out": sum(int((~rows).sum()) for rows in free.values()),
        "retrieved": of_free(retrieved)["macro"],
    }


def _grades(part: LanguageRanks) -> np.ndarray:
    """Grades int [queries, relevant] of a part's relevant candidates, 0 past the end."""
    graded = part.source.grades
    return (part.relevant > 0).astype(np.int32) if graded is None else graded
