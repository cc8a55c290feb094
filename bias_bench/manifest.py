"""manifest.json: what a run folder holds, which stages are finished, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from bias_bench import provenance
from bias_bench.console import detail, say, warn
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.files import digest, sha256_file, write_json
from bias_bench.memory import size_text
from bias_bench.run_record import REPAIR, SCHEMA, RunRecord, with_checksum

NO_PRECISION = "none"  # of a system that encodes nothing
EXPERIMENT = "experiment.yaml"
Policy = Literal["only-missing", "always", "never"]


class Stage(NamedTuple):
    """A step of a run: `work` makes files below the run folder and returns their paths.

    The stage is finished when its record is in the manifest; it is skipped while `inputs` (JSON
    values by name) and the recorded files are unchanged. `texts` says what a dry run would encode
    (`encoders.embeds.Texts`).
    """

    name: str
    inputs: dict[str, Any]
    work: Callable[[], list[Path]]
    texts: Callable[[], list[Any]] = list

    @property
    def key(self) -> str:
        """sha256 of what decides the stage's files."""
        return digest({"stage": self.name, "inputs": self.inputs})


class Manifest:
    """The manifest of one run folder; every change is written at once.

    `computed` is True once a stage was done, not kept, by this process. Code and machine are
    recorded then, so that they stay those of the results. With `anew`, what a damaged manifest
    said is given up.
    """

    def __init__(self, folder: Path, anew: bool = False) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"
        self.computed = False
        self.content: dict[str, Any] = {"schema": SCHEMA, "stages": {}}
        if self.path.is_file():
            try:
                self.content |= RunRecord.load(folder).dump()
            except DataError:
                if not anew:
                    raise

    def update(self, **fields: Any) -> None:
        self.content.update(fields)
        content = with_checksum(self.content)
        write_json(self.path, content, durable=True)  # after a power cut it says what is left

    def run_stage(self, stage: Stage, policy: Policy) -> None:
        """Do a stage, or skip it when it is finished already."""
        why = self.why(stage, policy)
        if why is None:
            say(f"{stage.name}: unchanged, kept")
            return
        outdated = stage.name in self.content["stages"] and policy == "only-missing"
        (say if outdated else detail)(f"{stage.name}: {why}")
        if policy == "never":
            raise BiasBenchError(
                f"{self.folder}: stage '{stage.name}' is missing or outdated and --policy never "
                "forbids computing it"
            )
        self.content["stages"].pop(stage.name, None)
        self.computed = True
        self.update(**environment())
        start = perf_counter()
        outputs = stage.work()
        seconds = perf_counter() - start
        detail(f"{stage.name}: {len(outputs)} files in {seconds:.1f} s, in {self.folder}")
        self.content["stages"][stage.name] = {
            "key": stage.key,
            "inputs": {name: digest(value) for name, value in stage.inputs.items()},
            "seconds": round(seconds, 3),
            "outputs": {
                str(path.relative_to(self.folder)): {
                    "bytes": path.stat().st_size,
                    "sha256": sha256_file(path),
                }
                for path in outputs
            },
        }
        self.update()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the seconds that the block takes, unless it fails."""
        start = perf_counter()
        yield
        timings = {**self.content.get("timings", {}), name: round(perf_counter() - start, 3)}
        self.update(timings=timings)

    def outputs(self, stage: str) -> dict[str, str]:
        """sha256 of each file that a finished stage made."""
        record = self.content["stages"][stage]["outputs"]
        return {path: file["sha256"] for path, file in record.items()}

    def close(self, status: str, memory: int | None = None) -> None:
        """Record how the run ended, and the peak memory if it computed anything.

        Beside it the `memory` in bytes that it was allowed; a warning says if that was exceeded.
        """
        found: dict[str, Any] = {}
        if self.computed:
            peak = provenance.peak_memory()
            found = {"peak_memory_bytes": peak, "memory_budget_bytes": memory}
            if memory is not None and peak > memory:
                warn(f"the run took {size_text(peak)} of memory, more than --memory "
                     f"{size_text(memory)}")  # fmt: skip
        self.update(status=status, **found)

    def why(self, stage: Stage, policy: Policy) -> str | None:
        """Why a stage is to be computed; None where its files are there and up to date."""
        record = self.content["stages"].get(stage.name)
        if policy == "always":
            return "computed anew (--policy always)"
        if record is None:
            return "not done yet"
        if record["key"] != stage.key:
            before = record.get("inputs", {})
            changed = [
                name for name in stage.inputs if before.get(name) != digest(stage.inputs[name])
            ]
            return f"outdated: {', '.join(changed) if before else 'its inputs'} changed"
        for name, file in record["outputs"].items():
            path = self.folder / name
            if not path.is_file():
                return f"{path} is missing"
            if path.stat().st_size != file["bytes"] or sha256_file(path) != file["sha256"]:
                return f"{path} changed since it was written"
        return None


def read_experiment_text(path: Path) -> str:
    """experiment.yaml without the place of the data, which decides no result."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: damaged (no text); {REPAIR}") from None
    return "\n".join(line for line in lines if not line.startswith("data_dir:")) + "\n"


def experiment_record(folder: Path) -> dict[str, str]:
    """The part of the manifest that tells whether experiment.yaml is as it was written."""
    return {EXPERIMENT: digest(read_experiment_text(folder / EXPERIMENT))}


def require_undamaged(folder: Path, record: RunRecord, names: Sequence[str]) -> None:
    """DataError for experiment.yaml or one of `names` that is not as the run left it."""
    expected, path = record.experiment, folder / EXPERIMENT
    if expected and path.is_file() and digest(read_experiment_text(path)) != expected:
        raise DataError(f"{path}: damaged: its checksum is not the one in manifest.json; {REPAIR}")
    for stage in record.stages.values():
        for name in names:
            file, path = stage.outputs.get(name), folder / name
            if file and path.is_file() and sha256_file(path) != file.sha256:
                raise DataError(
                    f"{path}: damaged: its checksum is not the one in manifest.json; repeat the run"
                )


def environment() -> dict[str, Any]:
    """The part of a manifest that describes code and machine."""
    return {
        "versions": provenance.versions(),
        "git": provenance.git_state(),
        "host": provenance.host(),
    }
