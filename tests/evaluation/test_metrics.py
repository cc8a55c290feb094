"""Metrics from ranks: hand-worked values, an independent oracle, and what must always hold."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bias_bench.errors import UsageError
from bias_bench.evaluation.metrics import (
    FULL_METRICS,
    MEASURES,
    SHARED_METRICS,
    Metric,
    compute,
    parse_metric,
)
from tests.support.helpers import unhurried

METRICS = ("AP", "AP@3", "AP@100", "nDCG", "nDCG@2", "nDCG@10", "R", "R@1", "R@10", "RR", "RR@10")
metrics = st.builds(Metric, st.sampled_from(sorted(MEASURES)), st.integers(0, 1000))
rank_lists = st.lists(st.integers(1, 40), unique=True, min_size=1, max_size=8)


def _value(metric: str, ranks: list[int]) -> float:
    (value,) = compute(parse_metric(metric), np.array([ranks], dtype=np.int32))
    return float(value)


@pytest.mark.parametrize(
    ("metric", "ranks", "expected"),
    [
        ("AP", [1], 1.0),
        ("AP", [4], 1 / 4),
        ("AP", [1, 3], (1 + 2 / 3) / 2),
        ("AP", [6, 2, 5], (1 / 2 + 2 / 5 + 3 / 6) / 3),
        ("AP", [1, 2, 3], 1.0),
        ("AP@5", [6, 2, 5], (1 / 2 + 2 / 5) / 3),
        ("AP@1", [1, 2], 1 / 2),
        ("AP@3", [4], 0.0),
        ("AP@100", [101, 100], (1 / 100) / 2),
        ("nDCG", [1], 1.0),
        ("nDCG", [2], 1 / log2(3)),
        ("nDCG", [1, 3], (1 + 1 / 2) / (1 + 1 / log2(3))),
        ("nDCG@2", [5, 1, 7], 1 / (1 + 1 / log2(3))),
        ("nDCG@10", [11, 3], (1 / 2) / (1 + 1 / log2(3))),
        ("nDCG@10", [12, 11], 0.0),
        ("nDCG@1", [2, 1, 3], 1.0),
        ("R", [7, 900], 1.0),
        ("R@1", [1], 1.0),
        ("R@1", [2], 0.0),
        ("R@1", [1, 2, 3, 4], 1 / 4),
        ("R@10", [10, 11, 3], 2 / 3),
        ("RR", [8], 1 / 8),
        ("RR", [9, 4, 30], 1 / 4),
        ("RR@10", [10], 1 / 10),
        ("RR@10", [11], 0.0),
        ("RR@10", [11, 5], 1 / 5),
    ],
)
def test_hand_worked_values(metric: str, ranks: list[int], expected: float) -> None:
    assert _value(metric, ranks) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ranks", [[1], [2], [12], [3, 1], [2, 30, 7]])
def test_rank_zero_marks_no_candidate_and_counts_nothing(metric: str, ranks: list[int]) -> None:
    """Queries with fewer relevant candidates are padded; padding must not change their value."""
    padded = np.zeros((2, len(ranks) + 2), dtype=np.int32)
    padded[0, : len(ranks)] = ranks
    padded[1, 2:] = ranks
    expected = _value(metric, ranks)
    np.testing.assert_allclose(compute(parse_metric(metric), padded), expected, rtol=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_are_computed_apart(metric: str) -> None:
    ranks = np.array([[1, 4, 0], [90, 2, 15], [200, 101, 100], [0, 0, 3]], dtype=np.int32)
    together = compute(parse_metric(metric), ranks)
    assert together.shape == (4,)
    apart = [_value(metric, [rank for rank in row if rank]) for row in ranks.tolist()]
    np.testing.assert_allclose(together, apart, rtol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_scikit_learn_on_full_rankings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool, queries = 60, 25
    ranks = np.zeros((queries, 11), dtype=np.int32)
    expected = []
    for row in ranks:
        relevant = rng.choice(pool, size=rng.integers(1, 12), replace=False)
        row[: len(relevant)] = relevant + 1
        labels = np.isin(np.arange(pool), relevant)
        expected.append(average_precision_score(labels, -np.arange(pool)))
    np.testing.assert_allclose(compute(Metric("AP"), ranks), expected, atol=1e-12)


@unhurried
@given(metrics, rank_lists)
def test_values_lie_between_zero_and_one(metric: Metric, ranks: list[int]) -> None:
    assert 0.0 <= _value(str(metric), ranks) <= 1.0 + 1e-12


@unhurried
@given(metrics, rank_lists, st.data())
def test_order_of_columns_changes_nothing(
    metric: Metric, ranks: list[int], data: st.DataObject
) -> None:
    row = [*ranks, 0, 0]
    permuted = data.draw(st.permutations(row))
    assert _value(str(metric), permuted) == pytest.approx(_value(str(metric), row), abs=1e-12)


@unhurried
@given(metrics, rank_lists, st.data())
def test_a_better_rank_never_lowers_a_metric(
    metric: Metric, ranks: list[int], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(ranks) - 1))
    free = sorted(set(range(1, ranks[place])) - set(ranks))
    better = list(ranks)
    if free:
        better[place] = data.draw(st.sampled_from(free))
    assert _value(str(metric), better) >= _value(str(metric), ranks) - 1e-12


@unhurried
@given(st.sampled_from(["AP", "R", "RR"]), rank_lists, st.integers(1, 50))
def test_a_cut_off_never_raises_a_metric_and_vanishes_when_deep(
    measure: str, ranks: list[int], cutoff: int
) -> None:
    """Not so for nDCG, whose ideal ranking is cut too."""
    full = _value(measure, ranks)
    assert _value(f"{measure}@{cutoff}", ranks) <= full + 1e-12
    assert _value(f"{measure}@40", ranks) == pytest.approx(full, abs=1e-12)


@unhurried
@given(metrics)
def test_names_parse_back_to_the_metric(metric: Metric) -> None:
    assert parse_metric(str(metric)) == metric


def test_names_always_show_the_cut_off() -> None:
    assert [str(metric) for metric in FULL_METRICS] == ["AP", "RR"]
    assert all("@" in str(metric) for metric in SHARED_METRICS)
    assert parse_metric("nDCG@10") == Metric("nDCG", 10)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("MAP", "did you mean 'AP'?"),
        ("NDCG@10", "did you mean 'nDCG'?"),
        ("nDGC", "did you mean 'nDCG'?"),
        ("MRR@10", "did you mean 'RR'?"),
        ("precision", "known: AP, R, RR, nDCG"),
        ("", "known: AP, R, RR, nDCG"),
    ],
)
def test_unknown_measures_are_named_with_the_nearest_known(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_metric(text)
    assert str(caught.value) == f"unknown metric '{text}': {hint}"


@pytest.mark.parametrize("text", ["AP@", "AP@0", "AP@-5", "R@1.5", "RR@ten", "nDCG@10@5", "R@²"])
def test_malformed_cut_offs_say_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_metric(text)
    assert str(caught.value) == f"'{text}': the cut-off after @ must be a whole number from 1"


@pytest.mark.parametrize("measure", ["AP", "RR", "nDCG", "R"])
def test_narrow_integers_with_padding_give_the_same_values(measure: str) -> None:
    ranks = np.array([[1, 4, 0], [2, 0, 0]])
    wide = MEASURES[measure](ranks.astype(np.int64), 10)
    narrow = MEASURES[measure](ranks.astype(np.int32), 10)
    np.testing.assert_array_equal(wide, narrow)
