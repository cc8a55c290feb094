"""Reciprocity: are parallel texts of two languages each other's nearest neighbours?

Share of the texts of one language whose nearest neighbour among those of another, by inner product,
has that text as its own nearest neighbour in turn. In [0, 1], higher is better; hubs, which are the
nearest of many texts, keep it low. Equal products are taken in the order of rows.

Source: mutual nearest neighbours of arXiv:2605.26575, which finds hubs to explain half of what is
missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def reciprocity(vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """Shares float64 [languages, languages] of rows' texts, of vectors [texts, dimensions].

    NaN of a language with itself, and where a language has no text.
    """
    parts = list(vectors.values())
    result = np.full((len(parts), len(parts)), np.nan)
    for a, first in enumerate(parts):
        for b, second in enumerate(parts):
            if a != b and len(first) and len(second):
                products = first @ second.T
                back = products.argmax(axis=0)[products.argmax(axis=1)]
                result[a, b] = float((back == np.arange(len(first))).mean())
    return result
