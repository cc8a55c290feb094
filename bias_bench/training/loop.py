"""The one training loop, for every recipe.

Deterministic: batch and dropout of a step depend on the seed and the step's number alone, so a
resumed run is an uninterrupted one, bit for bit, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bias_bench.console import progress as progress_bar
from bias_bench.console import say
from bias_bench.datasets.pairs import Pairs
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.encoder import pad, pool
from bias_bench.encoders.profile import Profile
from bias_bench.errors import BiasBenchError
from bias_bench.training.checkpoint import (
    Progress,
    Trained,
    load_best,
    load_newest,
    save_checkpoint,
)
from bias_bench.training.log import log_row, read_log, write_log
from bias_bench.training.objective import Losses, Objective
from bias_bench.training.plan import BatchPlan
from bias_bench.training.settings import TrainingSettings
from bias_bench.training.step import Batch, backward, evaluate
from bias_bench.training.termination import Termination
from bias_bench.training.terms.contrastive import Contrastive


class Folders(NamedTuple):
    """Where training keeps its log and its checkpoints."""

    log: Path
    checkpoints: Path


class Tokens(NamedTuple):
    """Token ids of every text of the pairs, cut to the training lengths."""

    queries: list[list[int]]
    candidates: list[list[int]]


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
    trained = _trained(job, objective)
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
            rate = _set_learning_rate(trained.optimizer, settings, step)
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

    def ids(texts: Sequence[str], prefix: str, limit: int) -> list[list[int]]:
        encoded = job.loaded.tokenizer(
            [prefix + text for text in texts], truncation=True, max_length=limit
        )
        return encoded["input_ids"]

    settings, profile = job.settings, job.profile
    return Tokens(
        ids(pairs.query_texts, profile.query_prefix, settings.query_max_length),
        ids(pairs.candidate_texts, profile.candidate_prefix, settings.candidate_max_length),
    )


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Linear warm-up over the first share `warmup` of the steps, then linear decay to 0."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step <= warm:
        return settings.learning_rate * step / warm
    left = settings.steps - step + 1
    return settings.learning_rate * left / max(1, settings.steps - warm + 1)


def _plan(job: Job, pairs: Pairs, batch_size: int) -> BatchPlan:
    settings = job.settings
    return BatchPlan(
        pairs, settings.mixture, batch_size, job.seed, settings.dataset_exponent, settings.order
    )


def _trained(job: Job, objective: Objective) -> Trained:
    """Parameters by name and AdamW over them; biases and norms are not decayed."""
    model = job.loaded.model.to(job.device).train()
    model.get_input_embeddings().weight.requires_grad_(not job.settings.freeze_word_embeddings)
    named = {f"encoder.{name}": p for name, p in model.named_parameters() if p.requires_grad}
    for term_name, term in objective.modules().items():
        module: Any = term
        module.to(job.device)
        named |= {f"{term_name}.{name}": p for name, p in module.named_parameters()}
    decayed = [p for p in named.values() if p.ndim >= 2]
    plain = [p for p in named.values() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": job.settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=job.settings.learning_rate,
    )
    return Trained(named, optimizer)


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
        losses = backward(
            _embedder(job), batch, objective, job.settings.chunk_tokens, job.settings.gradient_cache
        )
    torch.nn.utils.clip_grad_norm_(trained.parameters.values(), job.settings.clip)
    if math.isfinite(losses.total.item()):
        trained.optimizer.step()
    return losses


def _embedder(job: Job) -> Callable[[Sequence[Sequence[int]]], torch.Tensor]:
    model, pad_id = job.loaded.model, job.loaded.tokenizer.pad_token_id
    device = torch.device(job.device)

    def embed(texts: Sequence[Sequence[int]]) -> torch.Tensor:
        ids, mask = (torch.from_numpy(part).to(device) for part in pad(texts, pad_id))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=job.bf16):
            output = model(input_ids=ids, attention_mask=mask)
        pooled = pool(output, mask, job.profile.pooling)
        return torch.nn.functional.normalize(pooled.float(), dim=1)

    return embed


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int
) -> float:
    rate = learning_rate(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


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
        values = [
            evaluate(
                _embedder(job),
                _batch(held_out, tokens, rows),
                objective,
                job.settings.chunk_tokens,
            )
            for rows in batches
        ]
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
