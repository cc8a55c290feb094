"""Scoring a run folder against ranx from dicts and one trec_eval call per setting."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import data
from benchmarks.harness import Comparison, Options, interleave, progress
from bias_bench.encoders.backbone import Backbone
from bias_bench.encoders.encoder import EncodingSettings
from bias_bench.encoders.profile import profile_for
from bias_bench.evaluation.metrics import parse_metric
from bias_bench.evaluation.score_run import qrels_file, run_file, score_run
from bias_bench.evaluation.settings import Setting, all_settings
from bias_bench.evaluation.trec import read_content, read_qrels, read_run

_RANX = ["map@100", "ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10"]
_TREC_EVAL = ["map_cut.100", "ndcg_cut.10", "recall.1,10,100", "recip_rank"]
_DEPTH = 100


class Inputs(NamedTuple):
    """One setting as the peers want it: dicts for ranx, plain files for trec_eval."""

    setting: str
    run_dict: dict[str, dict[str, float]]
    qrels_dict: dict[str, dict[str, int]]
    run_file: Path
    qrels_file: Path


def compare(options: Options) -> list[Comparison]:
    """Ours reads the compressed files; the peers' dicts and plain files are made beforehand."""
    warnings.simplefilter("ignore")  # numba's, on ranx's code
    with tempfile.TemporaryDirectory(prefix="biasbench-") as name:
        folder = Path(name)
        settings = _write_run(options, folder)
        # ordered by kind: of 132 settings, 1 in one language, 10 across two and 1 pooled
        sample = settings[:: 3 if options.quick else len(settings) // 12]
        inputs = [_inputs(folder, setting) for setting in sample]
        _require_agreement(folder, inputs)
        progress("mean AP@100 agrees")
        times = interleave(
            lambda: score_run(folder, _DEPTH), lambda: _peer(inputs), options.pairs_or(5)
        )
    note = (
        f"{len(settings)} settings, depth {_DEPTH}; peer: ranx from ready dicts and java "
        f"trec_eval, on {len(sample)} settings, scaled"
    )
    return [Comparison("score", times.scaled_peer(len(settings) / len(sample)), "≥ 4×", note)]


def _write_run(options: Options, folder: Path) -> list[Setting]:
    """Runs, qrels and ranks of generated vectors, written by the package itself."""
    from bias_bench.config.experiment import make_experiment
    from bias_bench.data.registry import LoadedBenchmark
    from bias_bench.encoders.blocks import ArrayBlocks
    from bias_bench.encoders.cached import CachedBackbone
    from bias_bench.runs.task import Prepared, search_settings
    from bias_bench.runs.vectors import Encoded, vector_search

    collection = data.collection(options)
    profile = profile_for("").profile
    prepared = Prepared(
        experiment=make_experiment(),
        benchmark=LoadedBenchmark(collection, {}, None),
        source=CachedBackbone(
            Backbone("generated", profile, {}, _no_model),
            EncodingSettings(profile, "float32", 1, "cpu"),
        ),
    )
    vectors, number = data.vectors(collection), len(collection.languages)
    encoded = Encoded([ArrayBlocks(part) for part in vectors[:number]], vectors[number:], [])
    search_settings(prepared, vector_search(prepared, encoded), folder)
    return all_settings(collection.languages)


def _no_model() -> None:
    raise ValueError("generated vectors need no model")


def _inputs(folder: Path, setting: Setting) -> Inputs:
    run, qrels = run_file(folder, setting), qrels_file(folder, setting)
    plain = [folder / f"{setting}.run", folder / f"{setting}.qrels"]
    for source, target in zip((run, qrels), plain, strict=True):
        target.write_bytes(read_content(source))
    run_table, qrels_table = read_run(run), read_qrels(qrels)
    run_dict: dict[str, dict[str, float]] = {}
    for query, candidate, score in zip(
        run_table.queries.to_pylist(),
        run_table.candidates.to_pylist(),
        run_table.scores.tolist(),
        strict=True,
    ):
        run_dict.setdefault(query, {})[candidate] = score
    qrels_dict: dict[str, dict[str, int]] = {}
    for query, candidate, grade in zip(
        qrels_table.queries.to_pylist(),
        qrels_table.candidates.to_pylist(),
        qrels_table.grades.tolist(),
        strict=True,
    ):
        qrels_dict.setdefault(query, {})[candidate] = grade
    return Inputs(str(setting), run_dict, qrels_dict, *plain)


def _peer(inputs: list[Inputs]) -> dict[str, tuple[float, float]]:
    """Mean AP@100 of each setting by ranx and by trec_eval, as two plain calls each."""
    return {item.setting: (_ranx(item), _trec_eval(item)) for item in inputs}


def _ranx(item: Inputs) -> float:
    from ranx import Qrels, Run, evaluate

    return evaluate(Qrels(item.qrels_dict), Run(item.run_dict), _RANX)["map@100"]


def _trec_eval(item: Inputs) -> float:
    from bias_bench.system.java import anserini_jar, java_command

    command = [str(java_command()), "-cp", str(anserini_jar()), "trec_eval", "-q", "-c"]
    for metric in _TREC_EVAL:
        command += ["-m", metric]
    done = subprocess.run(
        [*command, str(item.qrels_file), str(item.run_file)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return next(float(row[2]) for row in rows if row[:2] == ["map_cut_100", "all"])


def _require_agreement(folder: Path, inputs: list[Inputs]) -> None:
    """Also warms both sides up: ranx compiles on its first call."""
    metric = parse_metric("AP@100")
    ours = {part.setting: part.values["exact"][metric] for part in score_run(folder, _DEPTH)}
    for setting, by_peers in _peer(inputs).items():
        if max(abs(value - np.mean(ours[setting])) for value in by_peers) > 1e-4:
            raise ValueError(f"mean AP@100 of {setting} differs from the peers'")
