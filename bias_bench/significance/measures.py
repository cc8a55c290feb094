"""What can be compared, and which way is better: the one place that knows.

Retrieval metrics are those of scores.parquet (higher is better, as `evaluation.metrics` says); bias
metrics those of `bias.catalogue.per_query_bias`, in the pool of all languages only.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Direction = Literal["higher", "lower", "none"]


class Measure(NamedTuple):
    """A metric as comparisons show it.

    `direction` says which values are better; "none" where both large and small ones are a fault,
    and then `neutral` names the value without bias. `digits` are decimals to print, `unit` follows
    the name.
    """

    name: str
    direction: Direction
    unit: str
    digits: int
    bias: bool
    neutral: str = ""

    @property
    def better(self) -> str:
        """The direction in words."""
        if self.direction == "none":
            return f"neither higher nor lower is better; without bias it is {self.neutral}"
        return f"{self.direction} is better"

    @property
    def higher_is_better(self) -> bool:
        """Whether an increase counts as a win; so it does where there is no better direction."""
        return self.direction != "lower"


_RANKS = "ranks in the pool of all languages"
BIAS_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("rank_distance", "lower", _RANKS, 1, bias=True),
        Measure("log_rank_distance", "lower", "natural logarithm of ranks", 3, bias=True),
        Measure("mean_pairwise_distance", "lower", _RANKS, 1, bias=True),
        Measure("worst_rank", "lower", _RANKS, 1, bias=True),
        Measure(
            "same_language_first", "none", "share of queries", 4, bias=True,
            neutral="1 / the number of languages in which the topic is answered",
        ),
        Measure("target_removal", "none", "difference of two losses of AP", 4, True, "0"),
    )
}  # fmt: skip


def score_measure(name: str) -> Measure:
    """A metric of scores.parquet: in [0, 1], higher is better."""
    return Measure(name, "higher", "from 0 to 1", 4, bias=False)
