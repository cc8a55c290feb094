"""Rank correlation of parallel queries: does a question get the same ranking in every language?

A topic's queries in two languages search the same pool of all languages; their rankings are
compared by

- rank-biased overlap, extrapolated, p = 0.9: the expected share of common results for a reader who
  goes on to the next rank with probability p. In [0, 1], 1 for equal rankings, 0 for disjoint ones;
- Kendall's tau-b on the union of both top 10, where what only one ranking holds ties just below the
  end of the other. 1 for equal rankings, -1 only for one ranking reversed: disjoint ones of k and m
  results have -km / √((k(k-1)/2 + km)(m(m-1)/2 + km)), of 10 and 10 -0.690;
- Spearman's rho on the same union (MRC@10), with the same bounds; disjoint ones of 10 and 10 have
  -0.858.

Higher is better for all: the asker's language matters less. Mean over the topics asked in both
languages, then over the pairs of a language, then over languages.

Sources: mean rank correlation of Yang, Jiang and Baldwin 2024 (arXiv:2509.06195), who take
Spearman's and give percent; how they treat results that only one ranking holds is not known to us.
Webber, Moffat and Zobel 2010, equation 32, for rank-biased overlap; Kendall 1945; Spearman 1904.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from bias_bench.bias.friedman import block_ranks
from bias_bench.bias.parallel import as_table, column_means, mean_of
from bias_bench.bias.pooled import PooledRun

PERSISTENCE = 0.9
CUTOFF = 100
CORRELATION_CUTOFF = 10

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rank_biased_overlap(
    first: np.ndarray, second: np.ndarray, persistence: float = PERSISTENCE
) -> np.ndarray:
    """Extrapolated RBO float64 [queries] of two rankings each, int [queries, depth].

    Candidate numbers from 0, best first, -1 past the end; a ranking holds nothing twice. In [0, 1],
    1 for equal rankings, 0 for disjoint ones; NaN where one is empty. With X_d common among the
    first d of a shorter ranking of s and a longer of l:

    (1 - p)/p (sum over d = 1..l of X_d/d p^d + sum over d = s+1..l of X_s (d - s)/(s d) p^d)
    + ((X_l - X_s)/l + X_s/s) p^l

    Source: Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings", RBO_EXT,
    equation 32, for rankings of any lengths.
    """
    if first.shape != second.shape:
        raise ValueError(f"rankings of shapes {first.shape} and {second.shape} do not compare")
    number, depth = first.shape
    if not depth:
        return np.full(number, np.nan)
    places = places_of(first, second)
    # a candidate is common from the deeper of its two places on
    since = np.maximum(places, np.arange(depth))
    rows, columns = np.nonzero((first >= 0) & (since < depth))
    new = np.bincount(rows * depth + since[rows, columns], minlength=number * depth)
    common = new.reshape(number, depth).cumsum(axis=1)
    lengths = np.stack([(ranking >= 0).sum(axis=1) for ranking in (first, second)])
    known = lengths.min(axis=0) > 0
    shorter, longer = (np.maximum(found, 1)[:, None] for found in np.sort(lengths, axis=0))
    of_shorter, of_longer = (np.take_along_axis(common, ends - 1, 1) for ends in (shorter, longer))
    at = np.arange(1, depth + 1)
    # past its end, the shorter ranking is taken to agree as it does down to there
    behind = of_shorter * np.maximum(at - shorter, 0) / (shorter * at)
    weights = (1 - persistence) * persistence ** (at - 1)
    seen = np.where(at <= longer, (common / at + behind) * weights, 0.0).sum(axis=1)
    last = (of_longer - of_shorter) / longer + of_shorter / shorter
    return np.where(known, seen + (last * persistence**longer)[:, 0], np.nan)


def kendall(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kendall's tau-b float64 [queries] on the union of two rankings, int [queries, depth].

    Candidate numbers from 0, best first, -1 past the end. NaN where it is not defined: where one
    ranking is empty, or the union is a single candidate.
    """
    held, by_first, by_second = _union(first, second)
    left, right = np.triu_indices(held.shape[1], 1)
    counted = held[:, left] & held[:, right]
    order_first = np.sign(by_first[:, left] - by_first[:, right]) * counted
    order_second = np.sign(by_second[:, left] - by_second[:, right]) * counted
    agreeing = (order_first * order_second).sum(axis=1)
    untied = (order_first != 0).sum(axis=1) * (order_second != 0).sum(axis=1)
    return np.where(untied > 0, agreeing / np.sqrt(np.maximum(untied, 1)), np.nan)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rho float64 [queries] on the union of two rankings, as in `kendall`.

    The correlation of ranks, of which those that tie have the mean.
    """
    held, *places = _union(first, second)
    centred = []
    for place in places:
        ranks = block_ranks(np.where(held, place, np.nan))
        centred.append(np.where(held, ranks - (held.sum(axis=1, keepdims=True) + 1) / 2, 0.0))
    product = (centred[0] * centred[1]).sum(axis=1)
    spread = np.square(centred[0]).sum(axis=1) * np.square(centred[1]).sum(axis=1)
    return np.where(spread > 0, product / np.sqrt(np.where(spread > 0, spread, 1)), np.nan)


class _Union(NamedTuple):
    """Two rankings as one: which of its slots [queries, 2 depth] hold a candidate, and its place
    from 0 in either ranking, the depth where only the other holds it.
    """

    held: np.ndarray
    in_first: np.ndarray
    in_second: np.ndarray


def _union(first: np.ndarray, second: np.ndarray) -> _Union:
    depth = first.shape[1]
    own = np.broadcast_to(np.arange(depth), first.shape)
    missing = np.full(first.shape, depth)
    in_second = places_of(first, second)
    only_second = (second >= 0) & (places_of(second, first) == depth)
    # all of the first ranking, then what only the second holds
    held = np.concatenate([first >= 0, only_second], axis=1)
    in_first = np.concatenate([own, missing], axis=1).astype(np.int16)
    return _Union(held, in_first, np.concatenate([in_second, own], axis=1).astype(np.int16))


def places_of(items: np.ndarray, ranking: np.ndarray) -> np.ndarray:
    """Place from 0 of each item in the same row of `ranking`, its depth where it is not there.

    Both int [queries, depth], -1 past the end.
    """
    number, depth = ranking.shape
    if not ranking.size:
        return np.full(items.shape, depth)
    span = np.int64(max(items.max(), ranking.max()) + 2)
    base = np.arange(number, dtype=np.int64)[:, None] * span
    known = np.where(ranking >= 0, base + ranking, -1).reshape(-1)
    order = np.argsort(known, kind="stable")
    sought = base + items
    slot = np.minimum(np.searchsorted(known, sought, sorter=order), len(order) - 1)
    at = order[slot]
    return np.where((items >= 0) & (known[at] == sought), at % depth, depth)


def mean_correlations(runs: Mapping[str, PooledRun], cutoff: int, compare: Compare) -> np.ndarray:
    """Mean of `compare` [languages, languages] over the topics two languages ask; NaN at [a, a].

    Symmetric; NaN where no topic is asked in both.
    """
    tops = [run.candidates[:, :cutoff] for run in runs.values()]
    depth = max(top.shape[1] for top in tops)
    tops = [
        np.pad(top, ((0, 0), (0, depth - top.shape[1])), constant_values=-1) for top in tops
    ]  # a pool of equal size gives equal depths; other tools' runs may differ
    topics = [np.array(run.topics) for run in runs.values()]
    means = np.full((len(tops), len(tops)), np.nan)
    for a, b in combinations(range(len(tops)), 2):
        _, rows_a, rows_b = np.intersect1d(topics[a], topics[b], return_indices=True)
        values = compare(tops[a][rows_a], tops[b][rows_b])
        means[a, b] = means[b, a] = column_means(values[:, None])[0]
    return means


def summarise_overlap(runs: Mapping[str, PooledRun]) -> dict[str, Any]:
    """Rank-biased overlap of the top 100, or of what the runs hold (`cutoff`)."""
    summary = _summary(runs, CUTOFF, rank_biased_overlap)
    if not summary:
        return {}
    depth = max(run.candidates.shape[1] for run in runs.values())
    return {**summary, "cutoff": min(CUTOFF, depth), "persistence": PERSISTENCE}


def summarise_kendall(runs: Mapping[str, PooledRun]) -> dict[str, Any]:
    """Kendall's tau-b on the union of the top 10."""
    return _summary(runs, CORRELATION_CUTOFF, kendall)


def summarise_spearman(runs: Mapping[str, PooledRun]) -> dict[str, Any]:
    """Spearman's rho on the union of the top 10: MRC@10."""
    return _summary(runs, CORRELATION_CUTOFF, spearman)


def _summary(runs: Mapping[str, PooledRun], cutoff: int, compare: Compare) -> dict[str, Any]:
    """Macro, per language and per pair of languages."""
    if len(runs) < 2:
        return {}
    names = list(runs)
    pairs = mean_correlations(runs, cutoff, compare)
    by_language = zip(names, column_means(pairs), strict=True)
    summary = mean_of({name: float(mean) for name, mean in by_language if not np.isnan(mean)})
    return {**summary, "pairs": as_table(pairs, names, names)} if summary else {}
