"""What a run is of: an experiment on a benchmark; its search of every setting, and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bias_bench.bias.catalogue import measure_bias
from bias_bench.config.experiment import Experiment
from bias_bench.config.index import ApproximateIndex, ExactIndex
from bias_bench.data.collection import Collection
from bias_bench.data.ids import language_of, topic_of
from bias_bench.data.registry import LoadedBenchmark
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.errors import UsageError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.metrics_document import SCHEMA, Metrics
from bias_bench.evaluation.ranks import RankTable, setting_rows, write_ranks
from bias_bench.evaluation.run_record import NO_PRECISION, Encoding, RunRecord
from bias_bench.evaluation.run_record import SCHEMA as RECORD_SCHEMA
from bias_bench.evaluation.score_run import qrels_file, run_file
from bias_bench.evaluation.scores import (
    count_queries,
    mean_scores,
)
from bias_bench.evaluation.settings import (
    ALL,
    Setting,
    parse_setting,
    searched_languages,
    searched_settings,
    settings_of,
    settings_without_topics,
)
from bias_bench.evaluation.trec import (
    qrels_bytes,
    ragged_run_bytes,
    run_bytes,
    write_gzip,
)
from bias_bench.runs.graph import Work
from bias_bench.runs.measured import scorer_agreement
from bias_bench.search.exact import Results
from bias_bench.search.order import strictly_decreasing
from bias_bench.system.console import progress


@dataclass(frozen=True)
class Task:
    """What every system needs, with an encoder or without one."""

    experiment: Experiment
    benchmark: LoadedBenchmark

    @property
    def collection(self) -> Collection:
        return self.benchmark.collection

    @property
    def tag(self) -> str:
        """The last column of every run line."""
        return f"{'-'.join(self.experiment.variant.split())}-{self.experiment.seed}"


@dataclass(frozen=True)
class Prepared(Task):
    """Everything the stages of an encoder need, resolved and checked before any work."""

    source: Embeds
    device: str = "cpu"

    @property
    def cached(self) -> CachedBackbone:
        """The backbone whose vectors are evaluated; UsageError for a source of another kind."""
        if not isinstance(self.source, CachedBackbone):
            raise UsageError(f"{self.source.spec}: cannot be trained: its weights are not at hand")
        return self.source

    @property
    def backbone(self) -> Backbone:
        """That is trained; UsageError for what cannot be."""
        return self.cached.backbone

    @property
    def settings(self) -> EncodingSettings:
        """How the backbone encodes; UsageError for what has none."""
        return self.cached.settings

    def requests(self) -> list[Request]:
        return benchmark_requests(self.collection, self.experiment.candidate.context)


def benchmark_requests(collection: Collection, with_context: bool) -> list[Request]:
    """What to encode: candidates, then queries, of each language."""
    requests: list[Request] = []
    for lang in collection.languages:
        parts = collection.text_parts(lang, with_context)
        of = f", {{}} of {len(parts)}" if len(parts) > 1 else ""
        requests += [
            Request(f"{lang} candidates{of.format(number)}", "candidate", texts, lang)
            for number, texts in enumerate(parts, 1)
        ]
    return requests + [
        Request(f"{lang} queries", "query", [q.text for q in collection.queries_in(lang)], lang)
        for lang in collection.languages
    ]


Search = Callable[[str], Results]  # of all queries of a language, in every pool


def search_settings(
    task: Task, find: Search, folder: Path, cutoff: int | None = None
) -> list[Path]:
    """Search every setting; write runs, qrels and ranks, which are exact down to the cut-off."""
    collection = task.collection
    tables: dict[str, pa.Table] = {}
    written: list[Future[list[Path]]] = []
    # a search of blocks shows its own progress
    shown = progress("search", len(settings_of(collection)), "settings")
    with (
        shown if collection.parallel else nullcontext(lambda _: None) as advance,
        ThreadPoolExecutor(max_workers=2) as writers,
    ):
        for language in searched_languages(collection):
            query_topics = collection.query_topics(language)
            results = find(language)
            for setting in searched_settings(collection, language):
                found = results.top[setting.pool][0]
                listed = (found >= 0).sum(axis=1) if cutoff else None
                table = setting_rows(collection, setting, query_topics, results.ranks, listed)
                tables[str(setting)] = table
                written.append(
                    writers.submit(_write_setting, task, folder, setting, table, results)
                )
                advance(1)
        paths = [path for future in written for path in future.result()]
    sizes = {language: part.stop - part.start for language, part in collection.pools.items()}
    if collection.parallel:
        sizes[ALL] = len(collection.candidates)
    ordered = [tables[str(setting)] for setting in settings_of(collection)]
    write_ranks(folder / "ranks.parquet", ordered, sizes, cutoff)
    return [*sorted(paths), folder / "ranks.parquet"]


def _write_setting(
    task: Task,
    folder: Path,
    setting: Setting,
    table: pa.Table,
    results: Results,
) -> list[Path]:
    """Write the run and qrels of one setting; queries without a relevant candidate are left out."""
    judged = set(table["query"].to_pylist())
    queries = [query.id for query in task.collection.queries_in(setting.query_language)]
    kept = [row for row, query in enumerate(queries) if query in judged]
    rows, scores = results.top[setting.pool]
    run_path, qrels_path = run_file(folder, setting), qrels_file(folder, setting)
    names = [queries[row] for row in kept]
    content = _rankings(task.collection, names, rows[kept], scores[kept], task.tag)
    write_gzip(run_path, content)
    write_gzip(qrels_path, _judgements(task.collection, setting, table))
    return [run_path, qrels_path]


def _rankings(
    collection: Collection, queries: list[str], rows: np.ndarray, scores: np.ndarray, tag: str
) -> bytes:
    """A run file's content; rows are -1 past the end of a ranking that is shorter than others."""
    decreasing = strictly_decreasing(scores)
    found = rows >= 0
    candidates = collection.candidate_ids(rows[found])
    if found.all():
        return run_bytes(queries, candidates, decreasing, tag)
    query, place = np.nonzero(found)
    names = pa.array(queries, pa.string()).take(pa.array(query))
    return ragged_run_bytes(names, candidates, place + 1, decreasing[found], tag)


def _judgements(collection: Collection, setting: Setting, table: pa.Table) -> bytes:
    """The qrels of one setting: relevant candidates, then those judged not to be relevant."""
    queries, candidates = table["query"].to_pylist(), table["candidate"].to_pylist()
    if not collection.not_relevant and "grade" not in table.column_names:
        return qrels_bytes(queries, candidates)
    graded = "grade" in table.column_names
    grades = table["grade"].to_pylist() if graded else [1] * len(queries)
    for query in dict.fromkeys(queries):
        for candidate in collection.not_relevant_of.get(topic_of(query), []):
            if setting.pool in (ALL, language_of(candidate)):
                queries.append(query)
                candidates.append(candidate)
                grades.append(0)
    return qrels_bytes(queries, candidates, grades)


def measure(task: Task, work: Work, read: dict[str, Any]) -> Metrics:
    """All that was measured; `read` are parts of it that earlier stages left, by name."""
    folder, collection, spec = work.folder, task.collection, task.benchmark.spec
    table = RankTable(folder / "ranks.parquet")
    queries = count_queries(folder / "scores.parquet")
    asked = {language: len(collection.queries_in(language)) for language in collection.languages}
    left_out = [str(setting) for setting in settings_without_topics(collection)]
    bias = measure_bias(folder, table, collection.languages) if collection.parallel else {}
    probe = {"language_probe": read.pop("probe")} if "probe" in read else {}
    content = {
        "schema": SCHEMA,
        "benchmark": collection.name,
        "system": str(task.experiment.system),
        **({"cutoff": table.cutoff} if table.cutoff else {}),
        "retrieval": aggregate(
            mean_scores(folder / "scores.parquet"), spec.averages if spec else None
        ),
        "counts": {
            name: {
                "queries": number,
                "without_relevant": asked[parse_setting(name).query_language] - number,
            }
            for name, number in queries.items()
        },
        **({"without_queries": left_out} if left_out else {}),
        "bias": {**bias, **probe},
        "scorers": scorer_agreement(work),
        **read,
    }
    return Metrics.model_validate(content)


def describe_task(task: Task, name: str) -> RunRecord:
    """The record of a run into the folder `name`, without how it ranks."""
    spec = task.benchmark.spec
    index = approximate_index(task)
    record = RunRecord(
        schema=RECORD_SCHEMA,
        name=name,
        benchmark=task.collection.name,
        demonstration=bool(spec and spec.demonstration),
        licence=spec.licence if spec else None,
        note=task.benchmark.note,
        system=str(task.experiment.system),
        seeds=[task.experiment.seed],
        data=task.benchmark.sha256,
        collection=task.collection.fingerprint,
        languages=list(task.collection.languages),
        without_queries=list(map(str, settings_without_topics(task.collection))),
        encoding=Encoding(precision=NO_PRECISION),
        depth=task.experiment.retrieval.depth if index else None,
    )
    # what an index is, and finds, is known to the search alone
    return record if index else record.model_copy(update={"index": None})


def approximate_index(task: Task) -> ApproximateIndex | None:
    """The index that the experiment asks for; None for the exact search."""
    index = task.experiment.retrieval.index
    return None if isinstance(index, ExactIndex) else index
