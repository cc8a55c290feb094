"""Settings in which no topic is answered are left out and counted, everywhere alike."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from bias_bench import Vectors, evaluate
from bias_bench.config.experiment import make_experiment
from bias_bench.data.collection import Candidate, Collection, Query, Topic
from bias_bench.errors import DataError
from bias_bench.evaluation.settings import (
    searched_languages,
    settings_of,
    settings_without_topics,
)
from bias_bench.report.run_page import write_run_page
from bias_bench.runs.folder import RunOptions
from bias_bench.runs.pipeline import plan_run, run
from bias_bench.system.files import read_json
from tests.support.lareqa_files import document, paragraph, write

# de asks what nobody answers, fr what de and en answer, en what en answers
ANSWERS = (("q1", "en:3"), ("q2", "de:1"))
ASKED = ("de:q0", "en:q1", "fr:q1", "fr:q2")
KEPT = ["en", "fr-de", "fr-en", "en-all", "fr-all"]
LEFT_OUT = ["de", "fr", "de-en", "de-fr", "en-de", "en-fr", "de-all"]


def odd(answers: tuple[tuple[str, str], ...] = ANSWERS) -> Collection:
    return Collection(
        name="odd",
        languages=("de", "en", "fr"),
        topics=tuple(Topic(name, name, name) for name in ("q0", "q1", "q2")),
        queries=tuple(Query(name, f"{name}?") for name in ASKED),
        candidates=tuple(
            Candidate(f"{language}:{row}", f"{language} {row}", "")
            for language in ("de", "en", "fr")
            for row in range(12)
        ),
        relevance=answers,
    )


def random_vectors() -> Vectors:
    random = np.random.default_rng(0)
    return Vectors(random.normal(size=(4, 8)), random.normal(size=(36, 8)))


def test_settings_with_a_topic_and_without_one_are_all_settings() -> None:
    assert [str(setting) for setting in settings_of(odd())] == KEPT
    assert [str(setting) for setting in settings_without_topics(odd())] == LEFT_OUT
    assert searched_languages(odd()) == ["en", "fr"]


def test_a_run_has_the_settings_that_exist_and_counts_the_others(tmp_path: Path) -> None:
    found = evaluate(random_vectors(), odd(), out=tmp_path, system="chance")
    metrics, manifest = (read_json(found.folder / f"{n}.json") for n in ("metrics", "manifest"))
    retrieval = metrics["retrieval"]
    assert sorted(name for kind in retrieval.values() for name in kind["per_setting"]) == sorted(
        KEPT
    )
    assert metrics["without_queries"] == manifest["without_queries"] == LEFT_OUT
    assert manifest["languages"] == ["de", "en", "fr"]
    across = retrieval["cross_lingual"]
    assert across["macro"]["AP"] == pytest.approx(
        mean(across["per_setting"][name]["AP"] for name in ("fr-de", "fr-en"))
    )
    assert sorted(metrics["bias"]["same_language_top1"]["per_language"]) == ["en", "fr"]
    files = sorted(path.name for path in found.folder.rglob("*.run.gz"))
    assert files == sorted(f"{name}.run.gz" for name in KEPT)


def test_the_page_says_which_settings_are_left_out(tmp_path: Path) -> None:
    folder = evaluate(random_vectors(), odd(), out=tmp_path, system="chance").folder
    page = write_run_page(folder, tmp_path).read_text(encoding="utf-8")
    assert "7 of 12 settings are left out, as no query there has a relevant candidate" in page
    assert "de, fr, de-en, de-fr, en-de, en-fr and 1 more" in page


def test_a_benchmark_without_any_topic_is_refused_before_anything_is_encoded(
    tmp_path: Path,
) -> None:
    def never(texts: list[str]) -> Any:
        raise AssertionError(f"{len(texts)} texts were encoded")

    with pytest.raises(DataError, match="odd: no query has a relevant candidate"):
        evaluate(never, odd(answers=()), out=tmp_path)
    assert not list(tmp_path.iterdir())


def own_folder(root: Path) -> Path:
    """Six topics in English, the first three in German, the others in French."""
    topics = [f"q{number}" for number in range(6)]
    for language, asked in (("en", topics), ("de", topics[:3]), ("fr", topics[3:])):
        sentences = [f"Satz {language} {number}." for number in range(4)]
        questions = [(topic, place % 4) for place, topic in enumerate(asked)]
        write(root, language, document([paragraph(sentences, *questions)]))
    return root


def test_the_plan_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = own_folder(tmp_path / "own")
    experiment = make_experiment({"benchmark": str(folder), "backbone": "scratch:tiny"})
    plan_run(experiment, RunOptions(tmp_path / "runs", None))
    assert "own: 2 of 12 settings are left out, as no" in capsys.readouterr().err


@pytest.mark.slow
def test_robustness_leaves_out_languages_that_ask_none_of_its_topics(tmp_path: Path) -> None:
    experiment = make_experiment(
        {
            "benchmark": str(own_folder(tmp_path / "own")),
            "backbone": "scratch:tiny",
            "robustness": {"topics": 1, "strengths": ["strong"]},
        }
    )
    folder = run(experiment, RunOptions(tmp_path / "runs", None))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["without_queries"] == ["de-fr", "fr-de"]
    measured = metrics["robustness"]["perturbations"]["typo"]["strong"]["per_language"]
    assert len(measured) == 2
    assert "en" in measured
