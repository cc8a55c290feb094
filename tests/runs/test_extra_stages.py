"""The stages beside search and score: language probe and robustness suite, in a whole run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from bias_bench.errors import DataError
from bias_bench.significance.comparison import compare
from bias_bench.significance.measures import ROBUSTNESS_MEASURES
from bias_bench.significance.options import CompareOptions
from tests.support.runs import run

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


def test_each_querys_effects_are_kept_and_their_means_are_those_of_metrics_json(
    finished: Path,
) -> None:
    folder = finished / "runs" / "mini-zero-shot-0"
    rows = pandas.read_parquet(folder / "robustness.parquet")
    assert set(rows["query"]) <= set(pandas.read_parquet(folder / "scores.parquet")["query"])
    kinds = metrics(finished, folder.name)["robustness"]["perturbations"]
    names = ["ap_clean", "ap", "first_clean", "first_lost", "overlap"]
    keys = ["kind", "strength", "setting"]
    means = rows.groupby(keys, observed=True)[names].mean()
    stated = {
        (kind, strength, f"{language}-all"): [values[name] for name in names]
        for kind, strengths in kinds.items()
        for strength, found in strengths.items()
        for language, values in found["per_language"].items()
    }
    assert set(stated) == set(means.index)
    for key, values in stated.items():
        np.testing.assert_allclose(means.loc[key], values, atol=1e-12)
    # what a clean query scores is what it scores in the benchmark
    exact = pandas.read_parquet(folder / "scores.parquet").query(
        "scorer == 'exact' and metric == 'AP' and setting.str.endswith('-all')"
    )
    clean = rows.drop_duplicates("query").set_index("query")["ap_clean"]
    np.testing.assert_allclose(
        clean, exact.set_index("query")["value"].reindex(clean.index.astype(str)), atol=1e-12
    )


@pytest.mark.parametrize("measure", ROBUSTNESS_MEASURES)
def test_robustness_is_compared_query_by_query(finished: Path, measure: str) -> None:
    folders = [finished / "runs" / f"mini-{name}-0" for name in ("zero-shot", "hybrid-distilled")]
    found = compare(folders, CompareOptions(measure, permutations=99))
    (entry,) = found.systems
    assert set(entry.groups) == {"multilingual"}
    for folder, side in zip(folders, ("baseline", "system"), strict=True):
        rows = pandas.read_parquet(folder / "robustness.parquet")
        rows["perturbation_loss"] = rows["ap_clean"] - rows["ap"]
        rows["perturbed_AP"], rows["perturbation_overlap"] = rows["ap"], rows["overlap"]
        of_query = rows.groupby(["setting", "topic"], observed=True)[measure].mean()
        of_language = of_query.groupby("setting", observed=True).mean()
        assert getattr(entry.groups["multilingual"], side) == pytest.approx(of_language.mean())
        assert getattr(entry.settings["el-all"], side) == pytest.approx(of_language["el-all"])


def test_a_run_without_the_suite_has_no_robustness_to_compare(
    finished: Path, tmp_path: Path
) -> None:
    assert run(tmp_path, "--set", "robustness=false") == 0
    folders = [tmp_path / "runs" / "mini-zero-shot-0", finished / "runs" / "mini-zero-shot-0"]
    with pytest.raises(DataError, match=r"robustness\.parquet: no such file; perturbed_AP is of"):
        compare(folders, CompareOptions("perturbed_AP"))


def test_damaged_effects_of_perturbation_are_not_compared(finished: Path, tmp_path: Path) -> None:
    sound = finished / "runs" / "mini-zero-shot-0"
    other = shutil.copytree(sound, tmp_path / "other")
    content = bytearray((other / "robustness.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (other / "robustness.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"robustness\.parquet: damaged"):
        compare([sound, other], CompareOptions("perturbed_AP"))


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
