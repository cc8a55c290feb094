"""`--dry-run`: it says what a run then does, and leaves every byte as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bias_bench.cli import run_command
from tests.support.runs import BACKBONE, manifest, run

NAME = "mini-zero-shot-0"
STAGES = ["encode", "search", "score", "robustness", "probe", "metrics", "report"]
TEXTS = 660 + 924  # queries and candidates of mini
SHORT = ("--set", "training.steps=3", "--set", "training.batch_size=8")
Plan = dict[str, Any]


def tree(*folders: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below the folders: content and time of its last change."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, so that it is known what is in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BIASBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("complete")
    before = os.environ["BIASBENCH_CACHE"]
    os.environ["BIASBENCH_CACHE"] = str(out / "cache")
    try:
        assert run(out) == 0
    finally:
        os.environ["BIASBENCH_CACHE"] = before
    return out


@pytest.fixture
def finished(complete: Path, cache: Path) -> Path:
    """A copy of a finished run, and of the cache that it left."""
    shutil.copytree(complete, cache.parent, dirs_exist_ok=True)
    return cache.parent


@pytest.fixture
def planned(capsys: pytest.CaptureFixture[str]) -> Callable[..., Plan]:
    """The plan of `biasbench run` with these arguments, from its JSON."""

    def plan(out: Path, *arguments: str) -> Plan:
        before = tree(out)
        capsys.readouterr()
        assert run(out, *arguments, "--dry-run", "--format", "json") == 0
        found = json.loads(capsys.readouterr().out)
        assert tree(out) == before
        return found

    return plan


def actions(plan: Plan) -> dict[str, str]:
    (system,) = plan["systems"]
    return {step["stage"]: step["action"] for step in system["stages"]}


def reason(plan: Plan, stage: str) -> str:
    (system,) = plan["systems"]
    return next(step["reason"] for step in system["stages"] if step["stage"] == stage)


def test_nothing_is_written_where_there_was_nothing(
    tmp_path: Path, cache: Path, planned: Callable[..., Plan]
) -> None:
    plan = planned(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not cache.exists()
    assert actions(plan) == dict.fromkeys(STAGES, "compute")
    (system,) = plan["systems"]
    encode = system["stages"][0]
    assert (encode["forecast"], encode["reason"]) == (f"{TEXTS:,} texts, 0 cached", "not done yet")
    assert {stage["last_seconds"] for stage in system["stages"]} == {None}, "nothing was measured"
    assert plan["schema"] == 2


def test_a_finished_run_has_nothing_to_do(
    finished: Path, planned: Callable[..., Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    assert actions(planned(finished)) == dict.fromkeys(STAGES, "keep")
    assert run(finished, "--dry-run") == 0
    assert "nothing to compute" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["scores.parquet", "ranks.parquet", "metrics.json"])
def test_the_plan_is_what_the_run_then_does(
    finished: Path, planned: Callable[..., Plan], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = finished / "runs" / NAME / name
    path.write_bytes(path.read_bytes() + b"!")
    plan = planned(finished)
    assert run(finished) == 0
    said = capsys.readouterr().err
    for stage, action in actions(plan).items():
        assert (f"{stage}: unchanged, kept" in said) == (action == "keep"), stage
    changed = [stage for stage, action in actions(plan).items() if action == "compute"]
    assert reason(plan, changed[0]) == f"{path} changed since it was written"


def test_a_changed_input_is_named_and_what_follows_is_computed_too(
    finished: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bias_bench.runs.search.__version__", "99")
    plan = planned(finished)
    after = ["search", "score", "metrics", "report"]
    assert [stage for stage, action in actions(plan).items() if action == "compute"] == after
    assert reason(plan, "search") == "outdated: biasbench changed"
    assert reason(plan, "score") == "outdated: search comes before it"


def test_policies_are_followed(finished: Path, planned: Callable[..., Plan]) -> None:
    assert actions(planned(finished, "--policy", "always")) == dict.fromkeys(STAGES, "compute")
    assert actions(planned(finished, "--policy", "never")) == dict.fromkeys(STAGES, "refuse")
    (finished / "runs" / NAME / "scores.parquet").unlink()
    cached = actions(planned(finished, "--policy", "only-cache"))
    assert cached == {**dict.fromkeys(STAGES[:-1], "keep"), "score": "refuse"}


def test_what_stages_took_last_time_is_said_with_the_run(
    finished: Path, planned: Callable[..., Plan]
) -> None:
    plan = planned(finished, "--seed", "1")  # other weights: nothing is cached
    (system,) = plan["systems"]
    stages = manifest(finished / "runs" / NAME)["stages"]
    last = {step["stage"]: (step["last_seconds"], step["last_run"]) for step in system["stages"]}
    assert last == {name: (stages[name]["seconds"], NAME) for name in STAGES}


def test_another_machine_says_nothing_of_this_one(
    finished: Path, planned: Callable[..., Plan]
) -> None:
    path = finished / "runs" / NAME / "manifest.json"
    content = manifest(path.parent)
    for stage in content["stages"].values():
        stage["environment"]["host"]["processor"] = "Abacus"
    path.write_text(json.dumps(content), encoding="utf-8")
    (system,) = planned(finished, "--seed", "1")["systems"]
    assert {step["last_run"] for step in system["stages"]} == {None}


@pytest.mark.usefixtures("cache")
def test_training_is_planned_and_what_it_leaves_is_found(
    tmp_path: Path, planned: Callable[..., Plan]
) -> None:
    wanted = ("--recipe", "hybrid", *SHORT)
    plan = planned(tmp_path, *wanted)
    (system,) = plan["systems"]
    trained = {step["stage"]: step["forecast"] for step in system["stages"]}
    assert trained["train"] == "3 steps"
    assert trained["encode"] == f"{TEXTS:,} texts"
    folders = ("--out", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports"))
    assert run_command(["train", *wanted, "--backbone", BACKBONE, *folders]) == 0
    plan = planned(tmp_path, *wanted)
    assert actions(plan) == {
        "audit": "keep", "train": "keep", **dict.fromkeys(STAGES, "compute"),
    }  # fmt: skip
    again = planned(tmp_path, "--recipe", "hybrid", *SHORT, "--seed", "1")
    last = {step["stage"]: step["last_run"] for step in again["systems"][0]["stages"]}
    assert (last["train"], last["encode"]) == ("mini-hybrid-0", None)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("stage", "recipe", "named"),
    [
        ("encode", "zero-shot", ["encode"]),
        ("search", "zero-shot", ["encode", "search"]),
        ("train", "hybrid", ["audit", "train"]),
        ("mine", "hybrid-hard", ["audit", "mine"]),
        ("search", "bm25", ["search"]),
    ],
)
def test_stages_on_their_own_are_planned(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    recipe: str,
    named: list[str],
) -> None:
    encoder = () if recipe == "bm25" else ("--backbone", BACKBONE)
    arguments = ["--recipe", recipe, *encoder, "--out", str(tmp_path / "runs")]
    assert run_command([stage, *arguments, "--dry-run", "--format", "json"]) == 0
    assert list(actions(json.loads(capsys.readouterr().out))) == named
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["xquad-r", "--data-dir", "no-such-folder"], 3, "missing; run `biasbench data fetch"),
        (["--recipe", "zero-shot", "--set", "training.steps=3"], 2, "names no data"),
        (["--recipe", "hybrid", "--set", "training.sources=[mlqa-r]", "--data-dir", "none"], 3, ""),
        (["--backbone", "someone/no-such-encoder"], 3, "not on this disk"),
    ],
)
def test_what_a_run_would_refuse_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = [] if "--backbone" in arguments else ["--backbone", BACKBONE]
    assert run_command(["run", *arguments, *backbone, "--dry-run"]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not list(tmp_path.iterdir())
