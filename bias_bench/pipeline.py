"""A run from start to end: data, training, evaluation, report."""

from __future__ import annotations

from pathlib import Path

from bias_bench.console import let_first_speak
from bias_bench.encoders.debiased import Fitting
from bias_bench.experiment import Experiment
from bias_bench.launch import started_rank
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.processes import Processes, join_processes
from bias_bench.stages.debias import debias_data, debias_fitting, debiased
from bias_bench.stages.evaluate import Evaluation, encode, evaluate, follow
from bias_bench.stages.folder import RunFolder, describe_task, open_run
from bias_bench.stages.fusion import run_fusion
from bias_bench.stages.lexical import run_lexical
from bias_bench.stages.mining import mine_stage, require_mining
from bias_bench.stages.prepare import (
    NOTHING,
    Given,
    RunOptions,
    checked_folder,
    open_task_benchmark,
    prepare,
)
from bias_bench.stages.train import (
    TRAINING_LOG,
    TrainingData,
    logged_steps,
    remove_checkpoints,
    train_encoder,
    training_data,
    training_inputs,
    with_trained_encoder,
)
from bias_bench.stages.work import Prepared, Task

INTERFACE = "bias_bench.evaluate"  # where Python objects come in


def run(experiment: Experiment, options: RunOptions, given: Given = NOTHING) -> Path:
    """Run one experiment into its folder and report on it; returns the folder.

    Finished stages are kept; an interrupted run goes on where it stopped.
    """
    let_first_speak(started_rank())
    folder = checked_folder(experiment, options)
    if experiment.fusion is not None:
        place = RunFolder(folder, options.reports, options.policy, options.until)
        return run_fusion(experiment, place)
    if experiment.lexical is not None:
        task = Task(experiment, open_task_benchmark(experiment, options, given))
        place = RunFolder(folder, options.reports, options.policy, options.until)
        return run_lexical(task, place)
    prepared = prepare(experiment, options, given)  # bad input is found before anything is written
    if options.until == "mine":
        require_mining(prepared)
    data = training_side(prepared)
    processes = join_processes(prepared.device)
    fitting = debias_fitting(prepared, data)
    if processes.rank > 0:
        _follow(prepared, data, fitting, folder, options, processes)
        processes.finish()  # not before the folder is whole
        return folder
    source = debiased(prepared, fitting).source
    described = {**describe_task(prepared), "debias": None, **source.record}
    if given != NOTHING:  # then no command repeats the run
        described["interface"] = INTERFACE
    if data:
        described["audit"] = data.audit
    place = RunFolder(folder, options.reports, options.policy, options.until, options.memory)
    with open_run(place, experiment, described) as manifest:
        if options.until == "mine":
            mine_stage(prepared, data.pairs if data else None, manifest.folder)
        else:
            trained = _train_stages(prepared, data, manifest, options.policy, processes)
            evaluation = _evaluation(prepared, trained, fitting, options, processes)
            if options.until == "encode":
                encode(evaluation, manifest)
            elif options.until != "train":
                evaluate(evaluation, manifest, options.until)
    processes.finish()
    return folder


def _evaluation(
    prepared: Prepared,
    trained: Prepared,
    fitting: Fitting | None,
    options: RunOptions,
    processes: Processes,
) -> Evaluation:
    evaluated = debiased(trained, fitting)
    untrained = evaluated if trained is prepared else prepared
    return Evaluation(evaluated, untrained, options.policy, processes, options.memory)


def training_side(prepared: Prepared) -> TrainingData | None:
    """The data that the experiment trains on, or fits debiasing on, if it does either."""
    if prepared.experiment.training.steps:
        return training_data(prepared)
    return None if prepared.experiment.debias == "none" else debias_data(prepared)


def _train_stages(
    prepared: Prepared,
    data: TrainingData | None,
    manifest: Manifest,
    policy: Policy,
    processes: Processes,
) -> Prepared:
    """Train where the experiment says so; returns what to evaluate."""
    if not prepared.experiment.training.steps or data is None:
        return prepared

    needed, log = False, manifest.folder / TRAINING_LOG

    def train_stage() -> list[Path]:
        nonlocal needed
        needed = processes.any(True)
        before = logged_steps(log)
        with manifest.timed("train"):
            made = train_encoder(prepared, data, manifest.folder, processes)
        steps, seconds = logged_steps(log) - before, manifest.content["timings"]["train"]
        manifest.update(trained={"steps": steps, "seconds": seconds})  # for later estimates
        return made

    manifest.run_stage(Stage("train", training_inputs(prepared, data), train_stage), policy)
    remove_checkpoints(manifest.folder)
    if not needed:
        processes.any(False)  # tells the others that there is nothing to do
    processes.wait()
    return with_trained_encoder(prepared, manifest.folder)


def _follow(
    prepared: Prepared,
    data: TrainingData | None,
    fitting: Fitting | None,
    folder: Path,
    options: RunOptions,
    processes: Processes,
) -> None:
    """What every process but the first does: its share of training, encoding and searching."""
    evaluated = prepared
    if prepared.experiment.training.steps and data is not None:
        if processes.any(False):
            train_encoder(prepared, data, folder, processes)
        processes.wait()  # until the encoder is saved
        if options.until != "train":
            evaluated = with_trained_encoder(prepared, folder)
    if options.until != "train":
        follow(_evaluation(prepared, evaluated, fitting, options, processes), options.until)
