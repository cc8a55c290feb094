"""Observations made up for tests of significance."""

from __future__ import annotations

import numpy as np


def normal(topics: int, columns: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (topics, columns))


def with_holes(values: np.ndarray, share: float = 0.2, seed: int = 9) -> np.ndarray:
    """The first row stays whole, so that no column is empty."""
    holes = np.random.default_rng(seed).random(values.shape) < share
    holes[0] = False
    return np.where(holes, np.nan, values)
