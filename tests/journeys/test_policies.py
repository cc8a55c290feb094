"""Every policy, for every stage of a run that trains with mined negatives, in every state of its
folder: what is done, what is refused, and that nothing else is touched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.evaluation.run_record import RunRecord
from tests.support.runs import BACKBONE

NAME = "mini-hybrid-hard-0"
STAGES = (
    "audit", "mine", "train", "encode", "search", "score", "robustness", "probe", "metrics",
)  # fmt: skip
SHORT = ["training.steps=2", "training.batch_size=8", "robustness.strengths=[light]"]
FEW = "languages=[de, en]"


def command(out: Path, *arguments: str) -> list[str]:
    settings = [part for setting in (*SHORT, FEW) for part in ("--set", setting)]
    folders = ("--out", str(out / "runs"), "--reports", str(out / "reports"))
    return [
        "run", "mini", "--recipe", "hybrid-hard", "--backbone", BACKBONE, *settings, *folders,
        *arguments,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("complete")
    assert run_command(command(out)) == 0
    return out


@pytest.fixture
def finished(complete: Path, tmp_path: Path) -> Path:
    shutil.copytree(complete, tmp_path / "out")
    return tmp_path / "out"


def tree(out: Path) -> dict[str, tuple[bytes, int]]:
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def made(out: Path, stage: str) -> list[str]:
    """The files of a stage, in the order of their names."""
    return sorted(RunRecord.load(out / "runs" / NAME).stages[stage].outputs)


def kept(said: str) -> list[str]:
    return [stage for stage in STAGES if f"{stage}: unchanged, kept" in said]


def lose(out: Path, stage: str) -> None:
    (out / "runs" / NAME / made(out, stage)[0]).unlink()


def damage(out: Path, stage: str) -> None:
    path = out / "runs" / NAME / made(out, stage)[-1]
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def never_done(out: Path, stage: str) -> None:
    record = RunRecord.load(out / "runs" / NAME)
    stages = {name: done for name, done in record.stages.items() if name != stage}
    record.model_copy(update={"stages": stages}).save(out / "runs" / NAME)


STATES: dict[str, Callable[[Path, str], None]] = {
    "lost": lose, "damaged": damage, "not done": never_done,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_in_any_state_is_made_again_refused_or_left_alone(
    finished: Path, capsys: pytest.CaptureFixture[str], stage: str, state: str
) -> None:
    whole = tree(finished)
    STATES[state](finished, stage)
    before = tree(finished)
    for policy, message in (("never", "holds results"), ("only-cache", f"stage '{stage}'")):
        assert run_command(command(finished, "--policy", policy)) == 1
        assert message in capsys.readouterr().err
        assert tree(finished) == before
    assert run_command(command(finished, "--until", stage)) == 0
    said = capsys.readouterr().err
    assert stage not in kept(said)
    assert RunRecord.load(finished / "runs" / NAME).complete
    assert run_command(command(finished)) == 0
    assert kept(capsys.readouterr().err) == list(STAGES)
    after = tree(finished)
    same = [name for name in whole if not name.endswith(("manifest.json", "train.jsonl"))]
    changed = [name for name in same if after[name][0] != whole[name][0]]
    assert all(name.endswith(("metrics.json", ".html")) for name in changed)  # they hold seconds


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["mine", "train", "encode", "search"])
def test_a_finished_run_can_be_compared_after_any_short_command(
    finished: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    folder = finished / "runs" / NAME
    shutil.copytree(folder, finished / "runs" / "other")
    before = tree(folder)
    short = [stage, *command(finished)[1:]]
    assert run_command(short) == 0
    assert capsys.readouterr().out.split() == [str(folder)]
    after = tree(folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {
        str(folder / "manifest.json"), str(folder / "experiment.yaml"),
    }  # fmt: skip
    assert run_command(["compare", str(folder), str(finished / "runs" / "other")]) == 0


@pytest.mark.slow
def test_a_finished_run_audits_mines_and_perturbs_nothing_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command(finished)) == 0
    said = capsys.readouterr().err
    assert kept(said) == list(STAGES)
    for work in (
        "zero-shot audit",
        "hard negatives mined",
        "perturb:",
        "texts in",
        "steps in",
        "training data",
    ):
        assert work not in said


@pytest.mark.slow
def test_always_takes_no_checkpoint_no_negatives_and_no_vectors_of_before(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished / "runs" / NAME
    before = {name: folder / name for name in ("negatives.jsonl.gz", "model/model.safetensors")}
    bytes_before = {name: path.read_bytes() for name, path in before.items()}
    (folder / "checkpoints" / "step-000001").mkdir(parents=True)
    assert run_command(command(finished, "--policy", "always")) == 0
    said = capsys.readouterr().err
    assert kept(said) == []
    for work in ("zero-shot audit", "hard negatives mined", "train: 2 steps", "perturb"):
        assert work in said
    assert "going on" not in said
    assert not (folder / "checkpoints").exists()
    assert {name: path.read_bytes() for name, path in before.items()} == bytes_before
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]


@pytest.mark.slow
def test_stages_that_others_computed_keep_what_is_said_of_their_machine(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished / "runs" / NAME
    before = RunRecord.load(folder).stages
    monkeypatch.setattr("bias_bench.system.provenance.processor", lambda: "Abacus")
    (folder / "metrics.json").unlink()
    assert run_command(command(finished)) == 0
    after = RunRecord.load(folder).stages
    machines = {name: done.environment.host.processor for name, done in after.items()
                if done.environment}  # fmt: skip
    assert {name for name, machine in machines.items() if machine == "Abacus"} == {
        "metrics", "report",
    }  # fmt: skip
    assert after["search"] == before["search"]
    page = (finished / "reports" / f"{NAME}.html").read_text(encoding="utf-8")
    assert "Machine (metrics" in page
    assert "Machine (audit, mine, train" in page
