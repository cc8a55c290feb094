"""Rates with their simulation error, and the file that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

import numpy as np

from bias_bench.errors import DataError

LEVEL = 0.05  # nominal error of tests and of intervals
Rows = TypeVar("Rows", bound=Any)
_NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution


class Row(NamedTuple):
    """One rate. `value` in [0, 1] with a 95 % interval `low` to `high` for the simulation error.

    `unit` is what is independent in the simulated data, `cluster` what the method takes to be;
    `shifted` settings really differ by `shift`, in the metric's unit, and the others do not.
    """

    part: str
    world: str
    unit: str
    cluster: str
    method: str
    quantity: str
    shifted: int
    shift: float
    value: float
    low: float
    high: float
    simulations: int


class Scenario(NamedTuple):
    """The part of a row that names what was simulated."""

    part: str
    world: str
    unit: str
    shifted: int = 0
    shift: float = 0.0


Found = dict[tuple[str, str, str], float]  # of one simulation, by cluster, method and quantity


def rows(scenario: Scenario, simulations: Sequence[Found]) -> list[Row]:
    """The means over simulations, or over those that have the value; keys as in the first one."""
    part, world, unit, shifted, shift = scenario
    found = []
    for key in simulations[0]:
        cluster, method, quantity = key
        values = np.array([each[key] for each in simulations if key in each])
        found_rate = rate(values)
        found.append(
            Row(
                part,
                world,
                unit,
                cluster,
                method,
                quantity,
                shifted,
                shift,
                *found_rate,
                len(values),
            )
        )
    return found


def rate(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval: Wilson's for yes and no, else normal and within [0, 1]."""
    count, mean = len(values), float(values.mean())
    if np.isin(values, (0.0, 1.0)).all():
        from scipy.stats import binomtest

        interval = binomtest(int(values.sum()), count).proportion_ci(method="wilson")
        return mean, float(interval.low), float(interval.high)
    reach = _NORMAL * float(values.std(ddof=1)) / math.sqrt(count)
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)


def find(table: Iterable[Row], **wanted: object) -> Row | None:
    """The only row with these values, None if there is none."""
    chosen = [row for row in table if wanted.items() <= row._asdict().items()]
    if len(chosen) > 1:
        raise ValueError(f"{len(chosen)} rows for {wanted}; say more")
    return chosen[0] if chosen else None


def as_tsv(table: Sequence[NamedTuple]) -> str:
    """A header of the rows' fields, and a line for each."""
    lines = [table[0]._fields, *([_text(value) for value in row] for row in table)]
    return "".join("\t".join(line) + "\n" for line in lines)


def from_tsv(path: Path, row: type[Rows] = Row) -> list[Rows]:  # type: ignore[assignment]
    """The rows of `as_tsv`; DataError for another file."""
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; simulate first") from None
    if tuple(head.split("\t")) != row._fields:
        raise DataError(f"{path}: not a table of calibration rates; write it again")
    types = get_type_hints(row).values()
    return [
        row(*(kind(text) for kind, text in zip(types, line.split("\t"), strict=True)))
        for line in lines
    ]


def _text(value: str | int | float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
