"""Scores by ranx (Bassani 2022), fed with canonically ordered arrays.

ranx's own order of tied results is unstable, so results are ordered first and passed in order.
"""

from __future__ import annotations

import numpy as np

from bias_bench.evaluation.metrics import Metric
from bias_bench.evaluation.ranking import JudgedRankings
from bias_bench.system.library_caches import direct_library_caches

_NAMES = {"AP": "map", "nDCG": "ndcg", "R": "recall", "RR": "mrr"}
_NO_RESULT = -2.0  # a number that no judged candidate has
_NO_JUDGEMENT = -3.0


def score(rankings: JudgedRankings, metrics: tuple[Metric, ...]) -> dict[Metric, np.ndarray]:
    """Each metric [queries], in the order of ``rankings.queries``."""
    direct_library_caches()
    import numba
    import ranx

    if not rankings.queries:
        return {metric: np.zeros(0) for metric in metrics}
    ranked, judged = rankings.ranked, rankings.judged
    if ranked.shape[1] == 0:
        ranked = np.full((len(ranked), 1), -1, dtype=np.int64)
    order = np.broadcast_to(-np.arange(ranked.shape[1], dtype=np.float64), ranked.shape)
    run = np.stack([np.where(ranked >= 0, ranked, _NO_RESULT), order], axis=2)
    qrels = np.stack([np.where(judged >= 0, judged, _NO_JUDGEMENT), rankings.judged_grades], axis=2)
    # ranx takes the first judgements as the ideal ranking, so they must come best first
    best_first = np.argsort(-rankings.judged_grades, axis=1, kind="stable")
    qrels = np.take_along_axis(qrels, best_first[:, :, None], axis=1).astype(np.float64)
    threads = numba.get_num_threads()
    try:
        # hits: asked for a single metric with a cut-off, ranx fails on its own answer
        names = [*(_name(metric) for metric in metrics), "hits"]
        values = ranx.evaluate(qrels, run, names, return_mean=False)
    finally:
        numba.set_num_threads(threads)  # ranx lowers it for few queries and leaves it so
    return {metric: np.asarray(values[_name(metric)]) for metric in metrics}


def _name(metric: Metric) -> str:
    return f"{_NAMES[metric.measure]}@{metric.cutoff}" if metric.cutoff else _NAMES[metric.measure]
