"""The graph of a run: its stages in order, and the one way to execute them.

A stage is kept while what decides it and what it made are as they were when it was recorded; else
it is computed, or refused, as the policy says. A dry run decides in the same way and does nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from bias_bench.errors import BiasBenchError, DataError, UsageError, nearest
from bias_bench.evaluation.run_files import EXPERIMENT, experiment_digest
from bias_bench.evaluation.run_record import (
    FILE,
    Encoding,
    Environment,
    Failure,
    GitState,
    Host,
    OutputFile,
    RunRecord,
    StageRecord,
    status_of,
)
from bias_bench.system import provenance
from bias_bench.system.console import detail, say, warn
from bias_bench.system.files import (
    digest,
    folder_lock,
    remove_temporary_files,
    sha256_file,
    write_text,
)
from bias_bench.system.memory import size_text
from bias_bench.system.processes import ALONE, Processes

Policy = Literal["only-missing", "always", "never", "only-cache"]
"""What happens to results that are there, and to those that are not, in every stage:

- ``only-missing`` keeps what is finished and up to date, and computes the rest;
- ``always`` computes every stage from scratch;
- ``never`` overwrites nothing: a folder that holds a finished stage is an error;
- ``only-cache`` computes and writes nothing: a stage that is missing or outdated is an error.
"""


STAGES = ("audit", "mine", "train", "encode", "search", "score", "robustness", "probe", "metrics")
"""Names that `until` can have in some run, in order."""


class Made(NamedTuple):
    """What a stage made: files, and fields of the run's record that it alone knows."""

    files: Sequence[Path]
    fields: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass
class Work:
    """What the work of a stage is given.

    `again` forbids whatever was computed before, in caches too. `record` is the run's so far.
    `memory` are the bytes that the work may take (None: no limit).
    """

    folder: Path
    record: RunRecord
    again: bool = False
    processes: Processes = ALONE
    memory: int | None = None
    parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the seconds that a part of the stage takes."""
        start = perf_counter()
        yield
        self.parts[name] = round(perf_counter() - start, 3)


@dataclass(frozen=True)
class Stage:
    """A step of a run.

    `work` makes files, all of them below the run folder but a report; `inputs` are JSON values by
    name that decide them, and can be asked for once the stages in `needs` are there. A need is the
    name of a stage, or ``stage:pattern`` for those of its files whose path matches; they decide
    too. All processes work on a `shared` stage at once, the first alone on any other. The files of
    a `timed` stage hold times, so they differ each time it is computed. `forecast` says in a dry
    run how much there is to do, given the names of earlier stages whose files will differ. `tidy`
    removes what the work needed, once the stage is recorded.
    """

    name: str
    work: Callable[[Work], Made]
    inputs: Callable[[], dict[str, Any]]
    needs: tuple[str, ...] = ()
    shared: bool = False
    timed: bool = False
    forecast: Callable[[Sequence[str]], str] = lambda _: ""
    tidy: Callable[[Path], None] | None = None

    @property
    def before(self) -> list[str]:
        """Names of the stages that it stands on."""
        return [need.partition(":")[0] for need in self.needs]


class Graph(NamedTuple):
    """A run: what is run on what (the record, without stages), experiment.yaml, and the stages."""

    record: RunRecord
    experiment: str
    stages: Sequence[Stage]


class Decision(NamedTuple):
    """What happens to a stage, and why; in a dry run also how much there is to do."""

    stage: str
    action: Literal["keep", "compute", "refuse"]
    reason: str
    forecast: str = ""


def stages_until(graph: Graph, until: str | None) -> list[Stage]:
    """The stages to execute: all, or `until` and those it stands on. UsageError without such."""
    if until is None:
        return list(graph.stages)
    names = [stage.name for stage in graph.stages]
    if until not in names:
        raise UsageError(
            f"{graph.record.system} has no stage '{until}', only {', '.join(names)}; "
            + (nearest(until, names) if until not in STAGES else "take a recipe that has it")
        )
    wanted = {until}
    for stage in reversed(graph.stages):
        if stage.name in wanted:
            wanted.update(stage.before)
    return [stage for stage in graph.stages if stage.name in wanted]


def execute(
    graph: Graph,
    folder: Path,
    policy: Policy = "only-missing",
    until: str | None = None,
    memory: int | None = None,
    processes: Processes = ALONE,
) -> RunRecord:
    """Execute the graph in the run folder, or `until` a stage; returns the run's record.

    UsageError for an unknown stage, BiasBenchError for what the policy forbids, and whatever a
    stage raises; the stages before it are kept then.
    """
    stages = stages_until(graph, until)
    work = Work(folder, graph.record, policy == "always", processes, memory)
    if processes.rank > 0:
        _follow(stages, work)
        return graph.record
    before = earlier_record(folder, policy)
    require_allowed(before, folder, policy)
    if policy == "only-cache":
        for decision in decide(stages, before or graph.record, folder, policy):
            if decision.action == "refuse":
                raise BiasBenchError(f"{folder}: stage '{decision.stage}': {decision.reason}")
        return before or graph.record
    new = not folder.exists()
    with folder_lock(folder):
        try:
            record = _begin(graph, before, folder, policy)
            for stage in stages:
                number = graph.stages.index(stage)
                record = _step(stage, number, replace(work, record=record, parts={}), policy)
            return record
        except BaseException:
            if new:
                _remove_if_empty(folder)
            raise


def decide(
    stages: Iterable[Stage], record: RunRecord, folder: Path, policy: Policy
) -> Iterator[Decision]:
    """What executing the stages would do, without doing any of it."""
    changed: list[str] = []  # stages whose files will differ
    if policy == "never" and record.stages:
        yield from (Decision(stage.name, "refuse", _holds(record)) for stage in stages)
        return
    for stage in stages:
        other = next((name for name in stage.before if name in changed), None)
        if other and policy != "always" and stage.name in record.stages:
            reason: str | None = f"outdated: {other} comes before it"
        else:
            reason = _why(stage, record, folder, policy)
        if reason is None:
            yield Decision(stage.name, "keep", "unchanged")
        elif policy == "only-cache":
            yield Decision(stage.name, "refuse", f"{reason}; --policy only-cache computes nothing")
        else:
            yield Decision(stage.name, "compute", reason, stage.forecast(changed))
        will_differ = stage.timed or policy == "always" or not _is_done(stage, record)
        if other or (reason and will_differ):
            changed.append(stage.name)


def _is_done(stage: Stage, record: RunRecord) -> bool:
    """Whether it was done as it would be now, whether or not its files are still there."""
    done = record.stages.get(stage.name)
    return done is not None and done.key == _key(stage, record)


def require_allowed(before: RunRecord | None, folder: Path, policy: Policy) -> None:
    """BiasBenchError where the policy is ``never`` and the folder holds a finished stage."""
    if policy == "never" and before and before.stages:
        raise BiasBenchError(f"{folder}: {_holds(before)}")


def _holds(record: RunRecord) -> str:
    return (
        f"holds results ({record.status}), and with --policy=never they are not overwritten; "
        "give another --name, or --policy only-missing to go on"
    )


def earlier_record(folder: Path, policy: Policy) -> RunRecord | None:
    """The record of a folder, if it has one; a damaged one is given up with ``always``."""
    if not (folder / FILE).is_file():
        return None
    try:
        return RunRecord.load(folder)
    except DataError:
        if policy != "always":
            raise
        return None


def _begin(graph: Graph, before: RunRecord | None, folder: Path, policy: Policy) -> RunRecord:
    """Write what is run, beside what is known of finished stages.

    Nothing is left of another experiment, which only ``always`` replaces.
    """
    remove_temporary_files(folder)
    write_text(folder / EXPERIMENT, graph.experiment)
    described = graph.record.model_copy(update={"experiment": experiment_digest(folder)})
    if before and policy == "always" and before.experiment != described.experiment:
        for name in {name for done in before.stages.values() for name in done.outputs}:
            _remove(folder, name)
        before = None
    fields = {name: getattr(described, name) for name in described.model_fields_set}
    fresh = described.model_copy(update={"stages": {}})
    return _written(before.model_copy(update=fields) if before else fresh, folder)


def _step(stage: Stage, number: int, work: Work, policy: Policy) -> RunRecord:
    """Keep or compute one stage; returns the record after it."""
    record, folder, processes = work.record, work.folder, work.processes
    why = _why(stage, record, folder, policy)
    if stage.shared:
        processes.any(why is not None)  # tells the others whether there is work
    if why is None:
        say(f"{stage.name}: unchanged, kept")
    else:
        outdated = stage.name in record.stages and policy == "only-missing"
        (say if outdated else detail)(f"{stage.name}: {why}")
        alone = replace(work, processes=ALONE)
        record = _compute(stage, number, work if stage.shared else alone)
    if stage.tidy:
        stage.tidy(folder)
    if stage.shared:
        processes.wait()
    return record


def _follow(stages: Iterable[Stage], work: Work) -> None:
    """What every process but the first does: its share of the stages that are shared."""
    for stage in stages:
        if stage.shared:
            if work.processes.any(False):
                stage.work(work)
            work.processes.wait()


def _compute(stage: Stage, number: int, work: Work) -> RunRecord:
    record, folder = work.record, work.folder
    others = {name: done for name, done in record.stages.items() if name != stage.name}
    before = record.stages[stage.name].outputs if stage.name in record.stages else {}
    work.record = record = _written(record, folder, stages=others, failure=None)
    inputs, needs = _inputs(stage), _needs(stage, record)
    start = perf_counter()
    try:
        made = stage.work(work)
    except BaseException as error:
        ending = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        _written(record, folder, failure=Failure(stage=stage.name, ending=ending))
        raise
    seconds = perf_counter() - start
    detail(f"{stage.name}: {len(made.files)} files in {seconds:.1f} s, in {folder}")
    files = {Path(os.path.relpath(path, folder)).as_posix(): path for path in made.files}
    for name in before.keys() - files.keys():  # of a setting, say, that is no longer there
        _remove(folder, name)
    peak = provenance.peak_memory()
    if work.memory is not None and peak > work.memory:
        warn(f"{stage.name} took {size_text(peak)} of memory, more than --memory "
             f"{size_text(work.memory)}")  # fmt: skip
    done = StageRecord(
        number=number,
        key=digest({"stage": stage.name, "inputs": inputs, "needs": needs}),
        inputs=inputs,
        needs=needs,
        seconds=round(seconds, 3),
        parts=work.parts,
        peak_memory_bytes=peak,
        memory_budget_bytes=work.memory,
        environment=_environment(record.encoding),
        outputs={
            name: OutputFile(bytes=path.stat().st_size, sha256=sha256_file(path))
            for name, path in files.items()
        },
    )
    return _written(record, folder, stages={**others, stage.name: done}, **made.fields)


def _written(record: RunRecord, folder: Path, **fields: Any) -> RunRecord:
    """The record with these fields, as it is in the folder from now on."""
    changed = record.model_copy(update=fields)
    changed = changed.model_copy(update={"status": status_of(changed)})
    changed.save(folder)
    return changed


def _remove(folder: Path, name: str) -> None:
    """Remove a file that a stage made, unless it lies outside of the run folder, as reports do.

    Folders that are empty then go too.
    """
    if name.startswith(".."):
        return
    path = folder / name
    path.unlink(missing_ok=True)
    while (path := path.parent) != folder and path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def _remove_if_empty(folder: Path) -> None:
    """Leave no folder that would block its name where the first stage failed at once."""
    if {path.name for path in folder.iterdir()} <= {".lock", FILE, EXPERIMENT}:
        shutil.rmtree(folder)


def _why(stage: Stage, record: RunRecord, folder: Path, policy: Policy) -> str | None:
    """Why a stage is to be computed; None where its files are there and up to date."""
    before = record.stages.get(stage.name)
    if policy == "always":
        return "computed again (--policy always)"
    if before is None:
        return "not done yet"
    if before.key != _key(stage, record):
        now = {**_inputs(stage), **_needs(stage, record)}
        earlier = {**before.inputs, **(before.needs or {})}
        changed = [name for name in now if earlier.get(name) != now[name]]
        return f"outdated: {', '.join(changed) or 'what decides it'} changed"
    for name, file in before.outputs.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != file.bytes or sha256_file(path) != file.sha256:
            return f"{path} changed since it was written"
    return None


def _inputs(stage: Stage) -> dict[str, str]:
    return {name: digest(value) for name, value in stage.inputs().items()}


def _needs(stage: Stage, record: RunRecord) -> dict[str, str]:
    return {need: digest(record.outputs(need)) for need in stage.needs}


def _key(stage: Stage, record: RunRecord) -> str:
    """sha256 of what decides the stage's files."""
    return digest({"stage": stage.name, "inputs": _inputs(stage), "needs": _needs(stage, record)})


def _environment(encoding: Encoding) -> Environment:
    """What the record says of a stage that this process computes."""
    return Environment(
        versions=provenance.versions(),
        git=GitState.model_validate(provenance.git_state()),
        host=Host.model_validate(provenance.host()),
        device=encoding.device,
        precision=encoding.precision,
    )
