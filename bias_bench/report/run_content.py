"""What a run's page is made of, read from its folder; parts that a folder lacks are None."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.run_files import EXPERIMENT, read_experiment_text, require_undamaged
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.evaluation.settings import ALL, KINDS, parse_setting
from bias_bench.report.run_statistics import Estimate, RunStatistics, run_statistics
from bias_bench.system.documents import Document
from bias_bench.system.files import parse_json, read_json

EXAMPLES_SCHEMA = 1
_PLACE = r"(?m)^(benchmark: ['\"]?).*/"  # of a benchmark that is a folder
_READ = ("metrics.json", "examples.json", "ranks.parquet", "train.jsonl")


class TrainingRow(Document):
    """What the page reads of a step of train.jsonl; a loss may be NaN or infinite."""

    model_config = ConfigDict(allow_inf_nan=True)
    step: int
    """Its number, from 1."""
    loss: float
    """The sum of all terms, lower is better."""
    terms: dict[str, float]
    """Loss by term."""
    learning_rate: float
    """At this step."""
    validation: float | None = None
    """Loss on held-out pairs, where it was measured; lower is better."""
    observed: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By term, what it saw."""


class Hit(Document):
    """A candidate of an example."""

    rank: int
    """From 1."""
    language: str
    """Its language."""
    relevant: bool
    """Whether it is an answer."""
    text: str
    """Its text."""


class Example(Document):
    """A topic of examples.json, and how it fared."""

    reason: str
    """Why it was chosen."""
    query: str
    """Id of the query."""
    language: str
    """Of the query."""
    title: str | None
    """Of its article."""
    question: str
    """Its text."""
    english: str | None
    """Its text in English."""
    ap: float
    """AP, in [0, 1], higher is better."""
    rank_distance: int | None
    """In ranks, lower is better."""
    pool: int
    """Candidates in the pool of all languages."""
    hits: list[Hit]
    """The first results."""
    answers: list[Hit]
    """The answers in all languages."""


class Examples(Document):
    """The content of examples.json."""

    examples: list[Example]
    """The topics, in order."""


class RunContent(NamedTuple):
    """One run. `training` are the rows of train.jsonl, `examples` the topics of examples.json.

    `experiment` is experiment.yaml without the place of the data, which decides no result: of a
    folder as benchmark, the name alone.
    """

    manifest: RunRecord
    metrics: Metrics
    statistics: RunStatistics | None = None
    training: list[TrainingRow] | None = None
    examples: list[Example] | None = None
    experiment: str | None = None

    @property
    def languages(self) -> list[str]:
        """The languages of the benchmark, by code."""
        if self.manifest.languages is not None:
            return sorted(self.manifest.languages)
        kinds = self.metrics.retrieval.values()
        settings = [parse_setting(name) for kind in kinds for name in kind.per_setting]
        return sorted({language for setting in settings for language in setting} - {ALL})

    @property
    def precision(self) -> dict[str, Estimate]:
        """Macro AP of each kind of setting, with its interval where the ranks are at hand."""
        if self.statistics is not None:
            return self.statistics.precision
        retrieval, metric = self.metrics.retrieval, self.metrics.average_precision
        return {
            kind: Estimate(retrieval[kind].macro[metric]) for kind in KINDS if kind in retrieval
        }

    @property
    def searched_ap(self) -> str:
        """What AP is called of the pool that robustness is measured in."""
        return "pooled AP" if "multilingual" in self.metrics.retrieval else "AP"

    @property
    def evaluations(self) -> list[tuple[int, float]]:
        """The steps of training at which it was evaluated, with their validation losses."""
        rows = self.training or []
        return [(row.step, row.validation) for row in rows if row.validation is not None]


def read_run_content(folder: Path) -> RunContent:
    """Read a complete run folder; BiasBenchError where it is not one, or is damaged."""
    manifest = RunRecord.load(folder)
    require_undamaged(folder, manifest, _READ)
    metrics = Metrics.load(folder)
    ranks, experiment = folder / "ranks.parquet", folder / EXPERIMENT
    return RunContent(
        manifest=manifest,
        metrics=metrics,
        statistics=run_statistics(RankTable(ranks)) if ranks.is_file() else None,
        training=_training(folder / "train.jsonl"),
        examples=_examples(folder / "examples.json"),
        experiment=re.sub(_PLACE, r"\1", read_experiment_text(experiment))
        if experiment.is_file()
        else None,
    )


def _training(path: Path) -> list[TrainingRow] | None:
    if not path.is_file():
        return None
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise BiasBenchError(f"{path}: damaged ({error}); repeat the run") from None
    return [
        TrainingRow.parse(row, f"{path}: line {number}", "repeat the run")
        for number, row in enumerate(rows, 1)
    ] or None


def _examples(path: Path) -> list[Example] | None:
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != EXAMPLES_SCHEMA:
        return None  # examples illustrate; a page is whole without them
    return Examples.parse(content, path, "repeat the run").examples or None
