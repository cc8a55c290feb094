"""Shared fixtures. Tests use no network and write below temporary folders only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.system.console import command_console
from tests.support.command_line import Command, Outcome
from tests.support.compared import make_pair, make_runs
from tests.support.kills import TRAINED, Undisturbed, undisturbed_run
from tests.support.runs import run
from tests.support.small_disks import mounted

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's caches out of tests, and tests out of the user's caches."""
    os.environ["BIASBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _console() -> Iterator[None]:
    """What the library says is on stderr, as of a command, so that tests can read it."""
    with command_console():
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real benchmarks, named by BIASBENCH_DATA; tests skip without it."""
    folder = os.environ.get("BIASBENCH_DATA")
    if not folder:
        pytest.skip("set BIASBENCH_DATA to a folder with xquad-r/ and mlqa-r/ to run this test")
    return Path(folder)


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the embedded benchmark with a random encoder; to be read only."""
    out = tmp_path_factory.mktemp("native")
    assert run(out) == 0
    return out / "runs" / "mini-zero-shot-0"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small runs with made-up rankings, of several recipes and seeds; to be read only."""
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def pair(runs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of two of them, to change."""
    return make_pair(runs, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that trains, with all its stages, by a process that nobody killed."""
    return undisturbed_run(TRAINED, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    yield from mounted(tmp_path / "disk")


@pytest.fixture(scope="session")
def rescored(native: Path) -> Path:
    """Its TREC files, scored down to 100 as if another tool had written them; to be read only."""
    out = native.parent
    given = ["score", "--run", str(native), "--qrels", str(native), "--out", str(out)]
    assert run_command([*given, "--depth", "100", "--name", "rescored"]) == 0
    return out / "rescored"


@pytest.fixture
def biasbench(capsys: pytest.CaptureFixture[str]) -> Command:
    """A callable that runs one command line; named like the program."""

    def run(*arguments: object) -> Outcome:
        code = run_command([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run
