"""The stages that every kind of run ends with: score, metrics and report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bias_bench import __version__
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics import parse_metric
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.run_record import AgreementRecord
from bias_bench.evaluation.score_run import score_run
from bias_bench.evaluation.scorers.providers import trec_eval_provider
from bias_bench.evaluation.scores import AGREEMENT_LIMIT, agreement, write_scores
from bias_bench.report.run_page import write_run_page
from bias_bench.runs.graph import Made, Stage, Work
from bias_bench.system import provenance
from bias_bench.system.console import say
from bias_bench.system.files import read_json, write_json


def score_stage(needs: str, depth: Callable[[Work], int], more: Sequence[str] = ()) -> Stage:
    """Every scorer on the TREC files of the stage `needs`, down to a depth; they must agree.

    `more` are names of metrics beside the usual ones; UsageError for an unknown one.
    """
    metrics = [parse_metric(name) for name in more]

    def work(work: Work) -> Made:
        provider, note = trec_eval_provider()
        if note:
            say(note)
        scores = score_run(work.folder, depth(work), provider, metrics)
        path = work.folder / "scores.parquet"
        write_scores(path, scores)
        found = agreement(scores)
        if found.max_abs_difference > AGREEMENT_LIMIT:
            raise BiasBenchError(f"scorers disagree by more than {AGREEMENT_LIMIT}: {found.worst}")
        record = AgreementRecord(
            max_abs_difference=found.max_abs_difference,
            compared=found.compared,
            limit=AGREEMENT_LIMIT,
            worst=found.worst,
            trec_eval=str(provider),
        )
        return Made([path], {"agreement": record})

    def inputs() -> dict[str, Any]:
        asked = {"metrics": list(map(str, metrics))} if metrics else {}
        return {"libraries": provenance.versions(), "biasbench": __version__, **asked}

    return Stage("score", work, inputs, (needs,))


def metrics_stage(
    needs: tuple[str, ...],
    measure: Callable[[Work, dict[str, Any]], Metrics],
    parts: Mapping[str, str],
    examples: Callable[[Path], Mapping[str, Any]] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Stage:
    """What was measured. `parts` are files of earlier stages, by the names that `measure` gets
    their content under; `examples` makes that of examples.json.
    """

    def work(work: Work) -> Made:
        folder = work.folder
        read = {name: read_json(folder / file) for name, file in parts.items()}
        files = [measure(work, read).save(folder, work.record.seconds)]
        if examples:
            files.append(folder / "examples.json")
            write_json(files[-1], examples(folder))
        return Made(files)

    decided = {"biasbench": __version__, **(inputs or {})}
    return Stage("metrics", work, lambda: decided, needs, timed=True)


def report_stage(reports: Path, folder: Path) -> Stage:
    """The run's HTML page in the folder `reports`, the one file outside of the run folder."""

    def work(work: Work) -> Made:
        page = write_run_page(work.folder, reports)
        say(f"report: {page}")
        return Made([page])

    def inputs() -> dict[str, Any]:
        return {"place": os.path.relpath(reports, folder), "biasbench": __version__}

    return Stage("report", work, inputs, ("metrics",))


def scorer_agreement(work: Work) -> dict[str, Any]:
    """The part `scorers` of metrics.json, as the stage `score` recorded it."""
    record = work.record.agreement
    if record is None:
        raise ValueError("metrics are measured after the stage score")
    return {
        "agreement": {
            "max_abs_difference": record.max_abs_difference,
            "compared": record.compared,
        }
    }
