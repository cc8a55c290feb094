"""A run of one kind over the folder of another: refused unasked, replaced whole when asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.evaluation.run_record import RunRecord
from tests.support.runs import BACKBONE

FEW = ("--set", "languages=[de, en]")


def command(kind: str, out: Path) -> list[str]:
    """What makes a folder of that kind, called `it`, in `out`."""
    runs = out / "runs"
    place = ["--out", str(runs), "--name", "it"]
    reports = ["--reports", str(out / "reports")]
    first, second = runs / "first", runs / "second"
    return {
        "dense": ["run", "mini", "--recipe", "zero-shot", "--backbone", BACKBONE, *FEW, *reports],
        "lexical": ["run", "mini", "--recipe", "bm25", *FEW, *reports],
        "fusion": ["run", "mini", "--recipe", f"fusion:{first}+{second}", *reports],
        "score": ["score", "--run", str(first / "trec"), "--qrels", str(first)],
    }[kind] + place


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs to fuse and to score, and a folder of each kind in a place of its own."""
    out = tmp_path_factory.mktemp("kinds")
    for name, recipe in (("first", "zero-shot"), ("second", "bm25")):
        encoder = ["--backbone", BACKBONE] if recipe == "zero-shot" else []
        made = ["run", "mini", "--recipe", recipe, *encoder, *FEW, "--name", name]
        folders = ["--out", str(out / "runs"), "--reports", str(out / "reports")]
        assert run_command(made + folders) == 0
    for kind in KINDS:
        assert run_command(command(kind, out)) == 0
        (out / "runs" / "it").rename(out / kind)
    return out


KINDS = ("dense", "lexical", "fusion", "score")


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_a_folder_of_another_kind_is_kept_unless_it_is_to_be_replaced(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str, new: str
) -> None:
    if there == new:
        return
    for name in ("first", "second"):
        shutil.copytree(folders / "runs" / name, tmp_path / "runs" / name)
    place = tmp_path / "runs" / "it"
    shutil.copytree(folders / there, place)
    before = files(place)
    assert run_command(command(new, tmp_path)) == 2
    said = capsys.readouterr().err
    assert "give another --name" in said
    assert "damaged" not in said
    assert files(place) == before
    asked = [*command(new, tmp_path), "--policy", "always"]
    if new == "score" and there != "fusion":
        assert run_command(asked) == 2  # rankings of others never replace a run
        assert files(place) == before
        return
    assert run_command(asked) == 0
    whole = files(folders / new)
    assert files(place).keys() == whole.keys()
    for name in ("ranks.parquet", "scores.parquet"):
        assert files(place)[name] == whole[name]
    assert RunRecord.load(place).complete


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["manifest.json", "experiment.yaml", "ranks.parquet"])
def test_a_damaged_folder_can_be_made_again(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    for run in ("first", "second"):
        shutil.copytree(folders / "runs" / run, tmp_path / "runs" / run)
    place = tmp_path / "runs" / "it"
    shutil.copytree(folders / kind, place)
    (place / name).write_bytes(b"\xff\x00")
    if name == "manifest.json":
        assert run_command(command(kind, tmp_path)) == 3
        assert "--policy always" in capsys.readouterr().err
    assert run_command([*command(kind, tmp_path), "--policy", "always"]) == 0
    whole = files(folders / kind)
    assert files(place).keys() == whole.keys()
    for table in ("ranks.parquet", "scores.parquet"):
        assert files(place)[table] == whole[table]
    assert RunRecord.load(place).complete
