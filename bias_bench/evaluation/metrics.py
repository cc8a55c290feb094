"""Metrics of one ranking, computed from the ranks of relevant candidates.

Grades above 1 are gains of nDCG; to all other metrics a candidate is relevant or not.

A metric prints and parses as ``AP``, ``AP@100``, ``nDCG@10``, ``R@1``, ``RR@10``: the cut-off is
always in the name. All lie in [0, 1]; higher is better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError, nearest


class Metric(NamedTuple):
    """A measure and its cut-off; 0 means the full ranking."""

    measure: str
    cutoff: int = 0

    def __str__(self) -> str:
        return f"{self.measure}@{self.cutoff}" if self.cutoff else self.measure


def parse_metric(text: str) -> Metric:
    """The inverse of ``str(metric)``."""
    measure, at, cutoff = text.partition("@")
    if measure not in MEASURES:
        raise UsageError(f"unknown metric '{text}': {nearest(measure, MEASURES)}")
    if at and (not cutoff.isdecimal() or int(cutoff) < 1):
        raise UsageError(f"'{text}': the cut-off after @ must be a whole number from 1")
    return Metric(measure, int(cutoff) if at else 0)


_ABSENT = np.int64(np.iinfo(np.int64).max)  # typed, so that int32 ranks are widened


def average_precision(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """AP [queries]: mean over all relevant candidates of the precision at each one's rank.

    Relevant candidates below the cut-off add 0 and stay in the denominator (trec_eval's rule).
    """
    ordered = np.sort(np.where(ranks > 0, ranks, _ABSENT), axis=1)
    position = np.arange(1, ranks.shape[1] + 1)
    precision = np.where(_within(ordered, cutoff), position / ordered, 0.0)
    return precision.sum(axis=1) / (ranks > 0).sum(axis=1)


def ndcg(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG [queries] (Järvelin and Kekäläinen 2002), gain 1, discount 1/log2(rank + 1)."""
    gains = _discounts(ranks, cutoff)
    relevant = (ranks > 0).sum(axis=1)
    best = np.minimum(relevant, cutoff) if cutoff else relevant
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, ranks.shape[1] + 2)))])
    return gains.sum(axis=1) / ideal[best]


def graded_ndcg(ranks: np.ndarray, cutoff: int, grades: np.ndarray) -> np.ndarray:
    """NDCG [queries] whose gains are the grades (trec_eval's rule): int [queries, relevant]."""
    best = -np.sort(-np.where(ranks > 0, grades, 0), axis=1)[:, : cutoff or None]
    ideal = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)
    return (grades * _discounts(ranks, cutoff)).sum(axis=1) / ideal


def recall(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """Recall [queries]: share of the relevant candidates within the cut-off."""
    return _within(ranks, cutoff).sum(axis=1) / (ranks > 0).sum(axis=1)


def reciprocal_rank(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """RR [queries]: 1/rank of the first relevant candidate, 0 when it is past the cut-off."""
    first = np.where(ranks > 0, ranks, _ABSENT).min(axis=1)
    return np.where(_within(first, cutoff), 1 / first, 0.0)


def _discounts(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    """1/log2(rank + 1) of each rank within the cut-off, else 0."""
    return np.where(_within(ranks, cutoff), 1 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)


def _within(ranks: np.ndarray, cutoff: int) -> np.ndarray:
    limit = cutoff or np.iinfo(np.int64).max - 1
    return (ranks > 0) & (ranks <= limit)


MEASURES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "AP": average_precision,
    "nDCG": ndcg,
    "R": recall,
    "RR": reciprocal_rank,
}

# What every scorer computes from the written runs, and what only full rankings give.
SHARED_METRICS = tuple(map(parse_metric, ("AP@100", "nDCG@10", "R@1", "R@10", "R@100", "RR@10")))
FULL_METRICS = tuple(map(parse_metric, ("AP", "RR")))


def ordered_names(held: Collection[str]) -> list[str]:
    """Names of metrics in the order in which this module lists them, then others."""
    known = [str(metric) for metric in (*FULL_METRICS, *SHARED_METRICS)]
    return [*(name for name in known if name in held), *sorted(set(held) - set(known))]


class Scored(NamedTuple):
    """The metrics of a run: those that all scorers compute, and those of the exact ranks."""

    shared: tuple[Metric, ...]
    exact: tuple[Metric, ...]


def scored_metrics(depth: int, cutoff: int | None, more: Sequence[Metric] = ()) -> Scored:
    """What to compute of rankings with `depth` results: the usual metrics, and `more`.

    Scorers know what does not go deeper. Where ranks are known down to a `cutoff` only, nothing
    else does, and AP is that down to there; UsageError for one of `more` that goes deeper.
    """
    if cutoff is None:
        exact = dict.fromkeys((*FULL_METRICS, *SHARED_METRICS, *more))
        return Scored(tuple(metric for metric in exact if 0 < metric.cutoff <= depth), tuple(exact))
    for metric in more:
        if not 0 < metric.cutoff <= cutoff:
            raise UsageError(
                f"metrics: no {metric}: the rankings end at {cutoff}; ask for a cut-off up to there"
            )
    known = tuple(dict.fromkeys((*metrics_within(cutoff), *more)))
    return Scored(known, known)


def metrics_within(depth: int) -> tuple[Metric, ...]:
    """What is known of rankings that end at `depth`: nothing deeper, and AP down to there."""
    shared = tuple(metric for metric in SHARED_METRICS if metric.cutoff <= depth)
    return tuple(dict.fromkeys((Metric("AP", depth), *shared)))


def compute(metric: Metric, ranks: np.ndarray, grades: np.ndarray | None = None) -> np.ndarray:
    """A metric [queries] from the exact int ranks [queries, relevant] of relevant candidates.

    Ranks count from 1; 0 is padding, for queries with fewer relevant candidates than others, and
    counts as no candidate. Every query needs at least one rank. `grades`, of the same shape and at
    least 1 where there is a rank, are the gains of nDCG; None means 1 for all.
    """
    if grades is not None and metric.measure == "nDCG":
        return graded_ndcg(ranks.astype(np.int64), metric.cutoff, grades)
    return MEASURES[metric.measure](ranks.astype(np.int64), metric.cutoff)
