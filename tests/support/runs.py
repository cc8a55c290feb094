"""Helpers for tests of whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bias_bench.cli import run_command

BACKBONE = "scratch:tiny"


def run(out: Path, *arguments: str, backbone: str = BACKBONE) -> int:
    """`biasbench run` with a small random encoder, without training unless a recipe is named."""
    named = "--recipe" in arguments or any(part.endswith(".yaml") for part in arguments)
    return run_command(
        [
            "run",
            *arguments,
            *([] if named else ["--recipe", "zero-shot"]),
            *(["--backbone", backbone] if backbone else []),
            *("--out", str(out / "runs"), "--reports", str(out / "reports")),
        ]
    )


def trec_files(folder: Path) -> dict[str, bytes]:
    """Content of every TREC file of a run folder."""
    paths = [*folder.glob("trec/*/*.run.gz"), *folder.glob("qrels/*/*.qrels.gz")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def results(folder: Path) -> dict[str, Any]:
    """Everything of a run folder that must not depend on when or how often it was run."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    metrics.pop("timings")
    tables = {name: (folder / name).read_bytes() for name in ("ranks.parquet", "scores.parquet")}
    return {**trec_files(folder), **tables, "metrics": metrics}


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest without its checksum, so that what a test changes in it is taken."""
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    content.pop("sha256")
    return content
