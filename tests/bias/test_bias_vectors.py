"""Alignment, uniformity and reciprocity of vectors by pairs of languages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bias_bench.bias.alignment import alignment
from bias_bench.bias.reciprocity import reciprocity
from bias_bench.bias.uniformity import uniformity


def unit(seed: int, texts: int, dimensions: int = 6) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(texts, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = {"de": unit(0, 7), "en": unit(1, 7), "th": unit(2, 7)}


def squared(first: np.ndarray, second: np.ndarray) -> float:
    return sum((float(a) - float(b)) ** 2 for a, b in zip(first, second, strict=True))


def test_alignment_is_the_mean_squared_distance_of_the_same_topics() -> None:
    partly = {**VECTORS, "th": VECTORS["th"].copy()}
    partly["th"][2:5] = np.nan
    expected = [
        [
            np.mean([squared(a, b) for a, b in zip(first, second, strict=True)
                     if not np.isnan(a + b).any()])
            for second in partly.values()
        ]
        for first in partly.values()
    ]  # fmt: skip
    np.testing.assert_allclose(alignment(partly), expected, atol=1e-6)
    partly["th"][:] = np.nan
    assert np.isnan(alignment(partly)[2]).all()


def test_alignment_has_known_values() -> None:
    opposite = {"a": np.eye(3), "b": -np.eye(3), "c": np.roll(np.eye(3), 1, axis=0)}
    np.testing.assert_allclose(alignment(opposite), [[0, 4, 2], [4, 0, 2], [2, 2, 0]])


def test_uniformity_is_the_log_of_the_mean_potential_of_all_pairs() -> None:
    names = list(VECTORS)
    found = uniformity(VECTORS)
    for row, a in enumerate(names):
        for column, b in enumerate(names):
            potentials = [
                math.exp(-2 * squared(first, second))
                for i, first in enumerate(VECTORS[a])
                for j, second in enumerate(VECTORS[b])
                if a != b or i != j
            ]
            assert found[row, column] == pytest.approx(math.log(np.mean(potentials)), abs=1e-5)
    assert ((found >= -8) & (found <= 0)).all()


def test_uniformity_has_known_values() -> None:
    found = uniformity(
        {"same": np.ones((3, 1)), "opposite": -np.ones((2, 1)), "one": np.ones((1, 1))}
    )
    np.testing.assert_allclose(found, [[0, -8, 0], [-8, 0, -8], [0, -8, np.nan]])


def test_neither_depends_on_a_rotation_of_all_vectors() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    turned = {name: part @ turn for name, part in VECTORS.items()}
    np.testing.assert_allclose(alignment(turned), alignment(VECTORS), atol=1e-5)
    np.testing.assert_allclose(uniformity(turned), uniformity(VECTORS), atol=1e-5)


def test_reciprocity_equals_asking_both_ways() -> None:
    vectors = {"de": unit(4, 9), "en": unit(5, 6)}
    found = reciprocity(vectors)

    def nearest(text: np.ndarray, others: np.ndarray) -> int:
        return max(range(len(others)), key=lambda row: float(text @ others[row]))

    for row, (a, b) in enumerate((("de", "en"), ("en", "de"))):
        mutual = [
            nearest(vectors[b][nearest(text, vectors[b])], vectors[a]) == place
            for place, text in enumerate(vectors[a])
        ]
        assert found[row, 1 - row] == pytest.approx(np.mean(mutual))
    assert np.isnan(found[[0, 1], [0, 1]]).all()


def test_a_hub_lowers_reciprocity() -> None:
    parallel = {"de": np.eye(5), "en": np.eye(5)}
    assert reciprocity(parallel)[0, 1] == 1
    parallel["en"] = np.vstack([np.eye(5), np.full((1, 5), 2.0)])  # the nearest of every text
    assert reciprocity(parallel)[0, 1] == 1 / 5
    assert np.isnan(reciprocity({"de": np.eye(2), "en": np.eye(2)[:0]})).all()
