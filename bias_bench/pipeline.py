"""A run from start to end: data, training, evaluation, report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from bias_bench.console import say, warn
from bias_bench.datasets.download import fetch_benchmark
from bias_bench.datasets.registry import LoadedBenchmark, benchmarks, load_benchmark
from bias_bench.encoders.backbone import Backbone, resolve_backbone
from bias_bench.encoders.cache import Request
from bias_bench.encoders.encoder import (
    EncodingSettings,
    default_batch_tokens,
    resolve_device,
    resolve_precision,
)
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.experiment import Experiment
from bias_bench.files import require_writable
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.processes import (
    Processes,
    join_processes,
    own_device,
    started_number,
)
from bias_bench.stages.debias import Fitting, debias_data, debias_fitting
from bias_bench.stages.evaluate import Evaluation, encode, evaluate, follow
from bias_bench.stages.folder import (
    RunFolder,
    describe_task,
    open_run,
    require_run_folder,
    require_same_experiment,
    require_shareable,
)
from bias_bench.stages.fusion import run_fusion
from bias_bench.stages.lexical import run_lexical
from bias_bench.stages.mining import mine_stage
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
from bias_bench.stages.work import Prepared, Task, benchmark_requests

INTERFACE = "bias_bench.evaluate"  # where Python objects come in
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


Until = Literal["mine", "train", "encode", "search"]


class RunOptions(NamedTuple):
    """How to run, none of which changes a result. `until` names the stage to stop after.

    Without `reports` no page is written; without `fetch`, data and models that are not on this
    disk are errors. `memory` are the bytes that encoding and searching may take, in each process
    (None: no limit).
    """

    out: Path
    reports: Path | None
    device: str = "auto"
    policy: Policy = "only-missing"
    name: str | None = None
    until: Until | None = None
    fetch: bool = True
    memory: int | None = None


class Given(NamedTuple):
    """What a caller has at hand already, in place of what the experiment names.

    `backbone` makes one from the benchmark's requests.
    """

    benchmark: LoadedBenchmark | None = None
    backbone: Callable[[list[Request]], Backbone] | None = None


_NOTHING = Given()


def run_name(experiment: Experiment) -> str:
    """The default name of a run's folder: ``<benchmark>-<recipe>-<seed>``.

    With debiasing, its method follows the recipe; of a fusion, the names of its runs do.
    """
    benchmark = Path(experiment.benchmark).resolve().name
    variant = re.sub(r"[:+]", "-", experiment.variant)
    return f"{benchmark}-{variant}-{experiment.seed}"


def run(experiment: Experiment, options: RunOptions, given: Given = _NOTHING) -> Path:
    """Run one experiment into its folder and report on it; returns the folder.

    Finished stages are kept; an interrupted run goes on where it stopped.
    """
    folder = checked_folder(experiment, options)
    if experiment.fusion is not None:
        place = RunFolder(folder, options.reports, options.policy, options.until)
        return run_fusion(experiment, place)
    if experiment.lexical is not None:
        task = Task(experiment, open_task_benchmark(experiment, options, given))
        place = RunFolder(folder, options.reports, options.policy, options.until)
        return run_lexical(task, place)
    prepared = prepare(experiment, options, given)  # bad input is found before anything is written
    data = training_side(prepared)
    processes = join_processes(prepared.settings.device)
    fitting = debias_fitting(prepared, data)
    if processes.rank > 0:
        _follow(prepared, data, fitting, folder, options, processes)
        processes.wait()  # until the folder is whole
        return folder
    described = {**_describe(prepared), "debias": fitting.record if fitting else None}
    if given != _NOTHING:  # then no command repeats the run
        described["interface"] = INTERFACE
    if data:
        described["audit"] = data.audit
    place = RunFolder(folder, options.reports, options.policy, options.until, options.memory)
    with open_run(place, experiment, described) as manifest:
        if options.until == "mine":
            mine_stage(prepared, data.pairs if data else None, manifest.folder)
        else:
            evaluated = _train_stages(prepared, data, manifest, options.policy, processes)
            evaluation = Evaluation(
                evaluated, prepared, fitting, options.policy, processes, options.memory
            )
            if options.until == "encode":
                encode(evaluation, manifest)
            elif options.until != "train":
                evaluate(evaluation, manifest, options.until)
    processes.wait()
    return folder


def checked_folder(experiment: Experiment, options: RunOptions) -> Path:
    """The run's folder; refuses what cannot work, before any work and writing nothing."""
    name = run_name(experiment) if options.name is None else options.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-'")
    folder = options.out / name
    require_writable(folder)
    if options.reports:
        require_writable(options.reports)
    require_run_folder(folder, options.out)
    if options.policy == "never" and not folder.is_dir():
        raise BiasBenchError(f"{folder}: does not exist and --policy never forbids computing it")
    require_same_experiment(folder, experiment, options.policy)
    if folder.is_dir():
        # refuses a newer schema before any work
        Manifest(folder, anew=options.policy == "always")
    if options.until == "train" and not experiment.training.steps:
        raise UsageError(f"recipe {experiment.recipe} trains nothing; try --recipe hybrid")
    if started_number() > 1:
        require_shareable(experiment, options.until)
    return folder


def open_benchmark(
    name: str,
    data_dir: Path | None,
    fetch: bool = True,
    languages: Sequence[str] | None = None,
) -> LoadedBenchmark:
    """Load a benchmark; one known by name may be fetched first, unless `data_dir` has it.

    With `languages` only their part of it.
    """
    if fetch and name in benchmarks() and data_dir is None:
        fetch_benchmark(name, languages=languages)
    start = perf_counter()
    benchmark = load_benchmark(name, data_dir, languages)
    collection = benchmark.collection
    say(
        f"{collection.name}: {len(collection.languages)} languages, {len(collection.topics):,} "
        f"topics, {len(collection.queries):,} queries, {len(collection.candidates):,} candidates "
        f"({perf_counter() - start:.1f} s)"
    )
    if benchmark.note:
        warn(f"{collection.name}: {benchmark.note}")
    return benchmark


def open_task_benchmark(
    experiment: Experiment, options: RunOptions, given: Given = _NOTHING
) -> LoadedBenchmark:
    """The benchmark that is given, or that the experiment names."""
    data_dir = Path(experiment.data_dir) if experiment.data_dir else None
    return given.benchmark or open_benchmark(
        experiment.benchmark, data_dir, options.fetch, experiment.languages
    )


def prepare(experiment: Experiment, options: RunOptions, given: Given = _NOTHING) -> Prepared:
    """Resolve what the experiment names; reads and hashes files, and loads no model."""
    benchmark = open_task_benchmark(experiment, options, given)
    if given.backbone:
        if started_number() > 1:
            raise UsageError("a model given as a Python object cannot be shared by processes")
        context = experiment.candidate.context
        backbone = given.backbone(benchmark_requests(benchmark.collection, context))
    else:
        backbone = resolve_backbone(experiment.backbone, experiment.seed, options.fetch)
    encoding = experiment.encoding
    device = own_device(resolve_device(options.device))
    overrides = encoding.model_dump(exclude={"precision", "batch_tokens"}, exclude_none=True)
    settings = EncodingSettings(
        profile=backbone.profile.model_copy(update=overrides),
        precision=resolve_precision(encoding.precision, device),
        batch_tokens=encoding.batch_tokens or default_batch_tokens(device),
        device=device,
    )
    return Prepared(experiment, benchmark, backbone, settings)


def _describe(prepared: Prepared) -> dict[str, Any]:
    """The part of the manifest that says what was run on what."""
    return {
        **describe_task(prepared),
        "weights": prepared.backbone.sha256,
        **_describe_model(prepared.backbone, prepared.settings),
    }


def _describe_model(backbone: Backbone, settings: EncodingSettings) -> dict[str, Any]:
    """How vectors came about; of a model given as a Python object, what is known of it."""
    if backbone.given:
        return {"model": backbone.given.record, "encoding": {"precision": backbone.given.precision}}
    return {
        "encoding": {
            "profile": settings.profile.model_dump(),
            "precision": settings.precision,
            "batch_tokens": settings.batch_tokens,
            "device": settings.device,
        }
    }


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
        evaluation = Evaluation(
            evaluated, prepared, fitting, options.policy, processes, options.memory
        )
        follow(evaluation, options.until)
