"""Fusion of rankings by ranx (Bassani and Romelli 2022), by rank or by score."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench.evaluation.trec import RunTable, by_query
from bias_bench.system.library_caches import direct_library_caches

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

    nested = [by_query(run) for run in runs]
    queries = sorted({query for results in nested for query in results})
    # ranx wants equal queries, so one without results has a stand-in
    given = [
        ranx.Run({query: results.get(query) or {_NOTHING: 0.0} for query in queries})
        for results in nested
    ]
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
