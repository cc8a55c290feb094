"""Which of each language's nearest candidates become a query's negatives."""

from __future__ import annotations

import numpy as np

from bias_bench.config.mining import Languages, MiningSettings
from bias_bench.data.pairs import Pairs
from bias_bench.training.negatives.nearest import EMPTY

_CHUNK = 4096  # pairs whose vectors are looked up at a time
_LAST_TURN = np.iinfo(np.int64).max


def allowed_languages(policy: Languages, query_language: int, present: list[int]) -> list[int]:
    """The languages of candidates, of those `present`, that a query's negatives may have."""
    if policy == "same":
        return [language for language in present if language == query_language]
    if policy == "cross":
        return [language for language in present if language != query_language]
    return present


def deal(queries: int, languages: int, number: int, random: np.random.Generator) -> np.ndarray:
    """int64 [queries, languages]: the place of each language when a query's negatives are dealt.

    As cards are: in random order, the languages are dealt around and around, `number` to a query,
    and the next query (they are in random order too) goes on where that one stopped. A query's
    first is the language with place 0. So over all queries, languages come equally often, give or
    take one.
    """
    order = random.permutation(languages)
    turn = random.permutation(queries)
    return (order[None, :] - turn[:, None] * number) % languages


def choose(
    keys: np.ndarray, above: np.ndarray, places: np.ndarray, settings: MiningSettings
) -> np.ndarray:
    """Keys int64 [queries, number] of the chosen, the most similar first, `EMPTY` at the end.

    `keys` [queries, languages, kept] and `above` [queries, languages] are those of `Nearest`;
    `places` [queries, languages] those of `deal`, which ``balanced`` follows: the best of each
    language in turn, then the second of each, and so on; a language that has no more is passed
    over. The other policies take the most similar of all.
    """
    ranks = above[..., None] + np.arange(1, keys.shape[2] + 1)
    valid = (keys != EMPTY) & (ranks >= settings.first_rank) & (ranks <= settings.last_rank)
    flat = np.where(valid, keys, EMPTY).reshape(len(keys), -1)
    if settings.languages == "balanced":
        turn = (np.cumsum(valid, axis=2) - 1) * keys.shape[1] + places[..., None]
        turn = np.where(valid, turn, _LAST_TURN).reshape(flat.shape)
        first = np.argsort(turn, axis=1, kind="stable")[:, : settings.number]
        flat = np.take_along_axis(flat, first, axis=1)
    chosen = np.sort(flat, axis=1)[:, ::-1][:, : settings.number]
    missing = settings.number - chosen.shape[1]
    return np.pad(chosen, ((0, 0), (0, missing)), constant_values=EMPTY)


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
        of_query_language = best[np.arange(len(best)), languages]
        instead = np.where(of_query_language > -np.inf, of_query_language, highest)
        return np.where(best > -np.inf, best, instead[:, None])
