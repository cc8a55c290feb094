"""How to compare: the options of `biasbench compare`, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from bias_bench.data.units import Unit
from bias_bench.errors import UsageError, nearest
from bias_bench.significance.draws import check_draws

Correction = Literal["maxt", "holm", "bh"]
Family = Literal["kind", "all"]
ALSO = ("t", "wilcoxon")


@dataclass(frozen=True)
class CompareOptions:
    """How to compare. `metric` None is AP, as deep as all runs know it. `permutations` also counts
    bootstrap replicates; `margin` is in the metric's unit; `also` names further tests of `ALSO`.
    `cluster` None is what `default_unit` says. `family` "kind" adjusts within the settings of a
    kind and within the macro averages, of each system; "all" over everything that is tested.
    Without `significance` nothing is tested.
    """

    metric: str | None = None
    significance: bool = True
    cluster: Unit | None = None
    correction: Correction = "maxt"
    family: Family = "kind"
    permutations: int = 10_000
    confidence: float = 0.95
    margin: float | None = None
    seed: int = 0
    also: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError for options that cannot be used, before any work."""
        for name, value, known in (
            ("cluster", self.cluster, get_args(Unit)),
            ("correction", self.correction, get_args(Correction)),
            ("family", self.family, get_args(Family)),
        ):
            if value is not None and value not in known:
                raise UsageError(f"unknown {name} '{value}': {nearest(value, known)}")
        check_draws(self.permutations, self.seed)
        if not 0.5 < self.confidence < 1:
            raise UsageError(
                f"confidence must lie between 0.5 and 1, not {self.confidence}; 0.95 is usual"
            )
        if self.margin is not None and not 0 < self.margin < np.inf:
            raise UsageError(
                f"the margin must be positive, not {self.margin}; give it in the metric's unit"
            )
        for name in self.also:
            if name not in ALSO:
                raise UsageError(f"unknown test '{name}': {nearest(name, ALSO)}")
        if not self.significance and (self.also or self.margin is not None):
            raise UsageError("a margin or further tests need --significance; add it")
