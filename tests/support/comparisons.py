"""Small run folders with made-up rankings, for tests of comparisons: readable, quick, complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bias_bench.bias import rank_distance
from bias_bench.bias.parallel import parallel_ranks
from bias_bench.config.experiment import experiment_yaml, make_experiment
from bias_bench.evaluation.aggregate import aggregate
from bias_bench.evaluation.metrics import FULL_METRICS, SHARED_METRICS, compute
from bias_bench.evaluation.ranks import RankTable, write_ranks
from bias_bench.evaluation.scores import SettingScores, mean_scores, write_scores
from bias_bench.evaluation.settings import ALL, all_settings, parse_setting
from bias_bench.system.files import write_json, write_text
from tests.support.helpers import rank_rows

LANGUAGES = ("ar", "en", "th")
POOL = 40  # candidates per language


def make_run(
    folder: Path,
    recipe: str = "zero-shot",
    seed: int = 0,
    *,
    quality: float = 0.0,
    noise: int = 1,
    topics: Sequence[str] = tuple(f"t{number}" for number in range(24)),
    languages: Sequence[str] = LANGUAGES,
    without: Sequence[str] = (),
    partly: bool = False,
    settings: dict[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """Write a complete run folder. `quality` > 0 ranks better; `noise` seeds the rankings.

    Two topics make a paragraph and four an article. `without` names settings to leave out;
    with `partly` each topic lacks one language in turn.
    """
    numbers = {topic: number for number, topic in enumerate(topics)}
    absent = {topic: languages[row % len(languages)] if partly else "" for topic, row in
              numbers.items()}  # fmt: skip
    tables = []
    for setting in all_settings(list(languages)):
        if str(setting) in without:
            continue
        pools = languages if setting.pool == ALL else [setting.pool]
        random = np.random.default_rng([noise, *str(setting).encode()])
        rows = []
        for topic, number in numbers.items():
            drawn = random.permutation(POOL * len(pools))[: len(pools)] + 1
            ranks = _distinct(np.maximum(1, drawn * np.exp(-quality)).astype(int))
            rows += [
                (topic, f"{pool}:0-0-{number}", int(rank))
                for pool, rank in zip(pools, ranks, strict=True)
                if absent[topic] not in (pool, setting.query_language)
            ]
        tables.append(_clustered(rank_rows(str(setting), rows), numbers))
    sizes = {**dict.fromkeys(languages, POOL), ALL: POOL * len(languages)}
    folder.mkdir(parents=True)
    write_ranks(folder / "ranks.parquet", tables, sizes)
    table = RankTable(folder / "ranks.parquet")
    write_scores(folder / "scores.parquet", [_scores(table, name) for name in table.settings])
    experiment = {"recipe": recipe, "seed": seed, "backbone": "scratch:tiny", **(settings or {})}
    write_text(folder / "experiment.yaml", experiment_yaml(make_experiment(experiment)))
    content = {
        "schema": 1,
        "status": "complete",
        "name": folder.name,
        "benchmark": "made-up",
        "collection": "0" * 64,
        "languages": list(languages),
        "system": f"{recipe}@scratch:tiny#{seed}",
        "seeds": [seed],
        "encoding": {"precision": "float32"},
        "demonstration": False,
        "stages": {},
    }
    write_json(folder / "manifest.json", {**content, **manifest})
    write_json(folder / "metrics.json", _metrics(folder, table))
    return folder


def _clustered(table: pa.Table, numbers: dict[str, int]) -> pa.Table:
    """With paragraphs of two topics and articles of four."""
    topics = table["topic"].to_pylist()
    for name, size in (("paragraph", 2), ("article", 4)):
        values = pa.array([f"{name}{numbers[topic] // size}" for topic in topics], pa.string())
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def _scores(table: RankTable, name: str) -> SettingScores:
    queries = table.of(name)
    exact = {metric: compute(metric, queries.ranks) for metric in (*FULL_METRICS, *SHARED_METRICS)}
    return SettingScores(name, queries, {"exact": exact, "ranx": {}, "trec_eval": {}})


def _distinct(ranks: np.ndarray) -> np.ndarray:
    """The ranks in their order, those that are equal moved down: no two candidates share one."""
    order = np.argsort(ranks, kind="stable")
    steps = np.arange(len(ranks))
    moved = np.empty_like(ranks)
    moved[order] = np.maximum.accumulate(ranks[order] - steps) + steps
    return moved


def _metrics(folder: Path, table: RankTable) -> dict[str, Any]:
    pooled = any(parse_setting(name).kind == "multilingual" for name in table.settings)
    distance = rank_distance.summarise(parallel_ranks(table)) if pooled else {}
    return {
        "schema": 1,
        "benchmark": "made-up",
        "system": "made-up",
        "retrieval": {
            kind: means.dump()
            for kind, means in aggregate(mean_scores(folder / "scores.parquet")).items()
        },
        "bias": {
            "rank_distance": distance,
            "same_language_top1": {"macro": 0.5, "per_language": {"en": 0.5}},
        },
        "scorers": {"agreement": {"max_abs_difference": 0.0, "compared": 1}},
    }


def rewrite(folder: Path, file: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace a parquet file by what `change` makes of it, text columns decoded."""
    table = pq.read_table(folder / file)
    metadata = table.schema.metadata
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.string()))
    changed = change(table)
    for index, field in enumerate(changed.schema):
        if pa.types.is_string(field.type):
            encoded = changed[field.name].dictionary_encode()
            changed = changed.set_column(index, field.name, encoded)
    pq.write_table(changed.replace_schema_metadata(metadata), folder / file)


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text("utf-8"))
