"""Language-bias metrics: rank distance and language shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.bias import language_share, rank_distance
from bias_bench.bias.language_share import language_shares
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.evaluation.ranks import RankTable, write_ranks
from tests.support.bias_runs import padded
from tests.support.helpers import rank_rows, unhurried

LANGUAGES = ("de", "en", "zh")
POOL = 50
rankings = st.lists(
    st.lists(st.integers(1, POOL), unique=True, min_size=0, max_size=6), min_size=1, max_size=8
)


@pytest.mark.parametrize(
    ("ranks", "distance"),
    [
        ([4, 1, 9], 8),
        ([1, 2, 3], 2),
        ([7, 7000, 70], 6993),
        ([5, 6], 1),
        ([9, 0, 2], 7),
        ([0, 0, 3, 8], 5),
        ([1, POOL], POOL - 1),
    ],
)
def test_rank_distance_is_the_largest_less_the_smallest_rank(
    ranks: list[int], distance: float
) -> None:
    found = rank_distance.rank_distance(np.array([ranks], dtype=np.int32))
    assert found.dtype == np.float64
    assert found.tolist() == [distance]


@pytest.mark.parametrize("ranks", [[0, 0], [6, 0], [0, 6], [0]])
def test_rank_distance_needs_two_candidates(ranks: list[int]) -> None:
    (found,) = rank_distance.rank_distance(np.array([ranks], dtype=np.int32))
    assert np.isnan(found)


@unhurried
@given(rankings)
def test_rank_distance_equals_comparing_every_pair(rows: list[list[int]]) -> None:
    found = rank_distance.rank_distance(padded(rows))
    expected = [
        max(abs(a - b) for a in row for b in row) if len(row) >= 2 else np.nan for row in rows
    ]
    np.testing.assert_array_equal(found, expected)


@unhurried
@given(st.integers(2, 11), st.integers(0, 1000), st.data())
def test_rank_distance_lies_between_its_floor_and_its_ceiling(
    languages: int, above: int, data: st.DataObject
) -> None:
    together = np.arange(above + 1, above + 1 + languages)
    (floor,) = rank_distance.rank_distance(together[None].astype(np.int32))
    assert floor == languages - 1
    ranks = data.draw(
        st.lists(st.integers(1, POOL), unique=True, min_size=languages, max_size=languages)
    )
    (found,) = rank_distance.rank_distance(np.array([ranks], dtype=np.int32))
    assert languages - 1 <= found <= POOL - 1


@unhurried
@given(rankings, st.randoms(use_true_random=False))
def test_rank_distance_does_not_depend_on_the_order_of_columns(
    rows: list[list[int]], random: Random
) -> None:
    table = padded(rows)
    columns = list(range(table.shape[1]))
    random.shuffle(columns)
    np.testing.assert_array_equal(
        rank_distance.rank_distance(table[:, columns]), rank_distance.rank_distance(table)
    )


def _rank_table(folder: Path, tables: Sequence[pa.Table], pool: int) -> RankTable:
    write_ranks(folder / "ranks.parquet", tables, {"all": pool})
    return RankTable(folder / "ranks.parquet")


def _summarise(table: RankTable) -> dict:
    return rank_distance.summarise(parallel_ranks(table))


@pytest.fixture
def summary(tmp_path: Path) -> dict:
    """German: distances 8, 1, 3; English: 20 and a topic in one language; zh: one such alone."""
    german = [
        *[("t1", "de:0-0-0", 1), ("t1", "en:0-0-0", 9), ("t1", "zh:0-0-0", 4)],
        *[("t2", "de:0-0-1", 3), ("t2", "en:0-0-1", 2)],
        *[("t3", "en:0-0-2", 5), ("t3", "zh:0-0-2", 8)],
    ]
    english = [
        *[("t1", "de:0-0-0", 21), ("t1", "en:0-0-0", 1), ("t1", "zh:0-0-0", 7)],
        *[("t4", "en:0-0-3", 30)],
    ]
    tables = [
        rank_rows("de", [("t1", "de:0-0-0", 1)]),
        rank_rows("en-de", [("t1", "de:0-0-0", 900), ("t2", "de:0-0-1", 1)]),
        rank_rows("de-all", german),
        rank_rows("en-all", english),
        rank_rows("zh-all", [("t5", "zh:0-0-5", 2)]),
    ]
    return _summarise(_rank_table(tmp_path, tables, 41))


def test_summary_averages_over_queries_then_languages(summary: dict) -> None:
    assert summary["per_language"] == {"de": 4.0, "en": 20.0}
    assert summary["macro"] == 12.0


def test_summary_takes_medians_over_queries_then_their_mean(summary: dict) -> None:
    assert summary["median_per_language"] == {"de": 3.0, "en": 20.0}
    assert summary["median"] == 11.5


def test_summary_divides_by_the_ceiling(summary: dict) -> None:
    assert summary["normalised"] == pytest.approx(12 / 40)


def test_summary_counts_queries_of_topics_in_one_language(summary: dict) -> None:
    assert summary["left_out"] == 2


@pytest.mark.parametrize("pool", [6, 30])
def test_normalised_distance_is_one_at_the_ceiling(tmp_path: Path, pool: int) -> None:
    rows = [("t", "de:0-0-0", pool), ("t", "en:0-0-0", 1)]
    found = _summarise(_rank_table(tmp_path, [rank_rows("en-all", rows)], pool))
    assert found["normalised"] == 1.0


@pytest.mark.parametrize(
    ("setting", "rows"),
    [
        ("en", [("t", "en:0-0-0", 4)]),
        ("en-all", [("t", "en:0-0-0", 4)]),
    ],
    ids=["no pooled setting", "no parallel topic"],
)
def test_summary_is_empty_without_parallel_topics(
    tmp_path: Path, setting: str, rows: list[tuple[str, str, int]]
) -> None:
    table = _rank_table(tmp_path, [rank_rows(setting, rows)], 9)
    assert _summarise(table) == {}


@pytest.mark.parametrize(
    ("k", "shares"),
    [
        (1, [0.5, 0.5, 0.0]),
        (2, [0.25, 0.5, 0.25]),
        (3, [1 / 6, 4 / 6, 1 / 6]),
        (4, [2 / 8, 4 / 8, 2 / 8]),
    ],
)
def test_shares_count_languages_in_the_top(k: int, shares: list[float]) -> None:
    results = np.array([[0, 2, 1, 0], [1, 1, 1, 2]])
    np.testing.assert_allclose(language_shares(results, 3, k), shares, rtol=1e-15)


def test_shares_of_short_rankings_are_of_what_was_found() -> None:
    short = np.array([[0, 1, -1, -1], [1, 1, -1, -1]])
    assert language_shares(short, 3, 10).tolist() == [0.25, 0.75, 0.0]
    assert language_shares(short[:1], 3, 1).tolist() == [1.0, 0.0, 0.0]


def test_languages_that_are_never_found_have_share_zero() -> None:
    assert language_shares(np.zeros((2, 10), dtype=int), 4, 10).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_shares_of_nothing_are_unknown() -> None:
    assert np.isnan(language_shares(np.full((3, 10), -1), 2, 10)).all()


@unhurried
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=10), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_shares_sum_to_one(rows: list[list[int]], k: int) -> None:
    results = np.full((len(rows), 10), -1)
    for row, values in zip(results, rows, strict=True):
        row[: len(values)] = values
    shares = language_shares(results, 5, k)
    assert shares.sum() == pytest.approx(1.0)
    assert ((shares >= 0) & (shares <= 1)).all()


def _summary(top: dict[str, list[list[int]]], k: int) -> dict:
    return language_share.summarise(
        {language: np.array(rows) for language, rows in top.items()}, LANGUAGES, k
    )


def test_summary_gives_the_share_of_the_query_s_own_language() -> None:
    german = [[0, 1, 2, 2, 2, 2, 2, 2, 2, 2], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    english = [[1, 1, 1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]]
    first = _summary({"de": german, "en": english}, 1)
    assert first["per_language"] == {"de": 0.5, "en": 1.0}
    assert first["macro"] == 0.75
    assert first["shares"]["en"] == {"de": 0.0, "en": 1.0, "zh": 0.0}
    ten = _summary({"de": german, "en": english}, 10)
    assert ten["per_language"] == pytest.approx({"de": 0.5, "en": 0.7})
    assert ten["macro"] == pytest.approx(0.6)
    assert ten["shares"]["de"] == pytest.approx({"de": 0.5, "en": 0.1, "zh": 0.4})


@pytest.mark.parametrize("k", [1, 10])
def test_a_system_that_returns_only_the_query_s_language_has_share_one(k: int) -> None:
    found = _summary({"de": [[0] * 10] * 3, "en": [[1] * 10] * 2, "zh": [[2] * 10]}, k)
    assert found["macro"] == 1.0


def test_a_run_without_pooled_settings_has_no_shares() -> None:
    assert _summary({}, 10) == {}
