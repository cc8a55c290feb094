"""The training loop: learning, exact resume, early stopping, checkpoints, clear failures."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.config.training import TrainingSettings
from bias_bench.data.mini import training_topics
from bias_bench.data.pairs import Pairs, pairs_from_collection
from bias_bench.encoders.backbone import resolve_backbone
from bias_bench.errors import BiasBenchError
from bias_bench.training import loop
from bias_bench.training.build import learning_rate
from bias_bench.training.checkpoint import Progress
from bias_bench.training.job import Job
from bias_bench.training.loop import Folders, split_groups, train


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """The embedded training topics in three languages."""
    everything = pairs_from_collection(training_topics())
    few = np.isin(everything.query_language, [1, 3, 4])
    few &= np.isin(everything.candidate_language, [1, 3, 4])
    return everything.take(np.flatnonzero(few))


def job(seed: int = 0, **settings: Any) -> Job:
    backbone = resolve_backbone("scratch:tiny")
    values = {
        "steps": 12,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "checkpoint_every": 4,
        "held_out": 0.25,  # of 72 groups
        **settings,
    }
    values = {"evaluate_every": 4, **values}
    return Job(
        loaded=backbone.load(),
        profile=backbone.profile,
        settings=TrainingSettings(**values),
        seed=seed,
        device="cpu",
        bf16=False,
        digest="configuration",
    )


def folders(path: Path) -> Folders:
    return Folders(path / "train.jsonl", path / "checkpoints")


def state_of(trained: Job) -> dict[str, torch.Tensor]:
    return trained.loaded.model.state_dict()


def assert_equal(first: Job, second: Job) -> None:
    for name, value in state_of(first).items():
        assert torch.equal(value, state_of(second)[name]), name


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "train.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    trained = job()
    train(trained, pairs, folders(folder))
    return trained, folder


def test_a_few_steps_lower_the_loss(pairs: Pairs, tmp_path: Path) -> None:
    train(job(steps=100, held_out=0.0, learning_rate=3e-3), pairs, folders(tmp_path))
    losses = [row["loss"] for row in rows_of(tmp_path)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_log_has_a_row_per_step_with_terms_rate_and_languages(
    uninterrupted: tuple[Job, Path],
) -> None:
    rows = rows_of(uninterrupted[1])
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "validation" in row] == [4, 8, 12]
    for row in rows:
        assert row["terms"].keys() == {"contrastive"}
        assert row["learning_rate"] > 0
        assert set(row["query_languages"]) <= {"de", "en", "es"}


def test_same_seed_trains_the_same_encoder_and_another_does_not(
    pairs: Pairs, uninterrupted: tuple[Job, Path], tmp_path: Path
) -> None:
    again, other = job(), job(seed=1)
    train(again, pairs, folders(tmp_path / "again"))
    train(other, pairs, folders(tmp_path / "other"))
    assert_equal(again, uninterrupted[0])
    assert rows_of(tmp_path / "again") == rows_of(uninterrupted[1])
    assert rows_of(tmp_path / "other") != rows_of(uninterrupted[1])


@pytest.mark.parametrize("last", [1, 4, 6, 11])
def test_resumed_training_equals_uninterrupted_bit_for_bit(
    pairs: Pairs,
    uninterrupted: tuple[Job, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    last: int,
) -> None:
    real = loop._step

    def stop_after(*arguments: Any) -> Any:
        if arguments[-1] > last:
            raise InterruptedError
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", stop_after)
    with pytest.raises(InterruptedError):
        train(job(), pairs, folders(tmp_path))
    monkeypatch.setattr(loop, "_step", real)
    resumed = job()
    train(resumed, pairs, folders(tmp_path))
    assert_equal(resumed, uninterrupted[0])
    assert rows_of(tmp_path) == rows_of(uninterrupted[1])


def test_sigterm_saves_a_checkpoint_and_training_goes_on_from_it(
    pairs: Pairs,
    uninterrupted: tuple[Job, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = loop._step

    def terminate_in_step_six(*arguments: Any) -> Any:
        if arguments[-1] == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", terminate_in_step_six)
    with pytest.raises(KeyboardInterrupt):
        train(job(), pairs, folders(tmp_path))
    assert (tmp_path / "checkpoints" / "step-000006").is_dir()
    monkeypatch.setattr(loop, "_step", real)
    resumed = job()
    train(resumed, pairs, folders(tmp_path))
    assert "goes on after step 6" in capsys.readouterr().err
    assert_equal(resumed, uninterrupted[0])


def test_damaged_newest_checkpoint_is_skipped_with_a_warning(
    pairs: Pairs,
    uninterrupted: tuple[Job, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = loop._step

    def stop_after_ten(*arguments: Any) -> Any:
        if arguments[-1] > 10:
            raise InterruptedError
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", stop_after_ten)
    with pytest.raises(InterruptedError):
        train(job(), pairs, folders(tmp_path))
    newest = tmp_path / "checkpoints" / "step-000008" / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    monkeypatch.setattr(loop, "_step", real)
    resumed = job()
    train(resumed, pairs, folders(tmp_path))
    error = capsys.readouterr().err
    assert "step-000008: damaged checkpoint, skipped" in error
    assert "goes on after step 4" in error
    assert_equal(resumed, uninterrupted[0])


def test_checkpoint_of_another_configuration_is_not_resumed(
    pairs: Pairs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(job(steps=4), pairs, folders(tmp_path))
    train(job(steps=4)._replace(digest="another"), pairs, folders(tmp_path))
    assert "another configuration, skipped" in capsys.readouterr().err


def test_finished_training_does_no_step_again(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = job(), job()
    train(first, pairs, folders(tmp_path))
    monkeypatch.setattr(loop, "_step", lambda *_: pytest.fail("a step was done again"))
    train(second, pairs, folders(tmp_path))
    assert_equal(first, second)


def test_early_stopping_ends_with_the_best_parameters(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 0.5, 0.7, 0.6, 0.8])
    monkeypatch.setattr(loop, "_validate", lambda *_: next(losses))
    stopped = job(steps=40, patience=2)
    progress = train(stopped, pairs, folders(tmp_path))
    assert progress == Progress(16, 8, 0.5)
    reference = job(steps=40, patience=2)
    losses = iter([1.0, 0.5])
    real = loop._step

    def stop_after_eight(*arguments: Any) -> Any:
        if arguments[-1] > 8:
            raise InterruptedError
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", stop_after_eight)
    with pytest.raises(InterruptedError):
        train(reference, pairs, folders(tmp_path / "reference"))
    assert_equal(stopped, reference)


def test_only_the_newest_two_checkpoints_and_the_best_are_kept(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.1, 0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr(loop, "_validate", lambda *_: next(losses))
    train(job(steps=20, patience=9), pairs, folders(tmp_path))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000004", "step-000016", "step-000020"]


def test_nan_loss_stops_with_step_pairs_and_checkpoint(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = job()
    real = loop._step

    def poison_in_step_six(*arguments: Any) -> Any:
        if arguments[-1] == 6:
            broken.loaded.model.embeddings.LayerNorm.weight.data.fill_(float("nan"))
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", poison_in_step_six)
    with pytest.raises(BiasBenchError, match=r"loss is nan at step 6 \(pairs .*step-000004"):
        train(broken, pairs, folders(tmp_path))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_gradient_that_is_not_finite_stops_before_the_step_and_keeps_the_last_checkpoint(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool, value: float
) -> None:
    broken = job()._replace(bf16=bf16)
    weight = broken.loaded.model.embeddings.LayerNorm.weight
    real, before = loop._gradients, []

    def poison_in_step_eight(run: Any, rows: np.ndarray, step: int, number: int) -> Any:
        losses = real(run, rows, step, number)
        if step == 8:  # a checkpoint is due after it
            before.append(weight.detach().clone())
            weight.grad[0] = value
        return losses

    monkeypatch.setattr(loop, "_gradients", poison_in_step_eight)
    message = r"gradient of encoder is (inf|nan) at step 8 \(pairs .*step-000004"
    with pytest.raises(BiasBenchError, match=message):
        train(broken, pairs, folders(tmp_path))
    assert torch.equal(weight, before[0]), "nothing was stepped"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000004"]
    monkeypatch.setattr(loop, "_gradients", real)
    resumed = job()._replace(bf16=bf16)
    train(resumed, pairs, folders(tmp_path))
    assert [row["step"] for row in rows_of(tmp_path)] == list(range(1, 13))
    assert all(torch.isfinite(value).all() for value in state_of(resumed).values())


def test_the_log_is_added_to_and_cut_where_training_goes_on(
    pairs: Pairs,
    uninterrupted: tuple[Job, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, expected = tmp_path / "train.jsonl", (uninterrupted[1] / "train.jsonl").read_bytes()
    log.write_bytes(b"of an earlier training\n" * 99)
    real_step, real_append, appended = loop._step, loop.append_log, []

    def killed_after_ten(*arguments: Any) -> Any:
        if arguments[-1] > 10:
            raise InterruptedError
        return real_step(*arguments)

    def append(path: Path, rows: list[dict[str, Any]]) -> None:
        appended.append([row["step"] for row in rows])
        real_append(path, rows)

    monkeypatch.setattr(loop, "append_log", append)
    monkeypatch.setattr(loop, "_step", killed_after_ten)
    with pytest.raises(InterruptedError):
        train(job(), pairs, folders(tmp_path))
    assert log.read_bytes() == b"".join(expected.splitlines(keepends=True)[:8])
    with log.open("ab") as stream:  # killed before the checkpoint, while a row was written
        stream.write(expected.splitlines(keepends=True)[8] + b'{"learning_ra')
    place = log.stat().st_ino
    monkeypatch.setattr(loop, "_step", real_step)
    train(job(), pairs, folders(tmp_path))
    assert log.read_bytes() == expected
    assert log.stat().st_ino == place, "written once, not again at every checkpoint"
    assert appended == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_groups_are_held_out_whole_and_by_seed(pairs: Pairs) -> None:
    training, held_out = split_groups(pairs, 0.25, seed=0)
    assert not set(training.group.tolist()) & set(held_out.group.tolist())
    assert len(np.unique(held_out.group)) == 18
    assert len(training) + len(held_out) == len(pairs)
    again, other = (split_groups(pairs, 0.25, seed=seed)[1] for seed in (0, 1))
    assert (again.group == held_out.group).all()
    assert set(other.group.tolist()) != set(held_out.group.tolist())
    assert len(split_groups(pairs, 0.0, seed=0)[1]) == 0


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (7, 0.0), (7, 1.0), (300, 0.06)])
def test_the_learning_rate_is_that_of_transformers_linear_schedule(
    steps: int, warmup: float
) -> None:
    from transformers import get_linear_schedule_with_warmup

    settings = TrainingSettings(steps=steps, learning_rate=0.3, warmup=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    warm = max(1, round(warmup * steps))
    schedule = get_linear_schedule_with_warmup(optimizer, warm, steps + 1)  # theirs starts with 0
    for step in range(1, steps + 1):
        optimizer.step()
        schedule.step()
        assert learning_rate(settings, step) == pytest.approx(schedule.get_last_lr()[0])
    assert learning_rate(settings, warm) == 0.3
    assert learning_rate(settings, steps) > 0


def test_frozen_word_embeddings_stay_as_they_were(pairs: Pairs, tmp_path: Path) -> None:
    frozen = job(steps=4, freeze_word_embeddings=True)
    before = frozen.loaded.model.embeddings.word_embeddings.weight.clone()
    train(frozen, pairs, folders(tmp_path))
    assert torch.equal(frozen.loaded.model.embeddings.word_embeddings.weight, before)


def test_gradient_cache_trains_the_same_encoder(
    pairs: Pairs, uninterrupted: tuple[Job, Path], tmp_path: Path
) -> None:
    cached = job(gradient_cache=True)
    train(cached, pairs, folders(tmp_path))
    for name, value in state_of(cached).items():
        torch.testing.assert_close(value, state_of(uninterrupted[0])[name], atol=2e-4, rtol=1e-2)


def test_learned_temperature_is_trained_and_resumed(pairs: Pairs, tmp_path: Path) -> None:
    settings = {"contrastive": {"learned_temperature": True}, "steps": 8}
    train(job(**settings), pairs, folders(tmp_path))
    from safetensors.torch import load_file

    values = load_file(tmp_path / "checkpoints" / "step-000008" / "model.safetensors")
    assert values["contrastive.log_scale"].item() != pytest.approx(-np.log(0.03), abs=1e-6)


def test_training_leaves_the_global_random_state_alone(pairs: Pairs, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(job(steps=2), pairs, folders(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_takes_smaller_batches_where_each_language_holds_out_few(
    pairs: Pairs, tmp_path: Path
) -> None:
    own = pairs.query_language == pairs.candidate_language
    codes = np.unique(pairs.query_language)[:2]
    apart = pairs.take(
        np.flatnonzero(own & (pairs.query_language == codes[pairs.group % len(codes)]))
    )
    settings = {"mixture": {"mono": 1.0}, "batch_size": 16, "held_out": 0.25, "steps": 4}
    train(job(**settings), apart, folders(tmp_path))
    assert "validation" in rows_of(tmp_path)[-1]
