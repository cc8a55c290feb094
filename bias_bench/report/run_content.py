"""What a run's page is made of, read from its folder; parts that a folder lacks are None."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.files import parse_json, read_json
from bias_bench.manifest import (
    EXPERIMENT,
    read_experiment_text,
    read_manifest,
    require_undamaged,
)
from bias_bench.report.run_statistics import RunStatistics, run_statistics

EXAMPLES_SCHEMA = 1
_READ = ("metrics.json", "examples.json", "ranks.parquet", "train.jsonl")


class RunContent(NamedTuple):
    """One run. `training` are the rows of train.jsonl, `examples` the topics of examples.json.

    `experiment` is experiment.yaml without the place of the data, which decides no result: of a
    folder as benchmark, the name alone.
    """

    manifest: dict[str, Any]
    metrics: Metrics
    statistics: RunStatistics | None = None
    training: list[dict[str, Any]] | None = None
    examples: list[dict[str, Any]] | None = None
    experiment: str | None = None


def read_run_content(folder: Path) -> RunContent:
    """Read a complete run folder; BiasBenchError where it is none, or is damaged."""
    manifest = read_manifest(folder)
    require_undamaged(folder, manifest, _READ)
    metrics = Metrics.load(folder)
    ranks, experiment = folder / "ranks.parquet", folder / EXPERIMENT
    return RunContent(
        manifest=manifest,
        metrics=metrics,
        statistics=run_statistics(RankTable(ranks)) if ranks.is_file() else None,
        training=_training(folder / "train.jsonl"),
        examples=_examples(folder / "examples.json"),
        experiment=_experiment(experiment) if experiment.is_file() else None,
    )


def _experiment(path: Path) -> str:
    return re.sub(r"(?m)^(benchmark: ['\"]?).*/", r"\1", read_experiment_text(path))


def _training(path: Path) -> list[dict[str, Any]] | None:
    if not path.is_file():
        return None
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise BiasBenchError(f"{path}: damaged ({error}); repeat the run") from None
    return rows or None


def _examples(path: Path) -> list[dict[str, Any]] | None:
    if not path.is_file():
        return None
    content = read_json(path)
    if content.get("schema") != EXAMPLES_SCHEMA:
        return None  # examples illustrate; a page is whole without them
    return content["examples"] or None
