"""Representation probe: how much language an embedding shows.

Language identification by a linear classifier: accuracy in [0, 1] on held-out topics. Lower is more
language-agnostic. Without any trace of language it is chance, the share of the most frequent
language, but that is not a floor: down to 0 it says the same. Vectors that were centred by language
on the very texts that are probed have less, as the mean of a training fold then lies opposite to
that of the texts held out. The classifier is a ridge regression (strength 1) of ±1 per language on
features standardised over the training fold, deciding for the largest; it has a closed form and
does not depend on the scale of the vectors. It is cross-validated over whole topics, so that
parallel texts never stand on both sides. A probe is fresh: the discriminator that an encoder was
trained against says nothing.

Cross-covariance norm: the Frobenius norm of Cov(vector, one-hot language), from 0 (no linear
classifier does better than a constant), lower is more language-agnostic; it grows with the scale of
the vectors.

Sources: arXiv:2306.03819 (LEACE) for the cross-covariance and what it implies; Hoerl and Kennard
1970 for ridge regression.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError

FOLDS = 5
STRENGTH = 1.0


class LanguageProbe(NamedTuple):
    """`accuracy` mean over folds; `chance` the largest share; `per_language` recall [languages].

    Rows of `per_language` are the sorted distinct language codes.
    """

    accuracy: float
    chance: float
    folds: np.ndarray
    per_language: np.ndarray


def language_probe(
    vectors: np.ndarray, languages: np.ndarray, topics: np.ndarray, folds: int = FOLDS
) -> LanguageProbe:
    """Probe vectors [n, dimensions] with codes [n] of their languages and topics."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, codes, sizes = np.unique(languages, return_inverse=True, return_counts=True)
    groups = len(np.unique(topics))
    if len(names) < 2 or groups < folds:
        raise UsageError(
            f"a language probe needs two languages and {folds} topics, one for each fold; "
            f"there are {len(names)} and {groups}"
        )
    found = np.empty(len(codes), dtype=codes.dtype)
    accuracies = []
    for train, held in GroupKFold(folds).split(vectors, codes, topics):
        model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=STRENGTH))
        found[held] = model.fit(vectors[train].astype(np.float64), codes[train]).predict(
            vectors[held].astype(np.float64)
        )
        accuracies.append(float((found[held] == codes[held]).mean()))
    right = np.bincount(codes, found == codes, len(names))
    return LanguageProbe(
        accuracy=float(np.mean(accuracies)),
        chance=float(sizes.max() / sizes.sum()),
        folds=np.array(accuracies),
        per_language=right / sizes,
    )


def cross_covariance_norm(vectors: np.ndarray, languages: np.ndarray) -> float:
    """Frobenius norm of the covariance of vectors [n, dimensions] with one-hot languages [n]."""
    _, codes = np.unique(languages, return_inverse=True)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    sums = np.zeros((int(codes.max()) + 1, vectors.shape[1]))
    np.add.at(sums, codes, centred)
    return float(np.linalg.norm(sums / len(vectors)))
