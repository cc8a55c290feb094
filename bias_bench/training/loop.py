"""The one training loop, for every recipe.

Deterministic: batch and dropout of a step depend on the seed and the step's number alone, so a
resumed run is an uninterrupted one, bit for bit, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bias_bench.console import progress as progress_bar
from bias_bench.console import say
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.profile import Profile
from bias_bench.errors import BiasBenchError
from bias_bench.training.checkpoint import (
    Progress,
    Trained,
    load_best,
    load_newest,
    save_checkpoint,
)
from bias_bench.training.embedder import Embedder
from bias_bench.training.log import log_row, read_log, write_log
from bias_bench.training.objective import Losses, Objective
from bias_bench.training.optimizer import make_trained, set_learning_rate
from bias_bench.training.plan import BatchPlan
from bias_bench.training.settings import TrainingSettings
from bias_bench.training.step import Batch, backward, evaluate
from bias_bench.training.termination import Termination
from bias_bench.training.terms.contrastive import Contrastive

_TOKENIZED_AT_ONCE = 4096  # texts; bounds what the tokenizer keeps besides the ids


class Folders(NamedTuple):
    """Where training keeps its log and its checkpoints."""

    log: Path
    checkpoints: Path


class Tokens(NamedTuple):
    """Token ids of every text of the pairs, cut to the training lengths."""

    queries: list[np.ndarray]
    candidates: list[np.ndarray]


class Job(NamedTuple):
    """Everything a training run is made of; `digest` identifies it in checkpoints."""

    loaded: Loaded
    profile: Profile
    settings: TrainingSettings
    seed: int
    device: str
    bf16: bool
    digest: str


def split_groups(pairs: Pairs, share: float, seed: int) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs: whole groups, drawn with the seed, never single queries."""
    groups = np.unique(pairs.group)
    random = np.random.default_rng([seed, 1])
    held = random.permutation(groups)[: round(share * len(groups))]
    out = np.isin(pairs.group, held)
    return pairs.take(np.flatnonzero(~out)), pairs.take(np.flatnonzero(out))


def train(job: Job, pairs: Pairs, folders: Folders) -> Progress:
    """Train the encoder of `job` in place; goes on from the newest intact checkpoint.

    Stops early when the validation loss has not fallen for `patience` evaluations, and ends with
    the parameters of the best evaluation (of the last step, where nothing is held out).
    """
    settings = job.settings
    training, held_out = split_groups(pairs, settings.held_out, job.seed)
    plan = _plan(job, training, settings.batch_size)
    tokens = tokenize(job, pairs)
    objective = make_objective(settings)
    trained = make_trained(job.loaded.model, objective, settings, job.device)
    progress = load_newest(folders.checkpoints, trained, job.digest) or Progress(0, 0, None)
    log = read_log(folders.log, progress.step)
    if progress.step:
        say(f"training goes on after step {progress.step}")
    validation = _validation_batches(job, held_out)
    stale = sum(1 for row in log if "validation" in row and row["step"] > progress.best_step)
    with (
        Termination() as termination,
        progress_bar("train", settings.steps, "steps") as advance,
    ):
        advance(progress.step)
        batches = _batches(plan, progress.step, settings.steps)
        for step, rows in batches:
            if validation and stale >= settings.patience:
                say(f"stopped early after step {step - 1}: validation loss no longer falls")
                break
            rate = set_learning_rate(trained.optimizer, settings, step)
            losses = _step(job, objective, trained, _batch(plan.pairs, tokens, rows), step)
            _require_finite(losses, step, rows, folders)
            row = log_row(step, losses, rate, plan.pairs, rows)
            advance(1)
            last = step == settings.steps
            evaluated = validation and (step % settings.evaluate_every == 0 or last)
            if evaluated:
                loss = _validate(job, objective, held_out, tokens, validation)
                row["validation"] = loss
                better = progress.best_loss is None or loss < progress.best_loss
                stale = 0 if better else stale + 1
                best = (step, loss) if better else (progress.best_step, progress.best_loss)
                progress = Progress(step, *best)
            progress = progress._replace(step=step)
            log.append(row)
            if evaluated or last or step % settings.checkpoint_every == 0 or termination.asked:
                write_log(folders.log, log)
                save_checkpoint(folders.checkpoints, trained, progress, job.digest)
            if termination.asked:
                raise KeyboardInterrupt
    if progress.best_loss is not None and progress.best_step != progress.step:
        load_best(folders.checkpoints, trained, progress)
    return progress


def make_objective(settings: TrainingSettings) -> Objective:
    """The objective that the settings describe."""
    contrastive = Contrastive(
        settings.temperature,
        learned=settings.contrastive.learned_temperature,
        direction=settings.contrastive.direction,
    )
    return Objective({"contrastive": (1.0, contrastive)})


def tokenize(job: Job, pairs: Pairs) -> Tokens:
    """Tokenise every text once, with its side's prefix."""

    def ids(texts: Sequence[str], prefix: str, limit: int) -> list[np.ndarray]:
        encoded: list[np.ndarray] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            block = [prefix + text for text in texts[start : start + _TOKENIZED_AT_ONCE]]
            found = job.loaded.tokenizer(block, truncation=True, max_length=limit)
            encoded += [np.array(ids, dtype=np.int32) for ids in found["input_ids"]]
        return encoded

    settings, profile = job.settings, job.profile
    return Tokens(
        ids(pairs.query_texts, profile.query_prefix, settings.query_max_length),
        ids(pairs.candidate_texts, profile.candidate_prefix, settings.candidate_max_length),
    )


def _plan(job: Job, pairs: Pairs, batch_size: int) -> BatchPlan:
    settings = job.settings
    return BatchPlan(
        pairs, settings.mixture, batch_size, job.seed, settings.dataset_exponent, settings.order
    )


def _batches(plan: BatchPlan, done: int, steps: int) -> Iterator[tuple[int, np.ndarray]]:
    """(step from 1, rows) of the steps after `done`; an epoch is made when it is reached."""
    epoch, rows = -1, np.zeros((0, 0), dtype=np.int64)
    for step in range(done + 1, steps + 1):
        number, cursor = divmod(step - 1, len(plan))
        if number != epoch:
            epoch, rows = number, plan.epoch(number)
        yield step, rows[cursor]


def _batch(pairs: Pairs, tokens: Tokens, rows: np.ndarray) -> Batch:
    return Batch(
        queries=[tokens.queries[row] for row in pairs.query[rows]],
        candidates=[tokens.candidates[row] for row in pairs.candidate[rows]],
        query_groups=pairs.group[rows],
        candidate_groups=pairs.group[rows],
        query_languages=pairs.query_language[rows],
        candidate_languages=pairs.candidate_language[rows],
    )


def _step(job: Job, objective: Objective, trained: Trained, batch: Batch, step: int) -> Losses:
    """One step of the optimizer; dropout is seeded by the step."""
    devices = [torch.device(job.device)] if job.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(np.random.SeedSequence([job.seed, step]).generate_state(1)[0].item())
        trained.optimizer.zero_grad(set_to_none=True)
        embedder = _embedder(job, batch)
        settings = job.settings
        losses = backward(
            embedder, batch, objective, settings.chunk_tokens, settings.gradient_cache
        )
        embedder.hand_over()
    torch.nn.utils.clip_grad_norm_(trained.parameters.values(), job.settings.clip)
    if math.isfinite(losses.total.item()):
        trained.optimizer.step()
    return losses


def _embedder(job: Job, batch: Batch) -> Embedder:
    loaded = job.loaded
    pad_id = loaded.tokenizer.pad_token_id
    pooling = job.profile.pooling
    return Embedder(loaded.model, pad_id, pooling, job.device, job.bf16, batch.texts)


def _validation_batches(job: Job, held_out: Pairs) -> list[np.ndarray]:
    """Rows of fixed batches of the same mixture; none where too little is held out."""
    groups = len(np.unique(held_out.group))
    size = min(job.settings.batch_size, groups)
    if size < 2:
        return []
    try:
        plan = _plan(job, held_out, size)
    except BiasBenchError:
        return []  # a small source may hold out too little of a language for a whole batch
    return list(plan.epoch(0)[:8])


def _validate(
    job: Job, objective: Objective, held_out: Pairs, tokens: Tokens, batches: list[np.ndarray]
) -> float:
    """Mean loss over the validation batches, without dropout."""
    job.loaded.model.eval()
    try:
        values = []
        for rows in batches:
            batch = _batch(held_out, tokens, rows)
            embedder = _embedder(job, batch)
            values.append(evaluate(embedder, batch, objective, job.settings.chunk_tokens))
    finally:
        job.loaded.model.train()
    return float(np.mean(values))


def _require_finite(losses: Losses, step: int, rows: np.ndarray, folders: Folders) -> None:
    if math.isfinite(losses.total.item()):
        return
    kept = sorted(path.name for path in folders.checkpoints.glob("step-*"))
    raise BiasBenchError(
        f"loss is {losses.total.item()} at step {step} (pairs {rows[:5].tolist()}…); last "
        f"checkpoint: {kept[-1] if kept else 'none'}; lower training.learning_rate, or "
        "set training.precision=float32"
    )
