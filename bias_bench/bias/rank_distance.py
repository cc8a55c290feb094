"""Rank distance: how far apart a system ranks parallel relevant candidates.

Of one query in the pool of all languages: the largest minus the smallest rank of its parallel
relevant candidates. Lower is better; the floor is the number of languages minus 1, the ceiling the
pool size minus 1. A system that finds nothing can have a low one, so it is read beside AP.

Source: arXiv:2408.10536, footnote 6, after Huang et al. 2023.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import parse_setting


def rank_distance(ranks: np.ndarray) -> np.ndarray:
    """Max - min over each row of int ranks [queries, relevant]; 0 marks "no candidate".

    Returns float64 [queries], NaN where fewer than two candidates are ranked.
    """
    present = ranks > 0
    highest = np.where(present, ranks, 0).max(axis=1, initial=0)
    lowest = np.where(present, ranks, np.iinfo(np.int32).max).min(axis=1)
    return np.where(present.sum(axis=1) >= 2, (highest - lowest).astype(np.float64), np.nan)


def summarise(table: RankTable) -> dict[str, Any]:
    """Mean and median per query language, and their means over languages.

    Over topics answered in at least two languages; `left_out` counts the queries of the others.
    `normalised` divides by the pool size minus 1, so it lies in [0, 1].
    """
    mean: dict[str, float] = {}
    median: dict[str, float] = {}
    left_out = 0
    for name in table.settings:
        setting = parse_setting(name)
        if setting.kind != "multilingual":
            continue
        distances = rank_distance(table.of(name).ranks)
        left_out += int(np.isnan(distances).sum())
        distances = distances[~np.isnan(distances)]
        if len(distances):
            mean[setting.query_language] = float(distances.mean())
            median[setting.query_language] = float(np.median(distances))
    if not mean:
        return {}
    macro = float(np.mean(list(mean.values())))
    return {
        "macro": macro,
        "median": float(np.mean(list(median.values()))),
        "normalised": macro / (table.pools["all"] - 1),
        "per_language": mean,
        "median_per_language": median,
        "left_out": left_out,
    }
