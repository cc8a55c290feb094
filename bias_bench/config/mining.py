"""Settings of hard-negative mining."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bias_bench.config.kinds import Strict

Languages = Literal["same", "cross", "any", "balanced"]


class MiningSettings(Strict):
    """What counts as a hard negative, and how many are kept.

    Ranks count the candidates that a query may have, from 1, within each language by itself, since
    similarities of different languages do not compare. ANCE (arXiv:2007.00808) draws from the first
    200: ``number=200`` keeps them all to draw from.
    """

    number: int = Field(default=22, ge=1)
    """Negatives that are kept for each query, the most similar first."""
    first_rank: int = Field(default=1, ge=1)
    """The first rank that negatives come from."""
    last_rank: int = Field(default=200, ge=1)
    """The last rank that negatives come from."""
    relative_margin: float | None = Field(default=0.05, ge=0, allow_inf_nan=False)
    """Leaves out what may be an answer that nobody labelled: a negative's similarity is at most s -
    m |s|, with m this margin and s the similarity of a positive; after TopK-PercPos of NV-Retriever
    (arXiv:2407.15831), but below s also where s is negative. None: no limit."""
    margin_reference: Literal["parallel", "highest", "lowest"] = "parallel"
    """Which positive, of several. `parallel`: the best in the candidate's own language, so that an
    encoder's preference for a language cancels out; in a language without one the best in the
    query's language, else the best of all. `highest`, `lowest`: the best or the worst of all."""
    languages: Languages = "same"
    """`same`: the query's own; `cross`: all others; `any`: whatever is most similar; `balanced`:
    evenly from all languages of the data set, so that over all queries a candidate's language does
    not tell that it is a negative (take a multiple of the number of languages as `number`)."""
    across_data_sets: bool = False
    """Whether candidates of other data sets than the query's are mined too."""
    memory_mb: int = Field(default=1024, ge=1)
    """Megabytes that mining may take beside its inputs, its result and a few integers per text."""

    @model_validator(mode="after")
    def _window(self) -> MiningSettings:
        if self.last_rank < self.first_rank:
            raise ValueError(
                f"last_rank {self.last_rank} lies before first_rank {self.first_rank}; "
                "no rank is left"
            )
        return self
