"""Debiasing as pure functions: guarantees of the methods against independent references."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh
from sklearn.linear_model import LinearRegression, LogisticRegression

from bias_bench.config.kinds import DebiasMethod
from bias_bench.encoders.debias import Debias, apply, erase, fit, group_code
from bias_bench.errors import UsageError
from tests.support.helpers import unhurried

METHODS: tuple[DebiasMethod, ...] = get_args(DebiasMethod)
LANGUAGES, SIZE = 4, 12


def sample(
    seed: int = 0, texts: int = 400, languages: int = LANGUAGES, size: int = SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors float32 that show their language, and its codes, of uneven frequency."""
    random = np.random.default_rng(seed)
    codes = random.permutation(np.minimum(random.geometric(0.4, texts) - 1, languages - 1))
    mixing = random.standard_normal((size, size))
    vectors = random.standard_normal((texts, size)) @ mixing + 2
    vectors += 2 * random.standard_normal((languages, size))[codes]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), codes


def erase_all(debias: Debias, vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Each vector erased as its own language."""
    erased = np.empty(vectors.shape)
    for code in np.unique(codes):
        erased[codes == code] = erase(debias, vectors[codes == code], code)
    return erased


def one_hot(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.unique(codes)).astype(np.float64)


def covariances(vectors: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the vectors, and of vectors with one-hot languages."""
    both = np.cov(vectors.astype(np.float64).T, one_hot(codes).T, bias=True)
    return both[: vectors.shape[1], : vectors.shape[1]], both[
        : vectors.shape[1], vectors.shape[1] :
    ]


def test_leace_leaves_no_covariance_with_language() -> None:
    vectors, codes = sample()
    before = covariances(vectors, codes)[1]
    after = covariances(erase_all(fit("leace", vectors, codes), vectors, codes), codes)[1]
    assert np.abs(before).max() > 0.01
    assert np.abs(after).max() < 1e-12


def test_linear_probes_know_the_language_before_leace_and_nothing_after() -> None:
    vectors, codes = sample()
    erased = erase_all(fit("leace", vectors, codes), vectors, codes)
    shares = one_hot(codes).mean(axis=0)

    def accuracy(features: np.ndarray) -> float:
        scale = features.std(axis=0)
        probe = LogisticRegression(C=1e6, max_iter=2000).fit(features / scale, codes)
        return float(probe.score(features / scale, codes))

    assert accuracy(vectors) > 0.8
    assert accuracy(erased) == pytest.approx(shares.max())
    assert np.abs(LinearRegression().fit(erased, one_hot(codes)).coef_).max() < 1e-9


def test_leace_is_the_least_change_that_leaves_no_covariance() -> None:
    """Against the quadratic programme min E|A x - x|², A Σ_xz = 0, solved by its KKT system."""
    vectors, codes = sample(size=5, languages=3)
    within, across = covariances(vectors, codes)
    constraints = across[:, :-1]  # the last column is minus the sum of the others
    many = constraints.shape[1]
    system = np.block([[within, constraints], [constraints.T, np.zeros((many, many))]])
    solution = np.linalg.solve(system, np.vstack([within, np.zeros((many, 5))]))[:5].T
    mean = vectors.mean(axis=0, dtype=np.float64)
    expected = (vectors - mean) @ solution.T + mean
    found = erase_all(fit("leace", vectors, codes), vectors, codes)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_map_that_erases_changes_less_in_any_norm(seed: int) -> None:
    vectors, codes = sample(seed, size=4, languages=3)
    random = np.random.default_rng(seed)
    across = covariances(vectors, codes)[1]
    free = np.linalg.svd(across).U[:, 2:]  # directions without covariance with language
    shape = random.standard_normal((4, 4))
    mean = vectors.mean(axis=0, dtype=np.float64)

    def change(erased: np.ndarray) -> float:
        return float((((erased - vectors) @ shape) ** 2).sum(axis=1).mean())

    least = change(erase_all(fit("leace", vectors, codes), vectors, codes))
    orthogonal = free @ free.T
    for scale in (0, 0.01, 0.1, 1):
        other = orthogonal + scale * random.standard_normal((4, 2)) @ free.T
        erased = (vectors - mean) @ other.T + mean
        assert np.abs(covariances(erased, codes)[1]).max() < 1e-12
        assert change(erased) >= least


def test_leace_keeps_the_mean_and_takes_one_direction_less_than_languages() -> None:
    vectors, codes = sample()
    found = fit("leace", vectors, codes)
    erased = erase_all(found, vectors, codes)
    np.testing.assert_allclose(erased.mean(axis=0), vectors.mean(axis=0, dtype=np.float64))
    assert found.read.shape == found.write.shape == (1, SIZE, LANGUAGES - 1)


def test_leace_follows_a_change_of_coordinates() -> None:
    vectors, codes = sample()
    turn = np.random.default_rng(1).standard_normal((SIZE, SIZE))
    erased = erase_all(fit("leace", vectors, codes), vectors, codes)
    moved = vectors.astype(np.float64) @ turn + 3
    np.testing.assert_allclose(
        erase_all(fit("leace", moved, codes), moved, codes), erased @ turn + 3, atol=1e-8
    )


def test_leace_needs_no_language_when_it_is_applied() -> None:
    vectors, codes = sample()
    found = fit("leace", vectors, codes)
    assert np.array_equal(apply(found, vectors, 0), apply(found, vectors, 99))


@pytest.mark.parametrize("texts", [6, 40])
def test_leace_with_fewer_texts_than_dimensions_still_erases(texts: int) -> None:
    vectors, _ = sample(texts=texts, size=64)
    codes = np.arange(texts) % 3
    erased = erase_all(fit("leace", vectors, codes), vectors, codes)
    assert np.abs(covariances(erased, codes)[1]).max() < 1e-9


def test_leace_leaves_vectors_that_show_no_language_alone() -> None:
    vectors, _ = sample(texts=50)
    twice, codes = np.concatenate([vectors, vectors]), np.repeat([0, 1], 50)
    found = fit("leace", twice, codes)
    assert found.read.shape[2] == 0
    np.testing.assert_allclose(erase(found, vectors, 0), vectors)


def test_lir_equals_the_first_eigenvectors_of_the_uncentred_second_moment() -> None:
    vectors, codes = sample()
    for rank in (1, 3):
        found = fit("lir", vectors, codes, rank)
        for code in range(LANGUAGES):
            own = vectors[codes == code].astype(np.float64)
            last = SIZE - 1
            first = eigh(own.T @ own, subset_by_index=[last - rank + 1, last])[1]
            expected = own - own @ first @ first.T
            np.testing.assert_allclose(erase(found, own, code), expected, atol=1e-10)


def test_lir_leaves_nothing_in_the_directions_it_takes_out() -> None:
    vectors, codes = sample()
    found = fit("lir", vectors, codes, 2)
    for code in range(LANGUAGES):
        basis = found.read[code]
        np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(apply(found, vectors, code) @ basis, 0, atol=1e-6)


def test_lir_with_fewer_texts_than_directions_takes_out_what_there_is() -> None:
    vectors = np.eye(3, 5, dtype=np.float32)
    found = fit("lir", vectors, np.array([0, 0, 1]), rank=2)
    np.testing.assert_allclose(erase(found, np.ones((1, 5)), 1), [[1, 1, 0, 1, 1]])


def test_centring_puts_the_mean_of_every_language_at_zero() -> None:
    vectors, codes = sample()
    erased = erase_all(fit("centre", vectors, codes), vectors, codes)
    for code in range(LANGUAGES):
        np.testing.assert_allclose(erased[codes == code].mean(axis=0), 0, atol=1e-12)
    within = vectors[codes == 1].astype(np.float64)
    np.testing.assert_allclose(
        erased[codes == 1][:-1] - erased[codes == 1][1:], within[:-1] - within[1:]
    )


def test_centring_by_sides_puts_the_mean_of_every_language_and_side_at_zero() -> None:
    vectors, languages = sample()
    sides = np.random.default_rng(3).integers(2, size=len(languages))
    groups = np.array(
        [
            group_code("centre-sides", language, ("candidate", "query")[side])
            for language, side in zip(languages.tolist(), sides.tolist(), strict=True)
        ]
    )
    assert len(np.unique(groups)) == 2 * LANGUAGES
    found = fit("centre-sides", vectors, groups)
    for group in np.unique(groups):
        erased = erase(found, vectors[groups == group], group)
        np.testing.assert_allclose(erased.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("method", ["centre", "lir", "leace"])
def test_only_centring_by_sides_tells_sides_apart(method: DebiasMethod) -> None:
    assert group_code(method, 3, "query") == group_code(method, 3, "candidate") == 3
    assert group_code("centre-sides", 3, "query") != group_code("centre-sides", 3, "candidate")


@pytest.mark.parametrize("method", ["lir", "leace"])
def test_erasing_twice_is_erasing_once(method: DebiasMethod) -> None:
    vectors, codes = sample()
    found = fit(method, vectors, codes)
    once = erase(found, vectors, 1)
    np.testing.assert_allclose(erase(found, once, 1), once, atol=1e-10)


@unhurried
@given(
    method=st.sampled_from(METHODS),
    languages=st.integers(2, 5),
    texts=st.integers(1, 8),
    size=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_any_shape_gives_unit_vectors_and_the_same_again(
    method: DebiasMethod, languages: int, texts: int, size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    codes = random.permutation(np.repeat(np.arange(languages) * 3, texts))
    vectors = random.standard_normal((len(codes), size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = vectors.copy()
    for code in np.unique(codes):
        found, again = (apply(fit(method, vectors, codes), vectors, code) for _ in range(2))
        assert found.dtype == np.float32
        assert found.shape == vectors.shape
        lengths = np.linalg.norm(found, axis=1)
        assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
        assert np.array_equal(found, again)
    assert np.array_equal(vectors, kept)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_the_fitted_texts_has_no_say(method: DebiasMethod) -> None:
    vectors, codes = sample()
    order = np.random.default_rng(2).permutation(len(codes))
    first, second = fit(method, vectors, codes), fit(method, vectors[order], codes[order])
    np.testing.assert_allclose(
        apply(first, vectors, 2), apply(second, vectors, 2), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("method", METHODS)
def test_equal_vectors_do_no_harm(method: DebiasMethod) -> None:
    vectors, codes = np.eye(1, 6, dtype=np.float32).repeat(4, axis=0), np.array([0, 0, 1, 1])
    found = apply(fit(method, vectors, codes), vectors, 0)
    assert np.array_equal(found, vectors if method == "leace" else np.zeros_like(vectors))


@pytest.mark.parametrize("method", ["centre", "lir"])
@pytest.mark.parametrize("group", [-1, 2, 7])
def test_a_group_without_fitted_texts_is_named(method: DebiasMethod, group: int) -> None:
    vectors, _ = sample(texts=4)
    found = fit(method, vectors, np.array([0, 1, 3, 5]))
    with pytest.raises(UsageError, match=rf"no text of group {group}$"):
        apply(found, vectors, group)


@pytest.mark.parametrize("method", METHODS)
def test_fitting_on_nothing_is_refused(method: DebiasMethod) -> None:
    with pytest.raises(UsageError, match="there are none"):
        fit(method, np.zeros((0, 3), np.float32), np.zeros(0, int))


def test_leace_of_one_language_is_refused() -> None:
    with pytest.raises(UsageError, match="two languages"):
        fit("leace", np.ones((3, 3), np.float32), np.zeros(3, int))
