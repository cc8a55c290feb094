"""Finished runs, and which are one system: one recipe, backbone and settings, several seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bias_bench.errors import BiasBenchError, DataError, UsageError, first_few
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.run_files import require_undamaged
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.evaluation.settings import parse_setting
from bias_bench.system.files import digest

_READ = ("metrics.json", "scores.parquet", "ranks.parquet", "robustness.parquet")
# of an experiment: what makes a repetition of the same system, or decides no result
_NOT_OF_THE_RECIPE = {"benchmark", "data_dir", "metrics", "seed"}
_NOT_OF_THE_ENCODING = {"precision", "batch_tokens"}


class FinishedRun(NamedTuple):
    """A complete run folder. Runs of equal `settings` differ at most in seed and precision."""

    folder: Path
    record: RunRecord
    settings: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def seed(self) -> int:
        """The experiment's seed."""
        return self.record.seeds[0]

    @property
    def unseeded(self) -> str:
        """What was run, as ``recipe@backbone``."""
        return self.record.system.rpartition("#")[0]

    @property
    def languages(self) -> set[str]:
        """The benchmark's languages; of a run of an early version, its settings'."""
        if self.record.languages:
            return set(self.record.languages)
        kinds = Metrics.load(self.folder).retrieval.values()
        return {parse_setting(name).query_language for kind in kinds for name in kind.per_setting}


class Compared(NamedTuple):
    """A system: `name` is ``recipe@backbone#seed``, without ``#seed`` where it has several.

    `label` is the shortest name that sets it apart from the other systems. Runs are in the order
    of their seeds.
    """

    name: str
    label: str
    runs: tuple[FinishedRun, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each run."""
        return tuple(run.seed for run in self.runs)


def read_finished(folder: Path) -> FinishedRun:
    """The run of a folder; BiasBenchError or DataError where it is not a complete run."""
    record = RunRecord.load(folder)
    if not record.complete:
        advice = (
            "repeat the command that made it"
            if record.external
            else f"finish it with `biasbench run {folder / 'experiment.yaml'}`"
        )
        raise BiasBenchError(f"{folder}: the run is not complete ({record.status}); {advice}")
    require_undamaged(folder, record, _READ)
    if record.external and record.depth is None:
        raise DataError(f"{folder}: manifest.json lacks depth; repeat the run")
    return FinishedRun(folder, record, _settings_key(folder))


def gather_systems(runs: Sequence[FinishedRun]) -> list[Compared]:
    """Systems in the order of their first runs. Names and labels are unique.

    Runs of one system must differ in their seeds; where two do not, each run is a system of its
    own, named by its folder. Raises DataError for runs of different benchmarks, UsageError when
    there is only one system.
    """
    _require_one_benchmark(runs)
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault((run.unseeded, run.settings), []).append(run)
    members: list[tuple[FinishedRun, ...]] = []
    for group in groups.values():
        if len({run.seed for run in group}) == len(group):
            members.append(tuple(sorted(group, key=lambda run: run.seed)))
        else:
            members.extend((run,) for run in group)
    if len(members) < 2:
        only = members[0]
        what = f"{len(only)} seeds of one system" if len(only) > 1 else "one run"
        raise UsageError(
            f"nothing to compare: given is {what}, {only[0].record.system}; add another run"
        )
    members.sort(key=lambda group: min(runs.index(run) for run in group))
    names = [group[0].unseeded if len(group) > 1 else group[0].record.system for group in members]
    folders = _distinct([group[0].name for group in members])
    unique = Counter(names)
    names = [
        name if unique[name] == 1 else f"{name} ({folder})"
        for name, folder in zip(names, folders, strict=True)
    ]
    return [Compared(*both) for both in zip(names, _labels(members, folders), members, strict=True)]


def _require_one_benchmark(runs: Sequence[FinishedRun]) -> None:
    first = runs[0]
    benchmark, content = first.record.benchmark, first.record.collection
    for run in runs[1:]:
        if run.record.benchmark != benchmark:
            raise DataError(
                f"{run.folder}: is a run of {run.record.benchmark}, but {first.folder} of "
                f"{benchmark}; compare runs of one benchmark"
            )
        if run.record.collection == content:
            continue
        if run.languages != first.languages:
            raise DataError(_other_languages(run, first))
        raise DataError(
            f"{run.folder}: was run on another version of {benchmark} (content sha256 "
            f"{run.record.collection[:12]}…) than {first.folder} ({content[:12]}…); repeat one "
            "of them"
        )


def _other_languages(run: FinishedRun, first: FinishedRun) -> str:
    """Which languages only one of two runs has, and how both come to the same ones."""
    common = run.languages & first.languages
    more = {one.folder: sorted(one.languages - common) for one in (run, first)}
    only = [f"{first_few(names, 6)} only in {folder}" for folder, names in more.items() if names]
    advice = "compare runs of the same ones"
    if common and not (run.record.external or first.record.external):
        which = "both" if len(only) == 2 else next(folder for folder in more if more[folder])
        advice = f"repeat {which} with --set 'languages=[{', '.join(sorted(common))}]'"
    return (
        f"{run.folder}: has other languages of {run.record.benchmark} than {first.folder} "
        f"({'; '.join(only)}), and so other pools; {advice}"
    )


def _labels(members: Sequence[tuple[FinishedRun, ...]], folders: Sequence[str]) -> list[str]:
    """The recipes if they differ, else recipes and backbones, else the folders' names."""
    systems = [group[0].unseeded for group in members]
    recipes = [system.partition("@")[0] for system in systems]
    for names in (recipes, systems):
        if len(set(names)) == len(names):
            return names
    return list(folders)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names with (2), (3), … after repeated ones."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _settings_key(folder: Path) -> str:
    """Equal for runs of one recipe and backbone under equal settings, whatever the seed."""
    from bias_bench.config.experiment import make_experiment, read_yaml

    content = read_yaml(folder / "experiment.yaml")
    # one of a version with other settings is taken as it is written
    with suppress(UsageError):
        content = make_experiment(content).model_dump()
    settings = {key: value for key, value in content.items() if key not in _NOT_OF_THE_RECIPE}
    encoding = settings.get("encoding")
    if isinstance(encoding, dict):
        settings["encoding"] = {
            key: value for key, value in encoding.items() if key not in _NOT_OF_THE_ENCODING
        }
    return digest(settings)
