"""What `run` prints: the few numbers that matter, per run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from bias_bench.console import result
from bias_bench.evaluation.settings import KINDS
from bias_bench.files import json_text
from bias_bench.report.run_page import read_metrics

_FILE_WIDTH = 160


def print_summary(folders: list[Path], output_format: Literal["table", "json"]) -> None:
    """Macro AP per kind of setting and the bias metrics of each run."""
    rows = [_row(folder) for folder in folders]
    if output_format == "json":
        result(json_text(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in (
        "run",
        "AP mono",
        "AP cross",
        "AP pool",
        "rank distance",
        "same language top 1",
    ):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "run" else "right")
    for row in rows:
        table.add_row(
            row["run"],
            *(f"{row['AP'][kind]:.4f}" for kind in KINDS),
            f"{row['rank_distance']:.1f}",
            f"{row['same_language_top1']:.3f}",
        )
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)


def _row(folder: Path) -> dict[str, Any]:
    metrics = read_metrics(folder)
    return {
        "run": folder.name,
        "folder": str(folder),
        "AP": {kind: metrics["retrieval"][kind]["macro"]["AP"] for kind in KINDS},
        "rank_distance": metrics["bias"]["rank_distance"]["macro"],
        "same_language_top1": metrics["bias"]["same_language_top1"]["macro"],
    }
