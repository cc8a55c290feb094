"""What is trained and how fast: AdamW over named parameters, warm-up and decay."""

from __future__ import annotations

from typing import Any

import torch

from bias_bench.training.checkpoint import ENCODER, Trained
from bias_bench.training.objective import Objective
from bias_bench.training.settings import TrainingSettings


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
        own = {f"{term_name}.{name}": p for name, p in module.named_parameters()}
        factor = getattr(module.settings, "learning_rate_factor", 1.0)
        groups += _groups(list(own.values()), 0.0, factor)
        named |= own
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
    found = {
        owner: torch.nn.utils.clip_grad_norm_(parameters, norm)
        for owner, parameters in owners.items()
    }
    return {owner: value.item() for owner, value in found.items()}
