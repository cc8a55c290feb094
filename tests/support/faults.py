"""Runs as processes of their own that are killed at chosen moments, started fast.

A fork server imports the heavy libraries once; each run is a fork of it, a real process that a
real SIGKILL ends. In it Python's own audit events count what it does to files, so that a kill can
hit the narrow windows between two of them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

_PRELOADED = [
    "bias_bench.runs.pipeline", "bias_bench.cli.run", "bias_bench.report.run_page", "ranx",
    "bias_bench.training.loop", "transformers", "safetensors.torch", "tokenizers", "seaborn",
    "sklearn.linear_model", "sklearn.discriminant_analysis", "scipy.stats", "jinja2",
    "bias_bench.encoders.scratch", "transformers.models.bert.modeling_bert",
    "matplotlib.backends.backend_svg", "torch.optim", "torch._dynamo", "safetensors.numpy",
    "bias_bench.evaluation.scorers.ranx", "pyarrow.csv",
]  # fmt: skip
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "os.chmod"}
_TIMES = re.compile(r'<dt>Time</dt><dd>[^<]*</dd>|"timings": \{[^}]*\}')  # of a page
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_PRELOADED)

# of the server: with more, a fork of it could inherit a lock that nobody holds
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class Event(NamedTuple):
    """A change of a file, `seconds` after the start; `finished` are the stages recorded before."""

    seconds: float
    what: str
    path: str
    finished: int


Run = Any  # a process that `start` made


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and what it said on stderr."""

    code: int
    err: str


def start(
    arguments: list[str],
    folder: Path,
    *,
    kill_at: int | None = None,
    log: Path | None = None,
    before: Callable[[], None] | None = None,
) -> Run:
    """Start `biasbench` in `folder`, with its cache there; it is killed before change `kill_at`.

    `log` takes the changes of an undisturbed run; `before` is called in the process first.
    """
    process = _forks.Process(
        target=_work, args=(arguments, str(folder), kill_at, log and str(log), before)
    )
    with mock.patch.dict(os.environ, _ONE_THREAD):
        process.start()
    return process


def end(process: Run, folder: Path, timeout: float = 300) -> Ended:
    """Wait for a process that `start` made."""
    process.join(timeout)
    assert process.exitcode is not None, "the process hangs"
    err = _err(folder, process.pid)  # not there where it was killed before it began
    said = err.read_text("utf-8", "replace") if err.is_file() else ""
    return Ended(process.exitcode, said)


def run(arguments: list[str], folder: Path, **options: Any) -> Ended:
    """Run `biasbench` to its end."""
    return end(start(arguments, folder, **options), folder)


def killed_after(seconds: float, process: Run, folder: Path) -> Ended:
    """Kill a process after some seconds, unless it ends before."""
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid, signal.SIGKILL)
    return end(process, folder)


def _err(folder: Path, pid: int) -> Path:
    return folder / f"stderr-{pid}"


def _work(
    arguments: list[str],
    folder: str,
    kill_at: int | None,
    log: str | None,
    before: Callable[[], None] | None,
) -> None:
    """What the child does; ends it."""
    os.chdir(folder)
    os.environ["BIASBENCH_CACHE"] = str(Path(folder, "cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    temporary = Path(folder, "tmp")
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    err = os.open(_err(Path(folder), os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(err, 2)
    os.dup2(nowhere, 1)
    sys.stderr = os.fdopen(err, "w", encoding="utf-8", buffering=1)
    sys.stdout = os.fdopen(nowhere, "w", encoding="utf-8")
    from bias_bench.cli import run_command
    from bias_bench.system import provenance

    # a checkout may change while tests run
    provenance.git_state = lambda: {"commit": None, "dirty": None}
    if before:
        before()
    watch = _Watch(Path(folder), kill_at)
    sys.addaudithook(watch)
    code = run_command(arguments)
    watch.folder = None
    if log:
        Path(log).write_text(json.dumps(watch.events), encoding="utf-8")
    sys.exit(code)


class _Watch:
    """An audit hook: notes every change below `folder`, and kills the process before one."""

    def __init__(self, folder: Path, kill_at: int | None) -> None:
        self.folder: Path | None = folder
        self.kill_at = kill_at
        self.start = time.perf_counter()
        self.events: list[Event] = []
        self.finished = 0
        self.inside = False

    def __call__(self, what: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or self.inside:
            return
        if what == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes) or not int(flags or 0) & _WRITING:
                return
        elif what not in _CHANGES:
            return
        self.inside = True
        try:
            self._note(what, arguments)
        finally:
            self.inside = False

    def _note(self, what: str, arguments: tuple[Any, ...]) -> None:
        assert self.folder is not None
        target = str(arguments[1] if what == "os.rename" else arguments[0])
        path = os.path.join(os.getcwd(), target)  # noqa: PTH109, PTH118 - pathlib would be audited
        if not path.startswith(f"{self.folder}/") or "/tmp/" in path[len(str(self.folder)) :]:  # noqa: S108
            return
        if len(self.events) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.events.append(
            Event(time.perf_counter() - self.start, what, path[len(str(self.folder)) + 1 :],
                  self.finished)
        )  # fmt: skip
        if what == "os.rename" and path.endswith("/manifest.json"):
            content = Path(os.fsdecode(arguments[0])).read_text("utf-8")
            self.finished = len(json.loads(content)["stages"])


def finished_stages(run_folder: Path) -> int:
    """How many stages the manifest records."""
    path = run_folder / "manifest.json"
    return len(json.loads(path.read_text("utf-8"))["stages"]) if path.is_file() else 0


def fingerprint(run_folder: Path, page: Path) -> dict[str, str]:
    """sha256 of every file of a finished run and of its page, without what time and machine say."""
    found = {}
    for path in sorted(path for path in run_folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(run_folder))
        if name == ".lock":
            continue
        data = path.read_bytes()
        if name in ("metrics.json", "manifest.json"):
            data = _timeless(json.loads(data), manifest=name == "manifest.json")
        found[name] = hashlib.sha256(data).hexdigest()
    text = _TIMES.sub("", page.read_text("utf-8"))
    found["page"] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return found


def _timeless(content: dict[str, Any], manifest: bool) -> bytes:
    for key in ("timings", "sha256"):
        content.pop(key, None)
    if manifest:
        content["stages"].pop("report", None)  # of metrics.json, which holds times
        for stage in content["stages"].values():
            for key in ("seconds", "parts", "peak_memory_bytes"):
                stage.pop(key, None)
            stage["outputs"].pop("metrics.json", None)
    return json.dumps(content, sort_keys=True).encode("utf-8")


def leftovers(folder: Path) -> list[str]:
    """Files that only a process at work should have."""
    marks = (".writing-", ".saving-", ".replaced-")
    return sorted(str(path) for path in folder.rglob(".*") if path.name.startswith(marks))


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Names of files that differ, are missing or too many."""
    return sorted(
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    )


def emptied(folder: Path) -> Path:
    """A new, empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
