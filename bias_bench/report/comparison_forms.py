"""A comparison as text: tables for a terminal, TSV, and LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Named,
    Numbers,
    beside,
    kinds_of,
    labels,
    settings_of,
)
from bias_bench.report.tables import Column as TableColumn
from bias_bench.report.tables import Table, render, wrapped
from bias_bench.significance.document import (
    SEED_BOOTSTRAP,
    Cell,
    ComparedSystem,
    ComparisonDocument,
)
from bias_bench.significance.methods import any_family

TSV_COLUMNS = (
    "system", "kind", "setting", "metric", "baseline", "value", "difference", "low", "high",
    "simultaneous_low", "simultaneous_high", "p", "p_adjusted", "d_z", "rank_biserial", "wins",
    "ties", "losses", "n",
)  # fmt: skip
MACRO = "macro"  # where a setting's name would stand
_NAMES = 4  # columns of text; the others are numbers
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "−": "$-$", "–": "--", "±": r"$\pm$",
}  # fmt: skip
_WIDE = 110  # characters from which effect sizes stand beside the tests


class Column(NamedTuple):
    """A heading, and what its column says of one row."""

    heading: str
    text: Callable[[Cell], str]


def columns_of(numbers: Numbers) -> tuple[list[Column], list[Column], list[Column]]:
    """Columns of means and tests, of effect sizes, and of the tests on request."""
    result = numbers.result
    main = [
        Column("baseline", lambda cell: numbers.value(cell.baseline)),
        Column("system", lambda cell: numbers.value(cell.system)),
        Column("difference", lambda cell: numbers.signed(cell.difference)),
    ]
    if result.significance:
        main += [
            Column(f"{result.percent} % interval", lambda cell: numbers.interval(cell.interval)),
            Column("p", lambda cell: numbers.p(cell.p)),
            Column("p adj.", lambda cell: numbers.p(cell.p_adjusted)),
        ]
    effect = [
        Column("d_z", lambda cell: numbers.effect(cell.d_z)),
        Column(
            "/".join((numbers.count_words[0], "equal", numbers.count_words[1])),
            lambda cell: f"{cell.wins}/{cell.ties}/{cell.losses}",
        ),
    ]
    further = [_p_column(numbers, test, f"{test}.p") for test in result.also]
    if result.margin is not None:
        within = f"within ±{result.margin:g}"
        further = [
            _p_column(numbers, within, "equivalence.equivalent"),
            _p_column(numbers, "no worse", "equivalence.no_worse"),
            *further,
        ]
    return main, effect, further


def _p_column(numbers: Numbers, heading: str, place: str) -> Column:
    return Column(f"p, {heading}", lambda cell: numbers.p(attrgetter(place)(cell)))


def rows_of(entry: ComparedSystem, all_settings: bool) -> list[Named]:
    """The macro averages of one system, and all its settings if asked for."""
    kinds = kinds_of(entry)
    rows = [Named(KIND_TITLES[kind], entry.groups[kind]) for kind in kinds]
    if all_settings:
        rows += [named for kind in kinds for named in settings_of(entry, kind)]
    return rows


def as_table(
    result: ComparisonDocument, all_settings: bool, width: int | None, encoding: str = "utf-8"
) -> str:
    """Macro averages, the settings in short or in full, and all pairs of several systems.

    In lines of at most `width` characters (None: as long as they are), for a stream of `encoding`.
    """
    numbers = Numbers(result)
    main, effect, further = columns_of(numbers)
    title = "Macro averages and settings" if all_settings else "Macro averages"
    beside_tests = not result.significance or width is None or width >= _WIDE
    first = [*main, *effect] if beside_tests else main
    tables = [_rows_table(title, result, all_settings, first)]
    if not beside_tests:
        tables.append(_rows_table("Effect sizes", result, all_settings, effect))
    if further:
        tables.append(_rows_table("Tests on request", result, all_settings, further))
    if not all_settings:
        tables.append(_summary_table(result, numbers))
    if result.tukey:
        tables.append(_pairs_table(result, numbers))
    heading = wrapped(_heading(result, numbers), width)
    parts = [heading, *(render(table, width, encoding) for table in tables)]
    if not result.significance:
        parts.append("Nothing was tested; --significance tests.")
    return "\n\n".join(parts)


def _heading(result: ComparisonDocument, numbers: Numbers) -> str:
    systems = ", ".join(entry.system for entry in result.systems)
    lines = [
        f"{result.benchmark}, {result.metric} ({result.unit}): {result.better}",
        f"{systems} minus {result.baseline}",
    ]
    if numbers.measure.source == "bias" and beside(result):
        omitted = result.omitted
        own = ", all queries of each run" if omitted.topics or omitted.cells else ""
        lines.append(f"beside it, pooled{own}: {beside(result)}")
    if result.significance:
        seeds = SEED_BOOTSTRAP in result.tests
        units = f"{result.clusters:,} {result.cluster}s{' and seeds' if seeds else ''}"
        over = (
            "over all that is tested"
            if result.family == "all"
            else "within each kind of setting, and within the macro averages"
        )
        lines.append(
            f"{units}, {result.permutations:,} draws; p adjusted by {result.correction} {over}"
        )
        if families := any_family(result):
            lines.append(f"{families} --family all adjusts over all of them.")
    words = "/".join((numbers.count_words[0], "equal", numbers.count_words[1]))
    lines.append(f"{words} count topics")
    return "\n".join(lines)


def _rows_table(
    title: str, result: ComparisonDocument, all_settings: bool, columns: list[Column]
) -> Table:
    several = len(result.systems) > 1
    texts = ["system"] if several else []
    table = _new_table(title, [*texts, "setting"], [column.heading for column in columns])
    for entry in result.systems:
        for row in rows_of(entry, all_settings):
            label = [entry.label] if several else []
            table.add_row(*label, row.name, *(column.text(row.cell) for column in columns))
        table.add_section()
    return table


def _summary_table(result: ComparisonDocument, numbers: Numbers) -> Table:
    tested = result.significance
    several = len(result.systems) > 1
    extremes = [f"{word} (p adj.)" if tested else word for word in numbers.extreme_words]
    counted = f" (in brackets: adjusted p < {result.level:g})" if tested else ""
    table = _new_table(
        f"Settings{counted}; --all-settings lists them",
        ["system", "setting"] if several else ["setting"],
        ["number", *numbers.count_words],
        extremes,
    )
    for entry in result.systems:
        for found in numbers.summaries(entry):
            label = [entry.label] if several else []
            table.add_row(
                *label,
                KIND_TITLES[found.kind],
                str(found.settings),
                f"{found.better} ({found.better_shown})" if tested else str(found.better),
                f"{found.worse} ({found.worse_shown})" if tested else str(found.worse),
                _extreme(result, found.best, numbers),
                _extreme(result, found.worst, numbers),
            )
        table.add_section()
    return table


def _extreme(result: ComparisonDocument, named: Named, numbers: Numbers) -> str:
    adjusted = f" ({numbers.p(named.cell.p_adjusted)})" if result.significance else ""
    return f"{named.name} {numbers.signed(named.cell.difference)}{adjusted}"


def _pairs_table(result: ComparisonDocument, numbers: Numbers) -> Table:
    short = labels(result)
    groups = result.tukey.groups if result.tukey else {}
    kinds = [kind for kind in KIND_TITLES if kind in groups]
    title = "All pairs: difference, and p of step-down max-T, adjusted over pairs"
    table = _new_table(title, ["pair"], [KIND_TITLES[kind] for kind in kinds])
    for pairs in zip(*(groups[kind] for kind in kinds), strict=True):
        first = pairs[0]
        cells = [f"{numbers.signed(pair.difference)}, p {numbers.p(pair.p)}" for pair in pairs]
        table.add_row(f"{short[first.system]} − {short[first.other]}", *cells)
    return table


def _new_table(
    title: str, names: list[str], figures: list[str], texts: Sequence[str] = ()
) -> Table:
    columns = [TableColumn(name, "name") for name in names]
    columns += [TableColumn(heading) for heading in figures]
    columns += [TableColumn(heading, "text") for heading in texts]
    return Table(columns, title)


def as_tsv(result: ComparisonDocument) -> str:
    """A row per macro average and setting; empty where there is no number."""
    lines = ["\t".join(TSV_COLUMNS)]
    for row in long_rows(result):
        text = [*row[:_NAMES], *("" if number is None else repr(number) for number in row[_NAMES:])]
        lines.append("\t".join(" ".join(part.split()) for part in text))
    return "\n".join(lines)


def long_rows(result: ComparisonDocument) -> list[list[Any]]:
    """The values of `TSV_COLUMNS`, a row per macro average (`MACRO`) and setting of each system."""
    rows = []
    for entry in result.systems:
        kinds = kinds_of(entry)
        cells = [(kind, MACRO, entry.groups[kind]) for kind in kinds] + [
            (kind, named.name, named.cell) for kind in kinds for named in settings_of(entry, kind)
        ]
        for kind, setting, cell in cells:
            numbers = [
                cell.baseline,
                cell.system,
                cell.difference,
                *cell.interval,
                *cell.simultaneous,
                *(getattr(cell, name) for name in TSV_COLUMNS[11:]),
            ]
            rows.append([entry.system, kind, setting, result.metric, *numbers])
    return rows


def as_latex(result: ComparisonDocument, all_settings: bool) -> str:
    """A booktabs table of the macro averages, or with all settings a longtable."""
    columns = [column for part in columns_of(Numbers(result)) for column in part]
    heads = ["System", "Setting", *(column.heading for column in columns)]
    form = f"ll{'r' * len(columns)}"
    body = [
        line
        for entry in result.systems
        for line in (
            r"\midrule",
            *(
                _latex_row([entry.label, row.name, *(part.text(row.cell) for part in columns)])
                for row in rows_of(entry, all_settings)
            ),
        )
    ]
    caption = rf"\caption{{{latex(' '.join(result.methods))}}}"
    inner = [r"\toprule", _latex_row(heads), *body, r"\bottomrule"]
    if all_settings:
        lines = [rf"\begin{{longtable}}{{{form}}}", rf"{caption} \\", *inner, r"\end{longtable}"]
    else:
        lines = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{form}}}"]
        lines += [*inner, r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines)


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"


def latex(text: str) -> str:
    """Text with everything escaped that LaTeX would read as a command."""
    return "".join(_LATEX.get(character, character) for character in text)
