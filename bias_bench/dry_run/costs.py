"""What work has cost on this machine, from earlier runs and the cache; None where nothing is known.

Nothing is guessed: a figure comes from the same kind of work, done here before. Only the size of
ranking files has a constant to fall back on, which says where it was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bias_bench import provenance
from bias_bench.encoders.cached import CachedVectors
from bias_bench.encoders.embeds import Texts
from bias_bench.encoders.scratch import SIZES
from bias_bench.errors import BiasBenchError
from bias_bench.evaluation.settings import settings_of
from bias_bench.experiment import DEFAULT_BACKBONE, RetrievalOptions, read_yaml
from bias_bench.files import read_json
from bias_bench.run_record import RunRecord
from bias_bench.stages.train import TRAINING_LOG, logged_steps
from bias_bench.stages.work import Prepared, Task
from bias_bench.training.settings import TrainingSettings

_NEWEST = 200  # records that are read: of the cache, and of runs
_LINE_BYTES = 13  # of a compressed TREC line with its judgements: 12.5 on XQuAD-R, depth 100
_FLOAT_BYTES = 4
_TIMED = {"search": ("index", "search", "recall")}  # stages of which parts are timed
_DIMENSIONS = {
    DEFAULT_BACKBONE: 384,
    **{f"scratch:{n}": s["hidden_size"] for n, s in SIZES.items()},
}
# settings of training that decide what a step costs
_STEP_KEYS = (
    "batch_size", "query_max_length", "candidate_max_length", "chunk_tokens", "gradient_cache",
    "precision", "terms", "negatives", "accumulate", "freeze_word_embeddings",
)  # fmt: skip


class Earlier(NamedTuple):
    """A finished run on this machine: its folder, manifest and experiment."""

    folder: Path
    record: RunRecord
    experiment: dict[str, Any]


class Encoded(NamedTuple):
    """What one request of texts cost, from its record in the cache."""

    cost: dict[str, Any]
    dimensions: int


class Costs(NamedTuple):
    """Earlier work, the newest first."""

    runs: Sequence[Earlier]
    encoded: Sequence[Encoded]

    def encoding(self, prepared: Prepared, texts: Sequence[Texts]) -> float | None:
        """Seconds to encode texts, by their characters: the median of what it took before."""
        if not isinstance(prepared.source, CachedVectors):
            return None
        like = prepared.source.cost
        rates = [
            cost["seconds"] / cost["characters"]
            for cost, _ in self.encoded
            if cost["characters"] and all(cost[key] == value for key, value in like.items())
        ]
        return median(rates) * sum(part.characters for part in texts) if rates else None

    def vector_bytes(self, prepared: Prepared, texts: Sequence[Texts]) -> int | None:
        """Size of the vectors of texts in the cache."""
        spec = prepared.source.spec
        found = [known for cost, known in self.encoded if cost["backbone"] == spec]
        dimensions = found[0] if found else _DIMENSIONS.get(spec)
        number = sum(part.number for part in texts)
        return number * dimensions * _FLOAT_BYTES if dimensions else None

    def training(self, task: Task, steps: int) -> float | None:
        """Seconds to train, from runs whose steps were of the same kind."""
        rates = [seconds / done for seconds, done in map(_trained, self._alike(task)) if done]
        return median(rates) * steps if rates else None

    def stage(self, task: Task, name: str) -> float | None:
        """Seconds of a stage besides encoding and training, from runs on the same texts."""
        split = name != "robustness"  # before it was timed apart, its encoding was in it
        found = [
            sum(run.record.timings.get(part, 0.0) for part in _TIMED.get(name, (name,)))
            for run in self._same_texts(task)
            if name in run.record.timings
            and (split or "encode for robustness" in run.record.timings)
        ]
        return median(found) if found else None

    def files(self, task: Task, name: str) -> int | None:
        """Bytes of the files that a stage leaves in the run folder."""
        found = [
            sum(file.bytes for file in run.record.stages[name].outputs.values())
            for run in (self._alike if name == "train" else self._same_texts)(task)
            if name in run.record.stages
        ]
        if found:
            return max(found)
        return _ranking_bytes(task) if name == "search" else None

    def _same_texts(self, task: Task) -> Iterator[Earlier]:
        """Runs on the same texts, searched alike, with an encoder or without as this one."""
        lexical = task.experiment.lexical is not None
        default = RetrievalOptions().model_dump()
        wanted = (task.collection.fingerprint, task.experiment.retrieval.model_dump(), lexical)
        for run in self.runs:
            # what an older file does not say was as it is by default
            retrieval = {**default, **run.experiment.get("retrieval", {})}
            without = run.experiment.get("lexical") is not None
            if (run.record.collection, retrieval, without) == wanted:
                yield run

    def _alike(self, task: Task) -> Iterator[Earlier]:
        """Runs that trained the same backbone by steps of the same kind."""
        ours, default = (
            settings.model_dump(mode="json")
            for settings in (task.experiment.training, TrainingSettings())
        )
        for run in self.runs:
            theirs = run.experiment.get("training", {})
            same = run.experiment.get("backbone") == task.experiment.backbone
            # what an older file does not say was as it is by default
            if same and all(theirs.get(key, default[key]) == ours[key] for key in _STEP_KEYS):
                yield run


def read_costs(out: Path, cache: Path) -> Costs:
    """What the runs in `out` and the vectors in `cache` say of work on this machine."""
    return Costs(list(_earlier(out)), list(_encoded(cache)))


def _earlier(out: Path) -> Iterator[Earlier]:
    here = provenance.host()
    for path in _newest(out.glob("*/manifest.json")):
        try:
            record = RunRecord.load(path.parent)
            experiment = read_yaml(path.parent / "experiment.yaml")
        except BiasBenchError:
            continue  # a damaged or foreign folder says nothing of costs
        host = record.host
        same = host and (host.processor, host.cores) == (here["processor"], here["cores"])
        if same and not record.external:
            yield Earlier(path.parent, record, experiment)


def _encoded(cache: Path) -> Iterator[Encoded]:
    for path in _newest(cache.glob("*.json")):
        try:
            record = read_json(path)
        except BiasBenchError:
            continue
        if "cost" in record:
            yield Encoded(record["cost"], record["shape"][1])


def _newest(paths: Iterator[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (-path.stat().st_mtime, path.name))[:_NEWEST]


def _trained(run: Earlier) -> tuple[float, int]:
    """Seconds and steps of a run's training."""
    trained, stage = run.record.trained, run.record.stages.get("train")
    if trained:
        return trained.seconds, trained.steps
    steps = logged_steps(run.folder / TRAINING_LOG)
    return stage.seconds if stage else 0.0, steps


def _ranking_bytes(task: Task) -> int:
    """Bytes of the TREC files, of so many lines."""
    collection, depth = task.collection, task.experiment.retrieval.depth
    sizes = {name: part.stop - part.start for name, part in collection.pools.items()}
    lines = sum(
        len(collection.queries_in(setting.query_language))
        * min(depth, sizes.get(setting.pool, len(collection.candidates)))
        for setting in settings_of(collection)
    )
    return lines * _LINE_BYTES
