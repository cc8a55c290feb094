"""reports/index.html: which runs it lists, in which order, and that text shows as text."""

from __future__ import annotations

import shutil
from pathlib import Path

from bias_bench.report.index_page import Row, render_index, write_index
from tests.runs import run


def row(name: str, pooled: float, benchmark: str = "mini") -> Row:
    precision = {"monolingual": 0.5, "cross_lingual": 0.4, "multilingual": pooled}
    return Row(
        name, benchmark, f"{name}@scratch:tiny#0", f"{name}.html", precision, 9, 5, 0.5, True
    )


def test_runs_are_listed_by_benchmark_best_pooled_precision_first() -> None:
    page = render_index([row("low", 0.1), row("high", 0.9), row("other", 0.3, "xquad-r")])
    assert page.index("high.html") < page.index("low.html") < page.index("other.html")
    assert page == render_index([row("other", 0.3, "xquad-r"), row("high", 0.9), row("low", 0.1)])


def test_what_was_not_measured_is_a_dash_and_comes_last() -> None:
    unknown = row("unknown", 0.9)._replace(
        precision=dict.fromkeys(("monolingual", "cross_lingual", "multilingual")),
        rank_distance=None,
        median_rank_distance=None,
        same_language_top1=None,
        cutoff=50,
    )
    page = render_index([unknown, row("known", 0.1)])
    assert page.index("known.html") < page.index("unknown.html")
    assert page.count("<td>–</td>") == 6
    assert "known down to rank 50 only" in page


def test_names_show_as_text() -> None:
    page = render_index([row("<script>alert(1)</script>", 0.1)])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_index_of_nothing_says_what_to_do() -> None:
    assert "biasbench run" in render_index([])


def test_a_run_makes_the_index_of_the_runs_that_have_pages(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    index = tmp_path / "reports" / "index.html"
    assert 'href="mini-zero-shot-0.html"' in index.read_text(encoding="utf-8")
    shutil.copytree(tmp_path / "runs" / "mini-zero-shot-0", tmp_path / "runs" / "without-page")
    write_index(tmp_path / "runs", tmp_path / "reports")
    assert "without-page" not in index.read_text(encoding="utf-8")


def test_the_embedded_benchmark_compares_zero_shot_with_three_trained_recipes() -> None:
    from bias_bench.cli.run import _recipe_layers

    names = [layers[-1]["recipe"] for layers in _recipe_layers({}, None)]
    assert names == ["zero-shot", "mono", "cross", "hybrid"]
    assert [layers[-1]["recipe"] for layers in _recipe_layers({"benchmark": "xquad-r"}, None)] == [
        "zero-shot"
    ]
