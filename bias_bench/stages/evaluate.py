"""The stages that evaluate an encoder: search, score, robustness, probe, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bias_bench import __version__, provenance
from bias_bench.encoders.cache import Request, cache_folder, encode_cached, request_texts
from bias_bench.files import read_json, write_json
from bias_bench.manifest import Manifest, Policy, Stage, Texts
from bias_bench.report.run_content import EXAMPLES_SCHEMA
from bias_bench.stages.debias import Fitting, debiased
from bias_bench.stages.examples import examples
from bias_bench.stages.indexed import (
    INDEX_FILE,
    approximate_index,
    describe_index,
    index_record,
    index_search,
    open_indexes,
    record_index,
)
from bias_bench.stages.probe import make_sample, measure_probe, probe_requests
from bias_bench.stages.robustness import make_suite, measure_robustness
from bias_bench.stages.work import (
    Prepared,
    Task,
    make_prepared_pools,
    measure,
    query_vectors,
    score_settings,
    search_settings,
    vector_search,
)


class Evaluation(NamedTuple):
    """What is evaluated: an encoder, the one it was trained from, and the debiasing on top."""

    prepared: Prepared
    untrained: Prepared
    fitting: Fitting | None
    policy: Policy

    def vectors(self, more: Sequence[Request] = ()) -> list[np.ndarray]:
        """Vectors of the benchmark's requests, then of `more`, after debiasing.

        A request of `more` may be empty; the languages take turns in it as in the benchmark's.
        """
        requests = self._requests(more)
        encoded = encode_cached(
            self.prepared.backbone,
            self.prepared.settings,
            [request for request in requests if request.texts],
            cache_folder(),
            use_cached=self.policy != "always",
        )
        left, none = iter(encoded), encoded[0][:0]
        found = [next(left) if request.texts else none for request in requests]
        return debiased(self.fitting, found) if self.fitting else found

    def _requests(self, more: Sequence[Request]) -> list[Request]:
        fitted = self.fitting.requests if self.fitting else []
        return [*self.prepared.requests(), *more, *fitted]

    def texts(self, more: Sequence[Request] = ()) -> list[Texts]:
        """What `vectors` would take from the cache, or encode."""
        prepared = self.prepared
        return request_texts(prepared.backbone, prepared.settings, self._requests(more))

    def inputs(self, more: Sequence[Request] = ()) -> dict[str, Any]:
        """What decides a stage that uses these vectors."""
        prepared = self.prepared
        inputs: dict[str, Any] = {
            "vectors": [texts.key for texts in self.texts(more)],
            "collection": prepared.collection.fingerprint,
            "biasbench": __version__,
        }
        return {**inputs, "debias": self.fitting.record} if self.fitting else inputs


def encode(evaluation: Evaluation, manifest: Manifest) -> None:
    """Encode what a run would encode first, and no more."""
    with manifest.timed("encode"):
        evaluation.vectors()


def evaluate(
    evaluation: Evaluation, manifest: Manifest, until: Literal["search"] | None = None
) -> None:
    """Do every stage that is not finished, or stop after one of the first."""
    folder, policy = manifest.folder, evaluation.policy
    prepared = evaluation.prepared
    depth, tag = prepared.experiment.retrieval.depth, prepared.tag
    index = approximate_index(prepared)

    def search_stage() -> list[Path]:
        with manifest.timed("encode"):
            vectors = evaluation.vectors()
        if index is None:
            with manifest.timed("search"):
                return search_settings(prepared, vector_search(prepared, vectors), folder)
        pools = make_prepared_pools(prepared, vectors)
        with manifest.timed("index"):
            indexed = open_indexes(
                prepared, pools, query_vectors(prepared, vectors), policy != "always"
            )
        with manifest.timed("search"):
            paths = search_settings(prepared, index_search(prepared, indexed), folder, depth)
        with manifest.timed("recall"):
            write_json(folder / INDEX_FILE, index_record(prepared, indexed))
        return [*paths, folder / INDEX_FILE]

    inputs = {**evaluation.inputs(), "depth": depth, "tag": tag}
    if index is not None:
        inputs["index"] = describe_index(prepared)["index"]
    manifest.run_stage(Stage("search", inputs, search_stage, evaluation.texts), policy)
    record_index(prepared, manifest)
    if until == "search":
        return
    score(prepared, manifest, policy)
    parts = {
        "robustness": _robustness_stage(evaluation, manifest),
        "probe": _probe_stage(evaluation, manifest),
    }
    more = {"index": folder / INDEX_FILE} if index is not None else {}
    collect(prepared, manifest, policy, {name: path for name, path in parts.items() if path}, more)


def score(task: Task, manifest: Manifest, policy: Policy) -> None:
    """The stage `score`: every scorer on the TREC files of the stage `search`."""
    folder, depth = manifest.folder, task.experiment.retrieval.depth

    def work() -> list[Path]:
        with manifest.timed("score"):
            return [score_settings(folder, depth, manifest)]

    inputs = {
        "files": manifest.outputs("search"),
        "libraries": provenance.versions(),
        "biasbench": __version__,
        "tag": task.tag,
    }
    manifest.run_stage(Stage("score", inputs, work), policy)


def collect(
    task: Task,
    manifest: Manifest,
    policy: Policy,
    parts: Mapping[str, Path],
    more: Mapping[str, Path] | None = None,
) -> None:
    """The stage `metrics`: what was measured, with `parts` of other stages (by their names).

    `more` are files of the stage `search` that metrics.json takes in under these names.
    """
    folder = manifest.folder

    def work() -> list[Path]:
        with manifest.timed("metrics"):
            content = measure(task, manifest)
        if "robustness" in parts:
            content["robustness"] = read_json(parts["robustness"])
        if "probe" in parts:
            content["bias"]["language_probe"] = read_json(parts["probe"])
        content.update({name: read_json(path) for name, path in (more or {}).items()})
        write_json(folder / "metrics.json", {**content, "timings": manifest.content["timings"]})
        write_json(folder / "examples.json", examples(task, folder))
        return [folder / "metrics.json", folder / "examples.json"]

    made = {"biasbench": __version__, "examples": EXAMPLES_SCHEMA}
    inputs = {
        "files": [manifest.outputs(name) for name in ("search", "score", *parts)],
        **made,
        "tag": task.tag,
    }
    manifest.run_stage(Stage("metrics", inputs, work), policy)


def _robustness_stage(evaluation: Evaluation, manifest: Manifest) -> Path | None:
    """The robustness suite's file, where the experiment asks for the suite."""
    prepared = evaluation.prepared
    suite = make_suite(prepared)
    if suite is None:
        return None
    path = manifest.folder / "robustness.json"

    def work() -> list[Path]:
        with manifest.timed("encode for robustness"):
            vectors = evaluation.vectors(suite.requests)
        with manifest.timed("robustness"):
            write_json(path, measure_robustness(prepared, suite, vectors))
        return [path]

    inputs = evaluation.inputs(suite.requests)
    stage = Stage("robustness", inputs, work, lambda: evaluation.texts(suite.requests))
    manifest.run_stage(stage, evaluation.policy)
    return path


def _probe_stage(evaluation: Evaluation, manifest: Manifest) -> Path | None:
    """The language probe's file, where there is enough to probe."""
    sample = make_sample(evaluation.prepared)
    if sample is None:
        return None
    path = manifest.folder / "probe.json"

    def work() -> list[Path]:
        with manifest.timed("probe"):
            found = measure_probe(
                evaluation.prepared,
                evaluation.untrained,
                sample,
                evaluation.vectors(),
                manifest.folder,
            )
            write_json(path, found)
        return [path]

    def texts() -> list[Texts]:
        found, untrained = evaluation.texts(), evaluation.untrained
        if evaluation.prepared is untrained:
            return found
        requests = probe_requests(untrained, sample)
        return found + request_texts(untrained.backbone, untrained.settings, requests)

    inputs = {
        **evaluation.inputs(),
        "rows": [rows.tolist() for rows in sample.rows],
        "before": evaluation.untrained.backbone.sha256,
        "log": manifest.outputs("train") if evaluation.prepared is not evaluation.untrained else {},
    }
    manifest.run_stage(Stage("probe", inputs, work, texts), evaluation.policy)
    return path
