"""The folder of a run: whose it is, what its manifest says, and how work in it begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.console import say
from bias_bench.datasets.registry import benchmark_place
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import settings_without_topics
from bias_bench.experiment import Experiment, experiment_yaml, make_experiment, read_yaml
from bias_bench.files import folder_lock, remove_temporary_files, write_text
from bias_bench.manifest import Manifest, Policy, experiment_record
from bias_bench.report.run_page import write_run_page
from bias_bench.run_record import REPAIR
from bias_bench.stages.indexed import describe_index
from bias_bench.stages.work import Task


class RunFolder(NamedTuple):
    """Where to work and how; `until` names the stage to stop after, `reports` is for the page.

    `memory` are the bytes that the work may take (None: no limit).
    """

    path: Path
    reports: Path | None
    policy: Policy
    until: str | None
    memory: int | None = None


@contextmanager
def open_run(
    place: RunFolder, experiment: Experiment, described: dict[str, Any]
) -> Iterator[Manifest]:
    """The manifest of a run at work; records how the work ends, and then reports on it.

    `described` is the part of the manifest that says what is run on what.
    """
    folder, until = place.path, place.until
    with folder_lock(folder):
        manifest = Manifest(folder, anew=place.policy == "always")
        require_same_experiment(folder, experiment, place.policy)
        remove_temporary_files(folder)
        write_text(folder / "experiment.yaml", experiment_yaml(experiment))
        record = experiment_record(folder)
        manifest.update(status="running", name=folder.name, **described, **record)
        try:
            yield manifest
        except BaseException as error:
            manifest.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        manifest.close(f"stopped after {until}" if until else "complete", place.memory)
        if until is None and place.reports:
            say(f"report: {write_run_page(folder, place.reports)}")
    say(f"run folder: {folder}")


def describe_task(task: Task) -> dict[str, Any]:
    """The part of the manifest that says which system was run on which data."""
    spec = task.benchmark.spec
    return {
        "benchmark": task.collection.name,
        "demonstration": bool(spec and spec.demonstration),
        "licence": spec.licence if spec else None,
        "note": task.benchmark.note,
        "system": str(task.experiment.system),
        "seeds": [task.experiment.seed],
        "data": task.benchmark.sha256,
        "collection": task.collection.fingerprint,
        "languages": list(task.collection.languages),
        "without_queries": list(map(str, settings_without_topics(task.collection))),
        **describe_index(task),
    }


def require_run_folder(folder: Path, out: Path) -> None:
    """UsageError unless `folder` is that of a run, or can be, directly in `out`."""
    if folder.is_symlink() or folder.resolve().parent != out.resolve():
        raise UsageError(f"{folder}: a run folder must lie directly in {out}")
    if folder.is_dir() and not (folder / "manifest.json").is_file():
        foreign = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if foreign and foreign != ["experiment.yaml"]:
            raise UsageError(f"{folder}: holds other files and is no run; give another --name")


def require_same_experiment(folder: Path, experiment: Experiment, policy: Policy) -> None:
    """A folder keeps one experiment, so that nobody's results are replaced unasked."""
    path = folder / "experiment.yaml"
    if policy == "always" or not path.is_file():
        return
    try:
        before = make_experiment(read_yaml(path)).model_dump(exclude={"data_dir"})
    except UsageError as error:
        raise DataError(f"{path}: damaged ({error}); {REPAIR}") from None
    now = experiment.model_dump(exclude={"data_dir"})
    before["benchmark"] = _found_again(before["benchmark"], experiment.benchmark)
    changed = [key for key in now if now[key] != before[key]]
    if changed:
        raise UsageError(
            f"{folder}: holds another experiment ({changed[0]}: {before[changed[0]]} there, "
            f"{now[changed[0]]} now); give another --name, or replace it with --policy always"
        )


def _found_again(before: str, now: str) -> str:
    """The benchmark of a run as it is given `now`: a folder may have moved, with all around it.

    A folder that is still where it was is another one than one of its name elsewhere.
    """
    place = benchmark_place(before)
    moved = Path(place).is_absolute() and not Path(place).exists()
    return now if moved and Path(place).name == Path(now).name else place


def require_shareable(experiment: Experiment, until: str | None) -> None:
    """UsageError for what several processes cannot do together."""
    if until == "mine" or experiment.lexical or experiment.fusion:
        what = "mine" if until == "mine" else experiment.recipe
        raise UsageError(
            f"{what}: several processes share training, encoding and dense search alone; start "
            "this as one process"
        )
