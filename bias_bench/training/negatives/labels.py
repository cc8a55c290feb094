"""What is known of each text: its language, its data set, and its family.

A family is a set of groups that hold the same text, in whatever data set or language: the same
sentence, or the same question. What answers one query of a family may answer them all, in every
language, so none of its candidates is a negative for any of its queries.
"""

from __future__ import annotations

import unicodedata
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from bias_bench.data.pairs import Pairs, linked_groups
from bias_bench.errors import DataError


class Labels(NamedTuple):
    """int32 [texts] each, -1 for a text that no pair uses."""

    family: np.ndarray
    language: np.ndarray
    data_set: np.ndarray


class TextLabels(NamedTuple):
    """Labels by index of `Pairs.query_texts` and of `Pairs.candidate_texts`."""

    queries: Labels
    candidates: Labels


def label_texts(pairs: Pairs) -> TextLabels:
    """Labels of all texts; families are numbered from 0. DataError for contradicting pairs."""
    queries = len(pairs.query_texts)
    texts = np.concatenate([pairs.query, pairs.candidate.astype(np.int64) + queries])
    equal = _equal_texts([*pairs.query_texts, *pairs.candidate_texts])
    families = linked_groups(np.tile(pairs.group, 2), equal[texts])
    family = used_labels(texts, families, len(equal))

    def side(name: str, rows: np.ndarray, languages: np.ndarray, family: np.ndarray) -> Labels:
        return Labels(
            family,
            _only_label(f"{name} {{}} another language", rows, languages, len(family)),
            _only_label(f"{name} {{}} another data set", rows, pairs.data_set, len(family)),
        )

    return TextLabels(
        side("query", pairs.query, pairs.query_language, family[:queries]),
        side("candidate", pairs.candidate, pairs.candidate_language, family[queries:]),
    )


def _equal_texts(texts: list[str]) -> np.ndarray:
    """int64 [texts]: equal numbers for equal texts, case and white space aside.

    Of digests of 64 bits: among a million texts two meet by chance once in 37 million times.
    """
    digests = (blake2b(fold(text).encode("utf-8"), digest_size=8).digest() for text in texts)
    numbers = np.fromiter(map(int.from_bytes, digests), np.uint64, count=len(texts))
    return np.unique(numbers, return_inverse=True)[1]


def fold(text: str) -> str:
    """Text without the differences that do not make another text: NFKC, case and white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def used_labels(texts: np.ndarray, values: np.ndarray, number: int) -> np.ndarray:
    """int32 [number]: the value that (one of) a text's pairs gives it, -1 without pairs.

    `texts` and `values` int32 [pairs], texts as indexes below `number`.
    """
    labels = np.full(number, -1, dtype=np.int32)
    labels[texts] = values
    return labels


def _only_label(what: str, texts: np.ndarray, values: np.ndarray, number: int) -> np.ndarray:
    """As `used_labels`; DataError where the pairs of a text differ, `what` they then give it."""
    labels = used_labels(texts, values, number)
    wrong = np.flatnonzero(labels[texts] != values)
    if len(wrong):
        raise DataError(
            f"training pairs: pair {wrong[0]} gives {what.format(texts[wrong[0]])} than an earlier "
            "or later pair; list the text once for each"
        )
    return labels
