"""Language adversary: a discriminator learns to tell languages from embeddings, the encoder to
make it fail.

Gradient reversal (Ganin et al. 2016, arXiv:1505.07818): the encoder gets -λ times the gradient of
the discriminator's cross-entropy. Confusion (Tzeng et al. 2015, arXiv:1510.02192): it gets λ times
the gradient of the cross-entropy with the uniform distribution, which does not grow as it succeeds.
λ rises over training as λ_max (2 / (1 + exp(-10 p)) - 1), p the share of training done.

A monolingual batch shows one language only, so a queue of recent embeddings stands beside it, for
the discriminator alone. A fooled training discriminator proves nothing about the embeddings; that
takes a fresh probe.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import cross_entropy

from bias_bench.config.training import AdversarySettings
from bias_bench.errors import UsageError
from bias_bench.training.objective import Embeddings


class LanguageAdversary(torch.nn.Module):
    """Its value is the discriminator's cross-entropy in nats; the encoder's part adds gradients.

    Of embeddings [rows, `dimensions`] in `languages` >= 2, numbered from 0; `seed` starts the
    discriminator.
    """

    def __init__(
        self, dimensions: int, languages: int, settings: AdversarySettings, seed: int
    ) -> None:
        super().__init__()
        if languages < 2:
            raise UsageError(
                "training.terms.language_adversary: the training pairs hold one language only; "
                "give pairs of several, or leave the adversary out"
            )
        self.settings = settings
        self.observed: dict[str, float] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = torch.nn.Sequential(
                torch.nn.Linear(dimensions, settings.hidden),
                torch.nn.LeakyReLU(0.2),
                torch.nn.Linear(settings.hidden, languages),
            )
        size = settings.queue
        self.register_buffer("queue", torch.zeros(size, dimensions))
        self.register_buffer("queue_languages", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Embeddings) -> torch.Tensor:
        vectors = torch.cat([batch.queries, batch.candidates])
        languages = torch.cat([batch.query_languages, batch.candidate_languages])
        known = vectors.detach()
        filled = self.queue_languages >= 0
        logits = self.discriminator(torch.cat([known, self.queue[filled]]) * self._scale)
        loss = cross_entropy(logits, torch.cat([languages, self.queue_languages[filled]]))
        correct = logits[: len(known)].argmax(dim=1) == languages
        strength = self.settings.strength * schedule(batch.progress)
        self.observed = {"accuracy": correct.float().mean().item(), "strength": strength}
        turn = bool(self.calls % 2)
        if self.training:
            self._remember(known, languages)
            self.calls += 1
        if self.settings.alternate and turn:
            loss = loss.detach()
        if strength and (turn or not self.settings.alternate):
            pressure = strength * self._pressure(vectors, languages)
            loss = loss + (pressure - pressure.detach())
        return loss

    @property
    def _scale(self) -> float:
        """Unit vectors have entries of about 1/sqrt(d); linear layers expect about 1."""
        return math.sqrt(self.queue.shape[1])

    def _pressure(self, vectors: torch.Tensor, languages: torch.Tensor) -> torch.Tensor:
        """What the encoder lowers; the discriminator is held fixed."""
        fixed = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        logits = torch.func.functional_call(self.discriminator, fixed, (vectors * self._scale,))
        if self.settings.method == "reversal":
            return -cross_entropy(logits, languages)
        return -logits.log_softmax(dim=1).mean(dim=1).mean()

    def _remember(self, vectors: torch.Tensor, languages: torch.Tensor) -> None:
        """Put every second vector into the ring, so that it reaches back twice as many batches."""
        size = len(self.queue)
        if not size:
            return
        vectors, languages = vectors[::2][:size], languages[::2][:size]
        rows = (self.seen + torch.arange(len(vectors), device=vectors.device)) % size
        self.queue[rows], self.queue_languages[rows] = vectors, languages
        self.seen += len(vectors)


def schedule(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1: from 0 at the start to nearly 1 at the end."""
    return 2 / (1 + math.exp(-10 * progress)) - 1
