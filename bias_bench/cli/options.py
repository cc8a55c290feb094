"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with one sub-folder per benchmark. Default: the user's cache, filled by "
        "`biasbench data fetch`.",
        show_default=False,
    ),
]
Reports = Annotated[Path, typer.Option(help="Folder for HTML reports.")]
OutputFormat = Annotated[
    Literal["table", "json"], typer.Option("--format", help="Form of the result on stdout.")
]
