"""From settings to the objective of a training run."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from bias_bench.datasets.pairs import Pairs
from bias_bench.errors import UsageError
from bias_bench.training.batches import Tokens
from bias_bench.training.job import Job
from bias_bench.training.objective import Objective, Term
from bias_bench.training.perturbation import CONTRASTIVE
from bias_bench.training.settings import TrainingSettings
from bias_bench.training.step import Batch, embed_all
from bias_bench.training.terms.contrastive import Contrastive
from bias_bench.training.terms.distillation import Distillation
from bias_bench.training.terms.language_adversary import LanguageAdversary
from bias_bench.training.terms.negative_bank import NegativeBank


def make_objective(
    settings: TrainingSettings, dimensions: int, languages: int, seed: int
) -> Objective:
    """The objective that the settings describe, for embeddings of this many dimensions."""
    if settings.contrastive.denominator == "hard_negatives" and settings.negatives is None:
        raise UsageError(
            "training.contrastive.denominator = hard_negatives: there are none; set "
            "training.negatives too"
        )
    terms: dict[str, tuple[float, Term]] = {
        CONTRASTIVE: (1.0, Contrastive(settings.temperature, settings.contrastive))
    }
    if adversary := settings.terms.language_adversary:
        discriminator = LanguageAdversary(dimensions, languages, adversary, seed)
        terms["language_adversary"] = (1.0, discriminator)
    if bank := settings.terms.negative_bank:
        terms["negative_bank"] = (bank.weight, NegativeBank(dimensions, bank))
    if distillation := settings.terms.distillation:
        terms["distillation"] = (distillation.weight, Distillation(distillation))
    return Objective(terms)


def make_teacher(objective: Objective, model: Any, device: str) -> Any:
    """A frozen copy of the encoder as it is before training, where a term asks for one."""
    if not any(getattr(term, "needs_teacher", False) for _, term in objective.terms.values()):
        return None
    return copy.deepcopy(model).to(device).eval().requires_grad_(False)


def initialise(objective: Objective, job: Job, pairs: Pairs, tokens: Tokens) -> None:
    """Start the bank from candidates of the pairs, equally many of each language where possible.

    Hard negatives are preferred where there are any.
    """
    bank = next((t for _, t in objective.terms.values() if isinstance(t, NegativeBank)), None)
    if bank is None:
        return
    languages, ids = np.full(len(pairs.candidate_texts), -1, dtype=np.int64), tokens.candidates
    languages[pairs.candidate] = pairs.candidate_language
    usable = np.unique(pairs.candidate)
    if job.negatives is not None:
        languages, ids = job.negatives.languages, tokens.negatives
        usable = np.unique(job.negatives.mined.negatives)
        usable = usable[usable >= 0]
    random = np.random.default_rng([job.seed, 3])
    chosen = _balanced(languages[usable], len(bank.bank), random)
    rows = usable[chosen]
    nothing = np.zeros(0, dtype=np.int64)
    batch = Batch([], [ids[row] for row in rows], nothing, nothing, nothing, nothing)
    job.loaded.model.eval()
    vectors = embed_all(job.embedder(batch), batch, job.how([job.seed, 3]))
    job.loaded.model.train()
    bank.initialise(vectors, torch.from_numpy(languages[rows]))


def _balanced(languages: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """`number` places, languages in turn, each place as seldom again as possible."""
    order = random.permutation(len(languages))
    by_language = order[np.argsort(languages[order], kind="stable")]
    _, counts = np.unique(languages[by_language], return_counts=True)
    turn = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    dealt = by_language[np.argsort(turn, kind="stable")]
    return np.resize(dealt, number)
