"""Drawing mined negatives for a training step, as a pure function of seed, step and query.

A query's draw does not depend on the batch it stands in, so processes that share a batch draw the
same, and a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import numpy as np

from bias_bench.training.negatives.mining import Mined


def draw(
    mined: Mined,
    query_rows: np.ndarray,
    number: int,
    seed: int,
    step: int,
    languages: np.ndarray | None = None,
) -> np.ndarray:
    """Candidate texts int32 [B, number] for the queries `query_rows` int [B], -1 where none is.

    Different ones in each row, at random. With `languages` int [B], a row first takes negatives in
    its language, and others only where these do not suffice: give the positives' languages, and
    a candidate's language says nothing about its label.
    """
    rows = np.asarray(query_rows, dtype=np.int64)
    kept = mined.negatives[rows]
    slots = np.arange(kept.shape[1], dtype=np.uint64)
    state = _mix(_mix(_mix(np.uint64(seed)) ^ np.uint64(step)) ^ rows.astype(np.uint64))
    order = _mix(state[:, None] ^ slots) >> np.uint64(2)
    if languages is not None:
        other = mined.languages[rows] != np.asarray(languages)[:, None]
        order |= other.astype(np.uint64) << np.uint64(62)
    order |= (kept < 0).astype(np.uint64) << np.uint64(63)
    first = np.argsort(order, axis=1, kind="stable")[:, :number]
    drawn = np.take_along_axis(kept, first, axis=1)
    return np.pad(drawn, ((0, 0), (0, number - drawn.shape[1])), constant_values=-1)


def _mix(value: np.ndarray | np.uint64) -> np.ndarray:
    """splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195): scatters 64 bits."""
    mixed = np.atleast_1d(value) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
