"""Vectors block by block, so that a search never holds all of them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np

from bias_bench.errors import BiasBenchError

BLOCK = 16_384  # vectors; a constant, so that no result depends on the memory there is


def block_starts(vectors: VectorBlocks) -> range:
    """The first column of each block."""
    return range(0, vectors.shape[0], BLOCK)


class VectorBlocks(Protocol):
    """Vectors in blocks: float32 [n, dimensions] in all, in the order of their texts.

    In a search of candidates that order is by id, descending: a vector's place in it is its column
    in the scores, from 0.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors of how many dimensions."""
        ...

    def block(self, start: int) -> np.ndarray:
        """The vectors float32 [at most `BLOCK`, dimensions] from column `start`, if it is one of
        `block_starts`.
        """
        ...

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """The first column of each block in order, and its vectors."""
        return ((start, self.block(start)) for start in block_starts(self))

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors float32 [len(columns), dimensions] at `columns` int [n], in that order."""
        ...


@dataclass(frozen=True)
class ArrayBlocks(VectorBlocks):
    """Blocks of one array float32 [n, dimensions] in memory."""

    vectors: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape[0], self.vectors.shape[1]

    def block(self, start: int) -> np.ndarray:
        return self.vectors[start : start + BLOCK]

    def rows(self, columns: np.ndarray) -> np.ndarray:
        return self.vectors[columns]


@dataclass(frozen=True)
class StoredBlocks(VectorBlocks):
    """Blocks of a ``.npy`` file of vectors float32 [number, dimensions].

    A block is read when it is asked for. BiasBenchError for a file that is too short.
    """

    path: Path
    number: int
    dimensions: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.number, self.dimensions

    def block(self, start: int) -> np.ndarray:
        size = min(BLOCK, self.number - start)
        with self.path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            stream.seek(4 * start * self.dimensions, os.SEEK_CUR)
            values = np.fromfile(stream, np.float32, size * self.dimensions)
        if len(values) != size * self.dimensions:
            raise BiasBenchError(
                f"{self.path}: too short; give the command again to encode these texts again"
            )
        return values.reshape(size, self.dimensions)

    def rows(self, columns: np.ndarray) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)[columns]


def stored_blocks(path: Path) -> StoredBlocks:
    """Blocks of the vectors in a ``.npy`` file, of which only the head is read."""
    return StoredBlocks(path, *np.load(path, mmap_mode="r", allow_pickle=False).shape)


@dataclass(frozen=True)
class ChangedBlocks(VectorBlocks):
    """Blocks of which each is changed when it is asked for, to one of the same shape."""

    blocks: VectorBlocks
    change: Callable[[np.ndarray], np.ndarray]

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    def block(self, start: int) -> np.ndarray:
        return self.change(self.blocks.block(start))

    def rows(self, columns: np.ndarray) -> np.ndarray:
        return self.change(self.blocks.rows(columns))


@dataclass(frozen=True)
class JoinedBlocks(VectorBlocks):
    """The vectors of several parts, of which each but the last has a multiple of `BLOCK`."""

    parts: Sequence[VectorBlocks]

    @property
    def shape(self) -> tuple[int, int]:
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def block(self, start: int) -> np.ndarray:
        number = bisect_right(self._starts, start) - 1
        return self.parts[number].block(start - self._starts[number])

    def rows(self, columns: np.ndarray) -> np.ndarray:
        vectors = np.empty((len(columns), self.shape[1]), dtype=np.float32)
        of_part = np.searchsorted(self._starts, columns, side="right") - 1
        for number in np.unique(of_part).tolist():
            chosen = of_part == number
            vectors[chosen] = self.parts[number].rows(columns[chosen] - self._starts[number])
        return vectors

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(part.shape[0] for part in self.parts[:-1])]


def joined(parts: Sequence[VectorBlocks]) -> VectorBlocks:
    """The vectors of all parts in order; those that lie in memory are one array then."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, ArrayBlocks) for part in parts):
        return ArrayBlocks(np.concatenate([array_of(part) for part in parts]))
    return JoinedBlocks(parts)


def array_of(vectors: VectorBlocks) -> np.ndarray:
    """All vectors float32 [n, dimensions], in memory."""
    if isinstance(vectors, ArrayBlocks):
        return vectors.vectors
    return np.concatenate([block for _, block in vectors])


def changed(vectors: VectorBlocks, change: Callable[[np.ndarray], np.ndarray]) -> VectorBlocks:
    """The vectors after `change`; of those on disk each block when it is asked for."""
    if isinstance(vectors, ArrayBlocks):
        return ArrayBlocks(change(vectors.vectors))
    return ChangedBlocks(vectors, change)
