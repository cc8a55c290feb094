"""`python -m benchmarks.results RUN...`: the tables of docs/results.md from run folders.

Metrics of robustness are of runs that had the suite on. "Unseen" are means over the languages of
XQuAD-R that MLQA-R, so every monolingual batch, lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bias_bench.evaluation.metrics_document import Average, Metrics, ProbeRecord
from bias_bench.evaluation.settings import parse_setting
from bias_bench.robustness.table import FILE, MEASURES, read_means

_HEADINGS = (
    "recipe", "AP mono", "AP cross", "AP pooled", "R@10 pooled", "rank distance, mean", "median",
    "top 1 in the query's language", "query's language first", "probe",
    "AP mono, unseen", "AP pooled, unseen", *MEASURES,
)  # fmt: skip
_UNSEEN = ("el", "ru", "th", "tr")


def _unseen(per_setting: dict[str, dict[str, float]]) -> str:
    found = [
        values["AP"]
        for name, values in per_setting.items()
        if parse_setting(name).query_language in _UNSEEN
    ]
    return f"{np.mean(found):.4f}" if found else "–"


def _robustness(folder: Path, measure: str) -> str:
    """The mean over languages of the mean over queries."""
    if not (folder / FILE).is_file():
        return "–"
    found = read_means(folder / FILE, measure)
    settings = np.array(found.settings)
    means = [found.values[settings == name].mean() for name in np.unique(settings)]
    return f"{np.mean(means):.4f}"


def row(folder: Path) -> list[str]:
    """One system's cells; a metric that the run does not have is a dash."""
    metrics = Metrics.load(folder)
    retrieval, bias = metrics.retrieval, metrics.bias
    pooled, distance = retrieval["multilingual"].macro, bias.rank_distance

    def macro(found: Average | ProbeRecord | None, digits: int = 3) -> str:
        return f"{found.macro:.{digits}f}" if found else "–"

    return [
        metrics.system.split("@")[0],
        *(f"{retrieval[kind].macro['AP']:.4f}" for kind in ("monolingual", "cross_lingual")),
        f"{pooled['AP']:.4f}",
        f"{pooled['R@10']:.4f}",
        macro(distance, 1),
        f"{distance.median:.1f}" if distance else "–",
        macro(bias.same_language_top1),
        macro(bias.same_language_first),
        macro(bias.language_probe),
        *(_unseen(retrieval[kind].per_setting) for kind in ("monolingual", "multilingual")),
        *(_robustness(folder, measure) for measure in MEASURES),
    ]


def main(folders: Sequence[str]) -> None:
    """Print the table as Markdown."""
    lines = [list(_HEADINGS), ["---"] * len(_HEADINGS)]
    lines += [row(Path(folder)) for folder in folders]
    for cells in lines:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
