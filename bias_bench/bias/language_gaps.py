"""Gaps between languages: how unevenly a system serves them in the pool of all languages.

`query`: AP by query language (whom does it serve?). `candidate`: by candidate language, AP of its
candidate as the single target, averaged over query languages (whose texts does it find?). For both:
the worst language, the range (best less worst, in [0, 1], lower is better) and the Gini
coefficient (in [0, 1 - 1/languages], 0 when all are served alike). Read them beside the mean: where
nothing is found, there is no gap. Where ranks are known down to a cut-off only, AP is AP down to
there.

Sources: LAReQA (arXiv:2004.05484) for AP by language, Multi-EuP (arXiv:2311.01870) for the gaps;
Gini 1912.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.bias import single_target
from bias_bench.bias.parallel import Parallel, column_means, mean_of, means
from bias_bench.evaluation.metrics import Metric, compute


def gini(values: np.ndarray) -> float:
    """Mean absolute difference of all pairs of values [languages] over twice their mean."""
    total = float(values.sum())
    if not total:
        return 0.0
    return float(np.abs(values[:, None] - values).sum() / (2 * len(values) * total))


def gaps(values: dict[str, float]) -> dict[str, Any]:
    """Mean, worst language, range and Gini coefficient of one value per language."""
    array = np.array(list(values.values()))
    worst = min(values, key=lambda language: (values[language], language))
    return {
        **mean_of(values),
        "worst": {"language": worst, "value": values[worst]},
        "range": float(array.max() - array.min()),
        "gini": gini(array),
    }


def summarise(parallel: Parallel) -> dict[str, Any]:
    """Gaps between query languages, over all queries, and between candidate languages."""
    if not parallel.parts:
        return {}
    pooled = means(parallel, lambda part: compute(Metric("AP", part.cutoff), part.relevant))
    targets = column_means(single_target.table(parallel))
    return {
        "query": gaps(pooled["per_language"]),
        "candidate": gaps(
            {
                language: float(value)
                for language, value in zip(parallel.languages, targets, strict=True)
                if not np.isnan(value)
            }
        ),
    }
