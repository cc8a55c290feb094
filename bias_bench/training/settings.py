"""Settings of training, the part `training` of an experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bias_bench.training.plan import Order


class ContrastiveSettings(BaseModel):
    """The contrastive term; see `terms.contrastive`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    learned_temperature: bool = False
    direction: Literal["query_to_candidate", "candidate_to_query", "both"] = "query_to_candidate"


class TrainingSettings(BaseModel):
    """How to train; steps = 0 is no training.

    Where arXiv:2408.10536 gives a value it is the default: AdamW with weight decay 0.01, learning
    rate 3e-5, batch size 100. Lengths are in tokens, prefixes and special tokens included.
    `trim_vocabulary` auto trims where the tokenizer allows it exactly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=100, ge=2)
    learning_rate: float = Field(default=3e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=0.03, gt=0)
    query_max_length: int = Field(default=64, ge=4)
    candidate_max_length: int = Field(default=96, ge=4)
    chunk_tokens: int = Field(default=512, ge=16)
    gradient_cache: bool = False
    precision: Literal["auto", "float32", "bf16"] = "auto"
    mixture: dict[str, float] = {"mono": 0.5, "cross": 0.5}
    sources: list[str | dict[str, Any]] | None = None
    dataset_exponent: float = Field(default=1.0, ge=0)
    order: Order = "language_first"
    contrastive: ContrastiveSettings = ContrastiveSettings()
    trim_vocabulary: Literal["auto", "always", "never"] = "auto"
    freeze_word_embeddings: bool = False
    held_out: float = Field(default=0.05, ge=0, lt=0.5)
    evaluate_every: int = Field(default=50, ge=1)
    patience: int = Field(default=4, ge=1)
    checkpoint_every: int = Field(default=50, ge=1)
