"""What can be compared, and which way is better: the one place that knows.

Retrieval metrics are those of scores.parquet (higher is better, as `evaluation.metrics` says); bias
metrics those of `bias.catalogue.query_bias`, and metrics of robustness means over the perturbations
of a query (`robustness.table`), both in the pool of all languages only. Ranks can be taken as known
down to a cut-off only; it is then in the metric's name (`rank_distance@100`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Direction = Literal["higher", "lower", "none"]
Source = Literal["scores", "bias", "robustness"]


class Measure(NamedTuple):
    """A metric as comparisons show it. `name` prints and parses back, with `parse_measure`.

    `direction` says which values are better; "none" where both large and small ones are a fault,
    and then `neutral` names the value without bias. `digits` are decimals to print, `unit` follows
    the name. `source` is where values come from. With a cut-off, `capped_unit` takes the place of
    `unit`, with {k} the cut-off and {past} the rank of what is deeper; empty for what no cut-off
    of the ranks changes. A `cutoff` of 0 is none.
    """

    name: str
    direction: Direction
    unit: str
    digits: int
    source: Source
    neutral: str = ""
    capped_unit: str = ""
    cutoff: int = 0

    @property
    def base(self) -> str:
        """The name without the cut-off."""
        return self.name.partition("@")[0]

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

    def capped(self, cutoff: int) -> Measure:
        """The same of ranks known down to `cutoff` only; itself where that changes nothing."""
        if not self.capped_unit or not cutoff:
            return self
        return self._replace(
            name=capped_name(self.base, cutoff),
            unit=self.capped_unit.format(k=cutoff, past=cutoff + 1),
            cutoff=cutoff,
        )


_RANKS = "ranks in the pool of all languages"
_DEEPER = ", at most {past:,} where not in the top {k:,}"
_LOG = "natural logarithm of ranks"
BIAS_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("rank_distance", "lower", _RANKS, 1, "bias", capped_unit=_RANKS + _DEEPER),
        Measure("log_rank_distance", "lower", _LOG, 3, "bias", capped_unit=_LOG + _DEEPER),
        Measure("mean_pairwise_distance", "lower", _RANKS, 1, "bias", capped_unit=_RANKS + _DEEPER),
        Measure("worst_rank", "lower", _RANKS, 1, "bias", capped_unit=_RANKS + _DEEPER),
        Measure(
            "same_language_first", "none", "share of queries", 4, "bias",
            neutral="1 / the number of languages in which the topic is answered",
            capped_unit="share of queries with a parallel candidate in the top {k}",
        ),
        Measure(
            "same_language_top1", "none", "share of queries", 4, "bias",
            neutral="the language's share of the pool",
        ),
        Measure(
            "target_removal", "none", "difference of two losses of AP", 4, "bias", neutral="0",
            capped_unit="difference of two losses of AP@{k}",
        ),
    )
}  # fmt: skip

_PERTURBED = "mean over perturbations, in the pool of all languages"
ROBUSTNESS_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("perturbed_AP", "higher", f"from 0 to 1, {_PERTURBED}", 4, "robustness"),
        Measure("perturbation_loss", "lower", f"AP lost, {_PERTURBED}", 4, "robustness"),
        Measure("perturbation_overlap", "higher", f"from 0 to 1, {_PERTURBED}", 4, "robustness"),
    )
}
MEASURES = {**BIAS_MEASURES, **ROBUSTNESS_MEASURES}  # all but those of scores.parquet


def score_measure(name: str) -> Measure:
    """A metric of scores.parquet: in [0, 1], higher is better."""
    return Measure(name, "higher", "from 0 to 1", 4, "scores")


def parse_measure(name: str) -> Measure:
    """The measure that prints as `name`, one of `MEASURES` or else one of scores.parquet."""
    base, _, cutoff = name.partition("@")
    known = MEASURES.get(base)
    if known and cutoff.isdecimal() and known.capped(int(cutoff)).name == name:
        return known.capped(int(cutoff))
    return known if known and name == base else score_measure(name)


def capped_name(name: str, cutoff: int | None) -> str:
    """The name of a metric that ends at a cut-off: it is always in the name; 0 or None is none."""
    return f"{name}@{cutoff}" if cutoff else name
