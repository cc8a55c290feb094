"""Hubness: how unevenly the candidates of a language are found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bias_bench.bias import hubness
from bias_bench.bias.pooled import read_pooled
from bias_bench.data.ids import language_of
from tests.support.bias_runs import random_world, ranked


def slow_skewness(counts: list[int]) -> float:
    mean = sum(counts) / len(counts)
    spread = (sum((n - mean) ** 2 for n in counts) / len(counts)) ** 0.5
    return sum((n - mean) ** 3 for n in counts) / len(counts) / spread**3


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_hubness_equals_counting_every_top_ten(tmp_path: Path, seed: int, partly: bool) -> None:
    world = random_world(seed, partly=partly)
    parallel = ranked(world, tmp_path)
    found = hubness.summarise(read_pooled(tmp_path, parallel), parallel)
    times = Counter(
        name
        for by_topic in world.rankings.values()
        for row in by_topic.values()
        for name in row[:10]
    )
    for language in world.languages:
        counts = [count for name, count in times.items() if language_of(name) == language]
        whole = counts + [0] * (9 - len(counts))
        assert found["per_language"][language] == pytest.approx(slow_skewness(whole))
        assert found["never"]["per_language"][language] == pytest.approx(1 - len(counts) / 9)
    assert found["cutoff"] == 10


@pytest.mark.parametrize(
    ("listed", "size", "skewness", "never"),
    [
        ([0, 1, 2], 3, np.nan, 0.0),  # all alike
        ([], 4, np.nan, 1.0),
        ([5] * 8, 2, 0.0, 0.5),  # two values are symmetric
        ([7], 10, 8 / 3, 0.9),  # (1 - 2p)/sqrt(p(1 - p)) with p = 0.1
    ],
)
def test_hubness_of_known_counts(
    listed: list[int], size: int, skewness: float, never: float
) -> None:
    counts = hubness.occurrences(np.array(listed, dtype=np.int64), size)
    assert counts.sum() == len(listed)
    np.testing.assert_allclose([hubness.skewness(counts), (counts == 0).mean()], [skewness, never])


def test_one_hub_raises_it() -> None:
    random = np.random.default_rng(0)
    even = random.integers(0, 50, 500)
    crowded = np.concatenate([even, np.zeros(200, dtype=np.int64)])
    raised, before = (hubness.skewness(hubness.occurrences(top, 50)) for top in (crowded, even))
    assert raised > before


def test_there_is_no_hubness_without_the_sizes_of_the_pools(tmp_path: Path) -> None:
    world = random_world(0)
    parallel = ranked(world, tmp_path)
    runs = read_pooled(tmp_path, parallel)
    assert hubness.summarise(runs, parallel._replace(pools={"all": 36})) == {}
    assert hubness.summarise({}, parallel) == {}
