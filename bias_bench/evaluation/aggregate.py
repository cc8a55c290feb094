"""Aggregates of a run: means per setting, macro averages per kind of setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bias_bench.evaluation.metrics_document import KindMeans, NamedAverage
from bias_bench.evaluation.settings import KINDS, Kind, parse_setting


def aggregate(
    means: Mapping[str, dict[str, float]], averages: Mapping[str, Sequence[str]] | None = None
) -> dict[Kind, KindMeans]:
    """Per kind: `per_setting` means, and `macro`, the mean over settings of those means.

    `averages` are named sets of languages; the mean over their monolingual settings is added under
    `averages`, for each set of which no language is missing.
    """
    summary: dict[Kind, KindMeans] = {}
    for kind in KINDS:
        settings = {name: part for name, part in means.items() if parse_setting(name).kind == kind}
        if not settings:
            continue
        named = {
            name: NamedAverage(
                languages=list(languages), values=_mean(settings[one] for one in languages)
            )
            for name, languages in (averages or {}).items()
            if kind == "monolingual" and set(languages) <= settings.keys()
        }
        more = {"averages": named} if kind == "monolingual" and averages else {}
        summary[kind] = KindMeans(macro=_mean(settings.values()), per_setting=settings, **more)
    return summary


def _mean(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric."""
    values = list(parts)
    return {metric: float(np.mean([part[metric] for part in values])) for metric in values[0]}
