"""Candidates in memory, asked as those on disk (`corpus.StoredCandidates`) are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bias_bench.datasets.ids import language_of
from bias_bench.datasets.items import Candidate, CandidateRange

if TYPE_CHECKING:
    import pyarrow as pa


class ListedCandidates:
    """The candidates of a benchmark, grouped by language."""

    def __init__(self, candidates: tuple[Candidate, ...]) -> None:
        self._candidates = candidates

    @cached_property
    def pools(self) -> dict[str, CandidateRange]:
        """Rows of each language."""
        found, start = {}, 0
        counts = Counter(language_of(candidate.id) for candidate in self._candidates)
        for language, count in counts.items():  # in the order of their first candidates
            found[language] = CandidateRange(start, start + count)
            start += count
        return found

    def keep(self, languages: Sequence[str]) -> tuple[Candidate, ...]:
        """Those of some languages."""
        return tuple(item for item in self._candidates if language_of(item.id) in languages)

    @cached_property
    def _ids(self) -> pa.Array:
        import pyarrow as pa

        return pa.array([candidate.id for candidate in self._candidates], pa.string())

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The ids (strings [n]) at `rows` int [n], in that order."""
        import pyarrow as pa

        return self._ids.take(pa.array(rows))

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [n]: the row of each id, -1 where there is none."""
        known = {candidate.id: row for row, candidate in enumerate(self._candidates)}
        return np.array([known.get(name, -1) for name in ids], dtype=np.int64)

    def text_parts(self, language: str, with_context: bool) -> list[Sequence[str]]:
        """The texts to encode, in one part: sentences, or each with its paragraph (if any)."""
        start, stop = self.pools[language]
        return [
            [
                f"{candidate.text} {candidate.context}"
                if with_context and candidate.context
                else candidate.text
                for candidate in self._candidates[start:stop]
            ]
        ]

    def content(self) -> Iterator[str]:
        """What a fingerprint is taken of."""
        return chain.from_iterable(self._candidates)
