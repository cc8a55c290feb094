"""Candidate vectors block by block, so that a search never holds all of them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from bias_bench.errors import BiasBenchError

BLOCK = 16_384  # candidates; a constant, so that no result depends on the memory there is


def block_starts(vectors: VectorBlocks) -> range:
    """The first column of each block."""
    return range(0, vectors.shape[0], BLOCK)


class VectorBlocks(Protocol):
    """Candidate vectors in id-descending order, in blocks: float32 [n, dimensions] in all.

    A vector's place in that order is its column in the scores of a search, from 0.
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
    """Blocks of one array float32 [n, dimensions] in memory, whose rows are in that order."""

    vectors: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """As of the array."""
        return self.vectors.shape[0], self.vectors.shape[1]

    def block(self, start: int) -> np.ndarray:
        """A view of the array."""
        return self.vectors[start : start + BLOCK]

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors at `columns`."""
        return self.vectors[columns]


class StoredPart(NamedTuple):
    """A ``.npy`` file of vectors float32 [number, dimensions]."""

    path: Path
    number: int


@dataclass(frozen=True)
class StoredBlocks(VectorBlocks):
    """Blocks of vectors in files, of which each but the last holds a multiple of `BLOCK`.

    A block is read when it is asked for, and `change` (from a block to one of its shape) is made
    then. BiasBenchError for a file that is too short.
    """

    parts: tuple[StoredPart, ...]
    dimensions: int
    change: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of all files together."""
        return sum(part.number for part in self.parts), self.dimensions

    def block(self, start: int) -> np.ndarray:
        """One read of one file."""
        place = bisect_right(self._starts, start) - 1
        part, first = self.parts[place], start - self._starts[place]
        size = min(BLOCK, part.number - first)
        with part.path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            stream.seek(4 * first * self.dimensions, os.SEEK_CUR)
            found = np.fromfile(stream, np.float32, size * self.dimensions)
        if len(found) != size * self.dimensions:
            raise BiasBenchError(f"{part.path}: too short; give the command again to encode anew")
        return self._changed(found.reshape(size, self.dimensions))

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The vectors at `columns`; pages of one file at a time are in memory."""
        found = np.empty((len(columns), self.dimensions), dtype=np.float32)
        of_part = np.searchsorted(self._starts, columns, side="right") - 1
        for place in np.unique(of_part).tolist():
            own = np.flatnonzero(of_part == place)
            mapped = np.load(self.parts[place].path, mmap_mode="r", allow_pickle=False)
            found[own] = mapped[columns[own] - self._starts[place]]
        return self._changed(found)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(part.number for part in self.parts[:-1])]

    def _changed(self, vectors: np.ndarray) -> np.ndarray:
        return self.change(vectors) if self.change else vectors


def stored_blocks(
    paths: Sequence[Path], change: Callable[[np.ndarray], np.ndarray] | None = None
) -> StoredBlocks:
    """Blocks of the vectors in ``.npy`` files, one after the other; only their heads are read."""
    shapes = [np.load(path, mmap_mode="r", allow_pickle=False).shape for path in paths]
    parts = [StoredPart(path, shape[0]) for path, shape in zip(paths, shapes, strict=True)]
    return StoredBlocks(tuple(parts), shapes[0][1], change)
