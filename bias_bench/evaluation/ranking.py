"""Judged rankings: the one form that scorers read, with the policies for ties and missing queries.

Order: float32 score descending, then candidate id descending (trec_eval's rule). Queries without
a result count 0; queries without a judgement are reported and left out; queries without a relevant
candidate are left out and counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bias_bench.evaluation.trec import QrelsTable, RunTable


class JudgedRankings(NamedTuple):
    """Rankings of the judged queries, best first, as candidate numbers with grades.

    `queries` [n] ids, sorted; `ranked` int64 [n, deepest] candidate numbers, -1 past the end;
    `grades` int64 [n, deepest] of the ranked candidates (0 where not judged); `judged` int64
    [n, most judged] candidate numbers, -1 past the end, with `judged_grades` alike; `unjudged`
    queries of the run that the qrels lack; `without_relevant` judged queries left out.
    """

    queries: list[str]
    ranked: np.ndarray
    grades: np.ndarray
    judged: np.ndarray
    judged_grades: np.ndarray
    unjudged: list[str]
    without_relevant: list[str]


class Files(NamedTuple):
    """A run file and the qrels file that judges it."""

    run: Path
    qrels: Path


def judge(run: RunTable, qrels: QrelsTable) -> JudgedRankings:
    """Bring a run and its judgements into one form, applying the policies of this module."""
    relevant = set(pc.unique(qrels.queries.filter(pa.array(qrels.grades > 0))).to_pylist())
    all_judged = set(pc.unique(qrels.queries).to_pylist())
    queries = sorted(relevant)
    unjudged = sorted(set(pc.unique(run.queries).to_pylist()) - all_judged)

    names = pc.unique(pa.concat_arrays([run.candidates, qrels.candidates]))
    names = names.take(pc.array_sort_indices(names, order="descending"))
    query_names = pa.array(queries, pa.string())

    run_rows = _numbers(run.queries, query_names)
    run_candidates = _numbers(run.candidates, names)
    order = np.lexsort((run_candidates, -run.scores, run_rows))
    order = order[run_rows[order] >= 0]
    ranked = ragged(run_rows[order], run_candidates[order], len(queries))

    qrels_rows = _numbers(qrels.queries, query_names)
    keep = qrels_rows >= 0
    qrels_rows, qrels_candidates = qrels_rows[keep], _numbers(qrels.candidates, names)[keep]
    by_query = np.argsort(qrels_rows, kind="stable")
    judged = ragged(qrels_rows[by_query], qrels_candidates[by_query], len(queries))
    kept_grades = qrels.grades[keep][by_query]
    judged_grades = ragged(qrels_rows[by_query], kept_grades, len(queries), fill=0)
    return JudgedRankings(
        queries=queries,
        ranked=ranked,
        grades=_grades_of(ranked, judged, judged_grades),
        judged=judged,
        judged_grades=judged_grades,
        unjudged=unjudged,
        without_relevant=sorted(all_judged - relevant),
    )


def _numbers(values: pa.Array, names: pa.Array) -> np.ndarray:
    """Position of each value in `names`, -1 where it is not among them."""
    positions = pc.index_in(values, value_set=names)
    return pc.fill_null(positions, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def places(rows: np.ndarray) -> np.ndarray:
    """The place of each entry among those of its row, int from 0; `rows` int [entries] ascend."""
    counts = np.bincount(rows)
    return np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def ragged(rows: np.ndarray, values: np.ndarray, height: int, fill: float = -1) -> np.ndarray:
    """Values of ascending rows as a table [height, most in a row] of their type, then `fill`."""
    columns = places(rows)
    table = np.full((height, int(columns.max(initial=-1)) + 1), fill, dtype=values.dtype)
    table[rows, columns] = values
    return table


def _grades_of(ranked: np.ndarray, judged: np.ndarray, judged_grades: np.ndarray) -> np.ndarray:
    grades = np.zeros_like(ranked)
    for column in range(judged.shape[1]):
        hit = (ranked == judged[:, column][:, None]) & (ranked >= 0)
        grades += np.where(hit, judged_grades[:, column][:, None], 0)
    return grades
