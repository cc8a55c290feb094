"""`python -m benchmarks.results RUN...`: the table of docs/results.md from run folders."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bias_bench.report.run_page import read_metrics

_HEADINGS = (
    "recipe", "AP mono", "AP cross", "AP pooled", "R@10 pooled", "rank distance, mean", "median",
    "top 1 in the query's language", "query's language first", "probe",
)  # fmt: skip


def row(metrics: dict[str, Any]) -> list[str]:
    """One system's cells; a metric that the run does not have is a dash."""
    retrieval, bias = metrics["retrieval"], metrics["bias"]
    pooled = retrieval["multilingual"]["macro"]

    def macro(name: str) -> str:
        return f"{bias[name]['macro']:.3f}" if name in bias else "–"

    return [
        metrics["system"].split("@")[0],
        *(f"{retrieval[kind]['macro']['AP']:.4f}" for kind in ("monolingual", "cross_lingual")),
        f"{pooled['AP']:.4f}",
        f"{pooled['R@10']:.4f}",
        f"{bias['rank_distance']['macro']:.1f}",
        f"{bias['rank_distance']['median']:.1f}",
        macro("same_language_top1"),
        macro("same_language_first"),
        macro("language_probe"),
    ]


def main(folders: Sequence[str]) -> None:
    """Print the table as Markdown."""
    lines = [list(_HEADINGS), ["---"] * len(_HEADINGS)]
    lines += [row(read_metrics(Path(folder))) for folder in folders]
    for cells in lines:
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
