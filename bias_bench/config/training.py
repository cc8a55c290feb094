"""Settings of training, the part `training` of an experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bias_bench.config.kinds import Strict
from bias_bench.config.mining import MiningSettings
from bias_bench.errors import nearest

KINDS = ("mono", "mixed", "cross")  # of batches, see `plan`
Order = Literal["language_first", "dataset_first"]


class ContrastiveSettings(Strict):
    """The contrastive term: InfoNCE on the cosine (arXiv:1807.03748)."""

    learned_temperature: bool = False
    """Learn the temperature, from `training.temperature` on."""
    direction: Literal["query_to_candidate", "candidate_to_query", "both"] = "query_to_candidate"
    """`query_to_candidate` asks each query for its candidate, `candidate_to_query` each positive
    for its query (hard negatives take no part), `both` is their mean."""
    denominator: Literal["batch", "hard_negatives"] = "batch"
    """`batch` sums over all candidates of the batch, `hard_negatives` over the positive and the
    hard negatives alone, as equation (1) of arXiv:2408.10536 is printed."""


class AdversarySettings(Strict):
    """A discriminator learns to tell languages from embeddings, the encoder to make it fail."""

    strength: float = Field(default=0.1, ge=0)
    """λ_max, reached over training."""
    method: Literal["reversal", "confusion"] = "reversal"
    """Gradient reversal (arXiv:1505.07818), or confusion (arXiv:1510.02192)."""
    hidden: int = Field(default=256, ge=1)
    """Units of the discriminator's hidden layer."""
    queue: int = Field(default=512, ge=0)
    """Recent embeddings that the discriminator sees beside those of a batch."""
    alternate: bool = False
    """Discriminator and encoder learn in turns (after arXiv:2404.14339), else both in every
    step."""
    learning_rate_factor: float = Field(default=10.0, gt=0)
    """The discriminator's learning rate, as a multiple of the encoder's."""


class BankSettings(Strict):
    """Negatives that are free parameters and learn to be hard (AdCo, arXiv:2011.08435)."""

    weight: float = Field(default=0.02, ge=0)
    """Of the term in the objective."""
    size: int = Field(default=2048, ge=1)
    """Vectors in the bank."""
    temperature: float = Field(default=0.05, gt=0)
    """Of the cosine, in this term."""
    guard: float = Field(default=0.95, gt=0, le=1)
    """Protects true positives: a vector whose cosine with the query is above s - (1 - guard) |s|, s
    the positive's, is left out."""
    per_language: bool = True
    """A query meets the bank's vectors of its positive's language only, so that language cannot
    tell them from a positive."""
    learning_rate_factor: float = Field(default=100.0, gt=0)
    """The bank's learning rate, as a multiple of the encoder's."""


class DistillationSettings(Strict):
    """Scores in a batch stay near those at the start (arXiv:1503.02531, arXiv:2404.14339)."""

    weight: float = Field(default=1.0, ge=0)
    """Of the term in the objective."""
    temperature: float = Field(default=0.05, gt=0)
    """Of the cosine, in this term."""
    same_language: bool = True
    """Only candidates of the query's language count, for whose order the encoder at the start can
    be trusted."""


# What a method takes where nothing else is said. FGM's radius was chosen on held-out data, PGD's
# step is published as 0.3 of it; FreeLB's are published. SMART's published 1e-6 (radius), 1e-3 and
# 1e-5 come to nothing: a gradient of 2e-5 of the loss's in float32, less than bf16 rounds away.
_PERTURBATIONS = {
    "fgm": {"radius": 0.1, "step_size": 0.3, "steps": 3, "start": 0.0},
    "pgd": {"radius": 0.1, "step_size": 0.03, "steps": 3, "start": 0.0},
    "freelb": {"radius": 0.7, "step_size": 0.1, "steps": 3, "start": 0.1},
    "smart": {"radius": 0.01, "step_size": 0.01, "steps": 1, "start": 0.001},
}


class PerturbationSettings(Strict):
    """The loss at the worst nearby word embeddings. Each method has defaults of its own."""

    method: Literal["fgm", "pgd", "freelb", "smart"] = "fgm"
    """arXiv:1605.07725, arXiv:1706.06083, arXiv:1909.11764, arXiv:1911.03437."""
    radius: float = Field(ge=0, allow_inf_nan=False)
    """Bounds the l2 norm of a text's perturbation (`smart`: its largest entry), in units of word
    embeddings; 0 is plain training."""
    step_size: float = Field(gt=0, allow_inf_nan=False)
    """Of the ascent; `fgm` takes none."""
    steps: int = Field(ge=1)
    """Of the ascent; `fgm` takes one."""
    start: float = Field(ge=0, allow_inf_nan=False)
    """The norm at the random start (`freelb`), or the deviation of the noise (`smart`)."""
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Of the perturbed loss beside the plain one; `freelb` takes none."""
    sides: Literal["queries", "both"] = "queries"
    """Which texts are perturbed."""

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


class NegativesSettings(Strict):
    """Hard negatives beside the positives of a batch."""

    source: Literal["given", "mined"] = "mined"
    """`given` takes those that came with the training data, `mined` mines them."""
    per_query: int = Field(default=1, ge=1)
    """Negatives of each query in a batch, drawn again in every step, first those in the language of
    its positive."""
    encoder: str | None = None
    """Which encoder mines; none: the backbone. `lucene` is BM25, without a margin, and with no
    negative that shares no term with the query."""
    refresh_epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Mine again after this many epochs, or a part of one (0.1), with the encoder as trained so
    far, after ANCE (arXiv:2007.00808); none: never."""
    mining: MiningSettings = MiningSettings()


class TermSettings(Strict):
    """What the objective has besides the contrastive term; none leaves a term out."""

    language_adversary: AdversarySettings | None = None
    negative_bank: BankSettings | None = None
    distillation: DistillationSettings | None = None
    perturbation: PerturbationSettings | None = None


class TrainingSettings(Strict):
    """How to train. Where arXiv:2408.10536 gives a value it is the default.

    Lengths are in tokens, prefixes and special tokens included.
    """

    steps: int = Field(default=0, ge=0)
    """Steps of the optimizer; 0 trains nothing, recipes take 300."""
    batch_size: int = Field(default=100, ge=2)
    """Pairs in a batch; recipes take 64."""
    learning_rate: float = Field(default=3e-5, gt=0)
    """Of AdamW."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps in which the learning rate rises, linearly; then it falls, linearly."""
    clip: float = Field(default=1.0, gt=0)
    """The largest norm of the gradients, of the encoder and of each term by itself."""
    temperature: float = Field(default=0.03, gt=0)
    """Of the cosine; 1.0 is the literal reading of the paper."""
    query_max_length: int = Field(default=64, ge=4)
    """Tokens of a query in training; evaluation keeps the profile's."""
    candidate_max_length: int = Field(default=96, ge=4)
    """Tokens of a candidate in training; evaluation keeps the profile's."""
    query_prefix: str = "query: "
    """Before the queries of a plain language model; an encoder keeps what it states."""
    candidate_prefix: str = "passage: "
    """Before the candidates of a plain language model; an encoder keeps what it states."""
    chunk_tokens: int = Field(default=512, ge=16)
    """Tokens that are embedded at a time."""
    gradient_cache: bool = False
    """Bounds memory by one chunk of texts (arXiv:2101.06983)."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """`auto`: bf16 autocast where that is faster: GPUs and processors with bf16 matrix units, AMD
    with bf16 instructions; else float32."""
    mixture: dict[str, float] = Field(default={"mono": 0.5, "cross": 0.5})
    """Weights of the kinds of batch `mono`, `mixed` and `cross`; decided by the recipe."""
    sources: list[str | dict[str, Any]] | None = None
    """Training data, by name, folder or description; none: the benchmark's."""
    dataset_exponent: float = Field(default=1.0, ge=0)
    """Data sets have shares by (groups)^exponent."""
    order: Order = "language_first"
    """What is drawn first, the language of a batch or its data set."""
    contrastive: ContrastiveSettings = ContrastiveSettings()
    terms: TermSettings = TermSettings()
    negatives: NegativesSettings | None = None
    accumulate: int = Field(default=1, ge=1)
    """Batches in a step, their gradients averaged."""
    stored_precision: Literal["float16", "float32"] = "float16"
    """Of the saved weights; evaluation takes them as saved."""
    trim_vocabulary: Literal["auto", "always", "never"] = "auto"
    """Train only the word embeddings that training texts use. `auto`: where that can be done;
    `always`: an error where it cannot; `never`: train all."""
    freeze_word_embeddings: bool = False
    """Leave the word embeddings as they are."""
    held_out: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the groups that is held out of training, to keep the checkpoint with the lowest
    contrastive loss on it and to stop early; 0 keeps the last step."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps between two evaluations of what is held out."""
    patience: int = Field(default=4, ge=1)
    """Evaluations in a row without a lower loss after which training stops."""
    checkpoint_every: int = Field(default=50, ge=1)
    """Steps between two checkpoints."""

    @field_validator("mixture")
    @classmethod
    def _kinds(cls, mixture: dict[str, float]) -> dict[str, float]:
        for kind, weight in mixture.items():
            if kind not in KINDS:
                raise ValueError(f"unknown kind of batch '{kind}': {nearest(kind, KINDS)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{kind} has the weight {weight}: write a number from 0")
        if not any(mixture.values()):
            raise ValueError("at least one kind needs a weight above 0")
        return mixture
