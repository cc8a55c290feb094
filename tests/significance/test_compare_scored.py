"""Runs beside rankings of other tools: both mean the same by a rank, and every form says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bias_bench.cli import run_command
from bias_bench.report.comparison_forms import as_latex, as_table, as_tsv
from bias_bench.report.comparison_page import render_comparison_page
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import Cell, ComparisonDocument, load
from bias_bench.significance.measures import BIAS_MEASURES, MEASURES, parse_measure
from bias_bench.significance.options import CompareOptions
from tests.support.comparisons import make_run, metrics_of
from tests.support.external_rankings import Files
from tests.support.helpers import run_text

SHALLOW = 20
FEW = 49


@pytest.fixture(scope="module")
def shallow(native: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pooled rankings of two query languages of the run, scored down to a smaller depth."""
    out = tmp_path_factory.mktemp("shallow")
    given = ["score", "--qrels", str(native), "--out", str(out), "--name", "shallow"]
    for setting in ("en-all", "th-all"):
        path = native / "trec" / "multilingual" / f"{setting}.run.gz"
        given += ["--run", f"{setting}={path}"]
    assert run_command([*given, "--depth", str(SHALLOW)]) == 0
    return out / "shallow"


def ranks_of(folder: Path) -> dict[str, dict[str, list[int]]]:
    """The ranks of each query's relevant candidates, by setting, read without this project."""
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in pq.read_table(folder / "ranks.parquet").to_pylist():
        found[row["setting"]][row["query"]].append(row["rank"])
    return found


def plain_distance(ranks: list[int], depth: int) -> float | None:
    known = [min(rank, depth + 1) for rank in ranks]
    return max(known) - min(known) if min(known) <= depth else None


def plain_precision(ranks: list[int], depth: int) -> float:
    found = [rank for rank in sorted(ranks) if rank <= depth]
    return sum(number / rank for number, rank in enumerate(found, 1)) / len(ranks)


def mean(values: list[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def cells(found: ComparisonDocument) -> list[Cell]:
    (entry,) = found.systems
    return [*entry.groups.values(), *entry.settings.values()]


def one_error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert run_command(["compare", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (error,) = captured.err.splitlines()
    return error


@pytest.mark.parametrize("metric", [None, "AP@100", "nDCG@10", "AP@50", *BIAS_MEASURES])
def test_a_run_equals_its_own_rankings_scored(
    native: Path, rescored: Path, metric: str | None
) -> None:
    found = compare([native, rescored], CompareOptions(metric, permutations=FEW))
    bias = metric in BIAS_MEASURES
    cut = bias and metric != "same_language_top1"  # the first result is known at any depth
    assert found.metric == (f"{metric}@100" if cut else metric or "AP@100")
    assert found.cutoff == 100
    omitted = found.omitted
    assert (omitted.topics, omitted.settings, omitted.cells) == (0, (), 0)
    assert len(cells(found)) == (1 + 11 if bias else 3 + 132)
    for cell in cells(found):
        assert (cell.difference, cell.p, cell.p_adjusted) == (0, 1, 1)
        assert cell.interval in ((0, 0), (None, None))
        assert cell.wins == cell.losses == 0
    first, second = found.overview
    for name in ("AP@100", "rank_distance@100", "same_language_top1", "R@100"):
        assert getattr(first, name) == getattr(second, name) is not None


def test_a_cut_rank_distance_is_not_the_exact_one(native: Path, rescored: Path) -> None:
    found = compare([native, rescored], CompareOptions("rank_distance", significance=False))
    cell = found.systems[0].groups["multilingual"]
    exact = metrics_of(native)["bias"]["rank_distance"]["macro"]
    scored = metrics_of(rescored)["bias"]["rank_distance"]["macro"]
    assert cell.baseline == pytest.approx(scored, abs=1e-9)
    assert exact > 2 * scored


def test_ranks_are_cut_at_the_smallest_depth(native: Path, rescored: Path, shallow: Path) -> None:
    options = CompareOptions("rank_distance", permutations=FEW)
    found = compare([native, rescored, shallow], options)
    assert (found.metric, found.cutoff) == (f"rank_distance@{SHALLOW}", SHALLOW)
    assert "the rankings of shallow end at 20, so ranks are cut there" in found.warnings[0]
    ranks = ranks_of(native)
    for entry in found.systems:
        assert list(entry.settings) == ["en-all", "th-all"]
        for name, cell in entry.settings.items():
            expected = mean([plain_distance(part, SHALLOW) for part in ranks[name].values()])
            assert cell.baseline == cell.system == pytest.approx(expected, abs=1e-12)
            assert (cell.difference, cell.p) == (0, 1)


def test_two_scored_depths_compare_at_the_smaller(rescored: Path, shallow: Path) -> None:
    for metric in (None, "worst_rank", "target_removal", "mean_pairwise_distance"):
        found = compare([shallow, rescored], CompareOptions(metric, permutations=FEW))
        assert found.metric.endswith(f"@{SHALLOW}")
        assert {cell.difference for cell in cells(found)} == {0}


def test_without_a_metric_it_is_the_deepest_ap_that_all_know(
    native: Path, shallow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["compare", str(native), str(shallow), "--format", "json"]) == 0
    captured = capsys.readouterr()
    found = load(captured.out)
    assert found.metric == f"AP@{SHALLOW}"
    assert (
        "warning: the rankings of shallow end at 20, so there is no AP of whole ones, and the "
        "metric is AP@20" in captured.err
    )
    ranks = ranks_of(native)
    for name, cell in found.systems[0].settings.items():
        expected = mean([plain_precision(part, SHALLOW) for part in ranks[name].values()])
        assert cell.baseline == cell.system == pytest.approx(expected, abs=1e-12)


def test_the_overview_is_cut_and_over_the_settings_that_all_runs_have(
    native: Path, shallow: Path
) -> None:
    found = compare([native, shallow], CompareOptions("nDCG@10", significance=False))
    ranks = ranks_of(native)
    names = ("en-all", "th-all")
    distances = [
        mean([plain_distance(part, SHALLOW) for part in ranks[name].values()]) for name in names
    ]
    precisions = [
        mean([plain_precision(part, SHALLOW) for part in ranks[name].values()]) for name in names
    ]
    same = metrics_of(native)["bias"]["same_language_top1"]["per_language"]
    for row in found.overview:
        assert row.precision == pytest.approx(np.mean(precisions), abs=1e-12)
        assert row.distance == pytest.approx(np.mean(distances), abs=1e-12)
        assert row.same_language_top1 == pytest.approx((same["en"] + same["th"]) / 2)
    for row in found.as_json()["overview"]:
        assert {f"AP@{SHALLOW}", f"rank_distance@{SHALLOW}"} <= row.keys()
        assert not {"AP", "rank_distance"} & row.keys()
    page = render_comparison_page(found)
    assert "Language bias against quality" in page
    assert f"AP@{SHALLOW}, pooled" in page
    assert f"Rank distance@{SHALLOW}" in page


def test_every_form_names_the_cut_off_and_says_why(
    native: Path, rescored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare([native, rescored], CompareOptions("rank_distance", permutations=FEW))
    text = as_table(found, False, 120)
    assert text.startswith("mini, rank_distance@100 (ranks in the pool of all languages, at most")
    assert "rank distance@100" in text.split("beside it", 1)[1]
    assert all(line.split("\t")[3] == "rank_distance@100" for line in as_tsv(found).split("\n")[1:])
    assert r"rank\_distance@100 (ranks" in as_latex(found, False)
    page = render_comparison_page(found)
    assert "<h1>rank_distance@100 on mini" in page
    assert "The rankings of rescored end at 100, so ranks are cut there in all runs" in page
    arguments = [str(native), str(rescored), "--metric", "rank_distance"]
    assert run_command(["compare", *arguments]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "ranks are cut" in line]
    (note,) = notes
    assert note.startswith("warning: the rankings of rescored end at 100, so ranks are cut there")
    assert note.endswith("the metric is rank_distance@100")


def test_what_not_all_runs_know_is_an_error_that_names_what_they_share(
    native: Path, rescored: Path, shallow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = one_error(capsys, native, rescored, "--metric", "AP")
    shared = "AP@100, R@1, R@10, R@100, RR@10, nDCG@10"
    assert f"no AP: the rankings of rescored end at 100; all runs have {shared}" in error
    assert "leave out --metric for AP@100" in error
    error = one_error(capsys, native, rescored, shallow, "--metric", "AP@100")
    assert "no AP@100: the rankings of shallow end at 20; all runs have AP@20, R@1, R@10" in error
    assert "no RR:" in one_error(capsys, rescored, native, "--metric", "RR")
    error = one_error(capsys, native, shallow, "--metric", "worst_rank@50")
    assert "no worst_rank@50: the rankings of shallow end at 20; ask for worst_rank@20" in error
    assert "unknown metric 'worst_rnk@20': did you mean 'worst_rank'?" in one_error(
        capsys, native, shallow, "--metric", "worst_rnk@20"
    )


@pytest.mark.parametrize(
    ("metric", "plain", "cutoff"),
    [("rank_distance@10", plain_distance, 10), ("AP@7", plain_precision, None)],
)
def test_a_cut_off_may_be_asked_for_where_ranks_are_exact(
    tmp_path: Path, metric: str, plain: Callable[[list[int], int], float | None], cutoff: int | None
) -> None:
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "mono", quality=1.5, noise=2)]
    found = compare(folders, CompareOptions(metric, cluster="article", permutations=FEW))
    assert (found.metric, found.cutoff) == (metric, cutoff)
    first, second = (ranks_of(folder)["th-all"] for folder in folders)
    depth = int(metric.partition("@")[2])
    both = [(plain(first[query], depth), plain(second[query], depth)) for query in first]
    known = [pair for pair in both if None not in pair]
    cell = found.systems[0].settings["th-all"]
    assert 3 < len(known) <= len(both)
    assert cell.baseline == pytest.approx(mean([pair[0] for pair in known]), abs=1e-12)
    assert cell.system == pytest.approx(mean([pair[1] for pair in known]), abs=1e-12)


def test_runs_alone_are_compared_by_exact_ranks(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "mono", quality=0.4)]
    for metric in (None, "rank_distance"):
        found = compare(folders, CompareOptions(metric, significance=False))
        assert (found.metric, found.cutoff) == (metric or "AP", None)
        assert found.warnings == ()


def test_names_of_measures_parse_back() -> None:
    names = [*MEASURES, *(measure.capped(7).name for measure in MEASURES.values())]
    for name in [*names, "AP", "AP@100", "nDCG@10"]:
        assert parse_measure(name).name == name
        base = MEASURES.get(name.partition("@")[0])
        assert parse_measure(name).source == (base.source if base else "scores")
    for name in ("rank_distance@0", "rank_distance@x", "same_language_top1@5", "perturbed_AP@5"):
        assert parse_measure(name).source == "scores"


def test_same_language_top1_is_that_of_the_runs(native: Path, rescored: Path) -> None:
    found = compare([native, rescored], CompareOptions("same_language_top1", permutations=FEW))
    bias = metrics_of(native)["bias"]["same_language_top1"]
    (entry,) = found.systems
    assert entry.groups["multilingual"].baseline == pytest.approx(bias["macro"])
    for language, share in bias["per_language"].items():
        assert entry.settings[f"{language}-all"].baseline == pytest.approx(share)


def test_a_query_without_a_retrieved_candidate_is_left_out_and_the_share_found_is_told(
    tmp_path: Path,
) -> None:
    files = Files(tmp_path)
    files.write_example()
    assert files.score("--system", "first") == 0
    # nothing relevant for one query that the first has found
    files.write("b.run", run_text({"en:t1": {"en:9": 1.0}, "en:t2": {"en:2": 1.0}}))
    assert files.score("--system", "second", "--depth", "4", run="b.run") == 0
    folders = [files.out / f"a-{name}-0" for name in ("first", "second")]
    found = compare(folders, CompareOptions("rank_distance", significance=False))
    assert found.systems[0].settings.keys() == {"en-all"}
    (cell,) = found.systems[0].settings.values()
    # t2 alone: German, English and French at 1, 2 and 3; English alone, the others behind it
    assert (cell.baseline, cell.system, cell.n) == (2, 1, 1)
    text = "\n".join(found.warnings)
    assert "share of the relevant candidates in the top 4: first " in text
    assert "left out: 1 topics that not all runs have" in text
    assert not any("encoding precision" in line for line in found.warnings)
