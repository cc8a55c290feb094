"""What is trained and how fast: AdamW over named parameters, warm-up and decay."""

from __future__ import annotations

from typing import Any

import torch

from bias_bench.training.checkpoint import Trained
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
    """Parameters by name and AdamW over them; biases and norms are not decayed."""
    model.to(device).train()
    model.get_input_embeddings().weight.requires_grad_(not settings.freeze_word_embeddings)
    named = {f"encoder.{name}": p for name, p in model.named_parameters() if p.requires_grad}
    for term_name, term in objective.modules().items():
        module: Any = term
        module.to(device)
        named |= {f"{term_name}.{name}": p for name, p in module.named_parameters()}
    decayed = [p for p in named.values() if p.ndim >= 2]
    plain = [p for p in named.values() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    return Trained(named, optimizer)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int
) -> float:
    """Give every parameter group the step's learning rate, and return it."""
    rate = learning_rate(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
