"""Which run folders are one system: the same recipe, backbone and settings under several seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bias_bench.errors import DataError, UsageError
from bias_bench.kinds import LUCENE
from bias_bench.manifest import NO_PRECISION
from bias_bench.significance.run_values import RunFolder

FEW_SEEDS = 5


class Compared(NamedTuple):
    """A system: `name` is ``recipe@backbone#seed``, without ``#seed`` where it has several.

    `label` is the shortest name that sets it apart from the other systems. Runs are in the order
    of their seeds.
    """

    name: str
    label: str
    runs: tuple[RunFolder, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)


def gather_systems(runs: Sequence[RunFolder]) -> list[Compared]:
    """Systems in the order of their first runs. Names and labels are unique.

    Runs of one system must differ in their seeds; where two do not, each run is a system of its
    own, named by its folder. Raises DataError for runs of different benchmarks, UsageError when
    there is only one system.
    """
    _require_one_benchmark(runs)
    groups: dict[tuple[str, str], list[RunFolder]] = {}
    for run in runs:
        groups.setdefault((run.system.rpartition("#")[0], run.settings), []).append(run)
    members: list[tuple[RunFolder, ...]] = []
    for group in groups.values():
        if len({run.seed for run in group}) == len(group):
            members.append(tuple(sorted(group, key=lambda run: run.seed)))
        else:
            members.extend((run,) for run in group)
    if len(members) < 2:
        only = members[0]
        what = f"{len(only)} seeds of one system" if len(only) > 1 else "one run"
        raise UsageError(f"nothing to compare: given is {what}, {only[0].system}; add another run")
    members.sort(key=lambda group: min(runs.index(run) for run in group))
    names = [
        group[0].system if len(group) == 1 else group[0].system.rpartition("#")[0]
        for group in members
    ]
    folders = _distinct([group[0].name for group in members])
    unique = Counter(names)
    names = [
        name if unique[name] == 1 else f"{name} ({folder})"
        for name, folder in zip(names, folders, strict=True)
    ]
    return [Compared(*both) for both in zip(names, _labels(members, folders), members, strict=True)]


def warnings_about(systems: Sequence[Compared]) -> list[str]:
    """What a reader must know of the runs before believing a comparison."""
    found = []
    runs = [run for system in systems for run in system.runs]
    encoded = [run for run in runs if not run.scored and run.precision != NO_PRECISION]
    precisions = {run.precision: run.name for run in encoded}
    if len(precisions) > 1:
        named = ", ".join(f"{key} in {name}" for key, name in sorted(precisions.items()))
        found.append(
            f"the runs differ in encoding precision ({named}), which alone can move AP by up to "
            "0.001; encode all in one precision to be sure of small differences"
        )
    indexes = {run.searched: run.name for run in runs if not run.scored}
    if len(indexes) > 1:
        named = ", ".join(f"{key} in {name}" for key, name in sorted(indexes.items()))
        found.append(
            f"the runs differ in what was searched through ({named}): what an index misses "
            "changes the figures of its system; use one retrieval.index to compare encoders"
        )
    few = [system for system in systems if 1 < len(system.seeds) < FEW_SEEDS]
    if few:
        named = ", ".join(f"{system.label} has {len(system.seeds)}" for system in few)
        found.append(
            f"fewer than {FEW_SEEDS} seeds understate the interval, and p ({named}): 95 % ones "
            "hold about 77 % of the time with 2 seeds, 89 % with 3"
        )
    several = any(len(system.seeds) > 1 for system in systems)
    alone = [
        system.label
        for system in systems
        if len(system.seeds) == 1 and "zero-shot@" not in system.name
    ]
    if several and alone:
        found.append(
            f"one seed of {', '.join(alone)}: what training again would change there is not known"
        )
    given = Counter(run.folder.resolve() for run in runs)
    found += [
        f"{folder} was given {'twice' if times == 2 else f'{times} times'}: a run differs from "
        "itself in nothing, whatever the tests say"
        for folder, times in given.items()
        if times > 1
    ]
    lexical = [system.label for system in systems if f"@{LUCENE}" in system.runs[0].system]
    if lexical:
        found.append(
            f"what {', '.join(lexical)} does not match is ranked by id: its rank distances, and "
            "whatever else looks deep into rankings, are mostly chance"
        )
    if any(run.demonstration for run in runs):
        found.append(f"{runs[0].benchmark} is a demonstration: too small for any claim")
    return found


def _require_one_benchmark(runs: Sequence[RunFolder]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.benchmark != first.benchmark:
            raise DataError(
                f"{run.folder}: is a run of {run.benchmark}, but {first.folder} of "
                f"{first.benchmark}; compare runs of one benchmark"
            )
        if run.data != first.data:
            raise DataError(
                f"{run.folder}: was run on another version of {run.benchmark} (content sha256 "
                f"{run.data[:12]}…) than {first.folder} ({first.data[:12]}…); repeat one of them"
            )


def _labels(members: Sequence[tuple[RunFolder, ...]], folders: Sequence[str]) -> list[str]:
    """The recipes if they differ, else recipes and backbones, else the folders' names."""
    systems = [group[0].system.rpartition("#")[0] for group in members]
    recipes = [system.partition("@")[0] for system in systems]
    for names in (recipes, systems):
        if len(set(names)) == len(names):
            return names
    return list(folders)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names with (2), (3), … after repeated ones."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
