"""Run folders as the comparison reads them: what was run, and one value per query.

Text columns of the parquet files are dictionaries; their codes are looked up, so that hundreds of
thousands of ids are never decoded one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bias_bench.errors import BiasBenchError, DataError, UsageError, nearest
from bias_bench.files import digest, read_json
from bias_bench.manifest import read_manifest
from bias_bench.significance.differences import Observations
from bias_bench.significance.measures import BIAS_MEASURES, Measure, score_measure

Cluster = Literal["topic", "paragraph", "article"]
_METRICS_SCHEMA = 1
# of an experiment: what makes a repetition of the same system, or decides no result
_NOT_OF_THE_RECIPE = ("benchmark", "data_dir", "seed")
_NOT_OF_THE_ENCODING = ("precision", "batch_tokens")


class RunFolder(NamedTuple):
    """A complete run: what it is, and on what.

    `system` prints as ``recipe@backbone#seed``. Runs of equal `settings` differ at most in seed and
    precision. `data` identifies the benchmark's content.
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


class Overview(NamedTuple):
    """Pooled macro figures of one run, from metrics.json: AP, and two of bias (NaN if absent)."""

    average_precision: float
    rank_distance: float
    same_language_top1: float


def read_run(folder: Path) -> RunFolder:
    """What a run folder holds; BiasBenchError where it is no complete run."""
    manifest = read_manifest(folder)
    status = manifest.get("status")
    if status != "complete":
        raise BiasBenchError(
            f"{folder}: the run is {status or 'not begun'}, not complete; finish it with "
            f"`biasbench run {folder / 'experiment.yaml'}`"
        )
    try:
        return RunFolder(
            folder=folder,
            name=folder.resolve().name,
            benchmark=manifest["benchmark"],
            data=manifest["collection"],
            system=manifest["system"],
            seed=int(manifest["seeds"][0]),
            settings=_settings_key(folder),
            precision=manifest["encoding"]["precision"],
            demonstration=bool(manifest.get("demonstration")),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"{folder}: manifest.json lacks {error}; repeat the run") from None


def read_overview(run: RunFolder) -> Overview:
    """The run's pooled figures; NaN for those that it lacks."""
    path = run.folder / "metrics.json"
    metrics = read_json(path)
    schema = metrics.get("schema") if isinstance(metrics, dict) else None
    if schema != _METRICS_SCHEMA:
        raise BiasBenchError(
            f"{path}: schema {schema} is not known to this version of biasbench; update it"
        )
    return Overview(
        _number(metrics, "retrieval", "multilingual", "macro", "AP"),
        _number(metrics, "bias", "rank_distance", "macro"),
        _number(metrics, "bias", "same_language_top1", "macro"),
    )


def find_measure(name: str, runs: Sequence[RunFolder]) -> Measure:
    """The metric that is called `name`, if all runs have it; UsageError with the nearest if not."""
    if name in BIAS_MEASURES:
        return BIAS_MEASURES[name]
    held = [(run, _metrics_of(run)) for run in runs]
    if not any(name in found for _, found in held):
        known = {*BIAS_MEASURES, *(metric for _, found in held for metric in found)}
        raise UsageError(f"unknown metric '{name}': {nearest(name, known)}")
    for run, found in held:
        if name not in found:
            raise UsageError(
                f"{run.folder}: its scores hold no {name}, but {', '.join(sorted(found))}; choose "
                "a metric that all runs have, or repeat the run"
            )
    return score_measure(name)


def read_values(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    """One value per query: the exact scorer's, or the bias metric from the exact ranks."""
    return _bias(run, measure, cluster) if measure.bias else _scores(run, measure, cluster)


def _scores(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    table = _read_scores(
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


def _bias(run: RunFolder, measure: Measure, cluster: Cluster) -> Observations:
    from bias_bench.bias.catalogue import per_query_bias
    from bias_bench.evaluation.ranks import RankTable

    found = per_query_bias(RankTable(run.folder / "ranks.parquet"))[measure.name]
    clusters = {"topic": None, "paragraph": found.paragraphs, "article": found.articles}[cluster]
    return Observations(found.topics, found.settings, found.values, clusters)


def _read_scores(path: Path, columns: list[str], filters: Any = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is this a complete run folder?") from None
    except (pa.ArrowException, OSError) as error:
        problem = str(error).splitlines()[0]
        raise DataError(f"{path}: damaged ({problem}); repeat the run") from None


def _metrics_of(run: RunFolder) -> set[str]:
    column = _read_scores(run.folder / "scores.parquet", ["metric"])["metric"]
    return set(column.unique().to_pylist())


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


def _number(content: Any, *path: str) -> float:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return float(content) if isinstance(content, int | float) else float("nan")
