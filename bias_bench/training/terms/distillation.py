"""Score distillation: the distribution of scores in the batch stays near the one at the start.

T² KL(softmax(t_i / T) || softmax(s_i / T)), mean over queries i, t_i the scores by the encoder as
it was before training (Hinton et al. 2015, arXiv:1503.02531; on top of an adversary after
arXiv:2404.14339). It holds the retrieval task in place while an adversary removes language.
"""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div

from bias_bench.config.training import DistillationSettings
from bias_bench.training.objective import Embeddings

_NO_SCORE = -1e4  # finite, so that 0 times it is 0


class Distillation(torch.nn.Module):
    """In nats, times T²; 0 where the scores are those of the start."""

    needs_teacher = True

    def __init__(self, settings: DistillationSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, batch: Embeddings) -> torch.Tensor:
        if batch.teacher is None:
            raise RuntimeError("distillation needs the teacher's vectors")
        size = len(batch.queries)
        student = batch.queries.float() @ batch.candidates.float().T
        teacher = batch.teacher[:size] @ batch.teacher[size:].T
        if self.settings.same_language:
            other = batch.query_languages[:, None] != batch.candidate_languages[None]
            several = (~other).sum(dim=1) > 1
            if not several.any():
                return student.sum() * 0
            student = student.masked_fill(other, _NO_SCORE)[several]
            teacher = teacher.masked_fill(other, _NO_SCORE)[several]
        temperature = self.settings.temperature
        expected = (teacher / temperature).log_softmax(dim=1)
        measured = (student / temperature).log_softmax(dim=1)
        divergence = kl_div(measured, expected, reduction="batchmean", log_target=True)
        return divergence * temperature**2
