"""The rates as the tables of the documentation, in Markdown: per cent, one decimal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.calibration.coverage import (
    COVERAGE,
    EQUIVALENT,
    MACRO,
    NO_WORSE,
    SETTING,
    SHOWN,
    SIMULTANEOUS,
)
from benchmarks.calibration.errors import (
    BH,
    BONFERRONI,
    ERROR,
    FDR,
    FWER,
    HOLM,
    HOLM_T,
    NONE,
    POOLED,
    POWER,
    QUERY_T,
    SHIFTS,
    SINGLE_STEP,
    STEP_DOWN,
)
from benchmarks.calibration.estimates import Row, find
from benchmarks.calibration.worlds import UNITS, WORLDS

_FAMILY = (STEP_DOWN, SINGLE_STEP, HOLM, BONFERRONI, BH, NONE)
_MISSING = "–"


def tables(table: Sequence[Row]) -> list[str]:
    """Errors in both worlds, power, the cost of larger units, coverage."""
    return [
        *(_errors(table, world) for world in WORLDS),
        _power(table),
        _cost(table),
        _coverage(table),
    ]


def _errors(table: Sequence[Row], world: str) -> str:
    cells = []
    for unit in UNITS:
        part = [row for row in table if row.part == "errors" and row.world == world]
        part = [row for row in part if row.unit == unit]
        for cluster in UNITS:
            family = [_cell(part, cluster=cluster, method=name, quantity=FWER) for name in _FAMILY]
            others = [
                _cell(part, cluster=cluster, method=POOLED, quantity=ERROR),
                _cell(part, cluster=cluster, method=HOLM_T, quantity=FWER),
                # it knows no unit; shown once
                _cell(part, method=QUERY_T, quantity=ERROR) if cluster == "topic" else _MISSING,
            ]
            cells.append([unit, cluster, *family, *others])
    head = [f"independent ({world})", "test by", *_FAMILY, POOLED, HOLM_T, QUERY_T]
    return _markdown(head, cells)


def _power(table: Sequence[Row]) -> str:
    part = [row for row in table if row.part == "power" and row.unit == "article"]
    cells = []
    for shifted in sorted({row.shifted for row in part}, reverse=True):
        for shift in SHIFTS:
            here = [row for row in part if (row.shifted, row.shift) == (shifted, shift)]
            found = [_cell(here, method=name, quantity=POWER) for name in (*_FAMILY[:-1], POOLED)]
            errors = [
                _cell(here, method=STEP_DOWN, quantity=FWER),
                _cell(here, method=BH, quantity=FDR),
            ]
            cells.append([str(shifted), f"{shift:g}", *found, *errors])
    errors_of = [f"{FWER} of {STEP_DOWN}", f"{FDR} of {BH}"]
    return _markdown(["settings shifted", "shift", *_FAMILY[:-1], POOLED, *errors_of], cells)


def _cost(table: Sequence[Row]) -> str:
    part = [row for row in table if row.part == "power" and row.unit == "topic"]
    cells = []
    for shift in SHIFTS:
        here = [row for row in part if row.shift == shift]
        found = [
            _cell(here, cluster=cluster, method=method, quantity=POWER)
            for method in (STEP_DOWN, POOLED)
            for cluster in UNITS
        ]
        cells.append([f"{shift:g}", *found])
    names = [f"{name} by {cluster}" for name in (STEP_DOWN, POOLED) for cluster in UNITS]
    return _markdown(["shift", *names], cells)


def _coverage(table: Sequence[Row]) -> str:
    columns = (
        (SETTING, COVERAGE), (MACRO, COVERAGE), (SIMULTANEOUS, COVERAGE), (SETTING, NO_WORSE),
        (MACRO, NO_WORSE), (SETTING, EQUIVALENT), (MACRO, EQUIVALENT), (MACRO, SHOWN),
    )  # fmt: skip
    cells = []
    for unit in UNITS:
        here = [row for row in table if row.part == "coverage" and row.unit == unit]
        for cluster in UNITS:
            found = [
                _cell(here, cluster=cluster, method=method, quantity=quantity)
                for method, quantity in columns
            ]
            cells.append([unit, cluster, *found])
    names = [f"{quantity}, {method}" for method, quantity in columns]
    return _markdown(["independent", "interval by", *names], cells)


def _cell(table: Iterable[Row], **wanted: object) -> str:
    row = find(table, **wanted)
    return f"{100 * row.value:.1f}" if row else _MISSING


def _markdown(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
