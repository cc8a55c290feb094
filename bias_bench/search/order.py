"""The one order of search results: score descending, then candidate id descending.

This is trec_eval's rule on float32 scores. A score and a position in the id-descending pool are
packed into one int64 key, so that comparing keys is comparing by that rule and no key ties.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_POSITIONS = np.int64(0xFFFFFFFF)
NO_KEY = np.iinfo(np.int64).min  # less than any key


def descending_id_order(ids: Sequence[str]) -> np.ndarray:
    """int64 [n]: rows of `ids` with the largest id (by code point) first."""
    return np.array(sorted(range(len(ids)), key=ids.__getitem__, reverse=True), dtype=np.int64)


def rank_keys(scores: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """Keys int64 for float32 `scores` of candidates at `columns` of the id-descending pool.

    Both have one shape; without `columns` the last axis is the pool. A larger key comes first: its
    high half holds the score as an order-preserving integer, its low half prefers the lower column.
    Negative zero counts as zero, as in a comparison of floats.
    """
    if columns is None:
        columns = np.arange(scores.shape[-1], dtype=np.int64)
    bits = (scores + np.float32(0.0)).view(np.int32)
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    return (ordered.astype(np.int64) << 32) | (_POSITIONS - columns)


def key_columns(keys: np.ndarray) -> np.ndarray:
    """The column each key was made for."""
    return _POSITIONS - (keys & _POSITIONS)


def key_scores(keys: np.ndarray) -> np.ndarray:
    """The float32 score each key was made from (negative zero as zero)."""
    ordered = (keys >> 32).astype(np.int32)
    return np.where(ordered < 0, ordered ^ np.int32(0x7FFFFFFF), ordered).view(np.float32)


def strictly_decreasing(scores: np.ndarray) -> np.ndarray:
    """Lower tied scores [queries, depth], sorted descending, by single float32 steps.

    Written scores then order results by themselves, whatever a reader does with ties. Where ties
    stand at the lowest float32 there is nothing below, and those above are raised instead. Minus
    infinity marks the places past the end of a ranking.
    """
    result = scores.astype(np.float32, copy=True)
    lowest = np.finfo(np.float32).min
    for column in range(1, result.shape[1]):
        below = np.nextafter(result[:, column - 1], lowest)  # stays there, and -inf comes up to it
        np.minimum(result[:, column], below, out=result[:, column])
    held = scores > -np.inf
    if (result[held] == lowest).any():
        behind = held.sum(axis=1, keepdims=True) - 1 - np.arange(result.shape[1])
        bits = lowest.view(np.uint32) - np.maximum(behind, 0).astype(np.uint32)
        np.maximum(result, bits.view(np.float32), out=result, where=held)
    return result
