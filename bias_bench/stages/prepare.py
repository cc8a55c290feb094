"""What a run needs before any work: its options, its folder, its benchmark, its encoder.

Bad input is found here, while nothing is written yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple

from bias_bench.console import say, warn
from bias_bench.datasets.download import fetch_benchmark
from bias_bench.datasets.registry import LoadedBenchmark, benchmarks, load_benchmark
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import resolve_device
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.evaluation.settings import settings_of, settings_without_topics
from bias_bench.experiment import Experiment
from bias_bench.files import plain_name, require_writable
from bias_bench.languages import base_language, doubts
from bias_bench.launch import started_number
from bias_bench.library_caches import require_library_caches
from bias_bench.manifest import Manifest, Policy
from bias_bench.processes import own_device
from bias_bench.report.wording import without_topics
from bias_bench.stages.encoder import find_source, require_debiasable
from bias_bench.stages.folder import (
    require_run_folder,
    require_same_experiment,
    require_shareable,
)
from bias_bench.stages.indexed import require_index
from bias_bench.stages.work import Prepared, benchmark_requests

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Until = Literal["mine", "train", "encode", "search"]


class RunOptions(NamedTuple):
    """How to run, none of which changes a result. `until` names the stage to stop after.

    Without `reports` no page is written; without `fetch`, data and models that are not on this
    disk are errors. `memory` are the bytes that encoding and searching may take, in each process
    (None: no limit).
    """

    out: Path
    reports: Path | None
    device: str = "auto"
    policy: Policy = "only-missing"
    name: str | None = None
    until: Until | None = None
    fetch: bool = True
    memory: int | None = None


class Given(NamedTuple):
    """What a caller has at hand already, in place of what the experiment names.

    `source` makes a source of vectors from the benchmark's requests.
    """

    benchmark: LoadedBenchmark | None = None
    source: Callable[[list[Request]], Embeds] | None = None


NOTHING = Given()


def run_name(experiment: Experiment) -> str:
    """The default name of a run's folder: ``<benchmark>-<recipe>-<seed>``.

    With debiasing, its method follows the recipe; of a fusion, the names of its runs do. What no
    folder can be called is replaced in the benchmark's name (`files.plain_name`).
    """
    benchmark, variant = plain_name(Path(experiment.benchmark).resolve().name), experiment.variant
    if experiment.fusion:
        variant = plain_name(re.sub("[:+]", "-", variant), longest=120)
    return f"{benchmark}-{variant}-{experiment.seed}"


def checked_folder(experiment: Experiment, options: RunOptions) -> Path:
    """The run's folder; refuses what cannot work, before any work and writing nothing."""
    name = run_name(experiment) if options.name is None else options.name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-', and give --name"
        )
    folder = options.out / name
    require_writable(folder)
    if options.reports:
        require_writable(options.reports)
    if options.until is None:
        require_library_caches()
    require_run_folder(folder, options.out)
    if options.policy == "never" and not folder.is_dir():
        raise BiasBenchError(f"{folder}: does not exist and --policy never forbids computing it")
    require_same_experiment(folder, experiment, options.policy)
    if folder.is_dir():
        # refuses a newer schema before any work
        Manifest(folder, anew=options.policy == "always")
    if options.until == "train" and not experiment.training.steps:
        raise UsageError(f"recipe {experiment.recipe} trains nothing; try --recipe hybrid")
    if started_number() > 1:
        require_shareable(experiment, options.until)
    return folder


def open_benchmark(
    name: str,
    data_dir: Path | None,
    fetch: bool = True,
    languages: Sequence[str] | None = None,
    split: str | None = None,
) -> LoadedBenchmark:
    """Load a benchmark; one known by name may be fetched first, unless `data_dir` has it.

    With `languages` only their part of it.
    """
    if fetch and name in benchmarks() and data_dir is None:
        fetch_benchmark(name, languages=languages)
    start = perf_counter()
    benchmark = load_benchmark(name, data_dir, languages, split)
    collection = benchmark.collection
    say(
        f"{collection.name}: {len(collection.languages)} languages, {len(collection.topics):,} "
        f"topics, {len(collection.queries):,} queries, {len(collection.candidates):,} candidates "
        f"({perf_counter() - start:.1f} s)"
    )
    for note in filter(None, (benchmark.note, *doubts(collection.languages))):
        warn(f"{collection.name}: {note}")
    return benchmark


def open_task_benchmark(
    experiment: Experiment, options: RunOptions, given: Given = NOTHING
) -> LoadedBenchmark:
    """The benchmark that is given, or that the experiment names.

    Says which of its settings have no topic; DataError where none has.
    """
    data_dir = Path(experiment.data_dir) if experiment.data_dir else None
    benchmark = given.benchmark or open_benchmark(
        experiment.benchmark, data_dir, options.fetch, experiment.languages, experiment.split
    )
    collection = benchmark.collection
    for note in doubts(collection.languages) if given.benchmark else ():
        warn(f"{collection.name}: {note}")
    kept, left_out = settings_of(collection), settings_without_topics(collection)
    if not kept:
        raise DataError(f"{collection.name}: no query has a relevant candidate; nothing to measure")
    if left_out:
        say(f"{collection.name}: {without_topics(list(map(str, left_out)), len(kept))}")
    return benchmark


def prepare(experiment: Experiment, options: RunOptions, given: Given = NOTHING) -> Prepared:
    """Resolve what the experiment names; reads and hashes files, and loads no model."""
    benchmark = open_task_benchmark(experiment, options, given)
    device = own_device(resolve_device(options.device))
    if given.source:
        if started_number() > 1:
            raise UsageError("a model given as a Python object cannot be shared by processes")
        context = experiment.candidate.context
        source = given.source(benchmark_requests(benchmark.collection, context))
    else:
        source = find_source(experiment, device, options.fetch)
    benchmark = _known_part(benchmark, source, experiment)
    say(f"encoder: {source.described}")
    require_debiasable(source, experiment)
    prepared = Prepared(experiment, benchmark, source, device)
    require_index(prepared)
    return prepared


def _known_part(
    benchmark: LoadedBenchmark, source: Embeds, experiment: Experiment
) -> LoadedBenchmark:
    """The part in languages that the encoder was trained for, unless languages are asked for.

    Says what is left out, also beside the figures; UsageError where nothing is left.
    """
    if source.languages is None or experiment.languages:
        return benchmark
    name, languages = benchmark.collection.name, benchmark.collection.languages
    known = [code for code in languages if base_language(code) in source.languages]
    if not known:
        raise UsageError(
            f"{source.spec}: was trained for {', '.join(source.languages)}, and {name} has "
            "none of them; ask for others with --set 'languages=[…]'"
        )
    left_out = [code for code in languages if code not in known]
    if not left_out:
        return benchmark
    note = (
        f"{len(known)} of {len(languages)} languages; left out: {', '.join(left_out)}, for which "
        f"{source.spec} was not trained."
    )
    say(f"{name}: {note} --set 'languages=[…]' takes what it lists")
    return benchmark._replace(
        collection=benchmark.collection.keep(known),
        note=" ".join(filter(None, (benchmark.note, note))),
    )
