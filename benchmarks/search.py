"""Exact search against faiss IndexFlatIP: top-100 once per setting, and full depth for ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, Times, interleave, progress
from bias_bench.data.collection import Collection
from bias_bench.evaluation.settings import ALL
from bias_bench.search.dense import make_pool, search
from bias_bench.search.exact import Results

DEPTH = 100


def compare(options: Options) -> list[Comparison]:
    """Ours does both jobs, the top of every setting and every exact rank, in one pass."""
    import faiss

    faiss.omp_set_num_threads(options.threads)
    collection = data.collection(options)
    vectors = data.vectors(collection)
    ours = _ours(collection, vectors)
    _require_same_top(collection, ours, _faiss(collection, vectors, depth=DEPTH))
    progress("the top results agree")
    first = collection.languages[:1]
    _require_same_ranks(collection, ours, _faiss(collection, vectors, languages=first))
    progress("the ranks agree")
    settings = len(collection.languages) * (len(collection.languages) + 1)
    size = f"{settings} settings, {len(collection.candidates):,} candidates"
    top = interleave(
        lambda: _ours(collection, vectors),
        lambda: _faiss(collection, vectors, depth=DEPTH),
        options.pairs_or(7),
    )
    full = interleave(
        lambda: _ours(collection, vectors),
        lambda: _faiss(collection, vectors, languages=first),
        options.pairs_or(3),
    ).scaled_peer(len(collection.languages))
    queries = len(collection.query_topics(first[0]))
    return [
        Comparison("search top-100", top, "≥ 1.5×", f"{size}; ours also finds all exact ranks"),
        _full(full, f"{size}; faiss on {queries:,} queries of one language, scaled"),
    ]


def _full(times: Times, note: str) -> Comparison:
    return Comparison("search all ranks", times, "≥ 10×", note)


def _ours(collection: Collection, vectors: list[np.ndarray]) -> dict[str, Results]:
    """Results of each query language."""
    languages = collection.languages
    pool = make_pool(
        [candidate.id for candidate in collection.candidates],
        np.concatenate(vectors[: len(languages)]),
        {language: (part.start, part.stop) for language, part in collection.pools.items()},
    )
    return {
        language: search(
            queries, pool, collection.relevant_rows[collection.query_topics(language)], DEPTH
        )
        for language, queries in zip(languages, vectors[len(languages) :], strict=True)
    }


def _faiss(
    collection: Collection,
    vectors: list[np.ndarray],
    languages: tuple[str, ...] = (),
    depth: int = 0,
) -> dict[tuple[str, str], np.ndarray]:
    """Rows [queries, depth] of each query language and pool; depth 0 is the whole pool."""
    names = collection.languages
    pools = dict(zip(names, vectors, strict=False))
    pools[ALL] = np.concatenate(vectors[: len(names)])
    indexes = {pool: _index(part) for pool, part in pools.items()}
    queries = dict(zip(names, vectors[len(names) :], strict=True))
    return {
        (language, pool): index.search(queries[language], depth or index.ntotal)[1]
        for language in languages or names
        for pool, index in indexes.items()
    }


def _index(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _require_same_top(
    collection: Collection, ours: dict[str, Results], peer: dict[tuple[str, str], np.ndarray]
) -> None:
    """Equal but for neighbours whose scores differ in the last bits."""
    for (language, pool), rows in peer.items():
        start = 0 if pool == ALL else collection.pools[pool].start
        if (ours[language].top[pool][0] != rows + start).mean() > 0.001:
            raise ValueError(f"results of {language} against {pool} differ from faiss's")


def _require_same_ranks(
    collection: Collection, ours: dict[str, Results], peer: dict[tuple[str, str], np.ndarray]
) -> None:
    language = collection.languages[0]
    rows = peer[language, ALL]
    relevant = collection.relevant_rows[collection.query_topics(language)]
    for column in range(relevant.shape[1]):
        present = relevant[:, column] >= 0
        ranks = 1 + (rows[present] == relevant[present, column][:, None]).argmax(axis=1)
        if np.abs(ranks - ours[language].ranks[present, column, 1]).max() > 1:
            raise ValueError(f"ranks of {language} in the pool of all differ from faiss's")
