"""The stages that evaluate an encoder: search, score, robustness, probe, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bias_bench import __version__, provenance
from bias_bench.encoders.blocks import array_of, joined
from bias_bench.encoders.embeds import Request, Texts
from bias_bench.evaluation.settings import searched_languages
from bias_bench.files import read_json, write_json
from bias_bench.manifest import Manifest, Policy, Stage
from bias_bench.processes import ALONE, Processes
from bias_bench.report.run_content import EXAMPLES_SCHEMA
from bias_bench.robustness.table import FILE as ROBUSTNESS_TABLE
from bias_bench.robustness.table import write_effects
from bias_bench.stages.examples import examples
from bias_bench.stages.indexed import (
    INDEX_FILE,
    approximate_index,
    describe_index,
    record_index,
    search_indexes,
)
from bias_bench.stages.probe import make_sample, measure_probe, probe_requests
from bias_bench.stages.robustness import make_suite, measure_robustness
from bias_bench.stages.search import (
    Encoded,
    candidate_parts,
    vector_search,
)
from bias_bench.stages.work import (
    Prepared,
    Search,
    Task,
    measure,
    score_settings,
    search_settings,
)


class Evaluation(NamedTuple):
    """What is evaluated, and the encoder that it was trained from: the same where it was not.

    `memory` are the bytes that this process may use (None: no limit); they decide no result.
    """

    prepared: Prepared
    untrained: Prepared
    policy: Policy
    processes: Processes = ALONE
    memory: int | None = None

    def vectors(self, more: Sequence[Request] = (), processes: Processes = ALONE) -> Encoded:
        """Vectors of the benchmark's requests and of `more`, of which some may be empty.

        All of the `processes` that share the encoding call this at the same time.
        """
        collection, requests = self.prepared.collection, self.prepared.requests()
        vectors = self.prepared.source.vectors(
            [*requests, *(request for request in more if request.texts)],
            again=self.policy == "always",
            processes=processes,
            memory=self.memory,
        )
        left = iter(vectors)
        candidates = [joined([*islice(left, n)]) for n in candidate_parts(collection)]
        queries = [array_of(next(left)) for _ in collection.languages]
        others = [array_of(next(left)) if request.texts else queries[0][:0] for request in more]
        return Encoded(candidates, queries, others)

    def search(self, encoded: Encoded) -> Search:
        """The search that all processes share."""
        return vector_search(self.prepared, encoded, self.memory, self.processes)

    def texts(self, more: Sequence[Request] = ()) -> list[Texts]:
        """What `vectors` would take from the cache, or encode."""
        return self.prepared.source.texts([*self.prepared.requests(), *more])

    def inputs(self, more: Sequence[Request] = ()) -> dict[str, Any]:
        """What decides a stage that uses these vectors."""
        inputs: dict[str, Any] = {
            "vectors": [texts.key for texts in self.texts(more)],
            "collection": self.prepared.collection.fingerprint,
            "biasbench": __version__,
        }
        debias = self.prepared.source.record.get("debias")
        return {**inputs, "debias": debias} if debias else inputs


def encode(evaluation: Evaluation, manifest: Manifest) -> None:
    """Encode what a run would encode first, and no more."""
    processes = evaluation.processes
    processes.any(True)
    with manifest.timed("encode"):
        evaluation.vectors(processes=processes)
    manifest.computed = True


def follow(evaluation: Evaluation, until: str | None) -> None:
    """What every process but the first does of an evaluation: its share of `encode` or `search`."""
    processes = evaluation.processes
    if not processes.any(False):  # the first finds nothing to do
        return
    encoded = evaluation.vectors(processes=processes)
    prepared = evaluation.prepared
    indexed = approximate_index(prepared) is not None  # the first goes on alone
    if until == "encode" or indexed or prepared.collection.parallel:
        return
    find = evaluation.search(encoded)
    for language in searched_languages(prepared.collection):
        find(language)


def evaluate(
    evaluation: Evaluation, manifest: Manifest, until: Literal["search"] | None = None
) -> None:
    """Do every stage that is not finished, or stop after one of the first."""
    folder, policy = manifest.folder, evaluation.policy
    prepared = evaluation.prepared
    depth, tag = prepared.experiment.retrieval.depth, prepared.tag
    indexed = approximate_index(prepared) is not None
    started = False

    def search_stage() -> list[Path]:
        nonlocal started
        started = evaluation.processes.any(True)
        with manifest.timed("encode"):
            encoded = evaluation.vectors(processes=evaluation.processes)
        if indexed:
            return search_indexes(
                prepared, encoded, manifest, evaluation.memory, policy != "always"
            )
        with manifest.timed("search"):
            return search_settings(prepared, evaluation.search(encoded), folder)

    inputs = {**evaluation.inputs(), "depth": depth, "tag": tag}
    if indexed:
        inputs["index"] = describe_index(prepared)["index"]
    manifest.run_stage(Stage("search", inputs, search_stage, evaluation.texts), policy)
    record_index(prepared, manifest)
    if not started:
        evaluation.processes.any(False)  # tells the others that there is nothing to do
    if until == "search":
        return
    score(prepared, manifest, policy)
    parts = {
        "robustness": _robustness_stage(evaluation, manifest),
        "probe": _probe_stage(evaluation, manifest),
    }
    more = {"index": folder / INDEX_FILE} if indexed else {}
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
            read = {name: read_json(path) for name, path in {**parts, **(more or {})}.items()}
            metrics = measure(task, manifest, read.pop("probe", None), read)
        write_json(folder / "examples.json", examples(task, folder))
        return [metrics.save(folder, manifest.content["timings"]), folder / "examples.json"]

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
    path, table = manifest.folder / "robustness.json", manifest.folder / ROBUSTNESS_TABLE

    def work() -> list[Path]:
        with manifest.timed("encode for robustness"):
            encoded = evaluation.vectors(suite.requests)
        with manifest.timed("robustness"):
            found = measure_robustness(prepared, suite, encoded)
            write_effects(table, prepared.collection, found.asked, found.effects)
            write_json(path, found.summary)
        return [path, table]

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
        return found + untrained.source.texts(requests)

    inputs = {
        **evaluation.inputs(),
        "rows": [rows.tolist() for rows in sample.rows],
        "before": evaluation.untrained.source.record["weights"],
        "log": manifest.outputs("train") if evaluation.prepared is not evaluation.untrained else {},
    }
    manifest.run_stage(Stage("probe", inputs, work, texts), evaluation.policy)
    return path
