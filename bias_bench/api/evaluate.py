"""Evaluate a model that is at hand in Python, through the pipeline of `biasbench run`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from bias_bench.api.run import Run, load_run
from bias_bench.config.experiment import DEFAULT_RECIPE, Experiment, make_experiment, nest
from bias_bench.data.collection import Collection
from bias_bench.data.registry import (
    LoadedBenchmark,
    benchmark_name,
    benchmark_place,
    benchmarks,
)
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.given import GIVEN, GivenModel
from bias_bench.encoders.objects import GivenObject, Vectors, model_name
from bias_bench.encoders.profile import Similarity
from bias_bench.errors import UsageError
from bias_bench.evaluation.run_record import RunRecord
from bias_bench.evaluation.trec import require_plain_id
from bias_bench.runs.folder import RunOptions
from bias_bench.runs.graph import Policy
from bias_bench.runs.pipeline import run
from bias_bench.runs.prepare import Given, open_benchmark
from bias_bench.system.files import plain_name

Model = str | PathLike[str] | GivenObject
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def evaluate(
    model: Model,
    benchmark: str | PathLike[str] | Collection,
    *,
    data_dir: str | PathLike[str] | None = None,
    languages: Sequence[str] | None = None,
    out: str | PathLike[str] = "runs",
    name: str | None = None,
    system: str | None = None,
    similarity: Similarity | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    policy: Policy = "only-missing",
) -> Run:
    """Run a model on a benchmark as it is, without training; returns the finished run.

    The model is one of

    - a backbone as `biasbench run --backbone` takes it: a hub id, a folder, ``bundled:…``;
    - a SentenceTransformer, or any object with `encode_query` and `encode_document`, with
      `encode_queries` and `encode_corpus`, or with `encode` alone;
    - a function from a list of texts to vectors [texts, dimensions]; one with a parameter `side`
      is told ``query`` or ``candidate``;
    - `Vectors` made already, in the order of the collection's queries and candidates.

    The benchmark is a name, a folder, or a Collection, of which `languages` keeps a part.
    Everything is written to ``<out>/<name>`` and stays there; a second call with equal input finds
    the work done. `name` is by default ``<benchmark>-<recipe>-<seed>``, for an object
    ``<benchmark>-<system>-<seed>``. `system` names an object in tables, by default its class or
    function. `similarity` is that of the model where it has one, else ``cosine``. `settings` are
    keys of an experiment, for example ``{"retrieval.depth": 200}``. `seed`, `device` and `policy`
    are as in `biasbench run`.

    Raises UsageError, DataError or BiasBenchError, one line each.

    >>> from bias_bench import Vectors, evaluate, load_collection
    >>> import numpy as np
    >>> mini = load_collection("mini", languages=["de", "en"])
    >>> random = np.random.default_rng(0)
    >>> chance = Vectors(random.normal(size=(len(mini.queries), 16)),
    ...                  random.normal(size=(len(mini.candidates), 16)))
    >>> found = evaluate(chance, "mini", languages=["de", "en"], system="chance")
    >>> found.name, bool(found.summary["AP"].max() < 0.1)
    ('mini-chance-0', True)
    """
    given, spec = (None, fspath(model)) if isinstance(model, str | PathLike) else (model, None)
    if isinstance(benchmark, Collection):
        collection = benchmark if languages is None else benchmark.keep(languages)
        asked = collection.name
    else:
        collection, asked = None, fspath(benchmark)
    _check_arguments(given, collection, system, similarity, device)
    label = "" if given is None else _label(given, system)
    experiment = _experiment(
        given,
        settings,
        {
            "benchmark": f"{GIVEN}:{asked}" if collection else benchmark_place(asked),
            "languages": None if languages is None or collection else list(languages),
            "backbone": spec or f"{GIVEN}:{label}",
            "recipe": DEFAULT_RECIPE,
            "seed": seed,
            "data_dir": str(Path(data_dir).resolve()) if data_dir else None,
        },
    )
    if name is None:
        name = _name(benchmark_name(asked), label, experiment)
    folder = Path(out) / name
    if collection and policy != "always":
        _require_same(folder, "collection", collection.fingerprint)

    def source(model: GivenObject, requests: list[Request]) -> Embeds:
        vectors = GivenModel(model, label, requests, similarity)
        if policy != "always":
            _require_same(folder, "weights", vectors.record["weights"])
        return vectors

    at_hand = Given(
        LoadedBenchmark(collection, {}, None) if collection else None,
        None if given is None else partial(source, given),
    )
    options = RunOptions(Path(out), None, device, policy, name)
    return load_run(run(experiment, options, at_hand))


def load_collection(
    benchmark: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    languages: Sequence[str] | None = None,
) -> Collection:
    """The queries, candidates and relevance of a benchmark: a name, or a folder of its files.

    `languages` keeps the part in some of its languages. Raises UsageError or DataError.

    >>> from bias_bench import load_collection
    >>> mini = load_collection("mini")
    >>> len(mini.languages), len(mini.queries), len(mini.candidates)
    (11, 660, 924)
    >>> mini.queries[0].id
    'ar:e001'
    """
    folder = Path(data_dir) if data_dir else None
    return open_benchmark(fspath(benchmark), folder, languages=languages).collection


def _check_arguments(
    given: GivenObject | None,
    collection: Collection | None,
    system: str | None,
    similarity: Similarity | None,
    device: str,
) -> None:
    """UsageError for arguments that would be passed over, or that would mislead."""
    if given is None and (system or similarity):
        argument = "system" if system else "similarity"
        raise UsageError(f"{argument}: of a model given as an object; leave it out for a backbone")
    if given is not None and device != "auto":
        raise UsageError(f"device '{device}': a model given as an object computes where it lies")
    if collection and collection.name in benchmarks():
        raise UsageError(
            f"the collection is called {collection.name}, as a known benchmark; give that name "
            "instead, or another one with dataclasses.replace(collection, name=…)"
        )


def _label(given: GivenObject, system: str | None) -> str:
    """What tables call the object."""
    return require_plain_id(system) if system else _plain(model_name(given))


def _name(benchmark: str, label: str, experiment: Experiment) -> str:
    """The run folder's name, where the caller gives none."""
    variant = experiment.variant
    if label:
        variant = label + variant.removeprefix(experiment.recipe)  # with its debiasing
    return f"{plain_name(benchmark)}-{_plain(variant)}-{experiment.seed}"


def _plain(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text)


def _experiment(
    given: GivenObject | None, settings: Mapping[str, Any] | None, fixed: dict[str, Any]
) -> Experiment:
    """The experiment that the settings describe, with what evaluation alone cannot use refused."""
    layers = [nest(key, value) for key, value in (settings or {}).items()]
    for layer in layers:
        for key in layer.keys() & {"lexical", "fusion"}:
            raise UsageError(f"setting {key}: nothing would be encoded; use `biasbench run`")
        for key in layer.keys() & fixed.keys():
            raise UsageError(f"setting {key}: give it as an argument; evaluate trains no recipe")
    spec = benchmarks().get(fixed["benchmark"])
    ready = isinstance(given, Mapping | Vectors)
    own = {"robustness": spec.robustness} if spec and spec.robustness and not ready else {}
    experiment = make_experiment(own, *layers, fixed)
    if experiment.training.steps:
        raise UsageError(
            "setting training.steps: evaluate does not train; use `biasbench run --recipe`, then "
            "bias_bench.load_run"
        )
    if given is not None and experiment.encoding != type(experiment.encoding)():
        raise UsageError("setting encoding: a model given as an object encodes in its own way")
    if ready and (experiment.debias != "none" or experiment.robustness):
        needs = "robustness" if experiment.robustness else "debias"
        raise UsageError(f"setting {needs}: it encodes further texts; give a model, not vectors")
    return experiment


def _require_same(folder: Path, field: str, value: Any) -> None:
    """A folder keeps what was evaluated into it first: names of objects say little of them."""
    if not (folder / "manifest.json").is_file():
        return
    before = getattr(RunRecord.load(folder), field)
    if before and before != value:
        what = {"weights": "other vectors", "collection": "another collection"}[field]
        raise UsageError(
            f"{folder}: holds results of {what}; give another name or system, or replace "
            'them with policy="always"'
        )
