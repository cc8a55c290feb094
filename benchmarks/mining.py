"""Hard-negative mining against the bare float32 matrix product in the same blocks."""

from __future__ import annotations

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, interleave, progress
from bias_bench.config.mining import MiningSettings
from bias_bench.data.pairs import Pairs
from bias_bench.training.negatives.mining import Mined, mine
from bias_bench.training.negatives.workspace import CANDIDATES, QUERIES

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
_GROUPS, _QUICK_GROUPS, _CHECKED = 12_000, 300, 100


def compare(options: Options) -> list[Comparison]:
    """The goal is the product's own speed; nothing can be faster without leaving scores out."""
    groups = _QUICK_GROUPS if options.quick else _GROUPS
    pairs = _pairs(groups)
    queries, candidates = _vectors(groups)
    settings = MiningSettings(number=4, languages="balanced")
    mined = mine(pairs, queries, candidates, settings, seed=0)
    _require_best(mined, queries, candidates, settings)
    progress("the negatives are right")
    times = interleave(
        lambda: mine(pairs, queries, candidates, settings, seed=0),
        lambda: _product(queries, candidates),
        options.pairs_or(3),
    )
    note = (
        f"{len(queries):,} queries, {len(candidates):,} candidates, balanced over "
        f"{len(LANGUAGES)} languages; the peer only multiplies"
    )
    return [Comparison("mine negatives", times, "≥ 0.8×", note)]


def _pairs(groups: int) -> Pairs:
    """A query in one language for each group, with a candidate in every language."""
    width = len(LANGUAGES)
    group = np.repeat(np.arange(groups, dtype=np.int32), width)
    rows = np.arange(len(group), dtype=np.int32)
    return Pairs(
        query=group,
        candidate=rows,
        query_language=group % width,
        candidate_language=rows % width,
        group=group,
        data_set=np.zeros_like(group),
        topic=group,
        query_texts=tuple(f"question {row}" for row in range(groups)),
        candidate_texts=tuple(f"sentence {row}" for row in rows),
        languages=LANGUAGES,
        data_sets=("generated",),
        topic_ids=tuple(f"t{row}" for row in range(groups)),
        topic_titles=("",) * groups,
    )


def _vectors(groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of queries and candidates; those of a group lie near one direction."""
    random = np.random.default_rng(0)
    topics = random.standard_normal((groups, data.DIMENSIONS), dtype=np.float32)
    sides = []
    for repeats in (1, len(LANGUAGES)):
        near = np.repeat(topics, repeats, axis=0)
        near += random.standard_normal(near.shape, dtype=np.float32)
        sides.append(near / np.linalg.norm(near, axis=1, keepdims=True))
    return sides[0], sides[1]


def _product(queries: np.ndarray, candidates: np.ndarray) -> None:
    buffer = np.empty((QUERIES, CANDIDATES), dtype=np.float32)
    for start in range(0, len(candidates), CANDIDATES):
        some = candidates[start : start + CANDIDATES]
        for row in range(0, len(queries), QUERIES):
            part = queries[row : row + QUERIES]
            np.matmul(part, some.T, out=buffer[: len(part), : len(some)])


def _require_best(
    mined: Mined, queries: np.ndarray, candidates: np.ndarray, settings: MiningSettings
) -> None:
    """Each negative is its language's most similar one that the margin and the group allow."""
    width = len(LANGUAGES)
    margin = settings.relative_margin or 0.0
    for query in range(_CHECKED):
        scores = candidates @ queries[query]
        own = slice(query * width, (query + 1) * width)
        limit = np.tile(scores[own] - margin * np.abs(scores[own]), len(scores) // width)
        scores[own] = -np.inf
        scores[scores > limit] = -np.inf
        best = scores.reshape(-1, width).max(axis=0)
        expected = best[mined.languages[query]]
        if (mined.negatives[query] < 0).any() or not np.allclose(
            scores[mined.negatives[query]], expected, atol=1e-6
        ):
            raise ValueError(f"query {query}: a better negative was passed over")
