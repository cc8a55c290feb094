"""`biasbench mine`, `train`, `encode`, `search`: they stop where they say, and `run` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.runs.experiments import STAGE_RECIPES
from tests.support.runs import BACKBONE, manifest

SHORT = [
    part
    for text in ("steps=3", "batch_size=8", "evaluate_every=2")
    for part in ("--set", f"training.{text}")
]


def stage(name: str, out: Path, *arguments: str) -> int:
    folders = ("--out", str(out / "runs"), "--reports", str(out / "reports"))
    return run_command([name, *arguments, "--backbone", BACKBONE, *folders])


def test_training_stops_with_the_encoder_and_the_run_goes_on_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage("train", tmp_path, *SHORT) == 0
    folder = tmp_path / "runs" / "mini-hybrid-0"
    assert (folder / "model" / "model.safetensors").is_file()
    assert not (folder / "metrics.json").exists()
    assert manifest(folder)["status"] == "stopped after train"
    weights = (folder / "model" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert stage("run", tmp_path, "--recipe", "hybrid", *SHORT) == 0
    assert "train: unchanged, kept" in capsys.readouterr().err
    assert (folder / "model" / "model.safetensors").read_bytes() == weights
    assert manifest(folder)["status"] == "complete"


def test_mining_leaves_the_negatives_that_training_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage("mine", tmp_path, *SHORT) == 0
    folder = tmp_path / "runs" / "mini-hybrid-hard-0"
    mined = (folder / "negatives.jsonl.gz").read_bytes()
    assert not (folder / "model").exists()
    capsys.readouterr()
    assert stage("train", tmp_path, "--recipe", "hybrid-hard", *SHORT) == 0
    assert "hard negatives mined" not in capsys.readouterr().err
    assert (folder / "negatives.jsonl.gz").read_bytes() == mined


def test_search_stops_with_the_rankings(tmp_path: Path) -> None:
    assert stage("encode", tmp_path, "--recipe", "zero-shot") == 0
    folder = tmp_path / "runs" / "mini-zero-shot-0"
    assert not (folder / "trec").exists()
    assert stage("search", tmp_path, "--recipe", "zero-shot") == 0
    assert len(list(folder.glob("trec/*/*.run.gz"))) == 132
    assert not (folder / "scores.parquet").exists()


@pytest.mark.parametrize("name", ["mine", "train"])
def test_a_recipe_without_that_stage_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert stage(name, tmp_path, "--recipe", "zero-shot") == 2
    assert f"no stage '{name}', only encode, search" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("name", "recipe"), STAGE_RECIPES.items())
def test_help_names_the_recipe_that_a_stage_takes_by_default(
    name: str, recipe: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_command([name, "--help"]) == 0
    assert f"Default: {recipe}." in " ".join(capsys.readouterr().out.split())
    assert stage(name, tmp_path, "--dry-run") == 0
    assert f"mini-{recipe}-0: " in capsys.readouterr().out
