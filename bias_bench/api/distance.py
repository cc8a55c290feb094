"""Rank distance of ranks that a caller has in an array or a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bias_bench.bias.parallel import averages
from bias_bench.bias.rank_distance import medians
from bias_bench.bias.rank_distance import rank_distance as of_ranks
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import parse_setting

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = np.iinfo(np.int32).max - 1


@dataclass(frozen=True, eq=False)
class RankDistance:
    """Rank distance of a system: lower is better, but only beside AP, as a bad system can have
    a low one too.

    `macro` and `median` are means over query languages of the mean and the median over queries;
    NaN where no query has a value. `left_out` counts the queries without one: their topic is
    answered in fewer than two languages, or nothing is known of the order. `per_query` is a series
    of all queries, NaN for those.
    """

    macro: float
    median: float
    left_out: int
    per_language: dict[str, float] = field(repr=False)
    per_query: pd.Series = field(repr=False)


def rank_distance(ranks: ArrayLike | pd.DataFrame, cutoff: int | None = None) -> RankDistance:
    """The largest minus the smallest rank of a topic's parallel relevant candidates.

    `ranks` count from 1, in the pool of all languages. An array [topics, languages] of one query
    language holds NaN where a topic is not answered in a language. A long frame such as `Run.ranks`
    has the columns `query`, `candidate_language` and `rank`, and `setting` (others than those of
    the pool of all languages are passed over) or `query_language`; several candidates of a language
    are represented by the best. With `cutoff`, ranks past it count as cut-off + 1, and candidates
    there may share that rank; where the frame has `listed`, the length of each query's ranking,
    they count as right behind that.

    Raises DataError for what is not a rank, UsageError for another shape or missing columns.
    Source: arXiv:2408.10536, footnote 6.

    >>> from bias_bench import rank_distance
    >>> nan = float("nan")
    >>> rank_distance([[1, 2, 9], [4, nan, 1], [7, nan, nan]])
    RankDistance(macro=5.5, median=5.5, left_out=1)
    """
    import pandas as pd

    if cutoff is not None and cutoff < 1:
        raise UsageError(f"cutoff {cutoff}: must be 1 or more")
    if isinstance(ranks, pd.DataFrame) and "rank" in ranks.columns:
        tables = _tables(ranks)
    else:
        names = ranks.index if isinstance(ranks, pd.DataFrame) else None
        tables = {"": pd.DataFrame(_matrix(ranks), index=names)}
    checked = {language: _checked(table, cutoff) for language, table in tables.items()}
    if isinstance(ranks, pd.DataFrame) and "listed" in ranks.columns:
        pooled = ranks[_query_languages(ranks).notna()]
        lengths = pooled.groupby("query", observed=True)["listed"].max()
        for language, table in tables.items():
            ends = lengths.loc[table.index].to_numpy()[:, None] + 1
            checked[language] = np.minimum(checked[language], ends)
    values = {language: of_ranks(whole) for language, whole in checked.items()}
    means = averages(values)
    series = [
        pd.Series(values[language], index=table.index, name="rank_distance")
        for language, table in tables.items()
    ]
    return RankDistance(
        macro=means.get("macro", float("nan")),
        median=float(np.mean(list(medians(values).values()))) if means else float("nan"),
        left_out=sum(int(np.isnan(found).sum()) for found in values.values()),
        per_language=means.get("per_language", {}) if "" not in tables else {},
        per_query=pd.concat(series),
    )


def _matrix(ranks: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(ranks, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"ranks: not an array of numbers ({error})") from None
    if array.ndim != 2 or not array.shape[1]:
        raise UsageError(
            f"ranks of shape {array.shape}: give an array [topics, languages], or a frame with a "
            "column 'rank'"
        )
    return array


def _tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Best ranks [queries, candidate languages] by query language."""
    languages = _query_languages(frame)
    missing = {"query", "candidate_language"} - set(frame.columns)
    if missing:
        raise UsageError(f"ranks: the frame lacks the column '{sorted(missing)[0]}'")
    pooled = languages.notna() & frame["rank"].notna()
    if not pooled.any():
        raise UsageError("ranks: the frame has none in a pool of all languages")
    rows = frame[pooled].assign(query_language=languages[pooled].astype(str))
    best = rows.groupby(["query_language", "query", "candidate_language"], observed=True)["rank"]
    wide = best.min().unstack("candidate_language")
    groups = wide.groupby(level=0, observed=True)
    return {language: table.droplevel(0) for language, table in groups}


def _query_languages(frame: pd.DataFrame) -> Any:
    """The query language of every row; missing where the pool is not that of all languages."""
    if "query_language" in frame.columns:
        return frame["query_language"]
    if "setting" not in frame.columns:
        raise UsageError("ranks: the frame has neither 'setting' nor 'query_language'; add one")
    settings = {name: parse_setting(str(name)) for name in frame["setting"].unique()}
    pooled = {
        name: setting.query_language
        for name, setting in settings.items()
        if setting.kind == "multilingual"
    }
    return frame["setting"].astype(object).map(pooled)


def _checked(table: pd.DataFrame, cutoff: int | None) -> np.ndarray:
    """Integers [queries, languages], 0 where there is no rank; DataError for what is not a rank."""
    values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(values)
    ranks = np.where(known, values, 1)
    sound = (ranks >= 1) & (ranks <= _LARGEST) & (ranks == np.floor(ranks))
    for row in np.flatnonzero(~sound.all(axis=1)):
        raise DataError(
            f"ranks of {table.index[row]}: {values[row].tolist()} are not whole numbers from 1"
        )
    if cutoff is not None:
        ranks = np.minimum(ranks, cutoff + 1)
    whole = np.where(known, ranks, 0).astype(np.int64)
    _require_distinct(table, whole, cutoff)
    return whole


def _require_distinct(table: pd.DataFrame, ranks: np.ndarray, cutoff: int | None) -> None:
    ordered = np.sort(ranks, axis=1)
    equal = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)
    if cutoff is not None:
        equal &= ordered[:, 1:] <= cutoff
    for row in np.flatnonzero(equal.any(axis=1)):
        twice = ordered[row, 1:][equal[row]][0]
        raise DataError(
            f"ranks of {table.index[row]}: rank {twice} occurs twice; a ranking has each rank "
            "once (give cutoff where ranks are known down to a depth only)"
        )
