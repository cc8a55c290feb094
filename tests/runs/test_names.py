"""Names of runs and pages: made of any folder's name, and two folders never share one silently."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bias_bench.config.experiment import experiment_yaml, load_recipe
from bias_bench.errors import UsageError
from bias_bench.report.index_page import write_index
from bias_bench.report.run_content import read_run_content
from bias_bench.report.run_page import write_run_page
from bias_bench.runs.experiments import make_experiments
from bias_bench.runs.folder import RunOptions, checked_folder, require_same_experiment, run_name
from bias_bench.system.files import plain_name
from tests.support.comparisons import make_run
from tests.support.report_pages import content

ODD = [
    "my bench",
    "数据集",
    "数据库",
    "été",
    "ete!",
    "-x",
    ".x",
    "a/b",
    "~",
    "x" * 300,
    "x" * 301,
    "",
]


@pytest.mark.parametrize("name", ["xquad-r", "a", "v1.0_final", "x" * 80])
def test_a_name_that_a_folder_can_have_stays(name: str) -> None:
    assert plain_name(name) == name


def test_other_names_become_distinct_ones_that_a_folder_can_have() -> None:
    made = [plain_name(name) for name in ODD]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name) for name in made)
    assert len(set(made)) == len(ODD)
    assert made[0].startswith("my-bench-")
    assert made[3].startswith("ete-")


@pytest.mark.parametrize("name", ["my bench", "数据集", "été", "-bench", "x" * 200])
def test_a_run_on_any_folder_has_a_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (experiment,) = make_experiments(str(folder), None)
    assert run_name(experiment).endswith("-zero-shot-0")
    checked_folder(experiment, RunOptions(tmp_path / "runs", None))


def test_two_folders_of_one_name_do_not_share_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each was named relative to the folder that holds it."""
    found = []
    for place in ("a", "b"):
        (tmp_path / place / "bench").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / place)
        found += make_experiments("bench", None)
    assert run_name(found[0]) == run_name(found[1])
    run = tmp_path / "run"
    run.mkdir()
    (run / "experiment.yaml").write_text(experiment_yaml(found[0]), encoding="utf-8")
    require_same_experiment(run, found[0], "only-missing")
    with pytest.raises(UsageError, match=r"holds another experiment \(benchmark: .*a/bench there"):
        require_same_experiment(run, found[1], "only-missing")
    (tmp_path / "a" / "bench").rmdir()  # then b/bench is where it went
    require_same_experiment(run, found[1], "only-missing")


def test_a_page_does_not_say_where_a_benchmark_lies(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", "run")
    text = "recipe: mono\nbenchmark: '/home/anna/my bench'\nbackbone: a/b\n"
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    shown = read_run_content(folder).experiment
    assert shown == "recipe: mono\nbenchmark: 'my bench'\nbackbone: a/b\n"


def fused(*folders: Path) -> list[str]:
    recipe = load_recipe(f"fusion:{'+'.join(map(str, folders))}")
    runs: list[str] = recipe.settings["fusion"]["runs"]
    return runs


@pytest.mark.parametrize("names", [("c++/a", "c++/b"), ("a+b", "c"), ("+", "++", "a+"), ("a", "b")])
def test_runs_to_fuse_may_have_a_plus_in_their_paths(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").touch()
    assert fused(*folders) == [str(folder) for folder in folders]


def test_without_such_folders_every_plus_divides(tmp_path: Path) -> None:
    assert fused(tmp_path / "a", tmp_path / "b+c") == [
        str(tmp_path / "a"), str(tmp_path / "b"), str(Path("c").resolve()),
    ]  # fmt: skip


def finished(folder: Path, name: str) -> Path:
    """A folder that a page can be made of."""
    import json

    folder.mkdir(parents=True)
    for file, part in zip(("manifest", "metrics"), content(name), strict=True):
        (folder / f"{file}.json").write_text(json.dumps(part), encoding="utf-8")
    return folder


def test_two_runs_of_one_name_have_a_page_each(tmp_path: Path) -> None:
    first, second = (finished(tmp_path / out / "same", "same") for out in ("a", "b"))
    reports = tmp_path / "reports"
    pages = [write_run_page(folder, reports) for folder in (first, second)]
    assert pages[0].name == "same.html"
    assert re.fullmatch(r"same-[0-9a-f]{8}\.html", pages[1].name)
    before = pages[0].read_bytes()
    assert [write_run_page(folder, reports) for folder in (first, second)] == pages
    assert pages[0].read_bytes() == before
    index = write_index(reports).read_text(encoding="utf-8")
    for page, folder in zip(pages, ("../a/same", "../b/same"), strict=True):
        assert f'href="{page.name}"' in index
        assert f"; in {folder}" in index


def test_the_page_of_a_run_that_is_gone_is_replaced(tmp_path: Path) -> None:
    import shutil

    reports = tmp_path / "reports"
    first = finished(tmp_path / "a" / "same", "same")
    page = write_run_page(first, reports)
    shutil.move(first, tmp_path / "moved")
    assert write_run_page(finished(tmp_path / "b" / "same", "same"), reports) == page


def test_a_run_replaces_no_page_of_a_comparison(tmp_path: Path) -> None:
    from bias_bench.cli import run_command

    made = [make_run(tmp_path / "made" / name, name) for name in ("zero-shot", "mono")]
    page = tmp_path / "reports" / "gain.html"
    assert run_command(["compare", *map(str, made), "--report", str(page)]) == 0
    before = page.read_bytes()
    other = write_run_page(finished(tmp_path / "runs" / "gain", "gain"), page.parent)
    assert other != page
    assert page.read_bytes() == before
