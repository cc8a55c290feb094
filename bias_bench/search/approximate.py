"""Approximate indexes by faiss: built from blocks of vectors, and cached by content.

An index is known by the content of its vectors, not by what made them, so equal vectors share one
whatever encoder, debiasing or order of languages they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.config.index import AUTO, ApproximateIndex, HnswIndex, IvfPqIndex
from bias_bench.encoders.blocks import VectorBlocks
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.system.console import detail, progress, warn
from bias_bench.system.files import (
    atomic_path,
    cache_root,
    digest,
    is_whole,
    sha256_file,
    write_json,
)

_FORM = 1  # raise it when the way of building changes, so that older indexes are not used
_LEAST_OF_A_LIST = 39  # vectors to train a centroid on: what faiss asks for
_MOST_OF_A_LIST = 64
BUILDING_THREADS = 1  # a graph built by several depends on which comes first

Check = Callable[[dict[str, Any], tuple[int, int]], None]


class Index(NamedTuple):
    """An index in the cache, opened: `faiss` is the memory-mapped index, `key` its name there.

    `built` is what decided it, and `size` its bytes on disk.
    """

    faiss: Any
    settings: ApproximateIndex
    key: str
    built: dict[str, Any]
    size: int


def index_folder() -> Path:
    """Where indexes are cached."""
    return cache_root() / "indexes"


def faiss_version() -> str:
    """The version of faiss, whichever package it comes from."""
    import faiss

    return str(faiss.__version__)


def require_enough(settings: ApproximateIndex, vectors: int, pool: str) -> None:
    """UsageError where a pool is too small for an index to be trained on it."""
    if isinstance(settings, HnswIndex):
        return
    words, lists = 2**settings.code_bits, settings.lists
    needed = words if lists == AUTO else max(words, int(lists))
    if vectors < needed:
        fewer = ", or ivf-pq with code_bits: 4" if settings.code_bits > 4 else ""
        raise UsageError(
            f"retrieval.index: ivf-pq is trained on at least {needed:,} vectors, and the pool "
            f"'{pool}' has {vectors:,}; take exact or hnsw{fewer}"
        )


def built_from(settings: ApproximateIndex, shape: tuple[int, int], seed: int) -> dict[str, Any]:
    """What decides an index beside its vectors, with nothing left to be found out.

    `shape` are the number of vectors and of dimensions. UsageError where codes do not fit these.
    """
    number, dimensions = shape
    common = {"kind": settings.kind, "seed": seed, "faiss": faiss_version()}
    if isinstance(settings, HnswIndex):
        return {**common, "links": settings.links, "build": settings.build}
    lists = settings.lists
    if lists == AUTO:
        lists = max(1, min(4 * isqrt(number), number // _LEAST_OF_A_LIST))
    words = 2**settings.code_bits
    return {
        **common,
        "lists": int(lists),
        "code_bytes": _code_bytes(settings, dimensions),
        "code_bits": settings.code_bits,
        "trained_on": min(number, _MOST_OF_A_LIST * max(int(lists), words)),
    }


def _code_bytes(settings: IvfPqIndex, dimensions: int) -> int:
    """As set, or about one for each 8 dimensions: the parts of a vector are of one length."""
    parts = 8 // settings.code_bits  # that a byte holds
    fitting = [n for n in range(1, dimensions + 1) if dimensions % (n * parts) == 0]
    asked = settings.code_bytes
    if not fitting or (asked != AUTO and asked not in fitting):
        known = ", ".join(map(str, fitting[-6:])) or "none with these code_bits"
        raise UsageError(
            f"retrieval.index.code_bytes = {asked}: {dimensions} dimensions cannot be cut into "
            f"this many equal parts; what can be: …, {known}"
        )
    if asked != AUTO:
        return int(asked)
    return max((n for n in fitting if n <= dimensions // 8), default=fitting[0])


def vectors_digest(vectors: VectorBlocks) -> str:
    """sha256 of the vectors, in order; BiasBenchError where they hold NaN or infinity."""
    state = hashlib.sha256(repr(vectors.shape).encode())
    for _, block in vectors:
        if not np.isfinite(block).all():
            raise BiasBenchError("vectors hold NaN or infinity; the encoder is broken")
        state.update(np.ascontiguousarray(block, dtype="<f4").data)
    return state.hexdigest()


def cached_index(
    vectors: VectorBlocks,
    settings: ApproximateIndex,
    seed: int,
    folder: Path,
    label: str,
    use_cached: bool = True,
    check: Check = lambda *_: None,
) -> Index:
    """The index of these vectors, opened from `folder`; built only if it is not there whole.

    `check` is called before it is built, with what decides it and the shape of the vectors.
    """
    import faiss

    built = built_from(settings, vectors.shape, seed)
    key = digest({"form": _FORM, "vectors": vectors_digest(vectors), **built})
    path = folder / f"{key}.faiss"
    whole = is_whole(path) if use_cached else None
    if whole is False:
        warn(f"{path}: the cached index is damaged; building it again")
    if not whole:
        check(built, vectors.shape)
        _write(build_index(vectors, built, label), path, {"label": label, "built": built})
    detail(f"index of {label}: {path}, {'found' if whole else 'built'}")
    # faiss maps graphs and flat vectors by one flag, inverted lists by another
    mapped = faiss.IO_FLAG_MMAP_IFC if settings.kind == "hnsw" else faiss.IO_FLAG_MMAP
    opened = faiss.read_index(str(path), mapped)
    return Index(opened, settings, key, built, path.stat().st_size)


def build_index(vectors: VectorBlocks, built: dict[str, Any], label: str = "") -> Any:
    """A faiss index of all vectors, as `built_from` says; the same each time.

    By one thread: with several, a graph depends on which of them is first, and sums on how work
    was divided.
    """
    import faiss

    number, dimensions = vectors.shape
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(BUILDING_THREADS)
    try:
        index = _empty(dimensions, built)
        if "trained_on" in built:
            random = np.random.default_rng([built["seed"], 6])
            drawn = np.sort(random.choice(number, built["trained_on"], replace=False))
            index.train(np.ascontiguousarray(vectors.rows(drawn), dtype=np.float32))
        with progress(f"index of {label}", number, "vectors", after=1.0) as advance:
            for _, block in vectors:
                index.add(np.ascontiguousarray(block, dtype=np.float32))
                advance(len(block))
    finally:
        faiss.omp_set_num_threads(threads)
    return index


def _empty(dimensions: int, built: dict[str, Any]) -> Any:
    import faiss

    product = faiss.METRIC_INNER_PRODUCT
    seed = int(np.random.default_rng([built["seed"], 8]).integers(2**31))  # as large as it may be
    if built["kind"] == "hnsw":
        graph = faiss.IndexHNSWFlat(dimensions, built["links"], product)
        graph.hnsw.efConstruction = built["build"]
        graph.hnsw.rng = faiss.RandomGenerator(seed)
        return graph
    index = faiss.index_factory(
        dimensions,
        f"IVF{built['lists']},PQ{built['code_bytes'] * 8 // built['code_bits']}"
        f"x{built['code_bits']}",
        product,
    )
    index.do_polysemous_training = False  # of no use here, and ten times the work
    for clustering in (index.cp, index.pq.cp):
        clustering.seed = seed
        clustering.min_points_per_centroid = 1  # faiss's advice would go past the console
        clustering.max_points_per_centroid = _MOST_OF_A_LIST
    return index


def _write(index: Any, path: Path, record: dict[str, Any]) -> None:
    """Write an index, then ``<stem>.json`` with its checksum: that marks it whole."""
    import faiss

    with atomic_path(path) as temporary:
        try:
            faiss.write_index(index, str(temporary))
        except RuntimeError as error:
            raise BiasBenchError(
                f"{path}: the index cannot be written ({str(error).rpartition(': ')[2]}); free "
                "some space, and give the command again"
            ) from None
    checked = {"schema": 1, **record, "sha256": sha256_file(path)}
    write_json(path.with_suffix(".json"), checked)
