"""The work of each stage: search, score, measure. `pipeline` puts them in order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bias_bench.bias.catalogue import measure_bias
from bias_bench.console import progress
from bias_bench.datasets.collection import Collection
from bias_bench.datasets.registry import LoadedBenchmark
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.cache import Request
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.ranks import RankTable, setting_rows, write_ranks
from bias_bench.evaluation.score_run import qrels_file, run_file, score_run
from bias_bench.evaluation.scores import (
    AGREEMENT_LIMIT,
    agreement,
    count_queries,
    mean_scores,
    write_scores,
)
from bias_bench.evaluation.settings import (
    ALL,
    Setting,
    all_settings,
    parse_setting,
    settings_of_language,
)
from bias_bench.evaluation.trec import qrels_bytes, require_plain_id, run_bytes, write_gzip
from bias_bench.experiment import Experiment
from bias_bench.manifest import Manifest
from bias_bench.retrieval.dense import Pool, Results, make_pool, search
from bias_bench.retrieval.order import strictly_decreasing

METRICS_SCHEMA = 1


@dataclass(frozen=True)
class Prepared:
    """Everything the stages need, resolved and checked before any work."""

    experiment: Experiment
    benchmark: LoadedBenchmark
    backbone: Backbone
    settings: EncodingSettings

    @property
    def collection(self) -> Collection:
        return self.benchmark.collection

    @property
    def tag(self) -> str:
        """The last column of every run line."""
        return require_plain_id(f"{self.experiment.variant}-{self.experiment.seed}")

    def requests(self) -> list[Request]:
        """What to encode: candidates, then queries, of each language."""
        context = self.experiment.candidate.context
        collection = self.collection
        return [
            Request(f"{lang} candidates", "candidate", collection.candidate_texts(lang, context))
            for lang in collection.languages
        ] + [
            Request(f"{lang} queries", "query", [q.text for q in collection.queries_in(lang)])
            for lang in collection.languages
        ]


def make_prepared_pool(prepared: Prepared, vectors: Sequence[np.ndarray]) -> Pool:
    """The benchmark's candidates to search; `vectors` are of `Prepared.requests`, in that order."""
    collection = prepared.collection
    return make_pool(
        [candidate.id for candidate in collection.candidates],
        np.concatenate(vectors[: len(collection.languages)]),
        {language: (part.start, part.stop) for language, part in collection.pools.items()},
    )


def search_settings(prepared: Prepared, vectors: list[np.ndarray], folder: Path) -> list[Path]:
    """Search every setting; write runs, qrels and exact ranks."""
    collection = prepared.collection
    languages = collection.languages
    pool = make_prepared_pool(prepared, vectors)
    ids = pa.array([candidate.id for candidate in collection.candidates], pa.string())
    tables: dict[str, pa.Table] = {}
    written: list[Future[list[Path]]] = []
    with (
        progress("search", len(all_settings(languages)), "settings") as advance,
        ThreadPoolExecutor(max_workers=2) as writers,
    ):
        for language, query_vectors in zip(languages, vectors[len(languages) :], strict=True):
            query_topics = collection.query_topics(language)
            results = search(
                query_vectors,
                pool,
                collection.relevant_rows[query_topics],
                prepared.experiment.retrieval.depth,
            )
            for setting in settings_of_language(language, languages):
                table = setting_rows(collection, setting, query_topics, results.ranks)
                if not len(table):
                    raise BiasBenchError(
                        f"setting {setting}: no query of '{language}' has a relevant candidate "
                        f"in '{setting.pool}'"
                    )
                tables[str(setting)] = table
                written.append(
                    writers.submit(_write_setting, prepared, folder, setting, table, results, ids)
                )
                advance(1)
        paths = [path for future in written for path in future.result()]
    sizes = {language: part.stop - part.start for language, part in collection.pools.items()}
    ordered = [tables[str(setting)] for setting in all_settings(languages)]
    write_ranks(folder / "ranks.parquet", ordered, {**sizes, ALL: len(collection.candidates)})
    return [*sorted(paths), folder / "ranks.parquet"]


def _write_setting(
    prepared: Prepared,
    folder: Path,
    setting: Setting,
    table: pa.Table,
    results: Results,
    ids: pa.StringArray,
) -> list[Path]:
    """Write the run and qrels of one setting; queries without a relevant candidate are left out."""
    judged = set(table["query"].to_pylist())
    queries = [query.id for query in prepared.collection.queries_in(setting.query_language)]
    kept = [row for row, query in enumerate(queries) if query in judged]
    rows, scores = results.top[setting.pool]
    run_path, qrels_path = run_file(folder, setting), qrels_file(folder, setting)
    content = run_bytes(
        [queries[row] for row in kept],
        ids.take(pa.array(rows[kept].reshape(-1))),
        strictly_decreasing(scores[kept]),
        prepared.tag,
    )
    write_gzip(run_path, content)
    write_gzip(qrels_path, qrels_bytes(table["query"].to_pylist(), table["candidate"].to_pylist()))
    return [run_path, qrels_path]


def score_settings(folder: Path, depth: int, manifest: Manifest) -> Path:
    """Score with every scorer and record their agreement; fails when they differ."""
    scores = score_run(folder, depth)
    path = folder / "scores.parquet"
    write_scores(path, scores)
    found = agreement(scores)
    if found.max_abs_difference > AGREEMENT_LIMIT:
        raise BiasBenchError(f"scorers disagree by more than {AGREEMENT_LIMIT}: {found.worst}")
    manifest.update(
        agreement={
            "max_abs_difference": found.max_abs_difference,
            "compared": found.compared,
            "limit": AGREEMENT_LIMIT,
            "worst": found.worst,
        }
    )
    return path


def measure(prepared: Prepared, manifest: Manifest) -> dict[str, Any]:
    """The content of metrics.json, but for timings."""
    folder, collection = manifest.folder, prepared.collection
    table = RankTable(folder / "ranks.parquet")
    queries = count_queries(folder / "scores.parquet")
    asked = {language: len(collection.queries_in(language)) for language in collection.languages}
    return {
        "schema": METRICS_SCHEMA,
        "benchmark": collection.name,
        "system": str(prepared.experiment.system),
        "retrieval": aggregate(mean_scores(folder / "scores.parquet")),
        "counts": {
            name: {
                "queries": number,
                "without_relevant": asked[parse_setting(name).query_language] - number,
            }
            for name, number in queries.items()
        },
        "bias": measure_bias(folder, table, collection.languages),
        "scorers": {
            "agreement": {
                key: manifest.content["agreement"][key]
                for key in ("max_abs_difference", "compared")
            }
        },
    }
