"""BM25 in place of an encoder that mines: texts as sparse vectors whose inner product is its score.

All candidates are one pool, as in the pool of all languages (`retrieval.bm25`): each is analysed
by the analyzer of its language, document frequencies and the average length are those of all
together. Across languages a query finds names, numbers, and stems that happen to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.datasets.pairs import Pairs
from bias_bench.negatives.labels import label_texts
from bias_bench.retrieval.analysis import analyse
from bias_bench.retrieval.bm25 import Parameters, Part, cached_index, count

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class SparseVectors(NamedTuple):
    """Sparse float64 [query texts, terms] and [candidate texts, terms], empty for unused texts."""

    queries: csr_matrix
    candidates: csr_matrix


def lexical_vectors(pairs: Pairs, parameters: Parameters, folder: Path) -> SparseVectors:
    """Vectors of all texts of the pairs; the index of the candidates is cached in `folder`."""
    labels = label_texts(pairs)
    parts, rows = _by_language(pairs, pairs.candidate_texts, labels.candidates.language)
    index = cached_index(parts, parameters, folder)
    tokens: list[list[str]] = [[] for _ in pairs.query_texts]
    asked, places = _by_language(pairs, pairs.query_texts, labels.queries.language)
    found = [each for part in asked for each in analyse(part.texts, part.language)]
    for place, each in zip(places.tolist(), found, strict=True):
        tokens[place] = each
    return SparseVectors(
        count(tokens, index.terms), _placed(index.weights, rows, len(pairs.candidate_texts))
    )


def _by_language(
    pairs: Pairs, texts: Sequence[str], languages: np.ndarray
) -> tuple[list[Part], np.ndarray]:
    """The texts that have one of the pairs' languages, language by language, and their rows."""
    rows = [np.flatnonzero(languages == code) for code in range(len(pairs.languages))]
    parts = [
        Part(name, [texts[row] for row in own.tolist()])
        for name, own in zip(pairs.languages, rows, strict=True)
        if len(own)
    ]
    return parts, np.concatenate(rows)


def _placed(matrix: csr_matrix, rows: np.ndarray, number: int) -> csr_matrix:
    """[number, columns]: the matrix's rows at `rows`, the others empty."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(rows))
    return csr_matrix((ones, (rows, np.arange(len(rows)))), shape=(number, len(rows))) @ matrix
