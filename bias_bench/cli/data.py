"""`biasbench data list|fetch|verify|cite|audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bias_bench.cli.options import DataDir, OutputFormat

if TYPE_CHECKING:
    from bias_bench.datasets.audit import Audit
    from bias_bench.datasets.pairs import Pairs

_FILE_WIDTH = 160
_ROWS_SHOWN = 50

app = typer.Typer(
    help="Benchmarks: what there is, fetch it, check it, cite it.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="A benchmark's name, as `biasbench data list` shows.")]


@app.command("list", epilog="Example: biasbench data list --data-dir data")
def list_benchmarks(data_dir: DataDir = None, output_format: OutputFormat = "table") -> None:
    """List the known benchmarks and whether their files are in place."""
    from bias_bench.console import result
    from bias_bench.datasets.registry import benchmarks, check_files
    from bias_bench.files import json_text

    rows: list[dict[str, Any]] = []
    for name, spec in sorted(benchmarks().items()):
        problems = [check.problem for check in check_files(name, data_dir) if check.problem]
        state = "ready" if not problems else f"{len(problems)} of {len(spec.files)} files missing"
        if any(problem != "missing" for problem in problems):
            state = f"{len(problems)} files missing or damaged"
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "languages": list(spec.files),
                "queries": sum(file.queries for file in spec.files.values()),
                "candidates": sum(file.candidates for file in spec.files.values()),
                "licence": spec.licence,
                "state": state,
            }
        )
    if output_format == "json":
        result(json_text(rows, indent=1))
        return
    for row in rows:
        result(
            f"{row['name']}: {row['title']}\n  {len(row['languages'])} languages "
            f"({' '.join(row['languages'])}), {row['queries']:,} queries, "
            f"{row['candidates']:,} candidates; {row['licence']}; {row['state']}"
        )


@app.command(epilog="Example: biasbench data fetch xquad-r")
def fetch(name: Name, data_dir: DataDir = None) -> None:
    """Download a benchmark's files, checked against their sha256; resumes a broken download."""
    from bias_bench.console import result
    from bias_bench.datasets.download import fetch_benchmark

    result(str(fetch_benchmark(name, data_dir)))


@app.command(epilog="Example: biasbench data verify mlqa-r --data-dir data")
def verify(name: Name, data_dir: DataDir = None) -> None:
    """Compare every file with its recorded size and sha256; exit code 3 if one differs."""
    from bias_bench.console import result
    from bias_bench.datasets.registry import check_files, mend
    from bias_bench.errors import DataError

    checks = check_files(name, data_dir)
    for check in checks:
        result(f"{check.path}: {check.problem or 'ok'}")
    bad = [check.path.name for check in checks if check.problem]
    if bad:
        raise DataError(
            f"{name}: {len(bad)} of {len(checks)} files missing or damaged ({', '.join(bad)}); "
            f"{mend(name, data_dir)}"
        )


@app.command(epilog="Example: biasbench data cite xquad-r >> references.bib")
def cite(name: Name) -> None:
    """Print a benchmark's BibTeX entries."""
    from bias_bench.console import result
    from bias_bench.datasets.registry import benchmark_spec

    result(benchmark_spec(name).citation.rstrip())


@app.command("audit", epilog="Example: biasbench data audit mlqa-r xquad-r --data-dir data")
def audit_data(
    train: Annotated[
        str,
        typer.Argument(
            help="Training data: a training source such as ntrex-128, a benchmark's name, "
            "`mini-train`, or a folder in LAReQA's form."
        ),
    ],
    benchmark: Annotated[
        str, typer.Argument(help="The benchmark: its name, or a folder in LAReQA's form.")
    ],
    data_dir: DataDir = None,
    output_format: OutputFormat = "table",
) -> None:
    """Report what training data and a benchmark share: ids, titles, equal and similar texts.

    The verdict says what a run would drop from training; this command changes nothing.
    """
    from bias_bench.console import result
    from bias_bench.datasets.audit import audit
    from bias_bench.datasets.registry import load_benchmark
    from bias_bench.files import json_text

    found = audit(_training_pairs(train, data_dir), load_benchmark(benchmark, data_dir).collection)
    if output_format == "json":
        result(json_text(found.to_json(), indent=1))
        return
    if found.findings:
        _print_findings(found)
    for name, count in found.data_sets.items():
        result(
            f"{name} against {found.benchmark}: {count.topics_kept:,} of {count.topics:,} topics, "
            f"{count.pairs_kept:,} of {count.pairs:,} pairs have nothing in common with it"
        )
    result(found.verdict)


def _training_pairs(name: str, data_dir: Path | None) -> Pairs:
    from bias_bench.datasets.mini import training_topics
    from bias_bench.datasets.pairs import pairs_from_collection
    from bias_bench.datasets.registry import benchmarks, load_benchmark
    from bias_bench.datasets.sources import load_sources
    from bias_bench.datasets.sources.named import named_sources
    from bias_bench.errors import UsageError, nearest

    known = {*benchmarks(), *named_sources(), "mini-train"}
    if name == "mini-train":
        return pairs_from_collection(training_topics())
    if name in named_sources() and name not in benchmarks():
        return load_sources([name], data_dir).pairs
    if name not in known and not Path(name).is_dir():
        raise UsageError(
            f"unknown training data '{name}': {nearest(name, known)} "
            "(or give a folder with one <language>.json each)"
        )
    return pairs_from_collection(load_benchmark(name, data_dir).collection)


def _print_findings(found: Audit) -> None:
    """The findings as a table, at most `_ROWS_SHOWN` of them; JSON has all."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bias_bench.console import result

    table = Table()
    for heading in ("kind", "data set", "topic", "matched", "in the benchmark", "similarity"):
        table.add_column(heading, justify="right" if heading == "similarity" else "left")
    for finding in found.findings[:_ROWS_SHOWN]:
        # as Text, since a title may hold what rich would read as markup
        cells = (finding.kind, finding.data_set, finding.topic, finding.matched, finding.item)
        table.add_row(*map(Text, cells), f"{finding.similarity:.3f}")
    Console(width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)
    if len(found.findings) > _ROWS_SHOWN:
        result(f"… and {len(found.findings) - _ROWS_SHOWN:,} more; --format json has all")
