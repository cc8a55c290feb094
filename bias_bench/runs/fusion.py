"""Finished runs fused into one: their TREC files, by ranx, scored like rankings of another tool.

Past the depth of those files nothing is known, so the folder is of the kind of `biasbench score`:
ranks are known down to a cut-off, the smallest depth of the runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bias_bench import __version__
from bias_bench.config.experiment import Experiment, experiment_yaml, make_experiment, read_yaml
from bias_bench.config.kinds import FusionOptions
from bias_bench.data.registry import benchmark_name
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.evaluation.entries import read_entries
from bias_bench.evaluation.external import External, notes, rank_external
from bias_bench.evaluation.fusion import FusionRule, fuse
from bias_bench.evaluation.given_files import GivenFile, given_files
from bias_bench.evaluation.labels import read_labels
from bias_bench.evaluation.run_record import FusedRun, FusionRecord, RunRecord
from bias_bench.evaluation.trec import RunTable, ragged_run_bytes, read_run
from bias_bench.runs.external import Judged, external_record, external_stages, judged_as
from bias_bench.runs.graph import Graph
from bias_bench.system.console import progress, warn
from bias_bench.system.files import digest, sha256_file, write_bytes


class FusedPart(NamedTuple):
    """A run to fuse: TREC files by setting, the depth they go to, and the score of its candidates
    that it did not find (None: it orders all candidates).
    """

    folder: Path
    files: dict[str, GivenFile]
    depth: int
    not_found: float | None
    run: RunRecord

    @property
    def record(self) -> FusedRun:
        """What the manifest says of a part; `trec` is the sha256 over all its TREC files."""
        files = {name: sha256_file(file.path) for name, file in self.files.items()}
        return FusedRun(name=self.folder.name, system=self.run.system, trec=digest(files))


def fusion_graph(experiment: Experiment, options: FusionOptions, name: str) -> Graph:
    """The graph of the fusion of the runs that the experiment names.

    UsageError for runs of different benchmarks or settings, and for unfinished ones.
    """
    parts = [_part(Path(folder)) for folder in options.runs]
    _require_alike(experiment, parts)
    rule = FusionRule(
        options.method, options.k, options.normalisation, options.weights or [1.0] * len(parts)
    )
    by_rank = options.method == "rrf"
    weighing: dict[str, Any] = (
        {"k": rule.k}
        if by_rank
        else {"normalisation": rule.normalisation, "weights": list(rule.weights)}
    )
    judged = judged_as(parts[0].folder)
    record = external_record(judged, str(experiment.system), experiment.seed, name)
    fusion = FusionRecord(method=options.method, **weighing, runs=[part.record for part in parts])

    def inputs() -> dict[str, Any]:
        return {
            "fusion": fusion.dump(),
            "collection": judged.data,
            "system": record.system,
            "biasbench": __version__,
        }

    tag = str(experiment.system).rpartition("#")[0]
    return Graph(
        record.model_copy(update={"fusion": fusion}),
        experiment_yaml(experiment),
        external_stages(
            lambda: _fused(parts, rule, judged), tag, judged.pools, inputs, experiment.metrics
        ),
    )


def _fused(parts: list[FusedPart], rule: FusionRule, judged: Judged) -> External:
    """The runs as one, ranked down to the least of their depths."""
    with tempfile.TemporaryDirectory(prefix="biasbench-") as scratch:
        with progress("fuse", len(parts[0].files), "settings") as advance:
            for name in parts[0].files:
                fused = fuse([_retrieved(part, name) for part in parts], rule)
                write_bytes(Path(scratch) / f"{name}.run", _content(fused))
                advance(1)
        labels = read_labels(None, None, None, None, judged.clusters)
        runs, qrels = given_files([scratch], "run"), given_files([str(parts[0].folder)], "qrels")
        external = rank_external(
            read_entries(runs, qrels, labels), labels, min(part.depth for part in parts)
        )
    for note in notes(external):
        warn(note)
    return external


def _part(folder: Path) -> FusedPart:
    run = RunRecord.load(folder)
    if not run.complete:
        raise UsageError(f"{folder}: the run is {run.status}; finish it, then fuse it")
    if run.external and run.depth:
        depth = run.depth
    else:
        depth = make_experiment(read_yaml(folder / "experiment.yaml")).retrieval.depth
    files = {str(file.setting): file for file in given_files([str(folder)], "run")}
    not_found = run.lexical.score_not_found if run.lexical else None
    return FusedPart(folder, files, depth, not_found, run)


def _require_alike(experiment: Experiment, parts: list[FusedPart]) -> None:
    names = [part.folder.name for part in parts]
    if len(set(names)) < len(names):
        raise UsageError(f"{', '.join(names)}: fused runs need different names; rename a folder")
    first = parts[0]
    for part in parts:
        if part.run.benchmark != benchmark_name(experiment.benchmark):
            raise UsageError(
                f"{part.folder}: is a run of {part.run.benchmark}, not of "
                f"{experiment.benchmark}; name the benchmark, `biasbench run "
                f"{part.run.benchmark} --recipe fusion:…`"
            )
        if part.run.collection != first.run.collection:
            raise UsageError(
                f"{part.folder}: was run on another version of {experiment.benchmark} than "
                f"{first.folder}; repeat one of them"
            )
        if missing := sorted(part.files.keys() ^ first.files.keys()):
            raise UsageError(
                f"{part.folder} and {first.folder}: only one of them has the setting {missing[0]}; "
                "fuse runs of the same settings"
            )


def _retrieved(part: FusedPart, setting: str) -> RunTable:
    """A part's results in one setting, without those that only fill its ranking up."""
    run = read_run(part.files[setting].path)
    if part.not_found is None:
        return run
    kept = run.scores > part.not_found
    rows = pa.array(np.flatnonzero(kept))
    return RunTable(run.queries.take(rows), run.candidates.take(rows), run.scores[kept])


def _content(run: RunTable) -> bytes:
    """A TREC file of these results; whoever reads it goes by the scores."""
    if not len(run.scores):
        raise BiasBenchError("no run has any result in a setting; there is nothing to fuse")
    places = np.ones(len(run.scores), dtype=np.int64)
    return ragged_run_bytes(run.queries, run.candidates, places, run.scores, "fused")
