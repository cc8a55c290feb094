"""Checkpoints on their own: which one training goes on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from bias_bench.training.checkpoint import (
    Progress,
    Trained,
    load_newest,
    newest_name,
    save_checkpoint,
)


@pytest.fixture
def trained() -> Trained:
    parameter = torch.nn.Parameter(torch.zeros(2))
    return Trained({"a": parameter}, torch.optim.SGD([parameter]), {})


def test_a_checkpoint_whose_best_step_is_lost_is_skipped(
    tmp_path: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    for step, best in ((2, 2), (4, 4), (6, 4)):
        save_checkpoint(tmp_path, trained, Progress(step, best, 1.0), "digest")
    assert load_newest(tmp_path, trained, "digest") == Progress(6, 4, 1.0)
    shutil.rmtree(tmp_path / "step-000004")
    assert load_newest(tmp_path, trained, "digest") is None
    assert "the checkpoint of its best step is damaged" in capsys.readouterr().err
    save_checkpoint(tmp_path, trained, Progress(2, 2, 1.0), "digest")
    assert load_newest(tmp_path, trained, "digest") == Progress(2, 2, 1.0)


def test_checkpoints_count_by_step_also_past_six_digits(tmp_path: Path, trained: Trained) -> None:
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        save_checkpoint(tmp_path, trained, Progress(step, 0, None), "digest")
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"step-1000000", "step-1000001"}
    assert load_newest(tmp_path, trained, "digest") == Progress(1_000_001, 0, None)
    assert newest_name(tmp_path) == "step-1000001"
    assert newest_name(tmp_path / "nowhere") == "none"


@pytest.mark.parametrize("change", [{"step": 5}, {"best_loss": 0.9}, {"best_step": 3}])
def test_a_changed_number_in_its_state_is_damage(
    tmp_path: Path, trained: Trained, change: dict[str, float]
) -> None:
    path = save_checkpoint(tmp_path, trained, Progress(4, 4, 1.0), "digest") / "state.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, **change}), "utf-8")
    assert load_newest(tmp_path, trained, "digest") is None
