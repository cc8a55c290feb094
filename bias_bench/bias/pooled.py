"""The top of the pooled rankings: languages and relevance of what a run's TREC files list."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bias_bench.bias.parallel import LanguageRanks, Parallel
from bias_bench.data.ids import language_of
from bias_bench.errors import BiasBenchError, nearest
from bias_bench.evaluation.score_run import run_file
from bias_bench.evaluation.settings import parse_setting
from bias_bench.evaluation.trec import RunTable, read_run


class PooledRun(NamedTuple):
    """One query language's rankings in the pool of all, best first; rows as in `Parallel`.

    `candidates` int32 [queries, depth] are numbers shared by all query languages, `languages`
    int16 [queries, depth] columns of `Parallel.languages`; both -1 past the end of a ranking.
    `relevant` bool [queries, depth].
    """

    topics: list[str]
    candidates: np.ndarray
    languages: np.ndarray
    relevant: np.ndarray


def read_pooled(folder: Path, parallel: Parallel) -> dict[str, PooledRun]:
    """Read a run folder's pooled TREC files once, in the written order.

    Relevance is taken from the exact ranks, which the files must agree with.
    """
    files = {
        language: run_file(folder, parse_setting(part.setting))
        for language, part in parallel.parts.items()
    }
    runs = {language: read_run(path) for language, path in files.items()}
    if not runs:
        return {}
    names = pa.chunked_array([run.candidates for run in runs.values()]).unique()
    languages = np.array(
        [_column(language_of(name), parallel.languages) for name in names.to_pylist()],
        dtype=np.int16,
    )
    return {
        language: _rankings(files[language], run, parallel.parts[language], names, languages)
        for language, run in runs.items()
    }


def weighted_shares(languages: np.ndarray, number: int, weights: np.ndarray) -> np.ndarray:
    """Share float64 [queries, number] of each language in the sum of the results' weights [depth].

    `languages` int [queries, depth], best first, -1 past the end; NaN where nothing is found.
    """
    gained = np.stack([(languages == column) @ weights for column in range(number)], axis=1)
    total = gained.sum(axis=1, keepdims=True)
    return np.where(total > 0, gained / np.where(total > 0, total, 1), np.nan)


def first_results(folder: Path, part: LanguageRanks) -> list[str | None]:
    """The candidate that stands first for each query of `part`; None where nothing was found."""
    run = read_run(run_file(folder, parse_setting(part.setting)))
    row_of = pc.fill_null(pc.index_in(run.queries, pa.array(part.source.queries)), -1).to_numpy()
    rows, first = np.unique(row_of, return_index=True)
    names = run.candidates.take(pa.array(first)).to_pylist()
    by_row = dict(zip(rows.tolist(), names, strict=True))
    return [by_row.get(row) for row in range(len(part.source.queries))]


def _column(language: str, languages: tuple[str, ...]) -> int:
    if language not in languages:
        raise BiasBenchError(
            f"a run lists candidates of language '{language}', which is none of the benchmark's: "
            f"{nearest(language, languages)}"
        )
    return languages.index(language)


def _rankings(
    path: Path, run: RunTable, part: LanguageRanks, names: pa.Array, languages: np.ndarray
) -> PooledRun:
    """`names` are all candidates of all files, `languages` [names] the columns of theirs."""
    rows = pc.fill_null(pc.index_in(run.queries, pa.array(part.source.queries)), -1).to_numpy()
    if (rows < 0).any():
        raise _disagree(path, run.queries[int(np.argmin(rows))].as_py())
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(part.ranks))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(counts), int(counts.max(initial=0)))
    candidates = np.full(shape, -1, dtype=np.int32)
    candidates[rows[order], place] = pc.index_in(run.candidates, names).to_numpy()[order]
    columns = np.where(candidates >= 0, languages[candidates], np.int16(-1))
    relevant = np.zeros(shape, dtype=bool)
    queries, slots = np.nonzero((part.relevant > 0) & (part.relevant <= counts[:, None]))
    places = part.relevant[queries, slots] - 1
    relevant[queries, places] = True
    wrong = columns[queries, places] != part.relevant_languages[queries, slots]
    if wrong.any():
        raise _disagree(path, part.source.queries[int(queries[wrong.argmax()])])
    return PooledRun(part.source.topics, candidates, columns, relevant)


def _disagree(path: Path, query: str) -> BiasBenchError:
    return BiasBenchError(
        f"{path}: '{query}' is not ranked as in ranks.parquet; run again with --policy always"
    )
