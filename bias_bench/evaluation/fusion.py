"""Fusion of rankings by ranx (Bassani and Romelli 2022), by rank or by score."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench.evaluation.trec import RunTable
from bias_bench.library_caches import direct_library_caches

_NOTHING = " "  # no candidate's id


class FusionRule(NamedTuple):
    """How to fuse. ``rrf`` sums 1 / (`k` + rank), ``wsum`` normalised scores by `weights`."""

    method: Literal["rrf", "wsum"]
    k: int
    normalisation: str
    weights: Sequence[float]


def fuse(runs: Sequence[RunTable], rule: FusionRule) -> RunTable:
    """One ranking of each query that any of `runs` has results for; equal scores stay equal.

    What a run did not retrieve adds nothing. Queries are in ascending order, candidates in ranx's.
    """
    direct_library_caches()
    import ranx

    queries = sorted({query for run in runs for query in run.queries.to_pylist()})
    given = [ranx.Run(_by_query(run, queries)) for run in runs]
    params: dict[str, Any] = {"k": rule.k}
    norm = None
    if rule.method == "wsum":
        norm, params = rule.normalisation, {"weights": list(rule.weights)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's, about integers of ranx
        fused = ranx.fuse(given, norm=norm, method=rule.method, params=params).to_dict()
    rows = [
        (query, candidate, score)
        for query in queries
        for candidate, score in fused.get(query, {}).items()
        if candidate != _NOTHING
    ]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return RunTable(
        pa.array(columns[0], pa.string()),
        pa.array(columns[1], pa.string()),
        np.array(columns[2], dtype=np.float32),
    )


def _by_query(run: RunTable, queries: Sequence[str]) -> dict[str, dict[str, float]]:
    """Results of each query, and a stand-in where the run has none: ranx wants equal queries."""
    results_of: dict[str, dict[str, float]] = {query: {} for query in queries}
    rows = zip(
        run.queries.to_pylist(), run.candidates.to_pylist(), run.scores.tolist(), strict=True
    )
    for query, candidate, score in rows:
        results_of[query][candidate] = score
    return {query: results or {_NOTHING: 0.0} for query, results in results_of.items()}
