"""Negative bank: negatives that are free parameters and learn to be hard (AdCo).

L = -log(exp(s_ii / T) / (exp(s_ii / T) + sum_k exp(q_i n_k / T))), which the encoder lowers and the
bank raises, by gradient ascent (Hu et al. 2021, arXiv:2011.08435). Differences from the reference:
the bank learns through the shared AdamW, at its own rate, instead of momentum SGD.
"""

from __future__ import annotations

import os

import torch
from torch.nn.functional import cross_entropy, normalize

from bias_bench.config.training import BankSettings
from bias_bench.errors import UsageError
from bias_bench.training.objective import Embeddings

_COPIES = 4  # parameter, gradient and the optimizer's two moments


class NegativeBank(torch.nn.Module):
    """Vectors [size, `dimensions`], each of a language; UsageError for more than memory holds."""

    def __init__(self, dimensions: int, settings: BankSettings) -> None:
        super().__init__()
        size = settings.size
        needed, there = size * dimensions * 4 * _COPIES, _memory()
        if needed > there / 2:
            raise UsageError(
                f"training.terms.negative_bank.size = {size}: needs {needed / 2**30:.1f} GB of "
                f"{there / 2**30:.1f} GB of memory; make it smaller"
            )
        self.settings = settings
        self.observed: dict[str, float] = {}
        self.bank = torch.nn.Parameter(torch.zeros(size, dimensions))
        self.register_buffer("languages", torch.full((size,), -1, dtype=torch.int64))

    def initialise(self, vectors: torch.Tensor, languages: torch.Tensor) -> None:
        """Start from vectors float32 [size, d] of real candidates in these languages [size]."""
        with torch.no_grad():
            self.bank.copy_(vectors)
            self.languages.copy_(languages)

    def forward(self, batch: Embeddings) -> torch.Tensor:
        size = len(batch.queries)
        ascending = 2 * self.bank.detach() - self.bank  # its value, and the other sign of gradient
        bank = normalize(ascending, dim=1)
        positive = (batch.queries * batch.candidates[:size]).sum(dim=1, keepdim=True).float()
        others = batch.queries.float() @ bank.T
        left_out = others > positive - (1 - self.settings.guard) * positive.abs()
        if self.settings.per_language:
            left_out |= batch.candidate_languages[:size, None] != self.languages[None]
        self.observed = {"left_out": left_out.float().mean().item()}
        logits = torch.cat([positive, others.masked_fill(left_out, -torch.inf)], dim=1)
        target = torch.zeros(size, dtype=torch.int64, device=logits.device)
        return cross_entropy(logits / self.settings.temperature, target)


def _memory() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
