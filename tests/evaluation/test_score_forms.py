"""`biasbench score` on files as people have them: as trec_eval scores them, or refused by line."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from bias_bench.cli import run_command
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.scorers import trec_eval
from bias_bench.evaluation.scores import read_exact
from tests.support.external_rankings import QRELS, RUN, Files
from tests.support.helpers import Qrels, Run, qrels_text, run_text

LOWEST = -3.4028234663852886e38  # of float32: what masks and indexes put where nothing is found
MIRACL_RUN = {
    "1": {"101#1": 7.0, "102#2": 6.0, "103#0": 5.0},
    "2": {"103#0": 7.0, "101#1": 6.0, "102#2": 5.0},
}
MIRACL_QRELS = {"1": {"101#1": 1, "102#2": 0}, "2": {"102#2": 1, "101#1": 1}}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def score(files: Files, run: str, qrels: str, *more: str) -> int:
    given = ["--run", run, "--qrels", qrels, "--out", str(files.out), "--name", "n", *more]
    return run_command(["score", *given])


def values(folder: Path, setting: str, metric: str) -> dict[str, float]:
    """The exact scorer's values by query, as the tool called it."""
    rows = read_exact(folder / "scores.parquet").to_pylist()
    return {
        row["query"].partition(":")[2]: row["value"]
        for row in rows
        if (row["setting"], row["metric"]) == (setting, metric)
    }


def trec_eval_values(run: Run, qrels: Qrels, measure: str) -> dict[str, float]:
    """By trec_eval itself; scores and grades as plain dictionaries."""
    import pytrec_eval

    found = pytrec_eval.RelevanceEvaluator(qrels, {measure}).evaluate(run)
    return {query: value[measure.replace(".", "_")] for query, value in found.items()}


def test_the_setting_says_the_language_of_ids_without_one(files: Files) -> None:
    run = files.write("a.run", run_text(MIRACL_RUN))
    qrels = files.write("a.qrels", qrels_text(MIRACL_QRELS))
    for given in (f"sw={qrels}", str(qrels)):
        assert score(files, f"sw={run}", given, "--policy", "always") == 0
        found = values(files.out / "n", "sw", "AP@3")
        assert found == pytest.approx(trec_eval_values(MIRACL_RUN, MIRACL_QRELS, "map"))
        assert found == {"1": 1.0, "2": pytest.approx((1 / 2 + 2 / 3) / 2)}
    assert json.loads((files.out / "n" / "manifest.json").read_text())["languages"] == ["sw"]


def test_equal_ids_of_two_settings_are_of_two_languages(files: Files) -> None:
    given = []
    other = {"1": {"101#1": 1.0, "9#9": 2.0}}
    for language, found, judged in (
        ("sw", MIRACL_RUN, MIRACL_QRELS), ("te", other, {"1": {"101#1": 1}}),
    ):  # fmt: skip
        given += ["--run", f"{language}={files.write(f'{language}.run', run_text(found))}"]
        given += ["--qrels", f"{language}={files.write(f'{language}.qrels', qrels_text(judged))}"]
    assert run_command(["score", *given, "--out", str(files.out), "--name", "n"]) == 0
    assert values(files.out / "n", "te", "AP@3") == {"1": 0.5}
    assert values(files.out / "n", "sw", "AP@3")["1"] == 1.0


def test_the_setting_says_both_languages_across_two(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    run = files.write("a.run", run_text(MIRACL_RUN))
    qrels = files.write("a.qrels", qrels_text(MIRACL_QRELS))
    assert score(files, f"en-de={run}", f"en-de={qrels}") == 0
    assert values(files.out / "n", "en-de", "AP@3")["1"] == 1.0
    capsys.readouterr()
    # the pool of all says the language of queries alone
    assert score(files, f"en-all={run}", f"en-all={qrels}", "--name", "m") == 3
    assert "a.run, line 1: candidate '101#1' has no language" in capsys.readouterr().err


def test_ties_at_the_lowest_float32_are_ordered_as_by_trec_eval(files: Files) -> None:
    random = np.random.default_rng(7)
    names = [f"{language}:{letter}" for language in ("de", "en") for letter in "abcdef"]
    run = {
        f"{language}:q{number}": {
            str(name): float(value)
            for name, value in zip(
                random.permutation(names), [0.9, 0.8, 0.7] + [LOWEST] * 9, strict=True
            )
        }
        for language in ("de", "en")
        for number in range(4)
    }
    qrels = {query: {"de:a": 1, "en:a": 1} for query in run}
    path = files.write("a.run", run_text(run))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert score(files, str(path), str(files.write("a.qrels", qrels_text(qrels)))) == 0
    expected = trec_eval_values(run, qrels, "map")
    for language in ("de", "en"):
        found = values(files.out / "n", f"{language}-all", "AP@12")
        assert found == pytest.approx({q: expected[f"{language}:{q}"] for q in found}, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "measure"), [("AP@12", "map"), ("nDCG@10", "ndcg_cut.10"), ("R@10", "recall.10")]
)
def test_negative_grades_are_judged_and_not_relevant(
    files: Files, metric: str, measure: str
) -> None:
    run = {"1": {f"{number}#0": 1 - number / 12 for number in range(12)}}
    qrels = {"1": {"0#0": -1, "1#0": 2, "4#0": 1, "5#0": -2, "11#0": 3, "77#0": -1}}
    given = files.write("a.run", run_text(run)), files.write("a.qrels", qrels_text(qrels))
    assert score(files, *(f"sw={path}" for path in given)) == 0
    expected = trec_eval_values(run, qrels, measure)
    assert values(files.out / "n", "sw", metric) == pytest.approx(expected)


def test_judgements_of_beir_and_packed_files_give_the_same_values(files: Files) -> None:
    files.write_example()
    lines = ["query-id\tcorpus-id\tscore\n"]
    lines += [f"{q}\t{c}\t{grade}\n" for q, found in QRELS.items() for c, grade in found.items()]
    files.write("test.tsv", "".join(lines))
    (files.folder / "b.run").write_bytes(gzip.compress(run_text(RUN).encode()))
    assert files.score("--name", "plain") == 0
    assert files.score("--name", "beir", run="b.run", qrels="test.tsv") == 0
    plain, beir = (files.out / name for name in ("plain", "beir"))
    for name in ("scores.parquet", "ranks.parquet"):
        assert (plain / name).read_bytes() == (beir / name).read_bytes()
    # the same file under another name is not another input
    (files.folder / "c.run.GZ").write_bytes((files.folder / "b.run").read_bytes())
    assert files.score("--name", "beir", run="c.run.GZ", qrels="test.tsv") == 0


@pytest.mark.parametrize("before", [False, True])
def test_a_failed_attempt_leaves_what_was_there_and_blocks_nothing(
    files: Files, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    files.write_example()
    if before:
        assert files.score("--name", "n") == 0
    kept = _content(files.out)

    def fail(*_: object) -> None:
        raise BiasBenchError("trec_eval failed")

    files.write("a.run", run_text({**RUN, "de:t1": {"de:1": 1.0}}))
    with monkeypatch.context() as patched:
        patched.setattr(trec_eval, "_trec_eval", fail)
        assert files.score("--name", "n", "--policy", "always") == 1
    assert _content(files.out) == kept
    assert (files.out / "n").exists() == before
    files.write_example()
    assert files.score("--name", "n") == 0
    assert values(files.out / "n", "en-all", "AP@4")


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_folder_that_another_process_holds_is_left_alone(files: Files) -> None:
    from filelock import FileLock

    files.write_example()
    held = files.out / "n"
    held.mkdir(parents=True)
    with FileLock(held / ".lock"):
        assert files.score("--name", "n") == 1
        assert (held / ".lock").exists()
