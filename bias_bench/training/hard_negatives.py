"""Hard negatives by pair: which texts stand beside a pair's positive in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs


class HardNegatives(NamedTuple):
    """The negatives of queries or of pairs.

    `texts`, with int64 `languages` and `groups` [texts]: a text of no pair has a negative group of
    its own. `keys` int64 [rows] ascending says whose a row of `rows` int32 [rows, k] is: a query
    with `by_query`, else query × number of candidate texts + candidate. -1 past the end of a row.
    """

    texts: tuple[str, ...]
    languages: np.ndarray
    groups: np.ndarray
    keys: np.ndarray
    rows: np.ndarray
    by_query: bool

    def draw(self, pairs: Pairs, rows: np.ndarray, number: int, seed: list[int]) -> np.ndarray:
        """Indexes of texts, int64 [at most B × number]: up to `number` for each of `rows`.

        Drawn without replacement, purely from the seed; what a row lacks is left out.
        """
        wanted = pairs.query[rows].astype(np.int64)
        if not self.by_query:
            wanted = wanted * len(pairs.candidate_texts) + pairs.candidate[rows]
        places = np.searchsorted(self.keys, wanted)
        known = places < len(self.keys)
        known[known] = self.keys[places[known]] == wanted[known]
        found = self.rows[places[known]]
        order = np.random.default_rng(seed).random(found.shape)
        order[found < 0] = 2
        chosen = np.take_along_axis(found, np.argsort(order, axis=1)[:, :number], axis=1)
        return chosen[chosen >= 0].astype(np.int64)


def text_labels(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Language and group int64 [candidate texts] of each candidate; -1 and own numbers below -1
    for texts of no pair.
    """
    number = len(pairs.candidate_texts)
    languages, groups = np.full(number, -1, dtype=np.int64), -2 - np.arange(number)
    languages[pairs.candidate] = pairs.candidate_language
    groups[pairs.candidate] = pairs.group
    return languages, groups


def given_negatives(pairs: Pairs, texts_of_row: Mapping[int, tuple[str, ...]]) -> HardNegatives:
    """Negatives that came with the training data, by row of `pairs`."""
    numbers: dict[tuple[str, int], int] = {}
    rows = sorted(texts_of_row)
    width = max((len(texts_of_row[row]) for row in rows), default=0)
    table = np.full((len(rows), width), -1, dtype=np.int32)
    for place, row in enumerate(rows):
        language = int(pairs.candidate_language[row])
        for column, text in enumerate(texts_of_row[row]):
            table[place, column] = numbers.setdefault((text, language), len(numbers))
    own = {text: int(row) for row, text in enumerate(pairs.candidate_texts)}
    _, groups_of_candidates = text_labels(pairs)
    groups = np.array(
        [
            groups_of_candidates[own[text]] if text in own else -2 - len(own) - number
            for number, (text, _) in enumerate(numbers)
        ],
        dtype=np.int64,
    )
    chosen = np.array(rows, dtype=np.int64)
    keys = (
        pairs.query[chosen].astype(np.int64) * len(pairs.candidate_texts) + pairs.candidate[chosen]
    )
    order = np.argsort(keys, kind="stable")
    return HardNegatives(
        texts=tuple(text for text, _ in numbers),
        languages=np.array([language for _, language in numbers], dtype=np.int64),
        groups=groups,
        keys=keys[order],
        rows=table[order],
        by_query=False,
    )


def mined_negatives(pairs: Pairs, of_query: np.ndarray) -> HardNegatives:
    """Negatives by query text: indexes of candidate texts, int32 [query texts, k], -1 for none."""
    languages, groups = text_labels(pairs)
    keys = np.arange(len(of_query), dtype=np.int64)
    return HardNegatives(pairs.candidate_texts, languages, groups, keys, of_query, by_query=True)
