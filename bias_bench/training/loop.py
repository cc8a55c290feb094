"""The one training loop, for every recipe.

Deterministic: batch and dropout of a step depend on the seed and the step's number alone, so a
resumed run is an uninterrupted one, bit for bit, on the CPU.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bias_bench.data.pairs import Pairs
from bias_bench.errors import BiasBenchError
from bias_bench.system.console import progress as progress_bar
from bias_bench.system.console import say, warn
from bias_bench.training.batches import Tokens, make_batch, rows_of_steps, tokenize
from bias_bench.training.build import (
    clip,
    make_objective,
    make_teacher,
    make_trained,
    set_learning_rate,
)
from bias_bench.training.checkpoint import (
    Progress,
    Trained,
    load_best,
    load_newest,
    newest_name,
    save_checkpoint,
)
from bias_bench.training.job import Job
from bias_bench.training.log import append_log, cut_log, log_row, read_log
from bias_bench.training.negatives.labels import used_labels
from bias_bench.training.objective import Losses, Objective
from bias_bench.training.perturbation import CONTRASTIVE, Passes, perturbed_step
from bias_bench.training.plan import BatchPlan
from bias_bench.training.step import Batch, embed_all, evaluate
from bias_bench.training.terms.negative_bank import NegativeBank

_VALIDATION_BATCHES, _VALIDATION_PAIRS = 8, 512
_SMALLEST_VALIDATION = 8  # a query among fewer candidates tells little


class Folders(NamedTuple):
    """Where training keeps its log and its checkpoints."""

    log: Path
    checkpoints: Path


class _Run(NamedTuple):
    """A job that is ready to run; of it, only the hard negatives change from step to step."""

    job: Job
    pairs: Pairs
    tokens: Tokens
    objective: Objective
    teacher: Any
    trained: Trained
    folders: Folders
    mined_after: int = 0  # the step that the hard negatives in use were mined after


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
    run = _prepare(job, training, folders)
    progress, stale = _start(run)
    validation = _validation_batches(run, held_out)
    refresh = _refresh_steps(job, plan)
    new: list[dict[str, Any]] = []  # rows of the log since the last checkpoint
    with (
        _asked_to_stop() as signals,
        progress_bar("train", settings.steps, "steps") as advance,
    ):
        advance(progress.step)
        for step, rows in rows_of_steps(plan, progress.step, settings.steps, settings.accumulate):
            if validation and stale >= settings.patience:
                say(f"stopped early after step {step - 1}: validation loss no longer falls")
                break
            rate = set_learning_rate(run.trained.optimizer, settings, step)
            run = _with_due_negatives(run, step, refresh)
            losses = _step(run, rows, step)
            row = log_row(step, losses, run.objective, rate, training, np.concatenate(rows))
            advance(1)
            last = step == settings.steps
            evaluated = validation and (step % settings.evaluate_every == 0 or last)
            if evaluated:
                loss = _validate(run, validation)
                row["validation"] = loss
                better = progress.best_loss is None or loss < progress.best_loss
                stale = 0 if better else stale + 1
                best = (step, loss) if better else (progress.best_step, progress.best_loss)
                progress = Progress(step, *best)
            progress = progress._replace(step=step)
            new.append(row)
            stop = job.processes.any(bool(signals))
            due = step % settings.checkpoint_every == 0
            mining = refresh and step % refresh == 0  # comes next, and can so be repeated
            if evaluated or last or stop or due or mining:
                if job.processes.rank == 0:
                    append_log(folders.log, new)
                    save_checkpoint(folders.checkpoints, run.trained, progress, job.digest)
                new = []
                job.processes.wait()
            if stop:
                raise KeyboardInterrupt
    if progress.best_loss is not None and progress.best_step != progress.step:
        load_best(folders.checkpoints, run.trained, progress)
    return progress


@contextmanager
def _asked_to_stop() -> Iterator[set[int]]:
    """What SIGTERM adds to, and does no more in the block, so that a checkpoint is saved first."""
    signals: set[int] = set()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _: signals.add(number))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _start(run: _Run) -> tuple[Progress, int]:
    """Load the newest checkpoint or start from scratch; also how many evaluations in a row were no
    better than the best. The log is then as it was at that checkpoint.
    """
    progress = load_newest(run.folders.checkpoints, run.trained, run.job.digest)
    if progress is None:
        progress = Progress(0, 0, None)
        _fill_bank(run)
    rows = read_log(run.folders.log, progress.step)
    if run.job.processes.rank == 0:
        cut_log(run.folders.log, progress.step)
    if progress.step:
        say(f"training goes on after step {progress.step}")
    after = (row for row in rows if row["step"] > progress.best_step)
    return progress, sum("validation" in row for row in after)


def _fill_bank(run: _Run) -> None:
    """Start the bank from candidates of the pairs, equally many of each language where possible.

    Hard negatives are preferred where there are any.
    """
    terms = (term for _, term in run.objective.terms.values())
    bank = next((term for term in terms if isinstance(term, NegativeBank)), None)
    if bank is None:
        return
    job, pairs, ids = run.job, run.pairs, run.tokens.candidates
    languages = used_labels(pairs.candidate, pairs.candidate_language, len(pairs.candidate_texts))
    usable = np.unique(pairs.candidate)
    if job.negatives is not None:
        languages, ids = job.negatives.languages, run.tokens.negatives
        usable = np.unique(job.negatives.mined.negatives)
        usable = usable[usable >= 0]
    random = np.random.default_rng([job.seed, 3])
    rows = usable[_balanced(languages[usable], len(bank.bank), random)]
    nothing = np.zeros(0, dtype=np.int64)
    batch = Batch([], [ids[row] for row in rows], nothing, nothing, nothing, nothing)
    with _evaluating(job.loaded.model):
        vectors = embed_all(job.embedder(batch), batch, job.step_options([job.seed, 3]))
    bank.initialise(vectors, torch.from_numpy(languages[rows]))


def _balanced(languages: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """`number` indexes of `languages`, languages in turn, each as seldom again as possible."""
    order = random.permutation(len(languages))
    by_language = order[np.argsort(languages[order], kind="stable")]
    _, counts = np.unique(languages[by_language], return_counts=True)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.resize(by_language[np.argsort(turn, kind="stable")], number)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def _prepare(job: Job, training: Pairs, folders: Folders) -> _Run:
    settings = job.settings
    dimensions = job.loaded.model.config.hidden_size
    languages = len(np.unique([training.query_language, training.candidate_language]))
    if languages > 1:
        languages = len(training.languages)  # a code names the discriminator's output
    objective = make_objective(settings, dimensions, languages, job.seed)
    teacher = make_teacher(objective, job.loaded.model, job.device)
    trained = make_trained(job.loaded.model, objective, settings, job.device)
    tokens = tokenize(job.loaded.tokenizer, job.profile, settings, training, job.negatives)
    return _Run(job, training, tokens, objective, teacher, trained, folders)


def _refresh_steps(job: Job, plan: BatchPlan) -> int:
    """Steps between two minings; 0 for none after the first."""
    negatives = job.settings.negatives
    if job.mine_again is None or negatives is None or negatives.refresh_epochs is None:
        return 0
    return max(1, round(negatives.refresh_epochs * len(plan) / job.settings.accumulate))


def _with_due_negatives(run: _Run, step: int, refresh: int) -> _Run:
    """The run with the hard negatives that `step` is to be taken with."""
    due = (step - 1) // refresh * refresh if refresh else 0
    if due == run.mined_after or run.job.mine_again is None:
        return run
    with _evaluating(run.job.loaded.model):
        negatives = run.job.mine_again(due)
    return run._replace(job=run.job._replace(negatives=negatives), mined_after=due)


def _plan(job: Job, pairs: Pairs, batch_size: int, leave_out_small: bool = False) -> BatchPlan:
    settings = job.settings
    return BatchPlan(
        pairs, settings.mixture, batch_size, job.seed, settings.dataset_exponent, settings.order,
        leave_out_small,
    )  # fmt: skip


def _step(run: _Run, rows_of_batches: Sequence[np.ndarray], step: int) -> Losses:
    """One step of the optimizer over one or several batches; the losses are their means.

    BiasBenchError before anything changes where a loss or a gradient is not finite.
    """
    run.trained.optimizer.zero_grad(set_to_none=True)
    devices = [torch.device(run.job.device)] if run.job.device.startswith("cuda") else []
    losses: list[Losses] = []
    with torch.random.fork_rng(devices=devices):
        for number, rows in enumerate(rows_of_batches):
            losses.append(_gradients(run, rows, step, number))
    if run.job.processes.number > 1:
        run.job.processes.add(run.trained.encoder_gradients())
    mean = _mean(losses)
    norms = clip(run.trained, run.job.settings.clip)
    values = {f"norm of the gradient of {owner}": norm for owner, norm in norms.items()}
    for name, value in {"loss": mean.total.item(), **values}.items():
        if not math.isfinite(value):
            raise BiasBenchError(
                f"{name} is {value} at step {step} (pairs {rows_of_batches[0][:5].tolist()}…); "
                f"last checkpoint: {newest_name(run.folders.checkpoints)}; "
                "lower training.learning_rate, or set training.precision=float32"
            )
    run.trained.optimizer.step()
    return mean


def _gradients(run: _Run, rows: np.ndarray, step: int, number: int) -> Losses:
    """Add the gradients of the step's batch `number`; its place seeds dropout and negatives."""
    job, settings = run.job, run.job.settings
    seed = [job.seed, step, number]
    progress = (step - 1) / settings.steps
    draw = (step - 1) * settings.accumulate + number + 1
    batch = make_batch(job, run.pairs, run.tokens, rows, progress, draw)
    options = job.step_options(seed)
    if run.teacher is not None:
        embed = job.embedder(batch, run.teacher)
        batch = batch._replace(teacher=embed_all(embed, batch, options))
    passes = Passes(
        embedder=job.embedder(batch),
        batch=batch,
        objective=run.objective,
        options=options,
        seed=int(np.random.SeedSequence(seed).generate_state(1)[0]),
        scale=1 / settings.accumulate,
    )
    attack = settings.terms.perturbation
    losses = perturbed_step(passes, attack) if attack else passes.run(None, run.objective)
    passes.embedder.hand_over()
    return losses


def _mean(losses: Sequence[Losses]) -> Losses:
    total = torch.stack([part.total for part in losses]).mean()
    terms = {
        name: torch.stack([part.terms[name] for part in losses]).mean() for name in losses[0].terms
    }
    return Losses(total, terms, losses[-1].embeddings)


def _validation_batches(run: _Run, held_out: Pairs) -> list[Batch]:
    """Fixed batches of the same mixture, smaller where too little of a language is held out."""
    size = min(run.job.settings.batch_size, len(np.unique(held_out.group)))
    while size >= _SMALLEST_VALIDATION:
        try:
            plan = _plan(run.job, held_out, size, leave_out_small=True)
        except BiasBenchError:
            size //= 2
            continue
        number = max(_VALIDATION_BATCHES, _VALIDATION_PAIRS // size)
        rows = np.concatenate([plan.epoch(epoch) for epoch in range(-(-number // len(plan)))])
        return [
            make_batch(run.job, held_out, run.tokens, batch, progress=1.0, draw=0)
            for batch in rows[:number]
        ]
    if run.job.settings.held_out:
        warn("too few pairs are held out to validate on; training ends with its last step")
    return []


def _validate(run: _Run, batches: Sequence[Batch]) -> float:
    """Mean contrastive loss over the validation batches, without dropout."""
    job, objective = run.job, run.objective.only(CONTRASTIVE)
    with _evaluating(job.loaded.model):
        values = [
            evaluate(job.embedder(batch), batch, objective, job.step_options([job.seed, 0]))
            for batch in batches
        ]
    return float(np.mean(values))
