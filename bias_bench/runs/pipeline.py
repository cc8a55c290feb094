"""From an experiment to its graph, and what a run or a dry run makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.config.experiment import Experiment
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.run_record import FILE, RunRecord
from bias_bench.runs.dense import dense_graph
from bias_bench.runs.folder import RunOptions, checked_folder
from bias_bench.runs.fusion import fusion_graph
from bias_bench.runs.graph import Decision, Graph, decide, earlier_record, execute, stages_until
from bias_bench.runs.lexical import lexical_graph
from bias_bench.runs.measured import report_stage
from bias_bench.runs.prepare import NOTHING, Given, open_task_benchmark
from bias_bench.runs.task import Task
from bias_bench.system import provenance
from bias_bench.system.console import let_first_speak, say
from bias_bench.system.launch import started_rank
from bias_bench.system.processes import ALONE, join_processes

PLAN_SCHEMA = 2


def run(experiment: Experiment, options: RunOptions, given: Given = NOTHING) -> Path:
    """Run one experiment into its folder and report on it; returns the folder.

    Finished stages are kept; an interrupted run goes on where it stopped.
    """
    let_first_speak(started_rank())
    folder = checked_folder(experiment, options)
    graph = make_graph(experiment, options, folder, given)
    device = graph.record.encoding.device
    processes = join_processes(device) if device else ALONE
    execute(graph, folder, options.policy, options.until, options.memory, processes)
    processes.finish()
    say(f"run folder: {folder}")
    return folder


def make_graph(
    experiment: Experiment, options: RunOptions, folder: Path, given: Given = NOTHING
) -> Graph:
    """The graph of an experiment in its folder; bad input is found here, and nothing is written."""
    if experiment.fusion:
        graph = fusion_graph(experiment, experiment.fusion, folder.name)
    elif experiment.lexical:
        task = Task(experiment, open_task_benchmark(experiment, options, given))
        graph = lexical_graph(task, folder.name)
    else:
        graph = dense_graph(experiment, options, folder, given)
    if options.reports is None or options.policy == "only-cache":
        return graph
    return graph._replace(stages=[*graph.stages, report_stage(options.reports, folder)])


class PlannedStage(NamedTuple):
    """What a dry run found of a stage, and what it took last time on this machine, in which run."""

    stage: str
    action: str
    reason: str
    forecast: str
    last_seconds: float | None
    last_run: str | None


class PlannedRun(NamedTuple):
    """What a run of one system would do."""

    run: str
    folder: Path
    system: str
    stages: tuple[PlannedStage, ...]


def plan_run(experiment: Experiment, options: RunOptions) -> PlannedRun:
    """What `run` would do: the same decisions, nothing computed, written or fetched."""
    folder = checked_folder(experiment, options)
    graph = make_graph(experiment, options._replace(fetch=False), folder)
    record = earlier_record(folder, options.policy) or graph.record
    earlier = _earlier_runs(folder, graph.record.collection)
    stages = [
        PlannedStage(*decision, *_last_time(decision, earlier, experiment))
        for decision in decide(stages_until(graph, options.until), record, folder, options.policy)
    ]
    return PlannedRun(folder.name, folder, str(experiment.system), tuple(stages))


def plan_json(plans: Sequence[PlannedRun]) -> dict[str, Any]:
    """Plans as plain data."""
    systems = [
        {
            **plan._asdict(),
            "folder": str(plan.folder),
            "stages": [stage._asdict() for stage in plan.stages],
        }
        for plan in plans
    ]
    return {"schema": PLAN_SCHEMA, "systems": systems}


def _earlier_runs(folder: Path, collection: str) -> list[RunRecord]:
    """Records of this folder and those beside it, of one benchmark, this folder's and new ones
    first.
    """
    records = []
    for path in sorted(
        folder.parent.glob(f"*/{FILE}"),
        key=lambda path: (path.parent != folder, -path.stat().st_mtime),
    ):
        try:
            record = RunRecord.load(path.parent)
        except BiasBenchError:
            continue  # a damaged or foreign folder says nothing of time
        if record.collection == collection:
            records.append(record)
    return records


def _last_time(
    decision: Decision, earlier: Sequence[RunRecord], experiment: Experiment
) -> tuple[float | None, str | None]:
    """Seconds that a stage took, and in which run; training only in runs of the same recipe."""
    host = provenance.host()
    for record in earlier if decision.action == "compute" else ():
        done = record.stages.get(decision.stage)
        machine = done and done.environment and done.environment.host
        if (
            done
            and machine
            and (machine.processor, machine.cores) == (host["processor"], host["cores"])
            and (decision.stage != "train" or record.system.startswith(f"{experiment.recipe}@"))
        ):
            return done.seconds, record.name
    return None, None
