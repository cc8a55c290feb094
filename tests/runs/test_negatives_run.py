"""Training runs with hard negatives, as a user starts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bias_bench.config.experiment import load_recipe, make_experiment
from bias_bench.config.recipes import recipe_names
from bias_bench.errors import DataError
from bias_bench.training import loop
from tests.support.runs import manifest, run

SHORT = {"steps": 3, "batch_size": 8, "evaluate_every": 2}


def arguments(**settings: Any) -> list[str]:
    return [
        part
        for key, value in {**SHORT, **settings}.items()
        for part in ("--set", f"training.{key}={value}")
    ]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_the_adversarial_recipe_mines_trains_and_keeps_its_negatives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--recipe", "hybrid-adversarial", *arguments()) == 0
    folder = tmp_path / "runs" / "mini-hybrid-adversarial-0"
    assert "hard negatives mined by scratch:tiny" in capsys.readouterr().err
    assert (folder / "negatives.jsonl.gz").is_file()
    assert set(manifest(folder)["stages"]["mine"]["outputs"]) == {"negatives.jsonl.gz"}
    assert set(rows(folder)[0]["terms"]) == {"contrastive", "language_adversary"}
    before = (folder / "negatives.jsonl.gz").read_bytes()
    assert run(tmp_path, "--recipe", "hybrid-adversarial", *arguments()) == 0
    assert (folder / "negatives.jsonl.gz").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hybrid-perturbed", "hybrid-bank", "hybrid-distilled"])
def test_every_further_recipe_trains(tmp_path: Path, name: str) -> None:
    bank = {"terms.negative_bank.size": 64} if name == "hybrid-bank" else {}
    assert run(tmp_path, "--recipe", name, *arguments(**bank)) == 0
    assert len(rows(tmp_path / "runs" / f"mini-{name}-0")[0]["terms"]) > 1


def test_recipes_are_small_changes_of_hybrid() -> None:
    hybrid = load_recipe("hybrid").settings["training"]
    for name in recipe_names():
        if name.startswith("hybrid-"):
            settings = load_recipe(name).settings["training"]
            assert {key: settings[key] for key in hybrid} == hybrid
            make_experiment(load_recipe(name).settings)


def test_given_negatives_are_used_and_asking_for_absent_ones_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {
            "query": f"question {number} in {language}",
            "positive": f"answer {number} in {language}",
            "negatives": [f"wrong {number} {part} in {language}" for part in range(2)],
            "query_language": language,
            "positive_language": language,
            "group": f"{number}",
        }
        for number in range(24)
        for language in ("en", "de")
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    source = f"[{{form: pairs, name: own, path: {path}}}]"
    options = arguments(sources=source, negatives="{source: given}", mixture="{mono: 1}")
    assert run(tmp_path, "--recipe", "hybrid-hard", *options) == 0, capsys.readouterr().err
    capsys.readouterr()
    absent = arguments(negatives="{source: given}")
    assert run(tmp_path, "--recipe", "hybrid-hard", *absent, "--name", "absent") == 2
    assert "no training source brings negatives" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("last", [2, 3])
def test_negatives_are_mined_again_while_training_and_a_resumed_run_uses_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    # 8,052 pairs in batches of 8: two steps
    often = arguments(steps=5, **{"negatives.refresh_epochs": 0.002, "learning_rate": 1e-3})
    command = ["--recipe", "hybrid-hard", *often]
    assert run(tmp_path / "whole", *command) == 0
    folder = tmp_path / "whole" / "runs" / "mini-hybrid-hard-0"
    mined = {path.name: path.read_bytes() for path in folder.glob("negatives*")}
    assert sorted(mined) == [
        "negatives-000002.jsonl.gz",
        "negatives-000004.jsonl.gz",
        "negatives.jsonl.gz",
    ]
    assert len(set(mined.values())) == 3
    real = loop._step

    def stopping(*given: Any) -> Any:
        if given[-1] > last:
            raise DataError("stopped")
        return real(*given)

    monkeypatch.setattr(loop, "_step", stopping)
    assert run(tmp_path / "cut", *command) == 3
    monkeypatch.setattr(loop, "_step", real)
    assert run(tmp_path / "cut", *command) == 0
    resumed = tmp_path / "cut" / "runs" / "mini-hybrid-hard-0"
    for name in [*mined, "train.jsonl", "model/model.safetensors"]:
        assert (resumed / name).read_bytes() == (folder / name).read_bytes(), name


def test_given_negatives_cannot_be_refreshed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments(negatives="{source: given, refresh_epochs: 1}")
    assert run(tmp_path, "--recipe", "hybrid-hard", *options) == 2
    assert "refresh_epochs: negatives that came with the data" in capsys.readouterr().err


def test_an_unknown_key_of_a_term_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "training.terms.language_adversary.strenght=1"
    assert run(tmp_path, "--recipe", "hybrid", "--set", key) == 2
    assert "did you mean 'training.terms.language_adversary.strength'" in capsys.readouterr().err
