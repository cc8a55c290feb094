"""The stages of the training side: audit, mine, train."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench import __version__
from bias_bench.data.audit import audit, drop_topics
from bias_bench.data.audit_record import AuditRecord
from bias_bench.data.pairs import Pairs
from bias_bench.data.sources import load_sources, resolve_sources, source_digests
from bias_bench.data.sources.build import LoadedSource
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import gains_from_bf16
from bias_bench.encoders.save import save_encoder
from bias_bench.errors import BiasBenchError, DataError, UsageError
from bias_bench.runs.debiasing import debias_fitting
from bias_bench.runs.graph import Made, Stage, Work
from bias_bench.runs.mining import (
    NEGATIVES_FILE,
    Refresher,
    mining_inputs,
    mining_requests,
    run_mining,
)
from bias_bench.runs.task import Prepared
from bias_bench.system.console import say
from bias_bench.system.files import digest, read_json, write_json
from bias_bench.system.provenance import versions
from bias_bench.training.hard_negatives import HardNegatives, given_negatives, mined_negatives
from bias_bench.training.job import Job
from bias_bench.training.loop import Folders, train
from bias_bench.training.negatives.store import read_negatives, write_negatives
from bias_bench.training.vocabulary import Trimmed, trim_vocabulary

PAIRS_FILE = "pairs.json"
TRAINING_LOG = "train.jsonl"
CHECKPOINTS = "checkpoints"
MODEL = "model"
_LIBRARIES = ("biasbench", "torch", "transformers", "tokenizers")


class TrainingData(NamedTuple):
    """Training pairs without what the benchmark holds too, and hard negatives that came with the
    data, where they are asked for.
    """

    pairs: Pairs
    given: HardNegatives | None


class TrainingSide:
    """The data that an experiment trains on, or fits debiasing on; read when first asked for.

    UsageError at once where it names none.
    """

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        self.prepared, self._folder = prepared, folder
        data_dir = prepared.experiment.data_dir
        self._data_dir = Path(data_dir) if data_dir else None
        self.sources = _sources(prepared)

    @cached_property
    def loaded(self) -> LoadedSource:
        """All that the sources hold."""
        return load_sources(self.sources, self._data_dir)

    @cached_property
    def data(self) -> TrainingData:
        """What the stage audit has left of it; DataError where the sources have changed since."""
        listed = read_json(self._folder / PAIRS_FILE)
        pairs = drop_topics(self.loaded.pairs, listed["dropped"])
        if pairs.fingerprint != listed["pairs"]:
            raise DataError(
                f"{self._folder / PAIRS_FILE}: the training sources have changed since they were "
                "audited; give the command again"
            )
        return TrainingData(pairs, self._given())

    def _given(self) -> HardNegatives | None:
        """The negatives of the sources, if the experiment trains with them."""
        wanted = self.prepared.experiment.training.negatives
        if wanted is None or wanted.source != "given":
            return None
        if not self.loaded.negatives:
            raise UsageError(
                "training.negatives.source = given: no training source brings negatives; "
                "take source = mined, or data with negatives"
            )
        return given_negatives(self.loaded.pairs, self.loaded.negatives)

    def audit_stage(self, fetch: bool) -> Stage:
        """Drop every topic that the audit finds in the benchmark, visibly."""
        prepared, files = self.prepared, self._digests(fetch)  # refuses what is missing at once

        def work(work: Work) -> Made:
            found = audit(self.loaded.pairs, prepared.collection)
            pairs = drop_topics(self.loaded.pairs, found.dropped)
            say(f"training data: {len(pairs):,} pairs of {', '.join(pairs.data_sets)}")
            say(f"zero-shot audit against {prepared.collection.name}: {found.verdict}")
            given = self._given()
            if prepared.experiment.debias != "none":
                debias_fitting(prepared, pairs)  # refuses what it could not be fitted on later
            path = work.folder / PAIRS_FILE
            write_json(
                path,
                {
                    "pairs": pairs.fingerprint,
                    "given": given.fingerprint if given else None,
                    "dropped": found.dropped,
                },
            )
            self.data = TrainingData(pairs, given)  # so that it is not read again
            return Made([path], {"audit": AuditRecord.model_validate(found.to_json())})

        def inputs() -> dict[str, Any]:
            return {
                "entries": self.sources,
                "files": files,
                "collection": prepared.collection.fingerprint,
                "negatives": self._asks_for_given,
                "debias": prepared.experiment.debias,
                "biasbench": __version__,
            }

        return Stage("audit", work, inputs)

    def _digests(self, fetch: bool) -> dict[str, str] | None:
        """Of the sources' files; None where they are on the hub and must not be fetched."""
        places = resolve_sources(self.sources, self._data_dir)
        if not fetch and any(source.spec.hub for source in places):
            return None
        return source_digests(self.sources, self._data_dir)

    @property
    def _asks_for_given(self) -> bool:
        wanted = self.prepared.experiment.training.negatives
        return wanted is not None and wanted.source == "given"

    def mine_stage(self, fetch: bool) -> Stage:
        """Mine the hard negatives that the experiment trains with."""

        def work(work: Work) -> Made:
            path, pairs = work.folder / NEGATIVES_FILE, self.data.pairs
            write_negatives(path, *run_mining(self.prepared, pairs, work.again))
            say(f"negatives: {path}")
            return Made([path])

        return Stage(
            "mine", work, lambda: mining_inputs(self.prepared, fetch), (f"audit:{PAIRS_FILE}",)
        )

    def train_stage(self) -> Stage:
        """Train the encoder into ``model/``; an interrupted training goes on from a checkpoint."""
        prepared, steps = self.prepared, self.prepared.experiment.training.steps
        mines = asks_for_mining(prepared)

        def work(work: Work) -> Made:
            if work.again and work.processes.rank == 0:
                remove_checkpoints(work.folder)
                for path in work.folder.glob("negatives-*.jsonl.gz"):
                    path.unlink()
            work.processes.wait()
            return Made(_train_encoder(prepared, self.data, work))

        def forecast(_: Sequence[str]) -> str:
            names = [path.name for path in (self._folder / CHECKPOINTS).glob("step-*")]
            done = max((int(name.removeprefix("step-")) for name in names), default=0)
            return f"{steps:,} steps" + (f", going on after step {done:,}" if done else "")

        return Stage(
            name="train",
            work=work,
            inputs=lambda: training_inputs(prepared),
            needs=(f"audit:{PAIRS_FILE}", *(("mine",) if mines else ())),
            shared=True,
            forecast=forecast,
            tidy=remove_checkpoints,
        )


def asks_for_mining(prepared: Prepared) -> bool:
    """Whether the experiment trains with mined negatives."""
    training = prepared.experiment.training
    return bool(training.steps and training.negatives and training.negatives.source == "mined")


def _sources(prepared: Prepared) -> list[str | dict[str, Any]]:
    """What the experiment trains on; of one that fits debiasing alone, else the benchmark's."""
    experiment, spec = prepared.experiment, prepared.benchmark.spec
    sources, training = experiment.training.sources, experiment.training
    if not training.steps and sources is None and spec is not None:
        sources = spec.training.get("sources")
    if not sources and training.steps:
        raise UsageError(
            f"recipe {experiment.recipe} trains, but training.sources names no data; "
            "for example --set 'training.sources=[mini]'"
        )
    if not sources:
        raise UsageError(
            f"debias={experiment.debias} is fitted on training-side text, but training.sources "
            "names no data; for example --set 'training.sources=[ntrex-128]'"
        )
    negatives = training.negatives
    if negatives and negatives.source == "given" and negatives.refresh_epochs is not None:
        raise UsageError(
            "training.negatives.refresh_epochs: negatives that came with the data are not mined; "
            "take source = mined, or leave it out"
        )
    return sources


def training_inputs(prepared: Prepared) -> dict[str, Any]:
    """Everything that decides the trained encoder, but the data."""
    return {
        "backbone": prepared.backbone.sha256,
        "profile": prepared.settings.profile.model_dump(),
        "settings": prepared.experiment.training.model_dump(
            exclude={"sources"},
            exclude_defaults=True,  # so a setting that a later version adds makes nothing stale
        ),
        "seed": prepared.experiment.seed,
        "vocabulary": "whole",  # earlier versions saved a part of it
        "bf16": _uses_bf16(prepared),
        "device": prepared.settings.device.split(":")[0],
        "versions": {name: versions()[name] for name in _LIBRARIES},
    }


def _train_encoder(prepared: Prepared, data: TrainingData, work: Work) -> list[Path]:
    """Train, or go on training, and save the encoder; returns the files that are made.

    Of several processes the first one alone writes; the others return nothing.
    """
    settings, folder, processes = prepared.experiment.training, work.folder, work.processes
    loaded = prepared.backbone.load()
    trimmed = _trimmed(prepared, data, loaded)
    negatives = data.given
    if asks_for_mining(prepared):
        stored = read_negatives(folder / NEGATIVES_FILE, data.pairs)
        negatives = mined_negatives(data.pairs, stored.mined)
    given = {"given": data.given.fingerprint} if data.given else {}
    inputs = digest({**training_inputs(prepared), "pairs": data.pairs.fingerprint, **given})
    refreshes = settings.negatives is not None and settings.negatives.refresh_epochs is not None
    refresher = Refresher(prepared, data.pairs, loaded, folder, inputs, processes)
    job = Job(
        loaded=loaded,
        profile=prepared.settings.profile,
        settings=settings,
        seed=prepared.experiment.seed,
        device=prepared.settings.device,
        bf16=_uses_bf16(prepared),
        digest=inputs,
        negatives=negatives,
        processes=processes,
        mine_again=refresher.mine if refreshes else None,
    )
    train(job, data.pairs, Folders(folder / TRAINING_LOG, folder / CHECKPOINTS))
    if trimmed:
        trimmed.put_back()
    processes.wait()
    if processes.rank > 0:
        return []
    save_encoder(
        folder / MODEL,
        loaded.model.eval(),
        loaded.tokenizer,
        job.profile,
        dtype=settings.stored_precision,
        replace=True,
    )
    refreshed = sorted(folder.glob("negatives-*.jsonl.gz"))
    saved = sorted(path for path in (folder / MODEL).rglob("*") if path.is_file())
    return [folder / TRAINING_LOG, *refreshed, *saved]


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training; a run that is killed before goes on from them."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _uses_bf16(prepared: Prepared) -> bool:
    precision, device = prepared.experiment.training.precision, prepared.settings.device
    return gains_from_bf16(device) if precision == "auto" else precision == "bf16"


def _trimmed(prepared: Prepared, data: TrainingData, loaded: Loaded) -> Trimmed | None:
    """`loaded` with the vocabulary that training needs, whatever the benchmark; None: with all."""
    wanted = prepared.experiment.training.trim_vocabulary
    if wanted == "never":
        return None
    profile = prepared.settings.profile
    prefix = {"query": profile.query_prefix, "candidate": profile.candidate_prefix}
    requests = mining_requests(data.pairs)
    if data.given:
        requests.append(Request("given negatives", "candidate", data.given.texts))
    texts = (prefix[request.side] + text for request in requests for text in request.texts)
    try:
        trimmed = trim_vocabulary(loaded, texts)
    except BiasBenchError as error:
        if wanted == "always":
            raise
        say(f"vocabulary kept whole: {error}")
        return None
    whole = trimmed.table.num_embeddings
    say(f"vocabulary trimmed for training from {whole:,} to {trimmed.rows:,} rows")
    return trimmed
