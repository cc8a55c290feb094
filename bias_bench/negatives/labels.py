"""What is known of each text: its language, its data set, and its family.

A family is a set of groups that hold the same text, in whatever data set or language: the same
sentence, or the same question. What answers one query of a family may answer them all, in every
language, so none of its candidates is a negative for any of its queries.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs, linked_groups
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
    queries, candidates = len(pairs.query_texts), len(pairs.candidate_texts)
    query_group = used_labels(pairs.query, pairs.group, queries)
    candidate_group = used_labels(pairs.candidate, pairs.group, candidates)
    used = [np.flatnonzero(group >= 0) for group in (query_group, candidate_group)]
    texts = _same_texts(pairs, *used)
    # texts link the groups of one query or candidate too, wherever these hold several
    more = [
        np.flatnonzero(query_group[pairs.query] != pairs.group),
        np.flatnonzero(candidate_group[pairs.candidate] != pairs.group),
    ]
    place = np.full(queries + candidates, -1, dtype=np.int64)
    place[np.concatenate([used[0], used[1] + queries])] = texts
    groups = [query_group[used[0]], candidate_group[used[1]], *(pairs.group[rows] for rows in more)]
    linked = [texts, place[pairs.query[more[0]]], place[pairs.candidate[more[1]] + queries]]
    families = linked_groups(np.concatenate(groups), np.concatenate(linked))
    of_query = np.full(queries, -1, dtype=np.int32)
    of_candidate = np.full(candidates, -1, dtype=np.int32)
    of_query[used[0]] = families[: len(used[0])]
    of_candidate[used[1]] = families[len(used[0]) : len(texts)]
    return TextLabels(
        Labels(
            of_query,
            _only_label("query", "language", pairs.query, pairs.query_language, queries),
            _only_label("query", "data set", pairs.query, pairs.data_set, queries),
        ),
        Labels(
            of_candidate,
            _only_label(
                "candidate", "language", pairs.candidate, pairs.candidate_language, candidates
            ),
            _only_label("candidate", "data set", pairs.candidate, pairs.data_set, candidates),
        ),
    )


def _same_texts(pairs: Pairs, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """int64 [queries + candidates]: equal numbers for equal texts, case and white space aside."""
    folded = [
        _digests((pairs.query_texts[row] for row in queries), len(queries)),
        _digests((pairs.candidate_texts[row] for row in candidates), len(candidates)),
    ]
    return np.unique(np.concatenate(folded), return_inverse=True)[1]


def fold(text: str) -> str:
    """Text without the differences that do not make another text: NFKC, case and white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _digests(texts: Iterable[str], number: int) -> np.ndarray:
    """uint64 [texts]: among a million texts two meet by chance once in 37 million times."""
    digests = (blake2b(fold(text).encode("utf-8"), digest_size=8).digest() for text in texts)
    return np.fromiter((int.from_bytes(digest) for digest in digests), np.uint64, count=number)


def used_labels(texts: np.ndarray, values: np.ndarray, number: int) -> np.ndarray:
    """int32 [number]: the value that (one of) a text's pairs gives it, -1 without pairs.

    `texts` and `values` int32 [pairs], texts as indexes below `number`.
    """
    labels = np.full(number, -1, dtype=np.int32)
    labels[texts] = values
    return labels


def _only_label(
    side: str, what: str, texts: np.ndarray, values: np.ndarray, number: int
) -> np.ndarray:
    labels = used_labels(texts, values, number)
    wrong = np.flatnonzero(labels[texts] != values)
    if len(wrong):
        raise DataError(
            f"training pairs: pair {wrong[0]} gives {side} {texts[wrong[0]]} another {what} than "
            "an earlier or later pair; list the text once for each"
        )
    return labels
