"""All pairs of several systems: a system apart takes nothing from the others, seeds count."""

from __future__ import annotations

import itertools
import math

import numpy as np

from bias_bench.significance.differences import Aligned
from bias_bench.significance.document import Omitted
from bias_bench.significance.options import CompareOptions
from bias_bench.significance.pairwise import all_pairs
from bias_bench.significance.randomization import sign_flips

KIND = {"monolingual": [0]}


def aligned(*systems: np.ndarray) -> Aligned:
    """Systems a, b, … with scores float64 [seeds, topics]; each topic is a unit."""
    topics = systems[0].shape[1]
    names = tuple("abcdef"[: len(systems)])
    return Aligned(
        names,
        tuple(f"t{n}" for n in range(topics)),
        ("en",),
        np.arange(topics),
        tuple(f"t{n}" for n in range(topics)),
        tuple(part[:, :, None] for part in systems),
        Omitted(topics=0, settings=(), cells=0, missing=0),
    )


def p_of(found: Aligned, permutations: int = 199, seed: int = 0) -> dict[tuple[str, str], float]:
    options = CompareOptions(permutations=permutations, seed=seed)
    rows = all_pairs(found, found.systems, KIND, options).groups["monolingual"]
    return {(row.system, row.other): row.p for row in rows}


def scores(random: np.random.Generator, means: list[float], topics: int = 48) -> Aligned:
    noise = random.normal(0, 0.1, (len(means), 1, topics)) + random.normal(0, 0.2, topics)
    return aligned(*(noise + np.array(means)[:, None, None]))


def test_a_system_apart_does_not_hide_the_difference_of_two_others() -> None:
    """Permuting all systems at once, as randomised Tukey HSD does, finds it in 0 % of these."""
    found = [
        p_of(scores(np.random.default_rng(seed), [0.6, 0.52, 0.1]), seed=seed)["b", "a"]
        for seed in range(40)
    ]
    assert np.mean(np.array(found) <= 0.05) >= 0.85


def test_the_level_holds_where_no_system_differs_and_beside_one_that_does() -> None:
    for means, null in (([0.5] * 4, None), ([0.5, 0.5, 0.5, 0.1], "abc")):
        hits = 0
        for seed in range(200):
            p = p_of(scores(np.random.default_rng(seed), means), seed=seed)
            pairs = [pair for pair in p if null is None or set(pair) <= set(null)]
            hits += min(p[pair] for pair in pairs) <= 0.05
        assert hits / 200 <= 0.09


def test_seeds_that_disagree_are_not_a_difference() -> None:
    """Two systems whose seeds vary more than their topics: the means of seeds differ by chance."""
    hits = {"seeds": 0, "means": 0}
    for seed in range(150):
        random = np.random.default_rng(seed)
        systems = [
            0.5 + random.normal(0, 0.1, (5, 1)) + random.normal(0, 0.05, (5, 40)) for _ in range(3)
        ]
        hits["seeds"] += min(p_of(aligned(*systems), 99, seed).values()) <= 0.05
        means = aligned(*(part.mean(axis=0, keepdims=True) for part in systems))
        hits["means"] += min(p_of(means, 99, seed).values()) <= 0.05
    assert hits["means"] / 150 > 0.5
    assert hits["seeds"] / 150 <= 0.1


def test_p_equals_step_down_max_t_over_all_signs() -> None:
    found = scores(np.random.default_rng(5), [0.5, 0.4, 0.45], topics=8)
    a, b, c = (part[0, :, 0] for part in found.scores)
    columns = {("b", "a"): b - a, ("c", "a"): c - a, ("c", "b"): c - b}

    def sizes(signs: tuple[int, ...]) -> dict[tuple[str, str], float]:
        return {
            pair: abs(math.fsum(np.array(signs) * part)) / math.sqrt(math.fsum(part**2))
            for pair, part in columns.items()
        }

    draws = [sizes(signs) for signs in itertools.product((1, -1), repeat=8)]
    observed, expected, before = draws[0], {}, 0.0
    left = sorted(observed, key=lambda pair: -observed[pair])
    while left:
        hits = [max(draw[pair] for pair in left) >= observed[left[0]] - 1e-9 for draw in draws]
        before = expected[left[0]] = max(before, sum(hits) / len(draws))
        left.pop(0)
    assert p_of(found) == expected


def test_two_systems_have_the_p_of_their_sign_flip_test() -> None:
    found = scores(np.random.default_rng(6), [0.5, 0.45])
    difference = found.scores[1][0] - found.scores[0][0]
    assert p_of(found)["b", "a"] == sign_flips(difference, np.arange(48), 199).p[0]


def test_identical_systems_have_p_one() -> None:
    same = np.random.default_rng(7).random((1, 20))
    assert set(p_of(aligned(same, same, same)).values()) == {1.0}
    several = np.repeat(same, 2, axis=0)
    assert set(p_of(aligned(several, several, several)).values()) == {1.0}
