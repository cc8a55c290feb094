"""Training with perturbed embeddings or in several processes, stopped and gone on with, and what
the encoder that it leaves does on its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bias_bench.cli import run_command
from bias_bench.evaluation.run_record import RunRecord
from tests.support.runs import BACKBONE, trec_files

FEW = ("--set", "languages=[de, en]")
PERTURBATIONS = {
    "fgm": "{method: fgm}",
    "pgd": "{method: pgd}",
    "freelb": "{method: freelb}",
    "smart": "{method: smart}",
}


def train(out: Path, *arguments: str) -> list[str]:
    return [
        "run", "mini", "--recipe", "hybrid", "--backbone", BACKBONE, *FEW,
        "--set", "training.batch_size=8", "--set", "encoding.precision=float32",
        "--out", str(out / "runs"), "--reports", str(out / "reports"), *arguments,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", PERTURBATIONS)
def test_an_encoder_trained_on_perturbed_embeddings_is_the_same_on_its_own(
    tmp_path: Path, method: str
) -> None:
    perturbed = f"training.terms.perturbation={PERTURBATIONS[method]}"
    steps = ("--set", "training.steps=2", "--set", "training.stored_precision=float32")
    assert run_command(train(tmp_path, *steps, "--set", perturbed)) == 0
    folder = tmp_path / "runs" / "mini-hybrid-0"
    assert RunRecord.load(folder).complete
    assert (folder / "robustness.parquet").is_file()
    alone = [
        "run", "mini", "--recipe", "zero-shot", "--backbone", str(folder / "model"), *FEW,
        "--set", "encoding.precision=float32", "--out", str(tmp_path / "runs"), "--name", "alone",
        "--reports", str(tmp_path / "reports"),
    ]  # fmt: skip
    assert run_command(alone) == 0
    own, other = trec_files(folder), trec_files(tmp_path / "runs" / "alone")
    assert own.keys() == other.keys()
    for name in ("ranks.parquet", "robustness.parquet"):
        assert (folder / name).read_bytes() == (tmp_path / "runs" / "alone" / name).read_bytes()


def start(arguments: list[str], processes: int) -> subprocess.Popen[bytes]:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), "-m", "bias_bench", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "29547"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_goes_on_in_as_many_processes_to_the_same_rankings(
    tmp_path: Path, processes: int
) -> None:
    steps = ("--set", "training.steps=12", "--set", "training.checkpoint_every=2")
    assert start(train(tmp_path / "whole", *steps), processes).wait(600) == 0
    folder = tmp_path / "cut" / "runs" / "mini-hybrid-0"
    cut = start(train(tmp_path / "cut", *steps), processes)
    deadline = time.monotonic() + 300
    while not list(folder.glob("checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    started = psutil.Process(cut.pid).children(recursive=True)  # of torchrun, each in a session
    for process in (*started, psutil.Process(cut.pid)):
        process.kill()
    cut.wait(60)
    assert "metrics" not in RunRecord.load(folder).stages
    assert start(train(tmp_path / "cut", *steps), processes).wait(600) == 0
    assert RunRecord.load(folder).complete
    other = tmp_path / "whole" / "runs" / "mini-hybrid-0"
    assert trec_files(folder) == trec_files(other)
    assert (folder / "ranks.parquet").read_bytes() == (other / "ranks.parquet").read_bytes()
