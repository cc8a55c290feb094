"""A run from start to end: data, training, evaluation, report."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from bias_bench.console import say
from bias_bench.datasets.download import fetch_benchmark
from bias_bench.datasets.registry import benchmarks, load_benchmark
from bias_bench.debias_stage import debias_data, debias_fitting
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.encoder import (
    EncodingSettings,
    default_batch_tokens,
    resolve_device,
    resolve_precision,
)
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluate_stage import Evaluation, evaluate
from bias_bench.experiment import Experiment, experiment_yaml, make_experiment, read_yaml
from bias_bench.files import (
    folder_lock,
    remove_temporary_files,
    require_writable,
    write_text,
)
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.mining_stage import mine_stage
from bias_bench.report.run_page import write_run_page
from bias_bench.stages import Prepared
from bias_bench.train_stage import (
    TrainingData,
    train_encoder,
    training_data,
    training_inputs,
    with_trained_encoder,
)
from bias_bench.training.processes import (
    Processes,
    join_processes,
    own_device,
    started_number,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


Until = Literal["mine", "train", "encode", "search"]


class RunOptions(NamedTuple):
    """How to run, none of which changes a result. `until` names the stage to stop after."""

    out: Path
    reports: Path
    device: str = "auto"
    policy: Policy = "only-missing"
    name: str | None = None
    until: Until | None = None


def run_name(experiment: Experiment) -> str:
    """The default name of a run's folder: ``<benchmark>-<recipe>-<seed>``.

    With debiasing, its method follows the recipe.
    """
    benchmark = Path(experiment.benchmark).resolve().name
    return f"{benchmark}-{experiment.variant}-{experiment.seed}"


def run(experiment: Experiment, options: RunOptions) -> Path:
    """Run one experiment into its folder and report on it; returns the folder.

    Finished stages are kept; an interrupted run goes on where it stopped.
    """
    name = run_name(experiment) if options.name is None else options.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-'")
    folder = options.out / name
    _check(experiment, options, folder)
    prepared = _prepare(experiment, options)  # bad input is found before anything is written
    data = _training_side(prepared)
    processes = join_processes(prepared.settings.device)
    if processes.rank > 0:
        _follow(prepared, data, folder, processes)
        return folder
    fitting = debias_fitting(prepared, data)
    with folder_lock(folder):
        manifest = Manifest(folder)
        _require_same_experiment(folder, experiment, options.policy)
        remove_temporary_files(folder)
        write_text(folder / "experiment.yaml", experiment_yaml(experiment))
        manifest.update(status="running", name=name, **_describe(prepared))
        manifest.update(debias=fitting.record if fitting else None)
        if data:
            manifest.update(audit=data.audit)
        try:
            if options.until == "mine":
                mine_stage(prepared, data.pairs if data else None, manifest.folder)
            else:
                evaluated = _train_stages(prepared, data, manifest, options.policy, processes)
                evaluation = Evaluation(evaluated, prepared, fitting, options.policy)
                if options.until != "train":
                    evaluate(evaluation, manifest, options.until)
        except BaseException as error:
            manifest.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        manifest.close(f"stopped after {options.until}" if options.until else "complete")
        if options.until is None:
            say(f"report: {write_run_page(folder, options.reports)}")
    say(f"run folder: {folder}")
    return folder


def _check(experiment: Experiment, options: RunOptions, folder: Path) -> None:
    """Refuse what cannot work, before any work and before anything is written."""
    require_writable(folder)
    require_writable(options.reports)
    _require_run_folder(folder, options.out)
    if options.policy == "never" and not folder.is_dir():
        raise BiasBenchError(f"{folder}: does not exist and --policy never forbids computing it")
    _require_same_experiment(folder, experiment, options.policy)
    if folder.is_dir():
        Manifest(folder)  # refuses a newer schema before any work
    if options.until == "train" and not experiment.training.steps:
        raise UsageError(f"recipe {experiment.recipe} trains nothing; try --recipe hybrid")
    if started_number() > 1 and options.until != "train":
        raise UsageError(
            "several processes can only train: start `biasbench train` with torchrun, then go on "
            "with `biasbench run` as one process"
        )


def _require_run_folder(folder: Path, out: Path) -> None:
    if folder.is_symlink() or folder.resolve().parent != out.resolve():
        raise UsageError(f"{folder}: a run folder must lie directly in {out}")
    if folder.is_dir() and not (folder / "manifest.json").is_file():
        foreign = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if foreign and foreign != ["experiment.yaml"]:
            raise UsageError(f"{folder}: holds other files and is no run; give another --name")


def _require_same_experiment(folder: Path, experiment: Experiment, policy: Policy) -> None:
    """A folder keeps one experiment, so that nobody's results are replaced unasked."""
    path = folder / "experiment.yaml"
    if policy == "always" or not path.is_file():
        return
    before = make_experiment(read_yaml(path)).model_dump(exclude={"data_dir"})
    now = experiment.model_dump(exclude={"data_dir"})
    changed = [key for key in now if now[key] != before[key]]
    if changed:
        raise UsageError(
            f"{folder}: holds another experiment ({changed[0]}: {before[changed[0]]} there, "
            f"{now[changed[0]]} now); give another --name, or replace it with --policy always"
        )


def _prepare(experiment: Experiment, options: RunOptions) -> Prepared:
    data_dir = Path(experiment.data_dir) if experiment.data_dir else None
    if experiment.benchmark in benchmarks() and data_dir is None:
        fetch_benchmark(experiment.benchmark)
    start = perf_counter()
    benchmark = load_benchmark(experiment.benchmark, data_dir)
    collection = benchmark.collection
    say(
        f"{collection.name}: {len(collection.languages)} languages, {len(collection.topics):,} "
        f"topics, {len(collection.queries):,} queries, {len(collection.candidates):,} candidates "
        f"({perf_counter() - start:.1f} s)"
    )
    backbone = resolve_backbone(experiment.backbone, experiment.seed)
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
    experiment, settings = prepared.experiment, prepared.settings
    spec = prepared.benchmark.spec
    return {
        "benchmark": prepared.collection.name,
        "demonstration": bool(spec and spec.demonstration),
        "licence": spec.licence if spec else None,
        "system": str(experiment.system),
        "seeds": [experiment.seed],
        "data": prepared.benchmark.sha256,
        "collection": prepared.collection.fingerprint,
        "weights": prepared.backbone.sha256,
        "encoding": {
            "profile": settings.profile.model_dump(),
            "precision": settings.precision,
            "batch_tokens": settings.batch_tokens,
            "device": settings.device,
        },
    }


def _training_side(prepared: Prepared) -> TrainingData | None:
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

    needed = False

    def train_stage() -> list[Path]:
        nonlocal needed
        needed = processes.any(True)
        with manifest.timed("train"):
            return train_encoder(prepared, data, manifest.folder, processes)

    manifest.run_stage(Stage("train", training_inputs(prepared, data), train_stage), policy)
    if not needed:
        processes.any(False)  # tells the others that there is nothing to do
    return with_trained_encoder(prepared, manifest.folder)


def _follow(
    prepared: Prepared, data: TrainingData | None, folder: Path, processes: Processes
) -> None:
    """What every process but the first does: train with it where it trains."""
    if data is not None and processes.any(False):
        train_encoder(prepared, data, folder, processes)
