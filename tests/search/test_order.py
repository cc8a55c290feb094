"""The order of results: float32 score descending, then candidate id descending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bias_bench.search.order import (
    descending_id_order,
    key_columns,
    key_scores,
    rank_keys,
    strictly_decreasing,
)
from tests.support.helpers import canonical_order, unhurried

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
LARGEST = float(np.finfo(np.float32).max)
AWKWARD = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, SMALLEST, -SMALLEST, 3 * SMALLEST, LARGEST, -LARGEST]
finite = st.sampled_from(AWKWARD) | st.floats(width=32, allow_nan=False, allow_infinity=False)
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=finite
)
# far from the lowest number, where there are no smaller ones to step to
descending_matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0.0, -0.0, 1.0, -1.0, SMALLEST, -SMALLEST, 2 * SMALLEST])
    | st.floats(-(2.0**90), 2.0**90, width=32),
).map(lambda scores: -np.sort(-scores, axis=1))


def _lexsorted(scores: np.ndarray) -> np.ndarray:
    """Columns by score descending, then column ascending, row by row."""
    columns = np.arange(len(scores[0]))
    return np.array([np.lexsort((columns, -row.astype(np.float64))) for row in scores])


@unhurried
@given(matrices)
def test_keys_rank_by_score_then_column(scores: np.ndarray) -> None:
    keys = rank_keys(scores)
    assert all(len(set(row)) == len(row) for row in keys.tolist())
    np.testing.assert_array_equal(np.argsort(-keys, axis=1), _lexsorted(scores))


@pytest.mark.parametrize(
    "scores",
    [
        [0.0, -0.0, 0.0, -0.0],
        [-0.0, SMALLEST, -SMALLEST, 0.0],
        [-1.0, -1.0, -2.0, -0.5],
        [-LARGEST, LARGEST, 0.0, LARGEST],
        [1.0, float(np.nextafter(np.float32(1), np.float32(2))), 1.0, 1.0],
    ],
    ids=["signed zeros", "denormals", "negative ties", "extremes", "one float32 step"],
)
def test_keys_rank_awkward_scores(scores: list[float]) -> None:
    row = np.array([scores], dtype=np.float32)
    np.testing.assert_array_equal(np.argsort(-rank_keys(row), axis=1), _lexsorted(row))


@unhurried
@given(
    st.dictionaries(
        st.text("abz019-:é中😀", min_size=1, max_size=6), st.sampled_from(AWKWARD), min_size=1
    )
)
def test_keys_over_descending_ids_give_the_canonical_order(results: dict[str, float]) -> None:
    ids = list(results)
    order = descending_id_order(ids)
    scores = np.array([[results[ids[row]] for row in order]], dtype=np.float32)
    columns = key_columns(np.sort(rank_keys(scores), axis=1)[:, ::-1])[0]
    assert [ids[order[column]] for column in columns] == canonical_order(results)


@unhurried
@given(matrices)
def test_keys_give_back_their_column_and_score(scores: np.ndarray) -> None:
    keys = rank_keys(scores)
    np.testing.assert_array_equal(
        key_columns(keys), np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    )
    inverted = key_scores(keys)
    assert inverted.dtype == np.float32
    zero = np.float32(0)  # adding it turns -0.0 into 0.0 and changes nothing else
    np.testing.assert_array_equal(inverted.view(np.int32), (scores + zero).view(np.int32))


def test_keys_reach_the_last_column_of_a_wide_pool() -> None:
    scores = np.zeros((1, 70_000), dtype=np.float32)
    keys = rank_keys(scores)
    np.testing.assert_array_equal(key_columns(keys)[0], np.arange(70_000))
    assert (np.diff(keys[0]) < 0).all()


@unhurried
@given(st.lists(st.text(max_size=5), unique=True, max_size=20))
def test_descending_id_order_sorts_utf8_bytes(ids: list[str]) -> None:
    order = descending_id_order(ids)
    expected = sorted((name.encode("utf-8") for name in ids), reverse=True)
    assert [ids[row].encode("utf-8") for row in order] == expected


def test_descending_id_order_compares_text_not_numbers() -> None:
    ids = ["en:10-0-0", "en:9-0-0", "en:1-0-0", "de:99-0-0", "zh:0-0-0"]
    ordered = [ids[row] for row in descending_id_order(ids)]
    assert ordered == ["zh:0-0-0", "en:9-0-0", "en:10-0-0", "en:1-0-0", "de:99-0-0"]


@unhurried
@given(descending_matrices)
def test_lowered_scores_are_the_highest_that_strictly_decrease(scores: np.ndarray) -> None:
    before = scores.copy()
    lowered = strictly_decreasing(scores)
    assert lowered.dtype == np.float32
    assert (lowered[:, 1:] < lowered[:, :-1]).all()
    assert (lowered <= scores).all()
    for row, result in zip(scores, lowered, strict=True):
        limit = np.float32(np.inf)
        for score, value in zip(row, result, strict=True):
            assert value == min(score, limit)
            limit = np.nextafter(value, np.float32(-np.inf))
    np.testing.assert_array_equal(scores, before)


@unhurried
@given(descending_matrices)
def test_lowering_is_idempotent(scores: np.ndarray) -> None:
    once = strictly_decreasing(scores)
    np.testing.assert_array_equal(strictly_decreasing(once), once)


def test_lowering_keeps_scores_that_do_not_tie() -> None:
    scores = np.array([[0.9, 0.9, 0.5, 0.5, 0.5, -0.25]], dtype=np.float32)
    lowered = strictly_decreasing(scores)[0]
    steps = [0, 1, 0, 1, 2, 0]
    for score, value, count in zip(scores[0], lowered, steps, strict=True):
        expected = score
        for _ in range(count):
            expected = np.nextafter(expected, np.float32(-1))
        assert value == expected


def test_lowering_pushes_down_a_score_one_step_below_a_tie() -> None:
    one = np.float32(1)
    below = np.nextafter(one, np.float32(0))
    lowered = strictly_decreasing(np.array([[one, one, below]], dtype=np.float32))[0]
    assert lowered.tolist() == [one, below, np.nextafter(below, np.float32(0))]


@unhurried
@given(matrices)
def test_scores_decrease_strictly_down_to_the_lowest_number(scores: np.ndarray) -> None:
    ordered = -np.sort(-scores, axis=1)
    with np.errstate(over="raise", invalid="raise"):
        lowered = strictly_decreasing(ordered)
    assert np.isfinite(lowered).all()
    assert (lowered[:, 1:] < lowered[:, :-1]).all()
    assert (lowered[:, -1] <= np.maximum(ordered[:, -1], -LARGEST)).all()


def test_ties_at_the_lowest_number_are_raised_and_places_without_a_result_are_not() -> None:
    scores = np.array([[0.5, -LARGEST, -LARGEST, -np.inf], [0.5, 0.25, -LARGEST, -LARGEST]])
    lowered = strictly_decreasing(scores.astype(np.float32))
    above = float(np.nextafter(np.float32(-LARGEST), np.float32(0)))
    assert lowered.tolist() == [[0.5, above, -LARGEST, -np.inf], [0.5, 0.25, above, -LARGEST]]
