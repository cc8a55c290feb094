"""Candidate vectors block by block, so that a search never holds all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK = 16_384  # candidates; a constant, so that no result depends on the memory there is


class VectorBlocks(Protocol):
    """Candidate vectors in id-descending order, in blocks: float32 [n, dimensions] in all.

    A vector's place in that order is its column in the scores of a search, from 0.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors of how many dimensions."""
        ...

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """The first column of each block, and its vectors float32 [at most `BLOCK`, dimensions].

        Blocks come in order. A block may be a view of a buffer that the next one overwrites.
        """
        ...

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors float32 [len(columns), dimensions] at `columns` int [n], in that order."""
        ...


@dataclass(frozen=True)
class ArrayBlocks:
    """Blocks of one array float32 [n, dimensions] in memory, whose rows are in that order."""

    vectors: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """As of the array."""
        return self.vectors.shape[0], self.vectors.shape[1]

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self.vectors), BLOCK):
            yield start, self.vectors[start : start + BLOCK]

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors at `columns`."""
        return self.vectors[columns]
