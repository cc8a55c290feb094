"""What a training run is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from bias_bench.config.training import TrainingSettings
from bias_bench.encoders.backbone import Loaded
from bias_bench.encoders.encoder import padding_id
from bias_bench.encoders.profile import Profile
from bias_bench.system.processes import ALONE, Processes
from bias_bench.training.hard_negatives import HardNegatives
from bias_bench.training.step import Batch, Embedder, StepOptions


class Job(NamedTuple):
    """Everything a training run is made of; `digest` identifies it in checkpoints.

    `mine_again` gives the hard negatives of the encoder as it is after a step, the same ones when
    asked again.
    """

    loaded: Loaded
    profile: Profile
    settings: TrainingSettings
    seed: int
    device: str
    bf16: bool
    digest: str
    negatives: HardNegatives | None = None
    processes: Processes = ALONE
    mine_again: Callable[[int], HardNegatives] | None = None

    def embedder(self, batch: Batch, model: Any = None) -> Embedder:
        """What embeds the texts of `batch`; with the encoder that is trained, or another."""
        pad_id, pooling = padding_id(self.loaded.tokenizer), self.profile.pooling
        chosen = self.loaded.model if model is None else model
        return Embedder(chosen, pad_id, pooling, self.device, self.bf16, batch.texts)

    def step_options(self, seed: list[int]) -> StepOptions:
        """How batches are computed, dropout seeded by `seed` and by chunk."""
        settings = self.settings

        def seed_chunk(number: int) -> None:
            torch.manual_seed(np.random.SeedSequence([*seed, number]).generate_state(1)[0].item())

        return StepOptions(
            settings.chunk_tokens, settings.gradient_cache, seed_chunk, self.processes
        )
