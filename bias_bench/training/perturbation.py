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

from bias_bench.config.training import PerturbationSettings
from bias_bench.training.objective import Embeddings, Losses, Objective
from bias_bench.training.step import Batch, Embedder, StepOptions, backward

CONTRASTIVE = "contrastive"


class Passes(NamedTuple):
    """What every pass of a step shares. `seed` starts random perturbations; `scale` multiplies all
    gradients.
    """

    embedder: Embedder
    batch: Batch
    objective: Objective
    options: StepOptions
    seed: int
    scale: float = 1.0

    def run(self, added: torch.Tensor | None, objective: Objective, factor: float = 1.0) -> Losses:
        """One pass with `added` on the word embeddings, its gradients added to all others."""
        self.embedder.added = added
        try:
            losses = backward(
                self.embedder, self.batch, objective, self.options, self.scale * factor
            )
        finally:
            self.embedder.added = None
        if added is not None and added.requires_grad and self.options.processes.number > 1:
            if added.grad is None:  # no text of this process's is in the batch
                added.grad = torch.zeros_like(added)
            self.options.processes.add([added.grad])
        return losses


def perturbed_step(passes: Passes, settings: PerturbationSettings) -> Losses:
    """The gradients of a perturbed step; the losses have an entry named after the method."""
    attack = _Attack(passes, settings)
    methods = {"fgm": attack.fgm, "pgd": attack.pgd, "freelb": attack.freelb, "smart": attack.smart}
    return methods[settings.method]()


class _Attack:
    """The methods. Shifts are float32 [tokens of all texts, d]; numbers of a text [tokens, 1]."""

    def __init__(self, passes: Passes, settings: PerturbationSettings) -> None:
        self.passes, self.settings = passes, settings
        self.texts = passes.embedder.token_texts
        several = settings.sides == "both"
        last = len(passes.batch.texts if several else passes.batch.queries)
        self.attacked = (self.texts < last).float()[:, None]  # 1 for tokens of texts that are

    def fgm(self) -> Losses:
        """loss(x) + weight loss(x + radius g / ||g||)."""
        clean, gradient = self._clean()
        return self._second_pass(clean, self.settings.radius * self._directions(gradient))

    def pgd(self) -> Losses:
        """loss(x) + weight loss(x + δ), δ found by `steps` projected ascents."""
        clean, gradient = self._clean()
        shift = self._projected(self.settings.step_size * self._directions(gradient))
        for _ in range(self.settings.steps - 1):
            gradient = self._ascent(shift, self.passes.objective.only(CONTRASTIVE))
            shift = self._projected(shift + self.settings.step_size * self._directions(gradient))
        return self._second_pass(clean, shift)

    def freelb(self) -> Losses:
        """Mean of the losses at `steps` successive perturbations; all gradients count."""
        objective, share = self.passes.objective, 1 / self.settings.steps
        added = self._projected(self._random_start()).requires_grad_()
        first = self.passes.run(added, objective.scaled(CONTRASTIVE, share))
        contrastive = first.terms[CONTRASTIVE] * share
        for _ in range(self.settings.steps - 1):
            step = self.settings.step_size * self._directions(_gradient(added))
            added = self._projected(added.detach() + step).requires_grad_()
            later = self.passes.run(added, objective.only(CONTRASTIVE, share))
            contrastive = contrastive + later.terms[CONTRASTIVE] * share
        weight, _ = objective.terms[CONTRASTIVE]
        more = weight * (contrastive - first.terms[CONTRASTIVE] * share)
        return Losses(first.total + more, {**first.terms, "freelb": contrastive}, first.embeddings)

    def smart(self) -> Losses:
        """loss(x) + weight KL(scores(x + δ), scores(x)), symmetric, over the batch's scores."""
        clean = self.passes.run(None, self.passes.objective)
        divergence = Objective({"smart": (1.0, _Divergence(clean.embeddings))})
        shift, radius = self._random_start(), self.settings.radius
        for _ in range(self.settings.steps):
            ascent = self._ascent(shift, divergence)
            largest = self._per_text(ascent.abs().amax(dim=1), "amax").clamp(min=1e-12)
            shift = shift + self.settings.step_size * ascent / largest * self.attacked
            shift = shift.clamp(-radius, radius)
        return self._second_pass(clean, shift, divergence)

    def _clean(self) -> tuple[Losses, torch.Tensor]:
        """The plain pass, and the gradient of its loss at the word embeddings."""
        shape, device = self.passes.embedder.shape, self.texts.device
        added = torch.zeros(shape, device=device, requires_grad=True)
        return self.passes.run(added, self.passes.objective), _gradient(added)

    def _second_pass(
        self, clean: Losses, shift: torch.Tensor, objective: Objective | None = None
    ) -> Losses:
        """The clean loss, and that of `objective` (else the contrastive term) at `shift`."""
        weight = self.settings.weight
        objective = objective or self.passes.objective.only(CONTRASTIVE)
        value = self.passes.run(shift, objective, weight).total
        terms = {**clean.terms, self.settings.method: value}
        return Losses(clean.total + weight * value, terms, clean.embeddings)

    def _ascent(self, shift: torch.Tensor, objective: Objective) -> torch.Tensor:
        """The gradient of the loss at `shift`, without touching any parameter's gradient."""
        added = shift.detach().requires_grad_()
        terms: list[Any] = list(objective.modules().values())
        with _frozen([self.passes.embedder.model, *terms]), self.passes.embedder.frozen():
            self.passes.run(added, objective)
        return _gradient(added)

    def _random_start(self) -> torch.Tensor:
        """Uniform, of norm about `start` per text (FreeLB); normal with that deviation (SMART)."""
        random = torch.Generator().manual_seed(self.passes.seed)
        tokens, dimensions = self.passes.embedder.shape
        if self.settings.method == "smart":
            noise = torch.randn((tokens, dimensions), generator=random) * self.settings.start
        else:
            lengths = self._per_text(torch.ones(tokens), "sum").cpu()
            scale = self.settings.start / (lengths * dimensions).sqrt()
            noise = (2 * torch.rand((tokens, dimensions), generator=random) - 1) * scale
        return noise.to(self.texts.device) * self.attacked

    def _directions(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient with norm 1 for each text that is attacked, 0 for the others."""
        return gradient / self._norms(gradient).clamp(min=1e-12) * self.attacked

    def _projected(self, shift: torch.Tensor) -> torch.Tensor:
        return shift * (self.settings.radius / self._norms(shift).clamp(min=1e-12)).clamp(max=1)

    def _norms(self, values: torch.Tensor) -> torch.Tensor:
        """l2 norm of each token's whole text."""
        return self._per_text(values.square().sum(dim=1), "sum").sqrt()

    def _per_text(self, values: torch.Tensor, reduce: str) -> torch.Tensor:
        """Values [tokens] reduced over each text and given back to its tokens."""
        zeros = torch.zeros(len(self.passes.batch.texts), device=self.texts.device)
        reduced = zeros.scatter_reduce(0, self.texts, values.to(self.texts.device), reduce=reduce)
        return reduced[self.texts][:, None]


def _gradient(added: torch.Tensor) -> torch.Tensor:
    if added.grad is None:
        raise RuntimeError("the loss does not depend on the perturbation")
    return added.grad


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


class _Divergence:
    """Symmetric KL of the batch's score distributions against given ones."""

    def __init__(self, clean: Embeddings, temperature: float = 0.05) -> None:
        self._temperature = temperature
        self._clean = self._log_scores(clean)

    def _log_scores(self, batch: Embeddings) -> torch.Tensor:
        scores = batch.queries.float() @ batch.candidates.float().T
        return (scores / self._temperature).log_softmax(dim=1)

    def __call__(self, batch: Embeddings) -> torch.Tensor:
        shifted = self._log_scores(batch)
        return ((shifted.exp() - self._clean.exp()) * (shifted - self._clean)).sum(dim=1).mean()
