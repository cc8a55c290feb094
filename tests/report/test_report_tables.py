"""Tables of the run page: shades, quantiles, the log of training, the list of bias metrics."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bias_bench.bias.catalogue import METRICS, measure_bias
from bias_bench.evaluation.metrics_document import Bias, KindMeans
from bias_bench.evaluation.settings import KINDS
from bias_bench.report.run_tables import (
    QUANTILES,
    Shaded,
    bias_rows,
    diverging,
    log_rows,
    precision_matrix,
    published_figures,
    quantiles,
    rising,
)
from bias_bench.report.wording import signed
from tests.support.bias_runs import random_world, write_world
from tests.support.report_pages import training_rows


def test_rising_matrix_shades_from_least_to_most() -> None:
    found = rising({"en": {"en": 0.5, "de": 0.3}, "de": {"en": None, "de": 0.4}})
    assert (found.rows, found.columns) == (["en", "de"], ["en", "de"])
    assert found.cells[0] == [Shaded("0.500", 1.0), Shaded("0.300", 0.0)]
    assert found.cells[1] == [None, Shaded("0.400", 0.5)]
    assert rising({"en": {"en": 0.5}}).cells == [[Shaded("0.500", 0.0)]]
    assert rising({}).rows == []


def test_diverging_matrix_shades_both_sides_from_zero() -> None:
    found = diverging({"en": {"en": 0.0, "de": -50.4, "th": 100.0}})
    assert found.cells == [[Shaded("0", 0.0), Shaded("−50", 0.504), Shaded("+100", 1.0, fall=True)]]


def test_signed_numbers_have_a_true_minus_and_no_sign_at_zero() -> None:
    assert [signed(value, 1) for value in (1234.56, -0.01, -2.0)] == ["+1,234.6", "0.0", "−2.0"]


def test_precision_matrix_is_absent_where_only_the_pool_was_searched() -> None:
    means = KindMeans(macro={"AP": 0.5}, per_setting={"en-all": {"AP": 0.5}})
    assert precision_matrix({"multilingual": means}, ["en"], "AP") is None


def test_quantiles_are_observed_distances() -> None:
    values = np.array([10.0, 12.0, 400.0, 13000.0])
    found = quantiles({"en": values, "de": np.array([])})
    assert list(found) == ["en", ""]
    assert found["en"] == [10, 10, 12, 400, 13000, 13000, 13000, 13000]
    assert len(found["en"]) == len(QUANTILES) + 1


def test_log_has_a_line_for_each_evaluation_and_the_last_step() -> None:
    rows = [
        {"step": n, "loss": float(n), "terms": {"contrastive": float(n)}, "learning_rate": 1e-5}
        for n in range(1, 8)
    ]
    for n in (2, 4, 6):
        rows[n - 1]["validation"] = 1 / n
    found = log_rows(training_rows(rows))
    assert [row.step for row in found] == [2, 4, 6, 7]
    assert [row.loss for row in found] == [1.5, 3.5, 5.5, 7.0]
    assert [row.validation for row in found] == [0.5, 0.25, 1 / 6, None]


def test_log_averages_what_terms_observed_at_every_step() -> None:
    rows: list[dict[str, Any]] = [
        {
            "step": n,
            "loss": 1.0,
            "terms": {},
            "learning_rate": 0.0,
            "observed": {
                "language_adversary": {"accuracy": n / 4},
                **({"bank": {"left_out": 0.5}} if n > 1 else {}),
            },
        }
        for n in (1, 2)
    ]
    rows[1]["validation"] = 1.0
    rows.append({**rows[1], "step": 3})
    assert [row.observed for row in log_rows(training_rows(rows))] == [
        {"language adversary: accuracy": 0.375}, {"language adversary: accuracy": 0.5},
    ]  # fmt: skip


@pytest.mark.parametrize(("steps", "evaluated", "lines"), [(3, 0, 3), (100, 0, 10), (3000, 50, 24)])
def test_log_stays_short(steps: int, evaluated: int, lines: int) -> None:
    rows = [
        {"step": n, "loss": 1.0, "terms": {}, "learning_rate": 0.0} for n in range(1, steps + 1)
    ]
    for place in range(evaluated):
        rows[(place + 1) * steps // evaluated - 1]["validation"] = 1.0
    found = log_rows(training_rows(rows))
    assert len(found) == lines
    assert found[-1].step == steps


def test_list_of_bias_metrics_names_places_that_runs_have(tmp_path: Path) -> None:
    world = random_world(0)
    found = measure_bias(tmp_path, write_world(world, tmp_path), world.languages)
    text = package_files("bias_bench.report").joinpath("bias_readings.yaml").read_text("utf-8")
    listed = yaml.safe_load(text)
    # one answer in a language leaves PEER no value
    assert [row["name"] for row in bias_rows(Bias.model_validate(found))] == [
        row["name"] for row in listed
    ][:-1]
    assert listed[-1]["name"] == "PEER"
    named = {row["path"].split("/")[0] for row in listed}
    assert named == set(METRICS) - {"friedman"}  # which is a sentence of its own
    assert bias_rows(Bias()) == []


def test_published_figures_are_those_of_the_papers() -> None:
    found = published_figures("xquad-r")
    assert found is not None
    by_name = {row["system"]: row for row in found["figures"]}
    hybrid, mbert = by_name["LaBSE, hybrid"], by_name["mBERT, X-Y"]
    assert hybrid["multilingual"] == 0.6817
    assert (hybrid["rank_distance"], hybrid["recipe"]) == (221.1, "hybrid")
    assert [mbert[kind] for kind in KINDS] == [None, None, 0.66]
    assert {row["source"] for row in found["figures"]} == set(found["sources"])
    assert published_figures("mini") is None
