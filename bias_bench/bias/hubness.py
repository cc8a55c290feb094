"""Hubness by candidate language: do a few candidates crowd the top of many rankings?

N_10 of a candidate is the number of queries, of all languages, that have it in their top 10 of the
pool of all languages. Hubness is the skewness of N_10 over the candidates of a language, those that
are in no top 10 included: E[(N - E[N])³] / sd(N)³. Any real number; 0 is symmetric, higher is more
of a few hubs beside many candidates that are hardly found. `never` is the share of candidates in no
top 10, in [0, 1], lower is better; with few queries to a large pool it is high by necessity. Both
are by candidate language, and `macro` their mean. There is no value where the sizes of the pools
are not known, and no skewness where all candidates are found alike.

Sources: Radovanović, Nanopoulos and Ivanović 2010 (JMLR 11) for the skewness of k-occurrence;
arXiv:2605.26575 for hubs as a cause of asymmetry between languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bias_bench.bias.parallel import Parallel, mean_of
from bias_bench.bias.pooled import PooledRun

CUTOFF = 10


def occurrences(listed: np.ndarray, size: int) -> np.ndarray:
    """How often each of `size` candidates is listed, int64 [size], in no particular order.

    `listed` int [results] are the candidates in the top k of all queries.
    """
    _, counts = np.unique(listed, return_counts=True)
    return np.pad(counts, (0, size - len(counts)))


def skewness(counts: np.ndarray) -> float:
    """Third standardised moment of counts [candidates]; NaN where all are equal."""
    from scipy.stats import skew

    return float(skew(counts)) if counts.min() < counts.max() else float("nan")


def summarise(runs: Mapping[str, PooledRun], parallel: Parallel) -> dict[str, Any]:
    """Skewness of N_10 (or of the runs' depth: `cutoff`) and `never`, by candidate language."""
    if not runs or not set(parallel.languages) <= set(parallel.pools):
        return {}
    cutoff = min(CUTOFF, max(run.candidates.shape[1] for run in runs.values()))
    listed = np.concatenate([run.candidates[:, :cutoff].ravel() for run in runs.values()])
    columns = np.concatenate([run.languages[:, :cutoff].ravel() for run in runs.values()])
    counts = {
        name: occurrences(listed[columns == column], parallel.pools[name])
        for column, name in enumerate(parallel.languages)
        if parallel.pools[name]
    }
    skewed = {name: skewness(each) for name, each in counts.items()}
    summary = mean_of({name: value for name, value in skewed.items() if not np.isnan(value)})
    never = mean_of({name: float((each == 0).mean()) for name, each in counts.items()})
    return {**summary, "cutoff": cutoff, "never": never} if summary else {}
