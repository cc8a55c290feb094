"""Uniformity: how evenly are vectors of two languages spread over the sphere?

Logarithm of the mean of exp(-2 d²), d being the distance of two vectors, over all pairs of a vector
of one language and a different one of the other. Of unit vectors in [-8, 0]; lower is more uniform,
0: all vectors are the same. A language less uniform with itself than with others keeps to a region
of its own, which costs it nothing in its own pool and much in that of all languages.

Sources: Wang and Isola 2020 (arXiv:2005.10242), with t = 2; by pairs of languages, MIMO
(arXiv:2605.31171).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SCALE = 2.0  # t of Wang and Isola


def uniformity(vectors: Mapping[str, np.ndarray], scale: float = SCALE) -> np.ndarray:
    """Uniformity float64 [languages, languages], symmetric, of vectors [texts, dimensions].

    Pairs of a language with itself are of different rows; NaN where it has one row only.
    """
    from scipy.special import logsumexp

    parts = [part.astype(np.float64) for part in vectors.values()]
    squares = [np.square(part).sum(axis=1) for part in parts]
    result = np.full((len(parts), len(parts)), np.nan)
    for a in range(len(parts)):
        for b in range(a, len(parts)):
            products = parts[a] @ parts[b].T
            exponents = -scale * (squares[a][:, None] + squares[b] - 2 * products)
            if a == b:
                exponents = exponents[~np.eye(len(parts[a]), dtype=bool)]
            if exponents.size:
                mean = logsumexp(exponents) - np.log(exponents.size)
                result[a, b] = result[b, a] = mean
    return result
