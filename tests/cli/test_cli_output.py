"""stdout holds results alone, in every mode; each JSON has a schema and its keys."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bias_bench.cli import run_command
from tests.support.runs import run

NAME = "mini-zero-shot-0"
TITLE = "AP mono"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run in a process of its own with --quiet: its folder, stdout and stderr."""
    out = tmp_path_factory.mktemp("quiet")
    command = [sys.executable, "-m", "bias_bench", "run", "--backbone", "scratch:tiny", "--quiet"]
    done = subprocess.run(
        [*command, "--recipe", "zero-shot"], cwd=out, capture_output=True, text=True, check=True
    )
    return out, done.stdout, done.stderr


def test_quiet_is_results_alone(quiet: tuple[Path, str, str]) -> None:
    _, out, err = quiet
    assert err == ""
    assert TITLE in out
    assert NAME in out


@pytest.mark.parametrize("mode", [(), ("--quiet",), ("--verbose",)], ids=["", "quiet", "verbose"])
def test_stdout_is_the_same_in_every_mode(
    quiet: tuple[Path, str, str], capfd: pytest.CaptureFixture[str], mode: tuple[str, ...]
) -> None:
    folder, out, _ = quiet
    assert run(folder, *mode) == 0
    captured = capfd.readouterr()
    assert captured.out == out
    assert ("search: unchanged, kept" in captured.err) == (mode != ("--quiet",))
    assert ("biasbench 0" in captured.err) == (mode == ("--verbose",))


def test_verbose_tells_decisions_cache_hits_and_times(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--verbose", "--set", "robustness=false") == 0
    said = capfd.readouterr().err
    assert "search: not done yet" in said
    assert "texts are in the cache" in said
    assert "score: 1 files in" in said


def test_an_error_is_said_in_quiet_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "xquad", "--quiet"]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def printed(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capfd.readouterr()
    assert run_command([*arguments, "--format", "json"]) == 0
    content = json.loads(capfd.readouterr().out)
    assert content["schema"] == 1
    return content


@pytest.mark.parametrize(
    ("arguments", "keys", "inner"),
    [
        (
            ["data", "list"],
            {"benchmarks"},
            {"name", "title", "languages", "queries", "candidates", "licence", "state"},
        ),
        (["data", "verify", "mini"], {"benchmark", "files"}, {"language", "path", "problem"}),
        (["doctor"], {"ok", "checks"}, {"name", "state", "finding", "fix"}),
    ],
)
def test_lists_as_json(
    capfd: pytest.CaptureFixture[str], arguments: list[str], keys: set[str], inner: set[str]
) -> None:
    content = printed(arguments, capfd)
    assert set(content) == {"schema", *keys}
    (rows,) = [value for value in content.values() if isinstance(value, list)]
    assert rows
    assert all(set(row) >= inner for row in rows)


def test_audit_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    content = printed(["data", "audit", "mini-train", "mini"], capfd)
    assert set(content) >= {"benchmark", "verdict", "rules", "data_sets", "findings"}


def test_run_report_and_score_as_json(
    quiet: tuple[Path, str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = quiet[0]
    folder = out / "runs" / NAME
    places = ["--out", str(out / "runs"), "--reports", str(out / "reports")]
    system = ["--backbone", "scratch:tiny", "--recipe", "zero-shot", *places]
    (row,) = printed(["run", *system], capfd)["runs"]
    assert set(row) >= {"run", "folder", "AP", "rank_distance", "same_language_top1"}
    content = printed(["report", str(folder), "--out", str(tmp_path)], capfd)
    assert content["pages"] == [{"run": NAME, "page": str(tmp_path / f"{NAME}.html")}]
    assert Path(content["index"]).is_file()
    content = printed(
        ["score", "--run", str(folder), "--qrels", str(folder), "--out", str(tmp_path)], capfd
    )
    assert set(content) >= {"run", "folder", "retrieval", "bias", "cutoff", "benchmark"}
    content = printed(["search", *system], capfd)
    assert content["runs"] == [{"run": NAME, "folder": str(folder)}]
    assert content["stage"] == "search"
