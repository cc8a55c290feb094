"""The stages that evaluate an encoder: search, score, robustness, probe, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bias_bench import __version__, provenance
from bias_bench.debias_stage import Fitting, debiased
from bias_bench.encoders.cache import Request, cache_folder, encode_cached, vector_key
from bias_bench.examples_stage import examples
from bias_bench.files import read_json, write_json
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.probe_stage import make_sample, measure_probe
from bias_bench.report.run_content import EXAMPLES_SCHEMA
from bias_bench.robustness_stage import make_suite, measure_robustness
from bias_bench.stages import Prepared, measure, score_settings, search_settings


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

    def inputs(self, more: Sequence[Request] = ()) -> dict[str, Any]:
        """What decides a stage that uses these vectors."""
        prepared = self.prepared
        requests = [request for request in self._requests(more) if request.texts]
        inputs: dict[str, Any] = {
            "vectors": [vector_key(prepared.backbone, prepared.settings, r) for r in requests],
            "collection": prepared.collection.fingerprint,
            "biasbench": __version__,
        }
        return {**inputs, "debias": self.fitting.record} if self.fitting else inputs


def evaluate(
    evaluation: Evaluation, manifest: Manifest, until: Literal["encode", "search"] | None = None
) -> None:
    """Do every stage that is not finished, or stop after one of the first."""
    if until == "encode":
        with manifest.timed("encode"):
            evaluation.vectors()
        return
    folder, policy = manifest.folder, evaluation.policy
    prepared = evaluation.prepared
    depth, tag = prepared.experiment.retrieval.depth, prepared.tag

    def search_stage() -> list[Path]:
        with manifest.timed("encode"):
            vectors = evaluation.vectors()
        with manifest.timed("search"):
            return search_settings(prepared, vectors, folder)

    def score_stage() -> list[Path]:
        with manifest.timed("score"):
            return [score_settings(folder, depth, manifest)]

    inputs = {**evaluation.inputs(), "depth": depth, "tag": tag}
    manifest.run_stage(Stage("search", inputs, search_stage), policy)
    if until == "search":
        return
    scored = {
        "files": manifest.outputs("search"),
        "libraries": provenance.versions(),
        "biasbench": __version__,
        "tag": tag,
    }
    manifest.run_stage(Stage("score", scored, score_stage), policy)
    parts = {
        "robustness": _robustness_stage(evaluation, manifest),
        "probe": _probe_stage(evaluation, manifest),
    }

    def metrics_stage() -> list[Path]:
        with manifest.timed("metrics"):
            content = measure(prepared, manifest)
        if parts["robustness"]:
            content["robustness"] = read_json(parts["robustness"])
        if parts["probe"]:
            content["bias"]["language_probe"] = read_json(parts["probe"])
        write_json(folder / "metrics.json", {**content, "timings": manifest.content["timings"]})
        write_json(folder / "examples.json", examples(prepared, folder))
        return [folder / "metrics.json", folder / "examples.json"]

    stages = ["search", "score", *(name for name, path in parts.items() if path)]
    made = {"biasbench": __version__, "examples": EXAMPLES_SCHEMA}
    measured = {"files": [manifest.outputs(name) for name in stages], **made}
    manifest.run_stage(Stage("metrics", {**measured, "tag": tag}, metrics_stage), policy)


def _robustness_stage(evaluation: Evaluation, manifest: Manifest) -> Path | None:
    """The robustness suite's file, where the experiment asks for the suite."""
    prepared = evaluation.prepared
    suite = make_suite(prepared)
    if suite is None:
        return None
    path = manifest.folder / "robustness.json"

    def work() -> list[Path]:
        with manifest.timed("robustness"):
            vectors = evaluation.vectors(suite.requests)
            write_json(path, measure_robustness(prepared, suite, vectors))
        return [path]

    manifest.run_stage(
        Stage("robustness", evaluation.inputs(suite.requests), work), evaluation.policy
    )
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

    inputs = {
        **evaluation.inputs(),
        "rows": [rows.tolist() for rows in sample.rows],
        "before": evaluation.untrained.backbone.sha256,
        "log": manifest.outputs("train") if evaluation.prepared is not evaluation.untrained else {},
    }
    manifest.run_stage(Stage("probe", inputs, work), evaluation.policy)
    return path
