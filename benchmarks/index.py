"""Approximate indexes against the exact search: what is gained, what is missed, what it costs."""

from __future__ import annotations

from time import process_time

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, interleave, progress
from bias_bench.config.index import ApproximateIndex, HnswIndex, IvfPqIndex
from bias_bench.encoders.blocks import ArrayBlocks
from bias_bench.search.approximate import Index, build_index, built_from
from bias_bench.search.dense import make_pool, search
from bias_bench.search.indexed import exact_nearest, nearest_by_index, recall

DEPTH = 100
_CANDIDATES, _QUICK_CANDIDATES, _QUERIES = 100_000, 3_000, 2_000
_OF_A_CLUSTER, _LATENT = 50, 64


def compare(options: Options) -> list[Comparison]:
    """Both kinds with their default settings, from one pool in memory; exact ranks included."""
    number = _QUICK_CANDIDATES if options.quick else _CANDIDATES
    candidates, queries = _vectors(number, _QUERIES)
    return [_compare(settings, candidates, queries, options)
            for settings in (HnswIndex(), IvfPqIndex())]  # fmt: skip


def _compare(
    settings: ApproximateIndex, candidates: np.ndarray, queries: np.ndarray, options: Options
) -> Comparison:
    vectors = ArrayBlocks(candidates)
    built = built_from(settings, vectors.shape, seed=0)
    start = process_time()  # of one thread: other work on the machine does not count
    index = Index(build_index(vectors, built, settings.kind), settings, "", built, 0)
    seconds = process_time() - start
    progress(f"{settings.kind}: built in {seconds:.1f} s of one core")
    found = nearest_by_index(index, vectors, queries, DEPTH)
    exact = exact_nearest(vectors, queries, DEPTH)
    at = {k: recall(found, exact, k).mean() for k in (10, DEPTH)}
    # ids in descending order, so that columns are rows
    pool = make_pool(
        [f"en:{number:08}" for number in range(len(candidates), 0, -1)],
        candidates,
        {"en": (0, len(candidates))},
    )
    relevant = np.zeros((len(queries), 1), dtype=np.int64)
    times = interleave(
        lambda: nearest_by_index(index, vectors, queries, DEPTH),
        lambda: search(queries, pool, relevant, DEPTH),
        options.pairs_or(5),
    )
    note = (
        f"{len(queries):,} queries, {len(candidates):,} candidates, top {DEPTH}; built in "
        f"{seconds:.0f} s of one core; recall@10 {at[10]:.3f}, recall@{DEPTH} {at[DEPTH]:.3f}"
    )
    return Comparison(f"search {settings.kind}", times, "–", note)


def _vectors(number: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of candidates and queries around common centres, of few true dimensions."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((number // _OF_A_CLUSTER, _LATENT), dtype=np.float32)
    spread = random.standard_normal((_LATENT, data.DIMENSIONS), dtype=np.float32)
    sides = []
    for size in (number, queries):
        latent = centres[random.integers(0, len(centres), size)]
        latent = latent + 0.7 * random.standard_normal(latent.shape, dtype=np.float32)
        vectors = latent @ spread
        vectors += random.standard_normal(vectors.shape, dtype=np.float32)
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return sides[0], sides[1]
