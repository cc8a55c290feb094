"""The page of a comparison: what was shown in sentences, tables, forests, matrices, methods."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bias_bench import __version__
from bias_bench.data.languages import language_name
from bias_bench.errors import UsageError
from bias_bench.evaluation.settings import ALL, Setting, parse_setting
from bias_bench.report.comparison_figures import (
    bias_against_quality,
    macro_forest,
    pairs_forest,
    settings_forest,
)
from bias_bench.report.comparison_numbers import (
    KIND_TITLES,
    Named,
    Numbers,
    kinds_of,
    labels,
    pooled_names,
    settings_of,
)
from bias_bench.report.index_page import INDEX, comparison_entry, run_of_page
from bias_bench.report.render import embeddable, render, write_page
from bias_bench.report.run_tables import Matrix, Shaded
from bias_bench.significance.document import Cell, ComparedSystem, ComparisonDocument
from bias_bench.significance.methods import PARAGRAPHS, any_family
from bias_bench.system.files import require_writable

_CERTAIN = 0.001  # p below which a cell has the full shade
_WHERE = {
    "monolingual": "in one language",
    "cross_lingual": "across two languages",
    "multilingual": "in the pool of all languages",
}


def check_page(path: Path) -> None:
    """Raise UsageError or BiasBenchError unless a page can be written to `path`."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; give the page a file name, such as gain.html")
    if path.name == INDEX:
        raise UsageError(f"{path}: is where the index of all pages goes; give another name")
    if run := run_of_page(path):
        raise UsageError(f"{path}: is the page of the run {run}; give the comparison another name")
    require_writable(path.parent)


def write_comparison_page(result: ComparisonDocument, path: Path) -> Path:
    """Write the page of a comparison; returns its path."""
    check_page(path)
    write_page(path, render_comparison_page(result), "compare fewer systems in one")
    return path


def render_comparison_page(result: ComparisonDocument) -> str:
    """The page's HTML; equal results give equal bytes."""
    numbers, (precision, distance) = Numbers(result), pooled_names(result)
    tukey, short = result.tukey, labels(result)
    return render(
        "comparison.html.j2",
        result=result,
        numbers=numbers,
        label=short[result.baseline],
        sentences=comparison_sentences(result, numbers),
        any_family=any_family(result),
        paragraphs=PARAGRAPHS,
        precision=precision,
        distance=distance,
        members=list(zip(result.overview, [result.baseline_system, *result.systems], strict=True)),
        kind_titles=KIND_TITLES,
        kinds_of=kinds_of,
        macro=macro_forest(result, numbers),
        bias=bias_against_quality(result),
        sections=[
            _section(result, entry, numbers, number) for number, entry in enumerate(result.systems)
        ],
        pairs=[
            (f"{short[cells[0].system]} − {short[cells[0].other]}", cells)
            for cells in zip(*(tukey.groups[kind] for kind in kinds_of(tukey)), strict=True)
        ]
        if tukey
        else [],
        pair_matrices=pair_matrices(result, numbers),
        search_words=search_words,
        command=command_of(result),
        version=__version__,
        entry=embeddable(comparison_entry(result)),
        embedded=embeddable(result.as_json()),
    )


def comparison_sentences(result: ComparisonDocument, numbers: Numbers) -> list[str]:
    """A sentence for each system and kind of setting, the systems in their order.

    A system is called better or worse only where the test of that macro average says so.
    """
    base = labels(result)[result.baseline]
    return [
        f"{_WHERE[kind].capitalize()}, {_finding(entry.label, base, entry.groups[kind], numbers)}"
        for entry in result.systems
        for kind in kinds_of(entry)
    ]


def _finding(label: str, baseline: str, cell: Cell, numbers: Numbers) -> str:
    """What was shown of one macro average."""
    result = numbers.result
    values = (
        f"{result.metric} {numbers.value(cell.system)} against "
        f"{numbers.value(cell.baseline)}, difference {numbers.signed(cell.difference)}"
    )
    if not result.significance:
        return f"{label} has {values} to {baseline}; this was not tested."
    evidence = (
        f"{values}, {result.percent} % interval {numbers.interval(cell.interval)}, "
        f"adjusted p {numbers.p(cell.p_adjusted).replace('<', '< ')}"
    )
    if not numbers.shown(cell):
        return f"no difference between {label} and {baseline} could be shown ({evidence})."
    word = numbers.count_words[0 if numbers.gain(cell.difference) > 0 else 1]
    return f"{label} is {word} than {baseline} ({evidence})."


def _section(
    result: ComparisonDocument, entry: ComparedSystem, numbers: Numbers, number: int
) -> dict[str, Any]:
    """What the page says of one system."""
    figures = [
        settings_forest(result, entry, numbers, f"languages{number}"),
        pairs_forest(result, entry, numbers, f"pairs{number}"),
    ]
    return {
        "entry": entry,
        "summaries": numbers.summaries(entry),
        "matrices": language_matrices(entry, numbers),
        "figures": [figure for figure in figures if figure],
        "settings": [named for kind in kinds_of(entry) for named in settings_of(entry, kind)],
    }


def language_matrices(entry: ComparedSystem, numbers: Numbers) -> dict[str, Matrix]:
    """`difference`, `d_z` and, where tested, `p_adjusted`: the settings of one and two languages.

    Query languages (rows) by candidate languages (columns), the diagonal monolingual. Empty without
    settings of two languages.
    """
    if "cross_lingual" not in entry.groups:
        return {}
    cells: dict[Setting, Cell] = {
        parse_setting(named.name): named.cell
        for kind in ("monolingual", "cross_lingual")
        for named in settings_of(entry, kind)
    }
    languages = sorted({language for setting in cells for language in setting})
    tested = numbers.result.significance
    most = max(abs(cell.difference) for cell in cells.values())
    largest = max((abs(cell.d_z) for cell in cells.values() if cell.d_z is not None), default=0)

    def shaded(cell: Cell, text: str, depth: float, star: bool | None = None) -> Shaded:
        return Shaded(text, depth, numbers.gain(cell.difference) < 0, star)

    def difference(cell: Cell) -> Shaded:
        star, text = numbers.shown(cell) if tested else None, numbers.signed(cell.difference)
        return shaded(cell, text, _share(cell.difference, most), star)

    def d_z(cell: Cell) -> Shaded | None:
        if cell.d_z is None:
            return None
        return shaded(cell, numbers.effect(cell.d_z), _share(cell.d_z, largest))

    def p_adjusted(cell: Cell) -> Shaded | None:
        if cell.p_adjusted is None:
            return None
        shown, depth = numbers.shown(cell), 1.0 if cell.p_adjusted < _CERTAIN else 0.5
        return shaded(cell, numbers.p(cell.p_adjusted), depth * shown, shown)

    def matrix(shade: Callable[[Cell], Shaded | None]) -> Matrix:
        grid = [[cells.get(Setting(row, column)) for column in languages] for row in languages]
        rows = [[shade(cell) if cell else None for cell in row] for row in grid]
        return Matrix(languages, languages, rows)

    shades = {"difference": difference, "d_z": d_z} | ({"p_adjusted": p_adjusted} if tested else {})
    return {name: matrix(shade) for name, shade in shades.items()}


def _share(value: float, largest: float) -> float:
    return round(abs(value) / largest, 3) if largest else 0.0


def pair_matrices(result: ComparisonDocument, numbers: Numbers) -> dict[str, Matrix]:
    """Row minus column, all systems, by kind of setting; empty without the test of all pairs."""
    if not result.tukey:
        return {}
    short = labels(result)
    matrices = {}
    for kind in kinds_of(result.tukey):
        pairs = result.tukey.groups[kind]
        most = max(abs(pair.difference) for pair in pairs)
        cells: dict[tuple[str, str], Shaded] = {}
        for pair in pairs:
            for sign, ends in ((1, (pair.system, pair.other)), (-1, (pair.other, pair.system))):
                d_z = None if pair.d_z is None else sign * pair.d_z
                difference = sign * pair.difference
                cells[ends] = Shaded(
                    numbers.signed(difference),
                    _share(difference, most),
                    numbers.gain(difference) < 0,
                    pair.p < result.level,
                    (f"p {numbers.p(pair.p)}", f"d {numbers.effect(d_z)}"),
                )
        rows = [[cells.get((row, column)) for column in short] for row in short]
        matrices[kind] = Matrix(list(short.values()), list(short.values()), rows)
    return matrices


def search_words(named: Named, numbers: Numbers) -> str:
    """What a setting's row is found by besides its name."""
    setting = parse_setting(named.name)
    pool = "all" if setting.pool == ALL else language_name(setting.pool)
    gain = numbers.gain(named.cell.difference)
    side = numbers.count_words[gain < 0] if gain else "equal"
    words = [language_name(setting.query_language), pool, KIND_TITLES[setting.kind], side]
    return " ".join([*words, "significant"] if numbers.shown(named.cell) else words)


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
