"""Few units: intervals that hold or none, and no claim that the sign flips could not make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.significance.bootstrap import (
    bootstrap_means,
    bootstrap_p,
    equivalence,
    percentile_intervals,
    with_few_units,
)
from bias_bench.significance.randomization import sign_flips
from bias_bench.significance.seeds import seed_means, seed_residuals
from bias_bench.significance.simultaneous import residuals, simultaneous_intervals
from tests.support.helpers import unhurried

DATA_SETS = 1_500


def points(values: np.ndarray, clusters: np.ndarray | None = None) -> np.ndarray:
    units = np.arange(len(values)) if clusters is None else clusters
    return with_few_units(bootstrap_means(values, units, 199), values, units, None)


@pytest.mark.parametrize("units", [2, 3, 4, 5])
def test_too_few_units_have_no_interval(units: int) -> None:
    values = np.random.default_rng(units).normal(0, 1, (units, 50))
    found = percentile_intervals(points(values))
    assert np.isnan([found.low, found.high]).all()
    joint = simultaneous_intervals(residuals(values, np.arange(units)))
    assert np.isnan([joint.low, joint.high]).all()


@pytest.mark.parametrize("units", [6, 7, 8, 9])
def test_intervals_of_few_units_hold_as_often_as_they_say(units: int) -> None:
    """Percentile intervals of the bootstrap hold 85 to 89 % of the time with this many."""
    values = np.random.default_rng(units).normal(0, 1, (units, DATA_SETS))
    found = percentile_intervals(points(values))
    assert 0.935 <= ((found.low <= 0) & (found.high >= 0)).mean() <= 0.98


@pytest.mark.parametrize(("units", "share"), [(10, 0.89), (12, 0.91), (20, 0.93), (48, 0.94)])
def test_percentile_intervals_of_more_units_hold_as_often_as_the_warning_says(
    units: int, share: float
) -> None:
    values = np.random.default_rng(units).normal(0, 1, (units, DATA_SETS))
    found = percentile_intervals(bootstrap_means(values, np.arange(units), 499))
    assert ((found.low <= 0) & (found.high >= 0)).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("units", [2, 3, 4, 5, 6, 8])
def test_no_worse_errs_as_often_as_it_says_however_few_units_there_are(units: int) -> None:
    """The truth lies at the margin. By the bootstrap it errs in 26 % with 2 units, 10 % with 6."""
    values = np.random.default_rng(units).normal(-0.5, 1, (units, DATA_SETS))
    found = equivalence(points(values), 0.5)
    assert (found.no_worse <= 0.05).mean() <= 0.065
    assert found.no_worse.min() >= 1 / 2**units
    assert found.equivalent.min() >= 1 / 2**units


@unhurried
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 3)), min_size=1, max_size=7))
def test_the_interval_is_what_all_flips_do_not_reject(rows: list[tuple[int, int]]) -> None:
    """By the definition: the p-value of every shift that lies between two subsets' means."""
    values = np.repeat([[float(value)] for value, _ in rows], [size for _, size in rows], axis=0)
    clusters = np.repeat(np.arange(len(rows)), [size for _, size in rows])
    found = percentile_intervals(points(values, clusters))
    sums, sizes = np.array([v * n for v, n in rows], dtype=float), np.array([n for _, n in rows])
    subsets = list(itertools.product((0, 1), repeat=len(rows)))[1:]
    means = sorted({float(np.dot(s, sums) / np.dot(s, sizes)) for s in subsets})
    between = [means[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(means)), means[-1] + 1]
    for shift in between:
        p = sign_flips(values - shift, clusters).p[0]
        inside = np.isnan(found.low[0]) or found.low[0] <= shift <= found.high[0]
        assert inside == (p > 0.05)


def test_p_and_points_agree() -> None:
    values = np.random.default_rng(3).normal(0.5, 1, (8, 40))
    np.testing.assert_allclose(bootstrap_p(points(values)), sign_flips(values, np.arange(8)).p)


def test_a_setting_with_few_units_among_others_has_points_of_its_own() -> None:
    values = np.random.default_rng(4).normal(0, 1, (40, 2))
    values[7:, 1] = np.nan
    found = points(values)
    np.testing.assert_array_equal(found[:199, 0], bootstrap_means(values, np.arange(40), 199)[:, 0])
    own = percentile_intervals(found[:, 1:])
    alone = percentile_intervals(points(values[:7, 1:]))
    assert (own.low, own.high) == (alone.low, alone.high)


def test_with_many_units_nothing_changes() -> None:
    values = np.random.default_rng(5).normal(0, 1, (10, 3))
    np.testing.assert_array_equal(points(values), bootstrap_means(values, np.arange(10), 199))


@pytest.mark.parametrize("units", [3, 6, 8])
def test_seeds_and_few_units_show_no_more_than_the_flips_could(units: int) -> None:
    """Two seeds of each system whose noise is that of the units: Student's t takes over."""
    random = np.random.default_rng(units)
    clusters, hits = np.arange(units), []
    for number in range(300):
        scores = [random.normal(0, 1, (2, units, 1)) for _ in range(2)]
        values = scores[0].mean(axis=0) - scores[1].mean(axis=0)
        means = seed_means(*scores, clusters, 99, number)
        of_seeds = [part.mean(axis=1) for part in scores]
        spread = seed_residuals(residuals(values, clusters), of_seeds, 1e-12)
        found = with_few_units(means, values, clusters, spread)
        assert bootstrap_p(found)[0] >= 1 / 2 ** (units - 1)
        interval = percentile_intervals(found)
        assert np.isnan(interval.low[0]) == (units < 6)
        hits.append(interval.low[0] <= 0 <= interval.high[0])
    assert units < 6 or np.mean(hits) >= 0.92


def test_too_few_replicates_have_no_interval() -> None:
    values = np.random.default_rng(6).normal(0, 1, (30, 1))
    few, enough = (
        percentile_intervals(bootstrap_means(values, np.arange(30), replicates))
        for replicates in (38, 39)
    )
    assert np.isnan(few.low[0])
    assert enough.low[0] < values.mean() < enough.high[0]
