"""Settings of training, the part `training` of an experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bias_bench.errors import nearest
from bias_bench.negatives.settings import MiningSettings
from bias_bench.training.plan import KINDS, Order


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContrastiveSettings(_Strict):
    """The contrastive term; see `terms.contrastive`."""

    learned_temperature: bool = False
    direction: Literal["query_to_candidate", "candidate_to_query", "both"] = "query_to_candidate"
    denominator: Literal["batch", "hard_negatives"] = "batch"


class AdversarySettings(_Strict):
    """The language adversary; see `terms.language_adversary`. `strength` is λ_max."""

    strength: float = Field(default=0.1, ge=0)
    method: Literal["reversal", "confusion"] = "reversal"
    hidden: int = Field(default=256, ge=1)
    queue: int = Field(default=512, ge=0)
    alternate: bool = False
    learning_rate_factor: float = Field(default=10.0, gt=0)


class BankSettings(_Strict):
    """The bank of learned negatives; see `terms.negative_bank`."""

    weight: float = Field(default=0.02, ge=0)
    size: int = Field(default=2048, ge=1)
    temperature: float = Field(default=0.05, gt=0)
    guard: float = Field(default=0.95, gt=0, le=1)
    per_language: bool = True
    learning_rate_factor: float = Field(default=100.0, gt=0)


class DistillationSettings(_Strict):
    """Nearness to the scores at the start; see `terms.distillation`."""

    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=0.05, gt=0)
    same_language: bool = True


# What a method takes where nothing else is said. FGM's radius was chosen on held-out data, PGD's
# step is published as 0.3 of it; FreeLB's are published. SMART's published 1e-6 (radius), 1e-3 and
# 1e-5 come to nothing: a gradient of 2e-5 of the loss's in float32, less than bf16 rounds away.
_PERTURBATIONS = {
    "fgm": {"radius": 0.1, "step_size": 0.3, "steps": 3, "start": 0.0},
    "pgd": {"radius": 0.1, "step_size": 0.03, "steps": 3, "start": 0.0},
    "freelb": {"radius": 0.7, "step_size": 0.1, "steps": 3, "start": 0.1},
    "smart": {"radius": 0.01, "step_size": 0.01, "steps": 1, "start": 0.001},
}


class PerturbationSettings(_Strict):
    """Adversarial perturbation of word embeddings; see `perturbation.Attack`.

    Each method has defaults of its own. FGM takes `radius` alone, PGD no `start`.
    """

    method: Literal["fgm", "pgd", "freelb", "smart"] = "fgm"
    radius: float = Field(ge=0, allow_inf_nan=False)
    step_size: float = Field(gt=0, allow_inf_nan=False)
    steps: int = Field(ge=1)
    start: float = Field(ge=0, allow_inf_nan=False)
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    sides: Literal["queries", "both"] = "queries"

    @model_validator(mode="before")
    @classmethod
    def _of_method(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        method = given.get("method", "fgm")
        known = isinstance(method, str) and method in _PERTURBATIONS
        return {**_PERTURBATIONS[method if known else "fgm"], **given}

    @model_validator(mode="after")
    def _works(self) -> PerturbationSettings:
        """What can only leave the texts as they are is refused; a radius of 0 asks for that."""
        if self.start == 0 and self.method == "smart":
            raise ValueError(
                "smart needs a start above 0, as at the text itself the scores have no gradient"
            )
        if self.start == 0 and self.method == "freelb" and self.steps == 1:
            raise ValueError("freelb in 1 step needs a start above 0, as it ends where it starts")
        return self


class NegativesSettings(_Strict):
    """Hard negatives: `per_query` stand in a batch for each query, drawn from those it has.

    `source` ``given`` takes those that came with the training data, ``mined`` mines them with
    `encoder`, by default the backbone itself, or ``lucene`` for BM25; every `refresh_epochs` epochs
    (or parts of one) they are mined anew with the encoder as trained so far, after ANCE
    (arXiv:2007.00808).
    """

    source: Literal["given", "mined"] = "mined"
    per_query: int = Field(default=1, ge=1)
    encoder: str | None = None
    refresh_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    mining: MiningSettings = MiningSettings()


class TermSettings(_Strict):
    """What the objective has besides the contrastive term; None leaves a term out."""

    language_adversary: AdversarySettings | None = None
    negative_bank: BankSettings | None = None
    distillation: DistillationSettings | None = None
    perturbation: PerturbationSettings | None = None


class TrainingSettings(_Strict):
    """How to train; steps = 0 is no training.

    Where arXiv:2408.10536 gives a value it is the default: AdamW with weight decay 0.01, learning
    rate 3e-5, batch size 100. Lengths are in tokens, prefixes and special tokens included. Prefixes
    are of a plain language model, which states none; an encoder keeps its own.
    `trim_vocabulary` auto trims where the tokenizer allows it exactly. `accumulate` batches make a
    step, their gradients averaged. `stored_precision` is of the saved weights, and evaluation takes
    them as saved.
    """

    steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=100, ge=2)
    learning_rate: float = Field(default=3e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=0.03, gt=0)
    query_max_length: int = Field(default=64, ge=4)
    candidate_max_length: int = Field(default=96, ge=4)
    query_prefix: str = "query: "
    candidate_prefix: str = "passage: "
    chunk_tokens: int = Field(default=512, ge=16)
    gradient_cache: bool = False
    precision: Literal["auto", "float32", "bf16"] = "auto"
    mixture: dict[str, float] = {"mono": 0.5, "cross": 0.5}
    sources: list[str | dict[str, Any]] | None = None
    dataset_exponent: float = Field(default=1.0, ge=0)
    order: Order = "language_first"
    contrastive: ContrastiveSettings = ContrastiveSettings()
    terms: TermSettings = TermSettings()
    negatives: NegativesSettings | None = None
    accumulate: int = Field(default=1, ge=1)
    stored_precision: Literal["float16", "float32"] = "float16"
    trim_vocabulary: Literal["auto", "always", "never"] = "auto"
    freeze_word_embeddings: bool = False
    held_out: float = Field(default=0.0, ge=0, lt=0.5)
    evaluate_every: int = Field(default=50, ge=1)
    patience: int = Field(default=4, ge=1)
    checkpoint_every: int = Field(default=50, ge=1)

    @field_validator("mixture")
    @classmethod
    def _kinds(cls, mixture: dict[str, float]) -> dict[str, float]:
        """A misspelt kind is found before any work, not when batches are planned."""
        for kind in mixture:
            if kind not in KINDS:
                raise ValueError(f"unknown kind of batch '{kind}': {nearest(kind, KINDS)}")
        return mixture
