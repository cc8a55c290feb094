"""`load_run`, `rank_distance` and `compare` of the Python API: frames over run folders."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bias_bench import Run, compare, load_run, rank_distance
from bias_bench.cli import run_command
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.evaluation.settings import parse_setting
from bias_bench.report.comparison_forms import TSV_COLUMNS
from bias_bench.significance.comparison import compare as compare_folders
from bias_bench.significance.options import CompareOptions
from bias_bench.system.files import write_json
from tests.support.comparisons import LANGUAGES, make_run, metrics_of

NAN = math.nan


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    make_run(out / "zero", name="zero")
    make_run(out / "hybrid", "hybrid", quality=0.5)
    make_run(out / "mono", "mono", quality=0.2, noise=4)
    make_run(out / "partly", "partly", noise=5, partly=True)
    return out


def test_frames_hold_what_the_files_hold(runs: Path) -> None:
    run, metrics = load_run(runs / "zero"), metrics_of(runs / "zero")
    for kind, row in run.summary.iterrows():
        assert row.to_dict() == metrics["retrieval"][kind]["macro"]
    assert list(run.summary.index) == ["monolingual", "cross_lingual", "multilingual"]
    assert list(run.summary.columns)[:3] == ["AP", "RR", "AP@100"]
    wide = run.retrieval.pivot(index="setting", columns="metric", values="value")
    for kind in metrics["retrieval"].values():
        for setting, means in kind["per_setting"].items():
            assert wide.loc[setting].to_dict() == means
    assert set(run.settings) == set(wide.index)


def test_scores_are_a_row_per_query_and_metric_and_average_to_the_means(runs: Path) -> None:
    run = load_run(str(runs / "zero"))
    scores = run.scores
    assert not scores.duplicated(["setting", "query", "metric"]).any()
    means = scores.groupby(["setting", "metric"], observed=True)["value"].mean()
    expected = run.retrieval.set_index(["setting", "metric"])["value"]
    assert np.allclose(means[expected.index], expected)
    assert (scores["kind"] == [parse_setting(name).kind for name in scores["setting"]]).all()


def test_bias_has_every_mean_over_languages_and_every_language(runs: Path) -> None:
    run = load_run(runs / "zero")
    found = run.bias.set_index(["metric", "language"])["value"]
    distance = run.metrics.bias.rank_distance
    assert distance is not None
    assert distance.log is not None
    assert found["rank_distance", "all"] == distance.macro
    assert found["rank_distance", "th"] == distance.per_language["th"]
    assert found["rank_distance.median", "th"] == distance.median_per_language["th"]
    assert found["rank_distance.log", "all"] == distance.log.macro
    assert not run.bias.duplicated(["metric", "language"]).any()
    assert set(run.bias["language"]) == {*LANGUAGES, "all"}
    assert run.bias["value"].dtype == np.float64


def test_a_run_reads_only_what_is_asked_for_and_prints_what_it_is(
    runs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(runs / "zero", folder)
    run = load_run(folder)
    (folder / "scores.parquet").write_bytes(b"damaged")
    assert "zero-shot@scratch:tiny#0 on made-up" in repr(run)
    assert len(run.ranks)
    with pytest.raises(DataError, match=r"scores\.parquet: damaged") as error:
        _ = run.scores
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("manifest.json", "not a run folder (no manifest.json)"),
        ("metrics.json", "holds no metrics.json"),
        ("scores.parquet", "holds no scores.parquet; repeat the run"),
        ("ranks.parquet", "holds no ranks.parquet; repeat the run"),
        ("experiment.yaml", "experiment.yaml: no such file"),
    ],
)
def test_an_incomplete_folder_is_one_clear_line(
    runs: Path, tmp_path: Path, lacking: str, message: str
) -> None:
    shutil.copytree(runs / "zero", tmp_path, dirs_exist_ok=True)
    (tmp_path / lacking).unlink()
    with pytest.raises(BiasBenchError) as error:
        load_run(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_interrupted_run_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "zero", tmp_path, dirs_exist_ok=True)
    content = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    write_json(tmp_path / "manifest.json", {**content, "status": "interrupted"})
    with pytest.raises(BiasBenchError, match=r"not complete \(interrupted\)"):
        load_run(tmp_path)


def test_files_of_a_setting_are_named_or_refused(runs: Path) -> None:
    run = load_run(runs / "zero")
    with pytest.raises(UsageError, match=r"no setting 'en-al': did you mean 'en-all'\?"):
        run.trec("en-al")
    with pytest.raises(DataError, match=r"en-th\.qrels\.gz: no such file; repeat the run"):
        run.qrels("en-th")  # made-up runs have no such files


def naive_distance(row: list[float]) -> float:
    """The policy in plain Python, for one topic."""
    known = [rank for rank in row if not math.isnan(rank)]
    return max(known) - min(known) if len(known) >= 2 else NAN


def test_rank_distance_of_an_array_is_the_policys() -> None:
    random = np.random.default_rng(3)
    ranks = np.array([random.permutation(40)[:5] + 1.0 for _ in range(200)])
    ranks[random.random(ranks.shape) < 0.5] = np.nan
    found = rank_distance(ranks)
    expected = np.array([naive_distance(row) for row in ranks.tolist()])
    assert np.array_equal(found.per_query, expected, equal_nan=True)
    known = expected[~np.isnan(expected)]
    assert found.macro == pytest.approx(known.mean())
    assert found.median == np.median(known)
    assert found.left_out == np.isnan(expected).sum() > 0
    assert found.per_language == {}


@pytest.mark.parametrize("name", ["zero", "partly"])
def test_rank_distance_of_a_runs_ranks_is_the_runs(runs: Path, name: str) -> None:
    run = load_run(runs / name)
    expected = run.metrics.bias.rank_distance
    assert expected is not None
    shuffled = run.ranks.sample(frac=1, random_state=1)
    for frame in (run.ranks, shuffled, run.ranks.astype({"setting": str, "query": str})):
        found = rank_distance(frame)
        assert found.macro == pytest.approx(expected.macro)
        assert found.median == pytest.approx(expected.median)
        assert found.per_language == pytest.approx(expected.per_language)
        assert found.left_out == expected.left_out
    assert not found.per_query.index.duplicated().any()


def test_rank_distance_takes_frames_without_settings_and_the_best_of_a_language() -> None:
    frame = pd.DataFrame(
        {
            "query_language": ["en", "en", "en", "de", "de"],
            "query": ["q", "q", "q", "q", "q"],
            "candidate_language": ["en", "de", "de", "en", "de"],
            "rank": [2, 9, 5, 1, 2],
        }
    )
    found = rank_distance(frame)
    assert found.per_language == {"de": 1.0, "en": 3.0}
    assert found.macro == 2.0


def test_rank_distance_with_a_cutoff_is_the_least_that_the_ranking_allows() -> None:
    ranks = [[3, 11, 11], [11, 11, NAN], [4, 8, 250]]
    found = rank_distance(ranks, cutoff=10)
    assert found.per_query.tolist()[::2] == [8.0, 7.0]
    assert found.left_out == 1  # nothing is known of the order of two that were not retrieved


def test_rank_distance_without_a_parallel_topic_is_nan() -> None:
    found = rank_distance([[1, NAN], [NAN, NAN]])
    assert math.isnan(found.macro)
    assert math.isnan(found.median)
    assert found.left_out == 2


@pytest.mark.parametrize(
    ("ranks", "kind", "message"),
    [
        ([[1, 2], [0, 3]], DataError, "ranks of 1: [0.0, 3.0] are not whole numbers from 1"),
        ([[1, 2.5]], DataError, "not whole numbers"),
        ([[1, np.inf]], DataError, "not whole numbers"),
        ([[4, 4, 1]], DataError, "ranks of 0: rank 4 occurs twice"),
        ([1, 2, 3], UsageError, "ranks of shape (3,): give an array [topics, languages]"),
        ([["a", "b"]], DataError, "not an array of numbers"),
        (pd.DataFrame({"rank": [1], "query": ["q"]}), UsageError, "neither 'setting' nor"),
        (
            pd.DataFrame({"rank": [1], "query": ["q"], "setting": ["en-all"]}),
            UsageError,
            "lacks the column 'candidate_language'",
        ),
    ],
)
def test_rank_distance_refuses_what_are_no_ranks(
    ranks: Any, kind: type[BiasBenchError], message: str
) -> None:
    with pytest.raises(kind) as error:
        rank_distance(ranks)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


FEW = {"permutations": 199, "seed": 3}


def test_compare_is_the_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zero, hybrid, mono = (runs / name for name in ("zero", "hybrid", "mono"))
    found = compare([hybrid, load_run(mono)], baseline=load_run(zero), margin=0.1, also=["t"],
                    cluster="paragraph", correction="holm", family="all",
                    metric="nDCG@10", **FEW)  # fmt: skip
    command = ["compare", str(hybrid), str(mono), "--baseline", str(zero), "--significance",
               "--margin", "0.1", "--also", "t", "--cluster", "paragraph", "--correction", "holm",
               "--family", "all", "--metric", "nDCG@10", "--permutations", "199",
               "--seed", "3"]  # fmt: skip
    forms = {}
    for form in ("json", "tsv", "latex"):
        capsys.readouterr()
        assert run_command([*command, "--format", form]) == 0
        forms[form] = capsys.readouterr().out
    assert json.loads(forms["json"]) == json.loads(found.to_json()) == found.result.as_json()
    assert forms["latex"].strip() == found.to_latex()
    lines = [line.split("\t") for line in forms["tsv"].splitlines()]
    for frame, wanted in ((found.table, True), (found.settings, False)):
        rows = [row for row in lines[1:] if (row[2] == "macro") == wanted]
        assert len(frame) == len(rows) > 0
        for column in frame.columns:
            texts = [row[TSV_COLUMNS.index(column)] for row in rows]
            if frame[column].dtype.kind in "fi":
                numbers = [float(text) if text else NAN for text in texts]
                assert np.array_equal(frame[column], numbers, equal_nan=True)
            else:
                assert frame[column].tolist() == texts
    assert found.warnings == list(found.result.warnings)


def test_without_tests_the_frames_keep_their_columns(runs: Path) -> None:
    tested = compare([runs / "zero", runs / "hybrid"], **FEW)
    shown = compare([runs / "zero", runs / "hybrid"], significance=False)
    assert list(tested.table.columns) == list(shown.table.columns)
    assert shown.settings["p"].isna().all()
    assert shown.settings["p"].dtype == tested.settings["p"].dtype == np.float64
    assert np.allclose(shown.table["difference"], tested.table["difference"])
    expected = compare_folders(
        [runs / "zero", runs / "hybrid"], CompareOptions(permutations=199, seed=3)
    )
    assert tested.result == expected


def test_a_comparison_prints_and_writes_its_page(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare([runs / "zero", runs / "hybrid"], metric="rank_distance", **FEW)
    assert "hybrid@scratch:tiny#0 minus zero-shot@scratch:tiny#0" in str(found)
    assert repr(found).startswith("Comparison(rank_distance: hybrid minus zero-shot")
    assert found.report(tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    assert "199" in found.methods
    assert capsys.readouterr().out == ""  # results are in the object, warnings on stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cluster": "topics"}, "unknown cluster 'topics': did you mean 'topic'?"),
        ({"correction": "holms"}, "unknown correction 'holms': did you mean 'holm'?"),
        ({"metric": "APP"}, "unknown metric 'APP'"),
        ({"permutations": 0}, "permutations"),
        ({"also": ["welch"]}, "unknown test 'welch'"),
        ({"baseline": "no-such-run"}, "no-such-run: not a run folder"),
    ],
)
def test_comparisons_that_cannot_be_made_are_one_line(
    runs: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(BiasBenchError) as error:
        compare([runs / "zero", runs / "hybrid"], **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("one", [[], "zero", Path("zero")])
def test_a_single_run_is_no_list(one: Any) -> None:
    with pytest.raises(UsageError, match="give a list of two or more runs"):
        compare(one)


def test_a_run_compares_equal_to_itself(runs: Path) -> None:
    assert load_run(runs / "zero") == Run(runs / "zero") != load_run(runs / "mono")
