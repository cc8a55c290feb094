"""Runs that train: the stage's files, resuming a killed process, the encoder it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.encoders.encoder import Encoder, EncodingSettings
from tests.support.runs import manifest, results, run, trec_files

NAME = "mini-hybrid-0"
SHORT = ("--recipe", "hybrid", "--set", "training.steps=12", "--set", "training.batch_size=16",
         "--set", "training.evaluate_every=4", "--set", "training.checkpoint_every=2")  # fmt: skip


STAGES = {
    "audit", "train", "encode", "search", "score", "robustness", "probe", "metrics", "report",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    assert run(out, *SHORT) == 0
    return out


def model_files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted((folder / "model").rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_training_leaves_model_log_and_audit(finished: Path) -> None:
    folder = finished / "runs" / NAME
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    content = manifest(folder)
    assert content["audit"]["verdict"].startswith("clean")
    assert set(content["stages"]) == STAGES
    assert not (folder / "checkpoints").exists()
    assert (folder / "model" / "model.safetensors").is_file()


def test_hybrid_batches_are_of_one_language_or_of_many(finished: Path) -> None:
    log = (finished / "runs" / NAME / "train.jsonl").read_text("utf-8")
    sizes = [len(json.loads(line)["query_languages"]) for line in log.splitlines()]
    assert 1 in sizes
    assert max(sizes) > 4


def test_training_changes_the_rankings(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    untrained = trec_files(tmp_path / "runs" / "mini-zero-shot-0")
    trained = trec_files(finished / "runs" / NAME)
    assert untrained.keys() == trained.keys()
    assert untrained != trained


def test_second_run_keeps_the_trained_encoder(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished, *SHORT) == 0
    assert capsys.readouterr().err.count("unchanged, kept") == len(STAGES)


def test_trained_encoder_is_a_backbone_for_other_runs(finished: Path, tmp_path: Path) -> None:
    model = finished / "runs" / NAME / "model"
    assert run(tmp_path, backbone=str(model)) == 0
    again = trec_files(tmp_path / "runs" / "mini-zero-shot-0")
    first = trec_files(finished / "runs" / NAME)
    assert {name: content.count(b"\n") for name, content in again.items()}.keys() == first.keys()
    vectors = []
    for _ in range(2):
        backbone = resolve_backbone(str(model))
        encoder = Encoder(backbone, EncodingSettings(backbone.profile, "float32", 256, "cpu"))
        vectors.append(encoder.encode(encoder.tokenize(["one", "δύο"], "query"), lambda _: None))
    assert np.array_equal(*vectors)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("step-000002", signal.SIGKILL),
        ("step-000006", signal.SIGKILL),
        ("step-000012", signal.SIGKILL),
        ("step-000004", signal.SIGTERM),
    ],
)
def test_killed_training_goes_on_to_the_same_encoder_and_files(
    finished: Path, tmp_path: Path, moment: str, how: signal.Signals
) -> None:
    folder = tmp_path / "runs" / NAME
    command = [sys.executable, "-m", "bias_bench", "run", "--backbone", "scratch:tiny", *SHORT]
    command += ["--out", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ) as process:
        deadline = time.monotonic() + 120
        while not (folder / "checkpoints" / moment).exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(how)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert model_files(folder) == model_files(finished / "runs" / NAME)
    assert results(folder) == results(finished / "runs" / NAME)


def test_own_recipe_file_trains_and_its_experiment_file_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mostly-mono.yaml"
    recipe.write_text(
        "description: d\nsettings: {training: {mixture: {mono: 0.9, cross: 0.1}}}\n", "utf-8"
    )
    short = ("--set", "training.steps=2", "--set", "training.batch_size=8")
    assert run(tmp_path, "--recipe", str(recipe), *short) == 0
    folder = tmp_path / "runs" / "mini-mostly-mono-0"
    assert run(tmp_path, str(folder / "experiment.yaml"), backbone="") == 0
    assert capsys.readouterr().err.count("unchanged, kept") == len(STAGES)


def test_recipe_on_the_command_line_outranks_the_one_of_a_file(
    finished: Path, tmp_path: Path
) -> None:
    file = finished / "runs" / NAME / "experiment.yaml"
    assert run(tmp_path, str(file), "--recipe", "zero-shot", backbone="") == 0
    assert "train" not in manifest(tmp_path / "runs" / "mini-zero-shot-0")["stages"]


def test_recipe_that_trains_needs_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--recipe", "mono", "--set", "training.sources=[]") == 2
    assert "training.sources" in capsys.readouterr().err


def test_batch_larger_than_the_data_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--recipe", "cross", "--set", "training.batch_size=500") == 3
    assert "no data set has 500 groups" in capsys.readouterr().err
