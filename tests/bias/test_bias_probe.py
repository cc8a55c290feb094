"""What embeddings show of language: the linear probe and the cross-covariance."""

from __future__ import annotations

import numpy as np
import pytest

from bias_bench.bias.probe import cross_covariance_norm, language_probe
from bias_bench.errors import UsageError

TOPICS, LANGUAGES, SIZE = 40, 3, 8


def embeddings(shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Topics in every language, moved by `shift` along a direction of the language."""
    random = np.random.default_rng(seed)
    topics = np.repeat(np.arange(TOPICS), LANGUAGES)
    languages = np.tile(np.arange(LANGUAGES), TOPICS)
    meaning = random.standard_normal((TOPICS, SIZE))[topics]
    noise = 0.3 * random.standard_normal((len(topics), SIZE))
    offset = shift * np.eye(LANGUAGES, SIZE)[languages]
    return (meaning + noise + offset).astype(np.float32), languages, topics


def test_separable_languages_are_all_identified() -> None:
    found = language_probe(*embeddings(20))
    assert found.accuracy == 1
    assert found.per_language.tolist() == [1, 1, 1]
    assert found.chance == pytest.approx(1 / 3)
    assert found.folds.shape == (5,)


def test_embeddings_without_language_are_identified_at_chance() -> None:
    found = language_probe(*embeddings(0))
    assert found.accuracy == pytest.approx(found.chance, abs=0.12)


def test_vectors_centred_on_the_probed_texts_are_identified_below_chance() -> None:
    """0 is the lower bound, not chance: what is held out lies opposite to what is learned from."""
    _, languages, topics = embeddings(0)
    wide = np.random.default_rng(1).standard_normal((len(topics), 200))
    for language in range(LANGUAGES):
        wide[languages == language] -= wide[languages == language].mean(axis=0)
    found = language_probe(wide, languages, topics)
    assert found.accuracy == 0
    assert found.chance == pytest.approx(1 / 3)
    assert cross_covariance_norm(wide, languages) == pytest.approx(0, abs=1e-9)


def test_more_language_is_identified_better() -> None:
    accuracies = [language_probe(*embeddings(shift)).accuracy for shift in (0, 1, 3)]
    assert accuracies == sorted(accuracies)
    assert accuracies[0] < accuracies[2]


def test_probe_equals_ridge_regression_in_closed_form() -> None:
    vectors, languages, topics = embeddings(1.5)
    held = topics % 5
    found = language_probe(vectors, languages, held, folds=5)  # five groups: a fold each
    right = 0
    for fold in range(5):
        train, test = held != fold, held == fold
        mean, scale = vectors[train].mean(axis=0), vectors[train].std(axis=0)
        x = ((vectors - mean) / scale).astype(np.float64)
        y = np.where(languages[:, None] == np.arange(LANGUAGES), 1.0, -1.0)
        gram = x[train].T @ x[train] + np.eye(SIZE)
        weights = np.linalg.solve(gram, x[train].T @ (y[train] - y[train].mean(axis=0)))
        scores = x[test] @ weights + y[train].mean(axis=0)
        right += int((scores.argmax(axis=1) == languages[test]).sum())
    assert found.accuracy == pytest.approx(right / len(languages))


def test_parallel_texts_never_stand_on_both_sides() -> None:
    """Two languages share each topic's vector: told apart by topic alone they would be known."""
    random = np.random.default_rng(1)
    meaning = random.standard_normal((60, 50))
    vectors = np.concatenate([meaning, meaning])
    languages = np.repeat([0, 1], 60)
    found = language_probe(vectors, languages, np.tile(np.arange(60), 2))
    assert found.accuracy == pytest.approx(0.5, abs=0.05)


def test_probe_does_not_depend_on_scale_or_codes() -> None:
    vectors, languages, topics = embeddings(1)
    found = language_probe(vectors, languages, topics)
    scaled = language_probe(vectors * 64, languages, topics)
    named = language_probe(vectors, np.array(["de", "en", "th"])[languages], topics)
    assert found.accuracy == scaled.accuracy == named.accuracy


def test_chance_is_the_share_of_the_most_frequent_language() -> None:
    vectors, languages, topics = embeddings(1)
    kept = (languages == 0) | (topics < 10)
    found = language_probe(vectors[kept], languages[kept], topics[kept])
    assert found.chance == pytest.approx(40 / 60)


@pytest.mark.parametrize("case", ["one language", "few topics"])
def test_probe_needs_languages_and_topics(case: str) -> None:
    vectors, languages, topics = embeddings(1)
    if case == "one language":
        languages = np.zeros_like(languages)
    else:
        topics = topics % 4
    with pytest.raises(UsageError, match="two languages and 5 topics"):
        language_probe(vectors, languages, topics)


def test_cross_covariance_equals_numpy_s() -> None:
    vectors, languages, _ = embeddings(1)
    onehot = np.eye(LANGUAGES)[languages]
    both = np.cov(vectors.T.astype(np.float64), onehot.T, bias=True)[:SIZE, SIZE:]
    assert cross_covariance_norm(vectors, languages) == pytest.approx(np.linalg.norm(both))


def test_cross_covariance_is_zero_when_all_languages_have_one_mean() -> None:
    vectors = np.array([[1.0, 2], [-1, 5], [1, 2], [-1, 5]])
    assert cross_covariance_norm(vectors, np.array([0, 0, 1, 1])) == pytest.approx(0)
