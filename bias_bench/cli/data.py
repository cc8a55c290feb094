"""`biasbench data list|fetch|verify|cite`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bias_bench.cli.options import DataDir, OutputFormat

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
