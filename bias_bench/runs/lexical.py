"""The graph of a system without an encoder, BM25: search, score, metrics.

What needs vectors (robustness, language probe) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bias_bench import __version__
from bias_bench.config.experiment import experiment_yaml
from bias_bench.config.kinds import LexicalOptions
from bias_bench.evaluation.run_record import (
    NO_PRECISION,
    Encoding,
    LexicalParameters,
    LexicalRecord,
)
from bias_bench.evaluation.settings import ALL, searched_settings
from bias_bench.runs.examples import examples
from bias_bench.runs.graph import Graph, Made, Stage, Work
from bias_bench.runs.measured import metrics_stage, score_stage
from bias_bench.runs.task import Search, Task, describe_task, measure, search_settings
from bias_bench.search.analysis import describe_rule
from bias_bench.search.bm25 import (
    NOT_FOUND,
    Indexes,
    Part,
    index_folder,
    index_key,
    make_indexes,
    search_lexical,
)
from bias_bench.search.exact import Results, candidate_order
from bias_bench.system.console import say
from bias_bench.system.files import write_json
from bias_bench.system.java import start_java

FOUND_FILE = "found.json"  # by setting, what BM25 finds of the relevant candidates


def lexical_graph(task: Task, name: str) -> Graph:
    """The graph of a lexical system."""
    start_java()  # what is missing is found before anything is written
    if task.experiment.robustness:
        say("robustness: left out, since BM25 makes no vectors; so is the language probe")
    parts, options = _parts(task), _options(task)
    lexical = LexicalRecord(
        method="bm25",
        parameters=LexicalParameters(**options.model_dump()),
        score_not_found=NOT_FOUND,
        analyzers={language: describe_rule(language) for language in task.collection.languages},
    )
    record = describe_task(task, name).model_copy(
        update={
            "weights": {},
            "encoding": Encoding(precision=NO_PRECISION),
            "lexical": lexical,
        }
    )
    depth = task.experiment.retrieval.depth

    def inputs() -> dict[str, Any]:
        return {
            "index": index_key(parts, options),
            "collection": task.collection.fingerprint,
            "biasbench": __version__,
            "depth": depth,
            "tag": task.tag,
        }

    def search(work: Work) -> Made:
        with work.timed("index"):
            indexes = _indexes(task, parts, use_cached=not work.again)
        found: dict[str, float] = {}
        paths = search_settings(task, _search(task, indexes, found), work.folder)
        write_json(work.folder / FOUND_FILE, found)
        return Made([*paths, work.folder / FOUND_FILE])

    stages = [
        Stage("search", search, inputs),
        score_stage("search", lambda _: depth, task.experiment.metrics),
        metrics_stage(
            ("search", "score"),
            lambda work, read: measure(task, work, read),
            {"found": FOUND_FILE},
            lambda folder: examples(task, folder),
        ),
    ]
    return Graph(record, experiment_yaml(task.experiment), stages)


def _parts(task: Task) -> list[Part]:
    """The candidates of each language."""
    collection, context = task.collection, task.experiment.candidate.context
    return [
        Part(language, collection.candidate_texts(language, context))
        for language in collection.languages
    ]


def _options(task: Task) -> LexicalOptions:
    return task.experiment.lexical or LexicalOptions()


def _indexes(task: Task, parts: Sequence[Part], use_cached: bool) -> dict[str, Indexes]:
    """What to search for each query language: all pools, or its own if topics are not parallel."""
    collection, options, folder = task.collection, _options(task), index_folder()
    ids = collection.candidate_ids(np.arange(len(collection.candidates))).to_pylist()
    if collection.parallel:
        order = candidate_order(ids, dict(collection.pools))
        indexes = make_indexes(parts, order, options, folder, use_cached)
        return dict.fromkeys(collection.languages, indexes)
    found = {}
    for part in parts:
        start, stop = collection.pools[part.language]
        order = candidate_order(ids[start:stop], {part.language: (0, stop - start)})
        order = order._replace(rows=order.rows + start)
        found[part.language] = make_indexes(
            [part], order, options, folder, use_cached, pooled=False
        )
    return found


def _search(task: Task, indexes: Mapping[str, Indexes], found: dict[str, float]) -> Search:
    """Searches all pools for one language; `found` is filled by setting.

    It is the share of relevant candidates that have a term in common with the query.
    """
    collection = task.collection

    def find(language: str) -> Results:
        relevant = collection.relevant_rows[collection.query_topics(language)]
        texts = [query.text for query in collection.queries_in(language)]
        results, common = search_lexical(
            texts, language, indexes[language], relevant, task.experiment.retrieval.depth
        )
        for setting in searched_settings(collection, language):
            pool = slice(None) if setting.pool == ALL else slice(*collection.pools[setting.pool])
            inside = np.isin(relevant, np.arange(len(collection.candidates))[pool])
            found[str(setting)] = float(common[inside, int(setting.pool == ALL)].mean())
        return results

    return find
