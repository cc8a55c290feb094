"""Alignment of parallel texts: how close are the vectors of one topic in two languages?

Mean squared Euclidean distance of the vectors of a topic in two languages, over the topics that
both have. Of unit vectors it is 2 - 2 cos, in [0, 4]; lower is closer. It says nothing about other
texts: vectors that are all the same are aligned, so it is read beside uniformity.

Sources: Wang and Isola 2020 (arXiv:2005.10242), with exponent 2; by pairs of languages, MIMO
(arXiv:2605.31171).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bias_bench.bias.parallel import column_means


def alignment(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean squared distances float64 [languages, languages], symmetric.

    `vectors` float [topics, dimensions] by language have a row for each topic, NaN where a language
    lacks it. NaN where two languages have no topic in common, 0 of a language with itself.
    """
    parts = [part.astype(np.float64) for part in vectors.values()]
    distances = [[np.square(first - second).sum(axis=1) for second in parts] for first in parts]
    return np.stack([column_means(np.stack(row, axis=1)) for row in distances])
