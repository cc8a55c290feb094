"""Aggregates of a run: means per setting, macro averages per kind of setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench.evaluation.settings import KINDS, parse_setting


def aggregate(
    means: dict[str, dict[str, float]], averages: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Per kind: `per_setting` means, and `macro`, the mean over settings of those means.

    `averages` are named sets of languages; the mean over their monolingual settings is added under
    `averages`, for each set of which no language is missing.
    """
    summary: dict[str, Any] = {}
    for kind in KINDS:
        settings = {
            name: value for name, value in means.items() if parse_setting(name).kind == kind
        }
        if not settings:
            continue
        metrics = next(iter(settings.values()))
        summary[kind] = {
            "macro": {
                metric: float(np.mean([values[metric] for values in settings.values()]))
                for metric in metrics
            },
            "per_setting": settings,
        }
        if kind == "monolingual" and averages:
            summary[kind]["averages"] = {
                name: {
                    "languages": list(languages),
                    "values": {
                        metric: float(np.mean([settings[one][metric] for one in languages]))
                        for metric in metrics
                    },
                }
                for name, languages in averages.items()
                if set(languages) <= settings.keys()
            }
    return summary
