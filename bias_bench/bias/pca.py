"""Two principal components of two languages' embeddings, for a plot.

One PCA is fitted on all vectors of both languages, queries and candidates. Two clouds apart show a
language component; `separation` puts a number on it: the share of the plane's variance that lies
between the two languages' means, in [0, 1], lower is more language-agnostic.

Source: LAReQA (arXiv:2004.05484), its plot of English and Chinese; Pearson 1901.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError


class Plane(NamedTuple):
    """`coordinates` float64 [n, 2]; `explained` share of all variance per component [2]."""

    coordinates: np.ndarray
    explained: np.ndarray
    separation: float


def two_language_pca(vectors: np.ndarray, languages: np.ndarray) -> Plane:
    """Project vectors [n, dimensions] of two languages, codes [n], on their first two components.

    Directions are fixed by making each component's largest weight positive.
    """
    names, codes = np.unique(languages, return_inverse=True)
    if len(names) != 2 or vectors.shape[1] < 2:
        raise UsageError(
            f"a two-language PCA needs vectors of two languages in two dimensions or more; "
            f"there are {len(names)} in {vectors.shape[1]}"
        )
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    coordinates = centred @ (axes * np.where(largest < 0, -1.0, 1.0))
    between = sum(
        (codes == code).sum() * np.square(coordinates[codes == code].mean(axis=0)).sum()
        for code in (0, 1)
    )
    total = variances.sum()
    plane = np.square(coordinates).sum()
    return Plane(
        coordinates,
        variances[::-1][:2] / total if total > 0 else np.zeros(2),
        float(between / plane) if plane > 0 else 0.0,
    )
