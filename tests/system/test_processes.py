"""Several processes: the same steps, vectors and rankings as in one, and nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bias_bench.cli import run_command
from bias_bench.encoders.blocks import BLOCK
from bias_bench.system.launch import started_number, started_rank
from bias_bench.system.processes import ALONE, Processes
from tests.support.generated_miracl import Plan, generate
from tests.support.runs import manifest, trec_files

SETTINGS = {
    "steps": 4,
    "batch_size": 8,
    "held_out": 0.25,
    "evaluate_every": 2,
    "checkpoint_every": 2,
    "chunk_tokens": 64,
    "learning_rate": 1e-3,
}


def command(out: Path, recipe: str, *extra: str) -> list[str]:
    settings = [
        part for key, value in SETTINGS.items() for part in ("--set", f"training.{key}={value}")
    ]
    return [
        "-m", "bias_bench", "train", "mini", "--recipe", recipe, "--backbone", "scratch:tiny",
        *settings, *extra, "--out", str(out), "--reports", str(out / "reports"),
    ]  # fmt: skip


def start(
    arguments: list[str], processes: int, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    return subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "29533", **(variables or {})},
        timeout=600,
    )


def rows(out: Path, recipe: str) -> list[dict[str, Any]]:
    path = out / f"mini-{recipe}-0" / "train.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def weights(out: Path, recipe: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(out / f"mini-{recipe}-0" / "model" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["hybrid", "hybrid-adversarial", "hybrid-perturbed"])
def test_two_processes_take_the_steps_of_one(tmp_path: Path, recipe: str) -> None:
    for name, number in (("one", 1), ("two", 2)):
        done = start(command(tmp_path / name, recipe), number)
        assert done.returncode == 0, done.stderr
    one, two = rows(tmp_path / "one", recipe), rows(tmp_path / "two", recipe)
    assert len(one) == len(two) == 4
    for first, second in zip(one, two, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=2e-3)
        assert second["query_languages"] == first["query_languages"]
        assert ("validation" in first) == (first["step"] % 2 == 0)
        if "validation" in first:
            assert second["validation"] == pytest.approx(first["validation"], rel=2e-3)
    found = weights(tmp_path / "two", recipe)
    for name, value in weights(tmp_path / "one", recipe).items():
        torch.testing.assert_close(found[name], value, atol=3e-3, rtol=2e-2)
    if recipe == "hybrid-adversarial":
        name = f"mini-{recipe}-0/negatives.jsonl.gz"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["hybrid", "hybrid-perturbed"])
@pytest.mark.parametrize("cached", ["true", "false"])
def test_a_process_without_a_chunk_of_a_batch_contributes_nothing(
    tmp_path: Path, recipe: str, cached: str
) -> None:
    whole = ("--set", "training.chunk_tokens=100000", "--set", f"training.gradient_cache={cached}")
    for name, number in (("one", 1), ("two", 2)):
        done = start(command(tmp_path / name, recipe, *whole), number)
        assert done.returncode == 0, done.stderr
    one, two = rows(tmp_path / "one", recipe), rows(tmp_path / "two", recipe)
    assert [row["step"] for row in two] == [1, 2, 3, 4]
    for first, second in zip(one, two, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=2e-3)
    found = weights(tmp_path / "two", recipe)
    for name, value in weights(tmp_path / "one", recipe).items():
        torch.testing.assert_close(found[name], value, atol=3e-3, rtol=2e-2)


@pytest.mark.slow
def test_what_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    arguments = command(tmp_path, "hybrid-hard")
    arguments[2] = "mine"
    done = start(arguments, 2)
    assert done.returncode != 0
    assert "mine: several processes share training, encoding and dense search alone" in done.stderr


def searched(out: Path, benchmark: str, processes: int, *extra: str) -> dict[str, bytes]:
    """Everything that `search` leaves, of vectors of its own."""
    arguments = [
        "-m", "bias_bench", "search", benchmark, "--backbone", "scratch:tiny", *extra,
        "--out", str(out), "--reports", str(out / "reports"),
    ]  # fmt: skip
    done = start(arguments, processes, {"BIASBENCH_CACHE": str(out / "cache")})
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in out.glob("*/manifest.json"))
    assert manifest(folder)["status"] == "stopped after search"
    return {**trec_files(folder), "ranks": (folder / "ranks.parquet").read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["miracl", "mini"])
def test_two_processes_encode_and_search_what_one_does(tmp_path: Path, benchmark: str) -> None:
    """The corpus is searched in blocks, the pools of mini whole."""
    passages = BLOCK + 2_000
    plan = Plan(passages, ["sw"], topics=20, words=(2, 4))
    generate(plan, tmp_path / "data" / "miracl")
    data = ("--data-dir", str(tmp_path / "data"), "--recipe", "zero-shot")
    one = searched(tmp_path / "one", benchmark, 1, *data)
    two = searched(tmp_path / "two", benchmark, 2, *data)
    assert one == two
    # no text was encoded twice
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "two" / "cache" / "vectors").glob("*.json")
    ]
    assert len(records) == (2 if benchmark == "miracl" else 22)


@pytest.mark.slow
def test_two_processes_train_encode_and_search_in_one_go(tmp_path: Path) -> None:
    arguments = command(tmp_path, "hybrid")
    arguments[2] = "run"
    done = start(arguments, 2)
    assert done.returncode == 0, done.stderr
    found = manifest(tmp_path / "mini-hybrid-0")
    assert found["status"] == "complete"
    assert {"train", "search", "score", "metrics"} <= set(found["stages"])
    again = start(arguments, 2)  # everything is kept, and nobody waits for anybody
    assert again.returncode == 0, again.stderr
    assert "search: unchanged, kept" in again.stderr


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost",
            "MASTER_PORT": "29500"}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, (0, 1)),
        (TORCHRUN, (1, 2)),
        *(({**TORCHRUN, name: value}, (0, 1)) for name in TORCHRUN for value in ("", "x y")
          if (name, value) != ("MASTER_ADDR", "x y")),
        ({"RANK": "1"}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (0, 1)),
        ({**TORCHRUN, "RANK": "2"}, (0, 1)),
    ],
)  # fmt: skip
def test_a_process_is_one_of_several_only_where_torchrun_says_all_of_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], place: tuple[int, int]
) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (started_rank(), started_number()) == place


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "4"}, TORCHRUN])
def test_commands_that_share_no_work_speak_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_command(["data", "list"]) == 0
    assert "xquad-r" in capsys.readouterr().out
    if variables != TORCHRUN:
        assert run_command(["train", "mini", "--backbone", "scratch:tiny", "--dry-run"]) == 0
        assert "mini-hybrid-0" in capsys.readouterr().out


def test_chunks_are_shared_without_rest_or_repetition() -> None:
    chunks = [np.arange(number, number + 2) for number in range(0, 14, 2)]
    shares = [Processes(rank, 3).share(chunks) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(7))
    assert [Processes(rank, 3).share(chunks[:2]) for rank in range(3)] == [[0], [1], []]


def test_alone_nothing_is_gathered_and_the_graph_is_kept() -> None:
    own = torch.randn(3, 2, requires_grad=True)
    whole = ALONE.whole(own, np.array([2, 0, 1]), 3)
    torch.testing.assert_close(whole[2], own[0])
    whole[0].sum().backward()
    assert own.grad is not None
    assert own.grad[1].tolist() == [1, 1]
    assert not own.grad[[0, 2]].any()
