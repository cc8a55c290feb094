"""`biasbench run --recipe bm25`, and finished runs fused: their folders, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from bias_bench.cli import run_command
from bias_bench.config.experiment import make_experiment
from bias_bench.errors import UsageError
from bias_bench.evaluation.fusion import FusionRule, fuse
from bias_bench.evaluation.trec import RunTable, read_run
from tests.support.runs import manifest, results, run

NAME = "mini-bm25-0"


def run_recipe(out: Path, recipe: str, *arguments: str) -> int:
    return run(out, "mini", "--recipe", recipe, *arguments, backbone="")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of BM25 and of a small encoder on the embedded benchmark."""
    out = tmp_path_factory.mktemp("lexical")
    assert run_recipe(out, "bm25") == 0
    assert run(out, "mini", "--recipe", "zero-shot", "--set", "robustness=false") == 0
    return out


@pytest.fixture(scope="module")
def fused(finished: Path) -> Path:
    """The folder of both, fused."""
    assert run_recipe(finished, fusion(finished)) == 0
    return finished / "runs" / "mini-fusion-mini-bm25-0-mini-zero-shot-0-0"


def fusion(out: Path) -> str:
    return f"fusion:{out / 'runs' / NAME}+{out / 'runs' / 'mini-zero-shot-0'}"


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_bm25_is_a_run_like_any_other(finished: Path) -> None:
    folder = finished / "runs" / NAME
    content, found = manifest(folder), metrics(folder)
    assert content["status"] == "complete"
    assert content["system"] == "bm25@lucene#0"
    assert content["lexical"]["analyzers"]["de"] == "de.GermanAnalyzer"
    assert set(content["stages"]) == {"search", "score", "metrics", "report"}
    assert len(list(folder.glob("trec/*/*.run.gz"))) == 132
    assert found["scorers"]["agreement"]["max_abs_difference"] <= 1e-4
    assert found["retrieval"]["monolingual"]["macro"]["AP"] > 0.6
    assert found["retrieval"]["cross_lingual"]["macro"]["AP"] < 0.2
    assert "language_probe" not in found["bias"]
    assert found["found"]["en"] > found["found"]["en-ar"]
    page = (finished / "reports" / f"{NAME}.html").read_text(encoding="utf-8")
    assert "de.GermanAnalyzer" in page
    assert "Language probe" not in page
    assert "Candidate languages are not ranked alike" not in page  # ids order what is not found
    assert 'class="note">Of the relevant candidates' in page


@pytest.mark.slow
def test_bm25_again_gives_the_same_bytes_and_resumes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe(tmp_path, "bm25", "--policy", "always") == 0  # bypasses cached indexes
    folder = tmp_path / "runs" / NAME
    assert results(folder) == results(finished / "runs" / NAME)
    (folder / "trec/monolingual/th.run.gz").unlink()
    capsys.readouterr()
    assert run_recipe(tmp_path, "bm25") == 0
    assert results(folder) == results(finished / "runs" / NAME)
    assert run_recipe(tmp_path, "bm25") == 0
    assert capsys.readouterr().err.count("unchanged, kept") >= 3


@pytest.mark.slow
def test_bm25_compares_with_an_encoder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(finished / "runs" / name) for name in (NAME, "mini-zero-shot-0")]
    assert run_command(["compare", *folders, "--format", "json"]) == 0
    said = capsys.readouterr()
    compared = json.loads(said.out)
    assert compared["metric"] == "AP"
    assert "precision" not in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backbone", "scratch:tiny"), "leave --backbone out"),
        (("--set", "training.steps=5"), "training is a setting of encoders"),
        (("--set", "debias=lir"), "debias is a setting of encoders"),
        (("--set", "lexical.b=2"), "lexical.b"),
    ],
)
def test_settings_of_encoders_are_refused(
    tmp_path: Path, arguments: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe(tmp_path, "bm25", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_encoders_have_no_bm25() -> None:
    with pytest.raises(UsageError, match="do not go together"):
        make_experiment({"lexical": {"k1": 1.2}})


def test_there_is_nothing_to_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["encode", "mini", "--recipe", "bm25", "--out", str(tmp_path / "runs")]) == 2
    assert "has no stage 'encode', only search, score, metrics" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_without_java_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bias_bench.system.java.anserini_jar", lambda: tmp_path / "absent.jar")
    monkeypatch.setattr("jnius_config.vm_running", True)
    assert run_recipe(tmp_path, "bm25") == 1
    assert "without pyserini's jar" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def table(rows: Sequence[tuple[str, str, float]]) -> RunTable:
    import numpy as np

    queries, candidates, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return RunTable(
        pa.array(queries, pa.string()),
        pa.array(candidates, pa.string()),
        np.array(scores, dtype=np.float32),
    )


def scores(run: RunTable) -> dict[tuple[str, str], float]:
    keys = zip(run.queries.to_pylist(), run.candidates.to_pylist(), strict=True)
    return dict(zip(keys, run.scores.tolist(), strict=True))


FIRST = table([("q1", "a", 9.0), ("q1", "b", 5.0), ("q2", "a", 2.0)])
SECOND = table([("q1", "b", 0.9), ("q1", "c", 0.4), ("q3", "d", 0.1)])


@pytest.mark.slow
def test_reciprocal_ranks_are_summed() -> None:
    found = scores(fuse([FIRST, SECOND], FusionRule("rrf", 60, "min-max", [1, 1])))
    assert found == pytest.approx(
        {
            ("q1", "a"): 1 / 61,
            ("q1", "b"): 1 / 62 + 1 / 61,
            ("q1", "c"): 1 / 62,
            ("q2", "a"): 1 / 61,
            ("q3", "d"): 1 / 61,
        }
    )


@pytest.mark.slow
def test_normalised_scores_are_summed_by_weight() -> None:
    found = scores(fuse([FIRST, SECOND], FusionRule("wsum", 60, "max", [0.25, 0.75])))
    assert found["q1", "b"] == pytest.approx(0.25 * 5 / 9 + 0.75)
    assert found["q1", "a"] == pytest.approx(0.25)


@pytest.mark.slow
def test_a_run_without_results_adds_nothing() -> None:
    rule = FusionRule("rrf", 60, "min-max", [1, 1])
    assert scores(fuse([FIRST, table([])], rule)) == pytest.approx(
        {("q1", "a"): 1 / 61, ("q1", "b"): 1 / 62, ("q2", "a"): 1 / 61}
    )


@pytest.mark.slow
def test_fused_run_is_ranxs_own_fusion(finished: Path, fused: Path) -> None:
    import ranx

    file = "trec/monolingual/en.run.gz"
    given = []
    for name in (NAME, "mini-zero-shot-0"):
        found: dict[str, dict[str, float]] = {}
        for (query, candidate), score in scores(read_run(finished / "runs" / name / file)).items():
            if score > 0 or name != NAME:  # what BM25 did not find is not of its ranking
                found.setdefault(query, {})[candidate] = score
        given.append(ranx.Run(found))
    expected = ranx.fuse(given, norm=None, method="rrf", params={"k": 60}).to_dict()
    ours: dict[str, dict[str, float]] = {}
    for (query, candidate), score in scores(read_run(fused / file)).items():
        ours.setdefault(query, {})[candidate] = score
    for query, candidates in ours.items():
        assert candidates == pytest.approx(expected[query], abs=1e-6), query
    assert ours.keys() == expected.keys()


@pytest.mark.slow
def test_fused_folder_says_what_it_is_of(finished: Path, fused: Path) -> None:
    content, found = manifest(fused), metrics(fused)
    assert content["system"] == "fusion:mini-bm25-0+mini-zero-shot-0@rrf#0"
    assert (content["kind"], content["depth"], found["cutoff"]) == ("external", 100, 100)
    assert content["fusion"]["runs"][0]["system"] == "bm25@lucene#0"
    assert all(len(part["trec"]) == 64 for part in content["fusion"]["runs"])
    assert "AP@100" in found["retrieval"]["multilingual"]["macro"]
    page = (finished / "reports" / f"{fused.name}.html").read_text(encoding="utf-8")
    assert "bm25@lucene#0" in page


@pytest.mark.slow
def test_fused_folder_repeats_from_its_experiment(
    fused: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished, str(fused / "experiment.yaml"), backbone="") == 0
    assert capsys.readouterr().err.count("unchanged, kept") == 4


@pytest.mark.slow
def test_runs_that_do_not_go_together_are_not_fused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(finished / "runs" / NAME)
    assert run_recipe(tmp_path, f"fusion:{folder}+{folder}") == 2
    assert "need different names" in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(finished / "runs" / NAME, other)
    content = {**manifest(other), "benchmark": "elsewhere"}
    (other / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    assert run_recipe(tmp_path, f"fusion:{folder}+{other}") == 2
    assert "is a run of elsewhere, not of mini" in capsys.readouterr().err
    assert run_recipe(tmp_path, f"fusion:{folder}") == 2
    assert "fusion.runs" in capsys.readouterr().err
