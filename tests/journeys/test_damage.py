"""Files that rot: found by their checksums, rebuilt where they can be, else named in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.encoders.cached import store_vectors
from bias_bench.system.files import is_whole, remove_stale_files
from tests.cli.test_cli_failures import assert_one_error
from tests.support import faults
from tests.support.kills import MANY, NAME, RUN, Undisturbed
from tests.support.runs import manifest

Damage = Callable[[Path], None]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


damages = pytest.mark.parametrize("damage", [flipped, truncated, emptied])
some_damages = damages if MANY else pytest.mark.parametrize("damage", [flipped])  # of whole runs


@pytest.fixture(scope="module")
def done(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its cache; to be copied."""
    folder = tmp_path_factory.mktemp("done")
    assert faults.run(RUN, folder).code == 0
    assert undisturbed.differences(folder) == []
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.mark.slow
@some_damages
def test_every_damaged_result_is_found_and_made_again(
    undisturbed: Undisturbed, copy: Path, damage: Damage
) -> None:
    folder = copy / "runs" / NAME
    for path in files(folder):
        if path.name not in ("manifest.json", "experiment.yaml"):
            damage(path)
    ended = faults.run(RUN, copy)
    assert ended.code == 0, ended.err
    assert "changed since it was written" in ended.err
    assert undisturbed.differences(copy) == []


@pytest.mark.slow
@some_damages
def test_every_damaged_file_of_the_cache_is_found_and_made_again(
    undisturbed: Undisturbed, copy: Path, damage: Damage
) -> None:
    shutil.rmtree(copy / "runs")
    for path in files(copy / "cache"):
        damage(path)
    ended = faults.run(RUN, copy)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert undisturbed.differences(copy) == []


def test_a_damaged_record_of_cached_vectors_counts_as_damage(tmp_path: Path) -> None:
    import numpy as np

    for content in (b"", b"{}", b"[1]", b'{"sha256": 3}', b"\xff", b"[" * 100_000):
        store_vectors(tmp_path, "key", np.eye(3, dtype=np.float32), "label")
        assert is_whole(tmp_path / "key.npy")
        (tmp_path / "key.json").write_bytes(content)
        assert is_whole(tmp_path / "key.npy") is False


@pytest.mark.slow
@some_damages
@pytest.mark.parametrize("name", ["manifest.json", "experiment.yaml"])
def test_a_run_whose_record_is_damaged_is_refused_and_computed_anew_on_request(
    undisturbed: Undisturbed, copy: Path, damage: Damage, name: str
) -> None:
    damage(copy / "runs" / NAME / name)
    refused = faults.run(RUN, copy)
    assert refused.code in (2, 3)
    assert_one_error(refused.err, name if refused.code == 3 else NAME, "--policy always")
    ended = faults.run([*RUN, "--policy", "always"], copy)
    assert ended.code == 0, ended.err
    assert undisturbed.differences(copy) == []


@damages
@pytest.mark.parametrize(
    "name",
    [
        "manifest.json", "experiment.yaml", "metrics.json", "ranks.parquet", "scores.parquet",
        "examples.json",
    ],
)  # fmt: skip
def test_readers_of_a_finished_run_name_its_damaged_file(
    native: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Damage, name: str
) -> None:
    for run in ("sound", "other"):
        shutil.copytree(native, tmp_path / run)
    damage(tmp_path / "other" / name)
    compare = ["compare", str(tmp_path / "sound"), str(tmp_path / "other")]
    report = ["report", str(tmp_path / "other"), "--out", str(tmp_path / "reports")]
    for command in (compare, report):
        code = run_command(command)
        captured = capsys.readouterr()
        if (name, command[0]) in {("examples.json", "compare"), ("scores.parquet", "report")}:
            assert code == 0  # does not read it
        else:
            assert code == 3
            assert captured.out == ""
            assert_one_error(captured.err, f"{name}: damaged")


def killed_while_training(undisturbed: Undisturbed, folder: Path, step: int) -> Path:
    """A run that was killed once the checkpoint of `step` was there; returns its folder."""
    ending = f"checkpoints/step-{step:06d}"
    place = next(
        number
        for number, event in enumerate(undisturbed.events)
        if event.what == "os.rename" and event.path.endswith(ending)
    )
    assert faults.run(RUN, folder, kill_at=place + 1).code == -9
    return folder / "runs" / NAME


@pytest.mark.slow
@some_damages
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    undisturbed: Undisturbed, tmp_path: Path, damage: Damage, name: str
) -> None:
    folder = killed_while_training(undisturbed, tmp_path, 4)
    damage(folder / "checkpoints" / "step-000004" / name)
    ended = faults.run(RUN, tmp_path)
    assert ended.code == 0, ended.err
    assert "step-000004: damaged checkpoint, skipped" in ended.err
    assert undisturbed.differences(tmp_path) == []


@pytest.mark.slow
@some_damages
def test_damaged_negatives_are_mined_again(
    undisturbed: Undisturbed, tmp_path: Path, damage: Damage
) -> None:
    folder = killed_while_training(undisturbed, tmp_path, 2)
    damage(folder / "negatives.jsonl.gz")
    ended = faults.run(RUN, tmp_path)
    assert ended.code == 0, ended.err
    assert "negatives.jsonl.gz changed since it was written" in ended.err
    assert undisturbed.differences(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncated, emptied, Path.unlink])
def test_a_damaged_log_of_training_is_refused_in_one_line(
    undisturbed: Undisturbed, tmp_path: Path, damage: Damage
) -> None:
    folder = killed_while_training(undisturbed, tmp_path, 4)
    damage(folder / "train.jsonl")
    ended = faults.run(RUN, tmp_path)
    assert ended.code == 3
    assert_one_error(ended.err, "train.jsonl: damaged", "checkpoints to train from scratch")
    shutil.rmtree(folder / "checkpoints")
    assert faults.run(RUN, tmp_path).code == 0
    assert undisturbed.differences(tmp_path) == []


@pytest.mark.slow
@some_damages
def test_the_damaged_encoder_of_another_run_is_no_backbone(copy: Path, damage: Damage) -> None:
    model = copy / "runs" / NAME / "model"
    for name in ("model.safetensors", "tokenizer.json"):
        sound = (model / name).read_bytes()
        damage(model / name)
        other = [
            "run",
            "mini",
            "--backbone",
            str(model),
            "--recipe",
            "zero-shot",
            "--name",
            "other",
        ]
        ended = faults.run(other, copy)
        assert ended.code == 3, ended.err
        assert_one_error(ended.err, f"{name}: damaged", "repeat the run")
        (model / name).write_bytes(sound)


def test_only_old_half_written_files_of_a_shared_folder_are_removed(tmp_path: Path) -> None:
    import os
    import time

    old, new, other = (tmp_path / name for name in (".writing-a.npy", ".writing-b.npy", "c.npy"))
    for path in (old, new, other):
        path.write_bytes(b"")
    long_ago = time.time() - 90_000
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    remove_stale_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-b.npy", "c.npy"]


def test_a_manifest_is_checked_by_its_own_checksum(native: Path, tmp_path: Path) -> None:
    content = (native / "manifest.json").read_text("utf-8")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text(content.replace('"mini"', '"nimi"', 1), "utf-8")
    assert run_command(["report", str(folder)]) == 3
    assert manifest(native)["benchmark"] == "mini"
