"""What settings are made of: names to choose from, and settings of systems without an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FUSION = "fusion:"  # begins a recipe that names finished runs, with FUSION_SEPARATOR between them
FUSION_SEPARATOR = "+"
FINISHED_RUNS = "runs"  # what stands in place of an encoder's name for a fusion
LUCENE = "lucene"  # what stands in place of an encoder's name for a lexical system

Pooling = Literal[
    "mean", "cls", "pooler", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"
]
Similarity = Literal["cosine", "dot"]
DebiasMethod = Literal["centre", "centre-sides", "lir", "leace"]  # see `encoders.debias`


class Strict(BaseModel):
    """Settings that cannot be changed, and of which an unknown key is an error.

    The text below a field is its meaning, also on the page of settings in the documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LexicalOptions(Strict):
    """BM25 in place of an encoder, by Lucene; the defaults are Anserini's."""

    k1: float = Field(default=0.9, ge=0, allow_inf_nan=False)
    """Saturation of the frequency of a term in a text; 0 counts a term once."""
    b: float = Field(default=0.4, ge=0, le=1)
    """Normalisation by the length of a text; 0 is none."""


class FusionOptions(Strict):
    """Rankings of finished runs as one, by reciprocal rank or as a weighted sum of scores."""

    runs: list[str] = Field(min_length=2)
    """Folders of finished runs of one benchmark."""
    method: Literal["rrf", "wsum"] = "rrf"
    """`rrf`: the sum of 1 / (k + rank) (Cormack, Clarke and Büttcher 2009); `wsum`: the weighted
    sum of normalised scores."""
    k: int = Field(default=60, ge=1)
    """Of `rrf`."""
    normalisation: Literal["min-max", "max", "sum", "zmuv"] = "min-max"
    """Of the scores of each query in each ranking, for `wsum`."""
    weights: list[float] | None = None
    """Of `wsum`, one for each run; none: all equal."""

    @model_validator(mode="after")
    def _one_weight_a_run(self) -> FusionOptions:
        if self.weights is not None and len(self.weights) != len(self.runs):
            raise ValueError(f"{len(self.weights)} weights for {len(self.runs)} runs")
        return self

    @property
    def names(self) -> list[str]:
        """What tells the runs apart: the names of their folders."""
        return [Path(run).name for run in self.runs]
