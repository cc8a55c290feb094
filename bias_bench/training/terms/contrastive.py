"""Contrastive term: InfoNCE on cosine with in-batch and hard negatives, group-masked.

Of query i with positive i: -log(exp(s_ii / T) / sum_j exp(s_ij / T)) over the candidates of the
batch (van den Oord et al. 2018, arXiv:1807.03748). A candidate of query i's group that is not its
positive is a false negative and is left out of the sum. All sums are taken in float32.
"""

from __future__ import annotations

import math

import torch

from bias_bench.config.training import ContrastiveSettings
from bias_bench.training.objective import Embeddings

_SMALLEST_TEMPERATURE = 0.01


class Contrastive(torch.nn.Module):
    """InfoNCE. The temperature T > 0 is fixed, or learned from that start on, as `settings` say."""

    def __init__(self, temperature: float, settings: ContrastiveSettings) -> None:
        super().__init__()
        self.settings = settings
        log_scale = torch.tensor(-math.log(temperature), dtype=torch.float32)
        if settings.learned_temperature:
            self.log_scale = torch.nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    @property
    def temperature(self) -> float:
        """The present temperature; a learned one does not fall below 0.01."""
        return 1 / self._scale().item()

    def forward(self, batch: Embeddings) -> torch.Tensor:
        losses = []
        if self.settings.direction != "candidate_to_query":
            losses.append(self._loss(batch.queries, batch.candidates, self._query_mask(batch)))
        if self.settings.direction != "query_to_candidate":
            positives = batch.candidates[: len(batch.queries)]
            losses.append(self._loss(positives, batch.queries, _false_negatives(batch).T))
        return torch.stack(losses).mean()

    def _scale(self) -> torch.Tensor:
        return self.log_scale.exp().clamp(max=1 / _SMALLEST_TEMPERATURE)

    def _query_mask(self, batch: Embeddings) -> torch.Tensor:
        size = len(batch.queries)
        device = batch.queries.device
        positive = torch.eye(size, len(batch.candidates), dtype=torch.bool, device=device)
        false = (batch.query_groups[:, None] == batch.candidate_groups[None, :]) & ~positive
        if self.settings.denominator == "hard_negatives":
            if len(batch.candidates) == size:
                raise ValueError("denominator hard_negatives needs hard negatives in the batch")
            false[:, :size] |= ~positive[:, :size]
        return false

    def _loss(
        self, asking: torch.Tensor, answers: torch.Tensor, left_out: torch.Tensor
    ) -> torch.Tensor:
        """Of rows [B, d], each of which has the answer of its number as its positive."""
        logits = (asking.float() @ answers.float().T) * self._scale()
        logits = logits.masked_fill(left_out, -torch.inf)
        positive = torch.arange(len(asking), device=asking.device)
        return torch.nn.functional.cross_entropy(logits, positive)


def _false_negatives(batch: Embeddings) -> torch.Tensor:
    """Different rows of one group, bool [B, B]."""
    size = len(batch.queries)
    same = batch.query_groups[:, None] == batch.candidate_groups[None, :size]
    return same & ~torch.eye(size, dtype=torch.bool, device=same.device)
