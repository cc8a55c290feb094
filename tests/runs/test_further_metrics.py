"""Metrics beyond the usual ones, as `--metrics` asks for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bias_bench.cli import run_command
from bias_bench.evaluation.metrics import Metric, compute, parse_metric, scored_metrics
from bias_bench.evaluation.ranks import RankTable
from tests.support.runs import run

NAME = "mini-zero-shot-0"
FEW = ("--set", "languages=[de, en]")
FURTHER = ("--metrics", "nDCG@20,R@300")


def macro(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    means: dict[str, Any] = content["retrieval"]["multilingual"]["macro"]
    return means


@pytest.mark.slow
def test_metrics_can_be_added_to_a_finished_run_which_searches_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *FEW) == 0
    folder = tmp_path / "runs" / NAME
    usual = macro(folder)
    capsys.readouterr()
    assert run(tmp_path, *FEW, *FURTHER) == 0
    said = capsys.readouterr().err
    assert "search: unchanged, kept" in said
    assert "score: outdated: metrics changed" in said
    further = macro(folder)
    assert further.keys() - usual.keys() == {"nDCG@20", "R@300"}
    assert {name: further[name] for name in usual} == usual
    table = RankTable(folder / "ranks.parquet")
    for name in ("nDCG@20", "R@300"):
        of_settings = [
            compute(parse_metric(name), table.of(setting).ranks).mean()
            for setting in ("de-all", "en-all")
        ]
        assert further[name] == pytest.approx(sum(of_settings) / 2)
    scores = pq.read_table(folder / "scores.parquet").to_pandas()
    scorers = scores.groupby("metric", observed=True)["scorer"].unique().map(set)
    assert scorers["nDCG@20"] == {"exact", "ranx", "trec_eval"}
    assert scorers["R@300"] == {"exact"}  # the TREC files hold 100 results
    page = (tmp_path / "reports" / f"{NAME}.html").read_text(encoding="utf-8")
    assert "nDCG@20" in page


@pytest.mark.slow
def test_further_metrics_of_rankings_of_another_tool(tmp_path: Path) -> None:
    assert run(tmp_path, *FEW) == 0
    folder, out = tmp_path / "runs" / NAME, ["--out", str(tmp_path / "scored")]
    files = ["--run", str(folder / "trec"), "--qrels", str(folder)]
    assert run_command(["score", *files, *out, "--metrics", "RR@20"]) == 0
    (scored,) = (tmp_path / "scored").iterdir()
    assert "RR@20" in macro(scored)


@pytest.mark.parametrize(
    ("metrics", "message"), [("nDGC@20", "unknown metric 'nDGC@20'"), ("R@x", "a whole number")]
)
def test_a_metric_that_is_not_known_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: str, message: str
) -> None:
    assert run(tmp_path, "--metrics", metrics) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_where_rankings_end_no_metric_goes_deeper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = ("--set", "retrieval.index=hnsw", "--set", "retrieval.depth=50")
    assert run(tmp_path, *index, "--metrics", "R@60") == 2
    assert "no R@60: the rankings end at 50" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_scorers_compute_what_does_not_go_deeper_than_the_results() -> None:
    shared, exact = scored_metrics(20, None, [Metric("R", 20), Metric("R", 30), Metric("nDCG")])
    assert Metric("R", 20) in shared
    assert not {Metric("R", 30), Metric("nDCG")} & {*shared}
    assert {Metric("R", 20), Metric("R", 30), Metric("nDCG")} <= {*exact}
