"""Adversarial perturbation of word embeddings: steps that also train on the worst nearby input.

FGM (Miyato et al. 2017, arXiv:1605.07725), PGD (Madry et al. 2018, arXiv:1706.06083), FreeLB (Zhu
et al. 2020, arXiv:1909.11764) and SMART (Jiang et al. 2020, arXiv:1911.03437). A perturbation is
bounded per text, never over a whole batch, so its strength does not depend on the batch size. All
passes of a step use the same dropout masks. SMART's clean scores are held constant, as in VAT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from bias_bench.training.embedder import Embedder
from bias_bench.training.objective import Embeddings, Losses, Objective
from bias_bench.training.settings import PerturbationSettings
from bias_bench.training.step import Batch, How, backward

CONTRASTIVE = "contrastive"


class Passes(NamedTuple):
    """What every pass of a step shares. `seed` starts random perturbations; `scale` multiplies all
    gradients.
    """

    model: torch.nn.Module
    embedder: Embedder
    batch: Batch
    objective: Objective
    how: How
    seed: int
    scale: float = 1.0

    def run(self, added: torch.Tensor | None, objective: Objective, factor: float = 1.0) -> Losses:
        """One pass with `added` on the word embeddings, its gradients added to all others."""
        self.embedder.added = added
        try:
            losses = backward(self.embedder, self.batch, objective, self.how, self.scale * factor)
        finally:
            self.embedder.added = None
        if added is not None and added.requires_grad and self.how.processes.number > 1:
            if added.grad is None:  # no text of this process's is in the batch
                added.grad = torch.zeros_like(added)
            self.how.processes.add([added.grad])
        return losses


def perturbed_step(passes: Passes, attack: PerturbationSettings) -> Losses:
    """The gradients of a step under attack; the losses have an entry named after the method."""
    method = {"fgm": _fgm, "pgd": _pgd, "freelb": _freelb, "smart": _smart}[attack.method]
    return method(passes, attack)


def _fgm(passes: Passes, attack: PerturbationSettings) -> Losses:
    """loss(x) + weight loss(x + radius g / ||g||)."""
    added = _zeros(passes)
    clean = passes.run(added, passes.objective)
    shift = attack.radius * _directions(passes, attack, _gradient(added))
    return _second_pass(passes, attack, clean, shift)


def _pgd(passes: Passes, attack: PerturbationSettings) -> Losses:
    """loss(x) + weight loss(x + δ), δ found by `steps` projected ascents."""
    added = _zeros(passes)
    clean = passes.run(added, passes.objective)
    shift = _projected(
        passes, attack, attack.step_size * _directions(passes, attack, _gradient(added))
    )
    for _ in range(attack.steps - 1):
        ascent = _ascent(passes, shift, passes.objective.only(CONTRASTIVE))
        shift = shift + attack.step_size * _directions(passes, attack, ascent)
        shift = _projected(passes, attack, shift)
    return _second_pass(passes, attack, clean, shift)


def _freelb(passes: Passes, attack: PerturbationSettings) -> Losses:
    """Mean of the losses at `steps` successive perturbations; gradients of all of them count."""
    share = 1 / attack.steps
    added = _projected(passes, attack, _random_start(passes, attack)).requires_grad_()
    first = passes.run(added, passes.objective.scaled(CONTRASTIVE, share))
    contrastive = first.terms[CONTRASTIVE] * share
    for _ in range(attack.steps - 1):
        step = attack.step_size * _directions(passes, attack, _gradient(added))
        added = _projected(passes, attack, added.detach() + step).requires_grad_()
        later = passes.run(added, passes.objective.only(CONTRASTIVE, share))
        contrastive = contrastive + later.terms[CONTRASTIVE] * share
    own = passes.objective.terms[CONTRASTIVE][0] * (contrastive - first.terms[CONTRASTIVE] * share)
    return Losses(first.total + own, {**first.terms, "freelb": contrastive}, first.embeddings)


def _smart(passes: Passes, attack: PerturbationSettings) -> Losses:
    """loss(x) + weight KL(scores(x + δ), scores(x)), symmetric, over the scores in the batch."""
    clean = passes.run(None, passes.objective)
    divergence = Objective({"smart": (1.0, _Divergence(clean.embeddings))})
    shift = _random_start(passes, attack)
    for _ in range(attack.steps):
        ascent = _ascent(passes, shift, divergence)
        largest = _per_text(passes, ascent.abs().amax(dim=1), "amax").clamp(min=1e-12)
        shift = shift + attack.step_size * ascent / largest * _sides(passes, attack)
        shift = shift.clamp(-attack.radius, attack.radius)
    return _added(clean, "smart", attack.weight, passes.run(shift, divergence, attack.weight))


class _Divergence:
    """Symmetric KL of the batch's score distributions against given ones."""

    def __init__(self, clean: Embeddings, temperature: float = 0.05) -> None:
        self._temperature = temperature
        self._clean = self._log_scores(clean)

    def _log_scores(self, batch: Embeddings) -> torch.Tensor:
        scores = batch.queries.float() @ batch.candidates.float().T
        return (scores / self._temperature).log_softmax(dim=1)

    def __call__(self, batch: Embeddings) -> torch.Tensor:
        found = self._log_scores(batch)
        difference = found - self._clean
        return ((found.exp() - self._clean.exp()) * difference).sum(dim=1).mean()


def _second_pass(
    passes: Passes, attack: PerturbationSettings, clean: Losses, shift: torch.Tensor
) -> Losses:
    second = passes.run(shift, passes.objective.only(CONTRASTIVE), attack.weight)
    return _added(clean, attack.method, attack.weight, second)


def _added(clean: Losses, name: str, weight: float, second: Losses) -> Losses:
    return Losses(
        clean.total + weight * second.total, {**clean.terms, name: second.total}, clean.embeddings
    )


def _ascent(passes: Passes, shift: torch.Tensor, objective: Objective) -> torch.Tensor:
    """The gradient of the loss at `shift`, without touching any parameter's gradient."""
    added = shift.detach().requires_grad_()
    terms: list[Any] = list(objective.modules().values())
    with _frozen([passes.model, *terms]), passes.embedder.frozen():
        passes.run(added, objective)
    return _gradient(added)


@contextmanager
def _frozen(modules: list[torch.nn.Module]) -> Iterator[None]:
    learning = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _zeros(passes: Passes) -> torch.Tensor:
    return torch.zeros(
        passes.embedder.shape, device=passes.embedder.token_texts.device, requires_grad=True
    )


def _random_start(passes: Passes, attack: PerturbationSettings) -> torch.Tensor:
    """Uniform in norm about `start` per text (FreeLB), or normal with that deviation (SMART)."""
    random = torch.Generator().manual_seed(passes.seed)
    zeros = torch.zeros(passes.embedder.shape)
    if attack.method == "smart":
        noise = torch.randn(zeros.shape, generator=random) * attack.start
    else:
        lengths = _per_text(passes, torch.ones(len(zeros)), "sum").cpu()
        scale = attack.start / (lengths * zeros.shape[1]).sqrt()
        noise = (2 * torch.rand(zeros.shape, generator=random) - 1) * scale
    return noise.to(passes.embedder.token_texts.device) * _sides(passes, attack)


def _gradient(added: torch.Tensor) -> torch.Tensor:
    if added.grad is None:
        raise RuntimeError("the loss does not depend on the perturbation")
    return added.grad


def _directions(
    passes: Passes, attack: PerturbationSettings, gradient: torch.Tensor
) -> torch.Tensor:
    """The gradient with norm 1 for each text that is attacked, 0 for the others."""
    return gradient / _norms(passes, gradient).clamp(min=1e-12) * _sides(passes, attack)


def _projected(passes: Passes, attack: PerturbationSettings, shift: torch.Tensor) -> torch.Tensor:
    return shift * (attack.radius / _norms(passes, shift).clamp(min=1e-12)).clamp(max=1)


def _norms(passes: Passes, values: torch.Tensor) -> torch.Tensor:
    """l2 norm of each token's whole text, [tokens, 1]."""
    return _per_text(passes, values.square().sum(dim=1), "sum").sqrt()


def _per_text(passes: Passes, values: torch.Tensor, how: str) -> torch.Tensor:
    """Values [tokens] reduced over each text and given back to its tokens, [tokens, 1]."""
    texts = passes.embedder.token_texts
    number = len(passes.batch.texts)
    reduced = torch.zeros(number, device=texts.device).scatter_reduce(
        0, texts, values.to(texts.device), reduce=how
    )
    return reduced[texts][:, None]


def _sides(passes: Passes, attack: PerturbationSettings) -> torch.Tensor:
    """1 for tokens of texts that are attacked, [tokens, 1]."""
    texts = passes.embedder.token_texts
    attacked = texts < (len(passes.batch.queries) if attack.sides == "queries" else len(texts) + 1)
    return attacked.float()[:, None]
