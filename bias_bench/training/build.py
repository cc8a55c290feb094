"""From settings to what is trained and how fast: the objective, AdamW, warm-up and decay."""

from __future__ import annotations

import copy
from typing import Any

import torch

from bias_bench.config.training import TrainingSettings
from bias_bench.errors import UsageError
from bias_bench.training.checkpoint import ENCODER, Trained
from bias_bench.training.objective import Objective, Term
from bias_bench.training.perturbation import CONTRASTIVE
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


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Linear warm-up over the first share `warmup` of the steps, then linear decay to 0."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step <= warm:
        return settings.learning_rate * step / warm
    left = settings.steps - step + 1
    return settings.learning_rate * left / max(1, settings.steps - warm + 1)


def make_trained(
    model: Any, objective: Objective, settings: TrainingSettings, device: str
) -> Trained:
    """Parameters and buffers by name, and AdamW; biases and norms are not decayed.

    A term's parameters have `learning_rate_factor` times the learning rate, where its settings say.
    """
    model.to(device).train()
    model.get_input_embeddings().weight.requires_grad_(not settings.freeze_word_embeddings)
    named = {f"{ENCODER}{name}": p for name, p in model.named_parameters() if p.requires_grad}
    groups = _groups(list(named.values()), settings.weight_decay, 1.0)
    buffers: dict[str, torch.Tensor] = {}
    for term_name, term in objective.modules().items():
        module: Any = term
        module.to(device)
        learned = {f"{term_name}.{name}": p for name, p in module.named_parameters()}
        settings_of_term = getattr(module, "settings", None)
        factor = getattr(settings_of_term, "learning_rate_factor", 1.0)
        groups += _groups(list(learned.values()), 0.0, factor)
        named |= learned
        buffers |= {f"{term_name}.{name}": value for name, value in module.named_buffers()}
    fused = torch.device(device).type in ("cpu", "cuda")  # one pass over the parameters
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused)
    return Trained(named, optimizer, buffers)


def _groups(parameters: list[Any], decay: float, factor: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices, which decay, and the rest."""
    matrices = [p for p in parameters if p.ndim >= 2]
    rest = [p for p in parameters if p.ndim < 2]
    return [
        {"params": members, "weight_decay": value, "factor": factor}
        for value, members in ((decay, matrices), (0.0, rest))
        if members
    ]


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int
) -> float:
    """Give every parameter group its learning rate of the step; returns the encoder's."""
    rate = learning_rate(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def clip(trained: Trained, norm: float) -> dict[str, float]:
    """Clip the gradients of the encoder and of each term on their own, so that what an adversary
    learns does not slow the encoder; returns each one's norm before that.
    """
    owners: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in trained.parameters.items():
        owners.setdefault(name.split(".")[0], []).append(parameter)
    norms = {
        owner: torch.nn.utils.clip_grad_norm_(parameters, norm)
        for owner, parameters in owners.items()
    }
    return {owner: value.item() for owner, value in norms.items()}
