"""Matrices of a comparison's page, the words that its rows are found by, and its command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bias_bench.evaluation.settings import ALL, Setting, parse_setting
from bias_bench.languages import language_name
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Named,
    Numbers,
    kinds_of,
    labels,
    settings_of,
)
from bias_bench.report.run_tables import Matrix, Shaded
from bias_bench.significance.document import Cell, ComparedSystem, ComparisonDocument, Pair

_CERTAIN = 0.001  # p below which a cell has the full shade


class LanguageMatrices(NamedTuple):
    """One system against the baseline: query languages (rows) by candidate languages (columns).

    The diagonal is monolingual. `p_adjusted` is None where nothing was tested.
    """

    difference: Matrix
    p_adjusted: Matrix | None
    d_z: Matrix


class PairMatrix(NamedTuple):
    """All systems against each other in one kind of setting: row minus column."""

    kind: str
    matrix: Matrix


def language_matrices(entry: ComparedSystem, numbers: Numbers) -> LanguageMatrices | None:
    """The settings of one and of two languages; None without the latter."""
    if "cross_lingual" not in entry.groups:
        return None
    cells: dict[Setting, Cell] = {
        parse_setting(named.name): named.cell
        for kind in ("monolingual", "cross_lingual")
        for named in settings_of(entry, kind)
    }
    languages = sorted({language for setting in cells for language in setting})

    def matrix(shaded: Callable[[Cell], Shaded | None]) -> Matrix:
        found = [[cells.get(Setting(row, column)) for column in languages] for row in languages]
        rows = [[shaded(cell) if cell else None for cell in row] for row in found]
        return Matrix(languages, languages, rows)

    tested = numbers.result.significance
    most = max(abs(cell.difference) for cell in cells.values())
    largest = max((abs(cell.d_z) for cell in cells.values() if cell.d_z is not None), default=0)
    return LanguageMatrices(
        difference=matrix(
            lambda cell: Shaded(
                numbers.signed(cell.difference),
                _share(cell.difference, most),
                numbers.gain(cell.difference) < 0,
                numbers.shown(cell) if tested else None,
            )
        ),
        p_adjusted=matrix(lambda cell: _p(cell, numbers)) if tested else None,
        d_z=matrix(
            lambda cell: (
                None
                if cell.d_z is None
                else Shaded(
                    numbers.effect(cell.d_z),
                    _share(cell.d_z, largest),
                    numbers.gain(cell.difference) < 0,
                )
            )
        ),
    )


def pair_matrices(result: ComparisonDocument, numbers: Numbers) -> list[PairMatrix]:
    """All pairs of systems by kind of setting; none without the test of all pairs."""
    if not result.tukey:
        return []
    short = labels(result)
    return [
        PairMatrix(kind, _pairs(result.tukey.groups[kind], short, numbers))
        for kind in kinds_of(result.tukey)
    ]


def _pairs(pairs: Sequence[Pair], short: dict[str, str], numbers: Numbers) -> Matrix:
    """Every pair twice, once each way round."""
    most = max(abs(pair.difference) for pair in pairs)
    found: dict[tuple[str, str], Shaded] = {}
    for pair in pairs:
        for sign, ends in ((1, (pair.system, pair.other)), (-1, (pair.other, pair.system))):
            d_z = None if pair.d_z is None else sign * pair.d_z
            difference = sign * pair.difference
            found[ends] = Shaded(
                numbers.signed(difference),
                _share(difference, most),
                numbers.gain(difference) < 0,
                pair.p < numbers.result.level,
                (f"p {numbers.p(pair.p)}", f"d {numbers.effect(d_z)}"),
            )
    rows = [[found.get((row, column)) for column in short] for row in short]
    return Matrix(list(short.values()), list(short.values()), rows)


def search_words(named: Named, numbers: Numbers) -> str:
    """What a setting's row is found by besides its name."""
    setting = parse_setting(named.name)
    pool = "all" if setting.pool == ALL else language_name(setting.pool)
    gain = numbers.gain(named.cell.difference)
    side = numbers.count_words[gain < 0] if gain else "equal"
    shown = ["significant"] if numbers.shown(named.cell) else []
    parts = [language_name(setting.query_language), pool, KIND_TITLES[setting.kind], side, *shown]
    return " ".join(parts)


def command_of(result: ComparisonDocument) -> str:
    """The command that makes the comparison again where its runs are in ``runs/``."""
    systems = [result.baseline_system, *result.systems]
    folders = [f"runs/{name}" for system in systems for name in system.runs]
    options = {"metric": result.metric}
    if result.significance:
        names = ("cluster", "correction", "family", "permutations", "confidence", "seed", "margin")
        options |= {name: value for name in names if (value := getattr(result, name)) is not None}
        options |= {"also": ",".join(result.also)} if result.also else {}
    parts = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items()]
    flag = ["--significance"] if result.significance else []
    return " ".join(
        ["biasbench compare", *map(shlex.quote, folders), *flag, *parts, "--report comparison.html"]
    )


def _p(cell: Cell, numbers: Numbers) -> Shaded | None:
    """An adjusted p-value, shaded where it is below the level."""
    if cell.p_adjusted is None:
        return None
    depth = 1.0 if cell.p_adjusted < _CERTAIN else 0.5
    shown = numbers.shown(cell)
    text = numbers.p(cell.p_adjusted)
    return Shaded(text, depth if shown else 0.0, numbers.gain(cell.difference) < 0, shown)


def _share(value: float, largest: float) -> float:
    return round(abs(value) / largest, 3) if largest else 0.0
