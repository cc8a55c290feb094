"""Whole runs on generated data in MIRACL's layout, checked against pytrec_eval."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.trec import read_qrels, read_run
from bias_bench.report.run_content import read_run_content
from bias_bench.report.run_page import render_run_page
from bias_bench.report.run_tables import published_figures
from tests.support.miracl_data import stand_in
from tests.support.runs import manifest, run

LANGUAGES = ("sw", "yo")
MEASURES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP@100": "map_cut_100"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miracl")
    stand_in(folder / "data", passages=200)
    for benchmark in ("miracl", "miracl-judged"):
        assert run(folder, benchmark, "--data-dir", str(folder / "data")) == 0
    return folder


@pytest.fixture(params=["miracl", "miracl-judged"])
def folder(request: pytest.FixtureRequest, out: Path) -> Path:
    return out / "runs" / f"{request.param}-zero-shot-0"


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def by_pytrec_eval(folder: Path, language: str) -> dict[str, dict[str, float]]:
    run_table = read_run(folder / f"trec/monolingual/{language}.run.gz")
    judged = read_qrels(folder / f"qrels/monolingual/{language}.qrels.gz")
    results: dict[str, dict[str, float]] = {}
    for query, candidate, score in zip(
        run_table.queries.to_pylist(),
        run_table.candidates.to_pylist(),
        run_table.scores,
        strict=True,
    ):
        results.setdefault(query, {})[candidate] = float(score)
    qrels: dict[str, dict[str, int]] = {}
    for query, candidate, grade in zip(
        judged.queries.to_pylist(), judged.candidates.to_pylist(), judged.grades, strict=True
    ):
        qrels.setdefault(query, {})[candidate] = int(grade)
    return pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES.values())).evaluate(results)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_figures_of_each_language_are_those_of_pytrec_eval(folder: Path, language: str) -> None:
    found = metrics(folder)["retrieval"]["monolingual"]["per_setting"][language]
    theirs = by_pytrec_eval(folder, language)
    assert len(theirs) == 6
    for metric, measure in MEASURES.items():
        expected = np.mean([values[measure] for values in theirs.values()])
        assert found[metric] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_only_pools_of_one_language_are_searched_and_bias_is_absent(folder: Path) -> None:
    found = metrics(folder)
    assert set(found["retrieval"]) == {"monolingual"}
    assert set(found["retrieval"]["monolingual"]["per_setting"]) == set(LANGUAGES)
    assert found["bias"] == {}
    assert sorted(path.name for path in folder.glob("trec/*/*")) == ["sw.run.gz", "yo.run.gz"]


@pytest.mark.slow
def test_results_are_of_the_own_language_and_judged_others_stay_in_the_qrels(folder: Path) -> None:
    for language in LANGUAGES:
        run_table = read_run(folder / f"trec/monolingual/{language}.run.gz")
        assert all(name.startswith(f"{language}:") for name in run_table.candidates.to_pylist())
        with gzip.open(folder / f"qrels/monolingual/{language}.qrels.gz", "rt") as lines:
            grades = {line.split()[3] for line in lines}
        assert grades == {"0", "1"}


@pytest.mark.slow
def test_generated_and_judged_pools_say_so_and_stand_beside_no_published_figure(
    folder: Path,
) -> None:
    name = manifest(folder)["benchmark"]
    assert name == f"{folder.name.removesuffix('-zero-shot-0')}-generated"
    assert published_figures(name) is None
    page = render_run_page(read_run_content(folder))
    assert "The data were generated, they are not MIRACL" in page
    assert ("judged passages alone" in page) == ("judged" in name)
    assert 'id="published"' not in page
    assert 'id="bias"' not in page


@pytest.mark.slow
def test_the_page_lists_every_language(folder: Path) -> None:
    page = render_run_page(read_run_content(folder))
    assert "Retrieval by language" in page
    assert "Swahili" in page
    assert "AP by language pair" not in page


@pytest.mark.slow
def test_averages_over_sets_of_languages_stand_beside_published_ones(out: Path) -> None:
    """As they would be for all languages of the whole benchmark."""
    content = read_run_content(out / "runs/miracl-zero-shot-0")
    own = content.metrics.dump()["retrieval"]["monolingual"]
    values = {**own["macro"], "nDCG@10": 0.12345, "R@100": 0.54321}
    languages = [f"l{number}" for number in range(15)]
    averages = {"paper-15": {"languages": languages, "values": values}}
    retrieval = {"monolingual": {**own, "averages": averages}}
    page = render_run_page(
        content._replace(
            manifest=content.manifest.model_copy(update={"benchmark": "miracl", "note": None}),
            metrics=Metrics.model_validate({**content.metrics.dump(), "retrieval": retrieval}),
        )
    )
    row = page.split("This run</th>")[1].split("</tr>")[0]
    assert "0.1235" in row or "0.1234" in row
    assert "0.5432" in row
    assert "0.4148" in page
    assert "0.8587" in page
    assert "In the mean of 15 languages (paper-15) nDCG@10 is 0.123 and R@100 is 0.543." in page


@pytest.mark.slow
def test_a_run_may_keep_some_languages(out: Path) -> None:
    arguments = ("--data-dir", str(out / "data"), "--set", "languages=[yo]", "--name", "part")
    assert run(out, "miracl", *arguments) == 0
    part, whole = (metrics(out / "runs" / name) for name in ("part", "miracl-zero-shot-0"))
    assert set(part["retrieval"]["monolingual"]["per_setting"]) == {"yo"}
    assert (
        part["retrieval"]["monolingual"]["per_setting"]["yo"]["nDCG@10"]
        == whole["retrieval"]["monolingual"]["per_setting"]["yo"]["nDCG@10"]
    )
