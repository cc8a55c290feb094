"""Figures of the documents are those of the package's data, and a run is checked against them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.config.recipes import recipe_names
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.runs import reproduction
from bias_bench.runs.experiments import make_experiments
from bias_bench.runs.reproduction import Reproductions, check, measured, reproductions

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/results.md")
ROWS = reproductions().rows
# headings of the documents' tables; of rank distance the mean stands first
COLUMNS = {
    "AP mono": "monolingual AP",
    "AP cross": "cross_lingual AP",
    "AP pool": "multilingual AP",
    "AP pooled": "multilingual AP",
    "AP@100 mono": "monolingual AP@100",
    "AP@100 cross": "cross_lingual AP@100",
    "AP@100 pooled": "multilingual AP@100",
    "rank distance, mean": "rank_distance",
    "median": "rank_distance median",
    "own language first": "same_language_top1",
    "top 1 in the query's language": "same_language_top1",
}
# what the documents have and no command of one system gives, or gives under another label
FUSED, AGAIN = "XQuAD-R, both fused", {"XQuAD-R, `hybrid`": "hybrid"}


def stated(page: str) -> dict[str, dict[str, str]]:
    """The figures of a page's tables of systems, as printed: row's label to metric to text."""
    found: dict[str, dict[str, str]] = {}
    headings: list[str] = []
    for line in (ROOT / page).read_text("utf-8").splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            headings = []
        elif not headings:
            headings = cells
        elif headings[0] in ("system", "benchmark") and not cells[0].startswith("---"):
            label = AGAIN.get(cells[0], cells[0])
            values = {COLUMNS[name]: text for name, text in zip(headings[1:], cells[1:])}  # noqa: B905 checked by KeyError
            row = found.setdefault(label, {})
            for metric, text in values.items():
                assert row.setdefault(metric, text) == text, f"{page}, {label}: two values"
    return found


def printed(value: float, like: str) -> str:
    """A number with the digits of a printed one."""
    number, _, percent = like.partition(" ")
    digits = len(number.partition(".")[2])
    return f"{value * 100:.{digits}f} %" if percent else f"{value:.{digits}f}"


@pytest.mark.parametrize("name", ROWS)
def test_expected_values_are_those_that_the_documents_show(name: str) -> None:
    row = ROWS[name]
    shown = stated(row.figures.page)[row.figures.row]
    assert row.expected.keys() == {metric for metric, text in shown.items() if text != "–"}
    for metric, value in row.expected.items():
        assert printed(value, shown[metric]) == shown[metric], f"{name}: {metric}"


def test_every_system_in_the_documents_can_be_measured_again() -> None:
    labels = {(page, label) for page in PAGES for label in stated(page)}
    assert labels - {("docs/results.md", FUSED)} == {
        (row.figures.page, row.figures.row) for row in ROWS.values()
    }


@pytest.mark.parametrize("name", ROWS)
def test_the_command_shown_is_the_experiment_that_runs(name: str) -> None:
    words = shlex.split(ROWS[name].command)
    assert words[:2] == ["biasbench", "run"]
    options = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    (shown,) = make_experiments(words[2], [words[words.index("--recipe") + 1]], settings=options)
    (row,) = make_experiments(
        ROWS[name].benchmark, [ROWS[name].recipe], settings=ROWS[name].settings
    )
    assert shown == row
    assert ROWS[name].recipe in recipe_names()


def test_a_row_without_a_tolerance_is_refused() -> None:
    content = reproductions().model_dump()
    content["rows"]["mini-zero-shot"]["expected"]["monolingual nDCG@10"] = 0.9
    with pytest.raises(ValueError, match=r"mini-zero-shot: no tolerance for monolingual nDCG@10"):
        Reproductions(**content)


METRICS = Metrics.model_validate(
    {
        "schema": 1,
        "benchmark": "mini",
        "system": "a@b#0",
        "retrieval": {
            "monolingual": {"macro": {"AP": 0.5, "AP@100": 0.25}, "per_setting": {}},
        },
        "bias": {"rank_distance": {"macro": 12.0, "median": 7.0, "per_language": {}}},
        "scorers": {"agreement": {"max_abs_difference": 0.0, "compared": 1}},
    }
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("monolingual AP", 0.5),
        ("monolingual AP@100", 0.25),
        ("rank_distance", 12.0),
        ("rank_distance median", 7.0),
    ],
)
def test_a_metric_is_found_by_its_name(metric: str, value: float) -> None:
    assert measured(METRICS, metric) == value


@pytest.mark.parametrize(
    "metric", ["multilingual AP", "monolingual RR", "probe", "rank_distance x"]
)
def test_a_metric_that_a_run_lacks_is_an_error(metric: str) -> None:
    with pytest.raises(BiasBenchError, match="which was expected"):
        measured(METRICS, metric)


@pytest.mark.parametrize(
    ("expected", "ok"), [(0.5, True), (0.625, True), (0.375, True), (0.626, False), (0.374, False)]
)
def test_a_metric_is_ok_within_its_tolerance_on_both_sides(expected: float, ok: bool) -> None:
    row = ROWS["mini-zero-shot"].model_copy(update={"expected": {"monolingual AP": expected}})
    tolerance = reproduction.Tolerance(why="a test", within={"AP": 0.125})
    (found,) = check(row, METRICS, tolerance)
    assert found.ok == ok
    assert found.difference == 0.5 - expected


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two quick rows in place of the package's own: of one a metric is off, whatever comes out."""
    monkeypatch.chdir(tmp_path)
    content = reproductions().model_dump()
    row = {
        **content["rows"]["mini-zero-shot"],
        "settings": ["backbone=scratch:tiny", "robustness=false"],
    }
    content["tolerances"]["wide"] = {"why": "anything", "within": {"AP": 1.0, "rank_distance": 0.0}}
    good = {**row, "tolerance": "wide", "expected": {"monolingual AP": 0.5}}
    bad = {**good, "expected": {"monolingual AP": 0.5, "rank_distance": -1.0}}
    known = Reproductions(**{**content, "rows": {"good": good, "bad": bad}})
    monkeypatch.setattr(reproduction, "reproductions", lambda: known)
    return tmp_path


def test_figures_that_are_met_are_ok(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["reproduce", "good", "--quiet"]) == 0
    assert "good: 1 of 1 metrics ok" in capsys.readouterr().out
    assert (tiny / "runs" / "reproduce-good" / "metrics.json").is_file()
    assert (tiny / "reports" / "reproduce-good.html").is_file()
    assert run_command(["reproduce", "good"]) == 0  # goes on where it stopped
    assert "search: unchanged, kept" in capsys.readouterr().err


def test_a_figure_that_is_off_fails_and_is_named(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["reproduce", "--all", "--format", "json", "--out", str(tiny)]) == 1
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content["schema"] == 1
    assert {row["name"]: row["ok"] for row in content["reproductions"]} == {
        "good": True,
        "bad": False,
    }
    off = content["reproductions"][1]["metrics"][1]
    assert off["metric"] == "rank_distance"
    assert off["difference"] == pytest.approx(off["measured"] + 1)
    assert "error: 1 of 2 off: bad (rank_distance)" in captured.err


def test_a_dry_run_plans_each_folder_and_writes_nothing(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["reproduce", "--all", "--dry-run", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [system["run"] for system in plan["systems"]] == ["reproduce-good", "reproduce-bad"]
    assert list(tiny.iterdir()) == []


def test_without_names_all_figures_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["reproduce"]) == 0
    table = capsys.readouterr().out
    assert run_command(["reproduce", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == list(ROWS)
    assert all(row["name"] in table for row in rows)
    assert all(re.match(r"biasbench run \S+ --recipe \S+", row["command"]) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["mini-zero-shoot"],
            "no figures are named 'mini-zero-shoot': did you mean 'mini-zero-shot'?",
        ),
        (["mini-zero-shot", "--all"], "give names or --all, not both"),
        (["--dry-run"], "--dry-run: name the figures, or give --all"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_figures_of_mini_are_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["reproduce", "mini-zero-shot"]) == 0
