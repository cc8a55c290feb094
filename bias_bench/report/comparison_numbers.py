"""Numbers of a comparison as people read them: what every printed form and the page share."""

from __future__ import annotations

from typing import NamedTuple

from bias_bench.evaluation.settings import KINDS, parse_setting
from bias_bench.report.wording import MISSING, signed
from bias_bench.significance.document import (
    AllPairs,
    Cell,
    ComparedSystem,
    ComparisonDocument,
    Interval,
)
from bias_bench.significance.measures import capped_name, parse_measure

KIND_TITLES = {
    "monolingual": "monolingual",
    "cross_lingual": "cross-lingual",
    "multilingual": "pool of all",
}


class Named(NamedTuple):
    """A setting, or a kind for its macro average, and its numbers."""

    name: str
    cell: Cell


class KindSummary(NamedTuple):
    """The settings of one kind in short.

    `better` and `worse` count differences by the metric's direction (larger and smaller ones where
    it has none), `*_shown` those of them that are significant. `best` and `worst` are the extremes.
    """

    kind: str
    settings: int
    better: int
    worse: int
    better_shown: int
    worse_shown: int
    best: Named
    worst: Named


class Numbers:
    """Formats one comparison's numbers, in its metric's decimals.

    `count_words` and `extreme_words` are what an improvement, or the largest one, and its opposite
    are called.
    """

    def __init__(self, result: ComparisonDocument) -> None:
        self.result = result
        self.measure = parse_measure(result.metric)
        directed = self.measure.direction != "none"
        self.count_words = ("better", "worse") if directed else ("higher", "lower")
        self.extreme_words = ("best", "worst") if directed else ("highest", "lowest")

    def value(self, number: float | None) -> str:
        return MISSING if number is None else f"{number:,.{self.measure.digits}f}"

    def signed(self, number: float | None) -> str:
        """With its sign, as a true minus."""
        return MISSING if number is None else signed(number, self.measure.digits)

    def interval(self, bounds: Interval) -> str:
        low, high = bounds
        return MISSING if low is None else f"[{self.signed(low)}, {self.signed(high)}]"

    def p(self, number: float | None) -> str:
        if number is None:
            return MISSING
        return "<0.001" if number < 0.001 else f"{number:.3f}"

    def effect(self, number: float | None) -> str:
        return MISSING if number is None else signed(number, 2)

    def shown(self, cell: Cell) -> bool:
        """Whether the adjusted p-value is below the level."""
        return cell.p_adjusted is not None and cell.p_adjusted < self.result.level

    def gain(self, difference: float) -> float:
        """The difference, positive where it is an improvement (an increase without direction)."""
        return difference if self.measure.higher_is_better else -difference

    def summaries(self, entry: ComparedSystem) -> list[KindSummary]:
        """One system's settings in short, kind by kind."""
        summaries = []
        for kind in kinds_of(entry):
            settings = settings_of(entry, kind)
            ordered = sorted(settings, key=lambda named: self.gain(named.cell.difference))
            better = [named.cell for named in settings if self.gain(named.cell.difference) > 0]
            worse = [named.cell for named in settings if self.gain(named.cell.difference) < 0]
            summaries.append(
                KindSummary(
                    kind,
                    settings=len(settings),
                    better=len(better),
                    worse=len(worse),
                    better_shown=sum(map(self.shown, better)),
                    worse_shown=sum(map(self.shown, worse)),
                    best=ordered[-1],
                    worst=ordered[0],
                )
            )
        return summaries


def kinds_of(entry: ComparedSystem | AllPairs) -> list[str]:
    """The kinds of setting that systems were compared on, in their usual order."""
    return [kind for kind in KINDS if kind in entry.groups]


def settings_of(entry: ComparedSystem, kind: str) -> list[Named]:
    """One system's settings of a kind, in their usual order."""
    parsed = [(parse_setting(name), Named(name, cell)) for name, cell in entry.settings.items()]
    of_kind = [pair for pair in parsed if pair[0].kind == kind]
    return [named for _, named in sorted(of_kind, key=lambda pair: pair[0])]


def labels(result: ComparisonDocument) -> dict[str, str]:
    """The short name of each system, the baseline first."""
    return {row.system: row.label for row in result.overview}


def pooled_names(result: ComparisonDocument) -> tuple[str, str]:
    """What pooled AP and rank distance are called, with the cut-off where there is one."""
    return capped_name("AP", result.cutoff), capped_name("rank distance", result.cutoff)


def beside(result: ComparisonDocument) -> str:
    """Pooled AP and rank distance of each system, without which a bias metric says little."""
    precision, distance = pooled_names(result)
    return "; ".join(
        f"{row.label} {precision} {row.precision:.4f}, {distance} {row.distance:,.1f}"
        for row in result.overview
        if row.precision is not None and row.distance is not None
    )
