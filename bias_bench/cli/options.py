"""Options that several commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bias_bench import __version__
from bias_bench.system.console import detail, set_verbosity

# panels of the help of commands with many options
SYSTEM, PLACE, HOW = "The system", "Names and place", "How it runs"


def option(text: str, panel: str | None = None, **more: Any) -> Any:
    """An option whose help says itself what holds without it; `panel` is its part of the help."""
    return typer.Option(help=text, show_default=False, rich_help_panel=panel, **more)


DataDir = Annotated[
    Path | None,
    option(
        "Folder with one sub-folder per benchmark. Default: the user's cache, filled by "
        "`biasbench data fetch`."
    ),
]
Verbose = Annotated[
    bool | None,
    typer.Option(
        "--verbose/--quiet",
        "-v/-q",
        help="On stderr: also decisions, cache hits, paths and versions; or errors alone.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be computed and why, how long it takes and what it needs; do nothing.",
        rich_help_panel=HOW,
    ),
]
Memory = Annotated[
    str | None,
    option(
        "Memory that encoding and searching may take in each process, such as 4G. Changes no "
        "result. Default: no limit.",
        HOW,
        metavar="SIZE",
    ),
]
RunPolicy = Annotated[
    Literal["only-missing", "always", "never", "only-cache"],
    typer.Option(
        help="What happens to results. only-missing: finished stages are kept and the rest is "
        "computed. always: everything is computed from scratch. never: a folder that holds results "
        "is refused. only-cache: nothing is computed or written, and a stage that is missing or "
        "outdated is an error.",
        rich_help_panel=HOW,
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        help="Further metrics: AP, nDCG, R or RR with a cut-off, such as nDCG@20,R@20.",
        show_default=False,
        metavar="NAME,...",
        rich_help_panel=HOW,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=HOW)]
Out = Annotated[Path, typer.Option(help="Folder for run folders.", rich_help_panel=PLACE)]
Reports = Annotated[Path, typer.Option(help="Folder for HTML reports.", rich_help_panel=PLACE)]
OutputFormat = Annotated[
    Literal["table", "json"], typer.Option("--format", help="Form of the result on stdout.")
]


def listen(verbose: bool | None) -> None:
    """Set what stderr shows from now on, as --verbose or --quiet asks."""
    set_verbosity("normal" if verbose is None else "verbose" if verbose else "quiet")
    detail(f"biasbench {__version__}, Python {sys.version.split()[0]} at {sys.executable}")
