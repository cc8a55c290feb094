"""What a run would do, for `--dry-run`: nothing is computed, written or fetched.

The stages decide as in a run: the same code asks a manifest that keeps their answers instead of
doing the work.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bias_bench.datasets.sources import load_sources, resolve_sources
from bias_bench.dry_run.costs import Costs, read_costs
from bias_bench.dry_run.planned import Free, Plan, Step, SystemPlan
from bias_bench.encoders.cached import CachedBackbone, cache_folder
from bias_bench.encoders.embeds import Texts
from bias_bench.experiment import Experiment
from bias_bench.files import existing_parent
from bias_bench.kinds import LUCENE
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.pipeline import training_side
from bias_bench.run_record import RunRecord
from bias_bench.stages.debias import debias_fitting, debiased
from bias_bench.stages.evaluate import Evaluation, evaluate
from bias_bench.stages.folder import RunFolder
from bias_bench.stages.lexical import evaluate_lexical, require_lexical_stage
from bias_bench.stages.mining import NEGATIVES_FILE, mining_encoder, mining_requests, require_mining
from bias_bench.stages.prepare import RunOptions, checked_folder, open_task_benchmark, prepare
from bias_bench.stages.train import (
    TrainingData,
    training_inputs,
    training_sources,
    with_trained_encoder,
)
from bias_bench.stages.work import Prepared, Task

_NOT_TRAINED = "to be trained"


def plan_runs(
    experiments: Sequence[Experiment], options: RunOptions, names: Sequence[str] | None = None
) -> Plan:
    """Plan the systems in order: what one encodes, the next finds in the cache.

    With `names` each has its folder's name from there instead of from the options.
    """
    costs = read_costs(options.out, cache_folder())
    known: set[str] = set()
    named: Sequence[str | None] = names or [options.name] * len(experiments)
    systems = [_plan(experiment, options._replace(fetch=False, name=name), costs, known)
               for experiment, name in zip(experiments, named, strict=True)]  # fmt: skip
    disks = existing_parent(options.out), existing_parent(cache_folder())
    runs, cache = (shutil.disk_usage(disk).free for disk in disks)
    one_disk = disks[0].stat().st_dev == disks[1].stat().st_dev
    earlier = tuple(run.folder.name for run in costs.runs)
    return Plan(tuple(systems), Free(runs, cache, one_disk), earlier)


class _Planner(Manifest):
    """A manifest that notes what each stage would do, and writes nothing."""

    def __init__(
        self, folder: Path, task: Task, costs: Costs, known: set[str], steps: int = 0
    ) -> None:
        super().__init__(folder)
        self.steps: list[Step] = []
        self.anew: list[str] = []  # stages whose files will be others
        self._task, self._costs, self._known = task, costs, known
        self._training_steps = steps

    def update(self, **fields: Any) -> None:
        self.content.update(fields)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:  # noqa: ARG002 - nothing is done in it
        yield

    def run_stage(self, stage: Stage, policy: Policy) -> None:
        why = self.why(stage, policy)
        if why is None:
            self.steps.append(Step(stage.name, "keep", "unchanged", 0, 0, 0.0, 0, 0))
            return
        record = self.content["stages"].get(stage.name)
        same = record is not None and record["key"] == stage.key and policy != "always"
        if record is not None and not same and self.anew and policy != "always":
            why = f"outdated: {self.anew[-1]} comes before it"
        if not same:
            self.anew.append(stage.name)
        if policy == "never":
            reason = f"{why}; --policy never refuses"
            self.steps.append(Step(stage.name, "refuse", reason, 0, 0, 0.0, 0, 0))
            return
        self.note(stage.name, why, stage.texts(), use_cached=policy != "always")

    def outputs(self, stage: str) -> dict[str, str]:
        return {stage: "new"} if stage in self.anew else super().outputs(stage)

    def note(self, stage: str, why: str, texts: Sequence[Texts], use_cached: bool) -> None:
        """A stage that computes, with what it costs."""
        distinct = list({part.key: part for part in texts}.values())
        missing = [part for part in distinct if not (use_cached and self._is_known(part))]
        new = [part for part in missing if not self._is_known(part)]
        self._known |= {part.key for part in distinct}
        number = sum(part.number for part in distinct)
        task, costs = self._task, self._costs
        if stage == "encode":
            own: float | None = 0.0
        elif stage == "train":
            own = costs.training(task, self._training_steps)
        else:
            own = costs.stage(task, stage)
        encoding: float | None = 0.0
        vectors: int | None = 0
        if missing and isinstance(task, Prepared):
            encoding, vectors = costs.encoding(task, missing), costs.vector_bytes(task, new)
        self.steps.append(
            Step(
                stage=stage,
                action="compute",
                reason=why,
                texts=number,
                cached=number - sum(part.number for part in missing),
                seconds=None if own is None or encoding is None else round(own + encoding, 1),
                files=0 if stage == "encode" else costs.files(task, stage),
                vectors=vectors,
            )
        )

    def _is_known(self, part: Texts) -> bool:
        return part.cached or part.key in self._known


def _plan(experiment: Experiment, options: RunOptions, costs: Costs, known: set[str]) -> SystemPlan:
    folder = checked_folder(experiment, options)
    if experiment.fusion is not None:
        return _plan_fusion(experiment, experiment.fusion.runs, folder)
    if experiment.lexical is not None:
        return _plan_lexical(experiment, options, folder, costs)
    prepared = prepare(experiment, options)
    steps, notes = _steps_left(experiment, folder)
    planner = _Planner(folder, prepared, costs, known, steps)
    data = _training_data(prepared, planner, notes)
    use_cached = options.policy != "always"
    if options.until == "mine":
        require_mining(prepared)
        planner.note("mine", "asked for", _mining_texts(prepared, data, folder), use_cached)
    else:
        trained = _plan_training(prepared, data, planner, options.policy)
        evaluated = debiased(trained, debias_fitting(prepared, data))
        untrained = evaluated if trained is prepared else prepared
        evaluation = Evaluation(evaluated, untrained, options.policy)
        if options.until == "encode":
            planner.note("encode", "asked for", evaluation.texts(), use_cached)
        elif options.until != "train":
            evaluate(evaluation, planner, options.until)
    trains = any((step.stage, step.action) == ("train", "compute") for step in planner.steps)
    return _system(experiment, planner, steps if trains else 0, notes)


def _plan_fusion(experiment: Experiment, runs: Sequence[str], folder: Path) -> SystemPlan:
    """Of a fusion only that its runs are there: what they changed is known once they are fused."""
    for run in runs:
        RunRecord.load(Path(run))
    reason = f"of {len(runs)} finished runs; what is unchanged is kept"
    step = Step("fuse", "compute", reason, 0, 0, None, None, 0)
    return SystemPlan(folder.name, folder, str(experiment.system), 0, (step,), ())


def _plan_lexical(
    experiment: Experiment, options: RunOptions, folder: Path, costs: Costs
) -> SystemPlan:
    """The same for a system without an encoder."""
    task = Task(experiment, open_task_benchmark(experiment, options))
    place = RunFolder(folder, options.reports, options.policy, options.until)
    require_lexical_stage(task, place)
    planner = _Planner(folder, task, costs, set())
    evaluate_lexical(task, planner, place)
    return _system(experiment, planner, 0, [])


def _system(
    experiment: Experiment, planner: _Planner, steps: int, notes: Sequence[str]
) -> SystemPlan:
    folder, system = planner.folder, str(experiment.system)
    return SystemPlan(folder.name, folder, system, steps, tuple(planner.steps), tuple(notes))


def _steps_left(experiment: Experiment, folder: Path) -> tuple[int, list[str]]:
    """Steps that training has to do, and notes; an interrupted one goes on from a checkpoint."""
    steps = experiment.training.steps
    names = [path.name for path in folder.glob("checkpoints/step-*")] if steps else []
    done = max((int(name.removeprefix("step-")) for name in names), default=0)
    if not done:
        return steps, []
    return max(steps - done, 0), [f"training goes on after step {done} of {steps}"]


def _training_data(prepared: Prepared, planner: _Planner, notes: list[str]) -> TrainingData | None:
    """The training side where a decision needs it; else its files are only looked for."""
    experiment = prepared.experiment
    sources, data_dir = experiment.training.sources, experiment.data_dir
    place = Path(data_dir) if data_dir else None
    if sources and any(source.spec.hub for source in resolve_sources(sources, place)):
        notes.append("training data come from the hub and were not looked at")
        return None
    wanted = experiment.training.negatives
    mines = wanted is not None and wanted.source == "mined"
    if experiment.debias != "none" or "train" in planner.content["stages"] or mines:
        return training_side(prepared)
    if experiment.training.steps:  # what is missing or damaged is an error now
        load_sources(training_sources(prepared), place)
    return None


def _plan_training(
    prepared: Prepared, data: TrainingData | None, planner: _Planner, policy: Policy
) -> Prepared:
    """What is evaluated after training; an encoder without vectors where it is yet to be."""
    if not prepared.experiment.training.steps:
        return prepared
    if data is None and "train" in planner.content["stages"]:
        reason = "taken as it is: its data were not looked at"
        planner.steps.append(Step("train", "keep", reason, 0, 0, 0.0, 0, 0))
        return with_trained_encoder(prepared, planner.folder)
    inputs = training_inputs(prepared, data) if data else {}
    stage = Stage("train", inputs, list, lambda: _mining_texts(prepared, data, planner.folder))
    planner.run_stage(stage, policy)
    if planner.steps[-1].action == "keep":
        return with_trained_encoder(prepared, planner.folder)
    backbone = prepared.backbone._replace(sha256={_NOT_TRAINED: str(planner.folder)})
    return replace(prepared, source=CachedBackbone(backbone, prepared.settings))


def _mining_texts(prepared: Prepared, data: TrainingData | None, folder: Path) -> list[Texts]:
    """What mining encodes, unless its negatives are there already."""
    wanted = prepared.experiment.training.negatives
    if data is None or wanted is None or (folder / NEGATIVES_FILE).is_file():
        return []
    if wanted.source != "mined" or wanted.encoder == LUCENE:
        return []
    return mining_encoder(prepared, wanted.encoder, fetch=False).texts(mining_requests(data.pairs))
