"""What `compare` prints: a table for people, TSV, or LaTeX with booktabs."""

from __future__ import annotations

from typing import Any, Literal

from bias_bench.cli.comparison_table import as_table, columns_of, rows_of
from bias_bench.cli.output import print_json, stdout_encoding, table_width
from bias_bench.console import result as write_result
from bias_bench.report.comparison_numbers import Numbers, kinds_of, settings_of
from bias_bench.significance.document import ComparisonDocument

Format = Literal["table", "json", "tsv", "latex"]
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


def print_comparison(result: ComparisonDocument, output_format: Format, all_settings: bool) -> None:
    """Write the comparison to stdout. JSON and TSV always hold all settings."""
    if output_format == "json":
        print_json(result.as_json())
    elif output_format == "tsv":
        write_result(as_tsv(result))
    elif output_format == "latex":
        write_result(as_latex(result, all_settings))
    else:
        write_result(as_table(result, all_settings, table_width(), stdout_encoding()))


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
