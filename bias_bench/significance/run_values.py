"""Run folders as the comparison reads them: what was run, and one value per query.

Text columns of the parquet files are dictionaries; their codes are looked up, so that hundreds of
thousands of ids are never decoded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.evaluation.metrics import Metric, compute, parse_metric
from bias_bench.evaluation.metrics_document import Average, Metrics
from bias_bench.evaluation.ranks import RankTable
from bias_bench.evaluation.settings import parse_setting
from bias_bench.files import digest, read_parquet
from bias_bench.manifest import require_undamaged
from bias_bench.run_record import IndexRecord, RunRecord
from bias_bench.significance.differences import Observations
from bias_bench.significance.measures import Measure
from bias_bench.units import Unit

Cluster = Unit
_READ = ("metrics.json", "scores.parquet", "ranks.parquet", "robustness.parquet")
# of an experiment: what makes a repetition of the same system, or decides no result
_NOT_OF_THE_RECIPE = ("benchmark", "data_dir", "seed")
_NOT_OF_THE_ENCODING = ("precision", "batch_tokens")


class RunFolder(NamedTuple):
    """A complete run: what it is, and on what.

    `system` prints as ``recipe@backbone#seed``. Runs of equal `settings` differ at most in seed and
    precision. `data` identifies the benchmark's content. `depth` is down to where ranks are known,
    in a folder of `biasbench score` (`scored`) or of a run through approximate indexes; None:
    all are. `answered` has, by setting of a scored folder, how many queries have no result at all,
    and of how many.
    """

    folder: Path
    name: str
    benchmark: str
    data: str
    system: str
    seed: int
    settings: str
    precision: str
    demonstration: bool
    depth: int | None
    scored: bool
    searched: str
    answered: dict[str, tuple[int, int]]


class Overview(NamedTuple):
    """Macro figures of a run in the pool of all languages: AP, and two of bias (NaN if absent).

    `retrieved` is the share of relevant candidates down to the cut-off, NaN without one.
    """

    average_precision: float
    rank_distance: float
    same_language_top1: float
    retrieved: float


def read_run(folder: Path) -> RunFolder:
    """What a run folder holds; BiasBenchError where it is no complete run."""
    record = RunRecord.load(folder)
    if not record.complete:
        advice = (
            "repeat the command that made it"
            if record.external
            else f"finish it with `biasbench run {folder / 'experiment.yaml'}`"
        )
        raise BiasBenchError(
            f"{folder}: the run is {record.status or 'not begun'}, not complete; {advice}"
        )
    require_undamaged(folder, record, _READ)
    if record.external and record.depth is None:
        raise DataError(f"{folder}: manifest.json lacks depth; repeat the run")
    return RunFolder(
        folder=folder,
        name=folder.resolve().name,
        benchmark=record.benchmark,
        data=record.collection,
        system=record.system,
        seed=record.seeds[0],
        settings=_settings_key(folder),
        precision=record.encoding.precision,
        demonstration=record.demonstration,
        depth=record.depth,
        scored=record.external,
        searched=_searched(record.index),
        answered={
            name: (counts.missing, counts.queries)
            for name, counts in (record.counts if record.external else {}).items()
        },
    )


def _searched(index: IndexRecord | None) -> str:
    """What a run was searched through, as its manifest describes it: ``exact``, ``hnsw (…)``."""
    if index is None:
        return "exact"
    left_out = {"kind", "seed", "building_threads"}
    settings = [f"{key} {value}" for key, value in index.settings.items() if key not in left_out]
    return f"{index.kind} ({', '.join(settings)})"


def read_overview(run: RunFolder, settings: Sequence[str], cutoff: int | None) -> Overview:
    """The run's figures over these pooled settings; NaN for those that it lacks.

    From metrics.json, but AP and rank distance with a cut-off from the ranks, as known down to it.
    """
    metrics = Metrics.load(run.folder)
    languages = [parse_setting(name).query_language for name in settings]
    same = _mean(metrics.bias.same_language_top1, languages)
    if cutoff and settings:
        return _cut_overview(run, languages, cutoff)._replace(same_language_top1=same)
    pooled = metrics.retrieval.get("multilingual")
    means = [pooled.per_setting.get(name, {}).get("AP") for name in settings] if pooled else []
    precision, distance = _known_mean(means), _mean(metrics.bias.rank_distance, languages)
    return Overview(precision, distance, same, np.nan)


def _cut_overview(run: RunFolder, languages: Sequence[str], cutoff: int) -> Overview:
    """What follows from ranks known down to the cut-off, over these query languages."""
    from bias_bench.bias.parallel import averages, parallel_ranks
    from bias_bench.bias.rank_distance import rank_distance

    parts = parallel_ranks(RankTable(run.folder / "ranks.parquet", cutoff)).parts
    values = (
        {name: compute(Metric("AP", cutoff), parts[name].relevant) for name in languages},
        {name: rank_distance(parts[name].least) for name in languages},
        {name: compute(Metric("R", cutoff), parts[name].relevant) for name in languages},
    )
    precision, distance, retrieved = (averages(part).get("macro", np.nan) for part in values)
    return Overview(precision, distance, np.nan, retrieved)


def read_values(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    """One value per query: the exact scorer's, or from the exact ranks.

    A metric with a cut-off that the run's scores lack is computed from its ranks.
    """
    if measure.source == "bias":
        return _bias(run, measure, cluster)
    if measure.source == "robustness":
        return _robustness(run, measure, cluster)
    if measure.name in metrics_of(run):
        return _scores(run, measure, cluster)
    return _computed(run, parse_metric(measure.name), cluster)


def metrics_of(run: RunFolder) -> set[str]:
    """The metrics that the run's scores hold."""
    column = read_parquet(run.folder / "scores.parquet", ["metric"])["metric"]
    return set(column.unique().to_pylist())


def _scores(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    table = read_parquet(
        run.folder / "scores.parquet",
        list(dict.fromkeys(("setting", "topic", cluster, "value"))),
        [("scorer", "=", "exact"), ("metric", "=", measure.name)],
    )
    return Observations(
        topics=_texts(table["topic"]),
        settings=_texts(table["setting"]),
        values=table["value"].to_numpy(),
        clusters=None if cluster == "topic" else _texts(table[cluster]),
    )


def _computed(run: RunFolder, metric: Metric, cluster: Cluster) -> Observations:
    table = RankTable(run.folder / "ranks.parquet")
    topics: list[str] = []
    settings: list[str] = []
    clusters: list[str] = []
    values = []
    for setting in table.settings:
        part = table.of(setting)
        values.append(compute(metric, part.ranks, part.grades))
        topics.extend(part.topics)
        settings.extend([setting] * len(part.topics))
        clusters.extend({"paragraph": part.paragraphs, "article": part.articles}.get(cluster, []))
    return Observations(topics, settings, np.concatenate(values), clusters or None)


def _bias(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    from bias_bench.bias.catalogue import query_bias

    found = query_bias(run.folder, measure.base, measure.cutoff or None)
    clusters = {"topic": None, "paragraph": found.paragraphs, "article": found.articles}[cluster]
    return Observations(found.topics, found.settings, found.values, clusters)


def _robustness(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    from bias_bench.robustness.table import FILE, read_means

    found = read_means(run.folder / FILE, measure.name)
    clusters = {"topic": None, "paragraph": found.paragraphs, "article": found.articles}[cluster]
    return Observations(found.topics, found.settings, found.values, clusters)


def _texts(column: Any) -> list[str]:
    """A text column, decoded by its dictionaries where it has them."""
    import pyarrow as pa

    texts: list[str] = []
    for chunk in column.chunks:
        part = chunk if isinstance(chunk, pa.DictionaryArray) else chunk.dictionary_encode()
        names = np.array(part.dictionary.to_pylist(), dtype=object)
        texts.extend(names[part.indices.to_numpy(zero_copy_only=False)].tolist())
    return texts


def _settings_key(folder: Path) -> str:
    """Equal for runs of one recipe and backbone under equal settings, whatever the seed."""
    from bias_bench.experiment import make_experiment, read_yaml

    content = read_yaml(folder / "experiment.yaml")
    # one of a version with other settings is taken as it is written
    with suppress(UsageError):
        content = make_experiment(content).model_dump()
    kept = {key: value for key, value in content.items() if key not in _NOT_OF_THE_RECIPE}
    encoding = kept.get("encoding")
    if isinstance(encoding, dict):
        kept["encoding"] = {
            key: value for key, value in encoding.items() if key not in _NOT_OF_THE_ENCODING
        }
    return digest(kept)


def _mean(measured: Average | None, languages: Sequence[str]) -> float:
    """The mean over these query languages, NaN without any."""
    return _known_mean([measured.per_language.get(name) for name in languages] if measured else [])


def _known_mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
