"""The work of a search through approximate indexes, and what is recorded of it.

Nothing is known of what an index does not return, so ranks end at the depth, as those of another
tool's rankings do; and what it misses down to there is measured on a sample of queries.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bias_bench.evaluation.metrics_document import IndexRecall
from bias_bench.evaluation.run_record import IndexRecord
from bias_bench.report.summary import index_recall
from bias_bench.runs.graph import Made, Work
from bias_bench.runs.memory import SAMPLED, require_index_memory
from bias_bench.runs.task import Prepared, Search, Task, approximate_index, search_settings
from bias_bench.runs.vectors import Encoded, Searcher
from bias_bench.search.approximate import (
    BUILDING_THREADS,
    Index,
    faiss_version,
    index_folder,
    require_enough,
)
from bias_bench.search.exact import Results
from bias_bench.search.indexed import (
    IndexedPool,
    index_pools,
    measure_recall,
    search_indexed,
)
from bias_bench.system.console import say
from bias_bench.system.files import write_json

INDEX_FILE = "index.json"


def require_index(task: Task) -> None:
    """UsageError where a pool is too small for the index that the experiment asks for."""
    index, collection = approximate_index(task), task.collection
    if index is None:
        return
    for language, part in collection.pools.items():
        require_enough(index, part.stop - part.start, language)


def describe_index(task: Task) -> dict[str, Any] | None:
    """What is searched through; None with the exact search."""
    index = approximate_index(task)
    if index is None:
        return None
    return {
        **index.model_dump(),
        "seed": task.experiment.seed,
        "faiss": faiss_version(),
        "building_threads": BUILDING_THREADS,
    }


class _Indexed(NamedTuple):
    """What to search: the pools and the queries float32 [queries, dimensions], by query language.

    Where topics are parallel all languages share one.
    """

    pools: dict[str, IndexedPool]
    queries: dict[str, np.ndarray]


def search_indexes(prepared: Prepared, encoded: Encoded, work: Work) -> Made:
    """Search every setting through the indexes of its pool.

    Indexes that are not in the cache are built; UsageError where one takes more than the work's
    memory.
    """
    folder, depth = work.folder, prepared.experiment.retrieval.depth
    with work.timed("index"):
        indexed = _open(prepared, encoded, work.memory, not work.again)
    paths = search_settings(prepared, _search(prepared, indexed), folder, depth)
    with work.timed("recall"):
        record = _record(prepared, indexed)
        write_json(folder / INDEX_FILE, record)
    say(index_recall(IndexRecall.model_validate(record)))
    return Made([*paths, folder / INDEX_FILE], {"index": IndexRecord.model_validate(record)})


def _open(prepared: Prepared, encoded: Encoded, memory: int | None, use_cached: bool) -> _Indexed:
    """Open the indexes of all pools, building those that are not in the cache."""
    index, collection = approximate_index(prepared), prepared.collection
    if index is None:
        raise ValueError("the experiment asks for an exact search")
    searcher = Searcher(collection, encoded.candidates)
    seed, folder = prepared.experiment.seed, index_folder()
    pools: dict[str, IndexedPool] = {}
    for language in collection.languages:
        if collection.parallel and pools:
            pools[language] = next(iter(pools.values()))
            continue
        vectors, order = searcher.pool(language)
        pools[language] = index_pools(
            vectors, order, index, seed, folder, use_cached, partial(require_index_memory, memory)
        )
    return _Indexed(pools, dict(zip(collection.languages, encoded.queries, strict=True)))


def _search(prepared: Prepared, indexed: _Indexed) -> Search:
    """Search of all queries of a language through the indexes of its pools."""
    collection = prepared.collection

    def find(language: str) -> Results:
        return search_indexed(
            indexed.queries[language],
            indexed.pools[language],
            collection.relevant_rows[collection.query_topics(language)],
            prepared.experiment.retrieval.depth,
        )

    return find


def _record(prepared: Prepared, indexed: _Indexed) -> dict[str, Any]:
    """The part `index` of metrics.json: settings, and by pool what was built and its recall.

    Recall is measured on queries drawn from all that are asked in a pool.
    """
    experiment = prepared.experiment
    asked = {language: [queries] for language, queries in indexed.queries.items()}
    if prepared.collection.parallel:
        asked = {prepared.collection.languages[0]: list(indexed.queries.values())}
    per_pool: dict[str, dict[str, Any]] = {}
    for language, parts in asked.items():
        pool, queries = indexed.pools[language], np.concatenate(parts)
        random = np.random.default_rng([experiment.seed, 7])
        drawn = np.sort(random.permutation(len(queries))[:SAMPLED])
        found = measure_recall(pool, queries[drawn], experiment.retrieval.depth)
        per_pool |= {name: {**part, **_built(pool.indexes[name])} for name, part in found.items()}
    names = [name for name in next(iter(per_pool.values())) if name.startswith("recall@")]
    by_pool = {name: {pool: part[name] for pool, part in per_pool.items()} for name in names}
    lowest = {name: min(values, key=values.__getitem__) for name, values in by_pool.items()}
    return {
        **(describe_index(prepared) or {}),
        "macro": {name: float(np.mean(list(values.values()))) for name, values in by_pool.items()},
        "lowest": {name: {"pool": pool, "value": by_pool[name][pool]}
                   for name, pool in lowest.items()},
        "per_pool": per_pool,
    }  # fmt: skip


def _built(index: Index) -> dict[str, Any]:
    """What was built for one pool, where it is in the cache, and its bytes."""
    return {"key": index.key, "bytes": index.size, "built": index.built}
