"""The stages of a system without an encoder, BM25: search, score, metrics.

What needs vectors (robustness, language probe) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bias_bench import __version__
from bias_bench.console import say
from bias_bench.errors import UsageError
from bias_bench.evaluation.settings import ALL, searched_settings
from bias_bench.files import write_json
from bias_bench.java import start_java
from bias_bench.kinds import LexicalOptions
from bias_bench.manifest import NO_PRECISION, Manifest, Stage
from bias_bench.retrieval.analysis import describe_rule
from bias_bench.retrieval.bm25 import (
    NOT_FOUND,
    Indexes,
    Parameters,
    Part,
    index_folder,
    index_key,
    make_indexes,
    search_lexical,
)
from bias_bench.retrieval.exact import Results, candidate_order
from bias_bench.stages.evaluate import collect, score
from bias_bench.stages.folder import RunFolder, describe_task, open_run
from bias_bench.stages.work import Search, Task, search_settings

FOUND_FILE = "found.json"  # by setting, what BM25 finds of the relevant candidates


def run_lexical(task: Task, place: RunFolder) -> Path:
    """Run a lexical system into its folder and report on it; returns the folder."""
    require_lexical_stage(task, place)
    start_java()  # what is missing is found before anything is written
    described = {
        **describe_task(task),
        "weights": {},
        "encoding": {"precision": NO_PRECISION},
        "lexical": _describe(task),
    }
    with open_run(place, task.experiment, described) as manifest:
        evaluate_lexical(task, manifest, place)
    return place.path


def require_lexical_stage(task: Task, place: RunFolder) -> None:
    """UsageError for a stage that a system without an encoder does not have."""
    if place.until not in (None, "search"):
        raise UsageError(
            f"recipe {task.experiment.recipe} has no encoder, so there is nothing to "
            f"{place.until}; `biasbench search` or `biasbench run` can be asked for"
        )


def _describe(task: Task) -> dict[str, Any]:
    """The part of the manifest that says how texts are analysed and weighed."""
    return {
        "method": "bm25",
        "parameters": _parameters(task)._asdict(),
        "score_not_found": NOT_FOUND,
        "analyzers": {language: describe_rule(language) for language in task.collection.languages},
    }


def evaluate_lexical(task: Task, manifest: Manifest, place: RunFolder) -> None:
    """Do every stage that is not finished, or stop after the search."""
    folder, parts = manifest.folder, _parts(task)
    path = folder / FOUND_FILE

    def work() -> list[Path]:
        with manifest.timed("index"):
            indexes = _indexes(task, parts, use_cached=place.policy != "always")
        found: dict[str, float] = {}
        with manifest.timed("search"):
            paths = search_settings(task, _search(task, indexes, found), folder)
        write_json(path, found)
        return [*paths, path]

    inputs = {
        "index": index_key(parts, _parameters(task)),
        "collection": task.collection.fingerprint,
        "biasbench": __version__,
        "depth": task.experiment.retrieval.depth,
        "tag": task.tag,
    }
    manifest.run_stage(Stage("search", inputs, work), place.policy)
    if place.until == "search":
        return
    score(task, manifest, place.policy)
    if task.experiment.robustness:
        say("robustness: left out, since BM25 makes no vectors; so is the language probe")
    collect(task, manifest, place.policy, {}, {"found": path})


def _parts(task: Task) -> list[Part]:
    """The candidates of each language."""
    collection, context = task.collection, task.experiment.candidate.context
    return [
        Part(language, collection.candidate_texts(language, context))
        for language in collection.languages
    ]


def _parameters(task: Task) -> Parameters:
    """Those of the experiment."""
    options = task.experiment.lexical or LexicalOptions()
    return Parameters(options.k1, options.b)


def _indexes(task: Task, parts: Sequence[Part], use_cached: bool) -> dict[str, Indexes]:
    """What to search for each query language: all pools, or its own if topics are not parallel."""
    collection, parameters, folder = task.collection, _parameters(task), index_folder()
    ids = collection.candidate_ids(np.arange(len(collection.candidates))).to_pylist()
    if collection.parallel:
        order = candidate_order(ids, dict(collection.pools))
        indexes = make_indexes(parts, order, parameters, folder, use_cached)
        return dict.fromkeys(collection.languages, indexes)
    found = {}
    for part in parts:
        start, stop = collection.pools[part.language]
        order = candidate_order(ids[start:stop], {part.language: (0, stop - start)})
        order = order._replace(rows=order.rows + start)
        found[part.language] = make_indexes(
            [part], order, parameters, folder, use_cached, pooled=False
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
