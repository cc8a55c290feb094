"""A comparison as text: tables for a terminal, TSV, and LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Named,
    Numbers,
    beside,
    kinds_of,
    labels,
    settings_of,
)
from bias_bench.report.tables import Column, Table, render, wrapped
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
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "−": "$-$", "–": "--",
        "±": r"$\pm$",
    }
)  # fmt: skip
_WIDE = 110  # characters from which effect sizes stand beside the tests

Cells = dict[str, Callable[[Cell], str]]  # by heading, what a column says of one row


def _columns(numbers: Numbers) -> tuple[Cells, Cells, Cells]:
    """Columns of means and tests, of effect sizes, and of the tests on request."""
    result = numbers.result
    main: Cells = {
        "baseline": lambda cell: numbers.value(cell.baseline),
        "system": lambda cell: numbers.value(cell.system),
        "difference": lambda cell: numbers.signed(cell.difference),
    }
    if result.significance:
        main |= {
            f"{result.percent} % interval": lambda cell: numbers.interval(cell.interval),
            "p": lambda cell: numbers.p(cell.p),
            "p adj.": lambda cell: numbers.p(cell.p_adjusted),
        }
    effect: Cells = {
        "d_z": lambda cell: numbers.effect(cell.d_z),
        _counted(numbers): lambda cell: f"{cell.wins}/{cell.ties}/{cell.losses}",
    }
    tests = {test: f"{test}.p" for test in result.also}
    if result.margin is not None:
        within = f"within ±{result.margin:g}"
        tests = {within: "equivalence.equivalent", "no worse": "equivalence.no_worse", **tests}

    def p_of(field: str) -> Callable[[Cell], str]:
        return lambda cell: numbers.p(attrgetter(field)(cell))

    return main, effect, {f"p, {heading}": p_of(field) for heading, field in tests.items()}


def _counted(numbers: Numbers) -> str:
    return "/".join((numbers.count_words[0], "equal", numbers.count_words[1]))


def _rows(entry: ComparedSystem, all_settings: bool) -> list[Named]:
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
    main, effect, further = _columns(numbers)
    beside_tests = not result.significance or width is None or width >= _WIDE
    parts = {"Macro averages": main | effect if beside_tests else main}
    if all_settings:
        parts = {"Macro averages and settings": parts["Macro averages"]}
    if not beside_tests:
        parts["Effect sizes"] = effect
    if further:
        parts["Tests on request"] = further
    tables = [_rows_table(title, result, all_settings, cells) for title, cells in parts.items()]
    if not all_settings:
        tables.append(_summary_table(result, numbers))
    if result.tukey:
        tables.append(_pairs_table(result, numbers))
    texts = [wrapped(_heading(result, numbers), width)]
    texts += [render(table, width, encoding) for table in tables]
    if not result.significance:
        texts.append("Nothing was tested; --significance tests.")
    return "\n\n".join(texts)


def _heading(result: ComparisonDocument, numbers: Numbers) -> str:
    systems = ", ".join(entry.system for entry in result.systems)
    lines = [
        f"{result.benchmark}, {result.metric} ({result.unit}): {result.better}",
        f"{systems} minus {result.baseline}",
    ]
    if numbers.measure.source == "bias" and beside(result):
        omitted = result.omitted
        all_queries = ", all queries of each run" if omitted.topics or omitted.cells else ""
        lines.append(f"beside it, pooled{all_queries}: {beside(result)}")
    if result.significance:
        seeds = " and seeds" if SEED_BOOTSTRAP in result.tests else ""
        over = (
            "over all that is tested"
            if result.family == "all"
            else "within each kind of setting, and within the macro averages"
        )
        lines.append(
            f"{result.clusters:,} {result.cluster}s{seeds}, {result.permutations:,} draws; "
            f"p adjusted by {result.correction} {over}"
        )
        if families := any_family(result):
            lines.append(f"{families} --family all adjusts over all of them.")
    lines.append(f"{_counted(numbers)} count topics")
    return "\n".join(lines)


def _rows_table(title: str, result: ComparisonDocument, all_settings: bool, cells: Cells) -> Table:
    several = len(result.systems) > 1
    table = _new_table(title, ["system", "setting"] if several else ["setting"], list(cells))
    for entry in result.systems:
        for row in _rows(entry, all_settings):
            label = [entry.label] if several else []
            table.add_row(*label, row.name, *(text(row.cell) for text in cells.values()))
        table.add_section()
    return table


def _summary_table(result: ComparisonDocument, numbers: Numbers) -> Table:
    tested, several = result.significance, len(result.systems) > 1
    extremes = [f"{word} (p adj.)" if tested else word for word in numbers.extreme_words]
    counted = f" (in brackets: adjusted p < {result.level:g})" if tested else ""
    table = _new_table(
        f"Settings{counted}; --all-settings lists them",
        ["system", "setting"] if several else ["setting"],
        ["number", *numbers.count_words],
        extremes,
    )

    def extreme(named: Named) -> str:
        adjusted = f" ({numbers.p(named.cell.p_adjusted)})" if tested else ""
        return f"{named.name} {numbers.signed(named.cell.difference)}{adjusted}"

    for entry in result.systems:
        for kind in numbers.summaries(entry):
            table.add_row(
                *([entry.label] if several else []),
                KIND_TITLES[kind.kind],
                str(kind.settings),
                f"{kind.better} ({kind.better_shown})" if tested else str(kind.better),
                f"{kind.worse} ({kind.worse_shown})" if tested else str(kind.worse),
                extreme(kind.best),
                extreme(kind.worst),
            )
        table.add_section()
    return table


def _pairs_table(result: ComparisonDocument, numbers: Numbers) -> Table:
    short = labels(result)
    groups = result.tukey.groups if result.tukey else {}
    kinds = [kind for kind in KIND_TITLES if kind in groups]
    title = "All pairs: difference, and p of step-down max-T, adjusted over pairs"
    table = _new_table(title, ["pair"], [KIND_TITLES[kind] for kind in kinds])
    for pairs in zip(*(groups[kind] for kind in kinds), strict=True):
        cells = [f"{numbers.signed(pair.difference)}, p {numbers.p(pair.p)}" for pair in pairs]
        table.add_row(f"{short[pairs[0].system]} − {short[pairs[0].other]}", *cells)
    return table


def _new_table(
    title: str, names: list[str], figures: list[str], texts: Sequence[str] = ()
) -> Table:
    columns = [Column(name, "name") for name in names]
    columns += [Column(heading) for heading in figures]
    columns += [Column(heading, "text") for heading in texts]
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
    return [
        [
            entry.system, kind, setting, result.metric, cell.baseline, cell.system,
            cell.difference, *cell.interval, *cell.simultaneous,
            *(getattr(cell, name) for name in TSV_COLUMNS[11:]),
        ]
        for entry in result.systems
        for kind, setting, cell in [
            *((kind, MACRO, entry.groups[kind]) for kind in kinds_of(entry)),
            *((kind, *named) for kind in kinds_of(entry) for named in settings_of(entry, kind)),
        ]
    ]  # fmt: skip


def as_latex(result: ComparisonDocument, all_settings: bool) -> str:
    """A booktabs table of the macro averages, or with all settings a longtable."""
    main, effect, further = _columns(Numbers(result))
    columns = main | effect | further
    lines = [r"\toprule", _latex_row(["System", "Setting", *columns])]
    for entry in result.systems:
        lines.append(r"\midrule")
        for row in _rows(entry, all_settings):
            cells = (text(row.cell) for text in columns.values())
            lines.append(_latex_row([entry.label, row.name, *cells]))
    lines.append(r"\bottomrule")
    form, caption = f"ll{'r' * len(columns)}", rf"\caption{{{latex(' '.join(result.methods))}}}"
    if all_settings:
        begin = [rf"\begin{{longtable}}{{{form}}}", rf"{caption} \\"]
        return "\n".join([*begin, *lines, r"\end{longtable}"])
    begin = [r"\begin{table}", r"\centering", caption, rf"\begin{{tabular}}{{{form}}}"]
    return "\n".join([*begin, *lines, r"\end{tabular}", r"\end{table}"])


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"


def latex(text: str) -> str:
    """Text with everything escaped that LaTeX would read as a command."""
    return text.translate(_LATEX)
