"""Figures of the documents that can be measured again, and whether a run comes to the same."""

from __future__ import annotations

import shlex
from functools import cache
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from bias_bench.config.kinds import Strict
from bias_bench.errors import BiasBenchError, UsageError, nearest
from bias_bench.evaluation.metrics_document import Metrics
from bias_bench.evaluation.settings import KINDS
from bias_bench.system.yaml_values import package_yaml

PREFIX = "reproduce-"  # of run folders, so that no other run is in the way


class Figures(Strict):
    """Where figures stand: a page, and the first cell of their row in each table that has it."""

    page: str
    row: str


class Tolerance(Strict):
    """How far off a metric may be, in its own unit, by its name without the kind of setting."""

    why: str
    within: dict[str, float]


class Row(Strict):
    """An experiment, as options of `biasbench run`, and the macro averages that it should give.

    `machine` is what the figures were measured on, `minutes` about how long that takes.
    """

    benchmark: str
    recipe: str
    settings: list[str]
    figures: Figures
    machine: str
    minutes: float = Field(gt=0)
    tolerance: str
    expected: dict[str, float] = Field(min_length=1)

    @property
    def command(self) -> str:
        """What gives the same figures with `biasbench run`."""
        options = [part for setting in self.settings for part in ("--set", setting)]
        words = ["biasbench", "run", self.benchmark, "--recipe", self.recipe, *options]
        return shlex.join(words)


class Reproductions(Strict):
    """All rows by name, with what they refer to."""

    machines: dict[str, str]
    tolerances: dict[str, Tolerance]
    rows: dict[str, Row]

    @model_validator(mode="after")
    def _known(self) -> Reproductions:
        """A row without its machine or a tolerance could not be checked."""
        for name, row in self.rows.items():
            if row.machine not in self.machines or row.tolerance not in self.tolerances:
                raise ValueError(f"{name}: unknown machine or tolerance")
            for metric in row.expected:
                if measure(metric) not in self.tolerances[row.tolerance].within:
                    raise ValueError(f"{name}: no tolerance for {metric}")
        return self

    def row(self, name: str) -> Row:
        """The row of that name; UsageError with the nearest one otherwise."""
        if name not in self.rows:
            raise UsageError(f"no figures are named '{name}': {nearest(name, self.rows)}")
        return self.rows[name]


class Checked(NamedTuple):
    """One metric beside what was expected; `difference` is measured − expected."""

    metric: str
    expected: float
    measured: float
    difference: float
    tolerance: float
    ok: bool


@cache
def reproductions() -> Reproductions:
    """What ``reproductions.yaml`` holds."""
    return Reproductions(**package_yaml("bias_bench.runs", "reproductions.yaml"))


def measure(metric: str) -> str:
    """A metric's name without the kind of setting: ``AP`` of ``monolingual AP``."""
    first, _, rest = metric.partition(" ")
    return rest if first in KINDS else metric


def measured(metrics: Metrics, metric: str) -> float:
    """A metric's value; BiasBenchError where the run has none."""
    first, _, rest = metric.partition(" ")
    path = ("retrieval", first, "macro", rest) if first in KINDS else (
        "bias", first, rest or "macro"
    )  # fmt: skip
    value: Any = metrics.dump()
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        raise BiasBenchError(f"metrics.json has no {'.'.join(path)}, which was expected")
    return float(value)


def check(row: Row, metrics: Metrics, tolerance: Tolerance) -> list[Checked]:
    """Each expected metric beside the measured one."""
    found = []
    for metric, expected in row.expected.items():
        value, within = measured(metrics, metric), tolerance.within[measure(metric)]
        difference = value - expected
        found.append(
            Checked(metric, expected, value, difference, within, abs(difference) <= within)
        )
    return found
