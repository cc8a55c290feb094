"""Merge ceiling and calibration gap: how much AP scores lose between languages.

Every language's own pool gives a ranking of its own. The best that a merge of these rankings can
do, each in its own order, is the ceiling: with n_1 ≤ … ≤ n_m the irrelevant candidates before the
answer in each of the m languages' own rankings,

ceiling = mean over i of i / (i + n_1 + … + n_i)

as the answers are best taken in that order. AP in [0, 1], higher is better; AP of the pool of all
languages is at most that where pools of one language are ranked by the same scores. What it lacks
(`gap`, lower is better) is lost because scores of different languages do not compare; the rest,
1 - ceiling, because rankings within languages are not perfect. `reached` is pooled AP over the
ceiling. Queries with several answers in a language are left out (`left_out`), as the best merge is
not known in closed form; so are those with a setting of one language that was not searched. Where
ranks are known down to a cut-off D only, both are AP@D of rankings that end there.

Source: this project's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias.parallel import LanguageRanks, Parallel, averages
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import Setting


def merge_ceiling(ranks: np.ndarray, cutoff: int = 0) -> np.ndarray:
    """The best AP float64 [queries] of a merge of rankings of one language each.

    `ranks` int [queries, languages] of the only answer in each language's own ranking, from 1; 0
    where there is none. Every query needs one. An answer whose rank, or whose place in the merge,
    is past `cutoff` adds 0; a `cutoff` of 0 is none.
    """
    end = cutoff or np.iinfo(np.int32).max
    before = np.where((ranks > 0) & (ranks <= end), ranks - 1, np.iinfo(np.int32).max)
    before = np.sort(before.astype(np.int64), axis=1)
    place = np.arange(1, ranks.shape[1] + 1)
    merged = place + np.cumsum(before, axis=1)
    return np.where(merged <= end, place / merged, 0.0).sum(axis=1) / (ranks > 0).sum(axis=1)


def own_ranks(table: RankTable, part: LanguageRanks, languages: tuple[str, ...]) -> np.ndarray:
    """Ranks int [queries of `part`, languages] in each language's own pool; 0 where unknown.

    A language with several answers to a query has -1.
    """
    ranks = np.zeros(part.ranks.shape, dtype=np.int64)
    row_of = {query: row for row, query in enumerate(part.source.queries)}
    for column, language in enumerate(languages):
        setting = str(Setting(languages[part.own], language))
        if setting not in table.settings:
            continue
        queries = table.of(setting)
        rows = np.array([row_of.get(query, -1) for query in queries.queries])
        alone = (queries.ranks > 0).sum(axis=1) == 1
        values = np.where(alone, queries.ranks.max(axis=1), -1)
        ranks[rows[rows >= 0], column] = values[rows >= 0]
    return ranks


def summarise(parallel: Parallel, table: RankTable) -> dict[str, Any]:
    """The ceiling, pooled AP of the same queries, and the gap between them.

    Empty without queries whose answers are ranked in every language's own pool.
    """
    ceiling, pooled, left_out = {}, {}, 0
    for language, part in parallel.parts.items():
        ranks = own_ranks(table, part, parallel.languages)
        complete = ((ranks > 0) == (part.ranks > 0)).all(axis=1) & (ranks >= 0).all(axis=1)
        left_out += int((~complete).sum())
        ceiling[language] = merge_ceiling(ranks[complete], part.cutoff)
        pooled[language] = compute(Metric("AP", part.cutoff), part.relevant[complete])
    summary = averages(ceiling)
    if not summary:
        return {}
    ap = averages(pooled)
    return {
        **summary,
        "ap": ap,
        "gap": averages({name: ceiling[name] - pooled[name] for name in ceiling}),
        "reached": ap["macro"] / summary["macro"] if summary["macro"] else 0.0,
        "left_out": left_out,
    }
