"""The rows of one source, dealt into batches without end: every row in its turn.

A pass deals some rows, each at most once, into a fixed number of full batches; rows that it has no
place for come first in the next one. So no row is used twice before all others of its kind were
used once, and none is left out again and again because it does not fill a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def dealt(
    groups: np.ndarray, rates: np.ndarray, batch_size: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Without end, batches int64 [batch_size] of indexes of rows, no two of one group in a batch.

    `groups` int [rows] has at least `batch_size` values. Rows are used in proportion to `rates`
    float64 [rows], to within one use at the end of every pass; what this cannot keep, because too
    many of the rows that are due belong to too few groups, is made up as soon as it can be.
    """
    number = _batches_in_pass(groups, rates, batch_size)
    turn = random.random(len(groups))  # of a row's next use; its whole part counts the uses so far
    while True:
        order = np.argsort(turn / rates, kind="stable")
        order = order[_place_in_group(groups[order]) < number][: number * batch_size]
        turn[order] = np.floor(turn[order]) + 1 + random.random(len(order))
        yield from _deal(order, groups[order], number, random)


def _batches_in_pass(groups: np.ndarray, rates: np.ndarray, batch_size: int) -> int:
    """The most batches for which every row is due at most once, and groups are enough."""
    _, sizes = np.unique(groups, return_counts=True)
    low, high = 1, max(1, int(rates.sum() / rates.max() + 1e-9) // batch_size)
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(sizes, middle).sum() >= middle * batch_size:
            low = middle
        else:
            high = middle - 1
    return low


def _place_in_group(groups: np.ndarray) -> np.ndarray:
    """int64 [rows]: how many rows of its group stand before each row."""
    order = np.argsort(groups, kind="stable")
    first = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.diff(np.append(first, len(order)))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(first, sizes)
    return place


def _deal(
    rows: np.ndarray, groups: np.ndarray, number: int, random: np.random.Generator
) -> np.ndarray:
    """The rows in `number` batches [number, rows / number], no two of one group in a batch.

    A group has at most `number` rows. They stand one behind the other, groups in random order, and
    each round gives every batch, in random order, the next row; a group that spans two rounds
    takes in the second what it did not have in the first.
    """
    if number == 1:
        return random.permutation(rows)[None]
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    place = random.permutation(len(sizes))[inverse]
    order = np.lexsort((random.random(len(rows)), place))
    rows, place = rows[order], place[order]
    batches = np.empty((number, len(rows) // number), dtype=np.int64)
    taken = random.permutation(number)
    for column, start in enumerate(range(0, len(rows), number)):
        here = place[start : start + number]
        if column:
            before = taken[place[start - number : start] == here[0]]
            taken = random.permutation(number)
            free = taken[~np.isin(taken, before)][: int((here == here[0]).sum())]
            taken = np.concatenate([free, taken[~np.isin(taken, free)]])
        batches[taken, column] = rows[start : start + number]
    return batches
