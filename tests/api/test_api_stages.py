"""`train`, `mine` and `score` of the Python API do what their commands do; the names it has."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import bias_bench
from bias_bench import UsageError, mine, score, train
from bias_bench.cli import run_command
from tests.support.external_rankings import RUN, Files
from tests.support.helpers import run_text
from tests.support.runs import BACKBONE, results

SHORT = {"training.steps": 3, "training.batch_size": 8, "training.sources": ["mini"]}


def test_every_name_exists_and_is_told() -> None:
    for name in bias_bench.__all__:
        assert inspect.getdoc(getattr(bias_bench, name)), name
    assert set(bias_bench.__all__) <= set(dir(bias_bench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(bias_bench, "nothing")  # noqa: B009 - a type checker knows that it is not there


def test_mining_and_training_leave_what_the_commands_leave(tmp_path: Path) -> None:
    mined = mine("mini", backbone=BACKBONE, settings=SHORT, out=tmp_path / "python")
    trained = train("mini", "hybrid-hard", backbone=BACKBONE, settings=SHORT, out=mined.parents[1])
    assert (mined.name, trained.name) == ("negatives.jsonl.gz", "model")
    assert mined.parent == trained.parent == tmp_path / "python" / "mini-hybrid-hard-0"
    options = [part for key in ("steps=3", "batch_size=8") for part in ("--set", f"training.{key}")]
    out = ("--backbone", BACKBONE, "--out", str(tmp_path), "--set", "training.sources=[mini]")
    assert run_command(["train", "mini", "--recipe", "hybrid-hard", *options, *out]) == 0
    for path in (mined, trained / "model.safetensors"):
        same = tmp_path / path.relative_to(tmp_path / "python")
        assert path.read_bytes() == same.read_bytes()


@pytest.mark.parametrize(("work", "stage"), [(mine, "mine"), (train, "train")])
def test_a_recipe_without_that_stage_is_refused(work: object, stage: str, tmp_path: Path) -> None:
    assert callable(work)
    with pytest.raises(UsageError, match=f"no stage '{stage}', only encode, search"):
        work("mini", "zero-shot", backbone=BACKBONE, out=tmp_path)


def test_scoring_gives_the_run_of_the_command(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.write_example()
    assert files.score("--system", "other") == 0
    run = score(tmp_path / "a.run", tmp_path / "a.qrels", system="other", out=tmp_path / "python")
    assert run.system == "other#0"
    assert results(run.folder) == results(files.out / run.name)
    english = files.write("en.run", run_text({key: RUN[key] for key in ("en:t1", "en:t2")}))
    again = score({"en-all": english}, run, name="again", out=tmp_path, depth=2)
    assert (again.benchmark, again.settings, again.metrics.cutoff) == ("a", ["en-all"], 2)
