"""Aggregates of a run: means per setting, macro averages per kind of setting."""

from __future__ import annotations

from typing import Any

import numpy as np

from bias_bench.evaluation.settings import KINDS, parse_setting


def aggregate(means: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Per kind: `per_setting` means, and `macro`, the mean over settings of those means."""
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
    return summary
