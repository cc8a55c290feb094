"""reports/index.html: which pages it lists, in which order, and that text shows as text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bias_bench.cli import run_command
from bias_bench.report.index_page import ComparisonRow, Row, render_index, write_index
from bias_bench.runs.experiments import make_experiments
from tests.support.comparisons import make_run
from tests.support.report_pages import HOSTILE, content, require_own_scripts_only
from tests.support.runs import run


def row(name: str, pooled: float, benchmark: str = "mini") -> Row:
    precision = {"monolingual": 0.5, "cross_lingual": 0.4, "multilingual": pooled}
    return Row(
        name, benchmark, f"{name}@scratch:tiny#0", f"{name}.html", precision, 9, 5, 0.5, True
    )


def compared(name: str) -> ComparisonRow:
    return ComparisonRow("mini", "AP", "zero-shot", ["mono", "hybrid"], True, f"{name}.html")


def places(page: str, *names: str) -> list[int]:
    return [page.index(f'href="{name}.html"') for name in names]


def test_comparisons_come_first_then_the_runs_of_each_benchmark_in_the_order_given() -> None:
    rows = [row("a", 0.1), row("other", 0.3, "xquad-r"), compared("gain"), row("b", 0.9)]
    found = places(render_index(rows), "gain", "a", "b", "other")
    assert found == sorted(found)


def test_what_was_not_measured_is_a_dash() -> None:
    unknown = row("unknown", 0.9)._replace(
        precision=dict.fromkeys(("monolingual", "cross_lingual", "multilingual")),
        rank_distance=None,
        median_rank_distance=None,
        same_language_top1=None,
        cutoff=50,
    )
    page = render_index([unknown])
    assert page.count("<td>–</td>") == 6
    assert "known down to rank 50 only" in page


def test_names_show_as_text() -> None:
    hostile = row(HOSTILE, 0.1)._replace(benchmark=HOSTILE)
    page = render_index([hostile, compared(HOSTILE)._replace(systems=[HOSTILE], metric=HOSTILE)])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    require_own_scripts_only(page)


def test_links_lead_to_pages_whatever_their_names() -> None:
    assert 'href="50%25%20%23%3F.html"' in render_index(
        [row("x", 0.1)._replace(page="50% #?.html")]
    )


def test_an_index_of_nothing_says_what_to_do() -> None:
    assert "biasbench run" in render_index([])


def test_the_index_lists_the_pages_of_a_folder_newest_first(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for name in ("zero-shot", "mono"):
        (tmp_path / name).mkdir()
        for file, part in zip(("manifest", "metrics"), content(name), strict=True):
            (tmp_path / name / f"{file}.json").write_text(json.dumps(part), "utf-8")
        assert run_command(["report", str(tmp_path / name), "--out", str(reports)]) == 0
    made = [make_run(tmp_path / "made" / name, name) for name in ("zero-shot", "mono")]
    page = reports / "gain.html"
    assert run_command(["compare", *map(str, made), "--report", str(page)]) == 0
    (reports / "foreign.html").write_text('<script type="application/json" id="entry">{', "utf-8")
    index = reports / "index.html"
    assert "mono against zero-shot" in index.read_text("utf-8")
    for number, name in enumerate(("zero-shot", "mono", "gain")):
        os.utime(reports / f"{name}.html", (number, number))
    write_index(reports)
    found = places(index.read_text("utf-8"), "gain", "mono", "zero-shot")
    assert found == sorted(found)
    assert "foreign" not in index.read_text("utf-8")
    os.utime(reports / "zero-shot.html", (9, 9))
    write_index(reports)
    first, second = places(index.read_text("utf-8"), "zero-shot", "mono")
    assert first < second


def test_a_comparison_replaces_neither_the_page_of_a_run_nor_the_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    for file, part in zip(("manifest", "metrics"), content("mine"), strict=True):
        (tmp_path / "mine" / f"{file}.json").write_text(json.dumps(part), "utf-8")
    reports = tmp_path / "reports"
    assert run_command(["report", str(tmp_path / "mine"), "--out", str(reports)]) == 0
    runs = [make_run(tmp_path / "made" / name, name) for name in ("zero-shot", "mono")]
    before = (reports / "mine.html").read_bytes()
    for name, message in (("mine", "is the page of the run mine"), ("index", "is where the index")):
        page = str(reports / f"{name}.html")
        capsys.readouterr()
        assert run_command(["compare", *map(str, runs), "--report", page]) == 2
        assert message in capsys.readouterr().err
    assert (reports / "mine.html").read_bytes() == before


def test_a_comparison_elsewhere_makes_no_index(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, name) for name in ("zero-shot", "mono")]
    page = tmp_path / "elsewhere" / "gain.html"
    assert run_command(["compare", *map(str, runs), "--report", str(page)]) == 0
    assert [path.name for path in page.parent.iterdir()] == ["gain.html"]


def test_a_run_makes_the_index_of_the_pages(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    index = tmp_path / "reports" / "index.html"
    assert 'href="mini-zero-shot-0.html"' in index.read_text(encoding="utf-8")


def test_the_embedded_benchmark_compares_zero_shot_with_three_trained_recipes() -> None:
    names = [experiment.recipe for experiment in make_experiments(None, None)]
    assert names == ["zero-shot", "mono", "cross", "hybrid"]
    assert [experiment.recipe for experiment in make_experiments("xquad-r", None)] == ["zero-shot"]
