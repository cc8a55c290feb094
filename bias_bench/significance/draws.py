"""Random draws that depend on the seed alone.

Each use of randomness has a stream of its own, and each block of draws a generator of its own, so
that neither threads nor memory limits nor the other tests of a comparison change a result.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from bias_bench.errors import UsageError
from bias_bench.system.console import progress

_BLOCK_VALUES = 2**20  # values of one block's matrix: 8 MB in float64
_LARGEST_BLOCK = 1024
_LONG = 5.0  # seconds from which progress is shown
FEW_UNITS = 10  # below it all signs are tried, and percentile intervals are far too short


class Stream(IntEnum):
    """What is drawn; the numbers are part of what a seed means."""

    SIGNS = 0
    CLUSTERS = 1
    SYSTEM_SEEDS = 2
    BASELINE_SEEDS = 3


class Block(NamedTuple):
    """Draws `start` to `stop`, the `number`-th block."""

    number: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def check_draws(draws: int, seed: int, what: str = "permutations") -> None:
    """Raise UsageError unless there is at least one draw and the seed is not negative."""
    if draws < 1:
        raise UsageError(f"{what} must be at least 1, not {draws}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative, but is {seed}")


def blocks(draws: int, width: int, what: str = "draws") -> Iterator[Block]:
    """Split the draws so that a block of float64 [draws, width] stays small.

    The sizes follow from `width` alone. `what` is drawn; it names the progress of long work.
    """
    size = max(1, min(_LARGEST_BLOCK, _BLOCK_VALUES // max(width, 1)))
    with progress(what, draws, "draws", after=_LONG) as advance:
        for number, start in enumerate(range(0, draws, size)):
            block = Block(number, start, min(start + size, draws))
            yield block
            advance(block.size)


def generator(seed: int, stream: Stream, block: Block) -> np.random.Generator:
    """The generator of one block of one stream."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(stream), block.number))
    return np.random.Generator(np.random.PCG64(sequence))


def random_signs(seed: int, block: Block, clusters: int) -> np.ndarray:
    """Fair signs, float64 [draws of the block, clusters] of -1 and 1."""
    count = block.size * clusters
    words = generator(seed, Stream.SIGNS, block).bit_generator.random_raw(-(-count // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=count)
    return 1.0 - 2.0 * bits.reshape(block.size, clusters)


def every_sign(block: Block, clusters: int) -> np.ndarray:
    """Signs by number: the rows `start` to `stop` of all 2^clusters, the first all positive."""
    codes = np.arange(block.start, block.stop)[:, None]
    return 1.0 - 2.0 * ((codes >> np.arange(clusters)) & 1)


def all_signs_fit(clusters: int, draws: int) -> bool:
    """Whether each of the 2^clusters sign vectors is tried: always where clusters are few.

    A vector and its opposite say the same, so `draws` are enough for twice as many. Else the least
    p of random draws, 1 / (draws + 1), is above that of all flips, 1 / 2^(clusters - 1).
    """
    return clusters < FEW_UNITS or 2 ** (clusters - 1) <= draws


def least_p(clusters: np.ndarray | int) -> np.ndarray:
    """The least two-sided p that flipping these numbers of clusters can reach, 1 / 2^(n - 1)."""
    return np.minimum(2.0 ** (1 - np.asarray(clusters, dtype=np.float64)), 1.0)


def sign_blocks(draws: int, clusters: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of signs float64 [draws, clusters]: all if they fit (`all_signs_fit`), else random."""
    exact = all_signs_fit(clusters, draws)
    for block in blocks(2**clusters if exact else draws, clusters, "sign flips"):
        yield every_sign(block, clusters) if exact else random_signs(seed, block, clusters)


def resampled_counts(seed: int, stream: Stream, block: Block, items: int) -> np.ndarray:
    """How often each item is drawn, with replacement, `items` times: float64 [draws, items].

    Rows are multinomial and sum to `items`.
    """
    chosen = generator(seed, stream, block).integers(
        0, items, size=(block.size, items), dtype=np.int32
    )
    chosen += np.arange(block.size, dtype=np.int32)[:, None] * np.int32(items)
    counts = np.bincount(chosen.ravel(), minlength=block.size * items)
    return counts.reshape(block.size, items).astype(np.float64)
