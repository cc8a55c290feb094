"""`biasbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """Example:

biasbench report runs/xquad-r-zero-shot-0 --out reports"""


def report(
    runs: Annotated[list[Path], typer.Argument(help="Complete run folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("reports"),
) -> None:
    """Write the HTML page of run folders again; prints the pages' paths."""
    from bias_bench.console import result
    from bias_bench.report.index_page import write_index
    from bias_bench.report.run_page import write_run_page

    for folder in runs:
        result(str(write_run_page(folder, out)))
    for parent in sorted({folder.resolve().parent for folder in runs}):
        write_index(parent, out)
