"""The stages beside search and score: language probe and robustness suite, in a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runs import run

SHORT = [
    part
    for text in ("steps=3", "batch_size=8", "evaluate_every=2")
    for part in ("--set", f"training.{text}")
]


def metrics(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / "runs" / name / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stages")
    assert run(out) == 0
    assert run(out, "--recipe", "hybrid-distilled", *SHORT) == 0
    return out


def test_the_probe_is_measured_before_and_after_training(finished: Path) -> None:
    before = metrics(finished, "mini-zero-shot-0")["bias"]["language_probe"]
    after = metrics(finished, "mini-hybrid-distilled-0")["bias"]["language_probe"]
    assert "before" not in before
    assert after["before"]["macro"] == pytest.approx(before["macro"], abs=0.01)
    assert after["before"]["texts"] == before["texts"]
    assert before["chance"] < before["macro"] <= 1
    assert set(before["per_language"]) == set(after["per_language"])
    assert 0 <= after["adversary_accuracy"] <= 1


def test_the_suite_asks_perturbed_questions_of_the_drawn_topics(finished: Path) -> None:
    found = metrics(finished, "mini-zero-shot-0")["robustness"]
    assert (found["topics"], found["of"]) == (30, 60)
    kinds = found["perturbations"]
    assert {"typo", "diacritics", "case", "word_order", "code_switching"} <= set(kinds)
    typo = kinds["typo"]["strong"]
    assert set(typo["per_language"]) == {
        "ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh",
    }  # fmt: skip
    assert typo["macro"]["loss"] == pytest.approx(
        typo["macro"]["ap_clean"] - typo["macro"]["ap"], abs=1e-9
    )
    assert 0 < typo["macro"]["overlap"] < 1
    assert "light" not in kinds["typo"]


def test_both_can_be_switched(tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "robustness=false") == 0
    assert "robustness" not in metrics(tmp_path, "mini-zero-shot-0")
    options = ["--set", "robustness={strengths: [light], topics: 10}", "--name", "light"]
    assert run(tmp_path, *options) == 0
    kinds = metrics(tmp_path, "light")["robustness"]["perturbations"]
    assert set(kinds["typo"]) == {"light"}


def test_the_suite_works_on_debiased_vectors(tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "debias=centre") == 0
    found = metrics(tmp_path, "mini-zero-shot-centre-0")
    clean = found["robustness"]["perturbations"]["typo"]["strong"]["macro"]["ap_clean"]
    assert clean == pytest.approx(found["retrieval"]["multilingual"]["macro"]["AP"], abs=0.05)
