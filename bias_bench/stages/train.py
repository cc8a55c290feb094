"""The work of the stage `train`: data, audit, trimming, the loop, the saved encoder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bias_bench.console import say
from bias_bench.datasets.audit import audit, clean
from bias_bench.datasets.pairs import Pairs
from bias_bench.datasets.sources import load_sources
from bias_bench.datasets.sources.build import LoadedSource
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.cached import CachedBackbone
from bias_bench.encoders.embeds import Request
from bias_bench.encoders.encoder import gains_from_bf16
from bias_bench.encoders.save import save_encoder
from bias_bench.errors import BiasBenchError, UsageError
from bias_bench.files import digest
from bias_bench.processes import ALONE, Processes
from bias_bench.provenance import versions
from bias_bench.stages.encoder import find_backbone
from bias_bench.stages.mining import Refresher, hard_negatives, mining_requests
from bias_bench.stages.work import Prepared
from bias_bench.training.hard_negatives import HardNegatives, given_negatives
from bias_bench.training.job import Job
from bias_bench.training.loop import Folders, train
from bias_bench.training.vocabulary import Trimmed, trim_vocabulary

TRAINING_LOG = "train.jsonl"
CHECKPOINTS = "checkpoints"
_LIBRARIES = ("biasbench", "torch", "transformers", "tokenizers")


class TrainingData(NamedTuple):
    """Training pairs without what the benchmark holds too, what the audit found, and hard negatives
    that came with the data, where they are asked for.
    """

    pairs: Pairs
    audit: dict[str, Any]
    given: HardNegatives | None = None


def training_sources(prepared: Prepared) -> list[str | dict[str, Any]]:
    """What the experiment trains on; UsageError when it names nothing."""
    sources = prepared.experiment.training.sources
    if not sources:
        raise UsageError(
            f"recipe {prepared.experiment.recipe} trains, but training.sources names no data; "
            "for example --set 'training.sources=[mini]'"
        )
    return sources


def training_data(prepared: Prepared) -> TrainingData:
    """Load the sources and drop every topic that the audit finds in the benchmark, visibly."""
    sources, data_dir = training_sources(prepared), prepared.experiment.data_dir
    loaded = load_sources(sources, Path(data_dir) if data_dir else None)
    found = audit(loaded.pairs, prepared.collection)
    pairs = clean(loaded.pairs, found)
    say(f"training data: {len(pairs):,} pairs of {', '.join(pairs.data_sets)}")
    say(f"zero-shot audit against {prepared.collection.name}: {found.verdict}")
    return TrainingData(pairs, found.to_json(), _given(prepared, loaded))


def _given(prepared: Prepared, loaded: LoadedSource) -> HardNegatives | None:
    """The negatives of the sources, if the experiment trains with them."""
    wanted = prepared.experiment.training.negatives
    if wanted is None or wanted.source != "given":
        return None
    if wanted.refresh_epochs is not None:
        raise UsageError(
            "training.negatives.refresh_epochs: negatives that came with the data are not mined; "
            "take source = mined, or leave it out"
        )
    if not loaded.negatives:
        raise UsageError(
            "training.negatives.source = given: no training source brings negatives; "
            "take source = mined, or data with negatives"
        )
    return given_negatives(loaded.pairs, loaded.negatives)


def training_inputs(prepared: Prepared, data: TrainingData) -> dict[str, Any]:
    """Everything that decides the trained encoder."""
    return {
        "backbone": prepared.backbone.sha256,
        "profile": prepared.settings.profile.model_dump(),
        "settings": prepared.experiment.training.model_dump(
            exclude={"sources"},
            exclude_defaults=True,  # so a setting that a later version adds makes nothing stale
        ),
        "seed": prepared.experiment.seed,
        "pairs": data.pairs.fingerprint,
        **({"given": data.given.fingerprint} if data.given else {}),
        "vocabulary": "whole",  # earlier versions saved a part of it
        "bf16": _uses_bf16(prepared),
        "device": prepared.settings.device.split(":")[0],
        "versions": {name: versions()[name] for name in _LIBRARIES},
    }


def train_encoder(
    prepared: Prepared, data: TrainingData, folder: Path, processes: Processes = ALONE
) -> list[Path]:
    """Train, or go on training, and save the encoder to ``<folder>/model``.

    Of several processes the first one alone writes; the others return nothing.
    """
    settings = prepared.experiment.training
    loaded = prepared.backbone.load()
    trimmed = _trimmed(prepared, data, loaded)
    first = processes.rank == 0
    if not first:
        processes.wait()  # until the first one has mined
    negatives = hard_negatives(prepared, data.pairs, data.given, folder)
    if first:
        processes.wait()
    inputs = digest(training_inputs(prepared, data))
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
    folders = Folders(folder / TRAINING_LOG, folder / CHECKPOINTS)
    train(job, data.pairs, folders)
    if trimmed:
        trimmed.put_back()
    processes.wait()
    return _save(job, folder) if first else []


def _save(job: Job, folder: Path) -> list[Path]:
    target = folder / "model"
    save_encoder(
        target,
        job.loaded.model.eval(),
        job.loaded.tokenizer,
        job.profile,
        dtype=job.settings.stored_precision,
        replace=True,
    )
    mined = sorted(folder.glob("negatives*.jsonl.gz"))
    saved = sorted(path for path in target.rglob("*") if path.is_file())
    return [folder / TRAINING_LOG, *mined, *saved]


def remove_checkpoints(folder: Path) -> None:
    """To be called once the stage is recorded: a run that is killed before goes on from them."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def logged_steps(log: Path) -> int:
    """How many steps of training a log holds."""
    return len(log.read_text(encoding="utf-8").splitlines()) if log.is_file() else 0


def with_trained_encoder(prepared: Prepared, folder: Path) -> Prepared:
    """The same experiment, its backbone replaced by the encoder trained from it."""
    trained = find_backbone(str(folder / "model"))._replace(spec=prepared.source.spec)
    return replace(prepared, source=CachedBackbone(trained, prepared.settings))


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
