"""Machines on which the package and the home folder cannot be written."""

from __future__ import annotations

import importlib.machinery
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bias_bench.cli import health
from bias_bench.errors import BiasBenchError
from bias_bench.system.files import can_write
from bias_bench.system.library_caches import (
    LIBRARY_CACHES,
    direct_library_caches,
    require_library_caches,
)
from tests.cli.test_cli_failures import PROGRAM, assert_one_error

VARIABLES = [cache.variable for cache in LIBRARY_CACHES]
SCORE = "score --run en-de=a.run --qrels a.qrels --out runs --name scored"


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A place that cannot be written, whoever asks: it is below a file."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "home"


@pytest.fixture
def locked(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing to write to but the cache; returns that."""
    for name in (*VARIABLES, "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(nowhere))
    monkeypatch.setenv("BIASBENCH_CACHE", str(tmp_path / "cache"))
    spec = importlib.machinery.ModuleSpec("ranx", None, is_package=True)
    spec.submodule_search_locations = [str(nowhere / "ranx")]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    return tmp_path / "cache"


def test_every_library_writes_to_our_cache_where_its_own_place_cannot_be_written(
    locked: Path,
) -> None:
    require_library_caches()
    assert {name: os.environ[name] for name in VARIABLES} == {
        cache.variable: str(locked / "libraries" / cache.library) for cache in LIBRARY_CACHES
    }
    assert not locked.exists()  # nobody has written yet


@pytest.mark.usefixtures("locked")
def test_a_library_that_can_write_in_its_own_place_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ir_datasets").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    direct_library_caches()
    assert [name for name in VARIABLES if name in os.environ] == []


def test_nobody_gets_a_folder_of_data_sets_in_the_home_folder(
    locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    direct_library_caches()
    assert os.environ["IR_DATASETS_HOME"] == str(locked / "libraries" / "ir_datasets")


def test_what_the_user_names_is_kept_where_it_can_be_written(
    locked: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setenv("MPLCONFIGDIR", str(nowhere))
    direct_library_caches()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "numba")
    assert os.environ["MPLCONFIGDIR"] == str(locked / "libraries" / "matplotlib")


@pytest.mark.usefixtures("locked")
def test_models_that_are_there_are_read_where_nothing_can_be_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(shared))
    monkeypatch.setattr(
        "bias_bench.system.library_caches.can_write",
        lambda path: path != shared and can_write(path),
    )
    direct_library_caches()
    assert os.environ["HF_HUB_CACHE"] == str(shared)
    (check,) = [check for check in found() if check.name == "cache of huggingface_hub"]
    assert check.state == "warn"
    assert "HF_HUB_CACHE" in check.fix


def found() -> list[health.Check]:
    return [health._library_cache(cache) for cache in LIBRARY_CACHES]


@pytest.mark.usefixtures("locked")
def test_without_any_place_the_line_and_doctor_name_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIASBENCH_CACHE", "")
    with pytest.raises(BiasBenchError, match=r"numba .*; set BIASBENCH_CACHE to a folder"):
        require_library_caches()
    with pytest.raises(BiasBenchError, match=r"; set BIASBENCH_CACHE to a folder"):
        health._cache()
    assert {check.state for check in found()} == {"fail", "warn"}
    assert all("BIASBENCH_CACHE" in check.fix for check in found())


def test_without_a_home_folder_there_is_no_cache_but_the_one_that_is_named(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    direct_library_caches()
    assert os.environ["HOME"] == str(locked / "libraries")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("BIASBENCH_CACHE", "")
    with pytest.raises(BiasBenchError, match="no home folder; set BIASBENCH_CACHE"):
        direct_library_caches()


@pytest.fixture
def scorable(tmp_path: Path) -> Path:
    (tmp_path / "a.run").write_text("en:1 Q0 de:1-1-1 1 2.0 t\n", encoding="utf-8")
    (tmp_path / "a.qrels").write_text("en:1 0 de:1-1-1 1\n", encoding="utf-8")
    return tmp_path


def program(arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [*PROGRAM, *shlex.split(arguments)],
        cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_home_folder_that_cannot_be_written_is_no_matter(scorable: Path, nowhere: Path) -> None:
    cache = scorable / "cache"
    done = program(SCORE, scorable, HOME=str(nowhere), BIASBENCH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert (cache / "libraries" / "ir_datasets").is_dir()


def test_without_any_place_nothing_is_begun(scorable: Path, nowhere: Path) -> None:
    done = program(SCORE, scorable, HOME=str(nowhere), BIASBENCH_CACHE="")
    assert done.returncode == 1
    assert_one_error(done.stderr, "set BIASBENCH_CACHE to a folder that can be written")
    assert not (scorable / "runs").exists()
    done = program(
        "run mini --backbone scratch:tiny", scorable, HOME=str(nowhere), BIASBENCH_CACHE=""
    )
    assert done.returncode == 1
    assert_one_error(done.stderr, "set BIASBENCH_CACHE to a folder that can be written")


def test_a_package_that_cannot_be_written_scores(scorable: Path) -> None:
    """As in a container of another user: site-packages and the home folder are read-only."""
    script = (
        'for place in "$1" "$2"; do mount --bind "$place" "$place" && '
        'mount -o remount,ro,bind "$place" || exit 77; done; shift 2; exec "$@"'
    )
    home = scorable / "home"
    home.mkdir()
    places = [str(Path(sys.prefix).resolve()), str(home)]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "-", *places, *PROGRAM, *shlex.split(SCORE)],
        cwd=scorable, capture_output=True, text=True, check=False,
        env={**{name: value for name, value in os.environ.items() if name not in VARIABLES},
             "HOME": str(home), "BIASBENCH_CACHE": str(scorable / "cache")},
    )  # fmt: skip
    if done.returncode in (1, 77) and "biasbench" not in done.stderr:
        pytest.skip("only root may mount, where it may at all")
    assert done.returncode == 0, done.stderr
    assert list((scorable / "cache" / "libraries" / "numba").rglob("*.nbi"))
    assert list(home.iterdir()) == []
