"""The document of a comparison: its JSON keeps its form, and what is wrong with one is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

import bias_bench
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.significance import document
from bias_bench.significance.comparison import compare
from bias_bench.significance.document import ComparisonDocument, load
from bias_bench.significance.options import CompareOptions
from bias_bench.system.files import json_text
from tests.support.compared import FEW

KEYS = {
    "schema", "benchmark", "metric", "cutoff", "direction", "unit", "better", "significance",
    "baseline", "cluster", "permutations", "correction", "family", "confidence", "margin", "seed",
    "also", "topics", "clusters", "omitted", "overview", "baseline_system", "systems", "warnings",
    "methods", "references",
}  # fmt: skip
BASELINE = {"system", "label", "runs", "seeds", "unanswered"}
CELL = {
    "baseline", "system", "difference", "interval", "simultaneous", "p", "p_adjusted", "d_z",
    "rank_biserial", "wins", "ties", "losses", "n",
}  # fmt: skip
MODELS = [
    model
    for model in vars(document).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel
]


@pytest.fixture(scope="module")
def full(runs: Path) -> ComparisonDocument:
    """With everything that can be asked for."""
    options = CompareOptions(permutations=99, margin=1, also=("wilcoxon", "t"))
    return compare([runs / name for name in ("zero", "mono", "hybrid-0", "hybrid-1")], options)


def test_json_has_these_keys_and_no_part_that_was_not_asked_for(
    runs: Path, full: ComparisonDocument
) -> None:
    plain = compare([runs / "zero", runs / "mono"], CompareOptions(significance=False)).as_json()
    tested = compare([runs / "zero", runs / "mono"], FEW).as_json()
    for found, further, pairs in (
        (plain, set(), set()),
        (tested, set(), set()),
        (full.as_json(), {"equivalence", "t", "wilcoxon"}, {"tukey"}),
    ):
        assert found.keys() == KEYS | pairs
        assert found["omitted"].keys() == {"topics", "settings", "cells", "missing"}
        assert found["baseline_system"].keys() == BASELINE
        for row in found["overview"]:
            figures = {"AP", "rank_distance"}
            assert row.keys() == {"system", "label", "same_language_top1", "seeds", *figures}
            assert all(seed.keys() == figures for seed in row["seeds"])
        for entry in found["systems"]:
            assert entry.keys() == BASELINE | {"test", "groups", "settings"}
            assert all(cell.keys() == CELL | further for cell in entry["settings"].values())
            groups = entry["groups"].values()
            assert all(cell.keys() == CELL | further | {"settings"} for cell in groups)
    cell = full.as_json()["systems"][0]["settings"]["en"]
    assert cell["equivalence"].keys() == {"equivalent", "no_worse", "interval"}
    assert cell["t"].keys() == cell["wilcoxon"].keys() == {"statistic", "p", "flags"}
    assert found["tukey"].keys() == {"permutations", "groups"}
    (pair, *_) = found["tukey"]["groups"]["monolingual"]
    assert pair.keys() == {"system", "other", "difference", "p", "d_z"}
    assert plain["systems"][0]["settings"]["en"]["p"] is None


def test_a_saved_comparison_reads_back_as_it_was(full: ComparisonDocument, tmp_path: Path) -> None:
    text = json_text(full.as_json(), indent=1)
    (tmp_path / "saved.json").write_text(text, encoding="utf-8")
    assert load(text) == load(tmp_path / "saved.json") == full
    assert json_text(load(text).as_json(), indent=1) == text
    read = bias_bench.Comparison.load(tmp_path / "saved.json")
    assert read.to_json() == text
    assert len(read.table) == 2 * 3


def _set(value: Any, *path: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("12", "systems", 1, "settings", "en-th", "n"), "systems.1.settings.en-th.n: "),
        (_set(1.5, "systems", 0, "groups", "monolingual", "p"), "systems.0.groups.monolingual.p: "),
        (_set({}, "systems", 0, "groups", "pooled"), "systems.0.groups.pooled"),
        (_set([0.1], "systems", 0, "settings", "en", "interval"), "settings.en.interval"),
        (_set(float("nan"), "systems", 0, "settings", "en", "d_z"), "settings.en.d_z: "),
        (_set("better", "direction"), "direction: "),
        (_set([], "systems"), "systems: "),
        (_set(1, "more"), "more: "),
        (_set(0.5, "overview", 0, "AP@100"), "overview of zero-shot@scratch:tiny#0 must have"),
        (lambda content: content.pop("metric"), "metric: Field required"),
    ],
)
def test_the_field_that_is_wrong_is_named_in_one_line(
    full: ComparisonDocument, tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    content = full.as_json()
    change(content)
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 100_000, '{"schema": 1}'])
def test_what_is_not_a_comparison_is_damaged_data(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(text)
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path)


def test_another_schema_is_not_read() -> None:
    with pytest.raises(BiasBenchError, match="schema 2 is not known") as error:
        load('{"schema": 2}')
    assert error.value.exit_code == 1


def test_options_may_be_numbers_of_numpy(runs: Path) -> None:
    same = {"permutations": np.int64(199), "seed": np.int64(0), "confidence": np.float32(0.75)}
    found = compare([runs / "zero", runs / "mono"], CompareOptions(**same))
    plain = CompareOptions(permutations=199, confidence=0.75)
    assert found == compare([runs / "zero", runs / "mono"], plain)


def test_a_comparison_cannot_be_changed(full: ComparisonDocument) -> None:
    with pytest.raises(ValueError, match="frozen"):
        full.systems[0].groups["monolingual"].p = 0.0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_says_what_it_is(model: type[BaseModel]) -> None:
    assert all(field.description for field in model.model_fields.values())
    assert model.__doc__ or not model.model_fields
