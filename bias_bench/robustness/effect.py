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


class QueryEffects(NamedTuple):
    """What a perturbation does to each query that has a relevant candidate.

    `rows` int64 [queries] are the queries' rows; the others float64 [queries]. `ap_clean`, `ap`:
    average precision over the whole pool, of the clean and of the perturbed query. `first_clean`:
    1 where the first result is relevant when clean; `first_lost`: 1 where it was and no longer is,
    lower is better. `overlap`: rank-biased overlap of the two top tens, in [0, 1], 1 = the same.
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
    hit, hit_after = (before == 1).any(axis=1), (after == 1).any(axis=1)
    depth = min(DEPTH, clean.rows.shape[1], perturbed.rows.shape[1])
    return QueryEffects(
        rows=judged,
        ap_clean=compute(Metric("AP"), before),
        ap=compute(Metric("AP"), after),
        first_clean=hit.astype(np.float64),
        first_lost=(hit & ~hit_after).astype(np.float64),
        overlap=rank_biased_overlap(clean.rows[judged, :depth], perturbed.rows[judged, :depth]),
    )


def effect(measured: QueryEffects) -> dict[str, float]:
    """The means over queries, as `metrics_document.PerturbationEffect` has them, and the number of
    `queries`; empty without any. `loss` is ap_clean - ap, above 0 when perturbation makes it worse.
    """
    if not len(measured.rows):
        return {}
    means = {name: float(values.mean()) for name, values in measured._asdict().items()}
    return {
        "ap_clean": means["ap_clean"],
        "ap": means["ap"],
        "loss": means["ap_clean"] - means["ap"],
        "first_clean": means["first_clean"],
        "first_lost": means["first_lost"],
        "overlap": means["overlap"],
        "queries": len(measured.rows),
    }


def summarise(
    languages: Sequence[str],
    effects: Mapping[Variant, Mapping[str, QueryEffects]],
    changed: Mapping[Variant, Mapping[str, float]],
) -> dict[str, Any]:
    """Effects per kind and strength, per query language and as the mean over languages.

    `effects` maps a variant to those of each query language that has it, `changed` to the share of
    queries whose text it changed. A macro mean is over the languages that have the variant; those
    of `languages` that do not are under `not_applicable`.
    """
    summary: dict[str, Any] = {}
    for variant, by_language in effects.items():
        per_language = {
            language: {**effect(queries), "changed": changed[variant][language]}
            for language, queries in by_language.items()
            if len(queries.rows)
        }
        rows = list(per_language.values())
        names = [name for name in (rows[0] if rows else ()) if name != "queries"]
        summary.setdefault(variant.kind, {})[variant.strength] = {
            "macro": {name: float(np.mean([row[name] for row in rows])) for name in names},
            "per_language": per_language,
            "not_applicable": [name for name in languages if name not in by_language],
        }
    return summary
