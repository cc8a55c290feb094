"""What a run needs before any work: its benchmark and its encoder.

Bad input is found here, while nothing is written yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from bias_bench.config.experiment import Experiment
from bias_bench.data.download import fetch_benchmark
from bias_bench.data.languages import base_language, doubts
from bias_bench.data.registry import LoadedBenchmark, benchmarks, load_benchmark
from bias_bench.encoders.embeds import Embeds, Request
from bias_bench.encoders.encoder import (
    resolve_device,
)
from bias_bench.errors import DataError, UsageError
from bias_bench.evaluation.settings import settings_of, settings_without_topics
from bias_bench.report.wording import without_topics
from bias_bench.runs.backbone import find_source, require_debiasable
from bias_bench.runs.folder import RunOptions
from bias_bench.runs.indexed import require_index
from bias_bench.runs.task import Prepared, benchmark_requests
from bias_bench.system.console import say, warn
from bias_bench.system.launch import started_number
from bias_bench.system.processes import own_device


class Given(NamedTuple):
    """What a caller has at hand already, in place of what the experiment names.

    `source` makes a source of vectors from the benchmark's requests.
    """

    benchmark: LoadedBenchmark | None = None
    source: Callable[[list[Request]], Embeds] | None = None


NOTHING = Given()


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
