"""Whole runs through approximate indexes: ranks end at the depth, what is missed is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bias_bench import evaluate
from bias_bench.cli import run_command
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.trec import read_run
from tests.support.miracl_data import stand_in
from tests.support.runs import manifest, results, run
from tests.support.toy_encoders import prefixed

FEW = ("--set", "languages=[de, en, zh]", "--set", "robustness=false")
POOLS = ["all", "de", "en", "zh"]
SETTINGS = {
    "hnsw": "hnsw",
    # some lists of few vectors, of which one is looked into: rankings end early
    "ivf-pq": "{kind: ivf-pq, lists: 6, probes: 1, code_bits: 4, rescore: 1}",
}


def indexed(out: Path, kind: str, *arguments: str) -> int:
    return run(out, *FEW, "--set", f"retrieval.index={SETTINGS[kind]}", *arguments)


@pytest.fixture(scope="module", params=list(SETTINGS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def out(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(kind)
    assert indexed(folder, kind) == 0
    return folder


@pytest.fixture
def folder(out: Path) -> Path:
    return out / "runs" / "mini-zero-shot-0"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_metric_is_named_with_the_depth(folder: Path) -> None:
    metrics = read(folder / "metrics.json")
    assert metrics["cutoff"] == manifest(folder)["depth"] == 100
    for part in metrics["retrieval"].values():
        assert set(part["macro"]) == {"AP@100", "nDCG@10", "R@1", "R@10", "R@100", "RR@10"}
    assert metrics["bias"]["rank_distance"]["cutoff"] == 100
    names = pq.read_table(folder / "scores.parquet")["metric"].unique().to_pylist()
    assert "AP@100" in names
    assert not {"AP", "RR"} & set(names)
    assert metrics["scorers"]["agreement"]["max_abs_difference"] <= 1e-4


def test_ranks_are_those_of_the_written_rankings_or_past_the_depth(folder: Path) -> None:
    table = RankTable(folder / "ranks.parquet")
    assert table.cutoff == 100
    rows = pq.read_table(folder / "ranks.parquet").to_pylist()
    missed = 0
    for setting in ("de", "de-en", "zh-all"):
        kinds = {"de": "monolingual", "de-en": "cross_lingual", "zh-all": "multilingual"}
        listed = read_run(folder / f"trec/{kinds[setting]}/{setting}.run.gz")
        places: dict[str, list[str]] = {}
        for query, candidate in zip(
            listed.queries.to_pylist(), listed.candidates.to_pylist(), strict=True
        ):
            places.setdefault(query, []).append(candidate)
        own = [row for row in rows if row["setting"] == setting]
        assert own
        for row in own:
            ranking = places[row["query"]]
            there = row["candidate"] in ranking
            missed += not there
            assert row["rank"] == (ranking.index(row["candidate"]) + 1 if there else 101)
    assert missed, "the test must see a candidate that was not retrieved"


def test_recall_is_recorded_by_pool(folder: Path, kind: str) -> None:
    index = read(folder / "metrics.json")["index"]
    assert index == manifest(folder)["index"] == read(folder / "index.json")
    assert (index["kind"], index["seed"], index["building_threads"]) == (kind, 0, 1)
    assert sorted(index["per_pool"]) == POOLS
    for name, part in index["per_pool"].items():
        assert part["vectors"] == (252 if name == "all" else 84)
        assert part["queries"] == 180, "all, since they are fewer than are drawn"
        assert 0 < part["recall@100"] <= 1
    for name in ("recall@10", "recall@100"):
        values = [part[name] for part in index["per_pool"].values()]
        assert index["macro"][name] == pytest.approx(sum(values) / 4)
        assert index["lowest"][name]["value"] == min(values)
    if kind == "hnsw":
        assert index["lowest"]["recall@10"]["value"] > 0.99
    else:
        assert index["macro"]["recall@100"] < 0.6


def test_page_says_what_was_missed(out: Path, folder: Path) -> None:
    html = (out / "reports/mini-zero-shot-0.html").read_text(encoding="utf-8")
    recall = read(folder / "index.json")["per_pool"]["all"]["recall@100"]
    assert "Searched through approximate indexes" in html
    assert "Recall of the indexes" in html
    assert f"{recall:.4f}" in html
    assert "AP@100" in html
    assert "past 100" in html or "topic-1" not in html


def test_the_run_says_it_on_both_streams(
    out: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert indexed(out, kind, "--policy", "always") == 0
    shown = capsys.readouterr()
    assert f"Searched through approximate indexes ({kind}), which on average find" in shown.err
    assert indexed(out, kind, "--format", "json") == 0
    shown = capsys.readouterr()
    row = json.loads(shown.out)["runs"][0]
    assert row["metric"] == "AP@100"
    assert row["index"]["recall@10"]["macro"] > 0
    assert row["index"]["recall@100"]["lowest"]["pool"] in POOLS
    assert "unchanged, kept" in shown.err
    assert indexed(out, kind) == 0
    assert "index recall@10" in capsys.readouterr().out


def test_running_again_gives_the_same_bytes(kind: str, tmp_path: Path, folder: Path) -> None:
    assert indexed(tmp_path, kind, "--policy", "always") == 0  # builds all indexes again
    assert results(tmp_path / "runs/mini-zero-shot-0") == results(folder)


def test_the_experiment_repeats_itself(out: Path, folder: Path) -> None:
    assert run(out, str(folder / "experiment.yaml"), "--policy", "only-cache", backbone="") == 0


def test_the_manifest_forgets_an_index_that_is_gone(kind: str, tmp_path: Path) -> None:
    assert indexed(tmp_path, kind) == 0
    assert run(tmp_path, *FEW, "--policy", "always") == 0
    folder = tmp_path / "runs/mini-zero-shot-0"
    assert (manifest(folder)["index"], manifest(folder)["depth"]) == (None, None)
    metrics = read(folder / "metrics.json")
    assert not {"index", "cutoff"} & set(metrics)
    assert "AP" in metrics["retrieval"]["monolingual"]["macro"]


def test_comparison_is_cut_at_the_depth_and_warns_of_the_index(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *FEW) == 0
    exact = tmp_path / "runs/mini-zero-shot-0"
    capsys.readouterr()
    assert run_command(["compare", str(exact), str(folder), "--format", "json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["metric"], found["cutoff"]) == ("AP@100", 100)
    assert "differ in what was searched through (exact in mini-zero-shot-0" in shown.err
    assert not any("encoding precision" in line for line in found["warnings"])
    assert run_command(["compare", str(exact), str(folder), "--metric", "AP"]) == 2


def test_an_exhaustive_index_scores_as_the_exact_search(tmp_path: Path) -> None:
    """With all lists looked into and all candidates scored again nothing is approximate.

    Counts of trigrams have exact products, so that all figures must be equal.
    """
    index = {"kind": "ivf-pq", "lists": 3, "probes": 3, "code_bits": 4, "rescore": 100}
    found = {
        name: evaluate(
            prefixed,
            "mini",
            out=tmp_path,
            name=name,
            system="toy",
            similarity="dot",
            languages=["de", "en", "zh"],
            settings={"robustness": False, "retrieval.index": value},
        )
        for name, value in (("exact", "exact"), ("indexed", index))
    }
    metrics = {name: read(tmp_path / name / "metrics.json")["retrieval"] for name in found}
    for kind, part in metrics["indexed"].items():
        for name, value in part["macro"].items():
            assert value == metrics["exact"][kind]["macro"][name], name
    recall = read(tmp_path / "indexed/index.json")["lowest"]
    assert recall["recall@10"]["value"] == recall["recall@100"]["value"] == 1


def test_pools_of_one_language_have_an_index_each(tmp_path: Path) -> None:
    stand_in(tmp_path / "data", passages=200)
    place = ("miracl", "--data-dir", str(tmp_path / "data"))
    assert run(tmp_path, *place, "--set", "retrieval.index=hnsw") == 0
    metrics = read(tmp_path / "runs/miracl-zero-shot-0/metrics.json")
    assert sorted(metrics["index"]["per_pool"]) == ["sw", "yo"]
    assert set(metrics["retrieval"]) == {"monolingual"}
    assert "AP@100" in metrics["retrieval"]["monolingual"]["macro"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "retrieval.index=ivf-pq"], "is trained on at least 256 vectors, and the pool"),
        (["--set", "retrieval.index=hsnw"], "unknown kind 'hsnw': did you mean 'hnsw'?"),
        (
            ["--recipe", "bm25", "--set", "retrieval.index=hnsw"],
            "retrieval.index is a setting of encoders",
        ),
    ],
)
def test_what_cannot_be_indexed_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    backbone = "" if "bm25" in arguments else "scratch:tiny"
    assert run(tmp_path, *arguments, backbone=backbone) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_knows_the_index(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert indexed(folder.parent.parent, kind, "--dry-run", "--format", "json") == 0
    stages = json.loads(capsys.readouterr().out)["systems"][0]["stages"]
    assert {stage["action"] for stage in stages} == {"keep"}
    another = ("--name", "another")
    assert indexed(folder.parent.parent, kind, *another, "--dry-run", "--format", "json") == 0
    stages = json.loads(capsys.readouterr().out)["systems"][0]["stages"]
    search = next(stage for stage in stages if stage["stage"] == "search")
    recorded = manifest(folder)["stages"]["search"]
    assert search["last_seconds"] == recorded["seconds"]
    assert sum(recorded["parts"][part] for part in ("index", "recall")) < recorded["seconds"]
