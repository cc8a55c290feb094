"""Approximate indexes: what they find, in which order, the same each time, from the cache."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bias_bench.config.index import ApproximateIndex, HnswIndex, IvfPqIndex
from bias_bench.encoders.blocks import ArrayBlocks, VectorBlocks, stored_blocks
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.runs.memory import require_index_memory
from bias_bench.search import indexed as indexed_module
from bias_bench.search.approximate import (
    Index,
    build_index,
    built_from,
    cached_index,
    require_enough,
    vectors_digest,
)
from bias_bench.search.dense import make_pool, search
from bias_bench.search.exact import Order
from bias_bench.search.indexed import (
    BlockSlice,
    Nearest,
    exact_nearest,
    index_pools,
    measure_recall,
    nearest_by_index,
    recall,
    search_indexed,
)
from bias_bench.system.memory import parse_size
from tests.support.helpers import unhurried

HNSW = HnswIndex(links=16, build=60, search=64)
IVF_PQ = IvfPqIndex(probes=16, code_bits=4)
KINDS = pytest.mark.parametrize("settings", [HNSW, IVF_PQ], ids=lambda one: one.kind)


def clustered(number: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around a centre for every 30 of them."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(max(number // 30, 1), dimensions))
    vectors = centres[random.integers(0, len(centres), number)]
    vectors = vectors + 0.7 * random.normal(size=vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> ArrayBlocks:
    return ArrayBlocks(clustered(2_000, 32))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return clustered(100, 32, seed=1)


def make(vectors: VectorBlocks, settings: ApproximateIndex, folder: Path, seed: int = 0) -> Index:
    return cached_index(vectors, settings, seed, folder, "test")


def bytes_of(index: Any) -> bytes:
    import faiss

    return faiss.serialize_index(index).tobytes()


def test_exact_nearest_is_a_sort_of_all_scores(vectors: ArrayBlocks, queries: np.ndarray) -> None:
    found = exact_nearest(vectors, queries, 50)
    scores = queries.astype(np.float64) @ vectors.vectors.astype(np.float64).T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :50]
    assert (found.columns != expected).mean() < 0.001, "but for scores that differ in the last bit"
    assert np.allclose(found.scores, np.take_along_axis(scores, found.columns, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "ten", "hundred"),
    [(HNSW, 0.99, 0.9), (IVF_PQ, 0.97, 0.85)],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_most_of_the_nearest_are_found_among_clusters(
    vectors: ArrayBlocks,
    queries: np.ndarray,
    tmp_path: Path,
    settings: ApproximateIndex,
    ten: float,
    hundred: float,
) -> None:
    found = nearest_by_index(make(vectors, settings, tmp_path), vectors, queries, 100)
    exact = exact_nearest(vectors, queries, 100)
    assert recall(found, exact, 10).mean() >= ten
    assert hundred <= recall(found, exact, 100).mean() <= 1


def test_fewer_probes_find_less(vectors: ArrayBlocks, queries: np.ndarray, tmp_path: Path) -> None:
    exact = exact_nearest(vectors, queries, 100)
    shares = []
    for probes in (1, 4, 51):
        index = make(vectors, IvfPqIndex(probes=probes, code_bits=4), tmp_path)
        found = nearest_by_index(index, vectors, queries, 100)
        shares.append(recall(found, exact, 100).mean())
    assert shares == sorted(shares)
    assert shares[0] < 0.9 < shares[2]
    assert len(list(tmp_path.glob("*.faiss"))) == 1, "how it is searched makes no other index"


def test_recall_counts_what_is_missing() -> None:
    exact = Nearest(np.array([[4, 2, 9, 1], [0, 1, 2, 3]]), np.zeros((2, 4), np.float32))
    found = Nearest(np.array([[2, 4, 7, 1], [5, 6, -1, -1]]), np.zeros((2, 4), np.float32))
    assert recall(found, exact, 2).tolist() == [1.0, 0.0]
    assert recall(found, exact, 4).tolist() == [0.75, 0.0]


@KINDS
def test_what_is_found_has_its_exact_score_in_the_order_of_all_rankings(
    vectors: ArrayBlocks, queries: np.ndarray, tmp_path: Path, settings: ApproximateIndex
) -> None:
    found = nearest_by_index(make(vectors, settings, tmp_path), vectors, queries, 100)
    for columns, scores, query in zip(*found, queries, strict=True):
        assert len(set(columns)) == 100
        assert np.allclose(scores, vectors.vectors[columns] @ query, atol=1e-6)
        assert list(zip(-scores, columns, strict=True)) == sorted(
            zip(-scores, columns, strict=True)
        )


SIZES = {"zh": 31, "en": 23, "de": 17}


@unhurried
@given(st.integers(0, 2**32 - 1), st.sampled_from(["tied", "fine"]))
def test_an_exhaustive_index_gives_the_results_of_the_exact_search(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    """Whole numbers and short fractions have exact products, so all must be equal, ties too."""
    random = np.random.default_rng(seed)
    ids, spans = [], {}
    for language, size in SIZES.items():
        spans[language] = (len(ids), len(ids) + size)
        ids += [f"{language}:{number // 5}-{number % 5}-0" for number in range(size)]

    def drawn(number: int) -> np.ndarray:
        if kind == "tied":
            return random.integers(-1, 2, size=(number, 4)).astype(np.float32)
        return (random.integers(-128, 129, size=(number, 8)) / 128).astype(np.float32)

    candidates, queries, depth = drawn(len(ids)), drawn(9), 20
    relevant = random.integers(-1, len(ids), size=(9, 3))
    pool = make_pool(ids, candidates, spans)
    exact = search(queries, pool, relevant, depth)
    settings = IvfPqIndex(lists=3, probes=3, code_bits=4, rescore=100)
    folder = tmp_path_factory.mktemp("exhaustive")
    indexed = index_pools(ArrayBlocks(pool.vectors), pool.order, settings, 0, folder)
    found = search_indexed(queries, indexed, relevant, depth)
    assert found.top.keys() == exact.top.keys()
    for name, (rows, scores) in exact.top.items():
        assert np.array_equal(found.top[name][0], rows)
        assert np.array_equal(found.top[name][1], scores)
    assert np.array_equal(found.ranks, np.minimum(exact.ranks, depth + 1))


def test_a_pool_of_one_language_is_the_pool_of_all(tmp_path: Path) -> None:
    ids = [f"en:{number}-0-0" for number in range(40)]
    pool = make_pool(ids, clustered(40, 8), {"en": (0, 40)})
    indexed = index_pools(ArrayBlocks(pool.vectors), pool.order, HNSW, 0, tmp_path)
    found = search_indexed(clustered(5, 8, seed=1), indexed, np.full((5, 1), 7), 10)
    assert found.top.keys() == {"en", "all"}
    assert np.array_equal(found.ranks[:, :, 0], found.ranks[:, :, 1])
    assert (found.ranks > 0).all()


def test_rankings_that_end_early_are_marked(tmp_path: Path) -> None:
    """One list of several holds fewer vectors than are asked for."""
    vectors = ArrayBlocks(clustered(200, 8))
    settings = IvfPqIndex(lists=8, probes=1, code_bits=4, rescore=2)
    found = nearest_by_index(make(vectors, settings, tmp_path), vectors, vectors.vectors[:9], 150)
    ended = found.columns < 0
    assert found.columns.shape == (9, 150)
    assert ended.any(axis=1).all()
    assert np.array_equal(ended, np.isneginf(found.scores))
    assert (np.diff(ended.astype(int), axis=1) >= 0).all(), "nothing stands after the end"


@KINDS
def test_building_again_gives_the_same_index_whatever_the_threads(
    vectors: ArrayBlocks, settings: ApproximateIndex
) -> None:
    import faiss

    built = built_from(settings, vectors.shape, 0)
    before = faiss.omp_get_max_threads()
    made = []
    try:
        for threads in (1, 2, 2):
            faiss.omp_set_num_threads(threads)
            made.append(bytes_of(build_index(vectors, built)))
            assert faiss.omp_get_max_threads() == threads, "left as it was"
    finally:
        faiss.omp_set_num_threads(before)
    assert made[0] == made[1] == made[2]


@KINDS
def test_another_seed_is_another_index(vectors: ArrayBlocks, settings: ApproximateIndex) -> None:
    one, other = (built_from(settings, vectors.shape, seed) for seed in (0, 2**40))
    assert bytes_of(build_index(vectors, one)) != bytes_of(build_index(vectors, other))


@KINDS
def test_results_do_not_depend_on_the_number_of_threads(
    vectors: ArrayBlocks,
    queries: np.ndarray,
    tmp_path: Path,
    settings: ApproximateIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = make(vectors, settings, tmp_path)
    monkeypatch.setattr(indexed_module, "GATHERED", 1_000)
    found = []
    for cores in (1, 4):
        monkeypatch.setattr(indexed_module.os, "cpu_count", lambda number=cores: number)
        found.append(nearest_by_index(index, vectors, queries, 50))
    assert np.array_equal(found[0].columns, found[1].columns)
    assert np.array_equal(found[0].scores, found[1].scores)


@KINDS
def test_an_index_is_known_by_all_that_decides_it(
    vectors: ArrayBlocks, tmp_path: Path, settings: ApproximateIndex
) -> None:
    keys = [make(vectors, settings, tmp_path, seed).key for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
    other = vectors.vectors.copy()
    other[7, 3] = np.nextafter(other[7, 3], np.float32(1))
    assert make(ArrayBlocks(other), settings, tmp_path).key not in keys
    changed = {"hnsw": {"links": 8}, "ivf-pq": {"lists": 9}}[settings.kind]
    assert make(vectors, settings.model_copy(update=changed), tmp_path).key not in keys


def test_a_part_has_the_digest_of_its_vectors(vectors: ArrayBlocks) -> None:
    part = BlockSlice(vectors, slice(300, 1_700))
    alone = ArrayBlocks(vectors.vectors[300:1_700])
    assert vectors_digest(part) == vectors_digest(alone) != vectors_digest(vectors)
    assert np.array_equal(part.rows(np.array([5, 2])), alone.rows(np.array([5, 2])))


@KINDS
def test_vectors_on_disk_are_indexed_as_in_memory(
    vectors: ArrayBlocks, queries: np.ndarray, tmp_path: Path, settings: ApproximateIndex
) -> None:
    np.save(tmp_path / "all.npy", vectors.vectors)
    stored = stored_blocks(tmp_path / "all.npy")
    index = make(stored, settings, tmp_path)
    assert index.key == make(vectors, settings, tmp_path).key
    found = nearest_by_index(index, stored, queries, 20)
    expected = nearest_by_index(index, vectors, queries, 20)
    assert np.array_equal(found.columns, expected.columns)
    assert np.array_equal(found.scores, expected.scores)


@KINDS
def test_only_an_index_to_build_is_checked_for_memory(
    vectors: ArrayBlocks, tmp_path: Path, settings: ApproximateIndex
) -> None:
    check = partial(require_index_memory, parse_size("1M"))
    with pytest.raises(UsageError, match="--memory 1M is too small to build an index; the least"):
        cached_index(vectors, settings, 0, tmp_path, "test", check=check)
    assert not list(tmp_path.iterdir())
    enough = partial(require_index_memory, parse_size("1T"))
    cached_index(vectors, settings, 0, tmp_path, "test", check=enough)
    cached_index(vectors, settings, 0, tmp_path, "test", check=check)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@KINDS
def test_an_index_is_mapped_not_read(
    vectors: ArrayBlocks, tmp_path: Path, settings: ApproximateIndex
) -> None:
    index = make(vectors, settings, tmp_path)
    assert str(tmp_path / f"{index.key}.faiss") in Path("/proc/self/maps").read_text("utf-8")


@KINDS
def test_a_damaged_index_is_built_again(
    vectors: ArrayBlocks,
    tmp_path: Path,
    settings: ApproximateIndex,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"{make(vectors, settings, tmp_path).key}.faiss"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"\xff" + whole[-8:])
    capsys.readouterr()
    index = make(vectors, settings, tmp_path)
    assert "the cached index is damaged; building it again" in capsys.readouterr().err
    assert path.read_bytes() == whole
    assert index.faiss.ntotal == 2_000
    make(vectors, settings, tmp_path)
    assert "damaged" not in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    vectors: ArrayBlocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    def refuse(*_: object) -> None:
        raise RuntimeError("Error in operator() at io.cpp:134: write error in x: No space left")

    monkeypatch.setattr(faiss, "write_index", refuse)
    with pytest.raises(BiasBenchError, match=r"cannot be written \(No space left\); free some"):
        make(vectors, HNSW, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_record_says_what_was_built(vectors: ArrayBlocks, tmp_path: Path) -> None:
    index = make(vectors, IVF_PQ, tmp_path)
    record = json.loads((tmp_path / f"{index.key}.json").read_text("utf-8"))
    assert record["built"] == index.built
    expected = {"lists": 51, "code_bytes": 4, "code_bits": 4, "trained_on": 2_000}
    assert index.built.items() >= expected.items()


@pytest.mark.parametrize(
    ("shape", "bits", "lists", "code_bytes"),
    [
        ((100_000, 384), 8, 1264, 48),
        ((100_000, 384), 4, 1264, 48),
        ((1_200, 1024), 8, 30, 128),
        ((300, 100), 8, 7, 10),
        ((20, 7), 8, 1, 1),
    ],
)
def test_auto_is_settled_by_the_size(
    shape: tuple[int, int], bits: Any, lists: int, code_bytes: int
) -> None:
    built = built_from(IvfPqIndex(code_bits=bits), shape, 0)
    assert (built["lists"], built["code_bytes"]) == (lists, code_bytes)
    assert built["trained_on"] <= shape[0]


def test_a_pool_too_small_to_train_on_is_one_line() -> None:
    with pytest.raises(UsageError) as error:
        require_enough(IvfPqIndex(), 84, "ar")
    assert str(error.value) == (
        "retrieval.index: ivf-pq is trained on at least 256 vectors, and the pool 'ar' has 84; "
        "take exact or hnsw, or ivf-pq with code_bits: 4"
    )
    with pytest.raises(UsageError, match="at least 500 vectors, and the pool 'all' has 499"):
        require_enough(IvfPqIndex(lists=500), 499, "all")
    require_enough(IvfPqIndex(code_bits=4), 84, "ar")
    require_enough(HnswIndex(), 1, "ar")


@pytest.mark.parametrize(
    ("settings", "dimensions"),
    [(IvfPqIndex(code_bytes=50), 384), (IvfPqIndex(code_bits=4), 7)],
)
def test_codes_that_do_not_divide_a_vector_are_refused(
    settings: IvfPqIndex, dimensions: int
) -> None:
    with pytest.raises(UsageError, match=r"retrieval\.index\.code_bytes"):
        built_from(settings, (1_000, dimensions), 0)


@KINDS
def test_broken_vectors_are_an_error(tmp_path: Path, settings: ApproximateIndex) -> None:
    broken = clustered(100, 8)
    broken[3] = np.nan
    with pytest.raises(BiasBenchError, match="NaN or infinity"):
        make(ArrayBlocks(broken), settings, tmp_path)
    with pytest.raises(BiasBenchError, match="NaN or infinity"):
        exact_nearest(ArrayBlocks(broken), clustered(2, 8), 10)


def test_measured_recall_is_that_of_each_pool(vectors: ArrayBlocks, tmp_path: Path) -> None:
    order = Order(np.arange(2_000), {"zh": slice(0, 1_900), "en": slice(1_900, 2_000)})
    settings = IvfPqIndex(lists=10, probes=1, code_bits=4, rescore=1)
    pool = index_pools(vectors, order, settings, 0, tmp_path)
    queries = clustered(50, 32, seed=1)
    found = measure_recall(pool, queries, 200)
    assert list(found) == ["zh", "en", "all"]
    assert [part["vectors"] for part in found.values()] == [1_900, 100, 2_000]
    for name, part in found.items():
        assert part["queries"] == 50
        own = vectors.vectors[pool.columns(name)]
        scores = queries @ own.T
        best = np.argsort(-scores, axis=1)[:, :10]
        listed = nearest_by_index(
            pool.indexes[name], ArrayBlocks(np.ascontiguousarray(own)), queries, 200
        )
        shares = [
            len({*row} & {*got[:10]}) / 10
            for row, got in zip(best.tolist(), listed.columns.tolist(), strict=True)
        ]
        assert part["recall@10"] == pytest.approx(np.mean(shares), abs=1e-3)
        assert part["recall@200"] < 1
