"""`biasbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bias_bench.cli.options import OutputFormat, Verbose, listen

EXAMPLES = """Examples:

biasbench report runs/xquad-r-zero-shot-0

biasbench report runs/xquad-r-* --out reports --format json"""


def report(
    runs: Annotated[list[Path], typer.Argument(help="Complete run folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("reports"),
    verbose: Verbose = None,
    output_format: OutputFormat = "table",
) -> None:
    """Write the HTML page of run folders again; prints the pages' paths."""
    from bias_bench.cli.output import print_json
    from bias_bench.report.index_page import write_index
    from bias_bench.report.run_page import write_run_page
    from bias_bench.system.console import progress, result

    listen(verbose)
    pages = []
    with progress("report", len(runs), "pages", after=5) as advance:
        for folder in runs:
            pages.append(write_run_page(folder, out))
            advance(1)
    index = write_index(out)
    if output_format == "json":
        written = [
            {"run": run.name, "page": str(page)} for run, page in zip(runs, pages, strict=True)
        ]
        print_json({"pages": written, "index": str(index)})
        return
    for page in pages:
        result(str(page))
