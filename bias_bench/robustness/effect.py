"""What a perturbation does to rankings: AP lost, first hits lost, overlap with the clean ranking.

All from the pool of all languages, query by query beside the clean ranking of the same query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bias_bench.bias.rank_correlation import rank_biased_overlap
from bias_bench.evaluation.metrics import Metric, compute
from bias_bench.robustness.perturbations import Variant

DEPTH = 10  # the first ten results carry 86 % of the weight of the overlap (Webber et al. 2010)


class Ranking(NamedTuple):
    """Results of one language's queries in one pool.

    `ranks` int32 [queries, relevant]: exact ranks from 1, 0 for none. `rows` int64 [queries, k]:
    candidate rows, best first.
    """

    ranks: np.ndarray
    rows: np.ndarray


class Effect(NamedTuple):
    """Means over the queries of one language that have a relevant candidate.

    `ap_clean`, `ap`: average precision over the whole pool, of the clean and of the perturbed
    queries; `loss` = ap_clean - ap, positive when perturbation makes it worse. `first_clean`: share
    of queries whose first result is relevant when clean; `first_lost`: share, of all queries, where
    it was and no longer is; lower is better, at most `first_clean`. `overlap`: rank-biased overlap
    of the two top tens, in [0, 1], 1 = the same ranking.
    """

    ap_clean: float
    ap: float
    loss: float
    first_clean: float
    first_lost: float
    overlap: float
    queries: int


class QueryEffects(NamedTuple):
    """Of each query with a relevant candidate: its row, and what `Effect` has the means of.

    `rows` int64 [queries], the others float64 [queries].
    """

    rows: np.ndarray
    ap_clean: np.ndarray
    ap: np.ndarray
    first_clean: np.ndarray
    first_lost: np.ndarray
    overlap: np.ndarray


def query_effects(clean: Ranking, perturbed: Ranking) -> QueryEffects:
    """Compare the rankings of the same queries."""
    judged = np.flatnonzero((clean.ranks > 0).any(axis=1))
    before, after = clean.ranks[judged], perturbed.ranks[judged]
    hit, kept = (before == 1).any(axis=1), (after == 1).any(axis=1)
    depth = min(DEPTH, clean.rows.shape[1], perturbed.rows.shape[1])
    return QueryEffects(
        rows=judged,
        ap_clean=compute(Metric("AP"), before),
        ap=compute(Metric("AP"), after),
        first_clean=hit.astype(np.float64),
        first_lost=(hit & ~kept).astype(np.float64),
        overlap=rank_biased_overlap(clean.rows[judged, :depth], perturbed.rows[judged, :depth]),
    )


def effect(found: QueryEffects) -> Effect | None:
    """The means over queries; None without any."""
    if not len(found.rows):
        return None
    ap_clean, ap = float(found.ap_clean.mean()), float(found.ap.mean())
    return Effect(
        ap_clean=ap_clean,
        ap=ap,
        loss=ap_clean - ap,
        first_clean=float(found.first_clean.mean()),
        first_lost=float(found.first_lost.mean()),
        overlap=float(found.overlap.mean()),
        queries=len(found.rows),
    )


def summarise(
    languages: Sequence[str],
    effects: Mapping[Variant, Mapping[str, QueryEffects]],
    changed: Mapping[Variant, Mapping[str, float]],
) -> dict[str, Any]:
    """Effects per kind and strength, per query language and as the mean over languages.

    `effects` maps a variant to those of each query language that has it, `changed` to the share of
    queries whose text it changed. A macro mean is over the languages that have the variant; those
    of `languages` that have not are under `not_applicable`.
    """
    summary: dict[str, Any] = {}
    for variant, by_language in effects.items():
        per_language = {}
        for language, queries in by_language.items():
            found = effect(queries)
            if found:
                share = changed[variant][language]
                per_language[language] = {**found._asdict(), "changed": share}
        summary.setdefault(variant.kind, {})[variant.strength] = {
            "macro": _means(list(per_language.values())),
            "per_language": per_language,
            "not_applicable": [name for name in languages if name not in by_language],
        }
    return summary


def _means(effects: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure but the number of queries."""
    names = [name for name in (effects[0] if effects else {}) if name != "queries"]
    return {name: float(np.mean([one[name] for one in effects])) for name in names}
