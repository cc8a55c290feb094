"""Settings and names of systems that encode nothing themselves: BM25, and finished runs as one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FUSION = "fusion:"  # begins a recipe that names finished runs, with FUSION_SEPARATOR between them
FUSION_SEPARATOR = "+"
FINISHED_RUNS = "runs"  # what stands in place of an encoder's name for a fusion
LUCENE = "lucene"  # what stands in place of an encoder's name for a lexical system


class Strict(BaseModel):
    """Settings that cannot be changed, and of which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LexicalOptions(Strict):
    """BM25 in place of an encoder: saturation of term frequency, and length normalisation."""

    k1: float = Field(default=0.9, ge=0, allow_inf_nan=False)
    b: float = Field(default=0.4, ge=0, le=1)


class FusionOptions(Strict):
    """Rankings of finished `runs` (folders) as one, by reciprocal rank or as a weighted sum.

    `k` belongs to ``rrf`` (Cormack, Clarke and Büttcher 2009), `normalisation` of each ranking's
    scores and `weights` (one for each run; None: all equal) to ``wsum``.
    """

    runs: list[str] = Field(min_length=2)
    method: Literal["rrf", "wsum"] = "rrf"
    k: int = Field(default=60, ge=1)
    normalisation: Literal["min-max", "max", "sum", "zmuv"] = "min-max"
    weights: list[float] | None = None

    @model_validator(mode="after")
    def _one_weight_a_run(self) -> FusionOptions:
        if self.weights is not None and len(self.weights) != len(self.runs):
            raise ValueError(f"{len(self.weights)} weights for {len(self.runs)} runs")
        return self

    @property
    def names(self) -> list[str]:
        """What tells the runs apart: the names of their folders."""
        return [Path(run).name for run in self.runs]
