"""Hard negatives: which texts stand beside a pair's positive in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from bias_bench.data.pairs import Pairs
from bias_bench.system.files import digest_texts
from bias_bench.training.negatives.labels import TextLabels, label_texts
from bias_bench.training.negatives.mining import Mined
from bias_bench.training.negatives.sampling import draw


class HardNegatives(NamedTuple):
    """Negatives by query or by pair, and who is parallel to whom.

    `texts`, with int `languages` and `families` [texts]; `labels` are of the pairs' texts. Rows of
    `mined` belong to query texts, or, where `keys` int64 [rows] is given, ascending, to pairs:
    query × number of candidate texts + candidate.
    """

    texts: tuple[str, ...]
    languages: np.ndarray
    families: np.ndarray
    labels: TextLabels
    mined: Mined
    keys: np.ndarray | None = None

    @property
    def fingerprint(self) -> str:
        """sha256 over the texts and whose negatives they are."""
        arrays = (self.mined.negatives, self.keys)
        whose = b"".join(part.tobytes() for part in arrays if part is not None)
        return digest_texts([sha256(whose).hexdigest(), *self.texts])

    def draw(self, pairs: Pairs, rows: np.ndarray, number: int, seed: int, step: int) -> np.ndarray:
        """Indexes of texts, int64 [at most B × number], for each of `rows` up to `number`.

        Those in the language of the row's positive come first, so that a candidate's language says
        nothing about its label. Pure in seed, step and row; what a row lacks is left out.
        """
        of_mined = pairs.query[rows].astype(np.int64)
        if self.keys is not None:
            keys = of_mined * len(self.labels.candidates.family) + pairs.candidate[rows]
            places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            known = self.keys[places] == keys
            rows, of_mined = rows[known], places[known]
        drawn = draw(self.mined, of_mined, number, seed, step, pairs.candidate_language[rows])
        return drawn[drawn >= 0].astype(np.int64)


def mined_negatives(pairs: Pairs, mined: Mined) -> HardNegatives:
    """Negatives mined for the queries of `pairs`."""
    labels = label_texts(pairs)
    return HardNegatives(
        pairs.candidate_texts, labels.candidates.language, labels.candidates.family, labels, mined
    )


def given_negatives(pairs: Pairs, texts_of_row: Mapping[int, tuple[str, ...]]) -> HardNegatives:
    """Negatives that came with the training data, by row of `pairs`, in the candidate's language.

    A text that is not a candidate is a family of its own.
    """
    numbers: dict[tuple[str, int], int] = {}  # of texts in a language
    rows = np.array(sorted(texts_of_row), dtype=np.int64)
    width = max(map(len, texts_of_row.values()), default=0)
    keys = pairs.query[rows].astype(np.int64) * len(pairs.candidate_texts) + pairs.candidate[rows]
    order = np.argsort(keys, kind="stable")
    table = np.full((len(rows), width), -1, dtype=np.int32)
    for place, row in enumerate(rows.tolist()):
        language = int(pairs.candidate_language[row])
        for column, text in enumerate(texts_of_row[row]):
            table[place, column] = numbers.setdefault((text, language), len(numbers))
    table, languages = table[order], np.array([language for _, language in numbers], dtype=np.int64)
    labels = label_texts(pairs)
    row_of_text = {text: row for row, text in enumerate(pairs.candidate_texts)}
    beyond = int(labels.candidates.family.max(initial=0)) + 1
    families = [
        labels.candidates.family[row_of_text[text]] if text in row_of_text else beyond + number
        for number, (text, _) in enumerate(numbers)
    ]
    mined = Mined(
        table,
        np.where(table >= 0, languages[table], -1).astype(np.int32),
        np.full(table.shape, np.nan, dtype=np.float32),
    )
    texts = tuple(text for text, _ in numbers)
    return HardNegatives(
        texts, languages, np.array(families, dtype=np.int64), labels, mined, keys[order]
    )
