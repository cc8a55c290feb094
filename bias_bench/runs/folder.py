"""The folder of a run: how it is called, and whether an experiment may work in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from bias_bench.config.experiment import Experiment, make_experiment, read_yaml
from bias_bench.data.registry import benchmark_name, benchmark_place
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.evaluation.run_files import EXPERIMENT
from bias_bench.evaluation.run_record import EXTERNAL, FILE, REPAIR
from bias_bench.runs.graph import Policy, earlier_record
from bias_bench.system.files import plain_name, require_writable
from bias_bench.system.launch import started_number
from bias_bench.system.library_caches import require_library_caches

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_OF_A_FOLDER = {"data_dir", "metrics"}  # with others it is still the same experiment


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
    until: str | None = None
    fetch: bool = True
    memory: int | None = None


def run_name(experiment: Experiment) -> str:
    """The default name of a run's folder: ``<benchmark>-<recipe>-<seed>``.

    With debiasing, its method follows the recipe; of a fusion, the names of its runs do. What no
    folder can be called is replaced in the benchmark's name (`files.plain_name`).
    """
    benchmark, variant = plain_name(benchmark_name(experiment.benchmark)), experiment.variant
    if experiment.fusion:
        variant = plain_name(re.sub("[:+]", "-", variant), longest=120)
    return f"{benchmark}-{variant}-{experiment.seed}"


def checked_folder(experiment: Experiment, options: RunOptions) -> Path:
    """The run's folder; refuses what cannot work, before any work and writing nothing."""
    name = run_name(experiment) if options.name is None else options.name
    if not FOLDER_NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-', and give --name"
        )
    folder, policy = options.out / name, options.policy
    if policy == "only-cache":
        if not folder.is_dir():
            raise BiasBenchError(f"{folder}: no such folder; --policy only-cache computes nothing")
    else:
        require_writable(folder)
        if options.reports:
            require_writable(options.reports)
        if options.until is None:
            require_library_caches()
    _require_run_folder(folder, options.out)
    require_same_experiment(folder, experiment, policy)
    if started_number() > 1 and (
        options.until == "mine" or experiment.lexical or experiment.fusion
    ):
        what = "mine" if options.until == "mine" else experiment.recipe
        raise UsageError(
            f"{what}: several processes share training, encoding and dense search alone; start "
            "this as one process"
        )
    return folder


def _require_run_folder(folder: Path, out: Path) -> None:
    """UsageError unless `folder` is that of a run, or can be, directly in `out`."""
    if folder.is_symlink() or folder.resolve().parent != out.resolve():
        raise UsageError(f"{folder}: a run folder must lie directly in {out}")
    if folder.is_dir() and not (folder / FILE).is_file():
        foreign = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if foreign and foreign != [EXPERIMENT]:
            raise UsageError(f"{folder}: holds other files and is not a run; give another --name")


def require_same_experiment(folder: Path, experiment: Experiment, policy: Policy) -> None:
    """A folder keeps one experiment, so that nobody's results are replaced unasked.

    A folder without a finished stage holds nothing that could be lost.
    """
    before, path = earlier_record(folder, policy), folder / EXPERIMENT
    if policy == "always" or not path.is_file() or (before and not before.stages):
        return
    content = read_yaml(path)
    advice = "give another --name, or replace it with --policy always"
    if content.get("kind") == EXTERNAL:
        raise UsageError(f"{folder}: holds rankings of another tool; {advice}")
    try:
        there = make_experiment(content).model_dump(exclude=_NOT_OF_A_FOLDER)
    except UsageError as error:
        raise DataError(f"{path}: damaged ({error}); {REPAIR}") from None
    now = experiment.model_dump(exclude=_NOT_OF_A_FOLDER)
    there["benchmark"] = _moved_with(there["benchmark"], experiment.benchmark)
    for key in now:
        if now[key] != there[key]:
            raise UsageError(
                f"{folder}: holds another experiment ({key}: {there[key]} there, {now[key]} now); "
                f"{advice}"
            )


def _moved_with(before: str, now: str) -> str:
    """The benchmark of a run as it is given `now`: a folder may have moved, with all around it.

    A folder that is still where it was is another one than one of its name elsewhere.
    """
    place = benchmark_place(before)
    moved = Path(place).is_absolute() and not Path(place).exists()
    return now if moved and Path(place).name == Path(now).name else place
