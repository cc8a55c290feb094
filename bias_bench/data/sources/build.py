"""From texts and links between them to `Pairs`: what every form of source ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bias_bench.data.pairs import Links, Pairs, Texts, join_pairs, link_texts
from bias_bench.errors import DataError


class LoadedSource(NamedTuple):
    """Pairs, and the texts of known non-answers by row of the pairs (None: the form has none).

    A row's negatives are in the language of its candidate, so that no language gives them away.
    """

    pairs: Pairs
    negatives: dict[int, tuple[str, ...]] | None


class TextTable:
    """The texts of one side, each once per language, so that equal texts are one text."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], int] = {}

    def row(self, language: str, text: str) -> int:
        """The text's row, without white space at its ends; a new one when it is new."""
        return self._rows.setdefault((language, text.strip()), len(self._rows))

    def finish(self) -> Texts:
        """The texts so far."""
        return Texts(
            tuple(text for _, text in self._rows), [language for language, _ in self._rows]
        )


def crossed(queries: np.ndarray, candidates: np.ndarray, monolingual: bool = True) -> Links:
    """Every query of a topic with every candidate of it, in all directions.

    `queries` and `candidates`: int [topics, languages] rows of texts, -1 where a language lacks
    the topic; the same languages in both. Without `monolingual` a query never meets the candidate
    of its own language. The links are in order of topic, query language, candidate language.
    """
    allowed = (queries >= 0)[:, :, None] & (candidates >= 0)[:, None, :]
    if not monolingual:
        allowed &= ~np.eye(queries.shape[1], dtype=bool)
    topic, query_language, candidate_language = np.nonzero(allowed)
    return Links(topic, queries[topic, query_language], candidates[topic, candidate_language])


def make_pairs(
    name: str, queries: TextTable, candidates: TextTable, titles: Mapping[str, str], links: Links
) -> Pairs:
    """Pairs as `link_texts` makes them; DataError when there is no link at all."""
    if len(links.topic) == 0:
        raise DataError(f"training source '{name}': no query has a candidate; nothing to train on")
    asked, answers = queries.finish(), candidates.finish()
    languages = sorted({*asked.languages, *answers.languages})
    return link_texts(name, languages, asked, answers, titles, links, equal_questions=True)


def join_sources(parts: Sequence[LoadedSource]) -> LoadedSource:
    """Several sources as one; the rows of the negatives are renumbered like the pairs."""
    negatives: dict[int, tuple[str, ...]] = {}
    start = 0
    for part in parts:
        shifted: Mapping[int, tuple[str, ...]] = part.negatives or {}
        negatives.update((row + start, texts) for row, texts in shifted.items())
        start += len(part.pairs)
    known = any(part.negatives is not None for part in parts)
    return LoadedSource(join_pairs([part.pairs for part in parts]), negatives if known else None)
