"""What is measured on: collections, vectors and texts, generated or from the real XQuAD-R."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.harness import Options
from bias_bench.data.collection import Candidate, Collection, Query, Topic

TOPICS = 1190  # XQuAD-R
DIMENSIONS = 384  # multilingual-e5-small
_QUICK_LANGUAGES, _QUICK_TOPICS, _QUICK_CANDIDATES = ("en", "th", "zh"), 100, 150


class Texts(NamedTuple):
    """Texts to encode, by side, without prefixes."""

    queries: list[str]
    candidates: list[str]


def collection(options: Options) -> Collection:
    """XQuAD-R, or one of its size: 11 languages, 1,190 topics each, 13,014 candidates."""
    from bias_bench.data.registry import benchmark_spec, load_benchmark

    if options.data_dir:
        return load_benchmark("xquad-r", options.data_dir).collection
    if options.quick:
        return _generated(dict.fromkeys(_QUICK_LANGUAGES, _QUICK_CANDIDATES), _QUICK_TOPICS)
    files = benchmark_spec("xquad-r").files
    return _generated({language: file.candidates for language, file in files.items()}, TOPICS)


def _generated(sizes: dict[str, int], topics: int) -> Collection:
    """Topic t is answered by candidate t, counted around, in every language."""
    return Collection(
        name="generated",
        languages=tuple(sizes),
        topics=tuple(Topic(f"t{row:04}", f"en:0-{row // 5}", "en:0") for row in range(topics)),
        queries=tuple(
            Query(f"{language}:t{row:04}", f"question {row}")
            for language in sizes
            for row in range(topics)
        ),
        candidates=tuple(
            Candidate(f"{language}:0-{row // 5}-{row % 5}", f"sentence {row}", "")
            for language, size in sizes.items()
            for row in range(size)
        ),
        relevance=tuple(
            (f"t{row:04}", f"{language}:0-{row % size // 5}-{row % size % 5}")
            for language, size in sizes.items()
            for row in range(topics)
        ),
    )


def vectors(items: Collection, seed: int = 0) -> list[np.ndarray]:
    """Unit vectors float32 [texts, 384]: candidates of each language, then queries of each.

    Random, but a topic's queries and relevant candidates lie near one direction, so that ranks
    are spread as an encoder's are and not all in the thousands.
    """
    generator = np.random.default_rng(seed)
    topics = generator.standard_normal((len(items.topics), DIMENSIONS), dtype=np.float32)
    candidates = generator.standard_normal((len(items.candidates), DIMENSIONS), dtype=np.float32)
    for column in items.relevant_rows.T:
        candidates[column[column >= 0]] += 0.5 * topics[column >= 0]
    parts = [candidates[part.start : part.stop] for part in items.pools.values()]
    for language in items.languages:
        own = topics[items.query_topics(language)]
        parts.append(0.5 * own + generator.standard_normal(own.shape, dtype=np.float32))
    return [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]


def texts(options: Options) -> Texts:
    """An evenly spaced sample of XQuAD-R, else the embedded texts, repeated with a number."""
    from bias_bench.data.registry import load_benchmark

    name = "xquad-r" if options.data_dir else "mini"
    items = load_benchmark(name, options.data_dir).collection
    queries = [query.text for query in items.queries]
    candidates = [candidate.text for candidate in items.candidates]
    whole = len(queries) + len(candidates)
    default = 300 if options.quick else 2000
    wanted = default if options.texts is None else options.texts or whole
    share = wanted / whole
    return Texts(
        _resize(queries, round(len(queries) * share)),
        _resize(candidates, wanted - round(len(queries) * share)),
    )


def _resize(items: list[str], wanted: int) -> list[str]:
    if wanted <= len(items):
        return [items[row * len(items) // wanted] for row in range(wanted)]
    turns = [divmod(row, len(items)) for row in range(wanted)]
    return [f"{items[row]} ({turn})" if turn else items[row] for turn, row in turns]
