"""Small encoders that need no weights, for tests of the Python API."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

WIDTH = 256


def trigrams(texts: list[str]) -> np.ndarray:
    """Hashed counts of character trigrams, float32 [texts, WIDTH]."""
    vectors = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, text in enumerate(texts):
        for start in range(len(text) - 2):
            vectors[row, zlib.crc32(text[start : start + 3].encode()) % WIDTH] += 1
    return vectors


def prefixed(texts: list[str], *, side: str) -> np.ndarray:
    """Trigrams of texts with a prefix that tells queries from candidates."""
    return trigrams([{"query": "ask: ", "candidate": "text: "}[side] + text for text in texts])


class TwoMethods:
    """`prefixed` in the form of sentence-transformers."""

    def __init__(self, wrap: Callable[[np.ndarray], object] = lambda vectors: vectors) -> None:
        self.wrap = wrap

    def encode_query(self, inputs: list[str]) -> object:
        return self.wrap(prefixed(inputs, side="query"))

    def encode_document(self, inputs: list[str]) -> object:
        return self.wrap(prefixed(inputs, side="candidate"))
