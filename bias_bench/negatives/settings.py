"""Settings of hard-negative mining."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Languages = Literal["same", "cross", "any", "balanced"]
Reference = Literal["parallel", "highest", "lowest"]


class MiningSettings(BaseModel):
    """What counts as a hard negative, and how many are kept.

    `number` negatives are kept per query, the most similar first. Ranks count the candidates a
    query may have, from 1, within each language by itself, since similarities of different
    languages do not compare; `first_rank` to `last_rank` is the window that negatives come from.
    ANCE (arXiv:2007.00808) draws from the first 200: ``number=200`` keeps them all to draw from.

    `relative_margin` m leaves out what may be an answer that nobody labelled, after TopK-PercPos
    of NV-Retriever (arXiv:2407.15831), which keeps s- < (1 - m) s+; here s- <= s+ - m |s+|, so that
    the limit lies below s+ also where s+ is negative. None sets no limit. `margin_reference` says
    which s+ where a query has several positives: ``parallel`` the best positive in the candidate's
    own language, so that an encoder's preference for a language cancels out; in a language without
    one the best in the query's language, else the best of all. ``highest`` and ``lowest`` are the
    best and the worst of all positives.

    `languages`: ``same`` the query's own, ``cross`` all others, ``any`` whatever is most similar,
    ``balanced`` evenly from all languages of the data set, so that over all queries a candidate's
    language does not tell that it is a negative. For as many in the language of every positive
    (`sampling.draw` can ask for that), `number` is a multiple of the number of languages.

    `across_data_sets` also mines the candidates of other data sets than the query's. `memory_mb`
    bounds what mining needs beside its inputs, its result and a few integers per text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int = Field(default=22, ge=1)
    first_rank: int = Field(default=1, ge=1)
    last_rank: int = Field(default=200, ge=1)
    relative_margin: float | None = Field(default=0.05, ge=0, allow_inf_nan=False)
    margin_reference: Reference = "parallel"
    languages: Languages = "same"
    across_data_sets: bool = False
    memory_mb: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _window(self) -> MiningSettings:
        if self.last_rank < self.first_rank:
            raise ValueError(
                f"last_rank {self.last_rank} lies before first_rank {self.first_rank}; "
                "no rank is left"
            )
        return self
