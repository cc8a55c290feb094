"""Hard-negative mining: for each query the most similar candidates that do not answer it.

Exact search in blocks of fixed shape, each core working on queries of its own, so that memory is
bounded whatever the number of texts, and results depend neither on the budget nor on the cores.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from bias_bench.config.mining import MiningSettings
from bias_bench.data.pairs import Pairs
from bias_bench.errors import BiasBenchError, DataError
from bias_bench.search.order import key_columns, key_scores
from bias_bench.system.console import progress
from bias_bench.training.negatives.labels import TextLabels, label_texts
from bias_bench.training.negatives.nearest import EMPTY, Block, Nearest, Side, nothing_yet, update
from bias_bench.training.negatives.policy import Limits, allowed_languages, choose, deal
from bias_bench.training.negatives.workspace import CANDIDATES, QUERIES, make_workspace

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    Vectors: TypeAlias = np.ndarray | csr_matrix

_CHECKED = 8192  # vectors checked for NaN at a time


class Mined(NamedTuple):
    """Negatives by index of `Pairs.query_texts`, the most similar first.

    `negatives` int32 [queries, number]: indexes of `Pairs.candidate_texts`, -1 where fewer were
    found; `languages` int32 alike; `scores` float32 alike: similarities, NaN where there is none.
    """

    negatives: np.ndarray
    languages: np.ndarray
    scores: np.ndarray

    def share_found(self, rows: np.ndarray) -> float:
        """How many of the negatives that the queries `rows` should have were found, 0 to 1."""
        return float((self.negatives[rows] >= 0).mean())


class _Segment(NamedTuple):
    """Queries of one data set that share a pool of candidates.

    `rows` int [queries], ascending; `places` as `policy.deal` gives them; `pool` maps languages to
    ascending indexes of candidate texts.
    """

    rows: np.ndarray
    places: np.ndarray
    pool: dict[int, np.ndarray]

    def part(self, columns: slice) -> _Segment:
        return self._replace(rows=self.rows[columns], places=self.places[columns])


def mine(
    pairs: Pairs,
    query_vectors: Vectors,
    candidate_vectors: Vectors,
    settings: MiningSettings,
    seed: int,
) -> Mined:
    """Negatives of every query that has a pair, out of the candidates that some pair uses.

    `query_vectors` [query texts, d] and `candidate_vectors` [candidate texts, d], of any float
    type, may be memory maps; similarity is their inner product in float32. Both may be sparse
    matrices (`negatives.lexical`): then a similarity of 0 makes no negative, and no margin applies,
    for a positive without a common term has 0 too. A candidate of the
    query's family is never chosen (see `labels`). `seed` decides which languages ``balanced``
    gives to which query when `number` is not a multiple of their number. DataError where a query
    can have fewer candidates than `number`, or when nothing at all is found.
    """
    if len(pairs) == 0:
        raise DataError("training.negatives: there are no training pairs to mine negatives for")
    _require_vectors("query", query_vectors, len(pairs.query_texts))
    _require_vectors("candidate", candidate_vectors, len(pairs.candidate_texts))
    labels = label_texts(pairs)
    segments = _segments(pairs, labels, settings, seed)
    limits = Limits(pairs, settings)
    work = _Work(limits, labels, query_vectors, candidate_vectors, settings)
    shape = (len(pairs.query_texts), settings.number)
    mined = Mined(
        np.full(shape, -1, dtype=np.int32),
        np.full(shape, -1, dtype=np.int32),
        np.full(shape, np.nan, dtype=np.float32),
    )
    from threadpoolctl import threadpool_limits

    workspace = make_workspace(pairs, _width(candidate_vectors), settings)
    blocks = [
        segment.part(slice(start, start + workspace.queries))
        for segment in segments
        for start in range(0, len(segment.rows), workspace.queries)
    ]
    used = np.concatenate([segment.rows for segment in segments])
    with (
        progress("mining hard negatives", len(used), "queries") as advance,
        threadpool_limits(limits=1, user_api="blas"),  # the threads below share the work
        ThreadPoolExecutor(workspace.threads) as threads,
    ):
        for block, keys in zip(blocks, threads.map(work.mine_block, blocks), strict=True):
            filled = keys != EMPTY
            chosen = np.where(filled, key_columns(keys), -1)
            mined.negatives[block.rows] = chosen
            mined.languages[block.rows] = np.where(filled, labels.candidates.language[chosen], -1)
            mined.scores[block.rows] = np.where(filled, key_scores(keys), np.nan)
            advance(len(block.rows))
    if not mined.share_found(used):
        raise DataError(
            f"training.negatives: no query has a negative in ranks {settings.first_rank} to "
            f"{settings.last_rank} that is less similar than its positive by the margin; raise "
            "last_rank, lower relative_margin, or mine with a better encoder"
        )
    return mined


class _Work(NamedTuple):
    """What all blocks share."""

    limits: Limits
    labels: TextLabels
    query_vectors: Vectors
    candidate_vectors: Vectors
    settings: MiningSettings

    def mine_block(self, segment: _Segment) -> np.ndarray:
        """Keys int64 [queries, number] of the negatives of some queries of a segment."""
        size = len(segment.rows)
        queries = _vectors(self.query_vectors, segment.rows)
        languages = self.labels.queries.language[segment.rows]
        limits = self.limits.of(segment.rows, queries, languages, self.candidate_vectors)
        kept = self.settings.number + self.settings.first_rank - 1
        family = self.labels.queries.family[segment.rows]
        by_language = [nothing_yet(size, kept) for _ in segment.pool]
        for (language, ids), nearest in zip(segment.pool.items(), by_language, strict=True):
            side = Side(family, np.ascontiguousarray(limits[:, language]))
            self._search(queries, side, ids, nearest)
        chosen = [
            choose(
                np.stack([nearest.keys[part] for nearest in by_language], axis=1),
                np.stack([nearest.above[part] for nearest in by_language], axis=1),
                segment.places[part],
                self.settings,
            )
            for part in _parts(size, QUERIES)
        ]
        return np.concatenate(chosen)

    def _search(self, queries: Vectors, side: Side, ids: np.ndarray, nearest: Nearest) -> None:
        """Bring `nearest` up to date with the candidates `ids`, all of one language."""
        buffer = np.empty(QUERIES * min(CANDIDATES, len(ids)), dtype=np.float32)
        for columns in _parts(len(ids), CANDIDATES):
            vectors = _vectors(self.candidate_vectors, ids[columns])
            family = self.labels.candidates.family[ids[columns]]
            for part in _parts(queries.shape[0], QUERIES):
                shape = (part.stop - part.start, vectors.shape[0])
                scores = buffer[: shape[0] * shape[1]].reshape(shape)
                _similarities(queries[part], vectors, scores)
                update(
                    nearest.part(part),
                    Side(*(array[part] for array in side)),
                    Block(scores, ids[columns], family),
                    self.settings.last_rank,
                )


def _segments(
    pairs: Pairs, labels: TextLabels, settings: MiningSettings, seed: int
) -> list[_Segment]:
    queries, candidates = labels
    data_sets = range(1 if settings.across_data_sets else len(pairs.data_sets))
    segments = []
    for data_set in data_sets:
        inside = [
            side.family >= 0 if settings.across_data_sets else side.data_set == data_set
            for side in (queries, candidates)
        ]
        pools = {
            language: np.flatnonzero(inside[1] & (candidates.language == language))
            for language in np.unique(candidates.language[inside[1]]).tolist()
        }
        shared: dict[tuple[int, ...], list[int]] = {}
        for language in np.unique(queries.language[inside[0]]).tolist():
            allowed = allowed_languages(settings.languages, language, list(pools))
            shared.setdefault(tuple(allowed), []).append(language)
        for of_pool, languages in shared.items():
            pool = {language: pools[language] for language in of_pool}
            rows = np.flatnonzero(inside[0] & np.isin(queries.language, languages))
            places = np.empty((len(rows), len(pool)), dtype=np.int16)
            for language in languages:
                inside_language = queries.language[rows] == language
                _require_enough(pairs, labels, rows[inside_language], pool, settings)
                random = np.random.default_rng([seed, data_set, language])
                queries_here = int(inside_language.sum())
                places[inside_language] = deal(queries_here, len(pool), settings.number, random)
            segments.append(_Segment(rows, places, pool))
    return segments


def _require_enough(
    pairs: Pairs,
    labels: TextLabels,
    rows: np.ndarray,
    pool: dict[int, np.ndarray],
    settings: MiningSettings,
) -> None:
    """DataError where even the query with the smallest family has fewer than `number` left."""
    ids = np.concatenate([*pool.values(), np.zeros(0, dtype=np.int64)])
    families = np.concatenate([labels.queries.family[rows], labels.candidates.family[ids]])
    sizes = np.bincount(labels.candidates.family[ids], minlength=int(families.max()) + 1)
    left = len(ids) - int(sizes[labels.queries.family[rows]].min())
    if left < settings.number:
        query = rows[0]
        data_set = pairs.data_sets[labels.queries.data_set[query]]
        language = pairs.languages[labels.queries.language[query]]
        raise DataError(
            f"training.negatives: queries in '{language}' of '{data_set}' can have {left} "
            f"candidates (languages: {settings.languages}), fewer than number = "
            f"{settings.number}; lower number, or set languages or across_data_sets to allow more"
        )


def _require_vectors(side: str, vectors: Vectors, texts: int) -> None:
    if vectors.ndim != 2 or vectors.shape[0] != texts:
        raise ValueError(f"{side} vectors {vectors.shape}: one row for each of {texts} texts")
    for start in range(0, texts, _CHECKED):
        part = vectors[start : start + _CHECKED]
        if not np.isfinite(part if isinstance(part, np.ndarray) else part.data).all():
            raise BiasBenchError(f"{side} vectors hold NaN or infinity; the encoder is broken")


def _width(vectors: Vectors) -> int:
    """The length of dense vectors that take as much memory."""
    if isinstance(vectors, np.ndarray):
        return vectors.shape[1]
    # two numbers for each entry; and the products, which are made in float64 first
    return 2 * -(-vectors.nnz // max(1, vectors.shape[0])) + QUERIES // 2


def _similarities(queries: Vectors, candidates: Vectors, out: np.ndarray) -> None:
    """float32 [queries, candidates] into `out`; of sparse vectors, -inf in place of 0."""
    if isinstance(queries, np.ndarray):
        np.matmul(queries, candidates.T, out=out)
    else:
        out[:] = (queries @ candidates.T).toarray()
        out[out == 0] = -np.inf


def _vectors(vectors: Vectors, rows: np.ndarray) -> Vectors:
    """[rows, d]: float32, contiguous, without a copy where that can be; or sparse as they are."""
    if not isinstance(vectors, np.ndarray):
        return vectors[rows]
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return np.ascontiguousarray(vectors[rows[0] : rows[-1] + 1], dtype=np.float32)
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


def _parts(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
