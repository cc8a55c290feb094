"""What is compared: the cells that all runs have, their differences, clusters and pooled values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest

from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.significance.differences import (
    Observations,
    align,
    difference,
    groups_by_kind,
    macro_values,
)
from bias_bench.significance.randomization import sign_flips
from tests.support.significance_data import normal, with_holes

Cells = Mapping[tuple[str, str], float]


HOLE = math.nan


def _observations(cells: Cells, clusters: Mapping[str, str] | None = None) -> Observations:
    topics = [topic for topic, _ in cells]
    return Observations(
        topics,
        [setting for _, setting in cells],
        np.array(list(cells.values()), dtype=np.float64),
        [clusters[topic] for topic in topics] if clusters else None,
    )


LEFT = {("t1", "en"): 0.5, ("t2", "en"): 0.25, ("t1", "en-de"): 1.0, ("t3", "en"): 0.0}


RIGHT = {("t2", "en"): 0.75, ("t1", "en"): 0.25, ("t2", "en-de"): 0.5, ("t4", "en"): 1.0}


def test_only_cells_that_all_runs_have_are_compared() -> None:
    aligned = align({"b": {"0": _observations(LEFT)}, "a": {"0": _observations(RIGHT)}})
    assert (aligned.systems, aligned.topics, aligned.settings) == (
        ("a", "b"),
        ("t1", "t2"),
        ("en",),
    )
    assert difference(aligned, "b", "a").values.tolist() == [[0.25], [-0.5]]
    assert aligned.omitted.topics == 2
    assert aligned.omitted.settings == ("en-de",)
    assert (aligned.omitted.cells, aligned.omitted.missing) == (0, 0)


def test_holes_are_counted_by_whether_any_run_has_the_cell() -> None:
    left = {("t1", "de"): 1.0, ("t1", "en"): 1.0, ("t2", "en"): 1.0, ("t3", "en"): 0.5}
    right = {("t1", "de"): 0.0, ("t1", "en"): 0.0, ("t2", "de"): 0.0, ("t2", "en"): 0.0}
    right |= {("t3", "en"): 0.5}
    aligned = align({"a": {"0": _observations(right)}, "b": {"0": _observations(left)}})
    np.testing.assert_array_equal(
        difference(aligned, "b", "a").values, [[1, 1], [np.nan, 1], [np.nan, 0]]
    )
    np.testing.assert_array_equal(aligned.scores[0][0], [[0, 0], [np.nan, 0], [np.nan, 0.5]])
    assert (aligned.omitted.cells, aligned.omitted.missing) == (1, 1)


def test_settings_are_ordered_by_kind_then_name() -> None:
    names = ["en-all", "en-de", "de-en", "en", "de", "de-all"]
    aligned = align({"a": {"0": _observations({("t", name): 1.0 for name in names})}})
    assert aligned.settings == ("de", "en", "de-en", "en-de", "de-all", "en-all")
    assert groups_by_kind(aligned.settings) == {
        "monolingual": [0, 1],
        "cross_lingual": [2, 3],
        "multilingual": [4, 5],
    }


def test_the_order_of_files_and_rows_changes_nothing() -> None:
    random = Random(0)  # noqa: S311
    settings = ["en", "de", "en-de", "en-all"]
    keys = [(f"t{row}", setting) for row in range(30) for setting in settings]
    clusters = {f"t{row}": f"p{row // 4}" for row in range(30)}
    runs = {
        name: {
            seed: {key: random.random() for key in keys if random.random() < 0.9}
            for seed in ("0", "1", "2")
        }
        for name in ("x", "y")
    }

    def tested(shuffled: bool) -> list[np.ndarray]:
        def rows(cells: dict) -> Observations:
            items = list(cells.items())
            if shuffled:
                random.shuffle(items)
            return _observations(dict(items), clusters)

        step = -1 if shuffled else 1
        aligned = align(
            {
                name: {seed: rows(runs[name][seed]) for seed in list(runs[name])[::step]}
                for name in list(runs)[::step]
            }
        )
        found = difference(aligned, "x", "y")
        return [
            found.system,
            found.values,
            found.clusters,
            *sign_flips(found.values, found.clusters, 99)[:5],
        ]

    for first, second in zip(tested(False), tested(True), strict=True):
        np.testing.assert_array_equal(first, second)


def test_differences_are_of_the_means_over_seeds() -> None:
    runs = {
        "a": {"0": _observations({("t", "en"): 0.2})},
        "b": {
            "0": _observations({("t", "en"): 0.5, ("u", "en"): 1.0}),
            "1": _observations({("t", "en"): 0.7}),
        },
    }
    found = difference(align(runs), "b", "a")
    assert found.system.tolist() == [[[0.5]], [[0.7]]]
    assert found.baseline.tolist() == [[[0.2]]]
    assert found.values.tolist() == [[pytest.approx(0.4)]]
    assert align(runs).omitted.topics == 1


def test_clusters_are_numbered_by_name() -> None:
    cells = {("t1", "en"): 1.0, ("t2", "en"): 1.0, ("t3", "en"): 1.0}
    part = _observations(cells, {"t1": "z", "t2": "a", "t3": "z"})
    aligned = align({"s": {"0": part}})
    assert aligned.cluster_names == ("a", "z")
    assert aligned.clusters.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        ({}, UsageError, "nothing to compare"),
        (
            {"a": _observations({("t1", "en"): 1.0}), "b": _observations({("u1", "en"): 1.0})},
            UsageError,
            r"share no topic in any setting \(a, seed 0: 1 topics such as t1, setting en; b, .*u1",
        ),
        (
            {"a": _observations({("t1", "en"): 1.0}), "b": _observations({("t1", "de"): 1.0})},
            UsageError,
            "share no topic in any setting",
        ),
        ({"a": _observations({})}, UsageError, "no values"),
        (
            {"a": _observations({("t1", "en"): 1.0, ("t2", "en"): HOLE})},
            DataError,
            "a, seed 0: the value of topic t2 in setting en is nan; score the run again",
        ),
        ({"a": _observations({("t1", "en"): math.inf})}, DataError, "t1 in setting en is inf"),
        (
            {"a": Observations(["t", "t"], ["en", "en"], np.array([1.0, 2.0]))},
            DataError,
            "a, seed 0: topic t in setting en has several values",
        ),
        ({"a": Observations(["t"], ["en"], np.ones(2))}, DataError, "differ in number"),
        (
            {"a": Observations(["t", "t"], ["en", "de"], np.ones(2), ["p1", "p2"])},
            DataError,
            "topic t is in cluster p2, elsewhere in p1",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    runs: dict[str, Observations], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        align({name: {"0": part} for name, part in runs.items()})
    assert "\n" not in str(caught.value)


def test_an_unknown_system_is_refused_with_the_nearest_name() -> None:
    aligned = align({"mini-hybrid": {"0": _observations({("t", "en"): 1.0})}})
    with pytest.raises(UsageError, match="unknown system 'mini-hybird': did you mean"):
        difference(aligned, "mini-hybird", "mini-hybrid")


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_pooled_difference_is_that_of_the_macro_averages(share: float) -> None:
    settings = ("de", "en", "de-en", "en-de", "de-all")
    ours, theirs = (with_holes(normal(12, 5, seed), share) for seed in (1, 2))
    groups = groups_by_kind(settings)
    pooled = macro_values(ours - theirs, list(groups.values()))
    macro = [
        aggregate(
            {
                name: {"AP": float(np.nanmean(part[:, column]))}
                for column, name in enumerate(settings)
            }
        )
        for part in (ours, theirs)
    ]
    expected = [macro[0][kind].macro["AP"] - macro[1][kind].macro["AP"] for kind in groups]
    np.testing.assert_allclose(np.nanmean(pooled, axis=0), expected, rtol=1e-13)
    for clusters in (np.arange(12), np.arange(12) // 3):
        found = sign_flips(pooled, clusters, 20)
        np.testing.assert_allclose(found.difference, expected, rtol=1e-13)


def test_pooled_values_of_a_full_grid_are_topic_means() -> None:
    values = normal(7, 4)
    pooled = macro_values(values, [[0, 1, 2, 3], [2]])
    np.testing.assert_allclose(pooled, np.stack([values.mean(axis=1), values[:, 2]], axis=1))


def test_a_topic_without_a_cell_in_the_group_has_no_pooled_value() -> None:
    pooled = macro_values(np.array([[1.0, 3.0], [np.nan, np.nan], [2.0, np.nan]]), [[0, 1]])
    assert np.isnan(pooled[:, 0]).tolist() == [False, True, False]
    assert np.nanmean(pooled) == pytest.approx((1.5 + 3) / 2)
