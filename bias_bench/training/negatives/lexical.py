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

from bias_bench.config.kinds import LexicalOptions
from bias_bench.data.pairs import Pairs
from bias_bench.search.analysis import analyse
from bias_bench.search.bm25 import Part, cached_index, count
from bias_bench.training.negatives.labels import label_texts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class SparseVectors(NamedTuple):
    """Sparse float64 [query texts, terms] and [candidate texts, terms], empty for unused texts."""

    queries: csr_matrix
    candidates: csr_matrix


def lexical_vectors(pairs: Pairs, options: LexicalOptions, folder: Path) -> SparseVectors:
    """Vectors of all texts of the pairs; the index of the candidates is cached in `folder`."""
    labels = label_texts(pairs)
    parts, rows = _by_language(pairs, pairs.candidate_texts, labels.candidates.language)
    index = cached_index(parts, options, folder)
    tokens: list[list[str]] = [[] for _ in pairs.query_texts]
    queries, query_rows = _by_language(pairs, pairs.query_texts, labels.queries.language)
    analysed = (text for part in queries for text in analyse(part.texts, part.language))
    for row, text in zip(query_rows.tolist(), analysed, strict=True):
        tokens[row] = text
    return SparseVectors(
        count(tokens, index.terms), _placed(index.weights, rows, len(pairs.candidate_texts))
    )


def _by_language(
    pairs: Pairs, texts: Sequence[str], languages: np.ndarray
) -> tuple[list[Part], np.ndarray]:
    """The texts that have one of the pairs' languages, language by language, and their rows."""
    rows = [np.flatnonzero(languages == code) for code in range(len(pairs.languages))]
    parts = [
        Part(name, [texts[row] for row in of_language.tolist()])
        for name, of_language in zip(pairs.languages, rows, strict=True)
        if len(of_language)
    ]
    return parts, np.concatenate(rows)


def _placed(matrix: csr_matrix, rows: np.ndarray, number: int) -> csr_matrix:
    """[number, columns]: the matrix's rows at `rows`, the others empty."""
    from scipy.sparse import csr_matrix

    ones = np.ones(len(rows))
    return csr_matrix((ones, (rows, np.arange(len(rows)))), shape=(number, len(rows))) @ matrix
