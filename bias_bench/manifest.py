"""manifest.json: what a run folder holds, which stages are finished, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from bias_bench import provenance
from bias_bench.console import say
from bias_bench.errors import BiasBenchError
from bias_bench.files import digest, read_json, sha256_file, write_json

SCHEMA = 1
Policy = Literal["only-missing", "always", "never"]


class Stage(NamedTuple):
    """A step of a run: `work` makes files below the run folder and returns their paths.

    The stage is finished when its record is in the manifest; it is skipped while `inputs` (any
    JSON value) and the recorded files are unchanged.
    """

    name: str
    inputs: Any
    work: Callable[[], list[Path]]


class Manifest:
    """The manifest of one run folder; every change is written at once.

    `computed` is True once a stage was done, not kept, by this process. Code and machine are
    recorded then, so that they stay those of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"
        self.computed = False
        self.content: dict[str, Any] = {"schema": SCHEMA, "stages": {}}
        if self.path.is_file():
            self.content = read_manifest(folder)

    def update(self, **fields: Any) -> None:
        self.content.update(fields)
        write_json(self.path, self.content)

    def run_stage(self, stage: Stage, policy: Policy) -> None:
        """Do a stage, or skip it when it is finished already."""
        key = digest({"stage": stage.name, "inputs": stage.inputs})
        if policy != "always" and self._finished(stage.name, key):
            say(f"{stage.name}: unchanged, kept")
            return
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
        self.content["stages"][stage.name] = {
            "key": key,
            "seconds": round(perf_counter() - start, 3),
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

    def close(self, status: str) -> None:
        """Record how the run ended, and the peak memory if it computed anything."""
        peak = {"peak_memory_bytes": provenance.peak_memory()} if self.computed else {}
        self.update(status=status, **peak)

    def _finished(self, stage: str, key: str) -> bool:
        record = self.content["stages"].get(stage)
        if record is None or record["key"] != key:
            return False
        for name, file in record["outputs"].items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                return False
            if sha256_file(path) != file["sha256"]:
                say(f"{path}: changed since it was written; computing stage '{stage}' again")
                return False
        return True


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest; BiasBenchError when it is absent or from a newer version."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise BiasBenchError(f"{folder}: not a run folder (no manifest.json)")
    content = read_json(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise BiasBenchError(
            f"{path}: schema {schema} is not known to this version of biasbench (it knows "
            f"{SCHEMA}); update biasbench, or give another --name"
        )
    return content


def environment() -> dict[str, Any]:
    """The part of a manifest that describes code and machine."""
    return {
        "versions": provenance.versions(),
        "git": provenance.git_state(),
        "host": provenance.host(),
    }
