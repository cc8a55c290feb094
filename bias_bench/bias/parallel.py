"""Ranks by language, where most bias metrics start, and the rule for partly parallel topics.

A query's parallel candidates are its topic's relevant candidates in the pool of all languages, one
for each language in which the topic is answered; where a language has several, the best ranked
stands for it. A topic may be answered in some of the languages only (MLQA-R: two to four of seven).
The rule for all metrics:

- a query is measured over the languages in which its topic is answered, so its floors and chances
  follow from their number, not from the number of languages of the benchmark;
- a query whose topic is answered in fewer than two languages has no value and is left out, as is
  one without a candidate in its own language from metrics that ask for it;
- a cell of a language × language table is over the queries whose topic is answered in both;
- means are over the queries of a query language, then over query languages.

Where ranks are known down to a cut-off only (`RankTable.cutoff`), candidates that were not
retrieved share a rank: cut-off + 1 for what asks whether they were found, and right behind the
query's own ranking, the least that it allows, for ranks and their differences. Parallel candidates
of equal rank were none of them retrieved: nothing is known of their order, and metrics of order
have no value for the query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError, nearest
from bias_bench.evaluation.ranks import RankedQueries, RankTable
from bias_bench.evaluation.settings import parse_setting


class LanguageRanks(NamedTuple):
    """The queries of one language in the pool of all, with ranks by candidate language.

    `ranks` int32 [queries, languages], from 1, 0 where the topic is not answered in a language;
    `own` is the column of the query language. `least` likewise holds the least ranks that the
    rankings allow: other than `ranks` only of what was not retrieved. `relevant` int32 [queries,
    most relevant] holds the ranks of all relevant candidates, 0 past the end, and
    `relevant_languages` likewise their columns, -1 past the end. `source` has the ids and clusters
    of the queries. `cutoff` is down to where ranks are known; 0: all are.
    """

    setting: str
    own: int
    ranks: np.ndarray
    least: np.ndarray
    relevant: np.ndarray
    relevant_languages: np.ndarray
    source: RankedQueries
    cutoff: int


class Parallel(NamedTuple):
    """The pooled ranks of a run: one part per query language, and the sizes of the pools.

    `pools` is empty where they are not known; `cutoff` is down to where ranks are known, 0 = all.
    """

    languages: tuple[str, ...]
    parts: dict[str, LanguageRanks]
    pools: dict[str, int]
    cutoff: int


def parallel_ranks(table: RankTable, languages: Sequence[str] | None = None) -> Parallel:
    """Gather the multilingual settings of ranks.parquet; all its languages unless told which."""
    named = [(name, parse_setting(name)) for name in table.settings]
    pooled = {
        setting.query_language: (name, table.of(name))
        for name, setting in named
        if setting.kind == "multilingual"
    }
    present = {name for _, queries in pooled.values() for name in queries.language_names}
    present |= set(pooled)
    names = tuple(sorted(present) if languages is None else languages)
    for language in sorted(present - set(names)):
        raise BiasBenchError(
            f"the ranks hold language '{language}', which is none of the benchmark's: "
            f"{nearest(language, names)}"
        )
    parts = {
        language: _by_language(name, language, queries, names)._replace(cutoff=table.cutoff or 0)
        for language, (name, queries) in pooled.items()
    }
    return Parallel(names, parts, table.pools, table.cutoff or 0)


def _by_language(
    setting: str, language: str, queries: RankedQueries, names: tuple[str, ...]
) -> LanguageRanks:
    columns = np.array([names.index(name) for name in queries.language_names], dtype=np.int32)
    columns = np.where(queries.languages >= 0, columns[queries.languages], -1)
    ranks, least = (
        _best(values, columns, len(names)) for values in (queries.ranks, queries.least())
    )
    own = names.index(language)
    return LanguageRanks(setting, own, ranks, least, queries.ranks, columns, queries, cutoff=0)


def _best(ranks: np.ndarray, columns: np.ndarray, number: int) -> np.ndarray:
    """The smallest rank in each of `number` columns: int32 [queries, number], 0 without any."""
    worst = np.iinfo(np.int32).max
    best = np.full((len(ranks), number), worst, dtype=np.int32)
    rows, places = np.nonzero(columns >= 0)
    np.minimum.at(best, (rows, columns[rows, places]), ranks[rows, places])
    return np.where(best == worst, 0, best)


def absent_last(ranks: np.ndarray) -> np.ndarray:
    """Ranks [queries, languages] in which what is absent, 0, is larger than any rank."""
    return np.where(ranks > 0, ranks, np.iinfo(np.int32).max)


def is_parallel(ranks: np.ndarray) -> np.ndarray:
    """Whether each query of ranks [queries, languages] is answered in two languages or more."""
    return (ranks > 0).sum(axis=1) >= 2


def is_ordered(ranks: np.ndarray) -> np.ndarray:
    """Whether anything is known of the order of each query's parallel candidates: bool [queries].

    False where all of ranks [queries, languages] are equal: none was retrieved.
    """
    return is_parallel(ranks) & (ranks.max(axis=1, initial=0) > absent_last(ranks).min(axis=1))


def known_ranks(ranks: np.ndarray) -> np.ndarray:
    """Ranks [queries, languages] as float64, NaN where there is none to compare with another."""
    known = (ranks > 0) & (is_ordered(ranks) | ~is_parallel(ranks))[:, None]
    return np.where(known, ranks.astype(np.float64), np.nan)


def averages(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`macro` and `per_language` of values [queries] by query language; NaN is left out.

    Query languages without a value are left out; empty when none has one.
    """
    known = {name: array[~np.isnan(array)] for name, array in values.items()}
    return mean_of({name: float(array.mean()) for name, array in known.items() if len(array)})


def means(parallel: Parallel, metric: Callable[[LanguageRanks], np.ndarray]) -> dict[str, Any]:
    """`averages` of a metric [queries] of each query language's ranks."""
    return averages({name: metric(part) for name, part in parallel.parts.items()})


def mean_of(per_language: Mapping[str, float]) -> dict[str, Any]:
    """Values by query language with their mean as `macro`; empty without any."""
    if not per_language:
        return {}
    macro = float(np.mean(list(per_language.values())))
    return {"macro": macro, "per_language": dict(per_language)}


def column_means(values: np.ndarray) -> np.ndarray:
    """Means [columns] of values [rows, columns] without NaN; NaN where a column has no value."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def as_table(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """A matrix as nested mappings for JSON; None where a cell has no value."""
    return {
        row: {
            column: None if np.isnan(value) else float(value)
            for column, value in zip(columns, line, strict=True)
        }
        for row, line in zip(rows, values, strict=True)
    }
