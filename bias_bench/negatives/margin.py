"""The similarity up to which a candidate counts as a negative: the relative margin."""

from __future__ import annotations

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.negatives.settings import MiningSettings

_CHUNK = 4096  # pairs whose vectors are looked up at a time


class Limits:
    """Highest allowed similarities, by query and candidate language; see `MiningSettings`."""

    def __init__(self, pairs: Pairs, settings: MiningSettings) -> None:
        order = np.argsort(pairs.query, kind="stable")
        self._candidates = pairs.candidate[order]
        self._languages = pairs.candidate_language[order]
        self._counts = np.bincount(pairs.query, minlength=len(pairs.query_texts))
        self._starts = np.cumsum(self._counts) - self._counts
        self._width = len(pairs.languages)
        self._settings = settings

    def of(
        self,
        rows: np.ndarray,
        queries: np.ndarray,
        languages: np.ndarray,
        candidate_vectors: np.ndarray,
    ) -> np.ndarray:
        """float32 [rows, languages] for the queries `rows`, which have pairs; without a margin
        infinite, and no vector is looked at.

        `queries` float32 [rows, d] are their vectors, `languages` int [rows] their languages.
        """
        margin = self._settings.relative_margin
        if margin is None:
            return np.full((len(rows), self._width), np.inf, dtype=np.float32)
        best = np.full((len(rows), self._width), -np.inf, dtype=np.float32)
        worst = np.full(len(rows), np.inf, dtype=np.float32)
        counts = self._counts[rows]
        places = np.repeat(np.arange(len(rows)), counts)
        first = np.repeat(self._starts[rows] - (np.cumsum(counts) - counts), counts)
        of_pair = first + np.arange(len(places))
        for start in range(0, len(places), _CHUNK):
            place, pair = places[start : start + _CHUNK], of_pair[start : start + _CHUNK]
            positives = candidate_vectors[self._candidates[pair]].astype(np.float32, copy=False)
            similarity = np.einsum("nd,nd->n", queries[place], positives)
            np.maximum.at(best, (place, self._languages[pair]), similarity)
            np.minimum.at(worst, place, similarity)
        reference = self._reference(best, worst, languages)
        return reference - np.float32(margin) * np.abs(reference)

    def _reference(self, best: np.ndarray, worst: np.ndarray, languages: np.ndarray) -> np.ndarray:
        """The positive similarity s+ for each language, float32 [rows, languages]."""
        if self._settings.margin_reference == "lowest":
            return np.broadcast_to(worst[:, None], best.shape)
        highest = best.max(axis=1)
        if self._settings.margin_reference == "highest":
            return np.broadcast_to(highest[:, None], best.shape)
        own = best[np.arange(len(best)), languages]
        instead = np.where(own > -np.inf, own, highest)
        return np.where(best > -np.inf, best, instead[:, None])
