"""The comparison as tables for a terminal, and the columns that LaTeX has too."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Cell,
    Named,
    Numbers,
    beside,
    kinds_of,
    labels,
    settings_of,
)
from bias_bench.significance.methods import any_family
from bias_bench.significance.pairwise import SEED_BOOTSTRAP

_WIDE = 110  # characters from which effect sizes stand beside the tests


class Column(NamedTuple):
    """A heading, and what its column says of one row."""

    heading: str
    text: Callable[[Cell], str]


def columns_of(numbers: Numbers) -> tuple[list[Column], list[Column], list[Column]]:
    """Columns of means and tests, of effect sizes, and of the tests on request."""
    result = numbers.result
    main = [
        Column("baseline", lambda cell: numbers.value(cell["baseline"])),
        Column("system", lambda cell: numbers.value(cell["system"])),
        Column("difference", lambda cell: numbers.signed(cell["difference"])),
    ]
    if result["significance"]:
        main += [
            Column(
                f"{numbers.percent} % interval", lambda cell: numbers.interval(cell["interval"])
            ),
            Column("p", lambda cell: numbers.p(cell["p"])),
            Column("p adj.", lambda cell: numbers.p(cell["p_adjusted"])),
        ]
    effect = [
        Column("d_z", lambda cell: numbers.effect(cell["d_z"])),
        Column(
            "/".join((numbers.count_words[0], "equal", numbers.count_words[1])),
            lambda cell: f"{cell['wins']}/{cell['ties']}/{cell['losses']}",
        ),
    ]
    further = [_test_column(numbers, test, test, "p") for test in result["also"]]
    if result["margin"] is not None:
        within = f"within ±{result['margin']:g}"
        further = [
            _test_column(numbers, within, "equivalence", "equivalent"),
            _test_column(numbers, "no worse", "equivalence", "no_worse"),
            *further,
        ]
    return main, effect, further


def _test_column(numbers: Numbers, heading: str, test: str, key: str) -> Column:
    return Column(f"p, {heading}", lambda cell: numbers.p(cell[test][key]))


def rows_of(entry: dict[str, Any], all_settings: bool) -> list[Named]:
    """The macro averages of one system, and all its settings if asked for."""
    kinds = kinds_of(entry)
    rows = [Named(KIND_TITLES[kind], entry["groups"][kind]) for kind in kinds]
    if all_settings:
        rows += [named for kind in kinds for named in settings_of(entry, kind)]
    return rows


def as_table(result: dict[str, Any], all_settings: bool, width: int | None) -> str:
    """Macro averages, the settings in short or in full, and all pairs of several systems."""
    from rich.console import Console
    from rich.text import Text

    width = width or Console().width
    numbers = Numbers(result)
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, no_color=True)
    main, effect, further = columns_of(numbers)
    title = "Macro averages and settings" if all_settings else "Macro averages"
    beside_tests = not result["significance"] or width >= _WIDE
    first = [*main, *effect] if beside_tests else main
    parts: list[Any] = [
        Text(_heading(result, numbers)),
        _rows_table(title, result, all_settings, first),
    ]
    if not beside_tests:
        parts.append(_rows_table("Effect sizes", result, all_settings, effect))
    if further:
        parts.append(_rows_table("Tests on request", result, all_settings, further))
    if not all_settings:
        parts.append(_summary_table(result, numbers))
    if "tukey" in result:
        parts.append(_pairs_table(result, numbers))
    if not result["significance"]:
        parts.append(Text("Nothing was tested; --significance tests."))
    for number, part in enumerate(parts):
        console.print(*([""] if number else []), part, sep="\n")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _heading(result: dict[str, Any], numbers: Numbers) -> str:
    systems = ", ".join(entry["system"] for entry in result["systems"])
    lines = [
        f"{result['benchmark']}, {result['metric']} ({result['unit']}): {result['better']}",
        f"{systems} minus {result['baseline']}",
    ]
    if numbers.measure.source == "bias" and beside(result):
        omitted = result["omitted"]
        own = ", all queries of each run" if omitted["topics"] or omitted["cells"] else ""
        lines.append(f"beside it, pooled{own}: {beside(result)}")
    if result["significance"]:
        seeds = any(entry["test"] == SEED_BOOTSTRAP for entry in result["systems"])
        units = f"{result['clusters']:,} {result['cluster']}s{' and seeds' if seeds else ''}"
        over = (
            "over all that is tested"
            if result["family"] == "all"
            else "within each kind of setting, and within the macro averages"
        )
        lines.append(
            f"{units}, {result['permutations']:,} draws; "
            f"p adjusted by {result['correction']} {over}"
        )
        if families := any_family(result):
            lines.append(f"{families} --family all adjusts over all of them.")
    words = "/".join((numbers.count_words[0], "equal", numbers.count_words[1]))
    lines.append(f"{words} count topics")
    return "\n".join(lines)


def _rows_table(
    title: str, result: dict[str, Any], all_settings: bool, columns: list[Column]
) -> Any:
    several = len(result["systems"]) > 1
    texts = ["system"] if several else []
    table = _new_table([*texts, "setting"], [column.heading for column in columns])
    for entry in result["systems"]:
        for row in rows_of(entry, all_settings):
            label = [entry["label"]] if several else []
            _add_row(table, *label, row.name, *(column.text(row.cell) for column in columns))
        table.add_section()
    return _titled(title, table)


def _summary_table(result: dict[str, Any], numbers: Numbers) -> Any:
    tested = result["significance"]
    several = len(result["systems"]) > 1
    extremes = [f"{word} (p adj.)" if tested else word for word in numbers.extreme_words]
    counted = f" (in brackets: adjusted p < {numbers.level:g})" if tested else ""
    table = _new_table(
        ["system", "setting"] if several else ["setting"],
        ["number", *numbers.count_words, *extremes],
    )
    for entry in result["systems"]:
        for found in numbers.summaries(entry):
            label = [entry["label"]] if several else []
            _add_row(
                table,
                *label,
                KIND_TITLES[found.kind],
                str(found.settings),
                f"{found.better} ({found.better_shown})" if tested else str(found.better),
                f"{found.worse} ({found.worse_shown})" if tested else str(found.worse),
                _extreme(result, found.best, numbers),
                _extreme(result, found.worst, numbers),
            )
        table.add_section()
    return _titled(f"Settings{counted}; --all-settings lists them", table)


def _extreme(result: dict[str, Any], named: Named, numbers: Numbers) -> str:
    adjusted = f" ({numbers.p(named.cell['p_adjusted'])})" if result["significance"] else ""
    return f"{named.name} {numbers.signed(named.cell['difference'])}{adjusted}"


def _pairs_table(result: dict[str, Any], numbers: Numbers) -> Any:
    short = labels(result)
    groups = result["tukey"]["groups"]
    kinds = [kind for kind in KIND_TITLES if kind in groups]
    table = _new_table(["pair"], [KIND_TITLES[kind] for kind in kinds])
    for pairs in zip(*(groups[kind] for kind in kinds), strict=True):
        first = pairs[0]
        cells = [
            f"{numbers.signed(pair['difference'])}, p {numbers.p(pair['p'])}" for pair in pairs
        ]
        _add_row(table, f"{short[first['system']]} − {short[first['other']]}", *cells)
    return _titled("All pairs: difference, and p of step-down max-T, adjusted over pairs", table)


def _new_table(texts: list[str], figures: list[str]) -> Any:
    """A table whose figures keep their width where the names can give way."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in texts:
        table.add_column(Text(heading), overflow="fold", no_wrap=heading == "setting")
    for heading in figures:
        wide = heading.startswith(("best", "worst", "highest", "lowest"))
        table.add_column(Text(heading), justify="right", overflow="fold", no_wrap=not wide)
    return table


def _titled(title: str, table: Any) -> Any:
    """A table below its title, which may be wider."""
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, style="italic"), table)


def _add_row(table: Any, *cells: str) -> None:
    from rich.text import Text

    # as Text, since a name may hold what rich would read as markup
    table.add_row(*map(Text, cells))
