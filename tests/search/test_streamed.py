"""Search block by block: the same results as with all scores at once, however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bias_bench.encoders import blocks
from bias_bench.encoders.blocks import ArrayBlocks, StoredBlocks, joined, stored_blocks
from bias_bench.errors import BiasBenchError
from bias_bench.search import streamed
from bias_bench.search.dense import make_block_pool, make_pool, search, search_pool
from bias_bench.search.order import rank_keys
from bias_bench.search.streamed import Ranked, search_blocks
from bias_bench.system.processes import Processes


def by_sorting(
    queries: np.ndarray, vectors: np.ndarray, relevant: np.ndarray, depth: int
) -> Ranked:
    """All keys, sorted; exact for vectors of small whole numbers."""
    keys = np.sort(rank_keys((queries @ vectors.T).astype(np.float32)), axis=1)[:, ::-1]
    columns = Ranked(keys, relevant).columns
    place = np.argsort(columns, axis=1)
    ranks = np.where(relevant >= 0, 1 + np.take_along_axis(place, np.maximum(relevant, 0), 1), 0)
    return Ranked(keys[:, :depth], ranks)


def whole_numbers(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """With many equal scores."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


def some_relevant(seed: int, queries: int, most: int, candidates: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = np.full((queries, most), -1)
    for row in found:
        number = random.integers(0, min(most, candidates) + 1)
        row[:number] = random.choice(candidates, number, replace=False)
    return found


@settings(deadline=None, max_examples=40)
@given(
    queries=st.integers(1, 20),
    candidates=st.integers(1, 90),
    dimensions=st.integers(1, 4),
    depth=st.integers(1, 100),
    sizes=st.tuples(st.sampled_from([8, 16]), st.sampled_from([8, 16]), st.integers(1, 3)),
    seed=st.integers(0, 99),
)
def test_results_are_those_of_sorting_everything(
    queries: int,
    candidates: int,
    dimensions: int,
    depth: int,
    sizes: tuple[int, int, int],
    seed: int,
) -> None:
    asked, vectors = (
        whole_numbers(seed + place, (number, dimensions))
        for place, number in enumerate((queries, candidates))
    )
    relevant = some_relevant(seed, queries, 4, candidates)
    with pytest.MonkeyPatch.context() as patch:
        resize(patch, *sizes)
        found = search_blocks(asked, ArrayBlocks(vectors), relevant, depth)
    expected = by_sorting(asked, vectors, relevant, depth)
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_array_equal(found.ranks, expected.ranks)


def resize(patch: pytest.MonkeyPatch, queries: int, tile: int, tiles: int) -> None:
    patch.setattr(streamed, "QUERIES", queries)
    patch.setattr(streamed, "TILE", tile)
    patch.setattr(blocks, "BLOCK", tile * tiles)
    patch.setattr(streamed, "_buffers", streamed._Buffers())


def random_vectors(seed: int, shape: tuple[int, int]) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_neither_passes_nor_threads_nor_files_change_a_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 4_096)
    asked, vectors = random_vectors(0, (1_100, 24)), random_vectors(1, (9_001, 24))
    vectors[5_000:5_050] = vectors[0]  # equal scores, in other tiles
    relevant = some_relevant(2, 1_100, 3, 9_001)
    relevant[:40, 0] = np.arange(5_000, 5_040)
    relevant[:40, 1:] = -1
    names = [f"x:{99_999 - row}" for row in range(9_001)]
    pool = make_block_pool("x", names, vectors, 0)
    whole = search_pool(asked, pool, relevant, 50)
    twice = search_pool(asked, pool, relevant, 50, at_once=600)
    monkeypatch.setattr(streamed.os, "sched_getaffinity", lambda _: {0, 1, 2})
    threads = search_pool(asked, pool, relevant, 50)
    parts = []
    for number, start in enumerate((0, 8_192)):
        path = tmp_path / f"{number}.npy"
        np.save(path, vectors[start : start + 8_192])
        parts.append(stored_blocks(path))
    stored = search_pool(asked, pool._replace(vectors=joined(parts)), relevant, 50)
    for other in (twice, threads, stored):
        np.testing.assert_array_equal(other.ranks, whole.ranks)
        for mine, theirs in zip(other.top["all"], whole.top["all"], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    _require_ranks_agree_with_the_rankings(whole.ranks[..., 0], whole.top["x"][0], relevant)


def _require_ranks_agree_with_the_rankings(
    ranks: np.ndarray, rows: np.ndarray, relevant: np.ndarray
) -> None:
    seen = 0
    for query, place in zip(*np.nonzero((ranks > 0) & (ranks <= rows.shape[1])), strict=True):
        assert rows[query, ranks[query, place] - 1] == relevant[query, place]
        seen += 1
    assert seen > 10


def test_it_finds_what_the_search_in_memory_finds() -> None:
    asked, vectors = random_vectors(3, (700, 48)), random_vectors(4, (5_000, 48))
    relevant = some_relevant(5, 700, 2, 5_000)
    names = [f"x:{(row * 7919) % 5_000:04}" for row in range(5_000)]
    theirs = search(asked, make_pool(names, vectors, {"x": (0, 5_000)}), relevant, 20)
    ours = search_pool(asked, make_block_pool("x", names, vectors, 0), relevant, 20)
    np.testing.assert_array_equal(ours.ranks, theirs.ranks)
    np.testing.assert_array_equal(ours.top["x"][0], theirs.top["x"][0])
    np.testing.assert_allclose(ours.top["x"][1], theirs.top["x"][1], atol=1e-6)


class OneOf(Processes):
    """A process that works alone and takes part of the blocks."""

    def any(self, flag: bool) -> bool:
        return flag

    def total(self, array: np.ndarray) -> np.ndarray:
        return array

    of_first = total

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        return [array]


def test_shares_of_the_blocks_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 2_048)
    asked, vectors = random_vectors(6, (30, 16)), ArrayBlocks(random_vectors(7, (7_000, 16)))
    relevant = some_relevant(8, 30, 3, 7_000)
    whole = search_blocks(asked, vectors, relevant, 40)
    shares = [
        search_blocks(asked, vectors, relevant, 40, processes=OneOf(rank, 3)) for rank in range(3)
    ]
    keys = np.sort(np.concatenate([share.keys for share in shares], axis=1), axis=1)[:, ::-1]
    np.testing.assert_array_equal(keys[:, :40], whole.keys)
    above = sum(share.ranks - (relevant >= 0) for share in shares)
    np.testing.assert_array_equal(above + (relevant >= 0), whole.ranks)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("side", ["query", "candidate"])
def test_vectors_that_cannot_be_compared_are_an_error(value: float, side: str) -> None:
    asked, vectors = random_vectors(9, (3, 8)), random_vectors(10, (50, 8))
    (asked if side == "query" else vectors)[2, 3] = value
    with pytest.raises(BiasBenchError, match="NaN or infinity"):
        search_blocks(asked, ArrayBlocks(vectors), np.full((3, 1), -1), 5)


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "part.npy", np.ones((10, 4), dtype=np.float32))
    short = StoredBlocks(tmp_path / "part.npy", 11, 4)
    with pytest.raises(BiasBenchError, match="too short"):
        short.block(0)
